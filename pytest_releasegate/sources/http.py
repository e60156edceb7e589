"""One HTTP exchange on `requests`, bounded in time and size; whatever prevents an answer is a `CannotLook`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Response, Session

    from pytest_releasegate.check import Clock

__all__ = ["Answer", "Query", "RedirectLoop", "TimedOut", "ask", "public_url"]

MOST_REDIRECTS = 10
_CHUNK = 16 * 1024
_SLACK = 0.25
_SEE_OTHER = (301, 302, 303)


class Unreachable(CannotLook):
    """The server refused the connection, broke it off, or gave no answer."""


class TimedOut(Unreachable):
    """The server was reached and had not answered in full when the time was up."""


class RedirectLoop(CannotLook):
    """The server answered with one redirect after another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to ask: an absolute URL, how, and the most bytes that the answer's body may have."""

    url: str = field(repr=False)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    redirects: bool = False
    ca: str = ""
    max_size: int = 1024 * 1024


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

    @property
    def text(self) -> str:
        """The body by the charset that its header names, else as UTF-8."""
        _, _, charset = self.headers.get("Content-Type", "").lower().partition("charset=")
        try:
            return self.body.decode(charset.split(";")[0].strip(" \"'") or "utf-8", errors="replace")
        except LookupError:
            return self.body.decode(errors="replace")


def public_url(url: str) -> str:
    """The URL without user name and password."""
    return re.sub(r"//[^/?#]*@", "//", url, count=1)


def ask(query: Query, *, clock: Clock, limit: float) -> Answer:
    """Ask once, in at most `limit` seconds all told; raises `CannotLook`, `TimedOut` or `RedirectLoop`."""
    _validate(query.url)
    exchange = _Exchange(query, clock, limit)
    # In a thread of its own, because neither a name lookup nor headers that drip in can be bounded otherwise.
    thread = Thread(target=exchange.run, name="releasegate-http", daemon=True)
    thread.start()
    thread.join(limit + _SLACK)
    if exchange.failure is not None:
        raise _explained(exchange.failure, query, limit) from None
    if exchange.answer is None:
        raise _timed_out(query, limit)
    return exchange.answer


def _validate(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise CannotLook(f"invalid URL: {error}", "write it as https://host/path") from None
    if not usable:
        raise CannotLook(f"invalid URL {public_url(url)}", "write it as https://host/path")


def _joined(url: str, target: str) -> str:
    try:
        following = urljoin(url, target)
    except ValueError as error:
        raise CannotLook(f"{public_url(url)}: redirects to an invalid URL: {error}") from None
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

    def run(self) -> None:
        """Ask, and keep what comes of it for the thread that waits."""
        from requests import Session

        try:
            with Session() as session:
                session.trust_env = False  # else ~/.netrc would add credentials that no plan names
                self.answer = self._follow(session)
        except Exception as error:  # every kind: `ask` raises it in the caller's thread
            self.failure = error

    def _follow(self, session: Session) -> Answer:
        url, method, headers = self.query.url, self.query.method, dict(self.query.headers)
        for _ in range(MOST_REDIRECTS + 1):
            with self._send(session, url, method, headers) as response:
                target = session.get_redirect_target(response) if self.query.redirects else None
                if target is None:
                    return self._answer(url, response)
                method = "GET" if response.status_code in _SEE_OTHER and method != "HEAD" else method
            following = _joined(url, target)
            if _origin(following) != _origin(url):
                headers = {}  # what was meant for one server, secrets above all, goes to no other
            url = following
        raise RedirectLoop(f"more than {MOST_REDIRECTS} redirects, the last to {public_url(url)}")

    def _send(self, session: Session, url: str, method: str, headers: Mapping[str, str]) -> Response:
        left = self._left()
        return session.request(
            method,
            url,
            headers={"Accept-Encoding": "gzip, deflate", **headers},
            timeout=(left, left),
            allow_redirects=False,
            stream=True,
            proxies=_proxies(url),
            verify=self.query.ca or os.environ.get("REQUESTS_CA_BUNDLE") or True,
        )

    def _answer(self, url: str, response: Response) -> Answer:
        body = self._body(response)
        return Answer(
            url=public_url(url),
            status=response.status_code,
            reason=response.reason or "",
            headers=response.headers,
            body=body,
            seconds=self.clock.monotonic() - self.start,
            cookies=tuple(response.raw.headers.getlist("Set-Cookie")),
        )

    def _body(self, response: Response) -> bytes:
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
            raise _timed_out(self.query, self.limit)
        return left


def _timed_out(query: Query, limit: float) -> TimedOut:
    return TimedOut(f"{public_url(query.url)}: no full answer within {limit:.3g} s", "is the service overloaded?")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _proxies(url: str) -> dict[str, str]:
    from requests.utils import get_environ_proxies

    host = urlsplit(url).hostname or ""
    return {} if _is_loopback(host) else get_environ_proxies(url)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _explained(error: Exception, query: Query, limit: float) -> Exception:
    """What to raise for an error of the transport, worded without the values of headers."""
    from requests import exceptions

    url = public_url(query.url)
    if isinstance(error, exceptions.ConnectTimeout):
        return Unreachable(f"{url}: no connection within {limit:.3g} s", "is the host right, and the network open?")
    if isinstance(error, exceptions.Timeout) or "ReadTimeoutError" in _names(error):
        return _timed_out(query, limit)
    if isinstance(error, exceptions.SSLError):
        return CannotLook(f"{url}: TLS failed: {_reason(error)}", "name the authority's file as `ca`")
    if isinstance(error, exceptions.ProxyError):
        return CannotLook(f"{url}: the proxy failed: {_reason(error)}", "see HTTPS_PROXY and NO_PROXY")
    if isinstance(error, (exceptions.InvalidHeader, UnicodeError)):
        return CannotLook(f"{url}: a header cannot be sent", "its value must be one line of Latin-1 text")
    if isinstance(error, (exceptions.ChunkedEncodingError, exceptions.ContentDecodingError)):
        return CannotLook(f"{url}: the answer broke off or is garbled: {_reason(error)}")
    if isinstance(error, (exceptions.RequestException, OSError)):
        away = Unreachable if _is_away(error) else CannotLook
        return away(f"{url}: cannot connect: {_reason(error)}", "is the service up, and the URL right?")
    return error


def _is_away(error: Exception) -> bool:
    """Whether a connection was refused or broken off; a name that is not known is no proof of that."""
    return any(isinstance(part, ConnectionError) for part in _chain(error))


def _chain(error: BaseException) -> list[BaseException]:
    """The error and those that it wraps, outermost first."""
    chain = [error]
    while len(chain) < 10:
        last = chain[-1]
        inner = (*last.args, getattr(last, "reason", None), last.__cause__)
        found = next((part for part in inner if isinstance(part, Exception)), None)
        if found is None:
            break
        chain.append(found)
    return chain


def _names(error: Exception) -> set[str]:
    return {type(part).__name__ for part in _chain(error)}


def _reason(error: Exception) -> str:
    last = _chain(error)[-1]
    if isinstance(last, OSError):
        return str(getattr(last, "verify_message", "") or last.strerror or last)
    return str(last) or type(last).__name__
