"""One HTTP exchange on `requests`, bounded in time and size; whatever prevents an answer is a `CannotLook`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources import cookiejar
from pytest_releasegate.sources.httpfaults import (
    NoHttp,
    RedirectLoop,
    TimedOut,
    Unknown,
    Unreachable,
    bare_url,
    explained,
    public_url,
    require_elsewhere,
    timed_out,
)
from pytest_releasegate.sources.sockets import is_loopback
from pytest_releasegate.sources.text import decoded, visible
from pytest_releasegate.turns import turn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Response, Session

    from pytest_releasegate.check import Clock
    from pytest_releasegate.sources.cookiejar import Kept

__all__ = ["Answer", "Query", "RedirectLoop", "TimedOut", "Unknown", "Unreachable", "ask", "public_url"]

MOST_REDIRECTS = 10
_CHUNK = 16 * 1024
_SLACK = 0.25
_HEADROOM = 512 * 1024
_READING = ("GET", "HEAD", "OPTIONS")
_SEE_OTHER = (301, 302, 303)
_UNPACKED = ("", "identity", "gzip", "x-gzip", "deflate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to ask: an absolute URL, how, and the most bytes that the answer's body may have."""

    url: str = field(repr=False)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    redirects: bool = False
    ca: str = ""
    max_size: int = 1024 * 1024
    body: bytes | None = field(default=None, repr=False)
    version: int = 0
    """The version of the internet protocol, 4 or 6; 0 takes what comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, with the seconds from asking to the last byte."""

    url: str
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    seconds: float = 0.0
    cookies: tuple[str, ...] = field(default=(), repr=False)
    """Each Set-Cookie header as it came: joined by commas they could not be told apart."""
    peer: str = ""
    """The address that was connected to: the proxy's, where one was used."""
    proxy: str = ""

    @property
    def text(self) -> str:
        """The body by the mark that it begins with, or the charset that its header or page names; else as UTF-8."""
        return decoded(self.body, self.headers.get("Content-Type", ""))


def ask(query: Query, *, clock: Clock, limit: float) -> Answer:
    """Ask once, in at most `limit` seconds all told; raises `CannotLook`, `TimedOut` or `RedirectLoop`."""
    _validate(query.url)
    with turn(urlsplit(query.url).hostname or ""):
        exchange = _Exchange(query, clock, limit)
        # In a thread of its own, because neither a name lookup nor headers that drip in can be bounded otherwise.
        thread = Thread(target=exchange.run, name="releasegate-http", daemon=True)
        thread.start()
        thread.join(limit + _SLACK)
    if exchange.failure is not None:
        raise explained(exchange.failure, query.url, limit, exchange.proxies) from None
    if exchange.answer is None:
        raise timed_out(query.url, limit)
    return exchange.answer


def _validate(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its words would show a password with a slash in it, which stands where a port does
        raise CannotLook("invalid URL: its host or port cannot be read", "write it as https://host/path") from None
    if not usable:
        raise CannotLook(f"invalid URL {bare_url(url)}", "write it as https://host/path")


def _joined(url: str, target: str) -> str:
    try:
        following = urljoin(url, target)
    except ValueError:
        raise CannotLook(f"{bare_url(url)}: redirects to an invalid URL") from None
    _validate(following)
    return following


class _Exchange:
    """One query on its way; `run` leaves either an answer or a failure."""

    def __init__(self, query: Query, clock: Clock, limit: float) -> None:
        self.query = query
        self.clock = clock
        self.limit = limit
        self.start = clock.monotonic()
        self.answer: Answer | None = None
        self.failure: Exception | None = None
        self.proxies: dict[str, str] = {}

    def run(self) -> None:
        """Ask, and keep what comes of it for the thread that waits."""
        from pytest_releasegate.sources.httpwire import Wire, session

        self.wire = Wire(self._left, 2 * self.query.max_size + _HEADROOM, self.query.version)
        try:
            with session(self.wire) as opened:
                self.answer = self._follow(opened)
        except Exception as error:  # every kind: `ask` raises it in the caller's thread
            self.failure = error

    def _follow(self, session: Session) -> Answer:
        url, method, headers, body = self.query.url, self.query.method, dict(self.query.headers), self.query.body
        cookies: dict[tuple[str, str | None, int | None], dict[str, Kept]] = {}
        for _ in range(MOST_REDIRECTS + 1):
            own = cookies.setdefault(_origin(url), {})
            with self._send(session, url, method, {**cookiejar.header(own, url), **headers}, body) as response:
                kept = [cookiejar.keep(line, url) for line in response.raw.headers.getlist("Set-Cookie")]
                own |= {cookie.name: cookie for cookie in kept if cookie}
                target = session.get_redirect_target(response) if self.query.redirects else None
                if target is None:
                    return self._answer(url, response)
                if response.status_code in _SEE_OTHER and method != "HEAD":
                    method, body = "GET", None
            following = _joined(url, target)
            if _origin(following) != _origin(url):
                if method not in _READING:
                    what = f"{bare_url(url)}: redirects a {method} to another server, {bare_url(following)}"
                    raise CannotLook(what, "ask that server itself, or look at the redirect")
                require_elsewhere(urlsplit(following).hostname or "")
                self.wire.led_away = True
                headers = {}  # what was meant for one server, secrets above all, goes to no other
            url = following
            session.close()  # a server that hangs up after each answer would break off the next
        raise RedirectLoop(f"more than {MOST_REDIRECTS} redirects, the last to {bare_url(url)}")

    def _send(
        self, session: Session, url: str, method: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        left = self._left()
        self.proxies = _proxies(url)
        if self.query.version and self.proxies:
            what = f"{public_url(url)}: IPv{self.query.version} cannot be asked for through a proxy"
            raise CannotLook(what, "name the host in NO_PROXY, or leave out `ip`")
        return session.request(
            method,
            url,
            headers={"Accept-Encoding": "gzip, deflate", **headers},
            data=body,
            timeout=(left, left),
            allow_redirects=False,
            stream=True,
            proxies=self.proxies,
            verify=self.query.ca or os.environ.get("REQUESTS_CA_BUNDLE") or True,
        )

    def _answer(self, url: str, response: Response) -> Answer:
        body = self._body(response)
        return Answer(
            url=public_url(url) if url == self.query.url else bare_url(url),
            status=response.status_code,
            reason=response.reason or "",
            headers=response.headers,
            body=body,
            seconds=self.clock.monotonic() - self.start,
            cookies=tuple(response.raw.headers.getlist("Set-Cookie")),
            peer=self.wire.peer,
            proxy=public_url(next(iter(self.proxies.values()), "")),
        )

    def _body(self, response: Response) -> bytes:
        packed = response.headers.get("Content-Encoding", "").strip().lower()
        if packed not in _UNPACKED and "," not in packed:
            # such as `br`, which was not asked for, and of which a few bytes become gigabytes
            what = (
                f"{bare_url(self.query.url)}: the body is encoded as '{visible(packed)[:20]}', which was not asked for"
            )
            raise NoHttp(what, "see the server's proxies")
        if "," in packed:
            # a few bytes that are packed twice may become gigabytes at once
            raise NoHttp(
                f"{public_url(self.query.url)}: the body is encoded more than once", "see the server's proxies"
            )
        body = bytearray()
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > self.query.max_size:
                what = f"{public_url(self.query.url)}: the body has more than {self.query.max_size} bytes"
                raise CannotLook(what, "raise `max_size`, or ask for less")
            self._left()
        return bytes(body)

    def _left(self) -> float:
        left = self.start + self.limit - self.clock.monotonic()
        if left <= 0:
            raise timed_out(self.query.url, self.limit)
        return left


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _proxies(url: str) -> dict[str, str]:
    """The proxy that the process environment has for the URL, by scheme; nothing where it has none."""
    from requests.utils import get_environ_proxies, select_proxy

    parts = urlsplit(url)
    found = None if is_loopback(parts.hostname or "") else select_proxy(url, get_environ_proxies(url))
    return {parts.scheme: found} if found else {}
