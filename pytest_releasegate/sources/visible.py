"""The text of a page that its readers see."""

from __future__ import annotations

import re
from html.parser import HTMLParser

__all__ = ["visible"]

_UNSEEN = {"script", "style", "template", "noscript", "title"}
_EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_NOT_SHOWN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


def visible(text: str, media_type: str) -> str:
    """The text in one line; of HTML without comments, scripts and what is hidden by its own attributes."""
    if "html" not in media_type.lower():
        return " ".join(text.split())
    page = _Page()
    page.feed(text)
    page.close()
    return " ".join("".join(page.parts).split())


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.open: list[tuple[str, bool]] = []
        """The elements that are open, and whether each is hidden."""

    @property
    def hidden(self) -> bool:
        return bool(self.open) and self.open[-1][1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Go in; what is in something hidden is hidden."""
        if tag in _EMPTY:
            return
        given = dict(attrs)
        unseen = tag in _UNSEEN or "hidden" in given or bool(_NOT_SHOWN.search(given.get("style") or ""))
        self.open.append((tag, unseen or self.hidden))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Stay where we are: `<svg/>` holds nothing."""

    def handle_endtag(self, tag: str) -> None:
        """Come out of the element, and of what was left open in it."""
        if any(tag == name for name, _ in self.open):
            while self.open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Keep what is seen."""
        if not self.hidden:
            self.parts.append(data)
