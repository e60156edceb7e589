"""The sections of a document: its headings with what stands under each, their phase and what they are about."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.markdown import words
from pytest_releasegate.checklist.markdown.phases import phase_of
from pytest_releasegate.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.checklist.markdown.blocks import Block

__all__ = ["LEAD", "Section", "outline"]

_TRIGGERS = re.compile(
    r"(?:roll-?back|roll back|abort|back-?out|revert)\W+(?:\w+\W+){0,2}?(?:criteria|triggers?|conditions?)"
    r"|(?:roll-?back|roll back|abort|back-?out|revert)\s+(?:if|when)\b|when to (?:roll ?back|"
    r"abort|revert)|(?:criteria|triggers?|conditions?) (?:for|to) (?:a )?(?:roll|abort|revert)",
    re.IGNORECASE,
)
_SIGN_OFF = re.compile(r"sign[- ]?offs?\b|approvals?\b|approvers?\b|signatures?\b|signatories", re.IGNORECASE)
_ASIDE = re.compile(
    r"^(?:(?:.* )?(?:backlog|details|info|information)|roadmap|future.*|"
    r"table of contents|contents|toc|purpose|overview|introduction|background|about|scope|references?|resources?"
    r"|(?:useful |related |quick )?(?:links?|documents?|documentation|reading)|"
    r"further reading|see also|glossary|definitions?|legend"
    r"|faq|(?:key |emergency |important |support )?contacts?(?: \w+)?|escalation(?: contacts?|"
    r" matrix)?|on-?call contacts?|appendix|appendices"
    r"|change ?log|(?:revision|document|version|change) (?:history|log|control)|notes?|tips|troubleshooting|examples?"
    r"|(?:success |key |business )?metrics|kpis?|(?:dashboard |"
    r"monitoring )?(?:dashboard )?urls?|how to use.*|usage|features?|what's new|summary"
    r"|known issues|license|best practices|do'?s and don'?ts|history|timeline|"
    r"roles(?: and responsibilities)?|team|goals?|context|motivation|description|support|limitations?"
    r"|out of scope.*|symptoms?\W.*|common (?:issues|problems|errors|pitfalls|mistakes).*|budget.*|.*\bcosts?|"
    r"(?:done|fixed issues|already .*|what(?:['\u2019]s| is) (?:already|ready|done)\b.*)"
    r"(?:\s*\([^()]*\))?)\W*$",
    re.IGNORECASE,
)
_EXAMPLES = re.compile(r"^(?:examples?|legend|how to use.*|usage|table of contents|contents|toc)\W*$", re.IGNORECASE)
_ASIDE_WHOLE = re.compile(
    r"^(?:(?:appendix|appendices)\b|(?:[\w-]+ ){0,2}contacts?\W*$|contact (?:information|details|list)"
    r"|trouble-?shooting\b|faqs?\W*$|budget\b)",
    re.IGNORECASE,
)
"""Headings that are about something else with all headings under them."""
_ORNAMENT = re.compile(r"[\s\ufe0f\u200d\u2300-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]+$")
_STEP = re.compile(r"^\W*(?:step|task)\s+#?\d+", re.IGNORECASE)
_FOLD = re.compile(r"<summary>(?:\s|<\w+>)*(?P<text>[^<>]{2,80}?)\s*</", re.IGNORECASE)
_FOLD_END = re.compile(r"</details\s*>", re.IGNORECASE)
LEAD = re.compile(r"^\s*(?:\*\*|__)(?P<text>[^*_\n]{1,59}[^*_\n.!?])(?:\*\*|__)\s*:?\s*$")


@dataclass(slots=True)
class Section:
    """A heading and the blocks under it, up to the next heading."""

    text: str
    """The heading as it stands there; empty before the first one."""
    level: int = 0
    first: int = 0
    last: int = 0
    parent: Section | None = None
    blocks: list[Block] = field(default_factory=list)
    below: list[Section] = field(default_factory=list)
    number: str = ""
    title: str = ""
    phase: Phase = Phase.PREDEPLOY
    guessed: bool = False
    """No heading says the phase."""
    timed: bool = False
    """A heading other than the document's title says it."""
    triggers: bool = False
    sign_off: bool = False
    aside: bool = False
    """About something else than steps: links, contacts, history."""
    examples: bool = False
    key: str = ""
    """How the ids of what stands here begin."""
    numbered: bool = False
    """Whether the ids count what stands here."""
    folded: bool = False
    """The heading is the `<summary>` of what a reader unfolds."""

    @property
    def path(self) -> list[str]:
        """The headings from the outermost to this one, as readers see them."""
        return [section.title for section in self.line if section.title]

    @property
    def line(self) -> list[Section]:
        """The sections from the outermost to this one."""
        return [*(self.parent.line if self.parent else ()), self]

    @property
    def is_step(self) -> bool:
        """Whether the heading is itself a step, such as `Step 3: Run migrations`."""
        return bool(_STEP.match(words.plain(self.text)))


def outline(document: Block) -> list[Section]:
    """The sections in the order of the document; the first holds what stands before any heading."""
    current = Section("")
    sections = [current]
    for block, heading in _headings(document):
        if current.folded and _FOLD_END.search(block.text) and block.kind == "html":
            current = current.parent or sections[0]
        if not heading:
            current.blocks.append(block)
            continue
        level, text = heading
        parent = next((one for one in reversed(current.line) if 0 < one.level < level), None)
        section = Section(text, level, block.first, block.last, parent)
        if parent:
            parent.below.append(section)
        section.folded = block.kind == "html"
        sections.append(section)
        current = section
    titled = _title(sections)
    for section in sections:
        _describe(section, titled)
    return sections


def _headings(document: Block) -> Iterator[tuple[Block, tuple[int, str] | None]]:
    """Every block of the document, with level and text where it is a heading, or a bold line that serves as one."""
    for block, after in zip(document.children, [*document.children[1:], None], strict=False):
        lead = LEAD.match(block.text) if block.kind == "paragraph" else None
        folded = _FOLD.search(block.text) if block.kind == "html" and "</details" not in block.text else None
        if block.kind == "heading":
            yield block, (block.level, block.text)
        elif folded and phase_of([folded["text"]]):
            yield block, (7, folded["text"])
        elif lead and after is not None and (after.kind in ("list", "table") or _STEP.match(lead["text"])):
            yield block, (7, lead["text"].rstrip(":"))
        else:
            yield block, None


def _title(sections: list[Section]) -> Section | None:
    """The document's title: the first heading, when no other is as high."""
    if len(sections) < 2:
        return None
    first, rest = sections[1], sections[2:]
    return first if all(section.level > first.level for section in rest) else None


def _describe(section: Section, titled: Section | None) -> None:
    shown = words.plain(section.text)
    section.number, rest = words.number(shown)
    section.title = _ORNAMENT.sub("", rest if section.number else shown) or shown
    line = section.line
    path = [_named(one) for one in line if one.text]
    timing = phase_of(path, titled=line[0] is titled)
    section.phase = timing.phase if timing else Phase.PREDEPLOY
    section.guessed = timing is None
    section.timed = phase_of(path[1:] if line[0] is titled else path) is not None
    section.triggers = any(_TRIGGERS.search(text) for text in path)
    section.sign_off = any(_SIGN_OFF.search(text) for text in path[-2:]) and not section.triggers
    section.aside = bool(_ASIDE.match(section.title)) or any(_ASIDE_WHOLE.match(one) for one in path)
    section.examples = bool(_EXAMPLES.match(section.title))


def _named(section: Section) -> str:
    """The heading without a bare number before it; `Phase 2:` stays."""
    shown = words.plain(section.text)
    return section.title if section.number and shown[:1].isdigit() else shown
