"""The team's document filled in by the record: boxes ticked or not, a note behind each line; all else byte for byte."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.markdown.entries import Entry, Part
from pytest_releasegate.checklist.markdown.lines import CLOSE, OPEN
from pytest_releasegate.checklist.markdown.words import TICKED, UNTICKED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from pytest_releasegate.checklist.markdown.reading import Reading

__all__ = ["Completed", "Mark", "complete"]

_LEAD = r"(?:[\s>]|[-*+](?=\s)|\d{1,9}[.)](?=\s)|#{1,6}(?=\s))*"
_BOX = rf"(?P<box>\[[ xX~/-]?\]|[{UNTICKED}{TICKED}])"
_LINE_BOX = re.compile(rf"^{_LEAD}{_BOX}")
_CELL_BOX = re.compile(rf"\s*{_BOX}")
_TAIL = re.compile(r"\\?[ \t]*(?:\r\n|\r|\n)?$")
_HEADING = re.compile(r" {0,3}#{1,6}(?:\s|$)")
_HEADING_TAIL = re.compile(r"(?:[ \t]+#+)?[ \t]*(?:\r\n|\r|\n)?$")
_PIPE = re.compile(r"(?<!\\)\|")
_TICK = {
    "⬜": "✅",
    "🔲": "✅",
    "◻": "✅",
    "◽": "✅",
    "❌": "✅",
    "⏳": "✅",
    "🗆": "🗹",
    "✗": "✓",
    "✘": "✔",
    "⚪": "🟢",
}
_UNTICK = {"✅": "⬜", "🟩": "⬜", "🗹": "🗆", "🟢": "⚪"}


@dataclass(frozen=True, slots=True)
class Mark:
    """What the record says of one gate."""

    status: str
    holds: bool
    """Whether a box may be ticked for it."""
    at: datetime | None = None
    who: str = ""
    evidence: str = ""
    """Where the evidence is: a URL, or its name and digest."""
    signature: str = ""
    """The fingerprint of the key that signed."""
    title: str = ""
    """The gate's words, which must be those of the line; any will do without."""


@dataclass(slots=True)
class Completed:
    """The document, and what the record could not say of it; lines count from 1."""

    text: str = ""
    ticked: int = 0
    unticked: list[int] = field(default_factory=list)
    """Lines that were ticked, and the record does not back it."""
    unknown: list[tuple[int, str]] = field(default_factory=list)
    """Lines that no gate of the plan has the id and the words of, with that id."""


def complete(reading: Reading, marks: Mapping[str, Mark], *, plain: bool = False) -> Completed:
    """Fill the document in; with `plain` only boxes are ticked and unticked, nothing is written behind lines."""
    lines = list(reading.source.lines)
    done = Completed()
    for entry in reading.each():
        if entry.part is Part.FIELD:
            continue
        known = [_mark(gate, marks) for gate in _asked(entry)]
        mark = _mark(entry, marks) if entry.part is not Part.ITEM else None
        if None in known and entry.part is not Part.ITEM:
            done.unknown.append((entry.line + 1, entry.id))
        if entry.box is not None:
            _tick(lines, entry, holds=bool(known) and all(one and one.holds for one in known), done=done)
        if not plain:
            _note(lines, entry, mark, known)
    done.text = ("\ufeff" if reading.source.bom else "") + "".join(lines)
    return done


def _mark(entry: Entry, marks: Mapping[str, Mark]) -> Mark | None:
    """What the record says of the line; nothing where the gate of its id has other words, as after lines have moved."""
    mark = marks.get(entry.id)
    return mark if mark and (not mark.title or _bare(mark.title) == _bare(entry.title)) else None


def _bare(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _asked(entry: Entry) -> list[Entry]:
    return [entry] if entry.part is Part.ROLE else entry.gates()


def _tick(lines: list[str], entry: Entry, *, holds: bool, done: Completed) -> None:
    line = lines[entry.line]
    start, end = _cell(line, entry.column) if entry.in_table else (0, len(line))
    found = (_CELL_BOX if entry.in_table else _LINE_BOX).match(line[start:end])
    if holds:
        done.ticked += 1
    elif entry.box:
        done.unticked.append(entry.line + 1)
    if found and holds is not bool(entry.box):
        at = start + found.start("box")
        lines[entry.line] = line[:at] + _turned(found["box"], holds=holds) + line[at + len(found["box"]) :]


def _turned(box: str, *, holds: bool) -> str:
    """The box as it is to be: `[x]` or `[ ]`, or the sign's own counterpart."""
    if box.startswith("["):
        return "[x]" if holds else "[ ]"
    return _TICK.get(box, "☑") if holds else _UNTICK.get(box, "☐")


def _note(lines: list[str], entry: Entry, mark: Mark | None, known: list[Mark | None]) -> None:
    if entry.columns and mark:
        _sign(lines, entry, mark)
        return
    if entry.part is Part.ITEM:
        text = f"\u2014 {sum(bool(one and one.holds) for one in known)} of {len(known)} hold"
    elif mark:
        text = "\u2014 " + ", ".join(_said(mark))
    else:
        return
    where = max(entry.line, entry.end)
    if entry.in_table:
        start, end = _cell(lines[where], entry.column)
        at = start + len(lines[where][start:end].rstrip())
    else:
        tail = _HEADING_TAIL if _HEADING.match(lines[where]) else _TAIL
        found = tail.search(lines[where])
        at = found.start() if found else len(lines[where])
    _insert(lines, where, at, text)


def _said(mark: Mark) -> Iterator[str]:
    at = f" {mark.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if mark.at else ""
    yield f"**{mark.status.replace('_', ' ')}**{at}"
    if mark.who:
        yield mark.who
    if mark.signature:
        yield f"signed {mark.signature}"
    if "://" in mark.evidence:
        yield f"[evidence](<{mark.evidence}>)"
    elif mark.evidence:
        yield f"evidence {mark.evidence}"


def _sign(lines: list[str], entry: Entry, mark: Mark) -> None:
    """Fill the empty cells of a row to sign: the last column first, so that the others stay where they are."""
    if not mark.holds:
        return
    at = mark.at.astimezone(UTC) if mark.at else None
    texts = {"name": mark.who, "signature": mark.signature}
    texts |= {"date": f"{at:%Y-%m-%d}", "time": f"{at:%H:%M} UTC"} if at else {}
    for name, column in sorted(entry.columns.items(), key=lambda pair: -pair[1]):
        start, end = _cell(lines[entry.line], column)
        if texts.get(name) and start < end and not lines[entry.line][start:end].strip():
            _insert(lines, entry.line, start, texts[name].replace("|", "\\|"))


def _insert(lines: list[str], line: int, at: int, text: str) -> None:
    shown = re.sub(r"[\r\n]+", " ", text).replace("-->", "--\u200b>").replace("<!--", "<\u200b!--")
    lines[line] = f"{lines[line][:at]} {OPEN}{shown}{CLOSE}{lines[line][at:]}"


def _cell(line: str, column: int) -> tuple[int, int]:
    """Where a cell begins and ends in the line of its row; the last one for a column that the row has not."""
    body = len(line.rstrip())
    pipes = [match.start() for match in _PIPE.finditer(line, 0, body)]
    first = pipes[0] if pipes and not line[: pipes[0]].strip(" \t>") else -1
    edges = [first, *(pipe for pipe in pipes if pipe != first)]
    edges += [] if pipes and pipes[-1] == body - 1 and len(edges) > 1 else [body]
    at = column if 0 <= column < len(edges) - 1 else len(edges) - 2
    return edges[at] + 1, edges[at + 1]
