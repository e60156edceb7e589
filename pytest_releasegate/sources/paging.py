"""Whether a JSON list is all there is, or one page of several, by the ways in which services say so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.httpfaults import bare_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.sources.http import Answer

__all__ = ["require_whole"]

_AROUND = ("paging", "pagination", "paginationmeta", "links", "meta", "pageinfo", "page", "cursor", "responsemetadata")
"""Objects beside a list that tell of its pages."""
_NEXT = ("next", "nextpage", "nextcursor", "nextpagetoken", "nextpageurl", "nexturl", "nextlink", "odatanextlink")
_MORE = ("more", "hasmore", "hasnext", "hasnextpage", "moreavailable")
_TOTAL = ("total", "totalcount", "totalrecordcount", "totalitems", "totalresults")
_PAGES = ("totalpages", "pagecount", "lastpage")
_LONGEST = 4096
_LINK = re.compile(r"""rel\s*=\s*["']?[^"',;]*\bnext\b""", re.IGNORECASE)


def require_whole(answer: Answer, found: Any, path: str, number: int) -> None:
    """Raise `CannotLook` where the list at that path, of so many items, is one of several pages."""
    link = "Link" if _LINK.search(answer.headers.get("Link", "")[:_LONGEST]) else ""
    told = link or next(_told(found, path, number), "")
    if told:
        hint = "ask for all of it at once, such as with `?per_page=100`, or only for what counts"
        raise CannotLook(f"{bare_url(answer.url)}: more of the list is on other pages, by its '{told}'", hint)


def _told(found: Any, path: str, number: int) -> Iterator[str]:
    place = found
    for key in path.split(".") if path else ():
        if not isinstance(place, dict):
            return
        yield from _beside(place, number, depth=2)
        place = place.get(key)


def _beside(place: dict[str, Any], number: int, *, depth: int, after: bool = False) -> Iterator[str]:
    for key, value in place.items():
        name = re.sub(r"[^a-z]", "", key.lower())
        if isinstance(value, dict) and depth and name in _AROUND:
            yield from (f"{key}.{inner}" for inner in _beside(value, number, depth=depth - 1, after=True))
        elif _means_more(name, value, number, after=after):
            yield key


def _means_more(name: str, value: Any, number: int, *, after: bool) -> bool:
    """Whether a field says that there is more; `after` alone is a cursor only among others of that kind."""
    if name in _NEXT or (after and name == "after"):
        return bool(value)
    if name in _MORE:
        return value in (True, "true")
    if isinstance(value, bool) or not isinstance(value, int):
        return False
    return (name in _TOTAL and value > number) or (name in _PAGES and value > 1)
