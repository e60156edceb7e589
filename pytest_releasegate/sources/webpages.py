"""Pages that several kinds ask for: one answer each, and whether it is the page that was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_releasegate.check import find
from pytest_releasegate.model import Ok
from pytest_releasegate.sources.http import Query, ask
from pytest_releasegate.sources.httpfaults import bare_url
from pytest_releasegate.sources.httpshown import led_to
from pytest_releasegate.sources.tls import authority_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.http import Answer

__all__ = ["fetch", "is_later", "is_plain", "not_the_page", "place"]

_LONGEST = 30.0
_LARGEST = 8 * 1024 * 1024
_TOO_MANY, _BROKEN = 429, 500


def fetch(
    context: Context, url: str, *, ca: str = "", method: str = "GET", headers: Mapping[str, str] | None = None
) -> Answer:
    """Ask for a page under the environment's base URL; a redirect is the answer."""
    path, mark, search = url.partition("?")
    query = Query(
        url=context.url(path) + mark + context.resolve(search),
        method=method,
        headers={name: context.resolve(value) for name, value in (headers or {}).items()},
        ca=authority_file(context.root, context.resolve(ca, secret=False)),
        max_size=_LARGEST,
    )
    return ask(query, clock=context.clock, limit=context.remaining(_LONGEST))


def place(answer: Answer) -> str:
    """How findings name the page: its URL without a query, which may hold secrets."""
    return bare_url(answer.url)


def is_later(answer: Answer) -> bool:
    """Whether the server said that it cannot answer now."""
    return answer.status == _TOO_MANY or answer.status >= _BROKEN


def not_the_page(answer: Answer, statuses: Sequence[int]) -> Finding | None:
    """That another page was answered than the one meant, whose headers tell nothing; None where it was that one."""
    if answer.status in statuses:
        return None
    actual = f"{answer.status} {answer.reason}".strip()
    actual += led_to(answer)
    expected = " or ".join(map(str, statuses))
    ok = Ok.CANNOT_TELL if is_later(answer) else Ok.NO
    return find(f"{place(answer)} status", expected=expected, actual=actual, ok=ok)


def is_plain(answer: Answer) -> bool:
    """Whether it came over plain HTTP."""
    return urlsplit(answer.url).scheme != "https"
