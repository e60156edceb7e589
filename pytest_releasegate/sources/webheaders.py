"""Headers that browsers heed, read as browsers read them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_releasegate.check import find
from pytest_releasegate.params import format_duration

if TYPE_CHECKING:
    from datetime import timedelta

    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.http import Answer

__all__ = ["RULES", "Policy", "banner", "faults", "hsts", "hsts_finding", "is_wild", "policies"]

_MOST_DIGITS = 20
_WILD = ("*", "http:", "https:", "data:", "blob:", "filesystem:")
_WILD_HOST = re.compile(r"([a-z][a-z0-9+.-]*://)?\*(\.[a-z]+)?(:(\*|\d+))?(/.*)?")
"""Any host, or any of a top-level domain."""
_UNSAFE = ("'unsafe-inline'", "'unsafe-eval'")
_STRICTER = re.compile(r"'(nonce|sha256|sha384|sha512)-[a-z0-9+/_-]+=*'")


@dataclass(frozen=True, slots=True)
class Hsts:
    """What Strict-Transport-Security says."""

    max_age: int
    subdomains: bool
    preload: bool


def hsts(value: str) -> Hsts | None:
    """The directives of the header by RFC 6797; None for one that browsers ignore."""
    directives: dict[str, str] = {}
    for part in value.partition(",")[0].split(";"):  # of a header that is sent twice, the first counts
        name, _, text = part.partition("=")
        directives.setdefault(name.strip().lower(), text.strip().strip('"'))
    age = directives.get("max-age", "")
    if not age.isascii() or not age.isdigit():
        return None
    return Hsts(int(age[:_MOST_DIGITS]), "includesubdomains" in directives, "preload" in directives)


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
        return [
            source for source in sources if (source in _UNSAFE or is_wild(source)) and not _ignored(source, sources)
        ]


def is_wild(source: str) -> bool:
    """Whether a source of a policy, in lower case, stands for hosts that anybody may have."""
    return source in _WILD or _WILD_HOST.fullmatch(source) is not None


def _ignored(source: str, sources: tuple[str, ...]) -> bool:
    """Whether browsers ignore it beside a nonce, a hash or 'strict-dynamic' (CSP level 3)."""
    if source == "'unsafe-eval'":
        return False
    if source == "'unsafe-inline'":
        return any(_STRICTER.fullmatch(each) for each in sources) or "'strict-dynamic'" in sources
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


def faults(policies: list[Policy], allowed: set[tuple[str, ...]]) -> list[str]:
    """What the policies leave open to a script of another; empty where one of them, which all hold, shuts it."""
    found: list[str] = []
    for directive in ("script-src", "style-src", "object-src", *_FINER):
        coarser = directive.removesuffix("-elem").removesuffix("-attr")
        if directive != coarser and not any(directive in policy.directives for policy in policies):
            continue
        open_to = [
            _open(policy, directive if directive in policy.directives else coarser, allowed) for policy in policies
        ]
        if all(open_to):
            least = min(open_to, key=len)
            found += least
    return list(dict.fromkeys(found))


def _open(policy: Policy, directive: str, allowed: set[tuple[str, ...]]) -> list[str]:
    if policy.sources(directive) is None:
        return (
            [] if directive == "style-src" or (directive, "*") in allowed else [f"neither {directive} nor default-src"]
        )
    # A source of the fallback may be allowed under either name: where it is written, or what it is for.
    names = (directive, "default-src") if directive not in policy.directives else (directive,)
    unsafe = policy.unsafe(directive)
    if directive == "style-src":
        unsafe = [source for source in unsafe if source != "'unsafe-eval'"]
    return [f"{names[-1]} {each}" for each in unsafe if not any((name, each) in allowed for name in names)]


def _nosniff(where: str, answer: Answer) -> Finding:
    text = answer.headers.get("X-Content-Type-Options", "absent")
    ok = text.split(",")[0].strip().lower() == "nosniff"
    return find(f"{where} X-Content-Type-Options", expected="nosniff", actual=text, ok=ok)


def _framing(where: str, answer: Answer) -> Finding:
    """Browsers heed `frame-ancestors` alone where there is one."""
    name, expected = f"{where} framing", "limited by frame-ancestors or X-Frame-Options"
    found = [policy.sources("frame-ancestors") for policy in policies(answer.headers.get(_CSP, ""))]
    limits = [sources for sources in found if sources is not None]
    if limits:
        actual = f"frame-ancestors {' '.join(limits[0])}".strip()
        return find(name, expected=expected, actual=actual, ok=any(not any(map(is_wild, each)) for each in limits))
    text = answer.headers.get("X-Frame-Options")
    values = {value.strip().upper() for value in (text or "").split(",")}  # a header sent twice arrives joined
    ok = values in ({"DENY"}, {"SAMEORIGIN"})
    return find(name, expected=expected, actual=f"X-Frame-Options: {text}" if text else "neither", ok=ok)


def _referrer(where: str, answer: Answer) -> Finding:
    """The last policy of the list that a browser knows is the one that it follows."""
    text = answer.headers.get("Referrer-Policy", "")
    known = [word.strip().lower() for word in text.split(",") if word.strip().lower() in _REFERRER]
    ok = bool(known) and known[-1] not in _LEAKING
    name = f"{where} Referrer-Policy"
    return find(name, expected="one that tells other sites no paths", actual=text or "absent", ok=ok)


def _permissions(where: str, answer: Answer) -> Finding:
    text = answer.headers.get("Permissions-Policy", "")
    items = [item.partition("=") for item in text.split(",")]
    wide = [feature.strip() for feature, _, allowed in items if "*" in allowed.strip().strip("()").split()]
    named = any(equals for _, equals, _ in items)
    name, expected = f"{where} Permissions-Policy", "one that gives no feature to all"
    actual = f"{', '.join(wide)} given to all" if wide else text or "absent"
    return find(name, expected=expected, actual=actual, ok=named and not wide)


def banner(where: str, answer: Answer) -> Finding:
    """Whether a header tells which version of which software answers."""
    telling = [f"{name}: {answer.headers[name]}" for name in _BANNERS if name in answer.headers]
    server = answer.headers.get("Server", "")
    if _VERSION.search(server):
        telling.insert(0, f"Server: {server}")
    actual = "; ".join(telling) or "none"
    return find(f"{where} version banner", expected="none", actual=actual, ok=not telling)


_CSP = "Content-Security-Policy"
_FINER = ("script-src-elem", "script-src-attr")
"""Where one of them stands, `script-src` does not hold for what it is about."""
_BANNERS = ("X-Powered-By", "X-AspNet-Version", "X-AspNetMvc-Version", "X-Generator", "X-Runtime-Version")
_VERSION = re.compile(r"/\s*v?\d|\d+\.\d")
_LEAKING = ("unsafe-url", "no-referrer-when-downgrade")
_REFERRER = (
    *_LEAKING,
    *("no-referrer", "same-origin", "origin", "strict-origin"),
    *("origin-when-cross-origin", "strict-origin-when-cross-origin"),
)
RULES = {"nosniff": _nosniff, "framing": _framing, "referrer": _referrer, "permissions": _permissions}
"""The rules that need nothing but the answer, by name."""
