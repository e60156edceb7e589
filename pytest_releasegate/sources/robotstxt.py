"""robots.txt as crawlers read it (RFC 9309), and what pages themselves tell them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from pytest_releasegate.sources.htmlpages import metas

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Group", "RobotsFile", "Rule", "page_tokens", "tag_tokens"]

_MOST_BYTES = 500 * 1024
"""How much of a file crawlers must read; what follows may be passed over."""
_TOKEN = re.compile(r"[A-Za-z_-]+")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_WHOLE_SITE = frozenset({"/", "/*", "*"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One line that allows or disallows paths."""

    allows: bool
    path: str
    line: int

    def __str__(self) -> str:
        return f"line {self.line}, {'Allow' if self.allows else 'Disallow'}: {self.path}"

    @property
    def is_whole(self) -> bool:
        """Whether it is about every path."""
        return self.path in _WHOLE_SITE

    def matches(self, path: str) -> bool:
        """Whether the path begins with the pattern; `*` stands for anything, `$` for the end."""
        anchored = self.path.endswith("$")
        first, *rest = _plain(self.path.removesuffix("$")).split("*")
        if not path.startswith(first):
            return False
        at = len(first)
        last = rest.pop() if rest else None
        for part in rest:
            found = path.find(part, at)
            if found < 0:
                return False
            at = found + len(part)
        if last is None:
            return not anchored or at == len(path)
        return path.endswith(last) and len(path) - len(last) >= at if anchored else path.find(last, at) >= 0


@dataclass(slots=True)
class Group:
    """The rules for some crawlers."""

    agents: list[str] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RobotsFile:
    """A file that was read."""

    groups: tuple[Group, ...] = ()
    sitemaps: tuple[str, ...] = ()

    @classmethod
    def read(cls, body: bytes) -> RobotsFile:
        """Take the groups and sitemaps; lines that mean nothing are passed over, as crawlers do."""
        groups: list[Group] = []
        sitemaps: list[str] = []
        naming = False
        whole = body if len(body) <= _MOST_BYTES else body[:_MOST_BYTES].rpartition(b"\n")[0]
        for number, line in enumerate(re.split(r"\r\n|\r|\n", whole.decode("utf-8-sig", "replace")), 1):
            key, colon, value = line.partition("#")[0].partition(":")
            key, value = key.strip().lower(), value.strip()
            if key == "user-agent" and colon:
                if not naming:
                    groups.append(Group())
                groups[-1].agents.append(_agent(value))
                naming = True
            elif key in {"allow", "disallow"} and colon and groups:
                naming = False
                if value:
                    groups[-1].rules.append(Rule(key == "allow", value, number))
            elif key == "sitemap" and value:
                sitemaps.append(value)
        return cls(tuple(groups), tuple(sitemaps))

    @property
    def agents(self) -> list[str]:
        """Every crawler that the file names, in lower case, and `*` for all others."""
        return list(dict.fromkeys(["*", *(agent for group in self.groups for agent in group.agents)]))

    def rules(self, agent: str) -> list[Rule]:
        """The rules that a crawler obeys: those of all groups that name it, else those for `*`."""
        named = [group for group in self.groups if _agent(agent) in group.agents]
        chosen = named or [group for group in self.groups if "*" in group.agents]
        return [rule for group in chosen for rule in group.rules]

    def decides(self, agent: str, path: str) -> Rule | None:
        """The rule that decides on a path: the longest that matches, of equals the one that allows; None allows it."""
        path = _plain(path)
        if path == "/robots.txt":
            return None
        found = [rule for rule in self.rules(agent) if rule.matches(path)]
        return max(found, key=lambda rule: (len(_plain(rule.path)), rule.allows), default=None)

    def leaves_open(self, agent: str) -> Rule | str:
        """What leaves a part of the site open to a crawler; empty where all of it is closed."""
        rules = self.rules(agent)
        if not any(rule.is_whole and not rule.allows for rule in rules):
            return "no rule closes /"
        return next((rule for rule in rules if rule.allows and rule.path != "/robots.txt"), "")


def _agent(text: str) -> str:
    """The product token of a crawler, without a version."""
    if text.startswith("*"):
        return "*"
    match = _TOKEN.match(text)
    return match[0].lower() if match else ""


def _plain(path: str) -> str:
    """The path in one spelling: what is outside of ASCII encoded, what needs no encoding written out."""

    def decoded(match: re.Match[str]) -> str:
        byte = int(match[1], 16)
        return chr(byte) if byte in _UNRESERVED else f"%{match[1].upper()}"

    return _ENCODED.sub(decoded, quote(path, safe="".join(map(chr, range(33, 127)))))


def tag_tokens(header: str, agents: Sequence[str]) -> tuple[set[str], set[str]]:
    """What an `X-Robots-Tag` tells these crawlers for certain, and what it may tell them.

    Several such headers arrive as one, so that it cannot be told whether a word still belongs to a crawler named
    before it.
    """
    certain: set[str] = set()
    possible: set[str] = set()
    named, mine = "", True
    for part in header.lower().split(","):
        before, colon, after = part.partition(":")
        if colon and before.strip() not in _WITH_VALUE:
            named, part = _agent(before.strip()), after
            mine = named in {"*", *map(_agent, agents)}
            possible |= _meant(part) if mine else set()
        else:
            possible |= _meant(part)
        certain |= _meant(part) if mine else set()
    return certain, possible


def _meant(part: str) -> set[str]:
    word = part.strip()
    return {"noindex", "nofollow"} if word == "none" else {word} - {""}


def page_tokens(text: str, agents: Iterable[str]) -> set[str]:
    """What the `<meta>` elements of a page tell these crawlers."""
    names = {"robots", *(agent.lower() for agent in agents)}
    told = ",".join(content for name, content in metas(text) if name in names)
    return {word for part in told.lower().split(",") for word in _meant(part)}
