"""Strikes secrets and what identifies people out of much text, such as a trace of a browser."""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote

from pytest_releasegate.check import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["STRUCK", "Striker", "address"]

STRUCK = "***"
_SHORTEST = 6
_RULES = (
    (re.compile(r"((?:[?&]|&amp;)[\w.~%\[\]-]{1,80}=)[^&#\s\"'<>)]*"), rf"\1{STRUCK}"),
    (re.compile(r"(https?://[^\s\"'<>?#]*\?)[^\s\"'<>=#]+(?=$|[\s\"'<>#])"), rf"\1{STRUCK}"),
    (re.compile(r"#[^\s\"'<>#]*=[^\s\"'<>]*"), f"#{STRUCK}"),
    (re.compile(r"(?<=://)[^/\s@\"'<>]+@"), f"{STRUCK}@"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), STRUCK),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}"), rf"\1 {STRUCK}"),
    (re.compile(r"\b(fill|type|pressSequentially|insertText|selectOption)\((?=[\"']).*\)"), rf"\1({STRUCK})"),
    (re.compile(r"\b(value=)(?:\"[^\"]*\"|'[^']*')"), rf"\1{STRUCK}"),
    (re.compile(r"\bdata:[^\s\"'<>)]{120,}"), "data:,"),
)
"""What is a secret by its place: values in URLs, tokens, and what was typed."""
_HINTS = ("=", "://", "eyJ", "Bearer", "Basic", "(", "data:")


class Striker:
    """Strikes out known values in every spelling, in base64 too, and what is a secret by its place."""

    def __init__(
        self, secrets: Secrets, values: Mapping[str, str] | None = None, *, within: Iterable[str] = ()
    ) -> None:
        """`values` are further values, with what each is; `within` are the texts in which any can occur at all."""
        found = Secrets({})
        for value, name in (values or {}).items():
            found.add(value, name)
        spelled, words = (ours | known for ours, known in zip(found.spellings(), secrets.spellings(), strict=True))
        texts = tuple(within)
        # longer ones first; what follows an encoded value holds its last bits
        looked = {form: (name, "{}[\\w+/-]{{0,3}}") for value, name in spelled.items() for form in _in_base64(value)}
        looked |= {value: (name, "{}") for value, name in spelled.items()}
        looked |= {word: (name, "(?<!\\w){}(?!\\w)") for word, name in words.items()}
        self._known = [
            (form, re.compile(pattern.format(re.escape(form))), "${" + name.replace("\\", "") + "}")
            for form, (name, pattern) in sorted(looked.items(), key=lambda one: len(one[0]), reverse=True)
            if not texts or any(_may_hold(text, form) for text in texts)
        ]

    def values(self, text: str) -> str:
        """The text without the known values."""
        for form, pattern, instead in self._known:
            if form in text:
                text = pattern.sub(instead, text)
        return text

    def text(self, text: str) -> str:
        """The text without the known values, and without what is a secret by its place."""
        clean = self.values(text)
        if not any(hint in clean for hint in _HINTS):
            return clean
        for pattern, instead in _RULES:
            clean = pattern.sub(instead, clean)
        return clean

    def address(self, url: str) -> str:
        """The URL without the known values, and without the values of its query."""
        return self.text(address(self.values(url)))


def address(url: str) -> str:
    """The URL with the names of its query alone; of one that holds its content, such as `data:`, only the scheme."""
    scheme = re.match(r"([a-z][a-z0-9+.-]*):", url)
    if scheme and scheme[1] not in {"http", "https", "ws", "wss", "blob", "about", "file"}:
        return f"{scheme[1]}:,"
    bare, _, rest = url.partition("?")
    query, _, anchor = rest.partition("#")
    bare, _, own = bare.partition("#")
    parts = (part.partition("=") for part in query.split("&"))
    names = "&".join(f"{name}={STRUCK}" if sign else STRUCK for name, sign, _ in parts)
    shown = re.fullmatch(r"[\w-]{1,40}", anchor or own)
    return bare + (f"?{names}" if query else "") + (f"#{shown[0]}" if shown else "")


def _may_hold(text: str, form: str) -> bool:
    # what JSON writes otherwise cannot be looked for in it as it stands
    return form in text or any(character in form for character in '"\\\n\r\t')


def _in_base64(value: str) -> Iterator[str]:
    """What of the value stands in any base64 text that holds it, whatever comes before and after."""
    raw = value.encode()
    for before in range(3):
        padded = b"\0" * before + raw
        whole = len(padded) // 3 * 3
        for encode in (b64encode, urlsafe_b64encode):
            form = encode(padded[:whole]).decode()[(0, 2, 3)[before] :]
            if len(form) >= _SHORTEST:
                yield from {form, quote(form, safe="")}
