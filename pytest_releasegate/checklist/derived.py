"""Facts that follow from which files changed, and what contradicts them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.conditions import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_releasegate.model import Release

__all__ = ["Contradiction", "contradictions", "derive", "fits"]

_TOKEN = re.compile(
    r"(?P<deep>(?:^|/)\*\*(?:/|$))|(?P<star>\*+)|(?P<one>\?)|(?P<set>\[[!^]?[^\]]+\])|\\?(?P<plain>.)", re.DOTALL
)
_DEEP = re.compile(r"(?:\*\*/){2,}")
_OUTSIDE = "../"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A fact that was declared otherwise than the changed files say, in a sentence."""

    fact: str
    text: str

    def is_used(self, conditions: Iterable[str]) -> bool:
        """Whether one of the conditions asks for the fact."""
        return any(self.fact in parse(condition).names for condition in conditions)


def derive(facts: Mapping[str, Sequence[str]], paths: Iterable[str]) -> dict[str, str]:
    """For each fact the first path, by name, that fits its patterns; empty where none does, so that it is false."""
    ordered = sorted(paths)
    return {name: next((path for path in ordered if fits(patterns, path)), "") for name, patterns in facts.items()}


def fits(patterns: Sequence[str], path: str) -> bool:
    """Whether a path fits patterns as gitignore has them (gitignore(5), PATTERN FORMAT); the last that speaks decides.

    `*` and `?` stay within one name, `**` goes through any number of folders. A pattern with a slash is relative to the
    root, one without is a name anywhere below it. A folder's pattern covers all that is in it; `!` takes out again.
    Unlike gitignore, a file in a folder that is covered can be taken out, and a pattern that begins with `../` is of
    what lies outside of the root, which no other covers.
    """
    found = False
    for pattern in patterns:
        wanted = not pattern.startswith("!")
        if _covers(pattern if wanted else pattern[1:], path):
            found = wanted
    return found


def contradictions(release: Release) -> list[Contradiction]:
    """The facts of a release that were declared otherwise than they were derived."""
    wrong = {name: path for name, path in release.derived.items() if release.facts.get(name, bool(path)) != bool(path)}
    return [Contradiction(name, _contradiction(name, path)) for name, path in wrong.items()]


def _contradiction(name: str, path: str) -> str:
    if path:
        return f"fact `{name}` is declared false, and {path} has changed: releasegate fact {name}=true"
    return f"fact `{name}` is declared true, and no file that makes it so has changed: releasegate fact {name}=false"


def _covers(pattern: str, path: str) -> bool:
    if path.startswith(_OUTSIDE) and not pattern.startswith(_OUTSIDE):
        return False
    return _compiled(pattern).fullmatch(path) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    text = _DEEP.sub("**/", pattern.removesuffix("/"))
    anywhere = "" if "/" in text else "(?:.*/)?"
    below = "/.*" if pattern.endswith("/") else "(?:/.*)?"
    body = "".join(_translated(token) for token in _TOKEN.finditer(text.removeprefix("/")))
    return re.compile(f"{anywhere}{body}{below}", re.DOTALL)


def _translated(token: re.Match[str]) -> str:
    text = token[0]
    if token.lastgroup == "deep":
        start = "/" if text.startswith("/") else ""
        return f"{start}(?:.*/)?" if text.endswith("/") else f"{start}.*"
    if token.lastgroup == "set":
        inner = text[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return _set(f"[{re.sub('^[!^]', '^', inner)}]", text)
    return {"star": "[^/]*", "one": "[^/]"}.get(token.lastgroup or "") or re.escape(token["plain"])


def _set(body: str, text: str) -> str:
    """A set of characters; one that is none, such as `[z-a]`, stands for itself."""
    try:
        re.compile(body)
    except re.error:
        return re.escape(text)
    return f"(?!/){body}"
