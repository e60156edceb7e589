"""Headers that browsers heed, read as browsers read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_releasegate.check import find
from pytest_releasegate.params import format_duration

if TYPE_CHECKING:
    from datetime import timedelta

    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.http import Answer

__all__ = ["Policy", "hsts", "hsts_finding", "policies"]

_WILD = ("*", "http:", "https:", "data:", "blob:")
_UNSAFE = ("'unsafe-inline'", "'unsafe-eval'")
_STRICTER = ("'nonce-", "'sha256-", "'sha384-", "'sha512-")


@dataclass(frozen=True, slots=True)
class Hsts:
    """What Strict-Transport-Security says."""

    max_age: int
    subdomains: bool
    preload: bool


def hsts(value: str) -> Hsts | None:
    """The directives of the header by RFC 6797; None for one that browsers ignore."""
    directives: dict[str, str] = {}
    for part in value.split(";"):
        name, _, text = part.partition("=")
        directives.setdefault(name.strip().lower(), text.strip().strip('"'))
    age = directives.get("max-age", "")
    if not age.isascii() or not age.isdigit():
        return None
    return Hsts(int(age), "includesubdomains" in directives, "preload" in directives)


def hsts_finding(name: str, answer: Answer, least: timedelta) -> Finding:
    """Whether the answer binds browsers to HTTPS for long enough."""
    text = answer.headers.get("Strict-Transport-Security")
    said = hsts(text) if text is not None else None
    actual = "absent" if text is None else text if said else f"a header that browsers ignore: {text}"
    ok = said is not None and said.max_age >= least.total_seconds()
    expected = f"max-age >= {int(least.total_seconds())} ({format_duration(least)})"
    return find(name, expected=expected, actual=actual, ok=ok)


@dataclass(frozen=True, slots=True)
class Policy:
    """One content security policy: the sources of each directive."""

    directives: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def sources(self, directive: str) -> tuple[str, ...] | None:
        """The sources that hold for a directive; None where nothing limits it."""
        fallback = self.directives.get("default-src")
        return self.directives.get(directive, fallback if directive.endswith("-src") else None)

    def unsafe(self, directive: str) -> list[str]:
        """The sources of a directive that let in what an attacker can write or serve."""
        sources = self.sources(directive) or ()
        return [source for source in sources if source in _UNSAFE + _WILD and not _ignored(source, sources)]


def _ignored(source: str, sources: tuple[str, ...]) -> bool:
    """Whether browsers ignore it beside a nonce, a hash or 'strict-dynamic' (CSP level 3)."""
    if source == "'unsafe-eval'":
        return False
    if source == "'unsafe-inline'":
        return any(each.startswith(_STRICTER) for each in sources) or "'strict-dynamic'" in sources
    return "'strict-dynamic'" in sources


def policies(value: str) -> list[Policy]:
    """The policies of the header, which all hold; of a directive that is written twice, the first counts."""
    found = []
    for text in value.split(","):
        directives: dict[str, tuple[str, ...]] = {}
        for part in text.split(";"):
            words = part.split()
            if words:
                directives.setdefault(words[0].lower(), tuple(word.lower() for word in words[1:]))
        if directives:
            found.append(Policy(directives))
    return found
