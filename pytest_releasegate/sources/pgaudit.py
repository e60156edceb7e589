"""An audit table of a PostgreSQL database: what triggers write it, who may falsify it, what an action leaves there."""

# ruff: noqa: S608  identifiers are quoted, values are bound, and predicates are the gate's own text
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgtables import quoted
from pytest_releasegate.sources.postgres import said_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg

    from pytest_releasegate.sources.pgtables import Table

__all__ = ["EVENTS", "Rows", "Trigger", "acted", "falsifiers", "missed", "rows_since", "triggers", "window"]

EVENTS = {"insert": 4, "update": 16, "delete": 8}
"""What an audited table must tell of, with the bit of a trigger's type."""
_BEFORE_OR_INSTEAD = 2 | 64
_TRIGGERS = """
select t.tgname, t.tgtype::int, t.tgenabled in ('O', 'A'), t.tgqual is not null, t.tgattr::text <> '',
       n.nspname, p.proname, p.prosrc,
       (select count(*)::int from pg_catalog.pg_partition_tree(t.tgrelid) f
        join pg_catalog.pg_trigger c on c.tgrelid = f.relid and c.tgname = t.tgname
        where f.relid <> t.tgrelid and c.tgenabled not in ('O', 'A'))
from pg_catalog.pg_trigger t
join pg_catalog.pg_proc p on p.oid = t.tgfoid join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where t.tgrelid = %s and not t.tgisinternal order by t.tgname
"""
_ROLE = "select 1 from pg_catalog.pg_roles where rolname = %s"
# what a role may become counts as its own: it is one SET ROLE away
_FALSIFIERS = """
with part(oid) as (
    select %(table)s::oid union select relid::oid from pg_catalog.pg_partition_tree(%(table)s::oid::regclass)
), granted(grantee, what) as (
    select a.grantee, lower(a.privilege_type) from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
    where c.oid in (select oid from part) and a.grantee <> c.relowner
      and a.privilege_type in ('UPDATE', 'DELETE', 'TRUNCATE')
    union select a.grantee, 'update' from pg_catalog.pg_attribute c, pg_catalog.aclexplode(c.attacl) a
    where c.attrelid in (select oid from part) and a.privilege_type = 'UPDATE'
    union select r.oid, unnest(array['update', 'delete']) from pg_catalog.pg_roles r
    where r.rolname = 'pg_write_all_data'
    union select relowner, 'everything, as its owner' from pg_catalog.pg_class
    where oid in (select oid from part)
    union select oid, 'everything, as a superuser' from pg_catalog.pg_roles where rolsuper
)
select case grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(grantee) end,
       string_agg(what, ', ' order by what)
from granted where case grantee when 0 then true else pg_has_role(%(role)s, grantee, 'MEMBER') end
group by grantee order by 1
"""
_WINDOW = "select now() - interval '5 minutes'"


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger of a table, and the function that it executes."""

    name: str
    type: int
    enabled: bool
    conditional: bool
    narrowed: bool
    """It fires for some columns only."""
    schema: str
    function: str
    source: str
    asleep: int
    """On how many partitions it is disabled."""

    def writes(self, audit: Table, function: str) -> bool:
        """Whether it executes that function, or, where none is named, one whose text names the audit table."""
        if function:
            return function in (self.function, f"{self.schema}.{self.function}")
        return bool(re.search(rf"\b{re.escape(audit.name)}\b", self.source))

    def tells(self, event: str) -> bool:
        """Whether it fires after each such event, whatever the row."""
        fires = self.type & EVENTS[event] and not self.type & _BEFORE_OR_INSTEAD
        whole = not self.conditional and not (self.narrowed and event == "update")
        return bool(fires) and whole and self.enabled and not self.asleep

    @property
    def fault(self) -> str:
        """Why it does not tell of all it is there for."""
        if not self.enabled:
            return f"{self.name} is disabled"
        if self.asleep:
            return f"{self.name} is disabled on {self.asleep} partition{'s' * (self.asleep > 1)}"
        if self.conditional:
            return f"{self.name} has a WHEN condition"
        if self.narrowed:
            return f"{self.name} fires for some columns only"
        return f"{self.name} does not fire after it" if self.type & _BEFORE_OR_INSTEAD else ""


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows of the audit table are as expected, and how many there are at all, since some instant."""

    fitting: int
    all: int


def triggers(connection: psycopg.Connection[Any], table: Table) -> list[Trigger]:
    """The triggers of a table, without those of constraints."""
    return [Trigger(*row) for row in connection.execute(_TRIGGERS, [table.oid]).fetchall()]


def missed(connection: psycopg.Connection[Any], table: Table, audit: Table, function: str) -> tuple[list[str], str]:
    """The events of a table that no trigger writes into the audit table, and why."""
    found = [trigger for trigger in triggers(connection, table) if trigger.writes(audit, function)]
    events = [event for event in EVENTS if not any(trigger.tells(event) for trigger in found)]
    what = f"executes {function}" if function else f"has a function that names {audit.name}"
    why = ", ".join(fault for fault in (trigger.fault for trigger in found) if fault)
    return events, why or ("" if found else f"no trigger {what}")


def falsifiers(connection: psycopg.Connection[Any], audit: Table, role: str) -> list[tuple[str, str]]:
    """Which roles, of those that the role is or may take on, may change or remove rows, and how."""
    if not connection.execute(_ROLE, [role]).fetchall():
        raise CannotLook(f"there is no role '{role}'", "correct `append_only` of the gate")
    return connection.execute(_FALSIFIERS, {"table": audit.oid, "role": role}).fetchall()


def window(connection: psycopg.Connection[Any]) -> datetime:
    """An instant from which on an action's rows are sought: some minutes ago, since clocks differ."""
    (row,) = connection.execute(_WINDOW).fetchall()
    instant: datetime = row[0]
    return instant


def rows_since(
    connection: psycopg.Connection[Any],
    audit: Table,
    instant: str,
    since: datetime,
    expect: Mapping[str, object],
    filled: Sequence[str],
) -> Rows:
    """How many rows there are since then, and how many of them are as expected; values are compared as text."""
    terms = [f"{quoted(name)}::text is not distinct from %s" for name in expect]
    terms += [f"{quoted(name)} is not null" for name in filled]
    condition = " and ".join(terms)
    query = f"select count(*) filter (where {condition}), count(*) from {audit.source} where {instant} >= %s"
    values = [_text(value) for value in expect.values()]
    (row,) = connection.execute(query.replace("%", "%%").replace("%%s", "%s").encode(), [*values, since]).fetchall()
    return Rows(*row)


def acted(
    connection: psycopg.Connection[Any], name: str, statements: Sequence[str], role: str, settings: Mapping[str, str]
) -> int:
    """Run the statements as the role, in the transaction that is there; the number of the first without a row, or 0."""
    import psycopg

    everything = {**settings, **({"row_security": "on", "role": role} if role else {})}
    empty = number = 0
    try:
        for setting, value in everything.items():
            connection.execute("select set_config(%s, %s, true)", [setting, value])
        for number, statement in enumerate(statements, start=1):
            # binary results come over the extended protocol, which takes one statement only
            done = connection.execute(statement.encode(), binary=True)
            empty = empty or (number if done.rowcount < 1 else 0)
        # triggers that were put off until the commit fire now
        connection.execute("set constraints all immediate")
        connection.execute("select set_config('role', 'none', true), set_config('row_security', 'off', true)")
    except psycopg.DatabaseError as error:
        raise _could_not(error, name, number) from None
    return empty


def _could_not(error: psycopg.DatabaseError, name: str, number: int) -> CannotLook:
    where = f"statement {number}" if number else "taking on its role and settings"
    return CannotLook(
        f"probe '{name}', {where}: {said_by(error)} (SQLSTATE {error.sqlstate})",
        "correct the probe, or grant what it needs",
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
