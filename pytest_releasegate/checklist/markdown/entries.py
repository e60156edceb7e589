"""What a document holds, line by line: items, gates and the rest, and an account of every line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.checklist.markdown.lines import Source
    from pytest_releasegate.checklist.markdown.outline import Section
    from pytest_releasegate.phases import Phase

__all__ = ["Account", "Entry", "Part"]


class Part(StrEnum):
    """What a line of the document is taken for; each line is one of these."""

    ITEM = "item"
    """A box, or a line of a list, that other lines hang on."""
    GATE = "gate"
    """A line that can be looked at by itself."""
    FIELD = "field"
    """A detail of an item or gate: a command, what is expected, a note."""
    TRIGGER = "trigger"
    """A reason to roll back."""
    ROLE = "role"
    """Somebody who must sign."""
    HEADING = "heading"
    PROSE = "prose"
    BLANK = "blank"
    IGNORED = "ignored"
    """No part of the checklist, with the reason."""


@dataclass(slots=True)
class Entry:
    """An item, a gate, a trigger, a role, or a line that only heads others (a field with entries)."""

    part: Part
    line: int
    """Counted from 0."""
    text: str
    """The line without its box, as it stands there."""
    title: str
    section: Section
    box: bool | None = None
    """Whether it is ticked; None without a box."""
    number: str = ""
    """The number that it has in the document."""
    entries: list[Entry] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    phase: Phase | None = None
    """Where the line itself names another phase than its headings."""
    severity: str = ""
    owner: str = ""
    alternatives: str = ""
    id: str = ""
    end: int = 0
    """The last line of its own words, counted from 0; `line` where this is smaller."""
    column: int = -1
    """Of a row of a table: the column of its box or status sign, counted from 0."""
    columns: dict[str, int] = field(default_factory=dict)
    """Of a row of a table to sign: the columns of `name`, `signature`, `date` and `time`."""
    in_table: bool = False

    def inside(self) -> Iterator[Entry]:
        """The entry and all under it, in the order of the document."""
        yield self
        for entry in self.entries:
            yield from entry.inside()

    def gates(self) -> list[Entry]:
        """The gates and triggers of the entry: itself, or those under it."""
        return [entry for entry in self.inside() if entry.part in (Part.GATE, Part.TRIGGER)]


class Account:
    """What each line was taken for, and why where it was ignored; what is claimed first stays."""

    def __init__(self, source: Source) -> None:
        self._parts: list[Part | None] = [
            Part.BLANK if source.blank(line) else None for line in range(len(source.lines))
        ]
        self._reasons: dict[int, str] = {}

    def claim(self, first: int, last: int, part: Part, reason: str = "") -> None:
        """Take the lines from `first` up to `last` for something, unless they have been taken."""
        for line in range(first, min(last, len(self._parts))):
            if self._parts[line] is None:
                self._parts[line] = part
                if reason:
                    self._reasons[line] = reason

    def turn(self, first: int, last: int, part: Part) -> None:
        """Take prose and ignored lines among these for something after all."""
        for line in range(first, min(last, len(self._parts))):
            if self._parts[line] in (Part.PROSE, Part.IGNORED, Part.HEADING):
                self._parts[line] = part
                self._reasons.pop(line, None)

    def turn_item(self, line: int) -> None:
        """A gate on which others turned out to hang is an item."""
        if self._parts[line] is Part.GATE:
            self._parts[line] = Part.ITEM

    def close(self) -> None:
        """What nobody has claimed is ignored, and said so."""
        self.claim(0, len(self._parts), Part.IGNORED, "no list, heading, table or paragraph")

    def part(self, line: int) -> Part | None:
        """What the line was taken for."""
        return self._parts[line]

    @property
    def counts(self) -> Counter[Part]:
        """How many lines there are of each; they add up to the lines of the document."""
        return Counter(part for part in self._parts if part)

    @property
    def lines(self) -> int:
        """The lines of the document."""
        return len(self._parts)

    def ignored(self) -> Iterator[tuple[int, str]]:
        """The ignored lines, counted from 1, with the reason."""
        for line, part in enumerate(self._parts):
            if part is Part.IGNORED:
                yield line + 1, self._reasons.get(line, "")
