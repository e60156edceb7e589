"""Whether rows of a table are unique in some columns: by a unique index that can be trusted, or by counting."""

# ruff: noqa: S608  identifiers are quoted, values are bound, and predicates are the gate's own text
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pgtables import quoted
from pytest_releasegate.sources.postgres import count_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["duplicated", "duplicates", "empty_everywhere", "unique_indexes"]

# An index of another collation or operator class may call equal what the columns do not.
_INDEXES = """
select c.relname, array(
    select a.attname::text from unnest(i.indkey::int2[]) with ordinality u(number, place)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.number where u.place <= i.indnkeyatts)
from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
where i.indrelid = %s and i.indisunique and i.indisvalid and i.indisready and i.indislive
  and not i.indisexclusion and i.indpred is null and i.indexprs is null
  and not exists (
    select from unnest(i.indkey::int2[], i.indcollation::oid[], i.indclass::oid[])
                with ordinality u(number, collation_, class, place)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.number
    join pg_catalog.pg_opclass o on o.oid = u.class
    where u.place <= i.indnkeyatts and (u.collation_ <> a.attcollation or not o.opcdefault))
order by c.relname
"""


def unique_indexes(connection: psycopg.Connection[Any], table: Table) -> dict[str, frozenset[str]]:
    """The unique indexes that hold for every row as the columns compare, each with its columns."""
    rows = connection.execute(_INDEXES, [table.oid]).fetchall()
    return {name: frozenset(columns) for name, columns in rows}


def duplicates(
    connection: psycopg.Connection[Any],
    context: Context,
    table: Table,
    columns: Sequence[str],
    where: str,
    at_most: float,
) -> int:
    """How many rows share their values of the columns with another; rows with a null in one of them do not."""
    query = f"select coalesce(sum(n), 0)::bigint from ({_groups(table, columns, where, 'count(*) n')}) g"
    (number,) = count_each(connection, context, [query], at_most)
    return number


def empty_everywhere(
    connection: psycopg.Connection[Any], context: Context, table: Table, columns: Sequence[str], where: str
) -> bool:
    """Whether each row has a null in one of the columns, so that nothing can be compared."""
    kept = f" and (\n{where}\n)" if where else ""
    rows = f"select 1 from {table.source} where num_nulls({', '.join(map(quoted, columns))}) = 0{kept} limit 1"
    return count_each(connection, context, [f"select count(*) from ({rows}) one"]) == [0]


def duplicated(table: Table, columns: Sequence[str], where: str) -> str:
    """The condition of rows that share their values with another."""
    names = ", ".join(map(quoted, columns))
    return f"({names}) in ({_groups(table, columns, where, names)})"


def _groups(table: Table, columns: Sequence[str], where: str, what: str) -> str:
    names = ", ".join(map(quoted, columns))
    kept = f" and (\n{where}\n)" if where else ""
    rows = f"from {table.source} where num_nulls({names}) = 0{kept}"
    return f"select {what} {rows} group by {names} having count(*) > 1"
