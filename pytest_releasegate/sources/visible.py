"""The text of a page that its readers see."""

from __future__ import annotations

import re
from collections import Counter

from pytest_releasegate.sources.htmlpages import Reader, is_html

__all__ = ["holds", "visible"]

_UNSEEN = {"template", "noscript", "title"}
_EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_WITHIN_WORDS = {
    "a",
    "abbr",
    "b",
    "code",
    "em",
    "font",
    "i",
    "mark",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "u",
    "wbr",
}
_ENDS_BEFORE = {
    "li": {"li"},
    "p": {"p", "div", "ul", "ol", "table", "section", "article", "form", "h1", "h2", "h3", "h4", "h5", "h6"},
    "dt": {"dt", "dd"},
    "dd": {"dt", "dd"},
    "td": {"td", "th", "tr"},
    "th": {"td", "th", "tr"},
    "tr": {"tr"},
    "option": {"option"},
}
"""Elements whose end may be left out, and what begins after them."""
_NOT_SHOWN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?:\.0*)?\s*(?:;|!|$)", re.IGNORECASE
)
_HIDING_CLASSES = {"hidden", "invisible", "d-none", "visually-hidden", "sr-only", "is-hidden", "uk-hidden"}
"""As the style sheets in common use call what they hide; beside `md:block` it is hidden on small screens alone."""
_NO_WIDTH = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))


def visible(text: str, media_type: str) -> str:
    """The text in one line; of HTML without comments, scripts and what is hidden by its own attributes."""
    if is_html(text, media_type):
        text = "".join(_Page.read(text).parts)
    return " ".join(text.translate(_NO_WIDTH).split())


def holds(text: str, words: str) -> bool:
    """Whether the text holds the words, however they are spaced and whatever their case, which styles change."""
    return " ".join(words.split()).casefold() in " ".join(text.split()).casefold()


class _Page(Reader):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.open: list[tuple[str, bool]] = []
        """The elements that are open, and whether each is hidden."""
        self.names: Counter[str] = Counter()

    @property
    def hidden(self) -> bool:
        return bool(self.open) and self.open[-1][1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Go in; what is in something hidden is hidden."""
        self._space(tag)
        if tag in _EMPTY:
            return
        if self.open and tag in _ENDS_BEFORE.get(self.open[-1][0], ()):
            self._out()
        inside = self.open[-1][0] if self.open else ""
        folded = inside == "details closed" and tag != "summary"
        given = dict(attrs)
        name = "details closed" if tag == "details" and "open" not in given else tag
        self.open.append((name, _is_hidden(tag, given) or folded or self.hidden))
        self.names[name] += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        """Stay where we are: `<svg/>` holds nothing."""
        self._space(tag)

    def handle_endtag(self, tag: str) -> None:
        """Come out of the element, and of what was left open in it."""
        self._space(tag)
        name = "details closed" if tag == "details" and self.names["details closed"] else tag
        if self.names[name]:
            while self._out() != name:
                pass

    def handle_data(self, data: str) -> None:
        """Keep what is seen."""
        if not self.hidden and not (self.open and self.open[-1][0] == "details closed"):
            self.parts.append(data)

    def _out(self) -> str:
        name, _ = self.open.pop()
        self.names[name] -= 1
        return name

    def _space(self, tag: str) -> None:
        if tag not in _WITHIN_WORDS:
            self.parts.append(" ")


def _is_hidden(tag: str, given: dict[str, str | None]) -> bool:
    if tag in _UNSEEN or "hidden" in given or (tag == "dialog" and "open" not in given):
        return True
    if _NOT_SHOWN.search(given.get("style") or ""):
        return True
    classes = set((given.get("class") or "").split())
    return bool(classes & _HIDING_CLASSES) and not any(":" in name for name in classes)
