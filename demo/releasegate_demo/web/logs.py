"""Structured logs: one JSON object a line, personal data masked before it is written."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from releasegate_demo.place import Place

PATTERNS = (
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "[email]"),
    (re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"), "[ssn]"),
    (re.compile(r"(?<![\w-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])"), "[phone]"),
)
MASKED = frozenset(
    {"name", "first_name", "last_name", "full_name", "preferred_name", "email", "phone", "date_of_birth"}
)
NAMES = frozenset({"name", "first_name", "last_name", "full_name", "preferred_name"})


def redact(fields: dict[str, Any]) -> dict[str, Any]:
    """Mask fields that hold a person's data, and e-mail, phone, SSN and those names in all other text."""
    names = [str(fields[key]) for key in NAMES & fields.keys() if fields[key]]
    words = sorted({part for name in names for part in (name, *name.split()) if len(part) > 2}, key=len, reverse=True)
    return {key: f"[{key}]" if key in MASKED and value else _text(value, words) for key, value in fields.items()}


def _text(value: object, words: list[str]) -> object:
    if not isinstance(value, str):
        return value
    for pattern, mask in PATTERNS:
        value = pattern.sub(mask, value)
    for word in words:
        value = re.sub(rf"\b{re.escape(word)}\b", "[name]", value, flags=re.IGNORECASE)
    return value


class JsonLog:
    """The application's log file."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()

    def write(self, event: str, level: str = "info", **fields: Any) -> None:
        """Append one event; the fields are masked unless the break `log` is active."""
        shown = fields if self._place.broken("log") else redact(fields)
        line = {
            "ts": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "event": event,
            "service": "ehr-web",
            **shown,
        }
        text = json.dumps(line, default=str) + "\n"
        with self._lock, self._place.log.open("a") as file:
            file.write(text)
