"""JSON that a service answers: asked once, read strictly; a service that cannot answer now is told from one refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.http import Answer, Query, Unknown, Unreachable, ask
from pytest_releasegate.sources.httpfaults import bare_url
from pytest_releasegate.sources.jsonpaths import under
from pytest_releasegate.sources.sockets import is_loopback
from pytest_releasegate.sources.tls import authority_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_releasegate.check import Context

__all__ = [
    "Away",
    "absolute",
    "allowed",
    "answered",
    "document",
    "instant",
    "is_here",
    "list_at",
    "private_url",
    "require_ok",
]

_SECONDS = 20.0
_MOST_BYTES = 8 * 1024 * 1024
_BUSY = 429
_BROKEN = 500


class Away(Exception):
    """The service does not answer, or answers that it cannot now: nobody can tell anything by it."""


def answered(context: Context, url: str, headers: Mapping[str, str] | None = None, ca: str = "") -> Answer:
    """What a GET is answered, whatever its status up to 499; raises `Away` for 429, 5xx and no answer."""
    file = authority_file(context.root, context.resolve(ca, secret=False))
    query = Query(url=url, headers={"Accept": "application/json", **(headers or {})}, ca=file, max_size=_MOST_BYTES)
    try:
        answer = ask(query, clock=context.clock, limit=context.remaining(_SECONDS))
    except (Unreachable, Unknown) as away:
        raise Away(away.what) from None
    if answer.status == _BUSY or answer.status >= _BROKEN:
        raise Away(f"{bare_url(answer.url)} answered {answer.status} {answer.reason}".strip())
    return answer


def absolute(url: str) -> str:
    """The text itself; raises `ValueError` where it is no whole URL, no path from the root and no reference."""
    if url.startswith(("https://", "http://", "/", "${")):
        return url
    raise ValueError(f"'{url}' is no URL; write it as https://{url}")


def require_ok(answer: Answer, hint: str = "is the URL right?") -> Answer:
    """The answer itself; raises `CannotLook` where its status is not 200."""
    if answer.status == 200:
        return answer
    refused = answer.status in (401, 403)
    what = f"{bare_url(answer.url)} answered {answer.status} {answer.reason}".strip()
    if "Location" in answer.headers:
        hint = f"it moved to {bare_url(answer.headers['Location'])}"
    raise CannotLook(what, "its token is wrong, or may not read this" if refused else hint)


def document(answer: Answer) -> Any:
    """The JSON in the answer's body; raises `CannotLook` where it is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        kind = answer.headers.get("Content-Type", "no content type")
        what = f"{bare_url(answer.url)} answered {len(answer.body)} bytes of {kind} that are not JSON"
        raise CannotLook(what, "is the URL right?") from None


def allowed(found: Any, fields: Iterable[str]) -> dict[str, str | bool | int | None]:
    """Of an object only these fields, and of them only plain values: nothing else leaves the answer."""
    if not isinstance(found, dict):
        return {}
    kept = {name: found[name] for name in fields if name in found}
    return {name: value for name, value in kept.items() if value is None or isinstance(value, str | bool | int)}


def list_at(found: Any, path: str, url: str) -> list[dict[str, Any]]:
    """The list of objects at a dotted path, empty for the whole; raises `CannotLook` where there is none."""
    place = under(found, path)
    if isinstance(place, list) and all(isinstance(one, dict) for one in place):
        return place
    where = f"at '{path}'" if path else "at the top"
    keys = f"; its keys: {', '.join(sorted(map(str, found)))[:200]}" if isinstance(found, dict) else ""
    raise CannotLook(f"{bare_url(url)}: expected a list of objects {where}, got {type(place).__name__}{keys}")


def instant(text: Any) -> datetime | None:
    """An instant as services write it: ISO 8601, as mail does, or as browsers do; None where it is none of these."""
    if not isinstance(text, str) or not text:
        return None
    for read in (datetime.fromisoformat, _of_browsers, parsedate_to_datetime):
        try:
            found = read(text)
            return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _of_browsers(text: str) -> datetime:
    return datetime.strptime(text.partition(" (")[0], "%a %b %d %Y %H:%M:%S GMT%z")


def is_here(url: str) -> bool:
    """Whether the URL's host is this machine."""
    return is_loopback(urlsplit(url).hostname or "")


def private_url(url: str, what: str = "the key") -> str:
    """The URL itself; raises `CannotLook` where a secret would go over a network in the clear."""
    if url.startswith("https://") or is_here(url):
        return url
    raise CannotLook(f"{bare_url(url)}: {what} would be sent in the clear", "write it as https://host/path")
