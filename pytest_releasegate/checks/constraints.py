"""`constraints`: the database itself refuses what must not be stored."""

from __future__ import annotations

import re
from contextlib import ExitStack
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, Field, StrictBool, field_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgconstraints import Constraint, constraints, not_null, unique, unique_keys
from pytest_releasegate.sources.pgparams import Predicates, Settings
from pytest_releasegate.sources.pgpolicies import Persona
from pytest_releasegate.sources.pgrefusals import Probe, Told, probed, taken_on
from pytest_releasegate.sources.pgtables import Table, aligned, named, selected, user_tables
from pytest_releasegate.sources.postgres import connect, database_name, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Bad", "Constraints"]


def _or_columns_alone(schema: dict[str, Any]) -> None:
    """Let the schema of a bad row take its short form too."""
    whole = dict(schema)
    schema.clear()
    schema["anyOf"] = [whole, {"type": "object", "minProperties": 1, "not": {"required": ["row"]}}]


class Bad(Parameters):
    """One bad row."""

    model_config = ConfigDict(json_schema_extra=_or_columns_alone)

    row: dict[str, Any] = Field(min_length=1)
    """The values that make a good row a bad one, by column."""
    by: str = ""
    """The constraint, the column or the SQLSTATE that must refuse it, such as P0001 for a trigger's own error."""

    @field_validator("row")
    @classmethod
    def _days_as_text(cls, row: dict[str, Any]) -> dict[str, Any]:
        """YAML makes days and moments of what looks like one."""
        return {name: str(value) if isinstance(value, date) else value for name, value in row.items()}


class Constraints(Parameters):
    """The NOT NULL, CHECK, UNIQUE and EXCLUDE constraints of a database; the denominator is the constraints looked at.

    `refuse` offers each bad value in a copy of a real row, writes nothing, and needs `probes`.

    ```yaml
    constraints:
      schemas: [public]
      not_null: {clients: [first_name, last_name]}
      unique: {clients: [number], appointments: ["clinician_id, starts_at"]}
      named: {appointments: [appointments_end_after_start]}
      refuse:
        clients: [{first_name: null}, {status: banana}]
        payments: [{amount: -1}, {row: {amount: 0}, by: payments_amount_check}]
      as: authenticated
      least: 20
    ```
    """

    kind: ClassVar[str] = "constraints"
    shorthand: ClassVar[str] = "database"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    schemas: list[str] = Field(default_factory=list)
    """The schemas whose tables are looked at; by default all that users made."""
    tables: list[str] = Field(default_factory=list)
    """The tables to look at, such as `clients` or `public.clients`; by default all."""
    exclude: list[str] = Field(default_factory=list)
    """Patterns of tables to leave out, such as `staging.*`."""
    not_null: dict[str, list[str]] = Field(default_factory=dict)
    """By table, the columns that can never be null."""
    unique: dict[str, list[str]] = Field(default_factory=dict)
    """By table, what is unique: a column, an expression such as `lower(email)`, or several with commas between."""
    named: dict[str, list[str]] = Field(default_factory=dict)
    """By table, the constraints that must be there, by their names."""
    refuse: dict[str, list[Bad]] = Field(default_factory=dict)
    """By table, bad values that must be refused, such as `{amount: -1}`, or `{row: {amount: -1}, by: CONSTRAINT}`."""
    as_role: str = Field(default="", alias="as")
    """The role that the application takes on, as which bad rows are offered; by default the one that looks."""
    settings: Settings = Field(default_factory=dict)
    """Settings that the policies of that role ask, such as `request.jwt.claims`."""
    where: Predicates = Field(default_factory=dict)
    """By table, a predicate for the real rows of which one is copied; by default any."""
    triggers: StrictBool = False
    """Offer bad rows also where triggers fire before the row is written; only where these call nothing outside."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many constraints there must be at least."""

    @field_validator("refuse", mode="before")
    @classmethod
    def _short(cls, refuse: Any) -> Any:
        """A mapping of columns alone is a bad row."""
        if not isinstance(refuse, dict):
            return refuse
        return {
            table: [_whole(each) for each in rows] if isinstance(rows, list) and rows else _refuse_empty(table, rows)
            for table, rows in refuse.items()
        }

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask the catalogue, and offer the bad rows."""
        if self.refuse:
            context.require_permission("probes", "`refuse`")
        name = database_name(context, self.database)
        needed = 2 if self.refuse else 1
        with several(context, name, most=needed, least=needed), connect(context, name) as reader:
            tables = user_tables(reader)
            chosen = selected(user_tables(reader, self.schemas), self.tables, self.exclude)
            known = constraints(reader, tables)
            labels = {table.label for table in chosen}
            held = [each for each in known if each.owner in labels] + _domains(reader, known, chosen, tables)
            told = list(self._refusals(reader, context, name, tables))
        context.attach("constraints.txt", "text/plain", _table(held))
        yield from _holding(held)
        yield from self._declared(known, tables)
        for what, probe, seen in told:
            expected = f"refused by {probe.by}" if probe.by else "refused"
            yield find(f"{what} with {probe}", expected=expected, actual=seen.text, ok=seen.ok)
        yield counted("constraints", len(held), self.least)
        if told:
            yield counted("bad rows that were decided", sum(seen.ok is not Ok.CANNOT_TELL for *_, seen in told))

    def _declared(self, known: Sequence[Constraint], tables: Sequence[Table]) -> Iterator[Finding]:
        for label, columns in self.not_null.items():
            table = named(label, tables)
            for column in columns:
                yield _one(f"NOT NULL of {table.label}.{column}", not_null(known, table, column))
        for label, keys in self.unique.items():
            table = named(label, tables)
            for key in keys:
                found = unique(known, table, _parts(key))
                missing = f"no whole constraint or index over just these; its keys: {unique_keys(known, table)}"
                yield _one(f"{table.label}: unique ({key})", found, missing)
        for label, names in self.named.items():
            table = named(label, tables)
            own = {each.name: each for each in known if each.owner == table.label and each.sort != "n"}
            for each in names:
                missing = f"no such constraint; {nearest(each, list(own))}"
                yield _one(f"constraint {each} of {table.label}", own.get(each), missing)

    def _refusals(
        self, reader: psycopg.Connection[Any], context: Context, name: str, tables: Sequence[Table]
    ) -> Iterator[tuple[str, Probe, Told]]:
        if not self.refuse:
            return
        where = {named(label, tables).label: text for label, text in self.where.items()}
        settings = {setting: context.resolve(value) for setting, value in self.settings.items()}
        persona = Persona("the role", self.as_role or str(_one_value(reader, "select current_user")), settings)
        with ExitStack() as stack:
            shared = str(_one_value(reader, "select pg_export_snapshot()"))
            writer = stack.enter_context(connect(context, name, writable=True, snapshot=shared))
            with taken_on(writer, persona):
                pass
            for label, rows in self.refuse.items():
                table = named(label, tables)
                probes = [Probe(bad.row, bad.by) for bad in rows]
                found = probed(
                    reader,
                    writer,
                    context,
                    table,
                    persona,
                    probes,
                    where=where.get(table.label, ""),
                    triggers=self.triggers,
                )
                yield from ((table.label, probe, told) for probe, told in zip(probes, found, strict=True))


def _whole(bad: Any) -> Any:
    long = isinstance(bad, dict) and set(bad) <= {"row", "by"} and isinstance(bad.get("row"), dict)
    return bad if long or isinstance(bad, Bad) else {"row": bad}


def _refuse_empty(table: str, rows: Any) -> Any:
    if rows == []:
        raise ValueError(f"refuse.{table}: expected at least one bad row, got none")
    return rows


def _domains(
    reader: psycopg.Connection[Any], known: Sequence[Constraint], chosen: Sequence[Table], tables: Sequence[Table]
) -> list[Constraint]:
    """The constraints of the domains that the chosen tables use."""
    own = constraints(reader, chosen) if len(chosen) < len(tables) else known
    return [each for each in own if each.owner.startswith("domain ")]


def _parts(key: str) -> list[str]:
    """The columns and expressions of a key; commas within brackets do not part them."""
    return re.split(r",(?![^(]*\))", key)


def _one_value(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def _one(what: str, found: Constraint | None, missing: str = "null is allowed") -> Finding:
    faults = found.faults if found else [missing]
    return find(what, expected="in force", actual=", ".join(faults) or "in force", ok=not faults)


def _holding(held: Sequence[Constraint]) -> Iterator[Finding]:
    wanted = "validated and in force"
    bad = [each for each in held if each.faults]
    for each in bad:
        yield find(str(each), expected=wanted, actual=", ".join(each.faults) + _mend(each), ok=False)
    if len(held) > len(bad):
        actual = f"{len(held) - len(bad)} of {len(held)}"
        yield find("constraints that hold", expected=wanted, actual=actual, ok=True)


def _mend(constraint: Constraint) -> str:
    if constraint.validated or not constraint.enforced or constraint.sort == "n":
        return ""
    kind = "" if constraint.owner.startswith("domain ") else "table "
    return f"; to mend: alter {kind}{constraint.owner} validate constraint {constraint.name}"


def _table(held: Sequence[Constraint]) -> bytes:
    rows = ((c.owner, c.name, c.definition, ", ".join(c.faults) or "-") for c in held)
    return aligned(("table", "constraint", "definition", "faults in the catalogue"), rows)
