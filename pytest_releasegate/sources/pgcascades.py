"""What becomes of the rows that refer to a deleted one: as the catalogue says it, and as a deletion shows it."""

# ruff: noqa: S608  identifiers are quoted, values are bound, and predicates are the gate's own text
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.model import Ok
from pytest_releasegate.sources.pgkeys import foreign_keys
from pytest_releasegate.sources.pgrefusals import Told, keys_of, taken_on
from pytest_releasegate.sources.pgtables import quoted
from pytest_releasegate.sources.postgres import bound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgkeys import ForeignKey
    from pytest_releasegate.sources.pgpolicies import Persona
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Deletions", "Rule", "rules"]

WORDS = {"c": "cascade", "n": "set null", "d": "set default", "r": "restrict", "a": "no action"}
_BLOCKS = ("restrict", "no action")
_TRIED = 10
_NOT_THE_ROW = ("08", "25", "40", "53", "55", "57", "58", "XX")
_REFUSED = ("23503", "23001")
_RULES = """
select n.nspname || '.' || t.relname, c.conname, c.confdeltype::text,
       array(select a.attname::text from pg_catalog.pg_attribute a
             where a.attrelid = c.conrelid and a.attnum = any(c.confdelsetcols)),
       array(with recursive part(oid) as (
                 select p.oid from pg_catalog.pg_constraint p where p.conparentid = c.oid
                 union all select p.oid from part join pg_catalog.pg_constraint p on p.conparentid = part.oid)
             select distinct p.conname::text from part join pg_catalog.pg_constraint p on p.oid = part.oid)
from pg_catalog.pg_constraint c
join pg_catalog.pg_class t on t.oid = c.conrelid join pg_catalog.pg_namespace n on n.oid = t.relnamespace
where c.contype = 'f' and c.conparentid = 0
"""
_TRIGGERS = """
select min(t.tgname) from pg_catalog.pg_trigger t
where not t.tgisinternal and t.tgenabled in ('O', 'A') and t.tgtype::int & %(bits)s > 0
  and t.tgrelid in (select %(table)s::oid union select relid::oid from pg_catalog.pg_partition_tree(%(table)s::oid))
"""
_DELETE, _UPDATE = 8, 16
_ROOT = "\0root"
"""Where the row that is deleted stands in a query, as JSON."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A foreign key, and what deleting its parent does to the rows that hold it."""

    key: ForeignKey
    action: str
    columns: tuple[str, ...]
    """The columns that SET NULL and SET DEFAULT touch, where these are not all of the key's."""
    parts: tuple[str, ...] = ()
    """The names by which partitions keep it."""

    def __str__(self) -> str:
        return f"{self.action} ({', '.join(self.columns)})" if self.columns else self.action

    @property
    def faults(self) -> list[str]:
        """What keeps it from acting."""
        disabled = [f"{self.key.disabled} of its triggers disabled"] if self.key.disabled else []
        return disabled + ([] if self.key.enforced else ["not enforced"])


def rules(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> list[Rule]:
    """The rules of all foreign keys of the tables."""
    found = {(label, name): rest for label, name, *rest in connection.execute(_RULES).fetchall()}
    every = [(key, found[key.child.label, key.name]) for key in foreign_keys(connection, tables)]
    return [Rule(key, WORDS[action], tuple(columns), tuple(parts)) for key, (action, columns, parts) in every]


@dataclass(frozen=True, slots=True)
class Deletions:
    """Deletes real rows to see what goes with them, each within a transaction that is undone at once."""

    context: Context
    reader: psycopg.Connection[Any]
    writer: psycopg.Connection[Any]
    persona: Persona
    tables: Mapping[str, Table]
    rules: Sequence[Rule]
    most: int
    """How many rows one deletion may touch."""
    triggers: bool

    def look(self, rule: Rule, where: str = "") -> Told:
        """Delete one parent that has rows by that key, and say what became of them."""
        parent = self.tables[rule.key.parent.label]
        if not self._key(parent):
            return Told(f"not tried: {parent.label} has no key by which to know a row", Ok.CANNOT_TELL)
        if not self.triggers and (fired := self._fired(parent)):
            text = f"not tried: {fired} would fire; where it calls nothing outside, say `triggers: true`"
            return Told(text, Ok.CANNOT_TELL)
        reason = f"no row of {parent.label} has rows there, and none elsewhere that forbid to delete it"
        for root in self._parents(parent, rule, where):
            touched = 1 + self._touched(parent, self._root(parent), root)
            if touched > self.most:
                reason = f"it would touch {touched} rows, and `most` is {self.most}"
                continue
            told = self._delete(parent, rule, root)
            if told.ok is not Ok.CANNOT_TELL:
                return told
            reason = told.text
        return Told(f"not tried: {reason}", Ok.CANNOT_TELL)

    def _delete(self, parent: Table, rule: Rule, root: str) -> Told:
        child = self.tables[rule.key.child.label]
        held = _held(rule, self._root(parent))
        before = self._value(self.reader, f"select count(*) from ({held}) x", root)
        known = self._value(self.reader, f"select coalesce(jsonb_agg(to_jsonb(x)), '[]')::text from ({held}) x", root)
        with taken_on(self.writer, self.persona):
            refused = self._refusal(parent, root)
            if refused:
                return _judge_refusal(rule, refused, before)
            # from here on by the role that sees all rows
            self.writer.execute("select set_config('role', 'none', true), set_config('row_security', 'off', true)")
            left = self._value(self.writer, f"select count(*) from ({self._again(child, rule)}) x", known)
            query = f"select count(*) from ({self._again(child)}) x" if self._key(child) else ""
            there = self._value(self.writer, query, known) if query else left
        return _judge(rule, before, left, there)

    def _refusal(self, parent: Table, root: str) -> str:
        """Who refused the deletion; nothing where it went through."""
        import psycopg

        bound(self.writer, self.context)
        delete = _sql(f"delete from {parent.sql} p where {self._is(parent)}")
        try:
            with self.writer.transaction():
                gone = self.writer.execute(delete, {"root": root}).rowcount
                self.writer.execute("set constraints all immediate")
        except psycopg.Error as error:
            if error.sqlstate is None or error.sqlstate.startswith(_NOT_THE_ROW):
                raise
            return (error.diag.constraint_name or "") if error.sqlstate in _REFUSED else f"SQLSTATE {error.sqlstate}"
        return "" if gone else f"a policy or trigger that hides the row from role {self.persona.role}"

    def _parents(self, parent: Table, rule: Rule, where: str) -> list[str]:
        """A few rows that have children by that key, and no others that would forbid to delete them."""
        others = [each for each in self._of(parent) if each.action in _BLOCKS and each is not rule]
        forbidden = "".join(f" and not {_exists(each.key)}" for each in others)
        query = f"select p.* from {parent.source} p where {_exists(rule.key)}{forbidden}"
        query += f" and (\n{where}\n)" if where else ""
        bound(self.reader, self.context)
        # with a mapping, though an empty one, doubled percent signs are read as single ones
        found = self.reader.execute(_sql(f"select to_jsonb(x)::text from ({query} limit {_TRIED}) x"), {}).fetchall()
        return [text for (text,) in found]

    def _touched(self, table: Table, rows: str, root: str, seen: tuple[str, ...] = ()) -> int:
        """How many rows go or change with these."""
        total = 0
        for rule in self._of(table):
            own = rule.key.child.label == table.label and rule.action == "cascade"
            if own and str(rule.key) in seen:
                continue
            held = self._descendants(rule, rows) if own else _held(rule, rows)
            number = self._value(self.reader, f"select count(*) from ({held}) x", root)
            total += number
            if number and rule.action == "cascade" and str(rule.key) not in seen:
                total += self._touched(self.tables[rule.key.child.label], held, root, (*seen, str(rule.key)))
        return total

    def _descendants(self, rule: Rule, rows: str) -> str:
        """The rows that refer to one of the given ones, to one of those, and so on, in one table."""
        child = self.tables[rule.key.child.label]
        names = [quoted(name) for name in self._key(child)]
        own, last, found = (", ".join(f"{alias}.{name}" for name in names) for alias in ("c", "p", "t"))
        first = f"select {own} from {child.source} c where exists (select 1 from ({rows}) p where {rule.key.condition})"
        more = f"select {own} from t join {child.source} p on ({last}) = ({found}) "
        more += f"join {child.source} c on {rule.key.condition}"
        every = f"with recursive t({', '.join(names)}) as ({first} union {more}) select * from t"
        return f"select c.* from {child.source} c where ({own}) in ({every})"

    def _fired(self, parent: Table) -> str:
        """A trigger that a deletion may fire, there or further down; nothing where there is none."""
        reached = {parent.label: _DELETE}
        waiting = [parent]
        while waiting:
            for rule in self._of(waiting.pop()):
                child = self.tables[rule.key.child.label]
                known, bit = reached.get(child.label, 0), _DELETE if rule.action == "cascade" else _UPDATE
                if rule.action not in _BLOCKS and known | bit != known:
                    reached[child.label] = known | bit
                    waiting += [child] if bit == _DELETE else []
        for label, bits in reached.items():
            row = self.reader.execute(_TRIGGERS, {"table": self.tables[label].oid, "bits": bits}).fetchone()
            if row and row[0]:
                return f"trigger {row[0]} of {label}"
        return ""

    def _of(self, parent: Table) -> list[Rule]:
        return [rule for rule in self.rules if rule.key.parent.label == parent.label]

    def _key(self, table: Table) -> list[str]:
        keys = keys_of(self.reader, table)
        return keys[0][1] if keys else []

    def _root(self, parent: Table) -> str:
        return f"select p.* from {parent.source} p where {self._is(parent)}"

    def _is(self, table: Table) -> str:
        """The condition that a row `p` is the chosen one."""
        own, given = _both(self._key(table), "p")
        return f"({own}) = (select {given} from jsonb_populate_record(null::{table.sql}, {_ROOT}) r)"

    def _again(self, child: Table, rule: Rule | None = None) -> str:
        """Those of the rows kept as JSON that are still there; by the rule, those that refer to what they did."""
        own, given = _both(list(rule.key.columns) if rule else self._key(child), "c")
        kept = f"select {given} from jsonb_populate_recordset(null::{child.sql}, {_ROOT}) r"
        return f"select 1 from {child.source} c where ({own}) in ({kept})"

    def _value(self, connection: psycopg.Connection[Any], query: str, root: str) -> Any:
        bound(connection, self.context)
        row = connection.execute(_sql(query), {"root": root}).fetchone()
        return row[0] if row else None


def _judge(rule: Rule, before: int, left: int, there: int) -> Told:
    """What became of the rows that referred to the deleted one."""
    rows = f"{before} row{'s' * (before != 1)}"
    if rule.action in _BLOCKS:
        return Told(f"{rule}, but the deletion of a row with {rows} went through", Ok.NO)
    if rule.action == "cascade":
        gone = not left and not there
        return Told(f"cascade: {rows} gone" if gone else f"cascade, but {max(left, there)} of {rows} left", _ok(gone))
    stayed = f"{there} of {rows} left, {left} of them still refer to it"
    return Told(f"{rule}: {stayed}", _ok(there == before and (not left or rule.action == "set default")))


def _judge_refusal(rule: Rule, refused: str, before: int) -> Told:
    if refused in (rule.key.name, *rule.parts) and rule.action in _BLOCKS:
        return Told(f"{rule}: refused because of {before} row{'s' * (before != 1)}", Ok.YES)
    return Told(f"{rule} in the catalogue; the deletion was refused by {refused}", Ok.CANNOT_TELL)


def _ok(holds: bool) -> Ok:
    return Ok.YES if holds else Ok.NO


def _held(rule: Rule, rows: str) -> str:
    """The rows that refer by that key to one of the given ones."""
    return (
        f"select c.* from {rule.key.child.source} c where exists (select 1 from ({rows}) p where {rule.key.condition})"
    )


def _exists(key: ForeignKey) -> str:
    return f"exists (select 1 from {key.child.source} c where {key.condition})"


def _both(columns: Sequence[str], alias: str) -> tuple[str, str]:
    """The columns of the table and of the given record; those of a key come with their alias."""
    names = [column.removeprefix("c.") if column.startswith("c.") else quoted(column) for column in columns]
    return ", ".join(f"{alias}.{name}" for name in names), ", ".join(f"r.{name}" for name in names)


def _sql(text: str) -> bytes:
    return text.replace("%", "%%").replace(_ROOT, "%(root)s::jsonb").encode()
