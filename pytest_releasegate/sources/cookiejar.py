"""Cookies as a browser keeps them and sends them back: with their values, which no text shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_releasegate.sources import setcookie
from pytest_releasegate.sources.sockets import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Kept", "header", "keep"]


@dataclass(frozen=True, slots=True)
class Kept(setcookie.Cookie):
    """A cookie that is sent back, and the path under which it is."""

    value: str = field(default="", repr=False)
    path: str = "/"

    def goes_to(self, url: str) -> bool:
        """Whether a browser would send it there; the host is the one that set it."""
        parts = urlsplit(url)
        path, own = parts.path or "/", self.path.rstrip("/")
        closed = parts.scheme == "https" or is_loopback(parts.hostname or "")
        return (closed or not self.has("secure")) and (path == own or path.startswith(f"{own}/"))


def keep(line: str, url: str) -> Kept | None:
    """The cookie of one `Set-Cookie` line in the answer of a URL; None for what browsers ignore."""
    cookie = setcookie.read(line)
    if cookie is None:
        return None
    given = cookie.attributes.get("path", "")
    path = given if given.startswith("/") else urlsplit(url).path.rpartition("/")[0] or "/"
    value = line.partition(";")[0].partition("=")[2].strip()
    return Kept(cookie.name, cookie.attributes, value, path)


def header(cookies: Mapping[str, Kept], url: str) -> dict[str, str]:
    """The header that carries the cookies to a URL; nothing where none goes there."""
    pairs = [f"{cookie.name}={cookie.value}" for cookie in cookies.values() if cookie.goes_to(url)]
    return {"Cookie": "; ".join(pairs)} if pairs else {}
