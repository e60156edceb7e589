"""Reads a team's Markdown checklist: which lines are items, gates, triggers and roles, and what all others are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.markdown import words
from pytest_releasegate.checklist.markdown.blocks import parse
from pytest_releasegate.checklist.markdown.bullets import Bullet, bullets, chooses, is_field, only_links, severity_of
from pytest_releasegate.checklist.markdown.entries import Account, Entry, Part
from pytest_releasegate.checklist.markdown.ids import name_all
from pytest_releasegate.checklist.markdown.outline import Section, outline
from pytest_releasegate.checklist.markdown.phases import phase_of, trigger_prefix
from pytest_releasegate.checklist.markdown.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.checklist.markdown.blocks import Block
    from pytest_releasegate.checklist.markdown.lines import Source

__all__ = ["Reading", "read_checklist"]

_CLOCK_FIRST = re.compile(r"^\W*[TD]\s?[-+−–]\s?\d", re.IGNORECASE)
_ROLE = re.compile(
    r"^(?:[\w&/-]+ ){0,4}?(?:lead|manager|owner|engineer|administrator|admin|officer|director|team|dba|cto|ciso|ceo|cio|vp|"
    r"architect|qa|security|product|engineering|operations|ops|support|legal|compliance|stakeholders?|on-?call)"
    r"(?: (?:sign[- ]?off|approval|approved|signed off|approves|signs off))?\W*_*\W*$",
    re.IGNORECASE,
)
_ROLE_TAIL = re.compile(r"\W*(?:sign[- ]?off|approval|approved|signed off|approves|signs off)?[\W_]*$", re.IGNORECASE)
_ACTION = re.compile(
    r"check-?list|\bsteps?\b|\btasks?\b|to-?do|verif|validat|\btest|smoke|prepar|back-?up|security|database|migrat|monitor|communicat|notif"
    r"|infrastructure|config|readiness|quality|performance|complian|procedure|process|runbook|sign-?off|\bactions?\b|requirements?|criteria"
    r"|deploy|releas|launch|roll-?out|go-?live|\bbefore\b|\bafter\b|\bduring\b|roll-?back|\bpre-|\bpost-|build|publish|announce|clean-?up",
    re.IGNORECASE,
)
_IMPERATIVE = re.compile(
    r"^(?:run|deploy|verify|check|create|update|merge|tag|build|push|pull|publish|notify|announce|confirm|ensure|test|review|back ?up|"
    r"enable|disable|monitor|restart|start|stop|switch|open|close|prepare|install|configure|set|apply|execute|migrate|validate|"
    r"communicate|freeze|bump|send|schedule|clean|archive|roll|scale|warm|flush|clear|take|make|write|generate|sign|upload|"
    r"download|release|cut|draft|post|tell|wait|remove|rotate|restore|drain|promote|smoke|turn|add|export|import|connect|log)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a document holds: its entries in order with ids, its sections, and the account of its lines."""

    source: Source
    sections: tuple[Section, ...]
    entries: tuple[Entry, ...]
    account: Account

    def refuse_nothing(self) -> None:
        """Raise `BrokenPlan` when nothing in the document can be looked at: an empty plan would look like a green one."""
        if not self.of(Part.GATE, Part.TRIGGER):
            line = next(line for line in range(len(self.source.lines)) if not self.source.blank(line))
            what = f"nothing to check in {len(self.source.lines)} lines: no box, no list of steps, no status table"
            raise self.source.problem(
                line, what, "write what is to be checked as `- [ ] ...`; --verbose tells each line"
            )

    def each(self) -> Iterator[Entry]:
        """Every entry, those under others among them, in the order of the document."""
        for entry in self.entries:
            yield from entry.inside()

    def of(self, *parts: Part) -> list[Entry]:
        """The entries that are one of these."""
        return [entry for entry in self.each() if entry.part in parts]


def read_checklist(source: Source) -> Reading:
    """Read it; raises `BrokenPlan` where lists stand in lists beyond all reason."""
    document = parse(source)
    account = Account(source)
    account.claim(0, source.front, Part.IGNORED, "front matter")
    sections = outline(document)
    boxed = any(bullet.box is not None for block in document.inside() if block.kind == "list" for bullet in _all(block))
    reader = _Reader(account, boxed=boxed)
    for section in sections:
        reader.section(section)
    _heading_steps(sections, reader.entries, account, boxed=boxed)
    account.close()
    entries = sorted(reader.entries, key=lambda entry: entry.line)
    name_all(entries, sections)
    return Reading(source, tuple(sections), tuple(entries), account)


def _all(listed: Block) -> Iterator[Bullet]:
    for bullet in bullets(listed):
        yield from bullet.inside()


class _Reader:
    """Goes over the sections in order and gathers entries."""

    def __init__(self, account: Account, *, boxed: bool) -> None:
        self.account = account
        self.boxed = boxed
        self.entries: list[Entry] = []
        self.latest: Entry | None = None
        self.choice = ""

    def section(self, section: Section) -> None:
        self.latest = None
        self.choice = words.short(words.slug(section.text).replace("-", " "), 40) if chooses(section.text) else ""
        self.account.claim(section.first, section.last, Part.HEADING)
        for block in section.blocks:
            self.block(block, section)

    def block(self, block: Block, section: Section) -> None:
        if block.kind == "list":
            self.listing(block, section)
        elif block.kind == "table":
            self.table(block, section)
        elif block.kind == "quote":
            for inner in block.children:
                self.block(inner, section)
            self.account.claim(block.first, block.last, Part.PROSE)
        elif block.kind in ("paragraph", "heading"):
            self.paragraph(block, section)
        elif block.kind == "code" and self.latest:
            self.latest.details += block.text.strip().split("\n")
            self.account.claim(block.first, block.last, Part.FIELD)
        else:
            comment = block.kind == "html" and block.text.lstrip().startswith("<!--")
            reason = "a comment" if comment else {"html": "HTML", "code": "code", "rule": "a rule"}[block.kind]
            self.account.claim(block.first, block.last, Part.IGNORED, reason)

    def listing(self, block: Block, section: Section) -> None:
        found = bullets(block)
        for bullet in found:
            reason = self.refused(bullet, found, section, numbered=bool(bullet.number))
            if reason:
                self.account.claim(bullet.line, _end(bullet), Part.IGNORED, reason)
            else:
                self.latest = self.top(bullet, section)
                self.entries.append(self.latest)
        self.account.claim(block.first, block.last, Part.IGNORED, "an empty line of a list")

    def refused(self, bullet: Bullet, around: list[Bullet], section: Section, *, numbered: bool) -> str:
        """Why a line at the top of a list is none to check; empty when it is one."""
        shown = section.title or "no heading"
        if section.examples:
            return f"under '{shown}'"
        if bullet.box is not None or bullet.boxes_below:
            return "" if bullet.text.strip() or bullet.boxes_below else "an empty box"
        if only_links(around):
            return "a list of links"
        if not words.plain(bullet.text):
            return "an empty line of a list"
        if section.triggers:
            return ""
        if section.aside:
            return f"a plain list under '{shown}', which names no steps"
        if any(one.box is not None for one in around) or self._boxes(section):
            return "" if section.sign_off and _ROLE.match(words.plain(bullet.text)) else "a plain list beside boxes"
        if numbered or section.is_step or not self.boxed:
            return ""
        return "" if _ACTION.search(section.title) else f"a plain list under '{shown}', which names no steps"

    def _boxes(self, section: Section) -> bool:
        return any(entry.box is not None for entry in self.entries if entry.section is section)

    def top(self, bullet: Bullet, section: Section) -> Entry:
        if section.triggers:
            return self.trigger(bullet, section)
        if section.sign_off and not bullet.subs and _ROLE.match(words.plain(bullet.text)):
            return self.entry(Part.ROLE, bullet, section, _ROLE_TAIL.sub("", words.plain(bullet.text)))
        made = self.boxed_entry(bullet, section)
        if self.choice and made.part is Part.GATE:
            made.alternatives = self.choice
        return made

    def trigger(self, bullet: Bullet, section: Section) -> Entry:
        severity, rest = severity_of(bullet.text)
        made = self.entry(Part.TRIGGER, bullet, section, words.title(rest))
        made.severity, made.phase = severity, trigger_prefix(section.path)[1]
        for sub in bullet.subs:
            made.details += [one.text for one in sub.inside()]
            self.account.claim(sub.line, _end(sub), Part.FIELD)
        return made

    def boxed_entry(self, bullet: Bullet, section: Section) -> Entry:
        """An item with what hangs on it, or a gate where nothing does."""
        made = self.entry(Part.GATE, bullet, section)
        self.hang(made, bullet)
        if any(entry.part is not Part.FIELD for entry in made.entries):
            made.part = Part.ITEM
            self.account.turn_item(bullet.line)
        return made

    def hang(self, made: Entry, bullet: Bullet) -> None:
        """What stands under a bullet, flat unless it has boxes of its own that hold others."""
        name = words.short(words.slug(made.title).replace("-", " "), 40) if chooses(bullet.text) else ""
        begin = len(made.entries)
        for sub in bullet.subs:
            self.sub(made, sub)
        for entry in made.entries[begin:]:
            if name and entry.part is Part.GATE:
                entry.alternatives = name

    def sub(self, made: Entry, sub: Bullet) -> None:
        section = made.section
        if sub.is_detail:
            made.details += [one.text for one in sub.inside()]
            self.account.claim(sub.line, _end(sub), Part.FIELD)
        elif sub.box is not None:
            made.entries.append(self.boxed_entry(sub, section))
        else:
            group = sub.boxes_below or (chooses(sub.text) and bool(sub.subs))
            made.entries.append(self.entry(Part.FIELD if group else Part.GATE, sub, section))
            holder = made.entries[-1]
            begin = len(made.entries)
            for one in sub.subs:
                self.sub(made, one)
            if group and chooses(sub.text):
                name = words.short(words.slug(holder.title).replace("-", " "), 40)
                for entry in made.entries[begin:]:
                    entry.alternatives = name if entry.part is Part.GATE else ""

    def entry(self, part: Part, bullet: Bullet, section: Section, title: str = "") -> Entry:
        self.account.claim(bullet.line, bullet.last, part)
        for first, last in bullet.spans:
            self.account.claim(first, last, Part.FIELD)
        number, rest = words.number(words.title(bullet.text))
        number = number if "." in number else ""
        made = Entry(
            part, bullet.line, bullet.text, title or (rest if number else words.title(bullet.text)), section, bullet.box
        )
        made.number = number or bullet.number
        made.details = list(bullet.details)
        if part in (Part.GATE, Part.ITEM):
            _tell(made)
        return made

    def table(self, block: Block, section: Section) -> None:
        found, reason = rows_of(block, section)
        for row in found:
            self.account.claim(row.line, row.line + 1, row.part)
            self.entries.append(row)
            if row.part is Part.GATE:
                _tell(row)
        self.account.claim(block.first, block.first + 2, Part.IGNORED, "the head of a table")
        self.account.claim(block.first, block.last, Part.IGNORED, reason)
        self.latest = None

    def paragraph(self, block: Block, section: Section) -> None:
        lines = block.text.split("\n")
        boxed = [words.box(line.strip()) for line in lines]
        if any(box is not None and rest.strip() for box, rest in boxed) and not section.examples:
            self.boxed_lines(block, section, boxed)
            return
        if self.latest and all(is_field(line) for line in lines):
            self.latest.details += lines
            self.account.claim(block.first, block.last, Part.FIELD)
            return
        self.choice = words.short(words.slug(block.text).replace("-", " "), 40) if chooses(block.text) else ""
        self.latest = None
        self.account.claim(block.first, block.last, Part.PROSE)

    def boxed_lines(self, block: Block, section: Section, boxed: list[tuple[bool | None, str]]) -> None:
        """A paragraph whose lines begin with boxes or status signs, each line for itself."""
        for line, (box, rest) in enumerate(boxed, block.first):
            if box is not None and rest.strip():
                self.latest = self.top(Bullet(line, line + 1, rest.strip(), box), section)
                self.entries.append(self.latest)
            elif self.latest and rest.strip():
                self.latest.details.append(rest.strip())
                self.account.claim(line, line + 1, Part.FIELD)
        self.account.claim(block.first, block.last, Part.PROSE)


def _end(bullet: Bullet) -> int:
    ends = [one.last for one in bullet.inside()] + [last for one in bullet.inside() for _, last in one.spans]
    return max(ends)


def _tell(entry: Entry) -> None:
    """Note what the line says of itself: a clock before it, a severity before it."""
    if _CLOCK_FIRST.match(words.plain(entry.text)):
        timing = phase_of([words.plain(entry.text)])
        entry.phase = timing.phase if timing else None
    severity, rest = severity_of(entry.text)
    if severity and not entry.severity:
        entry.severity, entry.title = severity, words.title(rest)


def _heading_steps(sections: list[Section], entries: list[Entry], account: Account, *, boxed: bool) -> None:
    """Headings that are themselves the steps: what stands under them tells how."""
    busy = {id(one) for entry in entries for one in entry.section.line}
    for section in sections:
        if section.first == section.last or id(section) in busy or section.aside or section.examples:
            continue
        numbered = section.number[:1].isdigit() and not section.below and _IMPERATIVE.match(section.title)
        if not (section.is_step or numbered):
            continue
        if any(one.is_step for one in _under(section)):
            continue
        box, rest = words.box(section.text)
        made = Entry(Part.GATE, section.first, rest, words.number(words.plain(rest))[1], section, box)
        last = section.last
        for block in (block for one in (section, *_under(section)) for block in one.blocks):
            made.details += [line for inner in block.inside() for line in inner.text.strip().split("\n") if line]
            account.turn(block.first, block.last, Part.FIELD)
            last = max(last, block.last)
        account.turn(section.first, section.first + 1, Part.GATE)
        entries.append(made)


def _under(section: Section) -> Iterator[Section]:
    for below in section.below:
        yield below
        yield from _under(below)
