"""HTML that anybody may have written, read in a time that grows with its size and no faster."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Reader", "is_html"]

_UNREAD = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(script|style)\b[^>]*(?:>.*?(?:</\1\b\s*>?|\Z)|\Z)"
    r"|<[!?][^>]*(?:>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
"""Comments, scripts, styles and declarations, to the end of the page where they have none."""
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
