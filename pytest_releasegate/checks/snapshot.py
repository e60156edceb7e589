"""`snapshot`: how many rows each table holds, kept for a later comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgtables import aligned, count_rows, named, selected, user_tables
from pytest_releasegate.sources.postgres import connect, database_name, one_predicate

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding, Kept

__all__ = ["Snapshot"]


class Snapshot(Parameters):
    """The exact row counts of all tables at one instant, kept for `row_counts`; the denominator is the tables counted.

    ```yaml
    snapshot:
      database: app
      exclude: [audit.*]
      where: {clients: test_run is null}
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
    where: dict[str, str] = Field(default_factory=dict)
    """Predicates by table that leave marked test rows out, such as `test_run is null`."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many tables there must be at least."""

    @field_validator("where")
    @classmethod
    def _predicates(cls, where: dict[str, str]) -> dict[str, str]:
        return {table: one_predicate(text, f"the predicate of {table}") for table, text in where.items()}

    def look(self, context: Context) -> Iterator[Finding]:
        """Count, and keep the counts."""
        self._refuse_too_late(context)
        name = database_name(context, self.database)
        if self.moment == "before" and (first := context.recorded(f"row_counts/{name}/before", of="first")):
            yield from self._stands(name, first)
            return
        with connect(context, name) as connection:
            kept = self._count(context, connection)
        counts, taken = kept["tables"], context.clock.now().isoformat(timespec="seconds")
        whole = {"taken_at": taken, "declared": self.model_dump(mode="json"), **kept}
        context.keep(f"row_counts/{name}/{self.moment}", whole)
        context.attach("row_counts.txt", "text/plain", aligned(("table", "rows"), counts.items()))
        yield find(
            f"snapshot '{self.moment}' of database '{name}'",
            expected="exact counts of one instant",
            actual=f"{sum(counts.values())} rows in {len(counts)} tables at {taken}",
            ok=True,
        )
        yield counted("tables", len(counts), self.least)
        yield counted("rows", sum(counts.values()))

    def _stands(self, name: str, first: Kept) -> Iterator[Finding]:
        """What was counted first stays: a later count could hide what a migration has changed since."""
        counts, taken = first.value["tables"], first.value["taken_at"]
        changed = first.value["declared"] != self.model_dump(mode="json")
        yield find(
            f"snapshot 'before' of database '{name}'",
            expected="exact counts of one instant, as declared",
            actual=f"taken at {taken}{', and declared otherwise then' if changed else ''}; to count anew: "
            "releasegate reopen deploy/before --reason ...",
            ok=not changed,
        )
        yield counted("tables", len(counts), self.least)
        yield counted("rows", sum(counts.values()))

    def _count(self, context: Context, connection: psycopg.Connection[Any]) -> dict[str, Any]:
        known = user_tables(connection, self.schemas)
        chosen = selected(known, self.tables, self.exclude)
        where = {named(table, known).label: text for table, text in self.where.items()}
        counts = count_rows(connection, context, chosen, where)
        scope = {"schemas": self.schemas, "named": [t.label for t in chosen] if self.tables else []}
        return {"tables": counts, "where": where, "exclude": self.exclude, **scope}

    def _refuse_too_late(self, context: Context) -> None:
        at = context.release.deployed_at
        if self.moment == "before" and at is not None:
            raise CannotLook(
                f"a snapshot 'before' cannot be taken any more: {context.release.name} was deployed at "
                f"{at.isoformat(timespec='seconds')}",
                "counts taken now would hide what the deployment changed; name another `moment`",
            )
