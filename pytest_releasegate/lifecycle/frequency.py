"""How long a word of an attestation file of MITRE's Security Automation Framework (SAF) holds.

A `frequency` is a word, or a number with `d`, `w`, `m` (months) or `y`. Months and years are calendar ones, counted in
UTC: a month after 31 January is 28 February. A part of a month is that share of the calendar month that comes next, and
never rounded up to a whole one.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["end_of", "known_frequency"]

_WORDS = {
    "annually": "1y",
    "semiannually": "6m",
    "quarterly": "3m",
    "monthly": "1m",
    "every2weeks": "2w",
    "fortnightly": "2w",
    "weekly": "1w",
    "every3days": "3d",
    "daily": "1d",
}
_NUMBER = re.compile(r"(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})([dwmy])")
_DAYS = {"d": 1, "w": 7}
_MONTHS = {"m": 1, "y": 12}
_LONGEST = 100
"""Years."""


def known_frequency(text: str) -> str:
    """The frequency as it is; raises `ValueError` for what is none."""
    found = _NUMBER.fullmatch(_WORDS.get(text, text))
    if not found:
        raise ValueError(f"expected a number with d, w, m (months) or y, or {', '.join(_WORDS)}, got '{text}'")
    number, unit = Fraction(found[1]), found[2]
    years = number * _MONTHS[unit] / 12 if unit in _MONTHS else number * _DAYS[unit] / 365
    if not 0 < years <= _LONGEST:
        raise ValueError(f"expected more than nothing and at most {_LONGEST} years, got '{text}'")
    return text


def end_of(start: datetime, frequency: str) -> datetime:
    """The instant at which what was said at `start` (in UTC) no longer holds; the frequency is a known one.

    Raises `OverflowError` or `ValueError` after the year 9999.
    """
    found = _NUMBER.fullmatch(_WORDS.get(frequency, frequency))
    assert found  # noqa: S101  known_frequency() has looked
    number, unit = Fraction(found[1]), found[2]
    if unit in _DAYS:
        return start + timedelta(days=1) * float(number * _DAYS[unit])
    months = number * _MONTHS[unit]
    whole = int(months)
    end = _later(start, whole)
    return end + (_later(start, whole + 1) - end) * float(months - whole) if months != whole else end


def _later(start: datetime, months: int) -> datetime:
    years, month = divmod(start.month - 1 + months, 12)
    year = start.year + years
    return start.replace(year=year, month=month + 1, day=min(start.day, monthrange(year, month + 1)[1]))
