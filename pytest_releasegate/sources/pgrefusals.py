"""Whether a PostgreSQL table refuses a bad row, found out without writing one.

A real row is copied, with the bad value put in, and offered to INSERT ... ON CONFLICT ON CONSTRAINT its key DO NOTHING.
PostgreSQL looks at types, policies, NOT NULL and CHECK first and at the key then, where the copy meets its original:
what is let through is not written either. So no row is written, no AFTER ROW trigger fires, no sequence moves.
The same row without the bad value goes first: only where it gets as far as its key does a refusal prove anything.
"""

# ruff: noqa: S608  identifiers are quoted, values are bound, and predicates are the gate's own text
from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.sources.pgkeys import foreign_keys
from pytest_releasegate.sources.pgpolicies import catalogue
from pytest_releasegate.sources.pgprobed import Probe, Refused, Told
from pytest_releasegate.sources.pgtables import quoted
from pytest_releasegate.sources.postgres import bound, first_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgkeys import ForeignKey
    from pytest_releasegate.sources.pgpolicies import Column, Persona
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Probe", "Refused", "Told", "keys_of", "probed", "taken_on"]

_MOST_ROWS = 20
_WRONG_TYPE = {"22P02", "22P03", "22001", "22003", "22007", "22008", "22021", "22023", "22026"}
"""What the input of a type refuses: no number, out of range, too long, no such day."""
_OWN_STATE = re.compile(r"(?!22|23)[0-9A-Z]{5}")
"""An SQLSTATE that is no refusal of a type or a constraint, such as that of RAISE."""
_NOT_THE_ROW = ("08", "25", "40", "53", "55", "57", "58", "XX")
"""Classes of errors that say nothing of the row: connection, resources, locks, time."""
_KEYS = """
select c.conname, array(select a.attname::text from pg_catalog.pg_attribute a
                        where a.attrelid = c.conrelid and a.attnum = any(c.conkey))
from pg_catalog.pg_constraint c join pg_catalog.pg_index i on i.indexrelid = c.conindid
where c.conrelid = %s::oid and c.contype in ('p', 'u') and i.indimmediate and i.indisvalid and i.indisready
  and not exists (select 1 from pg_catalog.pg_attribute a
                  where a.attrelid = c.conrelid and a.attnum = any(c.conkey) and not a.attnotnull)
order by c.contype, c.conname
"""
_UNIQUE = """
select x.relname::text, i.indisexclusion,
       array(select a.attname::text from pg_catalog.pg_attribute a
             where a.attrelid = i.indrelid and a.attnum = any(i.indkey[0:i.indnkeyatts - 1]))
from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid
where i.indrelid = %s::oid and (i.indisunique or i.indisexclusion) and i.indisvalid and i.indisready
  and i.indpred is null and i.indexprs is null
order by 2, 1
"""
_TRIGGERS = """
select min(t.tgname) from pg_catalog.pg_trigger t
where not t.tgisinternal and t.tgenabled in ('O', 'A') and t.tgtype::int & 4 > 0
  and (t.tgtype::int & 2 > 0 or (t.tgtype::int & 1 = 0 and t.tgrelid = %(table)s::oid))
  and t.tgrelid in (select %(table)s::oid union select relid::oid from pg_catalog.pg_partition_tree(%(table)s::oid))
"""
_ASKED = """
select array(select a.attname::text from pg_catalog.pg_attribute a
             where a.attrelid = c.conrelid and a.attnum = any(c.conkey) order by a.attnum)
from pg_catalog.pg_constraint c where c.conrelid = %s::oid and c.conname = %s and c.contype = 'c'
"""
_AFTER = """
select min(t.tgname) from pg_catalog.pg_trigger t
where t.tgrelid = %(table)s::oid and not t.tgisinternal and t.tgenabled in ('O', 'A')
  and t.tgtype::int & 7 = 5 and (t.tgconstraint <> 0 or %(by)s and not exists (
      select 1 from pg_catalog.pg_trigger b
      where b.tgrelid = t.tgrelid and b.tgtype::int & 6 = 6 and not b.tgisinternal))
"""
# put together by the server, for numbers lose digits on their way through here
_ROW = "%s::jsonb || %s::jsonb"
_WRITTEN = "select pg_current_xact_id_if_assigned()::text"


@dataclass(frozen=True, slots=True)
class _Target:
    table: Table
    persona: Persona
    offered: tuple[str, ...]
    triggers: bool

    def insert(self, key: str) -> str:
        """An INSERT of one row, given as JSON, that stops at the key."""
        names = ", ".join(map(quoted, self.offered))
        values = ", ".join(f"r.{quoted(name)}" for name in self.offered)
        text = f"insert into {self.table.sql} ({names}) overriding system value select {values} from "
        text += f"jsonb_populate_record(null::{self.table.sql}, "
        return f"{_escaped(text)}{_ROW}) r on conflict on constraint {_escaped(quoted(key))} do nothing"


def probed(
    reader: psycopg.Connection[Any],
    writer: psycopg.Connection[Any],
    context: Context,
    table: Table,
    persona: Persona,
    probes: Sequence[Probe],
    *,
    where: str = "",
    triggers: bool = False,
) -> list[Told]:
    """What became of each bad row; the two connections share one snapshot."""
    fired = _first(reader, _TRIGGERS, {"table": table.oid})
    if fired and not triggers:
        text = f"not tried: trigger {fired} would fire; where it calls nothing outside, say `triggers: true`"
        return [Told(text, Ok.CANNOT_TELL)] * len(probes)
    known = catalogue(reader, [table], [persona.role]).known(table, persona)
    for probe in probes:
        _require_columns(table, probe, known)
    offered = tuple(column.name for column in known if column.insertable and not column.generated)
    silent = [column.name for column in known if not column.insertable and column.defaulted and not column.generated]
    if not offered or silent:
        text = f"role {persona.role} may not insert into {table.label}"
        if offered:
            text = f"the default of {silent[0]}, which role {persona.role} may not give, would be used up"
        return [Told(f"not tried: {text}", Ok.CANNOT_TELL)] * len(probes)
    target = _Target(table, persona, offered, triggers)
    keys = keys_of(reader, table)
    rows = _rows(reader, context, target, where)
    return [_probe(reader, writer, context, target, keys, rows, probe) for probe in probes]


def keys_of(connection: psycopg.Connection[Any], table: Table) -> list[tuple[str, list[str]]]:
    """The keys by which a row is known for certain, with their columns; the primary one first."""
    return connection.execute(_KEYS, [table.oid]).fetchall()


def _probe(
    reader: psycopg.Connection[Any],
    writer: psycopg.Connection[Any],
    context: Context,
    target: _Target,
    keys: Sequence[tuple[str, list[str]]],
    rows: Sequence[str],
    probe: Probe,
) -> Told:
    # a key of NOT NULL columns takes no null, so a null in it is as safe as what it leaves alone
    filled = {name for name, value in probe.change.items() if value is not None}
    key = next((name for name, parts in keys if not {*parts} & filled), "")
    if not key:
        other = "other than what is changed" if keys else "of NOT NULL columns"
        return Told(f"not tried: the table has no immediate primary or unique key {other}", Ok.CANNOT_TELL)
    if not rows:
        return Told("not tried: there is no row to copy", Ok.CANNOT_TELL)
    insert, reason = target.insert(key), Refused("")
    for row in rows:
        unchanged = _offer(writer, context, target, insert, _values(row))
        if unchanged is None:
            refused = _offer(writer, context, target, insert, _values(row, probe))
            if refused:
                return _judged(probe, refused, _unchanged(reader, target.table, probe, refused))
            return _by_keys(reader, target.table, probe, row)
        reason = unchanged
    text = f"proves nothing: the unchanged row is refused too, by {reason}"
    return Told(text + _advice(reason, target), Ok.CANNOT_TELL)


def _advice(reason: Refused, target: _Target) -> str:
    if reason.state == "42501":
        return f"; name a role in `as` that may insert into {target.table.label}, or rows that it may insert in `where`"
    return "; name rows that are good in `where`"


def _unchanged(reader: psycopg.Connection[Any], table: Table, probe: Probe, refused: Refused) -> list[str]:
    """The other columns that the CHECK asks for: they may be what it refuses."""
    asked = _first(reader, _ASKED, [table.oid, refused.constraint]) if refused.state == "23514" else None
    return [name for name in asked or () if name not in probe.change]


def _judged(probe: Probe, refused: Refused, unchanged: Sequence[str]) -> Told:
    """What a refusal means."""
    if probe.by:
        fits = probe.by in (refused.state, refused.constraint, refused.column)
    elif refused.state == "23502":
        fits = any(value is None for value in probe.change.values())
    else:
        fits = refused.state in _WRONG_TYPE or (refused.state == "23514" and bool(refused.constraint))
    if fits and unchanged and not probe.by:
        hint = f"where that is the rule meant, say `by: {refused.constraint}`"
        return Told(f"refused by {refused}, which asks for {', '.join(unchanged)} too; {hint}", Ok.CANNOT_TELL)
    if fits:
        return Told(f"refused by {refused}", Ok.YES)
    hint = "" if probe.by else f"; where that is the rule meant, say `by: {refused.state}`"
    return Told(f"refused for another reason: {refused}{hint}", Ok.CANNOT_TELL)


def _by_keys(reader: psycopg.Connection[Any], table: Table, probe: Probe, row: str) -> Told:
    """What the foreign keys of the changed columns would say, which speak after the row is written."""
    for key in foreign_keys(reader, [table]):
        if not any(f"c.{name}" in key.columns or f"c.{quoted(name)}" in key.columns for name in probe.change):
            continue
        if probe.by not in ("", "23503", key.name):
            continue
        if key.temporal:
            return Told(f"not tried: {key.name} is a temporal key", Ok.CANNOT_TELL)
        if not _has_parent(reader, key, table, probe, row):
            return _broken_key(key)
    return _by_unique_keys(reader, table, probe, row) or _by_trigger(reader, table, probe) or _let_through(table, probe)


def _by_unique_keys(reader: psycopg.Connection[Any], table: Table, probe: Probe, row: str) -> Told | None:
    """What the unique keys of the changed columns would say, which speak after the row is written; or nothing."""
    for name, excludes, parts in reader.execute(_UNIQUE, [table.oid]).fetchall():
        if not {*parts} & {*probe.change} or probe.by not in ("", "23505", "23P01", name):
            continue
        if excludes:
            return Told(f"not tried: {name} excludes rows, and speaks after the row is written", Ok.CANNOT_TELL)
        own, given = (", ".join(f"{alias}.{quoted(part)}" for part in parts) for alias in ("t", "c"))
        query = f"select count(*) from {table.source} t join jsonb_populate_record(null::{table.sql}, "
        if _first(
            reader, f"{_escaped(query)}{_ROW}) c on ({_escaped(own)}) = ({_escaped(given)})", _values(row, probe)
        ):
            return Told(f"refused by {name} (23505, which is in force, and there is such a row)", Ok.YES)
    return None


def _by_trigger(reader: psycopg.Connection[Any], table: Table, probe: Probe) -> Told | None:
    """A trigger that speaks after the row is written, where it is one to refuse rows, or is meant; or nothing."""
    meant = bool(_OWN_STATE.fullmatch(probe.by))
    name = _first(reader, _AFTER, {"table": table.oid, "by": meant})
    return Told(f"not tried: trigger {name} speaks after the row is written", Ok.CANNOT_TELL) if name else None


def _let_through(table: Table, probe: Probe) -> Told:
    nulls = [name for name, value in probe.change.items() if value is None]
    mend = f"alter table {table.sql} alter column {quoted(nulls[0])} set not null" if nulls else ""
    return Told(f"let through; to mend: {mend or 'add a CHECK, or choose a narrower type'}", Ok.NO)


def _broken_key(key: ForeignKey) -> Told:
    if not key.enforced or key.disabled:
        return Told(f"let through: {key.name} is {', '.join(key.faults)}", Ok.NO)
    return Told(f"refused by {key.name} (23503, which is in force, and {key.parent.label} has no such row)", Ok.YES)


def _has_parent(reader: psycopg.Connection[Any], key: ForeignKey, table: Table, probe: Probe, row: str) -> bool:
    record = f"jsonb_populate_record(null::{table.sql}, "
    query = f"select num_nulls({', '.join(key.columns)}) > 0 or exists (select 1 from {key.parent.source} p "
    query += f"where {key.condition}) from {record}"
    return bool(_first(reader, f"{_escaped(query)}{_ROW}) c", _values(row, probe)))


def _offer(
    writer: psycopg.Connection[Any], context: Context, target: _Target, insert: str, values: list[str]
) -> Refused | None:
    """Offer one row, and undo it; nothing where it got as far as its key."""
    import psycopg

    bound(writer, context)
    refused = None
    try:
        with taken_on(writer, target.persona):
            writer.execute(insert.encode(), values)
    except psycopg.Error as error:
        if error.sqlstate is None or error.sqlstate.startswith(_NOT_THE_ROW):
            raise
        names = error.diag.constraint_name, error.diag.column_name, error.diag.datatype_name
        refused = Refused(error.sqlstate, *(name or "" for name in names))
    if not target.triggers and _first(writer, _WRITTEN, None) is not None:
        raise CannotLook(
            f"a probe of {target.table.label} was about to write, so all probes were stopped and undone",
            "its original may have been deleted meanwhile: look again",
        )
    return refused


@contextmanager
def taken_on(connection: psycopg.Connection[Any], persona: Persona) -> Iterator[None]:
    """Act as that role with its settings, under its policies, and undo whatever was done."""
    import psycopg

    settings = {**persona.settings, "row_security": "on", "role": persona.role}
    calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
    with connection.transaction(force_rollback=True):
        try:
            connection.execute(f"select {calls}".encode(), [part for pair in settings.items() for part in pair])
        except psycopg.Error as error:
            what = error.diag.message_primary or type(error).__name__
            hint = f"correct `as` and `settings`, or: grant {persona.role} to {connection.info.user}"
            raise CannotLook(f"role '{persona.role}' cannot be taken on: {what}", hint) from None
        yield


def _rows(reader: psycopg.Connection[Any], context: Context, target: _Target, where: str) -> list[str]:
    """A few rows that the role sees, or where it may not read, any; never shown to anybody."""
    import psycopg

    bound(reader, context)
    query = f"select to_jsonb({quoted(target.table.name)}.*)::text from {target.table.source}"
    query += f" where (\n{where}\n)" if where else ""
    try:
        with taken_on(reader, target.persona):
            found = first_rows(reader, query, limit=_MOST_ROWS)
    except psycopg.errors.InsufficientPrivilege:
        found = first_rows(reader, query, limit=_MOST_ROWS)
    return [text for (text,) in found]


def _require_columns(table: Table, probe: Probe, known: Sequence[Column]) -> None:
    names = [column.name for column in known]
    for name in probe.change:
        if name not in names:
            raise CannotLook(f"{table.label} has no column '{name}'", nearest(name, names))
        if next(column for column in known if column.name == name).generated:
            raise CannotLook(f"column {name} of {table.label} is generated", "nobody can give it a bad value")


def _values(row: str, probe: Probe | None = None) -> list[str]:
    return [row, json.dumps(dict(probe.change) if probe else {}, default=str)]


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _first(connection: psycopg.Connection[Any], query: str, parameters: Any) -> Any:
    row = connection.execute(query.encode(), parameters).fetchone()
    return None if row is None else row[0]
