"""HTTP archives (HAR 1.2) that hold no content: method, address, status, timings and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_releasegate.sources.striking import Striker

__all__ = ["MOST_ENTRIES", "Exchange", "archive"]

MOST_ENTRIES = 1_000
_SHOWN = ("content-type", "content-length", "cache-control", "location", "retry-after", "x-request-id")


@dataclass(slots=True)
class Exchange:
    """A request of a browser, and what became of it."""

    method: str
    url: str
    kind: str = ""
    """Playwright's word for what asked for it, such as `document` or `fetch`."""
    sent: int = 0
    status: int = 0
    """0 where no answer came."""
    status_text: str = ""
    headers: Mapping[str, str] | None = None
    timing: Mapping[str, float] | None = None
    failure: str = ""


def archive(exchanges: Sequence[Exchange], count: int, striker: Striker) -> dict[str, Any]:
    """The exchanges, of `count` in all, as HAR 1.2: `MOST_ENTRIES` at most, no known values, nothing of queries."""
    own = {"name": "pytest-releasegate", "version": version("pytest-releasegate")}
    entries = [_entry(exchange, striker) for exchange in exchanges[:MOST_ENTRIES]]
    log: dict[str, Any] = {"version": "1.2", "creator": own, "entries": entries}
    if count > len(entries):
        log["comment"] = f"the first {len(entries)} of {count} requests"
    return {"log": log}


def _entry(exchange: Exchange, striker: Striker) -> dict[str, Any]:
    url = striker.address(exchange.url)
    timings = _timings(exchange.timing or {})
    names = [part.partition("=")[0] for part in urlsplit(url).query.split("&") if part]
    failure = {"_error": striker.text(exchange.failure)} if exchange.failure else {}
    return {
        "startedDateTime": _instant((exchange.timing or {}).get("startTime", 0.0)),
        "time": round(sum(part for name, part in timings.items() if part > 0 and name != "ssl"), 3),
        "request": {
            "method": exchange.method,
            "url": url,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [],
            "queryString": [{"name": name, "value": ""} for name in names],
            "headersSize": -1,
            "bodySize": exchange.sent,
        },
        "response": _response(exchange, striker),
        "cache": {},
        "timings": timings,
        "_resourceType": exchange.kind,
        **failure,
    }


def _response(exchange: Exchange, striker: Striker) -> dict[str, Any]:
    given = exchange.headers or {}
    length = given.get("content-length", "")
    size = int(length) if length.isascii() and length.isdecimal() else -1
    where = striker.address(given.get("location", ""))
    shown = {name: given[name] for name in _SHOWN if name in given} | ({"location": where} if where else {})
    return {
        "status": exchange.status,
        "statusText": striker.text(exchange.status_text),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [{"name": name, "value": striker.text(value)} for name, value in shown.items()],
        "content": {"size": max(size, 0), "mimeType": given.get("content-type", "x-unknown")},
        "redirectURL": where,
        "headersSize": -1,
        "bodySize": size,
    }


def _timings(timing: Mapping[str, float]) -> dict[str, float]:
    """What each part took in milliseconds; -1 where a part did not happen, as for a connection that was there."""

    def between(start: str, end: str, otherwise: float) -> float:
        first, last = timing.get(start, -1.0), timing.get(end, -1.0)
        return round(max(last - first, 0.0), 3) if first >= 0 and last >= 0 else otherwise

    return {
        "blocked": -1,
        "dns": between("domainLookupStart", "domainLookupEnd", -1),
        "connect": between("connectStart", "connectEnd", -1),
        "ssl": between("secureConnectionStart", "connectEnd", -1),
        "send": 0,
        "wait": between("requestStart", "responseStart", 0),
        "receive": between("responseStart", "responseEnd", 0),
    }


def _instant(milliseconds: float) -> str:
    return datetime.fromtimestamp(max(milliseconds, 0.0) / 1000, UTC).isoformat(timespec="milliseconds")
