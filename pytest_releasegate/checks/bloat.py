"""`bloat`: vacuum keeps up, with dead rows, with empty space and with the age of transactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, Threshold, format_duration
from pytest_releasegate.sources.pgbloat import measured, server, spaces, table_states
from pytest_releasegate.sources.pgtables import aligned, selected, user_tables
from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import timedelta

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.pgbloat import Age, Server, Space, TableState

__all__ = ["Bloat"]


class Bloat(Parameters):
    """What vacuum has left undone, table by table; the denominator is the tables and partitions looked at.

    ```yaml
    bloat:
      database: app
      dead: "<= 10%"
      analyzed_within: 7d
      least: 5
    ```
    """

    kind: ClassVar[str] = "bloat"
    shorthand: ClassVar[str] = "database"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    schemas: list[str] = Field(default_factory=list)
    """The schemas whose tables are looked at; by default all that users made."""
    tables: list[str] = Field(default_factory=list)
    """The tables to look at, such as `notes` or `public.notes`; by default all."""
    exclude: list[str] = Field(default_factory=list)
    """Patterns of tables to leave out, such as `staging.*`."""
    min_rows: int = Field(default=10_000, ge=1, strict=True)
    """A table with fewer rows is looked at for its age only."""
    dead: Threshold = Threshold.parse("<= 20%")
    """Which share of a table's rows may be dead."""
    vacuumed_within: Duration | None = None
    """How long ago a table may have been vacuumed last, such as `7d`."""
    analyzed_within: Duration | None = None
    """How long ago a table may have been analyzed last, such as `7d`."""
    age: Threshold = Threshold.parse("<= 120%")
    """How old the oldest transaction of a table or database may be, as a share of `autovacuum_freeze_max_age`."""
    table_bloat: Threshold = Threshold.parse("<= 50%")
    """Which share of a table's pages may be empty or dead: measured by `pgstattuple_approx` where it is installed, else
    estimated from the statistics."""
    index_bloat: Threshold = Threshold.parse("<= 60%")
    """Which share of a btree index may be empty, estimated from the statistics; many equal keys hide some of it."""
    estimate: bool = Field(default=False, strict=True)
    """Whether even tables are estimated where `pgstattuple` is installed, which has to read pages."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many tables there must be at least."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Read the statistics, and the pages of large tables where that is possible."""
        with connect(context, self.database, at_most=300.0) as connection:
            chosen = selected(user_tables(connection, self.schemas), self.tables, self.exclude)
            about, databases = server(connection)
            tables = table_states(connection, chosen)
            large = [table for table in tables if table.rows >= self.min_rows]
            room = spaces(connection, large)
            schema = None if self.estimate else about.pgstattuple
            exact = measured(connection, schema, large) if schema and large else {}
        shares = [_Share.of(space, about, exact) for space in room]
        if tables:
            context.attach("bloat.txt", "text/plain", _evidence(tables, shares))
        yield from self._ages([*databases, *(table.age for table in tables)])
        yield from self._vacuum(large, about)
        yield from _empty("table", self.table_bloat, [share for share in shares if not share.space.is_index])
        yield from _empty("index", self.index_bloat, [share for share in shares if share.space.is_index])
        yield counted("tables", len(tables), self.least)

    def _ages(self, ages: Sequence[Age]) -> Iterator[Finding]:
        wanted, good = f"{self.age} of the age that makes vacuum freeze", 0
        for age in ages:
            if self.age.holds(age.share):
                good += 1
            else:
                actual = f"{100 * age.share:.2f}%: {age.worse} (vacuum freeze, and end old transactions and slots)"
                yield find(f"age of {age.what}", expected=wanted, actual=actual, ok=False)
        if good:
            yield find("databases and tables young enough", expected=wanted, actual=f"{good} of {len(ages)}", ok=True)

    def _vacuum(self, large: Sequence[TableState], about: Server) -> Iterator[Finding]:
        """Dead rows and the last vacuum, which only the primary counts."""
        if about.standby and large:
            actual = "a standby does not count them; look at the primary"
            yield find("dead rows", expected=self.dead, actual=actual, ok=Ok.CANNOT_TELL)
            return
        good = 0
        for table in large:
            found = [*self._dead(table), *self._since(table, about)]
            yield from found
            good += not found
        if good:
            actual = f"{good} of {len(large)} with {self.min_rows} rows or more"
            yield find("tables that vacuum keeps up with", expected=f"dead rows {self.dead}", actual=actual, ok=True)

    def _dead(self, table: TableState) -> Iterator[Finding]:
        if not table.live + table.dead:
            actual = "nothing counted since its statistics were lost; analyze it"
            yield find(f"dead rows of {table.label}", expected=self.dead, actual=actual, ok=Ok.CANNOT_TELL)
        elif not self.dead.holds(table.dead_share):
            last = "never vacuumed" if table.vacuumed is None else f"vacuumed {_span(table.vacuumed)} ago"
            actual = f"{100 * table.dead_share:.1f}% ({table.dead} of {table.live + table.dead}; {last})"
            yield find(f"dead rows of {table.label}", expected=self.dead, actual=actual, ok=False)

    def _since(self, table: TableState, about: Server) -> Iterator[Finding]:
        vacuumed = ("vacuumed", self.vacuumed_within, table.vacuumed)
        for word, within, last in (vacuumed, ("analyzed", self.analyzed_within, table.analyzed)):
            if within is None or (last is not None and last <= within.total_seconds()):
                continue
            yield find(
                f"{table.label} {word}",
                expected=f"within {format_duration(within)}",
                actual=_last(last, about),
                ok=Ok.CANNOT_TELL if last is None and _counts_too_short(about, within) else False,
            )


@dataclass(frozen=True, slots=True)
class _Share:
    """Which share of a table or index is empty, and how that is known."""

    space: Space
    value: float | None
    how: str

    @classmethod
    def of(cls, space: Space, about: Server, exact: Mapping[int, float]) -> _Share:
        """Measured where that was possible, else estimated."""
        if not space.is_index and space.table in exact:
            return cls(space, exact[space.table], "by pgstattuple_approx")
        return cls(space, space.empty_share(about.block), "estimated from the statistics")


def _empty(what: str, most: Threshold, shares: Sequence[_Share]) -> Iterator[Finding]:
    good = []
    for share in shares:
        name = f"empty space of {what} {share.space.label}"
        if share.value is None:
            actual = "not known: analyze it, and let the role that looks read it"
            yield find(name, expected=most, actual=actual, ok=Ok.CANNOT_TELL)
        elif most.holds(share.value):
            good.append(share)
        else:
            yield find(name, expected=most, actual=f"{100 * share.value:.1f}%, {share.how}", ok=False)
    if good:
        name = f"{'tables' if what == 'table' else 'indexes'} with little empty space"
        how = " or ".join(sorted({share.how for share in good}))
        yield find(name, expected=most, actual=f"{len(good)} of {len(shares)}, {how}", ok=True)


def _counts_too_short(about: Server, within: timedelta) -> bool:
    return about.counting is not None and about.counting < within.total_seconds()


def _last(seconds: float | None, about: Server) -> str:
    if seconds is not None:
        return f"{_span(seconds)} ago"
    return "never" if about.counting is None else f"not since the statistics were reset {_span(about.counting)} ago"


def _span(seconds: float) -> str:
    """A time in the unit that a person would say."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def _evidence(tables: Sequence[TableState], shares: Sequence[_Share]) -> bytes:
    heads = ("table", "live rows", "dead rows", "vacuumed ago", "analyzed ago", "age")
    rows = [
        (
            table.label,
            table.live,
            table.dead,
            *("never" if last is None else _span(last) for last in (table.vacuumed, table.analyzed)),
            f"{100 * table.age.share:.2f}%",
        )
        for table in tables
    ]
    known = [share for share in shares if share.value is not None]
    empty = [(s.space.label, s.space.pages, f"{100 * (s.value or 0):.1f}%", s.how) for s in known]
    return aligned(heads, rows) + b"\n" + aligned(("table or index", "pages", "empty", "how it was seen"), empty)
