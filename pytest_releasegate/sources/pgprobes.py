"""Row-level security as it acts: what a persona sees, and what its writes would reach, without writing anything.

A write is stopped at the step after the policies. UPDATE and DELETE carry a condition that counts each row which the
policies let through and is never true; INSERT puts NULL into a NOT NULL column, which PostgreSQL looks at after the
policies. So no row is written or locked, no trigger fires, no sequence moves, and no transaction id is assigned.
"""

# ruff: noqa: S608  identifiers are quoted, and predicates are the gate's own text
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.sources.pgasks import COUNTER, READ, SAMPLE, SCRATCH, WRITE, Ask
from pytest_releasegate.sources.pgtables import quoted
from pytest_releasegate.sources.pgvariants import identities, told, variants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_releasegate.sources.pgcells import Key
    from pytest_releasegate.sources.pgpolicies import Column, Persona
    from pytest_releasegate.sources.pgtables import Table

__all__ = [
    "POISON",
    "Probes",
    "accepted",
    "changeable",
    "keys",
    "keys_of",
    "poison",
    "seeing",
    "unfit_for_insert",
    "write_of",
]

POISON = "releasegate_poison"
"""The constraint that stops each write on a copy, where no column needs to."""
_TOLD = 2
_LOOKED_THROUGH, _MADE_OF = 10_000, 500
"""How many rows are looked through for others to offer, and for one to make another of."""
# The planner moves a condition that names no column before the policies when it costs less than ten operators
# (order_qual_clauses in createplan.c); the zeros make it cost more.
_ZEROS = " + 0" * 24
# set_config is volatile and gives text, never null: evaluated for each row that the policies let through, never true
_COUNT = f"set_config('{COUNTER}', (current_setting('{COUNTER}')::bigint + 1{_ZEROS})::text, true) is null"


@dataclass(frozen=True, slots=True)
class Probes:
    """The questions about one table as one persona."""

    table: Table
    persona: Persona
    columns: Sequence[Column]
    rows: int
    where: str
    """Where writes are asked, and what they are compared with."""
    checks: Sequence[str] = ()
    """The conditions that policies set for new rows."""

    @property
    def place(self) -> str:
        """What the questions are about."""
        return f"{self.table.label} as {self.persona.name}"

    @property
    def _source(self) -> str:
        return READ if self.where == WRITE else self.where

    def total(self) -> Ask:
        """How many rows there are."""
        query = f"select array[count(*)] from {self.table.source}"
        return Ask("numbers", query, "", False, self._source, self.table.label, self.rows)

    def matching(self, predicate: str) -> Ask:
        """How many rows satisfy the predicate, under the persona's settings alone."""
        query = f"select array[count(*)] from {self.table.source}{_where(predicate)}"
        return Ask("numbers", query, self.persona.name, False, self._source, self.place, self.rows)

    def visible(self, predicate: str = "") -> Ask:
        """How many rows the persona sees, of all or of those that satisfy the predicate."""
        query = f"select array[count(*)] from {self.table.source}{_where(predicate)}"
        return Ask("numbers", query, self.persona.name, True, self._source, self.place, self.rows)

    def others(self, predicate: str) -> Ask | None:
        """The primary keys of a few rows that the persona sees and that do not satisfy the predicate."""
        names = [quoted(column.name) for column in keys(self.columns)]
        if not names:
            return None
        key = names[0] if len(names) == 1 else f"json_build_array({', '.join(names)})"
        rows = f"select {key} as key from {self.table.source}{_where(f'({predicate}) is not true')} limit {_TOLD}"
        return Ask("json", f"select json_agg(key) from ({rows}) as other", self.persona.name, place=self.place)

    def reached(self, write: str, predicate: str = "") -> Ask:
        """How many rows a write (`update ... set ...` or `delete from ...`) of the persona would reach.

        Without a predicate the statement names no column in its condition, so only the policies of that command stand.
        """
        # CASE keeps the order: the predicate first, then the count
        condition = f"case when (\n{predicate}\n) then {_COUNT} else false end" if predicate else _COUNT
        sql = f"{write} where {condition}"
        return Ask("reached", sql, self.persona.name, True, self.where, self.place, self.rows)

    def plan(self, write: str) -> Ask:
        """How PostgreSQL would go about a write of all rows."""
        return Ask("json", f"explain (format json, costs off) {write}", self.persona.name, place=self.place)

    def inserts(self, predicate: str) -> Ask:
        """Which rows the policies let the persona insert: some that are there already, of both sorts, or made ones."""
        offered = [column for column in self.columns if column.insertable and not column.generated]
        names = ", ".join(quoted(column.name) for column in offered)
        query = f"insert into {self.table.sql} ({names}) overriding system value"
        asked = self._sample(predicate, *([_unless(predicate)] if predicate else []))
        unwanted = _unless(predicate)
        query = f"{query} select {_values(offered, self.poison(offered))} from {self._record}"
        return self._offers(query, asked, self._made(offered, unwanted))

    def changes(self, predicate: str) -> Ask:
        """Whether the policies let the persona change a row of theirs into one without the predicate.

        The statement reads no column, so the policies of SELECT do not hide what those of UPDATE permit.
        """
        offered = changeable(self.columns)
        names = ", ".join(quoted(column.name) for column in offered)
        row = f"select {_values(offered, self.poison(offered))} from {self._record}"
        unwanted, query = _unless(predicate), f"update {self.table.sql} set ({names}) = ({row})"
        if all(column in offered or column.generated or column.identity for column in self.columns):
            return self._offers(query, self._sample("false", unwanted), self._made(offered, unwanted))
        # what may not be changed stays as it is in a row of theirs
        return self._offers(query, self._changed(offered, predicate), self._made(offered, unwanted, predicate))

    def poison(self, offered: Sequence[Column]) -> str:
        """The column whose NULL stops a write after the policies; on a copy a constraint does."""
        return "" if self.where == SCRATCH else poison(offered)

    def _offers(self, sql: str, query: str, made: Sequence[str]) -> Ask:
        samples = (*((each, False, True) for each in made), (query, False, False), (query, True, False))
        return Ask("offers", sql, self.persona.name, True, self.where, self.place, self.rows, samples)

    def _sample(self, *predicates: str) -> str:
        """A few rows of each sort: those with the first predicate, and those with the second."""
        body = f"to_jsonb({quoted(self.table.name)}.*)"
        decisive = [quoted(column.name) for column in self.columns if column.decides and column.readable]
        parts = [
            f"(select {sort} as sort, {body} as body from {self.table.source}{_where(predicate)} limit {SAMPLE})"
            for sort, predicate in zip(("true", "false"), predicates, strict=False)
        ]
        # and where the first rows are all alike in what policies ask for, others
        parts += [
            f"(select distinct on ({name}::text) {sort} as sort, {body} as body "
            f"from {self._first(_LOOKED_THROUGH)}{_where(predicate)} limit {SAMPLE})"
            for sort, predicate in zip(("true", "false"), predicates, strict=False)
            if predicate != "false"
            for name in decisive
        ]
        return f"select array_agg(jsonb_build_array(sort, body)) from ({' union all '.join(parts)}) as offered"

    def _changed(self, offered: Sequence[Column], predicate: str) -> str:
        """A few rows without the predicate whose values, put into a row with it, leave that without it too."""
        own, names = quoted(self.table.name), ", ".join(_literal(column.name) for column in offered)
        theirs, others = (
            f"(select to_jsonb({own}.*) as body from {self._first(_MADE_OF)}{_where(each)} limit {_MADE_OF // 10})"
            for each in (predicate, _unless(predicate))
        )
        given = f"(select jsonb_object_agg(key, value) from jsonb_each(o.body) where key in ({names}))"
        record = f"jsonb_populate_record(null::{self.table.sql}, t.body || {given}) as {own}"
        fit = f"exists (select from {record}{_where(_unless(predicate))})"
        rows = f"select o.body from {others} as o where exists (select from {theirs} as t where {fit}) limit {SAMPLE}"
        return f"select array_agg(jsonb_build_array(false, body)) from ({rows}) as offered"

    def _made(self, offered: Sequence[Column], unwanted: str, within: str = "") -> list[str]:
        """Queries for a real row with values that the policies themselves name, such that it is an unwanted one."""
        own, poisoned, queries = quoted(self.table.name), self.poison(offered), []
        names, who = [column.name for column in offered if column.name != poisoned], identities(self.persona.settings)
        record = f"jsonb_populate_record(null::{self.table.sql}, made.body) as {own}"
        for change in variants(self.checks, names, who):
            text, values = _literal(told(change, who)), _literal(json.dumps(change))
            rows = f"select to_jsonb({own}.*) || {values}::jsonb as body from {self._first(_MADE_OF)}{_where(within)}"
            fit = f"exists (select from {record}{_where(unwanted)})"
            row = f"select body from ({rows}) as made where {fit} limit 1"
            queries.append(f"select array_agg(jsonb_build_array({text}::text, body)) from ({row}) as row")
        return queries

    def _first(self, number: int) -> str:
        return f"(select * from {self.table.source} limit {number}) as {quoted(self.table.name)}"

    @property
    def _record(self) -> str:
        return f"jsonb_populate_record(null::{self.table.sql}, $1) r"


def write_of(command: str, table: Table, columns: Sequence[Column]) -> str:
    """A DELETE, or an UPDATE of one column that the role may write; nothing when there is none."""
    if command == "delete":
        return f"delete from {table.sql}"
    best = sorted(changeable(columns), key=lambda column: (column.domain, not column.not_null))
    return f"update {table.sql} set {quoted(best[0].name)} = null" if best else ""


def seeing(columns: Sequence[Column]) -> str:
    """A condition that holds for every row but reads a column, so that the policies of SELECT stand too."""
    readable = next((quoted(column.name) for column in columns if column.readable), "")
    return f"{readable} is null or {readable} is not null" if readable else ""


def keys(columns: Sequence[Column]) -> list[Column]:
    """The columns of the primary key, in its order."""
    return sorted((column for column in columns if column.primary), key=lambda column: column.primary)


def keys_of(columns: Sequence[Column], wanted: Sequence[Key]) -> str:
    """The condition for rows with these primary keys; nothing when the key has another number of columns."""
    names = [column.name for column in keys(columns)]
    rows = [key if isinstance(key, tuple) else (key,) for key in wanted]
    if not names or any(len(row) != len(names) for row in rows):
        return ""
    # a quoted value takes the type of the column that it is compared with
    values = ", ".join(f"({', '.join(_literal(part) for part in row)})" for row in rows)
    return f"({', '.join(map(quoted, names))}) in ({values})"


def unfit_for_insert(columns: Sequence[Column]) -> str:
    """Why INSERT cannot be probed without writing, or nothing."""
    offered = [column for column in columns if column.insertable and not column.generated]
    silent = [column.name for column in columns if not column.insertable and column.defaulted and not column.generated]
    if silent:
        return f"the default of column {silent[0]}, which the role may not give, would be used up"
    if not poison(offered):
        return "no NOT NULL column that no policy asks for"
    return ""


def changeable(columns: Sequence[Column]) -> list[Column]:
    """The columns that the role may change."""
    return [column for column in columns if column.updatable and not column.generated and not column.identity]


def poison(offered: Sequence[Column]) -> str:
    """The best column whose NULL stops a write after the policies; nothing when there is none."""
    fit = [column for column in offered if column.not_null and not column.domain and not column.decides]
    best = sorted(fit, key=lambda column: (column.primary, bool(column.identity)))
    return best[0].name if best else ""


def accepted(state: str, what: str, poisoned: str) -> bool | str:
    """Whether a poisoned write got as far as its poison; a text says why that is not told."""
    if state == "42501":
        return False
    if state == "23514" and what == POISON:
        return True
    if state == "23502":
        return what == poisoned or "another column was empty before the policies spoke"
    if state.startswith(("22", "23")):
        return f"SQLSTATE {state} before the policies spoke"
    return "nothing stopped it" if state == "RG001" else f"SQLSTATE {state}"


def _values(offered: Sequence[Column], poisoned: str) -> str:
    names = ((column.name == poisoned, f"r.{quoted(column.name)}") for column in offered)
    # with a type, which a bare null lacks in the row of an UPDATE
    return ", ".join(f"case when true then null else {name} end" if null else name for null, name in names)


def _unless(predicate: str) -> str:
    return f"(\n{predicate}\n) is not true" if predicate else ""


def _literal(value: int | str) -> str:
    text = str(value).replace("\\", "\\\\").replace("'", "''")
    return f"e'{text}'" if "\\" in text else f"'{text}'"


def _where(predicate: str) -> str:
    return f" where (\n{predicate}\n)" if predicate else ""
