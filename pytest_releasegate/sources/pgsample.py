"""Some rows of each table, and the rows that they refer to, copied from one database into another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pgtables import Table, user_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg
    from psycopg import sql

__all__ = ["fill"]

_ROUNDS = 50
_COLUMNS = """
select array_agg(attname::text order by attnum) from pg_catalog.pg_attribute
where attrelid = %s and attnum > 0 and not attisdropped and attgenerated = ''
"""
_KEYS = """
select cn.nspname, ct.relname, pn.nspname, pt.relname, k.child, k.parent, k.types
from pg_catalog.pg_constraint c
join pg_catalog.pg_class ct on ct.oid = c.conrelid join pg_catalog.pg_namespace cn on cn.oid = ct.relnamespace
join pg_catalog.pg_class pt on pt.oid = c.confrelid join pg_catalog.pg_namespace pn on pn.oid = pt.relnamespace
cross join lateral (
    select array_agg(a.attname::text order by u.place) as child, array_agg(b.attname::text order by u.place) as parent,
           array_agg(format_type(b.atttypid, b.atttypmod) order by u.place) as types
    from unnest(c.conkey, c.confkey) with ordinality u(child, parent, place)
    join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = u.child
    join pg_catalog.pg_attribute b on b.attrelid = c.confrelid and b.attnum = u.parent
) k
where c.contype = 'f' and c.conparentid = 0 and not coalesce((to_jsonb(c) ->> 'conperiod')::boolean, false)
"""
_SEQUENCES = """
select schemaname, sequencename, last_value from pg_catalog.pg_sequences where last_value is not null
"""


@dataclass(frozen=True, slots=True)
class _Key:
    """A foreign key, as far as its rows are looked for."""

    child: Table
    parent: Table
    columns: tuple[str, ...]
    referred: tuple[str, ...]
    types: tuple[str, ...]


def fill(source: psycopg.Connection[Any], target: psycopg.Connection[Any], rows: int) -> None:
    """Copy at most `rows` rows of each table, then what they refer to; triggers stay silent."""
    from psycopg import sql

    target.execute("set session_replication_role = replica")
    tables = {(table.schema, table.name): table for table in user_tables(source)}
    columns = {name: _names(source, table) for name, table in tables.items()}
    for name, table in tables.items():
        query = sql.SQL("select {} from {} limit {}").format(columns[name], sql.SQL(table.source), rows)
        _copy(source, target, query, table, columns[name])
    keys = [_key(row, tables) for row in source.execute(_KEYS).fetchall() if row[:2] in tables and row[2:4] in tables]
    for _ in range(_ROUNDS):
        if not sum(_follow(source, target, key, columns[key.parent.schema, key.parent.name]) for key in keys):
            break
    for schema, name, last in source.execute(_SEQUENCES).fetchall():
        exists = "select setval(s.oid, %s) from pg_class s where s.oid = to_regclass(%s)"
        target.execute(exists, [last, sql.Identifier(schema, name).as_string()])
    target.execute("reset session_replication_role")


def _names(source: psycopg.Connection[Any], table: Table) -> sql.Composed:
    from psycopg import sql

    row = source.execute(_COLUMNS, [table.oid]).fetchone()
    return sql.SQL(", ").join(map(sql.Identifier, (row and row[0]) or []))


def _key(row: Sequence[Any], tables: dict[tuple[str, str], Table]) -> _Key:
    return _Key(tables[row[0], row[1]], tables[row[2], row[3]], tuple(row[4]), tuple(row[5]), tuple(row[6]))


def _follow(source: psycopg.Connection[Any], target: psycopg.Connection[Any], key: _Key, columns: sql.Composed) -> int:
    """Copy the rows that a key refers to and that are not there yet; their number."""
    from psycopg import sql

    own = [sql.Identifier("c", name) for name in key.columns]
    there = [sql.Identifier("p", name) for name in key.referred]
    same = sql.SQL(" and ").join(sql.SQL("{} = {}").format(a, b) for a, b in zip(there, own, strict=True))
    whole = sql.SQL(" and ").join(sql.SQL("{} is not null").format(name) for name in own)
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(name) for name in own)
    missing = sql.SQL("select distinct {} from {} c where {} and not exists (select from {} p where {})")
    found = target.execute(
        missing.format(texts, sql.SQL(key.child.source), whole, sql.SQL(key.parent.source), same)
    ).fetchall()
    if not found:
        return 0
    lists = [sql.SQL("{}::text[]").format(sql.Literal(list(values))) for values in zip(*found, strict=True)]
    casts = [sql.SQL("u.{}::{}").format(sql.Identifier(f"k{n}"), sql.SQL(kind)) for n, kind in enumerate(key.types)]
    aliases = sql.SQL(", ").join(sql.Identifier(f"k{n}") for n in range(len(lists)))
    query = sql.SQL("select {} from {} p where ({}) in (select {} from unnest({}) u({}))").format(
        columns,
        sql.SQL(key.parent.source),
        sql.SQL(", ").join(there),
        sql.SQL(", ").join(casts),
        sql.SQL(", ").join(lists),
        aliases,
    )
    return _copy(source, target, query, key.parent, columns)


def _copy(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    query: sql.Composed,
    table: Table,
    columns: sql.Composed,
) -> int:
    from psycopg import sql

    into = sql.SQL("copy {} ({}) from stdin").format(sql.SQL(table.sql), columns)
    with (
        source.cursor() as reading,
        target.cursor() as writing,
        reading.copy(sql.SQL("copy ({}) to stdout").format(query)) as out,
        writing.copy(into) as back,
    ):
        for block in out:
            back.write(block)
    return writing.rowcount
