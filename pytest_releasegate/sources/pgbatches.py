"""How a backfill gets on: the batches that it writes down, and the rows that it has still to do."""

# ruff: noqa: S608  identifiers are quoted, and predicates are the gate's own text
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgtables import named, quoted, user_tables
from pytest_releasegate.sources.postgres import bound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Batches", "Left", "batches", "left"]

_ROWS = ("rows", "rows_done", "row_count", "rows_updated", "rows_affected", "processed", "batch_size")
_END = ("finished_at", "ended_at", "completed_at", "done_at", "updated_at", "created_at", "at")
_START = ("started_at", "began_at", "start_at")
_ERRORS = ("errors", "error", "error_message", "failed")
_COLUMNS = """
select a.attname, format_type(a.atttypid, null) from pg_catalog.pg_attribute a
where a.attrelid = %s::oid and a.attnum > 0 and not a.attisdropped
"""


@dataclass(frozen=True, slots=True)
class Left:
    """How many rows a backfill has to do, and how many of all that is."""

    rows: int
    of: int
    unknown: int = 0
    """Of how many rows the predicate is neither true nor false."""


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches that a progress table tells of, all together."""

    table: str
    number: int
    rows: int
    largest: int
    errors: int | None
    """None where the table has no column for them."""
    first: datetime | None
    last: datetime | None

    @property
    def seconds(self) -> float | None:
        """From the first to the last; None where the table has no times."""
        return (self.last - self.first).total_seconds() if self.first and self.last else None


def left(connection: psycopg.Connection[Any], context: Context, table: Table, todo: str, where: str = "") -> Left:
    """Count, in one scan, the rows that are still to be done."""
    bound(connection, context, 300.0)
    counts = f"count(*) filter (where (\n{todo}\n)), count(*), count(*) filter (where (\n{todo}\n) is null)"
    query = f"select {counts} from {table.source}"
    query += f" where (\n{where}\n)" if where else ""
    row = connection.execute(query.encode()).fetchone()
    return Left(*row) if row else Left(0, 0)


def batches(connection: psycopg.Connection[Any], context: Context, name: str, where: str = "") -> Batches:
    """What the progress table says, one row a batch."""
    table = named(name, user_tables(connection))
    columns = dict(connection.execute(_COLUMNS, [table.oid]).fetchall())
    rows = _first(columns, _ROWS)
    if not rows:
        hint = f"expected a column {', '.join(_ROWS[:-1])} or {_ROWS[-1]}"
        raise CannotLook(f"{table.label} does not say how many rows a batch had", hint)
    end, start = (_first(columns, names, "time") for names in (_END, _START))
    parts = ["count(*)", f"coalesce(sum({quoted(rows)}), 0)::bigint", f"coalesce(max({quoted(rows)}), 0)::bigint"]
    parts += [_errors(columns), _instant("min", start or end), _instant("max", end or start)]
    bound(connection, context)
    query = f"select {', '.join(parts)} from {table.source}" + (f" where (\n{where}\n)" if where else "")
    found = connection.execute(query.encode()).fetchone()
    return Batches(table.label, *(found or (0, 0, 0, None, None, None)))


def _first(columns: Mapping[str, str], names: Sequence[str], of_type: str = "") -> str:
    return next((name for name in names if name in columns and of_type in columns[name]), "")


def _errors(columns: Mapping[str, str]) -> str:
    name = _first(columns, _ERRORS)
    if not name:
        return "null::bigint"
    if columns[name] == "boolean":
        return f"count(*) filter (where {quoted(name)})"
    if columns[name] in ("text", "character varying", "jsonb"):
        return f"count(*) filter (where {quoted(name)}::text <> '')"
    return f"coalesce(sum({quoted(name)}), 0)::bigint"


def _instant(how: str, column: str) -> str:
    return f"{how}({quoted(column)}::timestamptz)" if column else "null::timestamptz"
