"""Lists as bullets: text, box, number, what hangs on them; and what their words say."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.markdown import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.checklist.markdown.blocks import Block

__all__ = ["Bullet", "bullets", "chooses", "is_field", "only_links", "owner_of", "severity_of", "varies"]

_FIELD = re.compile(
    r"^(?:note|nb|tip|hint|warning|caution|important|info|e\.?g\.?|i\.?e\.?|example|command|"
    r"cmd|commands|run|expected(?: \w+){0,2}|"
    r"output|owner|assignee|assigned to|responsible|who|when|where|why|how|due|deadline|date|"
    r"time|duration|estimated (?:time|duration)|"
    r"eta|status|link|links|url|see|see also|doc|docs|documentation|reference|ref|ticket|"
    r"issue|evidence|tool|tools|script|"
    r"priority|severity|rollback|if (?:this |it )?fails|on failure|success criteria|"
    r"verification|verify with|contact|visit|go to|navigate to|location|path|files?|topics|channels?|"
    r"comment|comments|sql|query)\s*:",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"^\W*(?:⚠|💡|\u2139|📝|👉|🔗|note that\b|e\.g\.|i\.e\.)", re.IGNORECASE)
_ONLY_CODE = re.compile(r"^`+[^`]+`+[.:;]?$")
_ONLY_LINK = re.compile(r"^(?:\[[^\]]*\]\([^)\s]*[^)]*\)|<?https?://\S+>?)\W*?(?:\([^()]*\)\W*)?$")
_TO_FILL = re.compile(r"_{4}|\.{5}|\u2026{2}")
_STRUCK = re.compile(r"~~[^~]+~~\W*$")
_OWNER = re.compile(r"^(?:owner|assignee|assigned to|responsible)\s*:\s*(?P<who>[^@,;]{2,40})$", re.IGNORECASE)
_CHOOSE = re.compile(
    r"\b(?:choose|pick|select|do)\s+(?:any\s+)?(?:one|either)\b|\b(?:one|either|"
    r"any)\s+of\s+(?:the\s+following|these|them|below)|\bone\s+of\s*:",
    re.IGNORECASE,
)
_OPTION = re.compile(
    r"^\W*(?:option|alternative|variant)\s+(?:\d{1,2}|[A-Z])\b(?!\s+(?:is|was|has|will|must)\b)", re.IGNORECASE
)
_SEVERITY = re.compile(
    r"^\W*(critical|blocker|high|major|medium|moderate|low|minor|p[0-4]|"
    r"sev-?[0-4])\b\W*(?:\*\*)?\s*(?::|\*\*|\)|\]|[-\u2013\u2014])",
    re.IGNORECASE,
)
_SEVERITIES = {
    "critical": "critical", "blocker": "critical", "p0": "critical", "sev0": "critical", "sev1": "critical",
    "high": "high", "major": "high", "p1": "high", "sev2": "high",
    "medium": "medium", "moderate": "medium", "p2": "medium", "sev3": "medium",
    "low": "low", "minor": "low", "p3": "low", "p4": "low", "sev4": "low",
}  # fmt: skip


@dataclass(slots=True)
class Bullet:
    """One line of a list with what hangs on it."""

    line: int
    last: int
    """The line after its own text."""
    text: str
    box: bool | None = None
    number: str = ""
    subs: list[Bullet] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    """The lines of its details."""
    end: int = 0
    """The last line of its own words."""
    tables: list[Block] = field(default_factory=list)
    """The tables in it that have boxes or status signs."""

    def inside(self) -> Iterator[Bullet]:
        """The bullet and all under it."""
        yield self
        for sub in self.subs:
            yield from sub.inside()

    @property
    def boxes_below(self) -> bool:
        """Whether something under it has a box."""
        below = [bullet for sub in self.subs for bullet in sub.inside()]
        return any(bullet.box is not None for bullet in below) or any(one.tables for one in (self, *below))

    @property
    def is_struck(self) -> bool:
        """Whether its words are struck out."""
        return bool(_STRUCK.match(self.text.strip()))

    @property
    def is_detail(self) -> bool:
        """Whether it tells about the line above it rather than being one to look at."""
        if self.is_struck:
            return True
        return self.box is None and not self.boxes_below and (not self.text.strip() or is_field(self.text))


def bullets(listed: Block) -> list[Bullet]:
    """The bullets of a list; an item without words of its own hands up what it holds."""
    found: list[Bullet] = []
    for item in listed.children:
        bullet = _bullet(item)
        found += [bullet] if bullet.text.strip() or bullet.box is not None or not bullet.subs else bullet.subs
    return found


def is_field(text: str) -> bool:
    """Whether a line is a note, a command, a link or a `Key: value` about what stands above it."""
    bare = text.strip()
    shaped = (_TO_FILL.search, _ASIDE.match, _ONLY_CODE.match, _ONLY_LINK.match)
    return bool(_FIELD.match(words.plain(bare))) or any(look(bare) for look in shaped)


def owner_of(details: list[str]) -> str:
    """Who answers for a line, where a detail says `Owner: ...` and names a role; empty otherwise."""
    found = next((match for line in details if (match := _OWNER.match(words.plain(line)))), None)
    return found["who"].strip() if found else ""


def only_links(found: list[Bullet]) -> bool:
    """Whether a list is a table of contents or a list of links."""
    inside = [bullet for one in found for bullet in one.inside()]
    return bool(inside) and all(bullet.box is None and _ONLY_LINK.match(bullet.text.strip()) for bullet in inside)


def chooses(text: str) -> bool:
    """Whether the words ask to choose one of what follows."""
    return bool(_CHOOSE.search(text))


def varies(texts: list[str]) -> bool:
    """Whether the lines are ways to the same end: `Option 1: ...`, `Option 2: ...`."""
    return len(texts) > 1 and all(_OPTION.match(words.plain(text)) for text in texts)


def severity_of(text: str) -> tuple[str, str]:
    """The severity that a line begins with, such as `**High**: ...`, and the rest of the line."""
    found = _SEVERITY.match(text)
    if not found:
        return "", text
    rest = text[found.end() :].lstrip(" :*\u2013\u2014-)]")
    return (_SEVERITIES[found[1].lower().replace("-", "")], rest) if rest else ("", text)


def _bullet(item: Block) -> Bullet:
    paragraph = item.children[0] if item.children and item.children[0].kind in ("paragraph", "heading") else None
    rest = item.children[1:] if paragraph else item.children
    lines = paragraph.text.split("\n") if paragraph else [""]
    box, first = words.box(lines[0])
    own = 1
    while own < len(lines) and not _FIELD.match(words.plain(lines[own])):
        own += 1
    bullet = Bullet(
        item.first,
        item.first + 1,
        " ".join([first, *(line.strip() for line in lines[1:own])]).strip(),
        box,
        item.number,
    )
    if paragraph:
        bullet.line, bullet.last, bullet.end = paragraph.first, paragraph.first + 1, paragraph.first + own - 1
        bullet.details += [line.strip() for line in lines[own:]]
        bullet.spans.append((paragraph.first + 1, paragraph.last))
    for block in rest:
        _hang(bullet, block)
    if not bullet.text and bullet.box is not None:
        bullet.text = next((f"`{line}`" for line in bullet.details if line.strip()), "")
    return bullet


def _hang(bullet: Bullet, block: Block) -> None:
    if block.kind == "list":
        bullet.subs += bullets(block)
    elif block.kind == "quote" and any(words.box(inner.text)[0] is not None for inner in block.inside()):
        for inner in block.children:
            _hang(bullet, inner)
    elif block.kind == "table" and any(words.box(cell)[0] is not None for _, row in block.rows() for cell in row):
        bullet.tables.append(block)
    else:
        bullet.spans.append((block.first, block.last))
        if block.kind in ("paragraph", "code", "heading", "quote"):
            texts = [one.text.strip() for one in block.inside()]
            bullet.details += [line for text in texts if text for line in text.split("\n")]
