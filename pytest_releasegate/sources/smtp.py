"""Whether a mail server takes a name and a password: signs in over TLS, and sends nothing."""

from __future__ import annotations

import smtplib
import ssl
from socket import gaierror
from threading import Thread
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import format_seconds
from pytest_releasegate.sources.answers import Away
from pytest_releasegate.sources.httpfaults import bare_url
from pytest_releasegate.sources.tls import authority_file
from pytest_releasegate.sources.vendors import Key, Told
from pytest_releasegate.turns import turn

if TYPE_CHECKING:
    from pytest_releasegate.check import Context

__all__ = ["sign_in"]

_SECONDS = 20.0
_SLACK = 0.25
_PORTS = {"smtp": 587, "smtps": 465}
_REFUSED = (534, 535, 538)
_BROKEN = 500
_SIGNED_IN = 235
_MOST_BYTES = 64 * 1024


def sign_in(key: Key, context: Context) -> Told:
    """Sign in and leave, within the gate's time; a server without TLS gets no password."""
    limit = context.remaining(_SECONDS)
    trusted = authority_file(context.root, context.resolve(key.ca, secret=False))
    told: list[Told | Exception] = []

    def talk() -> None:
        try:
            told.append(_sign_in(key, ssl.create_default_context(cafile=trusted or None), limit))
        except Exception as error:  # every kind: it is raised in the caller's thread
            told.append(error)

    # in a thread of its own, because lines that drip in cannot be bounded otherwise
    thread = Thread(target=talk, name="releasegate-smtp", daemon=True)
    with turn(urlsplit(key.api if "://" in key.api else f"smtp://{key.api}").hostname or ""):
        thread.start()
        thread.join(limit + _SLACK)
    if not told:
        raise Away(f"{bare_url(key.api)}: no full answer within {format_seconds(limit)}")
    if isinstance(told[0], Exception):
        raise told[0]
    return told[0]


def _sign_in(key: Key, tls: ssl.SSLContext, limit: float) -> Told:
    parts = urlsplit(key.api if "://" in key.api else f"smtp://{key.api}")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise CannotLook(
            f"api '{bare_url(key.api)}': expected a mail server", "write it as smtp://host:587 or smtps://host:465"
        )
    port = parts.port or _PORTS[parts.scheme]
    try:
        return _try(parts.scheme, parts.hostname, port, key, tls, limit)
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason or error
        raise CannotLook(f"{parts.hostname}:{port}: TLS failed: {why}", "name the authority's file as `ca`") from None
    except smtplib.SMTPAuthenticationError as refused:
        if refused.smtp_code in _REFUSED:
            return Told(valid=False, said=f"{refused.smtp_code}: the name or the password is refused")
        return Told(valid=Ok.CANNOT_TELL, said=f"{refused.smtp_code}: the server cannot say now")
    except smtplib.SMTPResponseException as said:
        if said.smtp_code < _BROKEN:
            raise Away(f"{parts.hostname}:{port} answered {said.smtp_code}") from None
        raise CannotLook(f"{parts.hostname}:{port} answered {said.smtp_code}", "does it take mail?") from None
    except (smtplib.SMTPServerDisconnected, TimeoutError, ConnectionError, gaierror) as error:
        raise Away(f"{parts.hostname}:{port}: {getattr(error, 'strerror', None) or error}") from None
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise CannotLook(f"{parts.hostname}:{port}: cannot sign in: {why}", "are name and `api` right?") from None


def _try(scheme: str, host: str, port: int, key: Key, tls: ssl.SSLContext, limit: float) -> Told:
    if scheme == "smtps":
        server: smtplib.SMTP = _Secure(host, port, timeout=limit, context=tls)
    else:
        server = _Plain(host, port, timeout=limit)
    with server:
        server.ehlo_or_helo_if_needed()
        if scheme == "smtp":
            if not server.has_extn("starttls"):
                return Told(valid=False, said="the server offers no STARTTLS, so the password was not sent")
            server.starttls(context=tls)
            server.ehlo()
        ways = tuple(sorted(str(server.esmtp_features.get("auth", "")).upper().split()))
        if not ways:
            raise CannotLook(f"{host}:{port} offers no way to sign in", "is this the port for submission?")
        code, _ = server.login(key.user, key.key)
        if code != _SIGNED_IN:  # the library takes 503 for a login that was there before
            raise CannotLook(f"{host}:{port} answered {code} to a login", "does it let anybody sign in?")
        return Told(valid=True, said="valid")


class _Plain(smtplib.SMTP):
    """A client that a server cannot keep busy without end."""

    def getreply(self) -> tuple[int, bytes]:
        """One answer, of those that together have no more than so many bytes."""
        if self.file is None and self.sock is not None:
            self.file = _Short(self.sock.makefile("rb"))
        return super().getreply()


class _Secure(_Plain, smtplib.SMTP_SSL):
    """The same over TLS from the first byte."""


class _Short:
    def __init__(self, inner: BinaryIO) -> None:
        self._inner, self._left = inner, _MOST_BYTES

    def readline(self, size: int = -1) -> bytes:
        """The next line; raises `SMTPServerDisconnected` when there was enough."""
        line = self._inner.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise smtplib.SMTPServerDisconnected(f"it says more than {_MOST_BYTES} bytes")
        return line

    def close(self) -> None:
        """Close what is read from."""
        self._inner.close()
