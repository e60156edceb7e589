"""Row-level security as it acts: what a persona sees, and what its writes would reach, without writing anything.

A write is stopped at the step after the policies. UPDATE and DELETE carry a condition that counts each row which the
policies let through and is never true; INSERT puts NULL into a NOT NULL column, which PostgreSQL looks at after the
policies. So no row is written or locked, no trigger fires, no sequence moves, and no transaction id is assigned.
"""

# ruff: noqa: S608  identifiers are quoted, values are bound, and predicates are the gate's own text
from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgtables import quoted
from pytest_releasegate.sources.postgres import bound, first_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgpolicies import Column, Persona
    from pytest_releasegate.sources.pgtables import Table

__all__ = [
    "Reach",
    "accepts",
    "changes",
    "matching",
    "reached",
    "sample",
    "seeing",
    "unfit_for_insert",
    "visible",
    "write_of",
]

_COUNTER = "releasegate.reached"
# The planner moves a condition that names no column before the policies when it costs less than ten operators
# (order_qual_clauses in createplan.c); the zeros make it cost more.
_ZEROS = " + 0" * 24
# set_config is volatile and gives text, never null: evaluated for each row that the policies let through, never true
_COUNT = f"set_config(%(counter)s, (current_setting(%(counter)s)::bigint + 1{_ZEROS})::text, true) is null"
_READ = "select current_setting(%s)::bigint"
_WRITTEN = "select pg_current_xact_id_if_assigned()::text"


@dataclass(frozen=True, slots=True)
class Reach:
    """How many rows somebody sees or would write; `refused` says why the command itself was not permitted."""

    rows: int = 0
    refused: str = ""


def visible(
    connection: psycopg.Connection[Any], context: Context, table: Table, persona: Persona, predicate: str = ""
) -> Reach:
    """How many rows the persona sees, of all or of those that satisfy the predicate."""
    bound(connection, context)
    with _refusable() as refused, _as(connection, persona):
        query = f"select count(*) from {table.source}{_where(predicate)}"
        return Reach(first_rows(connection, query, limit=1)[0][0])
    return Reach(refused=refused[0])


def matching(
    connection: psycopg.Connection[Any], context: Context, table: Table, persona: Persona, predicate: str = ""
) -> int:
    """How many rows there are, of all or of those that satisfy the predicate, under the persona's settings alone."""
    bound(connection, context)
    with connection.transaction(force_rollback=True):
        _set(connection, persona, {})
        rows = first_rows(connection, f"select count(*) from {table.source}{_where(predicate)}", limit=1)
    number: int = rows[0][0]
    return number


def reached(
    connection: psycopg.Connection[Any],
    context: Context,
    table: Table,
    persona: Persona,
    write: str,
    predicate: str = "",
) -> Reach:
    """How many rows a write (`update ... set ...` or `delete from ...`) of the persona would reach.

    Without a predicate the statement names no column in its condition, so only the policies of that command stand.
    """
    bound(connection, context)
    # CASE keeps the order: the predicate first, then the count
    asked = predicate.replace("%", "%%")
    condition = f"case when (\n{asked}\n) then {_COUNT} else false end" if predicate else _COUNT
    text = f"{write.replace('%', '%%')} where {condition}"
    with _refusable() as refused, _as(connection, persona):
        connection.execute("select set_config(%s, '0', true)", [_COUNTER])
        connection.execute(text.encode(), {"counter": _COUNTER})
        row = connection.execute(_READ, [_COUNTER]).fetchone()
        _require_unwritten(connection, table)
        return Reach(row[0] if row else 0)
    return Reach(refused=refused[0])


def sample(
    connection: psycopg.Connection[Any],
    table: Table,
    persona: Persona,
    *,
    seen: bool,
    predicate: str = "",
    most: int = 3,
) -> list[str]:
    """A few rows as JSON, to be offered to INSERT: those that the persona sees, or any; never shown to anybody."""
    query = f"select to_jsonb({quoted(table.name)}.*)::text from {table.source}{_where(predicate)}"
    rows: list[tuple[Any, ...]] = []
    with _refusable(), _as(connection, persona, take_role=seen):
        rows = first_rows(connection, query, limit=most)
    return [row[0] for row in rows]


def write_of(command: str, table: Table, columns: Sequence[Column]) -> str:
    """A DELETE, or an UPDATE of one column that the role may write; nothing when there is none."""
    if command == "delete":
        return f"delete from {table.sql}"
    fit = [column for column in columns if column.updatable and not column.generated and not column.identity]
    best = sorted(fit, key=lambda column: (column.domain, not column.not_null))
    return f"update {table.sql} set {quoted(best[0].name)} = null" if best else ""


def seeing(columns: Sequence[Column]) -> str:
    """A condition that holds for every row but reads a column, so that the policies of SELECT stand too."""
    readable = next((quoted(column.name) for column in columns if column.readable), "")
    return f"{readable} is null or {readable} is not null" if readable else ""


def unfit_for_insert(columns: Sequence[Column]) -> str:
    """Why INSERT cannot be probed without writing, or nothing."""
    offered = [column for column in columns if column.insertable and not column.generated]
    silent = [column.name for column in columns if not column.insertable and column.defaulted and not column.generated]
    if silent:
        return f"the default of column {silent[0]}, which the role may not give, would be used up"
    if not _poison(offered):
        return "no NOT NULL column that no policy asks for"
    return ""


def accepts(
    connection: psycopg.Connection[Any],
    context: Context,
    table: Table,
    persona: Persona,
    columns: Sequence[Column],
    row: str,
) -> bool | str:
    """Whether the policies let the persona insert such a row; a text says why that could not be told."""
    offered = [column for column in columns if column.insertable and not column.generated]
    poison = _poison(offered)
    return _stopped(connection, context, table, persona, _insert(table, offered, poison), poison, row)


def changes(
    connection: psycopg.Connection[Any],
    context: Context,
    table: Table,
    persona: Persona,
    columns: Sequence[Column],
    row: str,
) -> bool | str:
    """Whether the policies let the persona change a row of theirs into such a row; a text says why it is not told.

    The statement reads no column, so the policies of SELECT do not hide what those of UPDATE permit.
    """
    offered = [column for column in columns if column.updatable and not column.generated and not column.identity]
    if not (poison := _poison(offered)):
        return "no NOT NULL column that no policy asks for, to probe the check of changed rows"
    names = ", ".join(quoted(column.name) for column in offered).replace("%", "%%")
    update = f"update {table.sql.replace('%', '%%')} set ({names})"
    query = f"{update} = (select {_values(offered, poison)} from {_record(table)})"
    return _stopped(connection, context, table, persona, query, poison, row)


def _stopped(
    connection: psycopg.Connection[Any],
    context: Context,
    table: Table,
    persona: Persona,
    query: str,
    poison: str,
    row: str,
) -> bool | str:
    """Whether a poisoned write got as far as its poison."""
    import psycopg

    bound(connection, context)
    try:
        with _as(connection, persona):
            connection.execute(query.encode(), [row])
    except psycopg.errors.NotNullViolation as error:
        outcome: bool | str = error.diag.column_name == poison or "another column was empty before the policies spoke"
    except psycopg.errors.InsufficientPrivilege:
        outcome = False
    except (psycopg.errors.IntegrityError, psycopg.errors.DataError) as error:
        outcome = f"SQLSTATE {error.sqlstate} before the policies spoke"
    else:
        outcome = "nothing stopped it"
    _require_unwritten(connection, table)
    return outcome


def _insert(table: Table, offered: Sequence[Column], poison: str) -> str:
    names = ", ".join(quoted(column.name) for column in offered).replace("%", "%%")
    into = f"insert into {table.sql.replace('%', '%%')} ({names}) overriding system value"
    return f"{into} select {_values(offered, poison)} from {_record(table)}"


def _values(offered: Sequence[Column], poison: str) -> str:
    values = ("null" if column.name == poison else f"r.{quoted(column.name)}" for column in offered)
    return ", ".join(values).replace("%", "%%")


def _record(table: Table) -> str:
    return f"jsonb_populate_record(null::{table.sql}, ".replace("%", "%%") + "%s::jsonb) r"


def _poison(offered: Sequence[Column]) -> str:
    fit = [column for column in offered if column.not_null and not column.domain and not column.decides]
    best = sorted(fit, key=lambda column: (column.primary, bool(column.identity)))
    return best[0].name if best else ""


@contextmanager
def _as(connection: psycopg.Connection[Any], persona: Persona, *, take_role: bool = True) -> Iterator[None]:
    role = {"row_security": "on", "role": persona.role} if take_role else {}
    with connection.transaction(force_rollback=True):
        _set(connection, persona, role)
        yield


@contextmanager
def _refusable() -> Iterator[list[str]]:
    """Catch that a privilege is missing, and leave the reason in the list."""
    import psycopg

    refused: list[str] = []
    try:
        yield refused
    except psycopg.errors.InsufficientPrivilege as error:
        refused.append(error.diag.message_primary or "permission denied")


def _set(connection: psycopg.Connection[Any], persona: Persona, role: Mapping[str, str]) -> None:
    import psycopg

    settings = {**persona.settings, **role}
    calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
    try:
        connection.execute(f"select {calls}".encode(), [part for pair in settings.items() for part in pair])
    except psycopg.Error as error:
        # not to be taken for a table's refusal
        what = error.diag.message_primary or type(error).__name__
        raise CannotLook(
            f"persona '{persona.name}' cannot be taken on: {what}", "correct its role and settings"
        ) from None


def _require_unwritten(connection: psycopg.Connection[Any], table: Table) -> None:
    row = connection.execute(_WRITTEN).fetchone()
    if row is None or row[0] is not None:
        raise CannotLook(
            f"a probe of {table.label} was about to write, so all probes were stopped and undone",
            "a function in its policies writes: take the table out of `expect`, and look at a copy instead",
        )


def _where(predicate: str) -> str:
    return f" where (\n{predicate}\n)" if predicate else ""
