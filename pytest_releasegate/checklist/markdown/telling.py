"""What an import says: the account of all lines, and what was decided that somebody should look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.checklist.conditions import parse
from pytest_releasegate.checklist.markdown.conditions import condition, heading_condition
from pytest_releasegate.checklist.markdown.entries import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_releasegate.checklist.markdown.reading import Reading

__all__ = ["account_line", "ignored_lines", "summary"]

_LONGEST = 80
_NAMES = {
    Part.ITEM: "items",
    Part.GATE: "gates",
    Part.FIELD: "fields (details of an item)",
    Part.TRIGGER: "triggers",
    Part.ROLE: "roles",
    Part.HEADING: "headings",
    Part.PROSE: "prose",
    Part.BLANK: "blank",
    Part.IGNORED: "ignored",
}


def account_line(reading: Reading) -> str:
    """How many lines were taken for what; the numbers add up to the first."""
    counts = reading.account.counts
    return f"{reading.account.lines} lines: " + ", ".join(f"{counts[part]} {name}" for part, name in _NAMES.items())


def ignored_lines(reading: Reading) -> Iterator[str]:
    """Each ignored line with its place, the reason, and how it begins."""
    for number, reason in reading.account.ignored():
        line = reading.source.lines[number - 1].strip()
        shown = line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
        yield f"{reading.source.name}:{number}: ignored, {reason}: {shown}"


def summary(reading: Reading, files: Mapping[str, str], folder: str, gates: Mapping[str, int]) -> Iterator[str]:
    """What was written, what was a guess, and what somebody has to say."""
    suggested = sum(text.count("# suggestion: ") for text in files.values())
    phases = ", ".join(f"{count} {phase}" for phase, count in gates.items())
    yield f"{folder}: {sum(gates.values())} gates in {len(files)} files: {phases}; {suggested} with a suggested check"
    ticked = sum(entry.box is True for entry in reading.each())
    if ticked:
        yield f"{ticked} were ticked: a tick is a claim; imported as pending"
    yield from _guesses(reading)
    facts = sorted(_facts(reading))
    if facts:
        yield f"facts that conditions ask for, pending until declared: {', '.join(facts)}"


def _guesses(reading: Reading) -> Iterator[str]:
    """The sections whose phase no heading says."""
    counted: dict[int, int] = {}
    for entry in reading.of(Part.GATE):
        if entry.section.guessed and entry.phase is None:
            counted[id(entry.section)] = counted.get(id(entry.section), 0) + 1
    for section in reading.sections:
        if id(section) in counted:
            place = f"{reading.source.name}:{section.first + 1}"
            under = f"under '{section.title}'" if section.title else "before any heading"
            yield f"{place}: a guess: no heading says the phase of {counted[id(section)]} gates {under}: predeploy"


def _facts(reading: Reading) -> set[str]:
    said = {condition(entry.title) for entry in reading.each()}
    said |= {heading_condition(entry.section) for entry in reading.entries}
    return {name for text in said if text for name in parse(text).names}
