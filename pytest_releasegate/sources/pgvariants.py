"""Values that policies themselves name, such as the 'draft' of `status = 'draft'`: rows that they may let through."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

__all__ = ["identities", "told", "variants"]

_MOST = 24
_COLUMN = r'\(*(?:\w+\.)?(\w+|"(?:[^"]|"")+")\)?(?:::[\w ]+?)?'
_NAME = rf'(?<![\w."]){_COLUMN}'
_LITERAL = r"\(?'?((?<=')(?:[^']|'')*(?=')|-?\d+(?:\.\d+)?)"
_COMPARED = re.compile(rf"{_NAME} (=|<>|<=|>=|<|>|~~\*?|~\*?) (?:ANY \(+(?:ARRAY\[)?)?{_LITERAL}")
_CALLED = re.compile(rf"{_NAME} = \(*(?: ?SELECT )?\(*[\w.]+\(|\)(?:::[\w ]+?)? = {_COLUMN}(?![\w.(])")
_NULL = re.compile(rf"{_NAME} IS (NOT )?NULL")
_TRUTH = re.compile(r'(?:^|(?<!\w)\(|AND |OR )(NOT )?\(*(\w+|"(?:[^"]|"")+")(?=\)(?!::)|$| AND | OR )')
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_ANYTHING = ("now", "1")
"""What some types or other take for a value that is not null."""
_CALLER = "the caller's"
Value = str | bool | None
Change = dict[str, Value]


def variants(checks: Sequence[str], columns: Collection[str], who: Sequence[str] = ()) -> list[Change]:
    """What to set in a row so that it may pass one of the conditions: by the condition all at once, and each alone.

    `who` are the values by which a policy knows the caller, the most telling one first.
    """
    found: dict[str, Change] = {}
    for check in checks:
        named = [(name, value) for name, value in _named(check, who) if name in columns]
        whole: Change = {}
        for name, value in named:
            whole.setdefault(name, value)
        for change in (whole, *({name: value} for name, value in named)):
            if change:
                found.setdefault(json.dumps(change, sort_keys=True), change)
    return list(found.values())[:_MOST]


def identities(settings: Mapping[str, str]) -> list[str]:
    """The values in the settings by which policies may know somebody: of the claims `sub` first, and never the role."""
    found: list[str] = []
    for value in settings.values():
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        claims = read if isinstance(read, dict) else {"": value}
        scalars = {name: str(each) for name, each in claims.items() if isinstance(each, str | int) and name != "role"}
        found += [scalars[name] for name in sorted(scalars, key=lambda name: name != "sub")]
    return list(dict.fromkeys(found))


def told(change: Mapping[str, Value], who: Sequence[str] = ()) -> str:
    """The change in words, which tell nobody's identity."""
    return ", ".join(f"{name} = {_CALLER if value in who else _word(value)}" for name, value in change.items())


def _word(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _named(check: str, who: Sequence[str]) -> Iterator[tuple[str, Value]]:
    for match in _COMPARED.finditer(check):
        yield _plain(match[1]), _fitting(match[2], match[3].replace("''", "'"))
    for match in _CALLED.finditer(check):
        yield from ((_plain(match[1] or match[2]), each) for each in who)
    for match in _NULL.finditer(check):
        yield from ((_plain(match[1]), each) for each in ((*who, *_ANYTHING) if match[2] else (None,)))
    for match in _TRUTH.finditer(check):
        yield _plain(match[2]), not match[1]


def _fitting(operator: str, literal: str) -> str:
    """A value for which the comparison with the literal holds."""
    if operator.startswith("~~"):
        return literal.replace("%", "").replace("_", "x")
    if operator.startswith("~"):
        return literal.strip("^$")
    step = {">": 1, "<": -1, "<>": 1}.get(operator, 0)
    if not step:
        return literal
    if _NUMBER.fullmatch(literal):
        return str(float(literal) + step) if "." in literal else str(int(literal) + step)
    return literal + "x" if operator in (">", "<>") else ""


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
