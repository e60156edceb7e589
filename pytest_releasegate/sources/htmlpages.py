"""HTML that anybody may have written, read in a time that grows with its size and no faster."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Reader", "asks_password", "is_html", "metas"]

_UNREAD = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(script|style)\b[^>]*(?:>.*?(?:</\1\b\s*>?|\Z)|\Z)"
    r"|<[!?][^>]*(?:>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
"""Comments, scripts, styles and declarations, to the end of the page where they have none."""
_METAS = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|template)\b.*?(?:</\1\b|\Z)|(<meta\b[^<>]*>)", re.DOTALL | re.IGNORECASE
)
"""The elements that tell something, in the second group; what is between comments and in scripts is none."""
_BEGINS_HTML = re.compile(
    r"\s*(?:<!doctype html|<html|<head|<body|<script|<div|<p\b|<h1|<meta|<title|<!--)", re.IGNORECASE
)


class Reader(HTMLParser):
    """Reads a page for the handlers of its kind: no comment, no script, and no garbage that takes forever."""

    @classmethod
    def read(cls, text: str) -> Self:
        """What is in the page."""
        page = cls()
        page.take(text)
        return page

    def take(self, text: str) -> None:
        """Read the page to its end."""
        text = _UNREAD.sub("", text)
        end = text.rfind(">") + 1
        # what no tag can be any more is text, else each of its beginnings were looked at to the end of the page
        self.feed(text[:end] + text[end:].replace("<", "&lt;"))
        self.close()


def is_html(text: str, media_type: str) -> bool:
    """Whether it says that it is HTML, or says nothing and looks like it."""
    return "html" in media_type.lower() or (not media_type.strip() and _BEGINS_HTML.match(text) is not None)


def asks_password(text: str) -> bool:
    """Whether the page has a form that asks for a password."""
    return _Form.read(text).asks_password


def metas(text: str) -> list[tuple[str, str]]:
    """The name, in lower case, and the content of each `<meta>` that has a name, outside of templates."""
    page = _Metas()
    # the elements alone: a whole page of garbage would take forever
    page.feed("".join(found[2] or "" for found in _METAS.finditer(text)))
    return page.found


class _Form(Reader):
    def __init__(self) -> None:
        super().__init__()
        self.asks_password = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        self.asks_password |= tag == "input" and (dict(attrs).get("type") or "").lower() == "password"


class _Metas(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        given = dict(attrs)
        if tag == "meta" and (name := (given.get("name") or "").strip().lower()):
            self.found.append((name, given.get("content") or ""))
