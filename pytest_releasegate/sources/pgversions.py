"""Which migrations a database says it has: the version tables of Alembic, Django, Flyway, Supabase and others."""

# ruff: noqa: S608  identifiers are quoted, and names of columns come from the catalogue
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgtables import Table, named, quoted, user_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg

__all__ = ["TOOLS", "Applied", "Versions", "natural", "same_version", "versions"]

TOOLS = {
    "alembic_version": "alembic",
    "django_migrations": "django",
    "flyway_schema_history": "flyway",
    "schema_migrations": "plain",
}
"""The version tables that are known by their names."""
_VERSION = ("version", "version_num", "version_id", "migration")
_NAME = ("name", "description", "filename")
_SCRIPT = ("script", "name", "description", "filename")
_AT = ("applied_at", "applied", "installed_on", "inserted_at", "executed_at", "migrated_at", "created_at")
_MILLISECONDS = ("duration_ms", "execution_time", "execution_time_ms", "execution_ms", "elapsed_ms")
_SECONDS = ("duration_s", "duration_seconds", "seconds", "duration")
_CHECKSUM = ("checksum", "hash", "sha256")
_COLUMNS = """
select a.attname, format_type(a.atttypid, null) from pg_catalog.pg_attribute a
where a.attrelid = %s::oid and a.attnum > 0 and not a.attisdropped
"""
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Applied:
    """One row of a version table."""

    version: str
    name: str = ""
    at: datetime | None = None
    seconds: float | None = None
    checksum: str = ""
    good: bool = True
    """False where the row says that it failed, or was left halfway."""
    sort: str = ""
    """What Flyway calls the type, such as SQL, BASELINE or UNDO_SQL."""
    script: str = ""


@dataclass(frozen=True, slots=True)
class Versions:
    """A version table with its rows, oldest first."""

    table: str
    tool: str
    rows: tuple[Applied, ...]

    @property
    def standing(self) -> tuple[Applied, ...]:
        """The rows that count: of each version the last, without those that were undone since."""
        last = {row.version or row.script: row for row in self.rows}
        return tuple(row for row in last.values() if not row.sort.upper().startswith("UNDO"))

    def of(self, version: str) -> Applied | None:
        """The row of that version, or none."""
        return next((row for row in reversed(self.standing) if same_version(row.version, version)), None)

    @property
    def newest(self) -> Applied | None:
        """The row of the highest version; with Django, of the one that was applied last."""
        counted = [row for row in self.standing if row.version]
        if self.tool == "django":
            return counted[-1] if counted else None
        return max(counted, key=lambda row: natural(row.version), default=None)


def natural(version: str) -> list[tuple[int, int, str]]:
    """A key that sorts 9 before 10, and 1.9 before 1.10."""
    parts = re.findall(r"\d+|[^\W\d_]+", version)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def same_version(one: str, other: str) -> bool:
    """Whether two versions are one, as 003 and 3 are."""
    return one == other or (_plain(one) and _plain(other) and natural(one) == natural(other))


def versions(connection: psycopg.Connection[Any], table: str = "") -> Versions:
    """What the version table says; it is found by its name where none is given."""
    tables = user_tables(connection)
    found = named(table, tables) if table else _detected(tables)
    columns = dict(connection.execute(_COLUMNS, [found.oid]).fetchall())
    tool = _tool(found, columns)
    rows = connection.execute(_query(found, columns, tool).encode()).fetchall()
    if len(rows) > _MOST:
        raise CannotLook(f"{found.label} has more than {_MOST} rows", "name the version table with `table`")
    return Versions(found.label, tool, tuple(Applied(*row) for row in rows))


def _plain(version: str) -> bool:
    return bool(re.fullmatch(r"[\d._-]+", version))


def _detected(tables: Sequence[Table]) -> Table:
    found = [table for table in tables if table.name in TOOLS]
    if not found:
        known = ", ".join(TOOLS)
        raise CannotLook(f"no version table is known by its name ({known})", "name it with `table`")
    if len(found) > 1:
        raise CannotLook(f"several version tables: {', '.join(t.label for t in found)}", "name one with `table`")
    return found[0]


def _tool(table: Table, columns: Mapping[str, str]) -> str:
    tool = TOOLS.get(table.name, "plain")
    if tool == "plain" and "statements" in columns:
        return "supabase"
    if tool == "plain" and {"installed_rank", "success"} <= set(columns):
        return "flyway"
    # golang-migrate keeps one row: where it stands
    return "current" if tool == "plain" and set(columns) == {"version", "dirty"} else tool


def _query(table: Table, columns: Mapping[str, str], tool: str) -> str:
    version = _first(columns, _VERSION)
    if tool == "django":
        key = "app || '.' || name"
    elif version:
        key = f"coalesce({quoted(version)}::text, '')"
    else:
        hint = f"expected a column {' or '.join(_VERSION)}"
        raise CannotLook(f"{table.label} is no version table: it has no column for the version", hint)
    at = _first(columns, _AT, "time")
    parts = [key, _text(_first(columns, _NAME)), f"{quoted(at)}::timestamptz" if at else "null::timestamptz"]
    parts += [_duration(columns), _text(_first(columns, _CHECKSUM)), _good(columns)]
    parts += [_text("type" if "type" in columns else ""), _text(_first(columns, _SCRIPT))]
    order = "installed_rank" if "installed_rank" in columns else "id" if "id" in columns else f"{parts[2]}, 1"
    return f"select {', '.join(parts)} from {table.source} order by {order} limit {_MOST + 1}"


def _first(columns: Mapping[str, str], names: Sequence[str], of_type: str = "") -> str:
    return next((name for name in names if name in columns and of_type in columns[name]), "")


def _text(column: str) -> str:
    return f"coalesce({quoted(column)}::text, '')" if column else "''"


def _duration(columns: Mapping[str, str]) -> str:
    if name := _first(columns, _MILLISECONDS):
        return f"({quoted(name)} / 1000.0)::float8" if columns[name] != "interval" else _epoch(name)
    name = _first(columns, _SECONDS)
    if not name:
        return "null::float8"
    return _epoch(name) if columns[name] == "interval" else f"{quoted(name)}::float8"


def _epoch(name: str) -> str:
    return f"extract(epoch from {quoted(name)})::float8"


def _good(columns: Mapping[str, str]) -> str:
    if columns.get("success") == "boolean":
        return "success"
    return "not dirty" if columns.get("dirty") == "boolean" else "true"
