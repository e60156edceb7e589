"""`rls`: what each persona may read and write, row by row, under row-level security."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Discriminator, Field, StrictStr, Tag, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgmatrix import Cell, Matrix, Seen
from pytest_releasegate.sources.pgpolicies import COMMANDS, Persona, grants, require_persona, security
from pytest_releasegate.sources.pgtables import Table, aligned, named, user_tables
from pytest_releasegate.sources.postgres import connect, database_name, first_rows, one_statement, several

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Rls", "Who"]

_CLAIMS = "request.jwt.claims"
_SETTING = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)+", re.IGNORECASE)


def _sort(value: Any) -> str:
    return "commands" if isinstance(value, dict) else "cell"


Cells = Annotated[
    Annotated[Cell, Tag("cell")] | Annotated[dict[str, Cell], Tag("commands")],
    Discriminator(_sort),
]
"""One expectation for all four commands, or one for each."""


class Who(Parameters):
    """Somebody as the database sees them."""

    role: StrictStr
    """The role that the application takes on for them, such as `authenticated`."""
    claims: dict[str, Any] = Field(default_factory=dict)
    """The claims of their token; a value may be `${env:NAME}` or `{query: select id from ...}`."""
    settings: dict[str, StrictStr] = Field(default_factory=dict)
    """Other settings that policies ask, such as `app.user_id`."""

    @field_validator("settings")
    @classmethod
    def _own_settings(cls, settings: dict[str, str]) -> dict[str, str]:
        for name in settings:
            if not _SETTING.fullmatch(name):
                raise ValueError(f"expected the name of a custom setting such as app.user_id, got '{name}'")
        return settings

    @field_validator("claims")
    @classmethod
    def _queries(cls, claims: dict[str, Any]) -> dict[str, Any]:
        for name, value in claims.items():
            if query := _query(value):
                one_statement(query, f"the query of claim {name}")
        return claims


class Rls(Parameters):
    """The matrix of personas, tables and commands, each cell really looked at; the denominator is the cells decided.

    Writes are probed without writing, and only where the environment allows `probes`.

    ```yaml
    rls:
      personas:
        clinician: {role: authenticated, claims: {sub: {query: "select id from staff where email = 'a@example.org'"}}}
        anon: {role: anon}
      expect:
        clients:
          clinician: {select: clinician_id = auth.uid(), update: clinician_id = auth.uid(), delete: denied}
          anon: denied
    ```
    """

    kind: ClassVar[str] = "rls"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    personas: dict[str, Who] = Field(min_length=1)
    """Who looks, by name."""
    expect: dict[str, dict[str, Cells]] = Field(min_length=1)
    """By table, persona and command: `denied`, `none`, `allowed`, `all`, a number such as `>= 1`, or a predicate."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many cells must be decided at least."""

    @model_validator(mode="after")
    def _known_words(self) -> Rls:
        for table, rows in self.expect.items():
            if not rows:
                raise ValueError(f"expect.{table}: expected at least one persona, got none")
            for persona, cells in rows.items():
                _require_known(persona, list(self.personas), f"expect.{table}: unknown persona")
                for command, cell in _commands(cells).items():
                    _require_known(command, list(COMMANDS), f"expect.{table}.{persona}: unknown command")
                    cell.require_fit(command, f"expect.{table}.{persona}.{command}")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Take on each persona, and try."""
        name = database_name(context, self.database)
        with ExitStack() as stack:
            needed = 2 if self._writes(context) else 1
            stack.enter_context(several(context, name, most=needed, least=needed))
            reader = stack.enter_context(connect(context, name))
            personas = {who: self._persona(reader, context, who) for who in self.personas}
            tables = {label: named(label, user_tables(reader)) for label in self.expect}
            matrix = Matrix(context, reader, self._writer(stack, reader, context, name))
            told = []
            for label, table in tables.items():
                yield from _protected(reader, table)
                for who, cells in self.expect[label].items():
                    _require_subject(reader, table, personas[who])
                    for command, cell in _commands(cells).items():
                        seen = matrix.look(table, personas[who], command, cell)
                        told.append((table.label, command, who, cell.text, seen))
                        yield _finding(table, command, who, cell, seen)
        context.attach("matrix.txt", "text/plain", _table(told))
        yield counted("cells", sum(seen.ok is not Ok.CANNOT_TELL for *_, seen in told), self.least)

    def _writer(
        self, stack: ExitStack, reader: psycopg.Connection[Any], context: Context, name: str
    ) -> psycopg.Connection[Any] | None:
        if not self._writes(context):
            return None
        shared = reader.execute("select pg_export_snapshot()").fetchone()
        snapshot = shared[0] if shared else ""
        return stack.enter_context(connect(context, name, writable=True, snapshot=snapshot))

    def _writes(self, context: Context) -> bool:
        asked = any(set(_commands(cells)) - {"select"} for rows in self.expect.values() for cells in rows.values())
        return asked and "probes" in context.environment.allow

    def _persona(self, connection: psycopg.Connection[Any], context: Context, name: str) -> Persona:
        who = self.personas[name]
        settings = {setting: context.resolve(value) for setting, value in who.settings.items()}
        claims = {claim: _claim(connection, context, name, claim, value) for claim, value in who.claims.items()}
        # the token's own role claim names the database role, unless the application means something else by it
        claims.setdefault("role", who.role)
        persona = Persona(name, who.role, {**settings, _CLAIMS: json.dumps(claims)})
        require_persona(connection, persona)
        return persona


def _commands(cells: Cell | dict[str, Cell]) -> dict[str, Cell]:
    return dict.fromkeys(COMMANDS, cells) if isinstance(cells, Cell) else cells


def _require_known(word: str, known: list[str], what: str) -> None:
    if word not in known:
        raise ValueError(f"{what} '{word}'; {nearest(word, known)}")


def _query(value: Any) -> str:
    return str(value["query"]) if isinstance(value, dict) and set(value) == {"query"} else ""


def _claim(connection: psycopg.Connection[Any], context: Context, persona: str, claim: str, value: Any) -> Any:
    if query := _query(value):
        rows = first_rows(connection, context.resolve(query), limit=2)
        if len(rows) != 1 or rows[0][0] is None:
            what = "no row" if not rows else "several rows" if len(rows) > 1 else "null"
            raise CannotLook(f"persona '{persona}': the query of claim '{claim}' gave {what}", "it must give one value")
        found = rows[0][0]
        return found if isinstance(found, bool | int | str) else str(found)
    return _resolved(context, value)


def _resolved(context: Context, value: Any) -> Any:
    if isinstance(value, str):
        return context.resolve(value)
    if isinstance(value, list):
        return [_resolved(context, part) for part in value]
    return {key: _resolved(context, part) for key, part in value.items()} if isinstance(value, dict) else value


def _protected(connection: psycopg.Connection[Any], table: Table) -> Iterator[Finding]:
    enabled = security(connection, table).enabled
    state = "enabled" if enabled else "disabled: every grant reaches every row"
    yield find(f"row security of {table.label}", expected="enabled", actual=state, ok=enabled)


def _require_subject(connection: psycopg.Connection[Any], table: Table, persona: Persona) -> None:
    held = security(connection, table)
    if grants(connection, table, persona.role).owns and not held.forced:
        raise CannotLook(
            f"persona '{persona.name}': role '{persona.role}' owns {table.label}, so no policy applies to it",
            f"give the table to another role, or: alter table {table.label} force row level security",
        )


def _finding(table: Table, command: str, who: str, cell: Cell, seen: Seen) -> Finding:
    return find(f"{command} on {table.label} as {who}", expected=cell, actual=seen.text, ok=seen.ok)


def _table(told: list[tuple[str, str, str, str, Seen]]) -> bytes:
    heads = ("table", "command", "persona", "expected", "seen", "ok")
    return aligned(heads, ((*cell, seen.text, seen.ok) for *cell, seen in told))
