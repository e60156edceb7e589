"""Reads a team's Markdown checklist: which lines are items, gates, triggers and roles, and what all others are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.markdown import words
from pytest_releasegate.checklist.markdown.blocks import parse
from pytest_releasegate.checklist.markdown.bullets import (
    Bullet,
    bullets,
    chooses,
    is_field,
    only_links,
    owner_of,
    severity_of,
    varies,
)
from pytest_releasegate.checklist.markdown.entries import Account, Entry, Part
from pytest_releasegate.checklist.markdown.ids import name_all
from pytest_releasegate.checklist.markdown.outline import LEAD, Section, outline
from pytest_releasegate.checklist.markdown.phases import phase_of, trigger_prefix
from pytest_releasegate.checklist.markdown.signers import role_of_line, role_to_sign, signer
from pytest_releasegate.checklist.markdown.steps import heading_steps, is_deed
from pytest_releasegate.checklist.markdown.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.checklist.markdown.blocks import Block
    from pytest_releasegate.checklist.markdown.lines import Source

__all__ = ["Reading", "read_checklist"]

_CLOCK_FIRST = re.compile(r"^\W*[TD]\s?[-+\u2212\u2013]\s?\d", re.IGNORECASE)
_PREPARED = re.compile(
    r"\b(?:defined|documented|clarified|prepared|agreed|reviewed|tested|ready|known|written)\W*$", re.IGNORECASE
)
_ACTION = re.compile(
    r"check-?list|\bsteps?\b|\btasks?\b|to-?do|verif|validat|\btest|smoke|prepar|back-?up|"
    r"security|database|migrat|monitor|communicat|notif"
    r"|infrastructure|config|readiness|quality|performance|complian|procedure|process|runbook|"
    r"sign-?off|\bactions?\b|requirements?|criteria"
    r"|deploy|releas|launch|roll-?out|go-?live|\bbefore\b|\bafter\b|\bduring\b|roll-?back|"
    r"\bpre-|\bpost-|build|publish|announce|clean-?up",
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
        """Raise `BrokenPlan` when nothing in the document can be looked at."""
        if not self.of(Part.GATE, Part.TRIGGER):
            line = next(line for line in range(len(self.source.lines)) if not self.source.blank(line))
            what = f"nothing to check in {len(self.source.lines)} lines: no box, no list of steps, no status table"
            raise self.source.problem(line, what, "write what to check as `- [ ] ...`; --verbose tells each line")

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
    boxed = any(words.box(block.text)[0] is not None for block in document.inside() if block.kind == "paragraph")
    reader = _Reader(account, boxed=boxed)
    for section in sections:
        reader.section(section)
    reader.entries += heading_steps(sections, reader.entries, account)
    account.close()
    entries = sorted(reader.entries, key=lambda entry: entry.line)
    name_all(entries)
    return Reading(source, tuple(sections), tuple(entries), account)


class _Reader:
    """Goes over the sections in order and gathers entries."""

    def __init__(self, account: Account, *, boxed: bool) -> None:
        self.account = account
        self.boxed = boxed
        self.entries: list[Entry] = []
        self.latest: Entry | None = None
        self.choice = ""
        self.boxes: set[int] = set()
        """The sections that have boxes of their own."""

    def section(self, section: Section) -> None:
        self.latest = None
        self.choice = words.marker(section.text) if chooses(section.text) else ""
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
        if section.examples:
            return f"under '{section.title}'"
        if bullet.is_struck:
            return "struck out"
        if bullet.box is not None or bullet.boxes_below:
            return "" if bullet.text.strip() or bullet.boxes_below else "an empty box"
        return self.refused_plain(bullet, around, section, numbered=numbered)

    def refused_plain(self, bullet: Bullet, around: list[Bullet], section: Section, *, numbered: bool) -> str:
        """Why a line without boxes in or under it is none to check; empty when it is one."""
        if only_links(around):
            return "a list of links"
        if not words.plain(bullet.text):
            return "an empty line of a list"
        if section.triggers:
            return ""
        role = role_of_line(bullet.text) if section.sign_off else ""
        if role:
            return f"{role} signs already" if self.signs(role) else ""
        aside = f"a plain list under '{section.title or 'no heading'}', which names no steps"
        if section.aside:
            return aside
        if any(one.box is not None for one in around) or self._boxes(section):
            return "a plain list beside boxes"
        if section.is_step or not self.boxed or _ACTION.search(section.title):
            return ""
        deeds = sum(is_deed(words.plain(one.text)) for one in around)
        return "" if numbered and (2 * deeds >= len(around) or section.timed) else aside

    def _boxes(self, section: Section) -> bool:
        return id(section) in self.boxes

    def top(self, bullet: Bullet, section: Section) -> Entry:
        if section.triggers and not (bullet.box is not None and _PREPARED.search(words.plain(bullet.text))):
            return self.trigger(bullet, section)
        role = (signer(bullet) or ("" if bullet.subs else role_of_line(bullet.text))) if section.sign_off else ""
        if role:
            for sub in bullet.subs:
                self.account.claim(sub.line, _end(sub), Part.FIELD)
            return self.entry(Part.ROLE, bullet, section, role)
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
        made.owner = made.owner or owner_of(made.details)
        if any(entry.part is not Part.FIELD for entry in made.entries):
            made.part = Part.ITEM
            self.account.turn_item(bullet.line)
        return made

    def hang(self, made: Entry, bullet: Bullet) -> None:
        """What stands under a bullet, flat unless it has boxes of its own that hold others."""
        optional = chooses(bullet.text) or varies([sub.text for sub in bullet.subs])
        name = words.marker(made.title) if optional else ""
        begin = len(made.entries)
        for sub in bullet.subs:
            self.sub(made, sub)
        for table in bullet.tables:
            made.entries += self.rows(table, made.section)
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
            for table in sub.tables:
                made.entries += self.rows(table, made.section)
            if group and chooses(sub.text):
                name = words.marker(holder.title)
                for entry in made.entries[begin:]:
                    entry.alternatives = name if entry.part is Part.GATE else ""

    def entry(self, part: Part, bullet: Bullet, section: Section, title: str = "") -> Entry:
        self.account.claim(bullet.line, bullet.last, part)
        for first, last in bullet.spans:
            self.account.claim(first, last, Part.FIELD)
        number, rest = words.number(words.title(bullet.text))
        number = number if "." in number else ""
        self.boxes |= {id(section)} if bullet.box is not None else set()
        made = Entry(
            part, bullet.line, bullet.text, title or (rest if number else words.title(bullet.text)), section, bullet.box
        )
        made.number, made.end = number or bullet.number, bullet.end
        made.details = list(bullet.details)
        if part in (Part.GATE, Part.ITEM):
            _tell(made)
        return made

    def table(self, block: Block, section: Section) -> None:
        self.entries += self.rows(block, section)
        self.latest = None

    def rows(self, block: Block, section: Section) -> list[Entry]:
        """What the rows of a table are taken for."""
        found, reason = rows_of(block, section)
        for row in found:
            self.account.claim(row.line, row.line + 1, row.part)
            if row.part is Part.GATE:
                _tell(row)
        self.account.claim(block.first, block.first + 2, Part.IGNORED, "the head of a table")
        self.account.claim(block.first, block.last, Part.IGNORED, reason)
        return found

    def paragraph(self, block: Block, section: Section) -> None:
        lines = block.text.split("\n")
        boxed = [words.box(line.strip()) for line in lines]
        if any(box is not None and rest.strip() for box, rest in boxed) and not section.examples:
            self.boxed_lines(block, section, boxed)
            return
        if self.signature(block, section):
            return
        if self.latest and all(is_field(line) for line in lines):
            self.latest.details += lines
            self.account.claim(block.first, block.last, Part.FIELD)
            return
        if self.latest and LEAD.match(block.text):
            self.account.claim(block.first, block.last, Part.FIELD)
            return
        self.choice = words.marker(block.text) if chooses(block.text) else ""
        self.latest = None
        self.account.claim(block.first, block.last, Part.PROSE)

    def signature(self, block: Block, section: Section) -> bool:
        """Whether it is a line to sign, such as `Sign-off: ____ (QA Lead)`; a role that signs elsewhere signs once."""
        role = role_to_sign(block.text)
        if not role:
            return False
        if self.signs(role):
            self.account.claim(block.first, block.last, Part.IGNORED, f"{role} signs already")
        else:
            self.entries.append(Entry(Part.ROLE, block.first, block.text, role, section))
            self.account.claim(block.first, block.first + 1, Part.ROLE)
        self.account.claim(block.first, block.last, Part.PROSE)
        return True

    def signs(self, role: str) -> bool:
        """Whether the role has a line to sign already."""
        return any(entry.part is Part.ROLE and entry.title == role for entry in self.entries)

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
    ends += [table.last for one in bullet.inside() for table in one.tables]
    return max(ends)


def _tell(entry: Entry) -> None:
    """Note what the line says of itself: a clock before it, a severity before it."""
    if _CLOCK_FIRST.match(words.plain(entry.text)):
        timing = phase_of([words.plain(entry.text)])
        entry.phase = timing.phase if timing else None
    entry.owner = entry.owner or owner_of(entry.details)
    severity, rest = severity_of(entry.text)
    if severity and not entry.severity:
        entry.severity, entry.title = severity, words.title(rest)
