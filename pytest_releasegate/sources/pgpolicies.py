"""Row-level security as the catalogue states it: roles, grants, policies, and which tables a probe may touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import psycopg

    from pytest_releasegate.sources.pgtables import Table

__all__ = [
    "COMMANDS",
    "PROBES",
    "Catalogue",
    "Column",
    "Grants",
    "Persona",
    "Security",
    "catalogue",
    "require_bound",
]

COMMANDS = ("select", "insert", "update", "delete")
PROBES = ("insert", "update", "delete", "change")
"""What is probed; `change` is an UPDATE as far as the check of the new row."""
_ROLES = "select rolname, rolsuper, rolbypassrls from pg_catalog.pg_roles where rolname = any(%s)"
_SECURITY = """
with asked(oid) as (select unnest(%(tables)s::bigint[])::oid),
family(root, oid) as (
    select oid, oid from asked union select a.oid, p.relid::oid from asked a, pg_catalog.pg_partition_tree(a.oid) p),
fired as (
    select f.root, min(t.tgname) filter (where t.tgtype & 4 > 0 and t.tgtype & 2 > 0) as on_insert,
           min(t.tgname) filter (where t.tgtype & 16 > 0 and t.tgtype & 1 = 0 and t.tgrelid = f.root) as on_update,
           min(t.tgname) filter (where t.tgtype & 8 > 0 and t.tgtype & 1 = 0 and t.tgrelid = f.root) as on_delete,
           min(t.tgname) filter (where t.tgtype & 16 > 0 and t.tgtype & 3 = 3) as on_change
    from pg_catalog.pg_trigger t join family f on f.oid = t.tgrelid
    where not t.tgisinternal and t.tgenabled in ('O', 'A') group by f.root
),
ruled as (
    select f.root, min(r.rulename) as rule from pg_catalog.pg_rewrite r join family f on f.oid = r.ev_class
    where r.ev_type <> '1' group by f.root
),
sized as (
    select f.root, sum(greatest(k.reltuples, 0))::bigint as rows
    from family f join pg_catalog.pg_class k on k.oid = f.oid group by f.root
)
select c.oid::bigint, c.relrowsecurity, c.relforcerowsecurity, pg_catalog.pg_get_userbyid(c.relowner), sized.rows,
       array(select pg_get_expr(coalesce(p.polwithcheck, p.polqual), c.oid) from pg_catalog.pg_policy p
             where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('a', 'w', '*')
               and coalesce(p.polwithcheck, p.polqual) is not null order by p.polname),
       array(select n.nspname || '.' || k.relname from family f join pg_catalog.pg_class k on k.oid = f.oid
             join pg_catalog.pg_namespace n on n.oid = k.relnamespace
             where f.root = c.oid and f.oid <> c.oid and not k.relrowsecurity and exists (
                 select 1 from unnest(%(roles)s::text[]) as who(role)
                 where has_schema_privilege(who.role, n.oid, 'USAGE')
                   and (has_any_column_privilege(who.role, k.oid, 'SELECT, INSERT, UPDATE')
                        or has_table_privilege(who.role, k.oid, 'DELETE')))
             order by 1),
       on_insert, on_update, on_delete, on_change, rule
from pg_catalog.pg_class c join asked on asked.oid = c.oid join sized on sized.root = c.oid
left join fired on fired.root = c.oid left join ruled on ruled.root = c.oid
"""
_GRANTS = """
select c.oid::bigint, who.role, has_schema_privilege(who.role, c.relnamespace, 'USAGE'),
       has_any_column_privilege(who.role, c.oid, 'SELECT'), has_any_column_privilege(who.role, c.oid, 'INSERT'),
       has_any_column_privilege(who.role, c.oid, 'UPDATE'), has_table_privilege(who.role, c.oid, 'DELETE'),
       pg_has_role(who.role, c.relowner, 'USAGE'),
       array(select distinct p.polcmd::text from pg_catalog.pg_policy p
             where p.polrelid = c.oid and p.polpermissive
               and exists (select 1 from unnest(p.polroles) r where r = 0 or pg_has_role(who.role, r, 'USAGE'))),
       exists (select 1 from pg_catalog.pg_policy p
               where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('w', '*') and p.polwithcheck is not null
                 and pg_get_expr(p.polwithcheck, c.oid) is distinct from pg_get_expr(p.polqual, c.oid))
from pg_catalog.pg_class c cross join unnest(%(roles)s::text[]) as who(role)
where c.oid = any(%(tables)s::bigint[]::oid[])
"""
_COLUMNS = """
select a.attrelid::bigint, who.role, a.attname, a.attnotnull, a.atthasdef or a.attidentity <> '', a.attidentity,
       a.attgenerated <> '', t.typtype = 'd',
       exists (select 1 from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_policy'::regclass
               and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = a.attrelid
               and d.refobjsubid = a.attnum)
       or exists (select 1 from pg_catalog.pg_partitioned_table k
                  where k.partrelid = a.attrelid and (a.attnum = any(k.partattrs) or k.partexprs is not null)),
       coalesce((select array_position(i.indkey::int2[], a.attnum) + 1 from pg_catalog.pg_index i
                 where i.indrelid = a.attrelid and i.indisprimary), 0),
       has_column_privilege(who.role, a.attrelid, a.attnum, 'SELECT'),
       has_column_privilege(who.role, a.attrelid, a.attnum, 'INSERT'),
       has_column_privilege(who.role, a.attrelid, a.attnum, 'UPDATE')
from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
cross join unnest(%(roles)s::text[]) as who(role)
where a.attrelid = any(%(tables)s::bigint[]::oid[]) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, who.role, a.attnum
"""
_CODES = {"select": "r", "insert": "a", "update": "w", "delete": "d"}


@dataclass(frozen=True, slots=True)
class Persona:
    """Somebody as the database sees them: a role and the settings that policies ask, such as the token's claims."""

    name: str
    role: str
    settings: Mapping[str, str]

    def __str__(self) -> str:
        return f"persona '{self.name}': role '{self.role}'"


@dataclass(frozen=True, slots=True)
class Security:
    """What the catalogue says of one table; `unfit` names by command what a probe would set off."""

    enabled: bool
    forced: bool
    owner: str
    rows: int
    """About how many rows, as the planner believes."""
    checks: tuple[str, ...]
    """The conditions that policies set for new rows."""
    bare: tuple[str, ...]
    """Its partitions that one of the roles may name, and that have no row security of their own."""
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
    primary: int
    """Its place in the primary key, from 1; 0 outside."""
    readable: bool
    insertable: bool
    updatable: bool


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the catalogue says of some tables and roles."""

    tables: Mapping[int, Security]
    grants: Mapping[tuple[int, str], Grants]
    columns: Mapping[tuple[int, str], list[Column]]

    def security(self, table: Table) -> Security:
        """What it says of the table."""
        if table.oid not in self.tables:
            raise CannotLook(f"table '{table.label}' is gone", "look again")
        return self.tables[table.oid]

    def held(self, table: Table, persona: Persona) -> Grants:
        """What the persona's role may do with the table at all."""
        return self.grants[table.oid, persona.role]

    def known(self, table: Table, persona: Persona) -> list[Column]:
        """The table's columns in their order, with what the persona's role may do with each."""
        return self.columns.get((table.oid, persona.role), [])


def catalogue(connection: psycopg.Connection[Any], tables: Iterable[Table], roles: Iterable[str]) -> Catalogue:
    """Read it, in three queries whatever the number of tables."""
    values = {"tables": [table.oid for table in tables], "roles": sorted(set(roles))}
    columns: dict[tuple[int, str], list[Column]] = {}
    for oid, role, *column in connection.execute(_COLUMNS, values).fetchall():
        columns.setdefault((oid, role), []).append(Column(*column))
    return Catalogue(
        {oid: _security(*row) for oid, *row in connection.execute(_SECURITY, values).fetchall()},
        {(oid, role): _grants(*row) for oid, role, *row in connection.execute(_GRANTS, values).fetchall()},
        columns,
    )


def require_bound(connection: psycopg.Connection[Any], personas: Sequence[Persona]) -> None:
    """Raise `CannotLook` unless the role of each exists and row security binds it."""
    roles = [persona.role for persona in personas]
    known = {name: bypassing for name, *bypassing in connection.execute(_ROLES, [roles]).fetchall()}
    for persona in personas:
        if persona.role not in known:
            raise CannotLook(f"{persona} does not exist", "create the role, or correct the persona")
        superuser, bypasses = known[persona.role]
        if superuser or bypasses:
            what = "is a superuser" if superuser else "has BYPASSRLS"
            hint = "name the role that the application takes on"
            raise CannotLook(f"{persona} {what}, so no policy applies to it", hint)


def _security(enabled: bool, forced: bool, owner: str, rows: int, *found: Any) -> Security:
    checks, bare, *triggers, rule = found
    unfit = {command: f"trigger {name}" for command, name in zip(PROBES, triggers, strict=True) if name}
    if rule:
        unfit = dict.fromkeys(PROBES, f"rule {rule}")
    return Security(enabled, forced, owner, rows, tuple(checks), tuple(bare), unfit)


def _grants(usage: bool, *row: Any) -> Grants:
    *allowed, owns, policies, other_check = row
    granted = {command for command, may in zip(COMMANDS, allowed, strict=True) if usage and may}
    spoken = {command for command in COMMANDS if {_CODES[command], "*"} & set(policies)}
    return Grants(frozenset(granted), frozenset(spoken), owns, other_check)
