"""One cell of the row-level security matrix: what is expected of it, how it is looked at, and what that means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema

from pytest_releasegate.errors import nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Threshold
from pytest_releasegate.sources import pgprobes
from pytest_releasegate.sources.pgpolicies import columns, grants, security
from pytest_releasegate.sources.pgprobes import Reach
from pytest_releasegate.sources.postgres import one_predicate

if TYPE_CHECKING:
    import psycopg
    from pydantic import GetCoreSchemaHandler

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgpolicies import Persona
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Cell", "Matrix", "Seen"]

_WORDS = ("allowed", "denied", "none", "all")
_EMPTY = "the table is empty, which shows nothing"


@dataclass(frozen=True, slots=True)
class Cell:
    """What is expected of one cell: a word, a bound on the number of rows, or a predicate that tells exactly which."""

    text: str
    word: str = ""
    total: Threshold | None = None
    predicate: str = ""

    @classmethod
    def parse(cls, value: Any) -> Cell:
        """Read the text of a cell; raises `ValueError` that says what is allowed."""
        if isinstance(value, Cell):
            return value
        text = value.strip() if isinstance(value, str) else ""
        if text in _WORDS:
            return cls(text, word=text)
        if re.fullmatch(r"\w*", text):
            raise ValueError(f"expected a word, a number such as '>= 1', or a predicate; got '{value}'; {_near(text)}")
        try:
            return cls(text, total=Threshold.parse(text))
        except ValueError:
            return cls(text, predicate=one_predicate(text))

    def require_fit(self, command: str, where: str) -> None:
        """Raise `ValueError` when a command cannot be asked so."""
        if command == "insert" and not (self.predicate or self.word in ("allowed", "denied")):
            raise ValueError(f"{where}: expected allowed, denied or a predicate, got '{self.text}'")

    def holds(self, reach: Reach, total: int) -> bool:
        """Whether so many rows of all are as the word or the bound expects."""
        if self.total is not None:
            return not reach.refused and self.total.holds(reach.rows)
        if self.word == "none":
            return not reach.refused and not reach.rows
        wanted = {"denied": reach.rows == 0, "allowed": reach.rows > 0, "all": reach.rows == total > 0}
        return wanted[self.word]

    def __str__(self) -> str:
        return f"exactly the rows with {self.text}" if self.predicate else self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """How pydantic reads and writes a cell: as its text."""
        return core_schema.no_info_before_validator_function(
            cls.parse,
            core_schema.is_instance_schema(cls),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda cell: cell.text, return_schema=core_schema.str_schema()
            ),
            json_schema_input_schema=core_schema.str_schema(),
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen in a cell, in words, and whether it is as expected."""

    text: str
    ok: Ok


@dataclass(frozen=True, slots=True)
class Matrix:
    """Looks at cells: reads in a read-only transaction, probes writes in another one that writes nothing, if given."""

    context: Context
    reader: psycopg.Connection[Any]
    writer: psycopg.Connection[Any] | None

    def look(self, table: Table, persona: Persona, command: str, cell: Cell) -> Seen:
        """Look at one cell."""
        held = grants(self.reader, table, persona.role)
        if command not in held.granted:
            return _judge_counts(cell, Reach(refused="no privilege"), Reach(refused="no privilege"), 0, "")
        total = pgprobes.matching(self.reader, self.context, table, persona)
        if command == "select":
            return self._select(table, persona, cell, total)
        if why := self._unfit(table, command):
            return self._by_catalogue(table, persona, command, cell, total, why)
        if not total:
            return Seen(_EMPTY, Ok.CANNOT_TELL)
        if command == "insert":
            return self._insert(table, persona, cell)
        return self._write(table, persona, command, cell, total)

    def _select(self, table: Table, persona: Persona, cell: Cell, total: int) -> Seen:
        reach = pgprobes.visible(self.reader, self.context, table, persona)
        if not total:
            return Seen(_EMPTY, Ok.CANNOT_TELL)
        if not cell.predicate:
            return _judge_counts(cell, reach, reach, total, "visible")
        wanted = pgprobes.matching(self.reader, self.context, table, persona, cell.predicate)
        inside = pgprobes.visible(self.reader, self.context, table, persona, cell.predicate)
        return _judge_exact(reach, inside, wanted, total, "visible")

    def _write(self, table: Table, persona: Persona, command: str, cell: Cell, total: int) -> Seen:
        known = columns(self.reader, table, persona.role)
        write = pgprobes.write_of(command, table, known)
        if not write:
            return Seen("no column that can be set to null in a probe", Ok.CANNOT_TELL)
        blind = self._reached(table, persona, write, "")
        readable = pgprobes.seeing(known)
        seeing = self._reached(table, persona, write, readable) if readable else blind
        if not cell.predicate:
            return _judge_counts(cell, seeing, blind, total, "reached")
        wanted = pgprobes.matching(self.reader, self.context, table, persona, cell.predicate)
        inside = self._reached(table, persona, write, cell.predicate)
        seen = _judge_exact(blind, inside, wanted, total, "reached")
        if command == "update" and seen.ok is Ok.YES and grants(self.reader, table, persona.role).other_check:
            return self._change(table, persona, cell, seen)
        return seen

    def _change(self, table: Table, persona: Persona, cell: Cell, seen: Seen) -> Seen:
        """Whether rows that the persona may change must stay within the predicate: WITH CHECK differs from USING."""
        if unfit := security(self.reader, table).unfit.get("change"):
            why = f"the check of changed rows cannot be probed without setting off {unfit}"
            return Seen(f"{seen.text}; {why}", Ok.CANNOT_TELL)
        writer, known = self._required_writer(), columns(self.reader, table, persona.role)
        others = self._offers(table, persona, f"(\n{cell.predicate}\n) is not true")
        tried = [pgprobes.changes(writer, self.context, table, persona, known, other) for other in others]
        if True in tried:
            return Seen(f"{seen.text}; but they may be changed into rows without it", Ok.NO)
        unclear = next((why for why in tried if isinstance(why, str)), "")
        return Seen(f"{seen.text}; {unclear}", Ok.CANNOT_TELL) if unclear else seen

    def _reached(self, table: Table, persona: Persona, write: str, predicate: str) -> Reach:
        return pgprobes.reached(self._required_writer(), self.context, table, persona, write, predicate)

    def _insert(self, table: Table, persona: Persona, cell: Cell) -> Seen:
        known = columns(self.reader, table, persona.role)
        if why := pgprobes.unfit_for_insert(known):
            return Seen(f"cannot be probed: {why}", Ok.CANNOT_TELL)
        inside = self._offers(table, persona, cell.predicate)
        outside = self._offers(table, persona, f"(\n{cell.predicate}\n) is not true") if cell.predicate else []
        tried = [[self._accepts(table, persona, row) for row in rows] for rows in (inside, outside)]
        return _judge_inserts(cell, *tried)

    def _offers(self, table: Table, persona: Persona, predicate: str) -> list[str]:
        both = (pgprobes.sample(self.reader, table, persona, seen=seen, predicate=predicate) for seen in (True, False))
        return list(dict.fromkeys(row for rows in both for row in rows))

    def _accepts(self, table: Table, persona: Persona, row: str) -> bool | str:
        known = columns(self.reader, table, persona.role)
        return pgprobes.accepts(self._required_writer(), self.context, table, persona, known, row)

    def _required_writer(self) -> psycopg.Connection[Any]:
        if self.writer is None:
            raise AssertionError("writes are probed only where a writer was opened")
        return self.writer

    def _unfit(self, table: Table, command: str) -> str:
        if self.writer is None:
            name = self.context.environment.name
            return f"writes are not probed in environment '{name}': add `probes` to its `allow`"
        unfit = security(self.reader, table).unfit.get(command, "")
        return f"cannot be probed without setting off {unfit}" if unfit else ""

    def _by_catalogue(self, table: Table, persona: Persona, command: str, cell: Cell, total: int, why: str) -> Seen:
        """What grants and policies alone decide: nothing speaks for it, or nothing stands against it."""
        if not security(self.reader, table).enabled:
            open_to_all = "allowed by its grant, and no row security"
            return Seen(open_to_all, Ok.YES if cell.word in ("allowed", "all") else Ok.NO)
        if command not in grants(self.reader, table, persona.role).policies:
            ok = cell.word in ("denied", "none")
            return Seen("denied: no policy permits it", Ok.YES if ok else Ok.NO)
        return Seen(why if total else f"{why}; and {_EMPTY}", Ok.CANNOT_TELL)


def _judge_counts(cell: Cell, seeing: Reach, blind: Reach, total: int, verb: str) -> Seen:
    if blind.refused and seeing.refused:
        ok = not cell.predicate and cell.holds(blind, total)
        return Seen(f"denied: {blind.refused}", Ok.YES if ok else Ok.NO)
    ok = cell.holds(seeing, total) and (cell.word == "allowed" or cell.holds(blind, total))
    text = _rows(seeing, total, verb)
    if blind != seeing:
        text += f" with WHERE, {_rows(blind, total, verb)} without: the policies of the write are broader"
    return Seen(text, Ok.YES if ok else Ok.NO)


def _judge_exact(reach: Reach, inside: Reach, wanted: int, total: int, verb: str) -> Seen:
    if reach.refused:
        return Seen(f"denied: {reach.refused}", Ok.NO)
    if inside.refused:
        return Seen(f"the predicate cannot be asked: {inside.refused}", Ok.CANNOT_TELL)
    text = f"{_rows(reach, total, verb)}: {inside.rows} of the {wanted} with it, {reach.rows - inside.rows} others"
    if reach.rows != wanted or inside.rows != wanted:
        return Seen(text, Ok.NO)
    if wanted == 0:
        return Seen(f"{text}; no row satisfies it, which shows nothing", Ok.CANNOT_TELL)
    if wanted == total:
        return Seen(f"{text}; every row satisfies it, so nothing shows that others stay hidden", Ok.CANNOT_TELL)
    return Seen(text, Ok.YES)


def _judge_inserts(cell: Cell, inside: list[bool | str], outside: list[bool | str]) -> Seen:
    accepted, leaked = inside.count(True), outside.count(True)
    text = f"{accepted} of {len(inside)} rows accepted"
    if cell.predicate:
        text = f"{accepted} of {len(inside)} rows with it accepted, {leaked} of {len(outside)} others"
    if leaked or (accepted and cell.word == "denied"):
        return Seen(text, Ok.NO)
    if unclear := next((why for why in (*inside, *outside) if isinstance(why, str)), ""):
        if cell.word == "allowed" and accepted:
            return Seen(text, Ok.YES)
        return Seen(f"{text}; {unclear}", Ok.CANNOT_TELL)
    if cell.predicate and not (inside and outside):
        return Seen(f"{text}; rows of both sorts are needed to tell", Ok.CANNOT_TELL)
    wanted = {"denied": accepted == 0, "allowed": accepted > 0, "": accepted == len(inside)}
    return Seen(text, Ok.YES if wanted[cell.word] and inside else Ok.NO)


def _rows(reach: Reach, total: int, verb: str) -> str:
    return f"denied ({reach.refused})" if reach.refused else f"{reach.rows} of {total} rows {verb}"


def _near(text: str) -> str:
    return nearest(text, _WORDS)
