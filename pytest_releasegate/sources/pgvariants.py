"""Values that policies themselves name, such as the 'draft' of `status = 'draft'`: rows that they may let through."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

__all__ = ["told", "variants"]

_MOST = 16
_NAME = r'(?<![\w."])\(*(?:\w+\.)?(\w+|"(?:[^"]|"")+")\)?(?:::[\w ]+?)?'
_LITERAL = r"\(?'?((?<=')(?:[^']|'')*(?=')|-?\d+(?:\.\d+)?)"
_COMPARED = re.compile(rf"{_NAME} (=|<>|<=|>=|<|>) (?:ANY \(+(?:ARRAY\[)?)?{_LITERAL}")
_NULL = re.compile(rf"{_NAME} IS (NOT )?NULL")
_TRUTH = re.compile(r'(?:^|\(|AND |OR )(NOT )?\(*(\w+|"(?:[^"]|"")+")(?=\)(?!::)|$| AND | OR )')
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
Change = dict[str, str | bool | None]


def variants(checks: Sequence[str], columns: Collection[str]) -> list[Change]:
    """What to set in a row so that it may pass one of the conditions: by the condition all at once, and each alone."""
    found: dict[str, Change] = {}
    for check in checks:
        named = [(name, value) for name, value in _named(check) if name in columns]
        whole: Change = {}
        for name, value in named:
            whole.setdefault(name, value)
        for change in (whole, *({name: value} for name, value in named)):
            if change:
                found.setdefault(told(change), change)
    return list(found.values())[:_MOST]


def told(change: Mapping[str, str | bool | None]) -> str:
    """The change in words."""
    return ", ".join(
        f"{name} = {value if isinstance(value, str) else json.dumps(value)}" for name, value in change.items()
    )


def _named(check: str) -> Iterator[tuple[str, str | bool | None]]:
    for match in _COMPARED.finditer(check):
        yield _plain(match[1]), _fitting(match[2], match[3].replace("''", "'"))
    for match in _NULL.finditer(check):
        if not match[2]:
            yield _plain(match[1]), None
    for match in _TRUTH.finditer(check):
        yield _plain(match[2]), not match[1]


def _fitting(operator: str, literal: str) -> str:
    """A value for which the comparison with the literal holds."""
    step = {">": 1, "<": -1, "<>": 1}.get(operator, 0)
    if not step:
        return literal
    if _NUMBER.fullmatch(literal):
        return str(float(literal) + step) if "." in literal else str(int(literal) + step)
    return literal + "x" if operator in (">", "<>") else ""


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
