"""Sizes in bytes: read from the plan as `10MB` or `1GiB`, and shown to people."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

__all__ = ["Bytes", "shown_bytes"]

_UNITS: dict[str, int] = {"": 1, "B": 1, **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)}}
_UNITS |= {f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def _parse(value: Any) -> int:
    match = None if isinstance(value, bool) else _SIZE.fullmatch(str(value).strip())
    if not match or match[2] not in _UNITS:
        raise ValueError(f"expected a size such as 500kB, 10MB or 1GiB, got '{value}'")
    return round(float(match[1]) * _UNITS[match[2]])


def _written(number: int) -> str:
    """The text that is read back as the same number, in the largest unit that divides it."""
    fitting = [(size, unit) for unit, size in _UNITS.items() if unit and number and number % size == 0]
    size, unit = max(fitting, default=(1, ""))
    return f"{number // size}{unit}"


Bytes = Annotated[
    int,
    BeforeValidator(_parse),
    PlainSerializer(_written, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*[A-Za-z]*$"}),
]
"""A number of bytes, written as `500kB`, `10MB`, `1GiB` or a plain number."""


def shown_bytes(number: int) -> str:
    """A size as people read it, such as `41.2 MB`."""
    for unit in ("TB", "GB", "MB", "kB"):
        if abs(number) >= _UNITS[unit]:
            return f"{number / _UNITS[unit]:.1f} {unit}"
    return f"{number} bytes"
