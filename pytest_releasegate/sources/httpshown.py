"""What of an answer may be shown: neither tokens in its headers, nor those in addresses that it leads to."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_releasegate.sources.httpfaults import bare_url, public_url
from pytest_releasegate.sources.text import visible

if TYPE_CHECKING:
    from pytest_releasegate.sources.http import Answer

__all__ = ["NOT_SHOWN", "evidence", "heading", "headings", "led_to"]

NOT_SHOWN = "(not shown)"
_SECRET = re.compile(
    r"token|secret|passw|cookie|api-?key|session-?id|credential(?!s$)|^(proxy-)?authorization$|^(www-)?authenticat",
    re.IGNORECASE,
)
_ADDRESSES = ("location", "content-location", "refresh")


def heading(name: str, value: str) -> str:
    """The value of a header as it may be shown."""
    if _SECRET.search(name):
        return NOT_SHOWN
    return visible(_without_values(value) if name.lower() in _ADDRESSES else value)


def headings(answer: Answer) -> list[str]:
    """The headers of an answer, one in a line."""
    return [f"{visible(name)}: {heading(name, value)}" for name, value in answer.headers.items()]


def led_to(answer: Answer) -> str:
    """Where an answer leads to, without the query and the fragment, which carry codes and tokens."""
    return f" to {visible(bare_url(answer.headers['Location']))}" if "Location" in answer.headers else ""


def _without_values(address: str) -> str:
    """The address with the names of its parameters alone."""
    try:
        parts = urlsplit(public_url(address))
    except ValueError:
        return bare_url(address)
    query, fragment = ("&".join(map(_name, part.split("&"))) if part else "" for part in (parts.query, parts.fragment))
    return bare_url(address) + f"?{query}" * bool(query) + f"#{fragment}" * bool(fragment)


def _name(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}=(...)" if equals else "(...)"


def evidence(answer: Answer, *, whole: bool) -> bytes:
    """The answer's head, where it came from, and its body, or only its size and digest."""
    kind = answer.headers.get("Content-Type", "")
    way = f"through the proxy {answer.proxy} at {answer.peer}" if answer.proxy else f"from {answer.peer}"
    lines = [visible(answer.url), visible(f"{answer.status} {answer.reason}"), *headings(answer), visible(f"[{way}]")]
    digest = hashlib.sha256(answer.body).hexdigest()
    sized = f"[{len(answer.body)} bytes of {visible(kind) or 'unknown type'}, sha256 {digest}]"
    body = answer.text if whole and b"\0" not in answer.body else sized
    return "\n".join([*lines, "", body]).encode()
