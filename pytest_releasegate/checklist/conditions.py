"""Small boolean languages: `when` over facts, and `-m` over markers; names, `and`, `or`, `not`, parentheses."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Condition", "parse", "parse_facts"]

Value = Callable[[Callable[[str], bool]], bool]
"""Tells whether a condition holds, given what tells whether a name does."""

_DEEPEST = 50
_TOKEN = re.compile(r"\s*(?:(?P<name>[^\s()]+)(?P<call>\([^()]*=[^()]*\))?|(?P<bracket>[()]))")


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition: the names it uses, and its value for given names."""

    names: frozenset[str]
    holds: Value


def parse(text: str) -> Condition:
    """Read a condition; raises `ValueError` saying what was expected where."""
    parser = _Parser(text)
    value = parser.either()
    if parser.word is not None:
        raise ValueError(f"expected 'and', 'or' or the end, got '{parser.word}' in '{text}'")
    return Condition(frozenset(parser.names), value)


def parse_facts(text: str) -> Condition:
    """Read a condition over facts, whose names are letters, digits and underscores; raises `ValueError` otherwise."""
    condition = parse(text)
    for word in sorted(condition.names):
        if not word.isidentifier():
            raise ValueError(f"'{word}' cannot be a fact's name in '{text}'")
    if "=" in text:
        raise ValueError(f"a fact has no arguments, got '=' in '{text}'")
    return condition


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        self.tokens = _tokens(text)
        self.word: str | None = None
        self.depth = 0
        self.advance()

    def advance(self) -> None:
        self.word = next(self.tokens, None)

    def either(self) -> Value:
        values = [self.both()]
        while self.word == "or":
            self.advance()
            values.append(self.both())
        return _any(values)

    def both(self) -> Value:
        values = [self.single()]
        while self.word == "and":
            self.advance()
            values.append(self.single())
        return _all(values)

    def single(self) -> Value:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ValueError(f"expected at most {_DEEPEST} parentheses and 'not' in each other")
        value = self.inner()
        self.depth -= 1
        return value

    def inner(self) -> Value:
        word = self.word
        self.advance()
        if word == "not":
            return _none(self.single())
        if word == "(":
            value = self.either()
            if self.word != ")":
                raise ValueError(f"expected ')' in '{self.text}'")
            self.advance()
            return value
        if word is None or word in {")", "and", "or"}:
            raise ValueError(f"expected a name, got '{word or 'the end'}' in '{self.text}'")
        self.names.add(word)
        return lambda has: has(word)


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if not match:
            raise ValueError(f"cannot read '{text[position:].strip()}' in '{text}'")
        position = match.end()
        yield match["name"] or match["bracket"]


def _any(values: list[Value]) -> Value:
    return lambda has: any(value(has) for value in values)


def _all(values: list[Value]) -> Value:
    return lambda has: all(value(has) for value in values)


def _none(one: Value) -> Value:
    return lambda has: not one(has)
