"""`orphans`: no row has lost its parent, whatever the foreign keys say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgkeys import compared, foreign_keys, orphans
from pytest_releasegate.sources.pgparams import Predicates
from pytest_releasegate.sources.pgscan import require_whole
from pytest_releasegate.sources.pgtables import aligned, named, selected, user_tables
from pytest_releasegate.sources.pgundeclared import Reference, candidates, pairs, resolved
from pytest_releasegate.sources.postgres import connect, count_each

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.pgkeys import ForeignKey
    from pytest_releasegate.sources.pgtables import Table
    from pytest_releasegate.sources.pgundeclared import Pair

__all__ = ["Orphans"]

_ALIKE = 0.99
"""The share of rows with a parent from which names are believed."""
Confirmed = list[tuple["Pair", int, int]]


class Orphans(Parameters):
    """The rows without their parent, by declared and undeclared keys; the denominator is the keys that were counted.

    ```yaml
    orphans:
      database: app
      keys: {notes.client_id: clients.id, "visits(region, code)": "sites(region, code)"}
      least: 3
    ```
    """

    kind: ClassVar[str] = "orphans"
    shorthand: ClassVar[str] = "database"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    schemas: list[str] = Field(default_factory=list)
    """The schemas whose tables are looked at; by default all that users made."""
    tables: list[str] = Field(default_factory=list)
    """The tables whose declared keys are looked at, such as `notes` or `public.notes`; by default all."""
    exclude: list[str] = Field(default_factory=list)
    """Patterns of tables to leave out, such as `staging.*`; a key of `keys` is always looked at."""
    keys: dict[str, str] = Field(default_factory=dict)
    """Keys that the schema may lack: `notes.client_id: clients.id`, or `visits(region, code): sites(region, code)`."""
    declared: bool = Field(default=True, strict=True)
    """Whether the foreign keys of the schema are counted too, validated or not."""
    where: Predicates = Field(default_factory=dict)
    """Predicates by table on the rows that must have a parent, such as `deleted_at is null`."""
    candidates: bool = Field(default=False, strict=True)
    """Whether keys are shown, never judged, that names suggest and the rows confirm."""
    no_keys: list[str] = Field(default_factory=list)
    """Columns that are never such candidates, such as `audit_logs.user_id`."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many keys there must be at least."""

    @field_validator("keys")
    @classmethod
    def _alike(cls, keys: dict[str, str]) -> dict[str, str]:
        for child, parent in keys.items():
            if len(Reference.parse(child).columns) != len(Reference.parse(parent).columns):
                raise ValueError(f"expected as many columns on both sides, got '{child}: {parent}'")
        return keys

    @field_validator("no_keys")
    @classmethod
    def _readable(cls, columns: list[str]) -> list[str]:
        return [column for column in columns if Reference.parse(column)]

    def look(self, context: Context) -> Iterator[Finding]:
        """Count the orphans of each key."""
        with connect(context, self.database) as connection:
            tables = user_tables(connection, self.schemas)
            everywhere = user_tables(connection) if self.schemas and (self.keys or self.candidates) else tables
            where = {named(table, everywhere).label: text for table, text in self.where.items()}
            undeclared = pairs(self.keys, everywhere)
            keys = self._keys(connection, selected(tables, self.tables, self.exclude), undeclared)
            plain = [key for key in keys if not key.temporal]
            numbers = dict(zip(plain, orphans(connection, context, plain, where), strict=True))
            held = compared(connection, context, plain, where)
            require_whole(connection, everywhere)
            drafts = self._drafts(connection, context, everywhere, undeclared, where) if self.candidates else []
        if keys or drafts:
            context.attach("orphans.txt", "text/plain", _evidence(keys, numbers, where, drafts))
        yield from _tell(keys, numbers)
        yield from (_draft(*draft) for draft in drafts if draft[2] <= draft[1] * (1 - _ALIKE))
        yield counted("keys", len(numbers), self.least)
        yield counted("keys with values", held)

    def _keys(
        self, connection: psycopg.Connection[Any], tables: Sequence[Table], undeclared: Sequence[Pair]
    ) -> list[ForeignKey]:
        """What is counted: a key that the gate and the schema declare is counted once."""
        own = resolved(connection, undeclared)
        declared = foreign_keys(connection, tables) if self.declared else []
        known = {key.comparison for key in declared}
        return [*(key for key in own if key.comparison not in known), *declared]

    def _drafts(
        self,
        connection: psycopg.Connection[Any],
        context: Context,
        tables: Sequence[Table],
        undeclared: Sequence[Pair],
        where: Mapping[str, str],
    ) -> Confirmed:
        """Candidates with how many of their rows have a value, and how many of those have no parent."""
        ignored = {(named(read.table, tables), read.columns) for read in map(Reference.parse, self.no_keys)}
        ignored |= {(pair.child, pair.columns) for pair in undeclared}
        inside = set(selected(tables, self.tables, self.exclude))
        found = [pair for pair in candidates(connection, tables) if pair.child in inside]
        chosen = [pair for pair in found if (pair.child, pair.columns) not in ignored]
        keys = resolved(connection, chosen)
        rows = count_each(connection, context, [key.valued(where.get(key.child.label, "")) for key in keys], 300.0)
        lost = orphans(connection, context, keys, where)
        return [draft for draft in zip(chosen, rows, lost, strict=True) if draft[1]]


def _tell(keys: Sequence[ForeignKey], numbers: Mapping[ForeignKey, int]) -> Iterator[Finding]:
    wanted, good = "no orphaned row", 0
    for key in keys:
        number = numbers.get(key)
        if number is None:
            actual = "a temporal key, whose rows were not looked at"
            yield find(str(key), expected=wanted, actual=actual, ok=Ok.CANNOT_TELL)
        elif number:
            rows = f"{number} orphaned row{'s' * (number > 1)}"
            actual = f"{rows}, {_says(key)}; orphans.txt has the query that lists them"
            yield find(str(key), expected=wanted, actual=actual, ok=False)
        else:
            good += 1
    if good:
        yield find("keys without orphans", expected=wanted, actual=f"{good} of {len(keys)}", ok=True)


def _says(key: ForeignKey) -> str:
    if key.name.startswith("undeclared"):
        return "where the schema has no foreign key"
    return f"the key is {', '.join(key.faults)}" if key.faults else "though the key says valid"


def _draft(pair: Pair, rows: int, lost: int) -> Finding:
    have = f"{rows - lost} of {rows} rows have their parent"
    actual = f"{have} ({pair.why}); add it to `keys`, or the column to `no_keys`"
    return find(f"candidate {pair}", expected="declared", actual=actual, ok=Ok.CANNOT_TELL, observe=True)


def _evidence(
    keys: Sequence[ForeignKey], numbers: Mapping[ForeignKey, int], where: Mapping[str, str], drafts: Confirmed
) -> bytes:
    heads = ("key", "table", "references", "faults in the catalogue", "orphaned rows")
    rows = [(k.name, k.child.label, k.parent.label, ", ".join(k.faults) or "-", numbers.get(k, "-")) for k in keys]
    rows += [(f"candidate, {p.why}", p.child.label, str(p), f"{total} rows", lost) for p, total, lost in drafts]
    failed = ((key, key.violating(where.get(key.child.label, ""))) for key in keys if numbers.get(key))
    lists = [f"\n{key}\nselect c.* {violating};\n" for key, violating in failed]
    return aligned(heads, rows) + "".join(lists).encode()
