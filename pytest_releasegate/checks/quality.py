"""`quality`: rules that the rows of tables satisfy, counted row by row."""

# ruff: noqa: S608  identifiers are quoted, values are bound, and predicates are the gate's own text
from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, StrictBool, field_validator, model_validator

from pytest_releasegate.check import Shared, counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, format_duration
from pytest_releasegate.sources.oncopy import OnCopy, copied
from pytest_releasegate.sources.pgcolumns import Column, column_of, columns_of, newest, no_instant
from pytest_releasegate.sources.pglooks import SCAN_SECONDS, Numbers, Want, measured
from pytest_releasegate.sources.pgrules import Rule, Share, TableRules
from pytest_releasegate.sources.pgtables import Table, aligned, named, user_tables
from pytest_releasegate.sources.pgunique import duplicated, duplicates, empty_everywhere, unique_indexes
from pytest_releasegate.sources.postgres import connect, count_each, database_name, first_rows, one_statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Quality"]

_SHOWN_KEYS = 5


class NoRow(Parameters):
    """A query that must give no row, and what it looks through."""

    query: str
    """The query whose rows are wrong."""
    of: str
    """A query that counts what was looked through: none found among none says nothing."""

    @field_validator("query", "of")
    @classmethod
    def _single(cls, text: str) -> str:
        return one_statement(text)


@dataclass
class Plan:
    """One table with its rules, as they are looked at."""

    table: Table
    declared: TableRules
    columns: Mapping[str, Column]
    rules: list[Rule]

    @property
    def want(self) -> Want:
        """What one scan must give."""
        rules = [rule for rule in self.rules if not rule.blind]
        aggregates = [text for rule in rules for text in rule.aggregates]
        aggregates += [newest(column, self.declared.zone) for column in self.times if not self.unclear(column)]
        return Want(self.table, self.declared.where, tuple(aggregates))

    @property
    def times(self) -> list[Column]:
        """The columns that must be fresh."""
        return [column_of(self.table, self.columns, name) for name in self.declared.fresh]

    def unclear(self, column: Column) -> str:
        """Why the column does not say when."""
        return no_instant(column) if column.zoneless and not self.declared.zone else ""


@dataclass
class Told:
    """What was found of one rule."""

    table: str
    rule: str
    wanted: str
    actual: str
    ok: Ok
    allowed: str = ""
    quiet: bool = False
    shared: bool = False
    """Rows are not unique."""

    @property
    def finding(self) -> Finding:
        """As a finding."""
        wanted = f"{self.wanted} (at most {self.allowed} not)" if self.allowed else self.wanted
        return find(f"{self.table}: {self.rule}", expected=wanted, actual=self.actual, ok=self.ok)


@dataclass
class Seen:
    """What was found of one table."""

    plan: Plan
    numbers: Numbers
    told: list[Told] = field(default_factory=list)


class Quality(Parameters):
    """Rules by table, all counted in one scan of it; the denominators are the tables, the rules and the rows.

    Gates of one step over the same table share the scan. A null satisfies no rule unless the table says `nullable`.

    ```yaml
    quality:
      database: app
      tables:
        payments:
          where: test_run is null
          not_null: [client_id]
          unique: [receipt]
          accepted: {status: [settled, pending, refunded]}
          range: {amount: {above: 0, max: 10000}}
          pattern: {receipt: "^R-[0-9]+$"}
          not_future: [paid_at]
          fresh: {paid_at: 7d}
        notes:
          ordered: [[created_at, signed_at]]
          nullable: [signed_at]
          holds: {signed has its time: "(status = 'signed') = (signed_at is not null)"}
          at_most: {"ordered created_at, signed_at": 0.1%}
    ```
    """

    kind: ClassVar[str] = "quality"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    tables: dict[str, TableRules] = Field(default_factory=dict)
    """By table, such as `notes` or `public.notes`, the rules of its rows."""
    no_rows: dict[str, NoRow] = Field(default_factory=dict)
    """By a name of your own, a `query` that must give no row, and in `of` one that counts what it looks through."""
    unique_by: Literal["index", "rows"] = "index"
    """`index` trusts a valid unique index that covers all rows where there is one; `rows` always counts."""
    show_keys: StrictBool = False
    """Show the primary keys of the first five rows that violate a rule: only where they are no personal data."""
    on_copy: OnCopy | None = None
    """Look at a scratch copy, with a script such as the backfill's run on it, instead of at the target."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many tables or queries must have been looked at at least, with rows in them."""

    @model_validator(mode="after")
    def _something(self) -> Quality:
        if not self.tables and not self.no_rows:
            raise ValueError("expected `tables` with rules, or `no_rows`")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Scan each table once, and count."""
        name = database_name(context, self.database)
        if self.on_copy:
            # nobody else looks at this copy
            context = replace(context, shared=Shared())
        with (
            copied(context, name, self.on_copy)
            if self.on_copy
            else connect(context, name, at_most=SCAN_SECONDS) as connection
        ):
            plans = self._plans(connection)
            numbers = measured(connection, context, name, [plan.want for plan in plans])
            seen = [self._seen(connection, context, *pair) for pair in zip(plans, numbers, strict=True)]
            queries = self._queries(connection, context)
        context.attach("quality.txt", "text/plain", _table(seen, queries))
        for one in seen:
            yield from _tell(one)
        yield from (told.finding for told, _ in queries)
        yield from self._denominators(seen, queries)

    def wants(self, connection: psycopg.Connection[Any]) -> list[Want]:
        """What is counted in one scan of each table, for whoever looks first."""
        return [] if self.on_copy else [plan.want for plan in self._plans(connection)]

    def _plans(self, connection: psycopg.Connection[Any]) -> list[Plan]:
        known = user_tables(connection) if self.tables else []
        plans = []
        for name, declared in self.tables.items():
            table = named(name, known)
            columns = columns_of(connection, table)
            plans.append(Plan(table, declared, columns, declared.rules(table, columns)))
        return plans

    def _seen(self, connection: psycopg.Connection[Any], context: Context, plan: Plan, numbers: Numbers) -> Seen:
        seen = Seen(plan, numbers)
        if numbers.rows:
            seen.told += [self._rule(connection, plan, numbers, rule) for rule in plan.rules]
            seen.told += [_fresh(plan, numbers, column) for column in plan.times]
            indexes = unique_indexes(connection, plan.table) if self.unique_by == "index" else {}
            for columns in plan.declared.keys:
                told = _unique(connection, context, plan, numbers, columns, indexes)
                if self.show_keys and told.shared:
                    told.actual += f" ({_keys(connection, plan, duplicated(plan.table, columns, plan.declared.where))})"
                seen.told.append(told)
        return seen

    def _rule(self, connection: psycopg.Connection[Any], plan: Plan, numbers: Numbers, rule: Rule) -> Told:
        label = plan.table.label
        if rule.blind:
            return Told(label, rule.name, rule.wanted, rule.blind, Ok.CANNOT_TELL)
        bad, null = (int(numbers.values[text]) for text in rule.aggregates)
        told = _counted(label, rule.name, rule.wanted, bad, numbers.rows, rule.allowed)
        if null and rule.wanted != "no null":
            told.actual += f", {null} of them by a null"
        if bad and self.show_keys:
            told.actual += f" ({_keys(connection, plan, rule.violated)})"
        return told

    def _queries(self, connection: psycopg.Connection[Any], context: Context) -> list[tuple[Told, int]]:
        found = []
        for name, asked in self.no_rows.items():
            wrong = f"select count(*) from (\n{asked.query}\n) wrong"
            (number,) = count_each(connection, context, [wrong], at_most=SCAN_SECONDS)
            (total,) = count_each(connection, context, [asked.of], at_most=SCAN_SECONDS)
            ok = Ok.NO if number else Ok.YES if total and total > 0 else Ok.CANNOT_TELL
            found.append((Told("query", name, "no row", f"{number} among {total or 0}", ok), total or 0))
        return found

    def _denominators(self, seen: list[Seen], queries: list[tuple[Told, int]]) -> Iterator[Finding]:
        filled = [one for one in seen if one.numbers.rows]
        looked = [told for one in seen for told in one.told if told.ok is not Ok.CANNOT_TELL]
        through = [total for _, total in queries if total > 0]
        yield counted("tables and queries" if queries else "tables", len(filled) + len(through), self.least)
        if seen:
            yield counted("rules", len(looked))
        yield counted("rows", sum(one.numbers.rows for one in filled) + sum(through))


def _tell(seen: Seen) -> Iterator[Finding]:
    """What is wrong or borders on it, each by itself; what holds, in one line."""
    table, rows = seen.plan.table.label, seen.numbers.rows
    if not rows:
        allowed = seen.plan.declared.empty == "allowed"
        wanted, ok = (">= 0 (empty: allowed)", Ok.YES) if allowed else (">= 1", Ok.CANNOT_TELL)
        kept = f", of those where {seen.plan.declared.where}" if seen.plan.declared.where else ""
        yield find(f"{table}: rows", expected=wanted, actual=f"0{kept}{seen.numbers.when}", ok=ok)
        return
    yield from (told.finding for told in seen.told if not told.quiet)
    if quiet := sum(told.quiet for told in seen.told):
        actual = f"{quiet} rule{'s' * (quiet > 1)} in {rows} row{'s' * (rows > 1)}{seen.numbers.when}"
        yield find(f"{table}: rules that hold", expected="in every row", actual=actual, ok=True)


def _counted(table: str, name: str, wanted: str, bad: int, rows: int, allowed: Share) -> Told:
    ok = Ok.YES if allowed.allows(bad, rows) else Ok.NO
    actual = f"{bad} of {rows} row{'s' * (rows > 1)} violate{'s' * (bad == 1)} it" if bad else "none violates it"
    limit = "" if allowed.text == "0" else allowed.text
    return Told(table, name, f"{wanted} in each row", actual, ok, limit, quiet=not bad)


def _fresh(plan: Plan, numbers: Numbers, column: Column) -> Told:
    span = plan.declared.fresh[column.name]
    name, wanted = f"fresh {column.name}", f"newest at most {format_duration(span)} old"
    if unclear := plan.unclear(column):
        return Told(plan.table.label, name, wanted, unclear, Ok.CANNOT_TELL)
    age = numbers.values[newest(column, plan.declared.zone)]
    if age is None:
        return Told(plan.table.label, name, wanted, "no value that is not in the future", Ok.CANNOT_TELL)
    ok = age <= span.total_seconds()
    actual = f"{timedelta(seconds=max(round(age), 0))} old"
    return Told(plan.table.label, name, wanted, actual, Ok.YES if ok else Ok.NO)


def _unique(
    connection: psycopg.Connection[Any],
    context: Context,
    plan: Plan,
    numbers: Numbers,
    columns: tuple[str, ...],
    indexes: Mapping[str, frozenset[str]],
) -> Told:
    name, wanted = f"unique {', '.join(columns)}", "no two rows alike"
    # what is unique in some of the columns is unique in all of them
    if index := next((one for one, covered in indexes.items() if covered <= set(columns)), ""):
        return Told(plan.table.label, name, wanted, f"so, by the valid unique index {index}", Ok.YES)
    bad = duplicates(connection, context, plan.table, columns, plan.declared.where, SCAN_SECONDS)
    if not bad and empty_everywhere(connection, context, plan.table, columns, plan.declared.where):
        return Told(plan.table.label, name, wanted, "each row has a null there: nothing to compare", Ok.CANNOT_TELL)
    told = _counted(plan.table.label, name, wanted, bad, numbers.rows, plan.declared.allowed(name))
    told.wanted, told.quiet, told.shared = wanted, False, bool(bad)
    told.actual = f"{bad} of {numbers.rows} rows share theirs" if bad else f"so, in {numbers.rows} rows counted"
    return told


def _keys(connection: psycopg.Connection[Any], plan: Plan, condition: str) -> str:
    """The keys of the first rows of which the condition holds."""
    primary = sorted((column for column in plan.columns.values() if column.key), key=lambda column: column.key)
    if not primary:
        return "the table has no primary key to show"
    names = ", ".join(column.sql for column in primary)
    kept = f" and (\n{plan.declared.where}\n)" if plan.declared.where else ""
    found = f"select {names} from {plan.table.source} where ({condition}){kept}"
    rows = first_rows(connection, f"{found} order by {names} limit {_SHOWN_KEYS}", limit=_SHOWN_KEYS)
    return "keys: " + "; ".join(", ".join(map(str, row)) for row in rows)


def _table(seen: list[Seen], queries: list[tuple[Told, int]]) -> bytes:
    rows = [
        (told.table, one.numbers.rows, told.rule, told.wanted, told.allowed or "-", told.actual, told.ok)
        for one in seen
        for told in one.told
    ]
    rows += [(told.table, total, told.rule, told.wanted, "-", told.actual, told.ok) for told, total in queries]
    when = "".join(
        f"{one.plan.table.label}: {one.numbers.rows} rows at {one.numbers.at.isoformat(timespec='seconds')}"
        f"{', by a look of another gate' if one.numbers.borrowed else ''}\n"
        for one in seen
    )
    heads = ("table", "rows", "rule", "expected", "allowed", "seen", "ok")
    return aligned(heads, rows) + b"\n" + when.encode()
