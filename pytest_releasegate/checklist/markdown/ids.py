"""Ids that stay: the document's own numbers where it has some, else short names from its words."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.markdown import words
from pytest_releasegate.checklist.markdown.entries import Entry, Part
from pytest_releasegate.checklist.markdown.phases import trigger_prefix
from pytest_releasegate.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_releasegate.checklist.markdown.outline import Section

__all__ = ["name_all"]

_PREFIXES = {Phase.ROLLBACK: "RB", Phase.BACKFILL: "BF", Phase.COMPLIANCE: "C"}
_LONGEST = 70
_PARENTHESES = re.compile(r"\s*\([^()]*\)")


def name_all(entries: Sequence[Entry]) -> None:
    """Give every entry its id; no two gates, and no two items, have the same."""
    _Names().name(entries)


class _Names:
    def __init__(self) -> None:
        self.keys: dict[str, int] = {}
        self.taken: dict[bool, dict[str, int]] = {True: {}, False: {}}
        self.counted: dict[str, int] = {}

    def name(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            section = entry.section
            if not section.key:
                self.key(section)
            if entry.part is Part.ROLE:
                entry.id = self.free(f"SIGN.{self.next('SIGN')}", entry)
            elif entry.part is Part.TRIGGER:
                prefix = trigger_prefix(section.path)[0]
                entry.id = self.free(f"{prefix}.{self.next(prefix)}", entry)
            elif entry.line == section.first and section.last > section.first:
                entry.id = self.free(section.key, entry)
            else:
                self.within(entry, section.key, numbered=section.numbered)

    def within(self, entry: Entry, key: str, *, numbered: bool) -> None:
        """Name an entry after what it stands in; what stands in a numbered one is numbered too."""
        count = self.next(key)
        if entry.number and not entry.number.isdigit():
            wanted = entry.number
        elif entry.number or numbered:
            wanted = f"{key}.{entry.number or count}"
        else:
            wanted = f"{key}.{words.slug(entry.title)}"
            if wanted in self.taken[entry.part is Part.ITEM]:
                wanted = f"{key}.{words.slug(entry.title, 2 * words.SHORT)}"
        entry.id = self.free(wanted, entry)
        counts = numbered or bool(entry.number)
        for inner in entry.entries:
            self.within(inner, entry.id if counts else key, numbered=counts)

    def next(self, key: str) -> int:
        self.counted[key] = self.counted.get(key, 0) + 1
        return self.counted[key]

    def free(self, wanted: str, entry: Entry) -> str:
        """The id, with a suffix when another entry has it already."""
        taken = self.taken[entry.part is Part.ITEM]
        if len(wanted) > _LONGEST:
            wanted = f"{wanted[: _LONGEST - 9]}-{sha256(wanted.encode()).hexdigest()[:8]}"
        return self.unused(wanted, taken)

    def unused(self, wanted: str, taken: dict[str, int]) -> str:
        """The name with the lowest number that nothing else has behind it; none for the first."""
        name = wanted
        while name in taken:
            taken[wanted] += 1
            name = f"{wanted}-{taken[wanted]}"
        taken[name] = 1
        return name

    def key(self, section: Section) -> None:
        """How ids in the section begin: its number under those of the headings above it, or its words."""
        prefix = _PREFIXES.get(section.phase, "")
        numbers = [one.number for one in section.line if one.number]
        section.numbered = bool(section.number or prefix)
        if section.triggers:
            wanted = trigger_prefix(section.path)[0]
        elif section.number:
            wanted = prefix + _joined(numbers)
        elif prefix:
            wanted = f"{prefix}{self.next(prefix)}"
        else:
            wanted = words.slug(_PARENTHESES.sub("", section.title) or section.title, 14) if section.title else "top"
        above = section.parent.title if section.parent else ""
        if wanted in self.keys and above:
            wanted = f"{words.slug(above, 14)}.{wanted}"
        section.key = self.unused(wanted, self.keys)


def _joined(numbers: list[str]) -> str:
    """Numbers of headings in each other as one: 2 and 1 are 2.1; 2 and 2.1 are 2.1."""
    whole = ""
    for number in numbers:
        whole = number if not whole or re.match(rf"{re.escape(whole)}\.", number) else f"{whole}.{number}"
    return whole
