"""The columns of a table of PostgreSQL's, as the catalogue has them, and values as they stand in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.sources.pgtables import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

    from pytest_releasegate.sources.pgtables import Table

__all__ = ["NOW", "Column", "column_of", "columns_of", "literal", "newest", "no_instant"]

NOW = "statement_timestamp()"
"""Of the scan itself: rows may have been committed between the start of the transaction and its first look."""
_COLUMNS = """
select a.attname, b.typname, a.attnotnull, coalesce(k.place, 0)
from pg_catalog.pg_attribute a
join lateral (
    with recursive base(typname, below) as (
        select t.typname, t.typbasetype from pg_catalog.pg_type t where t.oid = a.atttypid
        union all
        select t.typname, t.typbasetype from base join pg_catalog.pg_type t on t.oid = base.below
    )
    select typname from base where below = 0
) b on true
left join (select i.indrelid, u.number, u.place from pg_catalog.pg_index i,
                  unnest(i.indkey::int2[]) with ordinality u(number, place) where i.indisprimary) k
  on k.indrelid = a.attrelid and k.number = a.attnum
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped order by a.attnum
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the catalogue has it; `key` is its place in the primary key, 0 where it is not in it."""

    name: str
    type: str
    not_null: bool
    key: int

    @property
    def sql(self) -> str:
        """Its quoted name."""
        return quoted(self.name)

    @property
    def zoneless(self) -> bool:
        """Whether its values are no instants before somebody says in which zone."""
        return self.type in ("timestamp", "date")

    @property
    def has_nan(self) -> bool:
        """Whether it may hold a value that is no number, which PostgreSQL sorts above all numbers."""
        return self.type in ("float4", "float8", "numeric")

    def instant(self, zone: str) -> str:
        """The expression for the instant that it holds."""
        return f"({self.sql}::timestamp at time zone {literal(zone)})" if self.zoneless else self.sql


def columns_of(connection: psycopg.Connection[Any], table: Table) -> dict[str, Column]:
    """The columns of a table, by name."""
    rows = connection.execute(_COLUMNS, [table.oid]).fetchall()
    return {row[0]: Column(*row) for row in rows}


def column_of(table: Table, columns: Mapping[str, Column], name: str) -> Column:
    """A column of the table; raises `CannotLook` where there is none of that name."""
    if name not in columns:
        raise CannotLook(f"{table.label} has no column '{name}'", nearest(name, list(columns)))
    return columns[name]


def no_instant(column: Column) -> str:
    """Why nothing can be said of when the values of a column were."""
    return f"the column is a {column.type} without time zone; say its `zone`"


def newest(column: Column, zone: str) -> str:
    """The aggregate that gives how many seconds old the newest value is, of those not in the future."""
    instant = column.instant(zone or "UTC")
    past = f"isfinite({instant}) and {instant} <= {NOW}"
    # as of the snapshot: a long scan makes nothing older
    return f"extract(epoch from now() - max({instant}) filter (where {past}))::float8"


def literal(value: Any) -> str:
    """A value as it stands in SQL; text without a type, so that the column gives it one."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"({value!r})"
    text = str(value).replace("'", "''")
    return "E'" + text.replace("\\", "\\\\") + "'" if "\\" in text else f"'{text}'"
