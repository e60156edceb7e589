"""Cookies as a server sets them: their value, which no text shows, and their attributes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Cookie", "header", "read"]


@dataclass(frozen=True, slots=True)
class Cookie:
    """One `Set-Cookie` line, and the path that it was set from; the names of attributes are in lower case."""

    name: str
    value: str = field(repr=False)
    attributes: Mapping[str, str]
    path: str = "/"

    def lifetime(self, now: datetime) -> float | None:
        """The seconds that it says it lives; None where it goes with the browser."""
        age = self.attributes.get("max-age", "")
        if age.removeprefix("-").isdecimal():
            return float(age)
        try:
            ends = parsedate_to_datetime(self.attributes.get("expires", ""))
        except ValueError:
            return None
        return ((ends if ends.tzinfo else ends.replace(tzinfo=UTC)) - now).total_seconds()

    def goes_to(self, url: str) -> bool:
        """Whether a browser would send it there; the host is the one that set it."""
        parts = urlsplit(url)
        path, own = parts.path or "/", self.path.rstrip("/")
        closed = parts.scheme == "https" or _is_loopback(parts.hostname or "")
        return (closed or "secure" not in self.attributes) and (path == own or path.startswith(f"{own}/"))


def read(line: str, url: str) -> Cookie:
    """The cookie of one `Set-Cookie` line in the answer of a URL."""
    first, *rest = line.split(";")
    name, _, value = first.partition("=")
    pairs = (part.partition("=") for part in rest)
    attributes = {key.strip().lower(): text.strip() for key, _, text in pairs}
    given = attributes.get("path", "")
    path = given if given.startswith("/") else urlsplit(url).path.rpartition("/")[0] or "/"
    return Cookie(name.strip(), value.strip(), attributes, path)


def header(cookies: Mapping[str, Cookie], url: str) -> dict[str, str]:
    """The header that carries the cookies to a URL; nothing where none goes there."""
    pairs = [f"{cookie.name}={cookie.value}" for cookie in cookies.values() if cookie.goes_to(url)]
    return {"Cookie": "; ".join(pairs)} if pairs else {}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
