"""Whether a page is the one that was asked for, or what its server answers to whatever is asked."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from pytest_releasegate.check import find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.sources.htmlpages import asks_password, is_html
from pytest_releasegate.sources.http import Answer, Query, ask
from pytest_releasegate.sources.httpfaults import bare_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["not_its_own"]

_LONGEST = 10.0
_NOWHERE = "releasegate-no-such-page"
_CHANGING = re.compile(r"[A-Za-z0-9+/_-]{16,}=*|\d+")
"""Tokens and times, which differ from one answer to the next."""


def not_its_own(answer: Answer, query: Query, context: Context) -> Iterator[Finding]:
    """That a good page of HTML tells nothing of what is at its address, where nothing but its status is expected.

    The page at `/` is the site's own, whatever else it stands for.
    """
    path = urlsplit(query.url).path
    if query.method != "GET" or not 200 <= answer.status < 300 or not path.strip("/"):
        return
    if not is_html(answer.text, answer.headers.get("Content-Type", "")):
        return
    at = urlsplit(answer.url).path
    if at != path and asks_password(answer.text):
        actual = f"the login at {at}; name a `text` of the page meant"
        yield find("page", expected=f"what is at {path}", actual=actual, ok=Ok.CANNOT_TELL)
        return
    away = replace(query, url=urljoin(query.url, _NOWHERE))
    try:
        other = ask(away, clock=context.clock, limit=context.remaining(_LONGEST))
    except CannotLook:
        return
    name = path.rstrip("/").rpartition("/")[2]
    same = _gist(other) == _gist(answer) or _gist(other, _NOWHERE) == _gist(answer, name)
    if other.status != answer.status or not same:
        return
    actual = f"what {bare_url(away.url)} gives too, which nobody made; name a `text` or a `body` of it"
    yield find("page", expected=f"what is at {path} alone", actual=actual, ok=Ok.CANNOT_TELL)


def _gist(answer: Answer, name: str = "") -> str:
    """What the page says, whenever it says it, and whatever its name."""
    return _CHANGING.sub("", answer.text.replace(name, ""))
