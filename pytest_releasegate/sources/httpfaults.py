"""What prevents an answer over HTTP, said without the values of headers."""

from __future__ import annotations

import re
from errno import EHOSTUNREACH, ENETUNREACH
from http.client import BadStatusLine, HTTPException
from ipaddress import ip_address
from socket import gaierror
from typing import TYPE_CHECKING

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.params import format_seconds
from pytest_releasegate.sources.text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "NoHttp",
    "RedirectLoop",
    "TimedOut",
    "TooMuch",
    "Unknown",
    "Unreachable",
    "bare_url",
    "explained",
    "public_url",
    "require_elsewhere",
    "timed_out",
]

_MOST_QUOTED = 40
_NO_WAY = (ENETUNREACH, EHOSTUNREACH)


class Unreachable(CannotLook):
    """The server refused the connection, broke it off, or gave no answer."""


class TimedOut(Unreachable):
    """The server was reached and had not answered in full when the time was up."""


class Unknown(CannotLook):
    """Nobody gave an address for the server's name, or there is no way to it from here."""


class RedirectLoop(CannotLook):
    """The server answered with one redirect after another."""


class NoHttp(CannotLook):
    """Something answered, and not as HTTP has it."""


class TooMuch(OSError):
    """More bytes came than the answer may have."""


def public_url(url: str) -> str:
    """The URL without user name and password."""
    return re.sub(r"//[^/?#]*@", "//", url, count=1)


def bare_url(url: str) -> str:
    """The URL without user name, password, query and fragment: all that may carry secrets."""
    return re.split("[?#]", public_url(url), maxsplit=1)[0]


def require_elsewhere(host: str) -> None:
    """Raise `CannotLook` for a link-local address: there clouds give their machines' credentials to who asks."""
    try:
        local = ip_address(host.partition("%")[0]).is_link_local
    except ValueError:
        return
    if local:
        what = f"redirects to {host}, an address within the network of this machine"
        raise CannotLook(what, "look at the redirect itself, without `redirects`")


def timed_out(url: str, limit: float) -> TimedOut:
    """That the time was up before the answer was complete."""
    return TimedOut(f"{public_url(url)}: no full answer within {format_seconds(limit)}", "is the service overloaded?")


def explained(error: Exception, full_url: str, limit: float, proxies: Mapping[str, str]) -> Exception:
    """What to raise for an error of the transport."""
    from requests import exceptions

    url = public_url(full_url)
    if isinstance(error, exceptions.ConnectTimeout):
        return Unreachable(
            f"{url}: no connection within {format_seconds(limit)}", "is the host right, and the network open?"
        )
    if isinstance(error, exceptions.Timeout | TimeoutError) or _names(error) & {"ReadTimeoutError", "TimeoutError"}:
        return timed_out(full_url, limit)
    if isinstance(error, exceptions.SSLError):
        return CannotLook(f"{url}: TLS failed: {_reason(error)}", "name the authority's file as `ca`")
    if isinstance(error, exceptions.ProxyError):
        through = ", ".join(sorted({public_url(proxy) for proxy in proxies.values()}))
        return CannotLook(f"{url}: the proxy {through} failed: {_reason(error)}", "see HTTPS_PROXY and NO_PROXY")
    return _garbled(error, url) or _unconnected(error, url)


def _unconnected(error: Exception, url: str) -> Exception:
    from requests import exceptions

    if isinstance(error, (exceptions.InvalidHeader, UnicodeError)):
        return CannotLook(f"{url}: a header cannot be sent", "its value must be one line of Latin-1 text")
    if isinstance(error, (exceptions.RequestException, OSError)):
        away = Unreachable if _is_away(error) else Unknown if _is_unknown(error) else CannotLook
        return away(f"{url}: cannot connect: {_reason(error)}", "is the service up, and the URL right?")
    return error


def _garbled(error: Exception, url: str) -> CannotLook | None:
    """What it was that came and is no answer; None where nothing came, or nothing wrong."""
    from requests import exceptions

    chain = _chain(error)
    much = next((part for part in chain if isinstance(part, TooMuch)), None)
    if much is not None:
        return NoHttp(f"{url}: {much}", "is it the right server?")
    if any(type(part).__module__ == "urllib3.exceptions" and type(part).__name__ == "InvalidHeader" for part in chain):
        return NoHttp(f"{url}: the answer's Content-Length contradicts itself", "see the server, or a proxy before it")
    broken = next((part for part in chain if isinstance(part, HTTPException)), None)
    if isinstance(broken, BadStatusLine) and not isinstance(broken, ConnectionError):
        begin = visible(str(broken).strip("'\""))[:_MOST_QUOTED]
        return NoHttp(f"{url}: the answer is not HTTP/1: it begins with '{begin}'", "is it the right port?")
    if isinstance(error, (exceptions.ChunkedEncodingError, exceptions.ContentDecodingError)):
        return NoHttp(f"{url}: the answer broke off or is garbled: {_reason(error)}")
    if broken is not None and not isinstance(broken, ConnectionError):
        return NoHttp(f"{url}: the answer's head cannot be read: {_reason(error)}", "see the headers that it sends")
    return None


def _is_away(error: Exception) -> bool:
    """Whether a connection was refused or broken off; a name that is not known is no proof of that."""
    return any(isinstance(part, ConnectionError) for part in _chain(error))


def _is_unknown(error: Exception) -> bool:
    parts = _chain(error)
    return any(isinstance(part, gaierror) or getattr(part, "errno", 0) in _NO_WAY for part in parts)


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
    return visible(str(last))[:200] or type(last).__name__
