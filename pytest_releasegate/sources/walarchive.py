"""How far back an archive of WAL leads: the oldest base backup from which no segment is missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_releasegate.sources.backups import Report

__all__ = ["Window", "of_folder", "of_report"]

_SEGMENT = re.compile(r"([0-9A-F]{24})(\.(?:gz|zst|lz4|xz|bz2|age|gpg|enc))*")
_HISTORY = re.compile(r"([0-9A-F]{24})\.[0-9A-F]{8}\.backup(?:\.\w+)*")
_STOP = re.compile(r"^STOP TIME: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Window:
    """Since when one can go back, by which backup; why not, or why not longer; the newest segment, where known."""

    since: datetime | None
    backup: str = ""
    why_not: str = ""
    newest: str = ""
    segments: frozenset[str] = frozenset()


def of_report(report: Report) -> Window:
    """The window by a tool's report; that it keeps what its backups need is the tool's word."""
    full = [each for each in report.backups if each.full and not each.problem and not each.running and each.at]
    if not full:
        return Window(None, why_not="the report has no complete full backup")
    kept = report.oldest_wal
    reach = [each for each in full if not each.first_wal or each.first_wal >= kept.get(each.cluster, "")]
    if not reach:
        floor = ", ".join(sorted(kept.values()))
        return Window(None, why_not=f"WAL is kept from {floor} on, and each full backup needs older")
    oldest = min(reach, key=lambda each: each.at or datetime.max.replace(tzinfo=UTC))
    why = f"{len(full) - len(reach)} older without their WAL" if len(reach) < len(full) else ""
    return Window(oldest.at, oldest.name, why)


def of_folder(folder: Path, size: int) -> Window:
    """The window by a folder of segments and of the history files that base backups leave there."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise CannotLook(f"the archive {folder} cannot be read: {error.strerror}", "is it mounted here?") from None
    segments = frozenset(
        found[1] for name in names if (found := _SEGMENT.fullmatch(name)) and _is_whole(folder / name, size)
    )
    if not segments:
        return Window(None, why_not=f"no whole segment in {folder}")
    newest = max(segments)
    histories = [(found[1], name) for name in names if (found := _HISTORY.fullmatch(name))]
    if not histories:
        return Window(
            None, why_not=f"no base backup has left its history file in {folder}", newest=newest, segments=segments
        )
    gap = ""
    for first, name in histories:
        missing = _missing(first, newest, segments, size)
        stopped = _stopped(folder / name)
        if not missing and stopped is not None:
            return Window(stopped, name, gap, newest, segments)
        gap = f"since {name} {f'{missing} is missing' if missing else 'does not tell when it ended'}"
    return Window(None, why_not=gap, newest=newest, segments=segments)


def _is_whole(path: Path, size: int) -> bool:
    """Whether a segment breaks off nowhere, as far as its length tells: one that is packed may have any."""
    try:
        length = path.stat().st_size
    except OSError:
        # it was removed while others were looked at
        return False
    return length == size if "." not in path.name else length > 0


def _missing(first: str, newest: str, segments: frozenset[str], size: int) -> str:
    """The first segment that is missing between two, on any timeline; empty where none is."""
    each = 0x100000000 // size
    held = {name[8:] for name in segments}
    number, last = (int(name[8:16], 16) * each + int(name[16:24], 16) for name in (first, newest))
    while number <= last:
        name = f"{number // each:08X}{number % each:08X}"
        if name not in held:
            return f"{first[:8]}{name}"
        number += 1
    return ""


def _stopped(history: Path) -> datetime | None:
    try:
        text = history.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    found = _STOP.search(text)
    if not found:
        return None
    # the zone is the server's log_timezone; only its abbreviation is written down
    at = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S")
    return at.replace(tzinfo=UTC) if found[2] in ("UTC", "GMT") else at.astimezone(UTC)
