"""A Markdown document as its lines, each with its own ending, and what an earlier `complete` added to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.errors import BrokenPlan, Problem, UsageProblem
from pytest_releasegate.model import Place

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CLOSE", "OPEN", "Source", "read_source", "source_of", "stripped"]

MOST_BYTES = 2_000_000
MOST_LINES = 10_000
OPEN, CLOSE = "<!-- releasegate -->", "<!-- /releasegate -->"
"""Between these stands what `complete` has written; one blank before them belongs to it."""

_BOM = "\ufeff"
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
"""A line and its ending as CommonMark 0.31 defines them, section 2.1."""
_ADDED = re.compile(f" {re.escape(OPEN)}[^\\r\\n]*?{re.escape(CLOSE)}")
_FRONT = {"---": ("---", "..."), "+++": ("+++",)}


@dataclass(frozen=True, slots=True)
class Source:
    """A document without earlier annotations: its lines with their endings; the byte order mark stands apart."""

    name: str
    lines: tuple[str, ...]
    bom: bool = False

    @property
    def front(self) -> int:
        """How many lines the YAML or TOML front matter takes, its fences among them."""
        closing = _FRONT.get(self.lines[0].rstrip()) if self.lines else None
        ends = (number for number, line in enumerate(self.lines[1:], 2) if closing and line.rstrip() in closing)
        return next(ends, 0)

    @property
    def text(self) -> str:
        """What a Markdown parser is to see: front matter blanked, line numbers kept."""
        bodies = [line.rstrip("\r\n") for line in self.lines]
        return "\n".join([""] * self.front + bodies[self.front :])

    def blank(self, number: int) -> bool:
        """Whether the line, counted from 0, holds nothing."""
        return not self.lines[number].strip()

    def problem(self, number: int, what: str, hint: str = "") -> BrokenPlan:
        """A mistake in the line, counted from 0."""
        return BrokenPlan([Problem(Place(self.name, number + 1), what, hint)])


def stripped(text: str) -> str:
    """The text without what an earlier `complete` has added."""
    return _ADDED.sub("", text)


def read_source(path: Path, name: str) -> Source:
    """Read the file, known to users under `name`; raises `UsageProblem` when it is no document."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MOST_BYTES else b""
    except (OSError, ValueError) as wrong:
        reason = getattr(wrong, "strerror", None) or str(wrong)
        raise UsageProblem(f"{name}: cannot be read: {reason}", "a Markdown file is expected") from None
    if size > MOST_BYTES:
        what = f"{size:,} bytes; a checklist has at most {MOST_BYTES:,}"
        raise BrokenPlan([Problem(Place(name), what, "split it, or take the log out of it")])
    try:
        return source_of(data.decode("utf-8"), name)
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        what = f"not UTF-8 text: byte {wrong.start} is {data[wrong.start]:#x}"
        raise BrokenPlan([Problem(Place(name, line), what, "save it as UTF-8")]) from None


def source_of(text: str, name: str) -> Source:
    """The lines of a text; raises `BrokenPlan` when there are none, or far too many."""
    bom = text.startswith(_BOM)
    lines = tuple(_LINE.findall(stripped(text.removeprefix(_BOM))))
    if not any(line.strip() for line in lines):
        raise BrokenPlan([Problem(Place(name), "the file is empty", "a checklist with boxes, lists or tables")])
    if len(lines) > MOST_LINES:
        what = f"{len(lines):,} lines; a checklist has at most {MOST_LINES:,}"
        raise BrokenPlan([Problem(Place(name, MOST_LINES + 1), what, "split it, or take the log out of it")])
    return Source(name, lines, bom)
