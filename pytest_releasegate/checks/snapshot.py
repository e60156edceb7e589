"""`snapshot`: how many rows each table holds and what they are, kept for a later comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgcontent import Buckets, as_text_always, instant, layouts
from pytest_releasegate.sources.pgcounts import Asked, bounds, kept, measure
from pytest_releasegate.sources.pgestimates import NEVER, estimates
from pytest_releasegate.sources.pgparams import Predicates
from pytest_releasegate.sources.pgscan import shared
from pytest_releasegate.sources.pgtables import aligned, named, picked, selected, user_tables
from pytest_releasegate.sources.postgres import database_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding, Kept
    from pytest_releasegate.sources.pgcontent import Layout
    from pytest_releasegate.sources.pgcounts import Content
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Snapshot"]

Connections = list["psycopg.Connection[Any]"]


class Snapshot(Parameters):
    """The exact row counts of all tables at one instant, kept for `row_counts`; the denominator is the tables counted.

    With `checksums` what the rows hold is kept too, as one number a table that no order of rows changes. It is made for
    accidents, not for forgers, and takes 1.0 for 1.00.

    ```yaml
    snapshot:
      database: app
      exclude: [audit.*]
      where: {clients: test_run is null}
      checksums: true
      locate: [clients]
      least: 10
    ```
    """

    kind: ClassVar[str] = "snapshot"
    shorthand: ClassVar[str] = "database"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    moment: str = Field(default="before", pattern=r"^[a-z][a-z0-9_-]*$")
    """The name of the moment, by which `row_counts` finds it; `before` is taken once, and before the deployment."""
    schemas: list[str] = Field(default_factory=list)
    """The schemas whose tables are counted; by default all that users made."""
    tables: list[str] = Field(default_factory=list)
    """The tables to count, such as `clients` or `public.clients`; by default all."""
    exclude: list[str] = Field(default_factory=list)
    """Patterns of tables to leave out, such as `audit.*`."""
    where: Predicates = Field(default_factory=dict)
    """Predicates by table that leave marked test rows out, such as `test_run is null`."""
    estimate: bool | list[str] = False
    """True, or patterns of huge tables: their numbers are the planner's estimates, and are marked so ever after."""
    checksums: bool = False
    """Whether what the rows hold is kept too, for `identical` and `appended` of `row_counts`."""
    locate: list[str] = Field(default_factory=list)
    """Patterns of tables whose checksums by parts of the key (1024 at most) are kept too, to tell where rows differ."""
    without: dict[str, list[str]] = Field(default_factory=dict)
    """Columns by table that the checksum leaves out, such as those that the migration drops."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many tables there must be at least."""

    @model_validator(mode="after")
    def _agree(self) -> Snapshot:
        if not self.checksums and (self.locate or self.without):
            raise ValueError("`locate` and `without` are about checksums: set `checksums: true`")
        if self.estimate is True and (self.checksums or self.where):
            raise ValueError("an estimate knows neither content nor predicates: name the tables to estimate, as a list")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Count, and keep the counts."""
        self._refuse_too_late(context)
        name = database_name(context, self.database)
        if self.moment == "before" and (first := context.recorded(f"row_counts/{name}/before", of="first")):
            yield from self._stands(name, first)
            return
        with shared(context, name) as connections:
            taken = self._take(context, connections)
        counts, at = taken["tables"], context.clock.now().isoformat(timespec="seconds")
        whole = {"taken_at": at, "declared": self.model_dump(mode="json"), **taken}
        context.keep(f"row_counts/{name}/{self.moment}", whole)
        context.attach("row_counts.txt", "text/plain", _table(taken))
        unknown = [label for label, rows in counts.items() if rows is None]
        guessed = [label for label in taken["estimated"] if label not in unknown]
        yield find(
            f"snapshot '{self.moment}' of database '{name}'",
            expected=f"exact counts of one instant{', and the estimates that were asked for' if guessed else ''}",
            actual=f"{_summary(counts, guessed)} at {at}",
            ok=True,
        )
        for label in unknown:
            yield find(f"estimate of {label}", expected="the planner's statistics", actual=NEVER, ok=Ok.CANNOT_TELL)
        yield from self._denominators(taken)

    def _stands(self, name: str, first: Kept) -> Iterator[Finding]:
        """What was counted first stays: a later count could hide what a migration has changed since."""
        taken = first.value["taken_at"]
        changed = first.value["declared"] != self.model_dump(mode="json")
        yield find(
            f"snapshot 'before' of database '{name}'",
            expected="exact counts of one instant, as declared",
            actual=f"taken at {taken}{', and declared otherwise then' if changed else ''}; to count anew: "
            "releasegate reopen deploy/before --reason ...",
            ok=not changed,
        )
        yield from self._denominators(first.value)

    def _denominators(self, taken: Mapping[str, Any]) -> Iterator[Finding]:
        counts, estimated = taken["tables"], taken.get("estimated", ())
        yield counted("tables", len(counts), self.least)
        exact = [rows for label, rows in counts.items() if label not in estimated]
        if exact or not estimated:
            yield counted("rows", sum(exact))
        else:
            yield counted("rows (by estimate, none counted)", sum(rows or 0 for rows in counts.values()))

    def _take(self, context: Context, connections: Connections) -> dict[str, Any]:
        known = user_tables(connections[0], self.schemas)
        chosen = selected(known, self.tables, self.exclude)
        where = {named(table, known).label: text for table, text in self.where.items()}
        guessed = self._guessed(chosen, where)
        exact = [table for table in chosen if table.label not in guessed]
        counts = estimates(connections[0], [table for table in chosen if table.label in guessed]) if guessed else {}
        shapes = layouts(connections[0], exact) if self.checksums else {}
        asked = self._asked(context, connections, exact, where, shapes)
        found = measure(context, connections, asked)
        counts |= {label: content.rows for label, content in found.items()}
        sums = _kept(asked, shapes, found) if shapes else {}
        late = {"instant": instant(connections[0])} if shapes else {}
        scope = {"schemas": self.schemas, "named": [t.label for t in chosen] if self.tables else []}
        told = {"where": where, "exclude": self.exclude, "estimate": self.estimate, "estimated": sorted(guessed)}
        return {
            "tables": {table.label: counts[table.label] for table in chosen},
            **told,
            **scope,
            **late,
            "checksums": sums,
        }

    def _guessed(self, chosen: Sequence[Table], where: Mapping[str, str]) -> set[str]:
        patterns = ["*"] if self.estimate is True else self.estimate or []
        guessed = picked(chosen, patterns, "estimate") if chosen else set()
        if both := sorted(guessed & where.keys()):
            raise CannotLook(f"{both[0]} has a predicate, which no estimate knows", "count it exactly, or drop `where`")
        return guessed

    def _asked(
        self,
        context: Context,
        connections: Connections,
        tables: Sequence[Table],
        where: Mapping[str, str],
        shapes: Mapping[str, Layout],
    ) -> list[Asked]:
        """What is asked of each table in its one scan."""
        if not self.checksums:
            return [Asked(table, where.get(table.label, "")) for table in tables]
        as_text_always(connections)
        omitted = {named(name, tables).label: columns for name, columns in self.without.items()}
        by_keys = picked(tables, self.locate, "locate")
        keyed = [(t, key) for t in tables if t.label in by_keys and (key := shapes[t.label].integer_key)]
        ends = bounds(context, connections, keyed)
        asked = []
        for table in tables:
            shape, label = shapes[table.label], table.label
            columns = shape.only(_remaining(label, shape, omitted.get(label, ())))
            buckets = Buckets.of(shape, *ends.get(label, (None, None))) if label in by_keys and shape.key else None
            asked.append(Asked(table, where.get(label, ""), columns, shape.integer_key, buckets))
        return asked

    def _refuse_too_late(self, context: Context) -> None:
        at = context.release.deployed_at
        if self.moment == "before" and at is not None:
            raise CannotLook(
                f"a snapshot 'before' cannot be taken any more: {context.release.name} was deployed at "
                f"{at.isoformat(timespec='seconds')}",
                "counts taken now would hide what the deployment changed; name another `moment`",
            )


def _kept(
    asked: Sequence[Asked], shapes: Mapping[str, Layout], found: Mapping[str, Content]
) -> dict[str, dict[str, Any]]:
    return {label: kept(each, shapes[label], found[label]) for each in asked if (label := each.table.label)}


def _remaining(label: str, shape: Layout, omitted: Sequence[str]) -> set[str]:
    if missing := sorted({*omitted} - shape.by_name.keys()):
        hint = nearest(missing[0], list(shape.by_name))
        raise CannotLook(f"`without` names a column '{missing[0]}', which {label} has not", hint)
    return shape.by_name.keys() - {*omitted}


def _summary(counts: Mapping[str, int | None], guessed: Sequence[str]) -> str:
    exact = [rows for label, rows in counts.items() if label not in guessed and rows is not None]
    texts = [f"{sum(exact)} rows in {len(exact)} tables"] if exact or not guessed else []
    if guessed:
        rows = sum(counts[label] or 0 for label in guessed)
        texts.append(f"by estimate, and not counted, about {rows} rows in {len(guessed)} tables")
    return "; ".join(texts)


def _table(taken: Mapping[str, Any]) -> bytes:
    """All tables with their numbers; an estimate says so in its own column."""
    sums, estimated = taken["checksums"], taken["estimated"]
    heads = ["table", "rows", *(["how"] if estimated else []), *(["checksum"] if sums else [])]

    def line(label: str, rows: int | None) -> list[object]:
        how = ["an estimate" if label in estimated else "counted"] if estimated else []
        digest = [sums[label]["sum"] if label in sums else "-"] if sums else []
        return [label, "-" if rows is None else rows, *how, *digest]

    return aligned(heads, [line(label, rows) for label, rows in taken["tables"].items()])
