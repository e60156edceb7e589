"""`backfill`: how far it is, in what batches and how fast, what is left, and what its log keeps of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from pytest_releasegate.check import counted, find, seconds
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, Pattern, Span, Threshold, format_duration
from pytest_releasegate.sources.pgbatches import Batches, Left, batches, left
from pytest_releasegate.sources.pgtables import aligned, named, quoted, user_tables
from pytest_releasegate.sources.postgres import connect, one_predicate
from pytest_releasegate.sources.runlog import END, START, Run, last_run, read_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Backfill"]

_ROWS = ("rows", "rows_total", "rows_done", "rows_updated", "rows_affected", "total")
_ERRORS = ("errors", "failures", "failed")


class Backfill(Parameters):
    """The progress of a backfill, counted in its table; the denominator is the rows that it is for.

    ```yaml
    backfill:
      table: clients
      column: preferred_name
      batches: backfill_batches
      most: 500
      rate: ">= 1000"
      log: ${value:backfill_log}
    ```
    """

    kind: ClassVar[str] = "backfill"
    shorthand: ClassVar[str] = "table"

    table: str
    """The table that is filled, such as `clients` or `public.clients`."""
    column: str = ""
    """The column that is filled: its nulls are the rows left."""
    todo: str = ""
    """A predicate for the rows left, where these are no nulls."""
    where: str = ""
    """A predicate for the rows that it is for; by default all."""
    left: Threshold = Threshold.parse("== 0")
    """How many rows may be left, such as `== 0`, or `>= 0` while it runs."""
    batches: str = ""
    """Its progress table, with a row for each batch: how many rows, when it ended, and errors where there were some."""
    batches_where: str = ""
    """A predicate for the batches of this backfill, where the progress table holds others too."""
    most: int | None = Field(default=None, ge=1, strict=True)
    """How many rows a batch may have at most."""
    rate: Threshold | None = None
    """How many rows a minute it must fill, such as `>= 1000`."""
    within: Span | None = None
    """How long it may still take, at the rate of now."""
    apart: Span | None = None
    """Look twice, so far apart, for the rate of now, instead of asking the progress table for it."""
    log: str = ""
    """Its archived log, JSON lines or text: start and end with their times, how many rows, and no error."""
    started: Pattern = START
    """A pattern for the line of its log that tells of the start."""
    finished: Pattern = END
    """A pattern for the line of its log that tells of the end."""
    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many rows it must be for at least."""

    @field_validator("todo", "where", "batches_where")
    @classmethod
    def _predicate(cls, text: str) -> str:
        return one_predicate(text) if text else text

    @model_validator(mode="after")
    def _fits(self) -> Backfill:
        if bool(self.column) == bool(self.todo):
            raise ValueError("expected either `column` or `todo`, to count the rows left")
        if (self.most or self.batches_where) and not self.batches:
            raise ValueError("expected `batches`, the progress table, beside `most` and `batches_where`")
        if (self.rate or self.within) and not (self.batches or self.apart):
            raise ValueError("expected `batches` or `apart` beside `rate` and `within`")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Count what is left, and read what the batches and the log say."""
        run = self._run(context) if self.log else None
        with connect(context, self.database, at_most=300.0) as connection:
            now = self._left(connection, context)
            told = batches(connection, context, self.batches, self.batches_where) if self.batches else None
        context.attach("backfill.txt", "text/plain", _table(self.table, now, told))
        yield self._rest(now)
        if told is not None:
            yield from self._batches(told)
        if self.rate or self.within or self.apart:
            yield from self._speed(context, now, told)
        if run is not None:
            yield from self._log(context, run, told)
        yield counted(f"rows of {self.table}", now.of, self.least)
        if told is not None:
            yield counted("batches", told.number)

    def count(self, context: Context) -> Left:
        """Look once at how many rows are left."""
        with connect(context, self.database, at_most=300.0) as connection:
            return self._left(connection, context)

    def _left(self, connection: psycopg.Connection[Any], context: Context) -> Left:
        table = named(self.table, user_tables(connection))
        todo = f"{quoted(self.column)} is null" if self.column else self.todo
        return left(connection, context, table, todo, self.where)

    def _rest(self, now: Left) -> Finding:
        what = f"nulls left in {self.table}.{self.column}" if self.column else f"rows left in {self.table}"
        done = now.of - now.rows
        actual = f"{now.rows}; {done} of {now.of} are done ({_share(done, now.of)})"
        if now.unknown and self.left.holds(now.rows):
            actual = f"{now.rows}, and {now.unknown} of which a null in `todo` tells nothing: write coalesce around it"
            return find(what, expected=self.left, actual=actual, ok=Ok.CANNOT_TELL)
        return find(what, expected=self.left, actual=actual, ok=self.left.holds(now.rows))

    def _batches(self, told: Batches) -> Iterator[Finding]:
        if self.most is not None:
            actual = f"{told.largest} of {told.number} batches with {told.rows} rows"
            ok = told.largest <= self.most if told.number else Ok.CANNOT_TELL
            yield find("largest batch", expected=f"<= {self.most}", actual=actual, ok=ok)
        if told.errors is not None:
            yield find(f"errors in {told.table}", expected="0", actual=told.errors, ok=told.errors == 0)

    def _speed(self, context: Context, now: Left, told: Batches | None) -> Iterator[Finding]:
        later, pace = self._again(context, now) if self.apart and now.rows else (now, _pace(told))
        wanted = f"{self.rate} rows a minute" if self.rate else "above 0"
        if pace is None:
            actual, ok = ("no two times to tell it by", Ok.CANNOT_TELL)
            if self.apart:
                actual, ok = "nothing is left to do", Ok.YES
            yield find("rate", expected=wanted, actual=actual, ok=ok)
        else:
            rate = round(pace * 60, 1)
            ok = Ok.YES if (self.rate.holds(rate) if self.rate else rate > 0) else Ok.NO
            yield find("rate", expected=wanted, actual=f"{rate:g} rows a minute", ok=ok)
        if self.within is not None:
            yield _time_left(self.within, later, pace)

    def _again(self, context: Context, before: Left) -> tuple[Left, float | None]:
        """A second look, and the rows a second since the first."""
        began = context.clock.monotonic()
        context.clock.sleep(context.remaining(seconds(self.apart, 0.0)))
        after = self.count(context)
        passed = context.clock.monotonic() - began
        return after, (before.rows - after.rows) / passed if passed > 0 else None

    def _run(self, context: Context) -> Run:
        path = context.root / Path(context.resolve(self.log, secret=False))
        return last_run(read_log(path), lambda _: True, self.started, self.finished)

    def _log(self, context: Context, run: Run, told: Batches | None) -> Iterator[Finding]:
        kept = "\n".join(f"{line.at.isoformat() if line.at else ''} {line.text}".strip() for line in run.lines[-50:])
        context.attach("log.txt", "text/plain", f"{kept}\n".encode())
        took = run.seconds
        ended = "start and end with their times"
        actual = f"{took:.3f}s" if took is not None else _missing(run)
        yield find("time in the log", expected=ended, actual=actual, ok=took is not None)
        rows = run.number(_ROWS)
        ok = rows is not None and (told is None or rows == told.rows)
        wanted = "a number" if told is None else f"{told.rows}, as in {told.table}"
        yield find("rows in the log", expected=wanted, actual="none" if rows is None else rows, ok=ok)
        bad, number = run.errors, run.number(_ERRORS) or 0
        actual = f"{len(bad)}: {bad[0].text}" if bad else f"{number}"
        yield find("errors in the log", expected="0", actual=actual, ok=not bad and number == 0)


def _time_left(within: timedelta, now: Left, pace: float | None) -> Finding:
    wanted = f"<= {format_duration(within)}"
    if now.rows == 0:
        return find("time left", expected=wanted, actual="none, it is done", ok=True)
    if pace is None:
        return find("time left", expected=wanted, actual="the rate is not known", ok=Ok.CANNOT_TELL)
    if pace <= 0:
        return find("time left", expected=wanted, actual="without end: no row is filled any more", ok=False)
    rest = timedelta(seconds=round(now.rows / pace))
    return find(
        "time left", expected=wanted, actual=f"{rest.total_seconds():g}s for {now.rows} rows", ok=rest <= within
    )


def _pace(told: Batches | None) -> float | None:
    """Rows a second, by the times of the batches."""
    took = told.seconds if told else None
    return told.rows / took if told and took else None


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "0%"


def _missing(run: Run) -> str:
    if run.start is None:
        return "no line that tells of a start"
    return "no line that tells of an end" if run.end is None else "lines without a time"


def _table(table: str, now: Left, told: Batches | None) -> bytes:
    rows: list[tuple[str, object]] = [("table", table), ("rows", now.of), ("rows left", now.rows)]
    if told is not None:
        rows += [("batches", told.number), ("rows in batches", told.rows), ("largest batch", told.largest)]
        rows += [("first batch", told.first or "-"), ("last batch", told.last or "-")]
    return aligned(("what", "seen"), rows)
