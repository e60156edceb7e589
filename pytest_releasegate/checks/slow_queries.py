"""`slow_queries`: which statements take longer than they did."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, Threshold, format_duration
from pytest_releasegate.sources.pgstatements import Statement, Statements, statements
from pytest_releasegate.sources.pgtables import aligned
from pytest_releasegate.sources.postgres import connect, database_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding, Kept

__all__ = ["SlowQueries"]

_MOST_SHOWN = 10
_MOST_KEPT = 500


class SlowQueries(Parameters):
    """The mean time of each statement since a mark against before; the denominator is the statements compared.

    It reads pg_stat_statements. A gate with `mark: true` keeps what was counted until then.

    ```yaml
    slow_queries: {database: app, against: before, mean: "<= 1.5x", share: "<= 30%", min_calls: 50}
    ```
    """

    kind: ClassVar[str] = "slow_queries"
    shorthand: ClassVar[str] = "against"

    against: str = Field(default="before", pattern=r"^[a-z][a-z0-9_-]*$")
    """The name of the mark in this release to compare with or to set, or `previous`: what the release before kept."""
    mark: StrictBool = False
    """Whether this gate sets the mark; the first one set stands until its step is reopened."""
    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    mean: Threshold = Threshold.parse("<= 1.5x")
    """The mean time of a statement as a multiple of what it was."""
    limit: Duration | None = None
    """The mean time that no statement may exceed, new ones included."""
    share: Threshold | None = None
    """The share that one statement may have of all time spent, such as `<= 30%`."""
    ignore_below: Duration = timedelta(milliseconds=5)
    """Statements that take less than this on average are never too slow."""
    min_calls: Annotated[StrictInt, Field(ge=1)] = 20
    """How often a statement must have run, then and now, to be compared."""
    least: Annotated[StrictInt, Field(ge=1)] = 1
    """How many statements must be compared at least."""
    first_run: Literal["inconclusive", "absolute"] = "inconclusive"
    """What is said where there is nothing to compare with: that nobody can tell, or what `limit` and `share` say."""

    @field_validator("mean")
    @classmethod
    def _multiple(cls, mean: Threshold) -> Threshold:
        if not mean.text.endswith("x"):
            raise ValueError(f"expected a multiple such as '<= 1.5x', got '{mean}'")
        return mean

    @model_validator(mode="after")
    def _absolute(self) -> SlowQueries:
        if self.first_run == "absolute" and not (self.limit or self.share):
            raise ValueError("`first_run: absolute` needs `limit` or `share`")
        if self.mark and self.against == "previous":
            raise ValueError("`previous` is the release before; a mark needs another name")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Read the counters, and set the mark or compare with it."""
        name = database_name(context, self.database)
        with connect(context, name) as connection:
            now = statements(connection)
        key = f"slow_queries/{name}/{'latest' if self.against == 'previous' else self.against}"
        if self.mark:
            yield from self._mark(context, key, now)
            return
        kept = context.recorded(key, of="previous" if self.against == "previous" else "first")
        context.keep(f"slow_queries/{name}/latest", _busiest(now).as_value())
        yield from self._judge(context, now, kept)

    def _mark(self, context: Context, key: str, now: Statements) -> Iterator[Finding]:
        first = context.recorded(key, of="first")
        context.keep(key, first.value if first else now.as_value())
        told = f"set at {first.at:%Y-%m-%d %H:%M:%SZ}" if first else f"set over {len(now.by_text)} statements"
        yield find(f"mark '{self.against}'", expected="set", actual=told, ok=True)
        yield counted("statements", len(now.by_text), self.least)

    def _judge(self, context: Context, now: Statements, kept: Kept | None) -> Iterator[Finding]:
        before = Statements.of_value(kept.value) if kept else None
        same = before is not None and before.epoch == now.epoch
        if before is not None and not same and self.against != "previous":
            actual = f"cannot be compared: the statistics were reset at {now.reset}"
            if before.reset == now.reset:
                actual = "cannot be compared: a crash threw them away, or another server or database answers now"
            yield find("statements", expected=f"counted since '{self.against}'", actual=actual, ok=Ok.CANNOT_TELL)
            return
        recent = _since(now, before) if same and before else dict(now.by_text)
        old = {} if before is None else before.by_text
        enough = {key: each for key, each in recent.items() if each.calls >= self.min_calls}
        both = {key: each for key, each in enough.items() if key in old and old[key].calls >= self.min_calls}
        _attach(context, enough, old)
        if before is None:
            told = f"nothing kept of '{self.against}'"
            ok = Ok.CANNOT_TELL if self.first_run == "inconclusive" else Ok.YES
            yield find("baseline", expected="one to compare with", actual=told, ok=ok)
        yield from self._slower(both, old)
        yield from self._bounds(enough)
        if now.dealloc > (before.dealloc if same and before else 0):
            told = f"{now.dealloc} times the rarest statements were dropped; raise pg_stat_statements.max"
            yield find("completeness", expected="all statements counted", actual=told, ok=False, observe=True)
        if before is not None:
            yield counted("statements compared", len(both), self.least)
        else:
            yield counted("statements", len(enough), self.least)

    def _slower(self, both: Mapping[str, Statement], old: Mapping[str, Statement]) -> Iterator[Finding]:
        floor = self.ignore_below.total_seconds() * 1000
        slow = [
            key
            for key, each in both.items()
            if each.mean >= floor and not self.mean.holds(each.mean / max(old[key].mean, 0.001))
        ]
        for key in sorted(slow, key=lambda key: -both[key].total)[:_MOST_SHOWN]:
            then, each = old[key].mean, both[key]
            expected = f"{self.mean} of {then:.2f} ms"
            actual = f"{each.mean:.2f} ms ({each.mean / max(then, 0.001):.1f}x) in {each.calls} calls"
            yield find(each.shown, expected=expected, actual=actual, ok=False)
        if both:
            actual = f"{len(slow)} of {len(both)} statements beyond it"
            yield find("mean times", expected=f"{self.mean} of what they were", actual=actual, ok=not slow)

    def _bounds(self, enough: Mapping[str, Statement]) -> Iterator[Finding]:
        whole = sum(each.total for each in enough.values())
        busiest = sorted(enough.values(), key=lambda each: -each.total)
        if self.limit is not None and enough:
            bound = self.limit.total_seconds() * 1000
            slow = [each for each in busiest if each.mean > bound]
            for each in slow[:_MOST_SHOWN]:
                actual = f"{each.mean:.2f} ms in {each.calls} calls"
                yield find(each.shown, expected=f"<= {format_duration(self.limit)}", actual=actual, ok=False)
            actual = f"{len(slow)} of {len(enough)} statements beyond it"
            yield find("slowest", expected=f"<= {format_duration(self.limit)}", actual=actual, ok=not slow)
        if self.share is not None and busiest:
            share = busiest[0].total / whole if whole else 0.0
            actual = f"{share:.0%}: {busiest[0].shown}"
            yield find("largest share of the time", expected=self.share, actual=actual, ok=self.share.holds(share))


def _since(now: Statements, before: Statements) -> dict[str, Statement]:
    """What ran after a mark; a statement that was dropped and came back counts anew."""
    found = {}
    for key, each in now.by_text.items():
        then = before.by_text.get(key)
        found[key] = each if then is None or then.calls > each.calls else each.since(then)
    return found


def _busiest(now: Statements) -> Statements:
    chosen = sorted(now.by_text.items(), key=lambda item: -item[1].total)[:_MOST_KEPT]
    return Statements(dict(chosen), now.dealloc, now.reset, now.series)


def _attach(context: Context, recent: Mapping[str, Statement], old: Mapping[str, Statement]) -> None:
    rows = [
        (f"{each.mean:.2f}", f"{old[key].mean:.2f}" if key in old else "-", each.calls, each.shown)
        for key, each in sorted(recent.items(), key=lambda item: -item[1].total)
    ]
    context.attach("statements.txt", "text/plain", aligned(("ms now", "ms before", "calls", "statement"), rows))
