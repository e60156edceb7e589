"""`rls`: what each persona may read and write, row by row, under row-level security."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from itertools import compress
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Discriminator, Field, StrictBool, StrictStr, Tag, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgasks import READ, SCRATCH, WRITE, Ask, Asker
from pytest_releasegate.sources.pgcells import TODO, Cell, Seen
from pytest_releasegate.sources.pgmatrix import LOOKS, Asked, Matrix, spoil
from pytest_releasegate.sources.pgparams import Settings
from pytest_releasegate.sources.pgpolicies import COMMANDS, Catalogue, Persona, catalogue, require_bound
from pytest_releasegate.sources.pgscratch import scratch
from pytest_releasegate.sources.pgtables import Table, aligned, named, user_tables
from pytest_releasegate.sources.postgres import connect, database_name, first_rows, one_statement, several

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Rls", "Who"]

_UNCOPIED = "no copy is made of a protected environment's data: try it on another"
_CLAIMS = "request.jwt.claims"
_MOST_TOLD = 5


def _sort(value: Any) -> str:
    return "commands" if isinstance(value, dict) and "keys" not in value else "cell"


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
    settings: Settings = Field(default_factory=dict)
    """Other settings that policies ask, such as `app.user_id`."""

    @field_validator("settings")
    @classmethod
    def _decided(cls, settings: dict[str, str]) -> dict[str, str]:
        for name, value in settings.items():
            _require_decided(name, value)
        return settings

    @field_validator("claims")
    @classmethod
    def _queries(cls, claims: dict[str, Any]) -> dict[str, Any]:
        for name, value in claims.items():
            _require_decided(name, value)
            if query := _query(value):
                one_statement(query, f"the query of claim {name}")
        return claims


class Rls(Parameters):
    """The matrix of personas, tables and commands, each cell really looked at; the denominator is the cells decided.

    Writes are probed without writing, and only where the environment allows `probes`; each finding says which look it
    was: catalogue, read, EXPLAIN, probe or scratch copy.

    ```yaml
    rls:
      personas:
        clinician: {role: authenticated, claims: {sub: {query: "select id from staff where email = 'a@example.org'"}}}
        anon: {role: anon}
      expect:
        clients:
          clinician: {select: clinician_id = auth.uid(), update: {keys: [17, 23]}, delete: denied}
          anon: denied
    ```
    """

    kind: ClassVar[str] = "rls"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    personas: dict[str, Who] = Field(min_length=1)
    """Who looks, by name."""
    expect: dict[str, dict[str, Cells]] = Field(min_length=1)
    """By table, persona and command: `denied`, `none`, `allowed`, `all`, a number, a predicate, or `keys: [...]`."""
    complete: list[StrictStr] = Field(default_factory=list)
    """Schemas of which every table must stand in `expect`, so that a new one cannot slip through."""
    scratch: StrictBool = False
    """Try the writes that cannot be probed on a scratch copy with all data; never one of a protected environment."""
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
        needed = 2 if self._writes(context) else 1
        with several(context, name, most=needed, least=needed), connect(context, name) as reader, ExitStack() as stack:
            personas = {who: self._persona(reader, context, who) for who in self.personas}
            require_bound(reader, [*personas.values()])
            there = user_tables(reader)
            if missing := sorted(set(self.complete) - {table.schema for table in there}):
                raise CannotLook(f"schema '{missing[0]}' has no table, or is not there", "correct `complete`")
            tables = {label: named(label, there) for label in self.expect}
            known = catalogue(reader, tables.values(), [persona.role for persona in personas.values()])
            asker = Asker(context, {READ: reader}, personas)
            cells = self._cells(tables, personas)
            _require_subject(asker, known, cells)
            protected = self.scratch and context.environment.protected
            matrix = Matrix(asker, known, self._forbidden(reader, context), _UNCOPIED if protected else "")
            apart = [bool(self.scratch and not protected and matrix.unprobed(asked)) for asked in cells]
            if not matrix.forbidden and self._writes(context):
                asker.connections[WRITE] = stack.enter_context(_writer(reader, context, name))
            seen = iter(matrix.look([asked for asked, copied in zip(cells, apart, strict=True) if not copied]))
        # nothing is held open on the database while its copy is made
        on_copy = iter(_on_copy(context, name, matrix, [*compress(cells, apart)]) if any(apart) else ())
        told = [next(on_copy if copied else seen) for copied in apart]
        yield from _complete(self.complete, there, tables.values())
        for table in dict.fromkeys(tables.values()):
            yield from _protected(known, table)
            yield from (_finding(asked, one) for asked, one in zip(cells, told, strict=True) if asked.table == table)
        context.attach("matrix.txt", "text/plain", _table(cells, told))
        yield counted("cells", sum(one.ok is not Ok.CANNOT_TELL for one in told), self.least)

    def _cells(self, tables: dict[str, Table], personas: dict[str, Persona]) -> list[Asked]:
        return [
            Asked(table, personas[who], command, cell)
            for label, table in tables.items()
            for who, cells in self.expect[label].items()
            for command, cell in _commands(cells).items()
        ]

    def _writes(self, context: Context) -> bool:
        asked = any(set(_commands(cells)) - {"select"} for rows in self.expect.values() for cells in rows.values())
        return asked and "probes" in context.environment.allow

    def _forbidden(self, reader: psycopg.Connection[Any], context: Context) -> str:
        """Why no write is probed on this server."""
        if "probes" not in context.environment.allow:
            where = f"environment '{context.environment.name}'"
            return f"writes are not probed in {where}: add `probes` to its `allow`"
        standby = reader.execute("select pg_is_in_recovery()").fetchone() == (True,)
        return "writes are not probed on a standby: name the primary" if standby else ""

    def _persona(self, connection: psycopg.Connection[Any], context: Context, name: str) -> Persona:
        who = self.personas[name]
        settings = {setting: context.resolve(value) for setting, value in who.settings.items()}
        claims = {claim: _claim(connection, context, name, claim, value) for claim, value in who.claims.items()}
        # the token's own role claim names the database role, unless the application means something else by it
        claims.setdefault("role", who.role)
        return Persona(name, who.role, {**settings, _CLAIMS: json.dumps(claims)})


def _writer(
    reader: psycopg.Connection[Any], context: Context, name: str
) -> AbstractContextManager[psycopg.Connection[Any]]:
    """A connection for probes, with the reader's snapshot."""
    shared = reader.execute("select pg_export_snapshot()").fetchone()
    return connect(context, name, writable=True, snapshot=shared[0] if shared else "")


def _on_copy(context: Context, name: str, matrix: Matrix, cells: list[Asked]) -> list[Seen]:
    """What is seen in cells on a scratch copy."""
    with scratch(context, name, "data") as copy, copy.connect() as connection:
        spoil(connection, [*dict.fromkeys(asked.table for asked in cells)])
        asker = Asker(context, {SCRATCH: connection}, matrix.asker.personas)
        with connection.transaction(force_rollback=True):
            return Matrix(asker, matrix.catalogue, matrix.forbidden).look(cells)


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


def _require_decided(name: str, value: Any) -> None:
    if value == TODO:
        raise ValueError(f"{name}: nobody has decided yet who this persona is; write its value, or a query for it")


def _complete(schemas: Sequence[str], there: Iterable[Table], expected: Collection[Table]) -> Iterator[Finding]:
    for schema in schemas:
        tables = [table for table in there if table.schema == schema]
        without = [table.label for table in tables if table not in expected]
        actual = f"{len(tables) - len(without)}; `expect` lacks {', '.join(without)}" if without else str(len(tables))
        yield find(f"tables of {schema} in the matrix", expected=len(tables), actual=actual, ok=not without)


def _protected(known: Catalogue, table: Table) -> Iterator[Finding]:
    security = known.security(table)
    state = "enabled" if security.enabled else "disabled: every grant reaches every row"
    yield find(f"row security of {table.label}", expected="enabled", actual=state, ok=security.enabled)
    if security.enabled and security.bare:
        shown = ", ".join(security.bare[:_MOST_TOLD]) + (", ..." if len(security.bare) > _MOST_TOLD else "")
        actual = f"{len(security.bare)} reached past the policies of {table.label} by a grant of their own: {shown}"
        expected = "row security of their own, or no grant to a persona"
        yield find(f"partitions of {table.label}", expected=expected, actual=actual, ok=False)


def _require_subject(asker: Asker, known: Catalogue, cells: Sequence[Asked]) -> None:
    """Take on each persona, and let the server itself say whether its policies bind it."""
    tables = list(dict.fromkeys(asked.table for asked in cells))
    oids = ", ".join(str(table.oid) for table in tables)
    query = f"""select array_agg(row_security_active(t::oid)::int order by n)
        from unnest(array[{oids}]::bigint[]) with ordinality as u (t, n)"""  # noqa: S608  numbers of the catalogue
    asks = {
        name: Ask("numbers", query, name, place=f"{persona} cannot be taken on")
        for name, persona in asker.personas.items()
    }
    found = asker.ask([*asks.values()])
    user = asker.connections[READ].info.user
    for name, ask in asks.items():
        persona, answer = asker.personas[name], found[ask]
        if answer.refused:
            raise CannotLook(f"{persona} cannot be taken on by {user}", f"grant {persona.role} to {user}")
        for table, active in zip(tables, answer.numbers, strict=True):
            if known.security(table).enabled and not active:
                what = "owns" if known.held(table, persona).owns else "is exempt from the policies of"
                raise CannotLook(
                    f"{persona} {what} {table.label}, so no policy applies to it",
                    f"give the table to another role, or: alter table {table.label} force row level security",
                )


def _finding(asked: Asked, seen: Seen) -> Finding:
    name = f"{asked.command} on {asked.table.label} as {asked.persona.name}"
    return find(name, expected=asked.cell, actual=f"{seen.text} ({seen.look})", ok=seen.ok)


def _table(cells: Sequence[Asked], seen: Sequence[Seen]) -> bytes:
    heads = ("table", "command", "persona", "expected", "seen", "look", "ok")
    rows = (
        (asked.table.label, asked.command, asked.persona.name, asked.cell.text, told.text, told.look, told.ok)
        for asked, told in zip(cells, seen, strict=True)
    )
    looks = Counter(told.look for told in seen)
    counts = ", ".join(f"{looks[look]} by {look}" for look in LOOKS if looks[look])
    return aligned(heads, rows) + f"\n{len(cells)} cells: {counts}\n".encode()
