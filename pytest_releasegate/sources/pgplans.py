"""What a target says of a migration before it runs: sizes of tables, versions it has, plans of writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pgddl import actions
from pytest_releasegate.sources.pghazards import Size
from pytest_releasegate.sources.postgres import bound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgsplit import Script, Statement

__all__ = ["pending", "plans", "sizes"]

_SIZES = """
select n.nspname || '.' || c.relname,
       (select case when bool_or(p.reltuples < 0) and sum(greatest(p.relpages, 0)) > 0 then -1
                    else sum(greatest(p.reltuples, 0)) end
        from pg_catalog.pg_partition_tree(c.oid) t join pg_catalog.pg_class p on p.oid = t.relid)::bigint,
       (select coalesce(sum(pg_catalog.pg_relation_size(t.relid)), 0)
        from pg_catalog.pg_partition_tree(c.oid) t)::bigint,
       c.reltuples::bigint, pg_catalog.pg_relation_size(c.oid)::bigint, c.relkind = 'p'
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
"""
_WRITES = frozenset({"update", "delete", "merge", "insert"})
_TABLE = r"(?P<table>(?:only\s+)?[\w.\"]+(?:\s+(?:as\s+)?(?!set\b|where\b)\w+)?)"
_WHERE = r"(?P<where>\bwhere\b.*|$)"
_READABLE = (
    re.compile(r"(?is)\s*insert\s+into\s+[^;(]*?(?:\([^)]*\)\s*)?(?P<query>(?:with|select|values)\b.*)"),
    re.compile(rf"(?is)\s*update\s+{_TABLE}\s+set\b.*?{_WHERE}"),
    re.compile(rf"(?is)\s*delete\s+from\s+{_TABLE}\s*{_WHERE}"),
)


def sizes(connection: psycopg.Connection[Any]) -> dict[str, Size]:
    """The tables of a database by label, with what the planner's statistics and the files say of their size."""
    told = {}
    for name, tree_rows, tree_bytes, rows, size, partitioned in connection.execute(_SIZES).fetchall():
        told[name] = Size(tree_rows, tree_bytes) if partitioned else Size(rows, size)
    return told


def pending(files: Sequence[Script], applied: Sequence[str]) -> list[Script]:
    """The files that the database does not have yet, by the first word of their names or by all of it."""
    have = {str(version).lstrip("0") or "0" for version in applied}
    return [file for file in files if not have & set(_versions(file.name))]


def plans(
    connection: psycopg.Connection[Any], context: Context, files: Sequence[Script], known: dict[str, Size]
) -> Iterator[tuple[Script, Statement, int, str]]:
    """The plan of each write to a table that is there, and how many rows its planner expects."""
    for file in files:
        for statement in file.statements:
            done = actions(statement.code)
            if done and done[0].verb in _WRITES and done[0].table in known:
                found = _plan(connection, context, statement.text)
                if found:
                    yield (file, statement, *found)


def _plan(connection: psycopg.Connection[Any], context: Context, text: str) -> tuple[int, str] | None:
    """The planner's rows and lines; a role that must not write is told the plan of what is read instead."""
    import psycopg

    readable = "".join(_readable(text))
    for query in (text, readable):
        if not query:
            continue
        bound(connection, context, 10.0)
        try:
            with connection.transaction():
                # a binary answer takes the extended protocol, which takes one statement only
                told = connection.execute(f"explain {query}".encode(), binary=True).fetchall()
        except psycopg.Error:
            continue
        lines = [str(line) for (line,) in told]
        # the first line of a write is the write itself
        source = next((line for line in lines if "->" in line), lines[0]) if query is text else lines[0]
        rows = re.search(r"rows=(\d+)", source)
        return (int(rows[1]) if rows else 0), "\n".join(lines)
    return None


def _readable(text: str) -> Iterator[str]:
    insert, update, delete = _READABLE
    if found := insert.match(text):
        yield found["query"]
    elif found := update.match(text) or delete.match(text):
        yield f"select from {found['table']} {found['where']}"


def _versions(path: str) -> Iterator[str]:
    """What a version table may call a file: `3` or `003_names` of `003_names.up.sql`, `1.2` of `V1_2__names.sql`."""
    name = path.rpartition("/")[2].removesuffix(".sql").removesuffix(".up")
    flyway = re.match(r"[VU](\d+(?:[._]\d+)*)__", name)
    yield flyway[1].replace("_", ".") if flyway else re.split(r"[_.-]", name)[0].lstrip("0") or "0"
    yield name.lstrip("0") or "0"
