"""Facts of a release, and instants, as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pytest_releasegate.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SKEW", "parse_facts", "parse_instant", "parse_window"]

SKEW = timedelta(minutes=5)
"""How far the clock of who tells an instant may be ahead."""


def parse_facts(words: Iterable[str]) -> dict[str, bool]:
    """Facts as `name=true` or `name=false`; raises `UsageProblem` for anything else."""
    facts = {}
    for word in words:
        name, _, value = word.partition("=")
        if not name.isidentifier() or value not in {"true", "false"}:
            raise UsageProblem(f"fact '{word}': expected NAME=true or NAME=false", "such as maintenance=false")
        facts[name] = value == "true"
    return facts


def parse_instant(text: str, zone: str = "") -> datetime:
    """An instant such as 2026-03-01T02:00:00+01:00, or without offset in the zone; raises `UsageProblem` otherwise.

    What a clock of the zone shows twice, or never, needs its offset.
    """
    try:
        instant = datetime.fromisoformat(text)
        instant = instant if instant.tzinfo or not zone else _in_zone(instant, zone)
        in_utc = instant.astimezone(UTC) if instant.tzinfo else None
    except (ValueError, OverflowError):
        raise UsageProblem(f"instant '{text}': expected ISO 8601", "such as 2026-03-01T02:00:00Z") from None
    if in_utc is None:
        naive = instant.isoformat()
        raise UsageProblem(f"instant '{text}' has no offset from UTC", f"write {naive}Z or {naive}+01:00")
    return in_utc


def parse_window(text: str, zone: str = "") -> tuple[datetime, datetime]:
    """Two instants as `START/END`; raises `UsageProblem` for anything else."""
    start, mark, end = text.partition("/")
    if not mark:
        raise UsageProblem(f"window '{text}': expected START/END", "such as 2026-03-01T22:00:00Z/2026-03-02T02:00:00Z")
    window = parse_instant(start, zone), parse_instant(end, zone)
    if window[0] >= window[1]:
        raise UsageProblem(f"window '{text}' ends before it starts")
    return window


def _in_zone(instant: datetime, zone: str) -> datetime:
    try:
        local = instant.replace(tzinfo=ZoneInfo(zone))
    except (KeyError, OSError, ValueError):  # what is no key, what is a folder, what leads out of it
        raise UsageProblem(f"releasegate_zone '{zone}' is not known here", "such as Europe/Berlin or UTC") from None
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        what = f"instant '{instant.isoformat()}': the clocks of {zone} show it twice, or never, that day"
        raise UsageProblem(what, f"write its offset, such as {instant.isoformat()}+01:00")
    return local
