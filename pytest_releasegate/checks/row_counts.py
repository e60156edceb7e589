"""`row_counts`: how the rows changed since the snapshot of this release, or how two databases differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from pytest_releasegate.check import find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgcontent import as_text_always, instant, layouts, since
from pytest_releasegate.sources.pgcounts import Asked, ask_again, compared, measure
from pytest_releasegate.sources.pgdiff import differences, pair
from pytest_releasegate.sources.pgestimates import estimates
from pytest_releasegate.sources.pgparams import Predicates
from pytest_releasegate.sources.pgscan import shared
from pytest_releasegate.sources.pgtables import named, selected, user_tables
from pytest_releasegate.sources.postgres import database_name
from pytest_releasegate.sources.rowchange import Change
from pytest_releasegate.sources.rowdiff import Diff, expectations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.pgcounts import Told
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Change", "RowCounts"]

_SCOPE = ("schemas", "tables", "exclude", "where", "without")


class RowCounts(Parameters):
    """The row counts of now against the `snapshot` of this release; the denominator is the tables compared.

    What the snapshot left out (`exclude`, `where`) is left out again. With `against` another database of the
    environment stands in the snapshot's place, such as staging, or what a backup was restored into.

    ```yaml
    row_counts:
      database: app
      expect: {clients: identical, appointments: "+120", audit_log: appended, notes: "-0", consents: new}
      default: unchanged
    ```
    """

    kind: ClassVar[str] = "row_counts"
    shorthand: ClassVar[str] = "database"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    moment: str = Field(default="before", pattern=r"^[a-z][a-z0-9_-]*$")
    """The moment of the snapshot to compare with."""
    against: str = ""
    """Another database of the environment to compare with, in the place of a snapshot."""
    expect: dict[str, Change] = Field(default_factory=dict)
    """By table `unchanged`, `+120`, `-5`, `-0` (none lost), `+0..+50`, `~10%`, `>= 5`, `== 120`, `new`, `dropped`,
    `any`; or, of what the rows hold, `identical`, or `appended`: rows came, and those of before are the same."""
    default: Change = Change.parse("unchanged")
    """What the tables of the snapshot that `expect` does not name must do."""
    schemas: list[str] = Field(default_factory=list)
    """With `against`, the schemas whose tables are compared; by default all that users made."""
    tables: list[str] = Field(default_factory=list)
    """With `against`, the tables to compare; by default all."""
    exclude: list[str] = Field(default_factory=list)
    """With `against`, patterns of tables to leave out, such as `audit.*`."""
    where: Predicates = Field(default_factory=dict)
    """With `against`, predicates by table that leave rows out on both sides."""
    without: dict[str, list[str]] = Field(default_factory=dict)
    """With `against`, columns by table whose content may differ."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many tables must be compared at least."""

    @model_validator(mode="after")
    def _agree(self) -> RowCounts:
        if self.against and "moment" in self.model_fields_set:
            raise ValueError("compare with a `moment` or `against` a database, not both")
        if not self.against and (given := [key for key in _SCOPE if getattr(self, key)]):
            raise ValueError(f"`{given[0]}` is what the snapshot says; it belongs here only with `against`")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Count again, and compare table by table."""
        name = database_name(context, self.database)
        if self.against:
            diff = self._between(context, name, database_name(context, self.against))
        else:
            kept = context.recorded(f"row_counts/{name}/{self.moment}")
            if kept is None:
                yield self._without_snapshot(name, context)
                return
            diff = self._since(context, name, kept.value)
        context.attach("row_counts.txt", "text/plain", diff.table())
        yield from diff.findings(self.least)

    def _without_snapshot(self, name: str, context: Context) -> Finding:
        return find(
            f"snapshot '{self.moment}' of database '{name}'",
            expected="one of this release to compare with",
            actual=f"none of {context.release.name}; it is taken by a gate with `snapshot:`",
            ok=Ok.CANNOT_TELL,
        )

    def _since(self, context: Context, name: str, snapshot: Mapping[str, Any]) -> Diff:
        """What became of the tables since the snapshot."""
        try:
            before, scope = snapshot["tables"], [snapshot[key] for key in ("named", "where", "exclude", "schemas")]
        except (KeyError, TypeError):
            raise CannotLook(f"the snapshot of database '{name}' cannot be read", "take it again") from None
        with shared(context, name) as connections:
            tables = self._tables(connections[0], scope[0], *scope[2:])
            expected = expectations(self.expect, {*before, *(table.label for table in tables)})
            diff = Diff(before, {}, expected, self.default)
            guessed = {*snapshot.get("estimated", ())}
            after: dict[str, int | None] = {}
            if some := [table for table in tables if table.label in guessed]:
                after |= estimates(connections[0], some)
            exact = [table for table in tables if table.label not in guessed]
            counts, contents = _again(context, connections, exact, snapshot, diff)
        return Diff(before, after | counts, expected, self.default, guessed, contents)

    def _tables(
        self, connection: psycopg.Connection[Any], names: list[str], exclude: list[str], schemas: list[str]
    ) -> list[Table]:
        tables = selected(user_tables(connection, schemas), [], exclude)
        if not names:
            return tables
        return [table for table in tables if {table.label, table.name} & {*names, *self.expect}]

    def _between(self, context: Context, name: str, other: str) -> Diff:
        """How this database differs from the other one, as if it had become of it."""
        if name == other:
            raise CannotLook(f"database '{name}' cannot be compared with itself", "name another database")
        with pair(context, other, name) as both:
            tables = [self._compared(connection) for connection in both.connections]
            labels = {label for side in tables for label in side}
            expected = expectations(self.expect, labels)
            known = list({table.label: table for side in tables for table in side.values()}.values())
            where = {named(table, known).label: text for table, text in self.where.items()}
            without = {named(table, known).label: columns for table, columns in self.without.items()}
            content = {label for label in labels if expected.get(label, self.default).content}
            before, after, contents = differences(both, tables, where, without, content)
        return Diff(before, after, expected, self.default, contents=contents, sides=(other, name))

    def _compared(self, connection: psycopg.Connection[Any]) -> dict[str, Table]:
        """The tables of one side; a table that only the other side has is told, and is no error."""
        known = user_tables(connection, self.schemas)
        names = [name for name in self.tables if any(name in (table.label, table.name) for table in known)]
        chosen = selected(known, names, self.exclude) if names or not self.tables else []
        return {table.label: table for table in chosen}


def _again(
    context: Context,
    connections: list[psycopg.Connection[Any]],
    tables: list[Table],
    snapshot: Mapping[str, Any],
    diff: Diff,
) -> tuple[dict[str, int | None], dict[str, Told]]:
    """Count the tables again, and hold their content against what was kept where the gate asks for it."""
    kept, where = snapshot.get("checksums", {}), snapshot["where"]
    wanted = [table for table in tables if table.label in diff.before and diff.change(table.label).content]
    shapes = layouts(connections[0], wanted) if wanted else {}
    if wanted:
        as_text_always(connections)
    late = since(snapshot["instant"], instant(connections[0])) if wanted and "instant" in snapshot else ""
    contents: dict[str, Told] = {}
    asked = {table.label: Asked(table, where.get(table.label, "")) for table in tables}
    for table in wanted:
        label = table.label
        found = ask_again(asked[label], kept.get(label), shapes[label], diff.change(label), late)
        if isinstance(found, Asked):
            asked[label] = found
        else:
            contents[label] = found
    measured = measure(context, connections, list(asked.values()))
    for label in shapes.keys() - contents.keys():
        rows, shape, change = diff.before[label] or 0, shapes[label], diff.change(label)
        contents[label] = compared(kept[label], rows, asked[label], shape, measured[label], change)
    return {label: content.rows for label, content in measured.items()}, contents
