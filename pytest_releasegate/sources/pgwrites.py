"""Writes of rows in statements and in the bodies of routines: do they touch few rows, or may they touch all?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_releasegate.sources.pgddl import Action, actions
from pytest_releasegate.sources.pgsplit import split

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["blanked", "is_bounded", "writes_in"]

_KEY = r"(?:\w+\.)?\"?(?:\w*id|uuid|\w*key|code|slug|name|email|version|ctid)\"?"
_VALUE = r"(?:''|[-+]?\d+|\$\d+|:\w+|\(*\s*(?:''|\d+))"


def writes_in(body: str) -> Iterator[tuple[Action, str]]:
    """The writes in the text of a routine that may touch all of a table, each with the reason."""
    pieces = list(split(body))
    commits = any(re.match(r"commit\b", piece.code) for piece in pieces)
    depth = 0
    for piece in pieces:
        text = blanked(piece.code)
        start = re.search(r"\b(?:update|delete\s+from|merge\s+into)\s+(?!of\b|set\b)[\w\"]", text)
        before = text[: start.start()] if start else text
        depth += len(re.findall(r"(?<!end )\bloop\b", before)) - len(re.findall(r"\bend\s+loop\b", before))
        for action in actions(text[start.start() :]) if start else _dynamic(piece.code):
            bounded = is_bounded(action)
            if depth > 0 and not commits:
                yield action, "a loop that never commits is one long transaction"
            elif depth <= 0 and not bounded:
                yield action, "it may touch all rows in one statement"


def is_bounded(action: Action) -> bool:
    """Whether the condition of a write keeps it to few rows, as far as its text tells."""
    text = blanked(action.rest)
    _, found, where = text.partition(" where ") if " where " in text else text.partition("where ")
    if not found:
        return False
    if re.match(r"\(*\s*false\s*\)*\s*(?:returning\b|$)", where):
        return True
    few = rf"\blimit\s|\bbetween\b|\bcurrent\s+of\b|\b{_KEY}\s*=\s*{_VALUE}|\b{_KEY}\s+in\s*\(\s*{_VALUE}"
    few += rf"|\b{_KEY}\s*=\s*any\s*\(+\s*(?:array\s*\[|''|\$\d|:\w)"
    if re.search(r"\blimit\s+[\d$:]", action.other):
        return True
    both = re.search(r">=?", where) and re.search(r"<=?(?!>)", where)
    return bool(re.search(few, where) or both)


def _dynamic(code: str) -> list[Action]:
    """The write in a text that is executed."""
    found = re.search(r"\bexecute\s+(?:format\s*\(\s*)?'((?:update|delete\s+from)\s(?:[^']|'')*)'", code, re.IGNORECASE)
    return actions(found[1].lower().replace("%i", "dynamic")) if found else []


def blanked(text: str) -> str:
    """The text with the inside of its strings struck out."""
    return re.sub(r"'(?:[^']|'')*'", "''", text)
