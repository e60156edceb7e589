"""The tables of a PostgreSQL database: which there are, by what name a gate means them, and how many rows they hold."""

# ruff: noqa: S608  identifiers are quoted, values are bound, and predicates are the gate's own text
from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.sources.postgres import count_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import psycopg

    from pytest_releasegate.check import Context

__all__ = ["Table", "aligned", "count_rows", "named", "picked", "quoted", "require_schemas", "selected", "user_tables"]

RECORD_SCHEMA = "releasegate"
_MOST_EVIDENCE = 64 * 1024
_TABLES = """
select n.nspname, c.relname, c.relkind = 'p', c.oid::bigint
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and case when %(all)s then n.nspname <> %(record)s else n.nspname = any(%(schemas)s) end
order by n.nspname, c.relname
"""
_SCHEMAS = "select nspname from pg_catalog.pg_namespace where nspname = any(%s)"


@dataclass(frozen=True, slots=True, order=True)
class Table:
    """An ordinary or partitioned table; a partition is part of its parent and never stands alone."""

    schema: str
    name: str
    partitioned: bool = False
    oid: int = 0

    @property
    def label(self) -> str:
        """The name as people write it, such as `public.clients`."""
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        """The quoted name, to stand after FROM in a statement."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def source(self) -> str:
        """The quoted name, with ONLY where rows of inheriting tables would be counted twice."""
        return self.sql if self.partitioned else f"only {self.sql}"


def quoted(name: str) -> str:
    """An identifier in quotes."""
    return '"' + name.replace('"', '""') + '"'


def user_tables(connection: psycopg.Connection[Any], schemas: Sequence[str] = ()) -> list[Table]:
    """All tables of the schemas, by default of every schema that users made (but not the record's own)."""
    require_schemas(connection, schemas)
    values = {"all": not schemas, "record": RECORD_SCHEMA, "schemas": list(schemas)}
    found = [Table(*row) for row in connection.execute(_TABLES, values).fetchall()]
    if len({table.label for table in found}) < len(found):
        # one would be counted in the other's name
        names = [table.label for table in found]
        twice = next(name for name in names if names.count(name) > 1)
        raise CannotLook(f"two tables are called '{twice}' with their schemas", "rename one, or name `schemas`")
    return found


def require_schemas(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> None:
    """Raise `CannotLook` where the database lacks one of the schemas."""
    if schemas:
        found = {row[0] for row in connection.execute(_SCHEMAS, [list(schemas)]).fetchall()}
        if missing := sorted(set(schemas) - found):
            raise CannotLook(f"the database has no schema '{missing[0]}'", "correct `schemas` of the gate")


def named(name: str, tables: Sequence[Table]) -> Table:
    """The table that a gate means by `clients` or `public.clients`; raises `CannotLook` when none or several."""
    full = [table for table in tables if table.label == name]
    found = full or [table for table in tables if table.name == name]
    if not found:
        raise CannotLook(f"there is no table '{name}'", nearest(name, [table.label for table in tables]))
    if len(found) > 1:
        raise CannotLook(f"table '{name}' is in several schemas", f"write {' or '.join(t.label for t in found)}")
    return found[0]


def selected(tables: Sequence[Table], names: Sequence[str], exclude: Sequence[str]) -> list[Table]:
    """The named tables, or all, without those that a pattern such as `audit.*` or `tmp_*` leaves out."""
    chosen = sorted({named(name, tables) for name in names}) if names else list(tables)
    return [table for table in chosen if not any(_matches(table, pattern) for pattern in exclude)]


def picked(tables: Sequence[Table], patterns: Sequence[str], key: str) -> set[str]:
    """The labels of the tables that patterns under a key of the gate mean; raises `CannotLook` when one means none."""
    found = {pattern: {table.label for table in tables if _matches(table, pattern)} for pattern in patterns}
    for pattern, labels in found.items():
        if not labels:
            hint = nearest(pattern, [table.label for table in tables])
            raise CannotLook(f"`{key}` names '{pattern}', and no table that is looked at is called so", hint)
    return {label for labels in found.values() for label in labels}


def count_rows(
    connection: psycopg.Connection[Any], context: Context, tables: Sequence[Table], where: Mapping[str, str]
) -> dict[str, int]:
    """The exact number of rows of each table by its label; `where` leaves rows out, by label."""
    queries = [f"select count(*) from {table.source}{_where(where.get(table.label))}" for table in tables]
    numbers = count_each(connection, context, queries)
    return {table.label: number for table, number in zip(tables, numbers, strict=True)}


def aligned(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Rows as an aligned text table of at most 64 KiB; says when it was cut."""
    lines = [[str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    body = ("\n".join(texts) + "\n").encode()
    if len(body) <= _MOST_EVIDENCE:
        return body
    return body[:_MOST_EVIDENCE].rsplit(b"\n", 1)[0] + f"\n... cut: {len(texts) - 1} rows in all\n".encode()


def _where(predicate: str | None) -> str:
    return f" where (\n{predicate}\n)" if predicate else ""


def _matches(table: Table, pattern: str) -> bool:
    return fnmatchcase(table.label, pattern) or fnmatchcase(table.name, pattern)
