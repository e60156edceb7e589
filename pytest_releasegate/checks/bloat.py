"""`bloat`: vacuum keeps up, with dead rows, with empty space and with the age of transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, Threshold, format_duration
from pytest_releasegate.sources.pgbloat import database_ages, index_space, measured, server, table_space
from pytest_releasegate.sources.pgtables import aligned, selected, user_tables
from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import timedelta

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.pgbloat import Age, IndexSpace, Server, TableSpace

__all__ = ["Bloat"]

_ESTIMATE = "estimated from the statistics"


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
            about, databases = server(connection), database_ages(connection)
            tables = table_space(connection, chosen)
            large = [table for table in tables if table.rows >= self.min_rows]
            indexes = [each for each in index_space(connection, chosen) if each.table in {t.oid for t in large}]
            schema = None if self.estimate else about.pgstattuple
            spare = measured(connection, schema, large) if schema and large else {}
        if tables:
            context.attach("bloat.txt", "text/plain", _evidence(tables, about, spare))
        yield from self._ages([*databases, *(table.age for table in tables)])
        yield from self._vacuum(large, about)
        yield from self._spaces(large, indexes, about, spare)
        yield counted("tables", len(tables), self.least)

    def _ages(self, ages: Sequence[Age]) -> Iterator[Finding]:
        wanted, good = f"{self.age} of the age that makes vacuum freeze", 0
        for age in ages:
            if self.age.holds(age.share):
                good += 1
            else:
                actual = f"{100 * age.share:.4g}%: {age.worse} (vacuum freeze, and end old transactions and slots)"
                yield find(f"age of {age.what}", expected=wanted, actual=actual, ok=False)
        if good:
            yield find("databases and tables young enough", expected=wanted, actual=f"{good} of {len(ages)}", ok=True)

    def _vacuum(self, large: Sequence[TableSpace], about: Server) -> Iterator[Finding]:
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

    def _dead(self, table: TableSpace) -> Iterator[Finding]:
        if not self.dead.holds(table.dead_share):
            last = "never vacuumed" if table.vacuumed is None else f"vacuumed {_span(table.vacuumed)} ago"
            actual = f"{100 * table.dead_share:.4g}% ({table.dead} of {table.live + table.dead}; {last})"
            yield find(f"dead rows of {table.label}", expected=self.dead, actual=actual, ok=False)

    def _since(self, table: TableSpace, about: Server) -> Iterator[Finding]:
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

    def _spaces(
        self, large: Sequence[TableSpace], indexes: Sequence[IndexSpace], about: Server, spare: Mapping[int, float]
    ) -> Iterator[Finding]:
        shares = [(t.label, spare.get(t.oid, t.empty_share(about.block)), t.oid in spare) for t in large]
        yield from _space("table", self.table_bloat, shares)
        yield from _space("index", self.index_bloat, [(x.label, x.empty_share(about.block), False) for x in indexes])


def _space(what: str, most: Threshold, shares: Sequence[tuple[str, float | None, bool]]) -> Iterator[Finding]:
    good, seen = 0, {exact for _, share, exact in shares if share is not None}
    for label, share, exact in shares:
        how = "by pgstattuple_approx" if exact else _ESTIMATE
        name = f"empty space of {what} {label}"
        if share is None:
            actual = "not known: analyze it, and let the role that looks read it"
            yield find(name, expected=most, actual=actual, ok=Ok.CANNOT_TELL)
        elif most.holds(share):
            good += 1
        else:
            yield find(name, expected=most, actual=f"{100 * share:.4g}%, {how}", ok=False)
    if good:
        how = _ESTIMATE if seen == {False} else "by pgstattuple_approx" if seen == {True} else "measured or estimated"
        name = f"{'tables' if what == 'table' else 'indexes'} with little empty space"
        yield find(name, expected=most, actual=f"{good} of {len(shares)}, {how}", ok=True)


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


def _evidence(tables: Sequence[TableSpace], about: Server, spare: Mapping[int, float]) -> bytes:
    heads = ("table", "live rows", "dead rows", "empty", "vacuumed ago", "analyzed ago", "age")

    def cells(table: TableSpace) -> tuple[object, ...]:
        share = spare.get(table.oid, table.empty_share(about.block))
        ago = ("never" if last is None else _span(last) for last in (table.vacuumed, table.analyzed))
        empty = "-" if share is None else f"{100 * share:.3g}%{'' if table.oid in spare else ' estimated'}"
        return (table.label, table.live, table.dead, empty, *ago, f"{100 * table.age.share:.3g}%")

    return aligned(heads, map(cells, tables))
