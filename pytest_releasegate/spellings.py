"""How a secret may stand in a text: in another notation, or within a connection string."""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["passwords", "spellings"]

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


def spellings(value: str) -> set[str]:
    """A secret as it stands in text, in JSON, in a URL, in a form and in HTML."""
    written = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    return written | {quote(value, safe=""), quote_plus(value), escape(value), escape(value, quote=False)}
