"""Row-level security as the catalogue states it: roles, grants, policies, and which tables a probe may touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

    from pytest_releasegate.sources.pgtables import Table

__all__ = [
    "COMMANDS",
    "PROBES",
    "Column",
    "Grants",
    "Persona",
    "Security",
    "columns",
    "grants",
    "require_persona",
    "security",
]

COMMANDS = ("select", "insert", "update", "delete")
PROBES = ("insert", "update", "delete", "change")
"""What is probed; `change` is an UPDATE as far as the check of the new row."""
_ROLE = "select rolsuper, rolbypassrls from pg_catalog.pg_roles where rolname = %s"
_SECURITY = """
with family(oid) as (select %(table)s::oid union select relid::oid from pg_catalog.pg_partition_tree(%(table)s::oid)),
fired as (
    select t.tgname, t.tgtype::int as type, t.tgrelid = %(table)s::oid as own
    from pg_catalog.pg_trigger t join family f on f.oid = t.tgrelid
    where not t.tgisinternal and t.tgenabled in ('O', 'A')
)
select c.relrowsecurity, c.relforcerowsecurity, pg_catalog.pg_get_userbyid(c.relowner),
       (select min(tgname) from fired where type & 4 > 0 and type & 2 > 0),
       (select min(tgname) from fired where type & 16 > 0 and type & 1 = 0 and own),
       (select min(tgname) from fired where type & 8 > 0 and type & 1 = 0 and own),
       (select min(tgname) from fired where type & 16 > 0 and type & 3 = 3),
       (select min(rulename) from pg_catalog.pg_rewrite r join family f on f.oid = r.ev_class where r.ev_type <> '1')
from pg_catalog.pg_class c where c.oid = %(table)s::oid
"""
_GRANTS = """
select has_schema_privilege(%(role)s, c.relnamespace, 'USAGE'),
       has_any_column_privilege(%(role)s, c.oid, 'SELECT'), has_any_column_privilege(%(role)s, c.oid, 'INSERT'),
       has_any_column_privilege(%(role)s, c.oid, 'UPDATE'), has_table_privilege(%(role)s, c.oid, 'DELETE'),
       pg_has_role(%(role)s, c.relowner, 'USAGE'),
       array(select distinct p.polcmd::text from pg_catalog.pg_policy p
             where p.polrelid = c.oid and p.polpermissive
               and exists (select 1 from unnest(p.polroles) r where r = 0 or pg_has_role(%(role)s, r, 'USAGE'))),
       exists (select 1 from pg_catalog.pg_policy p
               where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('w', '*') and p.polwithcheck is not null
                 and pg_get_expr(p.polwithcheck, c.oid) is distinct from pg_get_expr(p.polqual, c.oid))
from pg_catalog.pg_class c where c.oid = %(table)s::oid
"""
_COLUMNS = """
select a.attname, a.attnotnull, a.atthasdef or a.attidentity <> '', a.attidentity, a.attgenerated <> '',
       t.typtype = 'd',
       exists (select 1 from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_policy'::regclass
               and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = a.attrelid
               and d.refobjsubid = a.attnum)
       or exists (select 1 from pg_catalog.pg_partitioned_table k
                  where k.partrelid = a.attrelid and (a.attnum = any(k.partattrs) or k.partexprs is not null)),
       exists (select 1 from pg_catalog.pg_index i
               where i.indrelid = a.attrelid and i.indisprimary and a.attnum = any(i.indkey)),
       has_column_privilege(%(role)s, a.attrelid, a.attnum, 'SELECT'),
       has_column_privilege(%(role)s, a.attrelid, a.attnum, 'INSERT'),
       has_column_privilege(%(role)s, a.attrelid, a.attnum, 'UPDATE')
from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
where a.attrelid = %(table)s::oid and a.attnum > 0 and not a.attisdropped order by a.attnum
"""
_CODES = {"select": "r", "insert": "a", "update": "w", "delete": "d"}


@dataclass(frozen=True, slots=True)
class Persona:
    """Somebody as the database sees them: a role and the settings that policies ask, such as the token's claims."""

    name: str
    role: str
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Security:
    """What the catalogue says of one table; `unfit` names by command what a probe would set off."""

    enabled: bool
    forced: bool
    owner: str
    unfit: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Grants:
    """Which commands a role may use on a table at all, and for which of them some policy speaks."""

    granted: frozenset[str]
    policies: frozenset[str]
    owns: bool
    other_check: bool
    """Some policy of UPDATE checks the new row otherwise than the old one."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column, as far as a probe by a role must know it."""

    name: str
    not_null: bool
    defaulted: bool
    identity: str
    generated: bool
    domain: bool
    decides: bool
    """A policy or the partition key asks for it."""
    primary: bool
    readable: bool
    insertable: bool
    updatable: bool


def require_persona(connection: psycopg.Connection[Any], persona: Persona) -> None:
    """Raise `CannotLook` unless the role exists, is subject to row security, and can be taken on."""
    import psycopg

    who = f"persona '{persona.name}': role '{persona.role}'"
    row = connection.execute(_ROLE, [persona.role]).fetchone()
    if row is None:
        raise CannotLook(f"{who} does not exist", "create the role, or correct the persona")
    if any(row):
        what = "is a superuser" if row[0] else "has BYPASSRLS"
        raise CannotLook(f"{who} {what}, so no policy applies to it", "name the role that the application takes on")
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("select set_config('role', %s, true)", [persona.role])
    except psycopg.errors.InsufficientPrivilege:
        user = connection.info.user
        raise CannotLook(f"{who} cannot be taken on by {user}", f"grant {persona.role} to {user}") from None


def security(connection: psycopg.Connection[Any], table: Table) -> Security:
    """What the catalogue says of the table."""
    row = connection.execute(_SECURITY, {"table": table.oid}).fetchone()
    if row is None:
        raise CannotLook(f"table '{table.label}' is gone", "look again")
    enabled, forced, owner, *triggers, rule = row
    unfit = {command: f"trigger {name}" for command, name in zip(PROBES, triggers, strict=True) if name}
    if rule:
        unfit = dict.fromkeys(PROBES, f"rule {rule}")
    return Security(enabled, forced, owner, unfit)


def grants(connection: psycopg.Connection[Any], table: Table, role: str) -> Grants:
    """What the role may do with the table at all."""
    row = connection.execute(_GRANTS, {"table": table.oid, "role": role}).fetchone()
    if row is None:
        raise CannotLook(f"table '{table.label}' is gone", "look again")
    usage, *allowed, owns, policies, other_check = row
    granted = {command for command, may in zip(COMMANDS, allowed, strict=True) if usage and may}
    spoken = {command for command in COMMANDS if {_CODES[command], "*"} & set(policies)}
    return Grants(frozenset(granted), frozenset(spoken), owns, other_check)


def columns(connection: psycopg.Connection[Any], table: Table, role: str) -> list[Column]:
    """The table's columns in their order, with what the role may do with each."""
    return [Column(*row) for row in connection.execute(_COLUMNS, {"table": table.oid, "role": role}).fetchall()]
