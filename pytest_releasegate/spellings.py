"""How a secret may be written in what leaves the process."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["basic", "passwords", "spellings"]

_KEYWORD = re.compile(r"\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]+)")


def passwords(value: str) -> Iterator[str]:
    """The password in a connection string, as it stands there and as it is meant."""
    keyword = _KEYWORD.search(value)
    if keyword:
        found = keyword[1]
        yield from (found, re.sub(r"\\(.)", r"\1", found[1:-1] if found.startswith("'") else found))
    try:
        password = urlsplit(value).password or ""
    except ValueError:
        return
    yield from (password, unquote(password))


def basic(url: str) -> Iterator[str]:
    """The password in a URL, and as HTTP sends it with its user."""
    user = unquote(url.partition("//")[2].partition(":")[0])
    for password in filter(None, passwords(url)):
        yield from (password, b64encode(f"{user}:{password}".encode()).decode())


def spellings(value: str) -> set[str]:
    """A secret as it stands in text, in JSON, in a URL, in a form and in HTML."""
    written = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    return written | {quote(value, safe=""), quote_plus(value), escape(value), escape(value, quote=False)}
