"""Set-Cookie headers, read as RFC 6265bis has browsers read them; values are never kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

__all__ = ["Cookie", "read"]


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie without its value: its name and its attributes by lower-case name, the last of each."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)

    def has(self, attribute: str) -> bool:
        """Whether the attribute is there, whatever its value."""
        return attribute in self.attributes

    @property
    def same_site(self) -> str:
        """`Strict`, `Lax` or `None` as written by browsers; empty where none of them is said."""
        text = self.attributes.get("samesite", "").capitalize()
        return text if text in ("Strict", "Lax", "None") else ""

    def lifetime(self, now: datetime) -> timedelta | None:
        """How long it is kept from now on; None until the browser ends."""
        age = self.attributes.get("max-age", "")
        if age.removeprefix("-").isdigit() and age.isascii():
            return timedelta(seconds=max(min(int(age[:_MOST_DIGITS]), _LONGEST), -1))
        try:
            until = parsedate_to_datetime(self.attributes["expires"].replace("-", " "))
        except (KeyError, ValueError):
            return None
        return until.replace(tzinfo=until.tzinfo or UTC) - now


_LONGEST = 100 * 366 * 86400
_MOST_DIGITS = 20


def read(header: str) -> Cookie | None:
    """The cookie of a header; None for what browsers ignore."""
    pair, *parts = header.split(";")
    name, equals, _ = pair.partition("=")
    if not equals or not name.strip():
        return None
    attributes = {}
    for part in parts:
        key, _, value = part.partition("=")
        attributes[key.strip().lower()] = value.strip()
    return Cookie(name.strip(), attributes)
