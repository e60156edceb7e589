"""One cell of the row-level security matrix: what is expected of it, what was seen, and what that means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema

from pytest_releasegate.errors import nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Threshold
from pytest_releasegate.sources.postgres import one_predicate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import GetCoreSchemaHandler

__all__ = [
    "ALLOWED",
    "EMPTY",
    "TODO",
    "Cell",
    "Reach",
    "Seen",
    "judge_counts",
    "judge_exact",
    "judge_inserts",
    "told_key",
]

_WORDS = ("allowed", "denied", "none", "all")
ALLOWED = "denied, none, allowed, all, a number such as '>= 1', a predicate, or {keys: [...]}"
_MOST_KEYS_TOLD = 5
TODO = "TODO"
EMPTY = "the table is empty, which shows nothing"
Key = int | str | tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """How many rows somebody sees or would write; `refused` says why the command itself was not permitted."""

    rows: int = 0
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen in a cell, in words, whether it is as expected, and which look it was."""

    text: str
    ok: Ok
    look: str


@dataclass(frozen=True, slots=True)
class Cell:
    """What is expected of one cell: a word, a bound on the number of rows, or exactly which rows."""

    text: str
    word: str = ""
    total: Threshold | None = None
    predicate: str = ""
    keys: tuple[Key, ...] = ()

    @classmethod
    def parse(cls, value: Any) -> Cell:
        """Read a cell; raises `ValueError` that says what is allowed."""
        if isinstance(value, Cell):
            return value
        if isinstance(value, dict):
            return cls._of_keys(value)
        text = value.strip() if isinstance(value, str) else ""
        if text in _WORDS:
            return cls(text, word=text)
        if text == TODO:
            raise ValueError(f"nobody has decided yet what is expected here; write {ALLOWED}")
        if re.fullmatch(r"\w*", text):
            raise ValueError(f"expected {ALLOWED}; got '{value}'; {nearest(text, _WORDS)}")
        try:
            return cls(text, total=Threshold.parse(text))
        except ValueError:
            return cls(text, predicate=one_predicate(text))

    @classmethod
    def _of_keys(cls, value: dict[Any, Any]) -> Cell:
        keys = value.get("keys")
        if set(value) != {"keys"} or not isinstance(keys, list) or not keys:
            raise ValueError("expected `keys: [...]` with at least one primary key; where no row is, write none")
        read = tuple(_key(key) for key in keys)
        if len(set(read)) < len(read):
            raise ValueError("expected each primary key once")
        more = f" and {len(read) - _MOST_KEYS_TOLD} more" if len(read) > _MOST_KEYS_TOLD else ""
        return cls(f"keys {', '.join(map(told_key, read[:_MOST_KEYS_TOLD]))}{more}", keys=read)

    @property
    def exact(self) -> bool:
        """Whether it says which rows exactly."""
        return bool(self.predicate or self.keys)

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
        return f"exactly the rows with {self.text}" if self.exact else self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """How pydantic reads and writes a cell: as it stands in YAML."""
        keys = core_schema.typed_dict_schema({"keys": core_schema.typed_dict_field(core_schema.list_schema())})
        return core_schema.no_info_before_validator_function(
            cls.parse,
            core_schema.is_instance_schema(cls),
            serialization=core_schema.plain_serializer_function_ser_schema(_written),
            json_schema_input_schema=core_schema.union_schema([core_schema.str_schema(), keys]),
        )


def told_key(key: Any) -> str:
    """A primary key as it is told; one of several columns in brackets."""
    return f"({', '.join(map(str, key))})" if isinstance(key, tuple | list) else str(key)


def judge_counts(cell: Cell, seeing: Reach, blind: Reach, total: int, verb: str, look: str) -> Seen:
    """Compare how many rows were reached with a WHERE that reads, and without, with a word or a number."""
    if blind.refused and seeing.refused:
        ok = not cell.exact and cell.holds(blind, total)
        return Seen(f"denied: {blind.refused}", Ok.YES if ok else Ok.NO, look)
    ok = cell.holds(seeing, total) and (cell.word == "allowed" or cell.holds(blind, total))
    text = _rows(seeing, total, verb)
    if blind != seeing:
        text += f" with WHERE, {_rows(blind, total, verb)} without: the policies of the write are broader"
    return Seen(text, Ok.YES if ok else Ok.NO, look)


def judge_exact(cell: Cell, reach: Reach, inside: Reach, wanted: int, total: int, verb: str, look: str) -> Seen:
    """Compare which rows were reached with those of the predicate or the keys."""
    if reach.refused:
        return Seen(f"denied: {reach.refused}", Ok.NO, look)
    if inside.refused:
        return Seen(f"the predicate cannot be asked: {inside.refused}", Ok.CANNOT_TELL, look)
    others = reach.rows - inside.rows
    text = f"{_rows(reach, total, verb)}: {inside.rows} of the {wanted} with it, {others} others"
    if reach.rows != wanted or inside.rows != wanted:
        return Seen(text, Ok.NO, look)
    if missing := len(cell.keys) - wanted if cell.keys else 0:
        return Seen(f"{text}; {missing} of the {len(cell.keys)} keys are not in the table", Ok.CANNOT_TELL, look)
    if wanted == 0:
        return Seen(f"{text}; no row satisfies it, which shows nothing", Ok.CANNOT_TELL, look)
    if wanted == total:
        return Seen(f"{text}; every row satisfies it, so nothing shows that others stay hidden", Ok.CANNOT_TELL, look)
    return Seen(text, Ok.YES, look)


def judge_inserts(
    cell: Cell, inside: Sequence[bool | str], outside: Sequence[bool | str], look: str, made: Sequence[str] = ()
) -> Seen:
    """Compare which offered rows were accepted with what is expected; `made` are accepted ones besides."""
    accepted, leaked = inside.count(True), outside.count(True)
    text = f"{accepted} of {len(inside)} rows accepted"
    if cell.predicate:
        text = f"{accepted} of {len(inside)} rows with it accepted, {leaked} of {len(outside)} others"
    if leaked or (accepted and cell.word == "denied"):
        return Seen(text, Ok.NO, look)
    if made and (not accepted or cell.word != "allowed"):
        ok = Ok.YES if cell.word == "allowed" else Ok.NO
        return Seen(f"{text}; and one with {made[0]} is accepted", ok, look)
    if unclear := next((why for why in (*inside, *outside) if isinstance(why, str)), ""):
        if cell.word == "allowed" and accepted:
            return Seen(text, Ok.YES, look)
        return Seen(f"{text}; {unclear}", Ok.CANNOT_TELL, look)
    if cell.predicate and not (inside and outside):
        return Seen(f"{text}; rows of both sorts are needed to tell", Ok.CANNOT_TELL, look)
    wanted = {"denied": accepted == 0, "allowed": accepted > 0, "": accepted == len(inside)}
    return Seen(text, Ok.YES if wanted[cell.word] and inside else Ok.NO, look)


def _rows(reach: Reach, total: int, verb: str) -> str:
    return f"denied ({reach.refused})" if reach.refused else f"{reach.rows} of {total} rows {verb}"


def _key(value: Any) -> Key:
    if isinstance(value, list) and value and not any(isinstance(part, list) for part in value):
        return tuple(_scalar(part) for part in value)
    return _scalar(value)


def _scalar(value: Any) -> int | str:
    if type(value) is int or type(value) is str:
        return value
    raise ValueError(f"expected a primary key as a number, a text or a list of them, got '{value}'")


def _written(cell: Cell) -> Any:
    return {"keys": [list(key) if isinstance(key, tuple) else key for key in cell.keys]} if cell.keys else cell.text
