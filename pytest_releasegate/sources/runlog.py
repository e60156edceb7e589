"""The log of one run of a script, JSON lines or text: where it began, whether it ended, and what went wrong."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["END", "START", "Line", "Run", "last_run", "read_log"]

START = r"\b(start(ed|ing)?|begin(s|ning)?|began|applying|migrating|reverting|running (up|down)grade)\b"
END = r"\b(finish(ed)?|complet(ed?|ion)|done|succe(ss|eded)(fully)?|applied|reverted|ended)\b"
_BAD = re.compile(r"\b(ERROR|FATAL|CRITICAL|PANIC)\b|^Traceback|\b(migration|backfill) failed\b")
_LEVELS = {"error", "critical", "fatal", "panic"}
_AT = ("ts", "time", "timestamp", "at", "asctime", "@timestamp")
_SAID = ("event", "message", "msg")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_VALUES = re.compile(r"\([^()]*\)=\([^()]*\)|'[^']*'|\"[^\"]*\"")
_MOST_BYTES = 64 * 1024 * 1024
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log."""

    text: str
    """What it says, without values that it quotes."""
    at: datetime | None
    bad: bool
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """The lines of one run."""

    lines: tuple[Line, ...]
    start: Line | None
    end: Line | None

    @property
    def errors(self) -> list[Line]:
        """The lines that tell of an error."""
        return [line for line in self.lines if line.bad]

    @property
    def seconds(self) -> float | None:
        """How long it took; None where start or end have no time."""
        if self.start is None or self.end is None or self.start.at is None or self.end.at is None:
            return None
        return (self.end.at - self.start.at).total_seconds()

    def number(self, names: Sequence[str]) -> int | None:
        """The last whole number of that field in the lines, or written `rows=500` or `500 rows`; None without one."""
        found = [value for line in self.lines for value in [_number(line, names)] if value is not None]
        return found[-1] if found else None


def read_log(path: Path) -> list[Line]:
    """All lines of a log; raises `CannotLook` where it cannot be read."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CannotLook(f"the log {path} is larger than 64 MiB", "keep a log for each run")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as wrong:
        raise CannotLook(f"the log cannot be read: {wrong.strerror}: {path}", "correct `log` of the gate") from None
    return [_line(line) for line in text.splitlines() if line.strip()]


def last_run(lines: Sequence[Line], about: Callable[[Line], bool], start: str = START, end: str = END) -> Run:
    """The lines of the last run that is about it: from its start on."""
    own = [line for line in lines if about(line)]
    began, ended = re.compile(start, re.IGNORECASE), re.compile(end, re.IGNORECASE)
    starts = [place for place, line in enumerate(own) if began.search(line.text)]
    run = own[starts[-1] :] if starts else own
    last = next((line for line in reversed(run) if ended.search(line.text) and not line.bad), None)
    return Run(tuple(run), run[0] if starts else None, last)


def _line(text: str) -> Line:
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        return Line(_clean(text), _instant(text), bool(_BAD.search(text)), {})
    said = " ".join(str(fields[name]) for name in _SAID if fields.get(name))
    if fields.get("error"):
        said += f": {fields['error']}"
    at = next((str(fields[name]) for name in _AT if fields.get(name)), "")
    bad = str(fields.get("level", fields.get("levelname", ""))).lower() in _LEVELS
    return Line(_clean(said), _instant(at), bad, fields)


def _clean(text: str) -> str:
    return _VALUES.sub("'...'", text.strip())[:_SHOWN]


def _instant(text: str) -> datetime | None:
    match = _INSTANT.search(text)
    if not match:
        return None
    try:
        found = datetime.fromisoformat(match[0].replace(",", "."))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _number(line: Line, names: Sequence[str]) -> int | None:
    for name in names:
        value = line.fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        match = re.search(rf"\b{name}\s*[=:]\s*(\d+)|(\d+)\s+{name}\b", line.text)
        if match and not line.fields:
            return int(match[1] or match[2])
    return None
