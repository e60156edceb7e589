"""A draft of a row-level security matrix from the catalogue, for a person to correct.

What the catalogue permits stands in comments only: an expectation that comes from the policies would prove that they do
what they say. A cell that the catalogue shuts is drafted as denied: where that is wrong the gate is red and nothing is
hidden. Every other cell waits for a person, and so does who the personas are.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.sources.pgcells import ALLOWED, TODO
from pytest_releasegate.sources.pgpolicies import COMMANDS, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from pytest_releasegate.sources.pgpolicies import Catalogue
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["draft"]

_ROLES = """
select r.rolname from pg_catalog.pg_roles r
where not r.rolsuper and not r.rolbypassrls and r.rolname !~ '^pg_' and r.rolname <> session_user and (
    exists (select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace,
                          pg_catalog.aclexplode(n.nspacl) g
            where c.oid = any(%(tables)s::bigint[]::oid[]) and g.grantee = r.oid and g.grantee <> n.nspowner
              and g.grantee <> c.relowner)
    or exists (select 1 from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) g
            where c.oid = any(%(tables)s::bigint[]::oid[]) and g.grantee = r.oid and g.grantee <> c.relowner)
    or exists (select 1 from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid,
                             pg_catalog.aclexplode(a.attacl) g
               where c.oid = any(%(tables)s::bigint[]::oid[]) and g.grantee = r.oid and g.grantee <> c.relowner)
    or exists (select 1 from pg_catalog.pg_policy p
               where p.polrelid = any(%(tables)s::bigint[]::oid[]) and r.oid = any(p.polroles)))
order by r.rolname
"""
_KNOWN = "select rolname from pg_catalog.pg_roles where rolname !~ '^pg_' order by rolname"
# with the source of the functions that a policy calls: they ask for the claims
_POLICIES = """
select p.polrelid::bigint, who.role, p.polname, p.polcmd::text, p.polpermissive,
       pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid),
       (select string_agg(f.prosrc, ' ') from pg_catalog.pg_depend d join pg_catalog.pg_proc f on f.oid = d.refobjid
        where d.classid = 'pg_catalog.pg_policy'::regclass and d.objid = p.oid
          and d.refclassid = 'pg_catalog.pg_proc'::regclass)
from pg_catalog.pg_policy p cross join unnest(%(roles)s::text[]) as who(role)
where p.polrelid = any(%(tables)s::bigint[]::oid[])
  and exists (select 1 from unnest(p.polroles) r where r = 0 or pg_has_role(who.role, r, 'USAGE'))
order by p.polrelid, who.role, p.polname
"""
_LETTERS = {"select": "r", "insert": "a", "update": "w", "delete": "d"}
_CLAIM = re.compile(r"\bjwt\(\)[^']{0,20}->>? *'(\w+)'")
_SETTING = re.compile(r"current_setting\('((?!request\.jwt)[a-z_]\w*(?:\.\w+)+)'", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z_][\w.]*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
_LONGEST = 160
_HEAD = """\
# A DRAFT, made from the catalogue of {place}: a person has to correct it.
# The comments say what is permitted now, which nobody has judged yet; no expectation is taken from a policy.
# TODO means that somebody has to decide: until then this file is refused. Write
# {allowed}.
# What the catalogue shuts is drafted as denied; correct it where it should be open.
# One persona stands for each role: add the others that matter, such as a second account whose rows must stay apart.
phase: predeploy
items:
  - item: RLS
    title: Row-level security
    severity: critical
    gates:
      - id: RLS.1
        title: Each persona reaches its own rows and no others
        rls:
"""


@dataclass(frozen=True, slots=True)
class _Policy:
    name: str
    command: str
    permissive: bool
    using: str
    check: str
    source: str

    def tells(self, command: str) -> str:
        """What it says of a command, in one line; nothing when it is about another."""
        if self.command not in (_LETTERS[command], "*"):
            return ""
        using = f" using {self.using}" if self.using and command != "insert" else ""
        checked = self.check or (self.using if command == "insert" else "")
        check = f" check {checked}" if checked and command in ("insert", "update") else ""
        return f"{self.name}{'' if self.permissive else ' (restrictive)'}{using}{check}"


@dataclass(frozen=True, slots=True)
class _Found:
    """What the catalogue says, by table and role."""

    known: Catalogue
    policies: dict[tuple[int, str], list[_Policy]] = field(default_factory=dict)

    def cell(self, table: Table, role: str, command: str) -> tuple[str, str]:
        """What to draft for a cell, and why."""
        held = self.known.grants[table.oid, role]
        if command not in held.granted:
            return "denied", "no privilege"
        if not self.known.security(table).enabled:
            return TODO, "row security is DISABLED, so its grant reaches every row"
        if command not in held.policies:
            return "denied", "no policy permits it"
        said = [told for policy in self.policies.get((table.oid, role), ()) if (told := policy.tells(command))]
        return TODO, "; ".join(said)

    def open(self, table: Table, role: str) -> Iterator[str]:
        """The texts of the policies that decide the cells which the catalogue leaves open."""
        commands = [command for command in COMMANDS if self.cell(table, role, command)[0] == TODO]
        for policy in self.policies.get((table.oid, role), ()):
            if any(policy.tells(command) for command in commands):
                yield f"{policy.using} {policy.check} {policy.source}"


def draft(
    connection: psycopg.Connection[Any], tables: Sequence[Table], roles: Sequence[str], place: str, *, complete: bool
) -> str:
    """The text of a gate file for these tables, as the roles see them; by default those that are granted something.

    A complete one has all the tables, and says that it does.
    """
    roles = list(roles) or [row[0] for row in connection.execute(_ROLES, _oids(tables)).fetchall()]
    _require_roles(connection, roles)
    found = _read(connection, tables, roles)
    reachable = [table for table in tables if _reachable(found, table, roles)]
    shown = [table for table in tables if complete or found.known.security(table).enabled or table in reachable]
    if not reachable:
        raise CannotLook("none of these roles has any privilege on a table", "name others: --role NAME, --schema NAME")
    left = [table.label for table in tables if table not in shown]
    rest = f"          # left out, since none of these roles may use them at all: {', '.join(left)}\n" if left else ""
    schemas = ", ".join(_yaml(schema) for schema in dict.fromkeys(table.schema for table in tables))
    head = [f"          complete: [{schemas}]"] if complete else []
    lines = [*head, *_personas(found, shown, roles), "          expect:", *_expected(found, shown, roles)]
    return _HEAD.format(place=place, allowed=ALLOWED) + "\n".join(lines) + "\n" + rest


def _require_roles(connection: psycopg.Connection[Any], roles: Sequence[str]) -> None:
    known = [row[0] for row in connection.execute(_KNOWN).fetchall()]
    if not roles:
        raise CannotLook(
            "no role but the owner is granted anything on these tables",
            f"name the roles that the application takes on: --role NAME, out of {', '.join(known)}",
        )
    for role in roles:
        if role not in known:
            raise CannotLook(f"role '{role}' does not exist", nearest(role, known))


def _read(connection: psycopg.Connection[Any], tables: Sequence[Table], roles: Sequence[str]) -> _Found:
    found = _Found(catalogue(connection, tables, roles))
    rows = connection.execute(_POLICIES, {**_oids(tables), "roles": list(roles)}).fetchall()
    for oid, role, name, command, permissive, *texts in rows:
        policy = _Policy(name, command, permissive, *(" ".join((text or "").split()) for text in texts))
        found.policies.setdefault((oid, role), []).append(policy)
    return found


def _oids(tables: Sequence[Table]) -> dict[str, Any]:
    return {"tables": [table.oid for table in tables]}


def _reachable(found: _Found, table: Table, roles: Sequence[str]) -> bool:
    return any(found.known.grants[table.oid, role].granted for role in roles)


def _personas(found: _Found, tables: Sequence[Table], roles: Sequence[str]) -> Iterator[str]:
    yield "          personas:"
    for role in roles:
        claims, settings = _asked(" ".join(text for table in tables for text in found.open(table, role)))
        keys = [f"role: {_yaml(role)}"]
        keys += [f"claims: {{{', '.join(f'{_yaml(name)}: {TODO}' for name in claims)}}}"] if claims else []
        keys += [f"settings: {{{', '.join(f'{_yaml(name)}: {TODO}' for name in settings)}}}"] if settings else []
        hint = '  # an id, or {query: "select id from ..."}; leave it out for somebody without a token'
        yield f"            {_yaml(role)}: {{{', '.join(keys)}}}{hint if len(keys) > 1 else ''}"


def _asked(text: str) -> tuple[list[str], list[str]]:
    """The claims and the settings that policies ask for."""
    claims = sorted(set(_CLAIM.findall(text)))
    if "request.jwt" in text and "sub" not in claims:
        claims.insert(0, "sub")
    return claims, sorted(set(_SETTING.findall(text)))


def _expected(found: _Found, tables: Sequence[Table], roles: Sequence[str]) -> Iterator[str]:
    for table in tables:
        security = found.known.security(table)
        state = "enabled" if security.enabled else "DISABLED"
        forced = ", forced" if security.forced else ""
        yield f"            {_yaml(table.label)}:  # row security {state}{forced}; owner {security.owner}"
        for role in roles:
            cells = {command: found.cell(table, role, command) for command in COMMANDS}
            if len(set(cells.values())) == 1:
                yield f"              {_yaml(role)}: {_cell(*cells['select'])}"
                continue
            yield f"              {_yaml(role)}:"
            yield from (f"                {command}: {_cell(*cell)}" for command, cell in cells.items())


def _cell(value: str, why: str) -> str:
    return f"{value}  # {why if len(why) <= _LONGEST else why[: _LONGEST - 4] + ' ...'}"


def _yaml(name: str) -> str:
    return name if _PLAIN.fullmatch(name) and name.lower() not in _WORDS else json.dumps(name)
