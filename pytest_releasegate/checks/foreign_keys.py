"""`foreign_keys`: every foreign key is in force, and no row violates it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgkeys import filled, foreign_keys, orphans
from pytest_releasegate.sources.pgscan import require_whole
from pytest_releasegate.sources.pgtables import aligned, selected, user_tables
from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.pgkeys import ForeignKey

__all__ = ["ForeignKeys"]


class ForeignKeys(Parameters):
    """The foreign keys of a database, in the catalogue and row by row; the denominator is the keys looked at.

    ```yaml
    foreign_keys:
      database: app
      schemas: [public]
      least: 3
    ```
    """

    kind: ClassVar[str] = "foreign_keys"
    shorthand: ClassVar[str] = "database"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    schemas: list[str] = Field(default_factory=list)
    """The schemas whose tables are looked at; by default all that users made."""
    tables: list[str] = Field(default_factory=list)
    """The tables that hold the keys, such as `notes` or `public.notes`; by default all."""
    exclude: list[str] = Field(default_factory=list)
    """Patterns of tables to leave out, such as `staging.*`."""
    look_at: Literal["rows", "untrusted", "catalogue"] = Field(default="rows", alias="look")
    """`rows` counts what violates each key, `untrusted` only where a key is not validated or not in force, which misses
    what a restore without triggers left, and `catalogue` counts nothing."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many keys there must be at least."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask the catalogue, and count the orphans."""
        with connect(context, self.database) as connection:
            tables = selected(user_tables(connection, self.schemas), self.tables, self.exclude)
            keys = foreign_keys(connection, tables)
            plain = [key for key in keys if not key.temporal and self._counts(key)]
            numbers = dict(zip(plain, orphans(connection, context, plain), strict=True))
            children = list(dict.fromkeys(key.child for key in plain))
            held = filled(connection, context, children)
            require_whole(connection, tables if plain else [])
        if keys:
            context.attach("foreign_keys.txt", "text/plain", _table(keys, numbers))
        yield from self._tell(keys, numbers)
        yield counted("foreign keys", len(keys), self.least)
        if numbers and self.look_at == "rows":
            yield counted("tables with rows", held)

    def _counts(self, key: ForeignKey) -> bool:
        """Whether the rows of the key are counted."""
        return self.look_at == "rows" or (self.look_at == "untrusted" and bool(key.faults))

    def _tell(self, keys: Sequence[ForeignKey], numbers: Mapping[ForeignKey, int]) -> Iterator[Finding]:
        wanted = "validated and in force" + (", no orphaned row" if self.look_at == "rows" else "")
        good = 0
        for key in keys:
            number = numbers.get(key)
            faults = [*key.faults, *([f"{number} orphaned row{'s' * (number > 1)}"] if number else [])]
            if self.look_at == "untrusted" and number == 0:
                faults.append("no orphaned row")
            if faults:
                yield find(str(key), expected=wanted, actual=", ".join(faults), ok=False)
            elif number is None and self._counts(key):
                actual = "a temporal key, whose rows were not looked at"
                yield find(str(key), expected=wanted, actual=actual, ok=Ok.CANNOT_TELL)
            else:
                good += 1
        if good:
            yield find("foreign keys that hold", expected=wanted, actual=f"{good} of {len(keys)}", ok=True)


def _table(keys: Sequence[ForeignKey], numbers: Mapping[ForeignKey, int]) -> bytes:
    heads = ("key", "table", "references", "faults in the catalogue", "orphaned rows")
    rows = ((k.name, k.child.label, k.parent.label, ", ".join(k.faults) or "-", numbers.get(k, "-")) for k in keys)
    return aligned(heads, rows)
