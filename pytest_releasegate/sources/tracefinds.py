"""Which values in a trace of Playwright are secret, so that they can be struck out wherever else they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["found_in", "is_private", "is_session_like"]

_NAMED = re.compile(r"pass|pwd|secret|token|csrf|xsrf|otp\b|\bpin\b|api.?key|credential", re.IGNORECASE)
_COMPLETED = re.compile(r"-password$|one-time-code|^cc-", re.IGNORECASE)
_HEADERS = re.compile(r"auth|token|key|secret|session|csrf|xsrf", re.IGNORECASE)
_SHORTEST_COOKIE = 8


def found_in(events: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The secret values in the events, with what each is."""
    found: dict[str, str] = {}
    for event in events:
        snapshot = event.get("snapshot") or {}
        if event.get("type") == "resource-snapshot":
            found |= dict(_of_entry(snapshot))
        elif event.get("type") == "frame-snapshot":
            found |= dict.fromkeys(_of_page(snapshot.get("html")), "private:field")
        elif cookies := (event.get("params") or {}).get("cookies"):
            found |= dict(_of_cookies(cookies))
    return {value: name for value, name in found.items() if isinstance(value, str) and len(value.strip()) > 2}


def is_private(tag: str, attributes: Mapping[str, Any]) -> bool:
    """Whether what an element holds is not for others: a field for passwords or tokens, and what is hidden."""
    named = " ".join(str(attributes.get(key) or "") for key in ("name", "id"))
    if tag.upper() == "META":
        return bool(_NAMED.search(named))
    if tag.upper() not in {"INPUT", "TEXTAREA"}:
        return False
    hidden = str(attributes.get("type") or "").lower() in {"password", "hidden"}
    return hidden or bool(_COMPLETED.search(str(attributes.get("autocomplete") or "")) or _NAMED.search(named))


def is_session_like(value: str) -> bool:
    """Whether the value of a cookie may let somebody in: long, or with a digit in it; `dark` and `accepted` do not."""
    return len(value) >= _SHORTEST_COOKIE and (any(map(str.isdigit, value)) or len(value) > 2 * _SHORTEST_COOKIE)


def _of_entry(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for side in ("request", "response"):
        message = entry.get(side) or {}
        yield from _of_cookies(message.get("cookies") or [])
        for header in message.get("headers") or []:
            name, value = str(header.get("name", "")), str(header.get("value", ""))
            if _HEADERS.search(name) and is_session_like(token := value.rpartition(" ")[2]):
                yield token, f"header:{name.lower()}"
    posted = (entry.get("request") or {}).get("postData") or {}
    for field in posted.get("params") or []:
        if _NAMED.search(str(field.get("name", ""))):
            yield str(field.get("value", "")), "private:field"


def _of_cookies(cookies: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for cookie in cookies:
        value = str(cookie.get("value", ""))
        if is_session_like(value):
            yield value, f"cookie:{cookie.get('name', '')}"


def _of_page(node: Any) -> Iterator[str]:
    if not isinstance(node, list) or len(node) < 2 or not isinstance(node[0], str):
        return
    tag, attributes, *children = node
    if isinstance(attributes, dict) and is_private(tag, attributes):
        values = (attributes.get(name) for name in ("__playwright_value_", "value", "content"))
        yield from (str(value) for value in values if value and str(value) != "on")
    for child in children:
        yield from _of_page(child)
