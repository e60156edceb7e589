"""Reads the conditions of policies as PostgreSQL writes them: strings, brackets, calls, alternatives."""

from __future__ import annotations

import operator
import re
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = [
    "alternatives",
    "always_true",
    "bare_calls",
    "is_null_for_nobody",
    "plain",
    "strings",
    "unwrapped",
    "without_strings",
    "wrapped",
]

_TOKEN = re.compile(
    r"""[eE]?'(?:[^'\\]|''|\\.)*'|"(?:[^"]|"")*"|[A-Za-z_][\w$]*|\d+(?:\.\d+)?|::|[<>=!|&~^@#*/+-]+|\S"""
)
_CALL = re.compile(r"(?<![\w.$\"])(?:auth\.\w+\((?=\))|current_setting\()")
_CAST = re.compile(r"::(?:\w+\.)?(?:\"[^\"]+\"|[a-z_]\w*(?: (?:varying|with(?:out)? time zone|precision))?)(?:\[\])?")
_TRUE = {"true", "NOT false", "CURRENT_USER IS NOT NULL", "SESSION_USER IS NOT NULL", "now() IS NOT NULL"}
_NUMBERS = re.compile(r"(-?\d+(?:\.\d+)?) (<|>|<=|>=|<>) (-?\d+(?:\.\d+)?)")
_ORDER = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "<>": operator.ne}
_NULLABLE = r"(?:auth\.(?:uid|jwt|role|email)\(\)|current_setting\('(?:[^']|'')*'(?:::text)?, true\))"
_NULL = re.compile(rf"{_NULLABLE} IS NULL|NOT \(*{_NULLABLE} IS NOT NULL\)*")
_SELECT = re.compile(r"\(\s*SELECT\b")
_ALIAS = re.compile(r"^SELECT (.*?)(?: AS \w+)?$", re.DOTALL)


def strings(text: str) -> Iterator[str]:
    """The string constants."""
    return (token for token in _TOKEN.findall(text) if token.lstrip("E").startswith("'"))


def unwrapped(text: str) -> str:
    """The condition without brackets around all of it, except those of a subquery."""
    text = text.strip()
    while text.startswith("(") and not _SELECT.match(text) and _closing(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def alternatives(text: str, word: str = "OR") -> list[str]:
    """The parts that a condition joins by OR (or AND) at its top, each without brackets; itself where it does not."""
    text = unwrapped(text)
    cuts = [(m.start(), m.end()) for m in _tops(text) if m[0] == word]
    if not cuts or (word == "AND" and any(m[0] == "BETWEEN" for m in _tops(text))):
        return [text]
    starts, ends = [0, *(end for _, end in cuts)], [*(start for start, _ in cuts), len(text)]
    parts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    return [part for each in parts for part in alternatives(each, word)]


def always_true(text: str, never_null: Collection[str] = ()) -> bool:
    """Whether it holds for every row: true, a constant equal to itself, or a column that is never null not being so."""
    parts = alternatives(text)
    if len(parts) > 1:
        return any(always_true(part, never_null) for part in parts)
    parts = alternatives(text, "AND")
    if len(parts) > 1:
        return all(always_true(part, never_null) for part in parts)
    part = unwrapped(text)
    if plain(part) in _TRUE or part.startswith("COALESCE(true,"):
        return True
    left, equals, right = part.partition(" = ")
    if equals and _constant(left) and _constant(left) == _constant(right):
        return True
    if (numbers := _NUMBERS.fullmatch(part)) and _ORDER[numbers[2]](float(numbers[1]), float(numbers[3])):
        return True
    column = left if equals and left == right else part.removesuffix(" IS NOT NULL")
    return column != part and column.strip('"') in never_null


def bare_calls(text: str, table: str) -> list[tuple[int, int]]:
    """Where auth.*() and current_setting() stand that no `(select ...)` makes once for the whole query.

    A select of its own helps only if it has no FROM and names no column of the table.
    """
    blank = without_strings(text)
    found = []
    for call in _CALL.finditer(blank):
        inner = _innermost_select(blank, call.start())
        body = blank[inner[0] : inner[1]] if inner else ""
        if not inner or _has_from(body) or re.search(rf"(?<![\w.\"]){re.escape(table)}\.", body):
            found.append((call.start(), _closing(text, call.end() - 1) + 1))
    return found


def wrapped(text: str, table: str) -> str:
    """The condition with each such call in a select of its own."""
    for start, end in reversed(bare_calls(text, table)):
        text = f"{text[:start]}(select {text[start:end]}){text[end:]}"
    return text


def is_null_for_nobody(text: str) -> str:
    """The alternative that holds whenever nobody is signed in, such as `auth.uid() IS NULL`; empty where none does."""
    parts = alternatives(text)
    if len(parts) == 1:
        return ""
    return next((part for part in map(plain, parts) if _NULL.fullmatch(part)), "")


def plain(text: str) -> str:
    """The condition without brackets around it, and with `( SELECT x AS y)` written as x."""
    text = unwrapped(text)
    while (start := _SELECT.search(text)) and not _has_from(_inside(text, start.start())):
        end = _closing(text, start.start())
        match = _ALIAS.match(text[start.start() + 1 : end].strip())
        inner = unwrapped(match[1]) if match else ""
        if not match:
            break
        text = text[: start.start()] + inner + text[end + 1 :]
    return unwrapped(text)


def _inside(text: str, start: int) -> str:
    return text[start + 1 : _closing(text, start)]


def _constant(text: str) -> str:
    """A literal without its cast; empty for all else."""
    bare = _CAST.sub("", unwrapped(text)).strip()
    return bare if re.fullmatch(r"-?\d+(\.\d+)?|'(?:[^']|'')*'|true|false", bare) else ""


def _tops(text: str) -> Iterator[re.Match[str]]:
    """The words outside brackets and strings."""
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += (match[0] == "(") - (match[0] == ")")
        if not depth and match[0] != ")":
            yield match


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes; -1 where it does not."""
    depth = 0
    for match in _TOKEN.finditer(text, start):
        depth += (match[0] == "(") - (match[0] == ")")
        if not depth:
            return match.start()
    return -1


def without_strings(text: str) -> str:
    """The text with every string blanked, so that places stay."""
    return _TOKEN.sub(lambda m: " " * len(m[0]) if m[0].lstrip("E").startswith("'") else m[0], text)


def _innermost_select(text: str, place: int) -> tuple[int, int] | None:
    """The start and end of the smallest `( SELECT ...)` around a place."""
    found = None
    for match in _SELECT.finditer(text[:place]):
        end = _closing(text, match.start())
        if end > place:
            found = (match.start() + 1, end)
    return found


def _has_from(text: str) -> bool:
    words = [match[0] for match in _tops(text)]
    return any(word == "FROM" and before != "DISTINCT" for before, word in pairwise(words))
