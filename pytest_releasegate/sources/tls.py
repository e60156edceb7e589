"""TLS handshakes for looking at a server's certificate, protocols and ciphers; nothing is ever sent over them."""

from __future__ import annotations

import ssl
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.params import format_seconds
from pytest_releasegate.sources import starttls
from pytest_releasegate.sources.sockets import Line, addresses
from pytest_releasegate.sources.tlshello import CIPHERS, Alert, chosen, spoken

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "PROTOCOLS",
    "Endpoint",
    "Refusal",
    "Session",
    "accepted",
    "authority_file",
    "name_problem",
    "of_kind",
    "offer",
    "plain",
    "seen",
    "verified",
]

PROTOCOLS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
"""The protocols that can be looked for, oldest first, by the names that OpenSSL gives them."""

_NO_ISSUER = (20, 21)
"""X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY and X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE."""
_HINT = "; either the server leaves out an intermediate certificate, or its authority is none that is trusted here"
_DER = 2
"""ENCODING_DER of CPython's `_ssl`."""
_AFTER_NAME = (7, 9, 10, 18, 19, 20, 21)
"""Of OpenSSL's x509_vfy.h, what is found once the name is seen to be right: dates, signatures and who is trusted."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and port that speak TLS, from the first byte or when asked in the words of its scheme."""

    host: str
    port: int
    scheme: str = "https"
    address: str = ""
    """Where to connect to, of the addresses that the host has; any of them without it."""
    login: tuple[str, str] | None = None
    """The user and the name of the database, where it is one."""

    def __str__(self) -> str:
        name = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return f"{name} ({self.address})" if self.address else name

    def connect(self, limit: float) -> Line:
        """A connection on which a handshake can begin; raises `NoTls`, `CannotLook` or `OSError`."""
        line = Line((self.address or self.host, self.port), limit)
        try:
            starttls.ask(line, self.scheme, str(self))
        except (OSError, CannotLook):
            line.close()
            raise
        return line

    def each(self, limit: float) -> list[Endpoint]:
        """The endpoint at each address of its host; raises `CannotLook` for a name that is not known."""
        return [replace(self, address=address) for _, address in addresses(self.host, limit)]

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read `host`, `host:port`, `[::1]:port` or a URL of a known scheme; raises `CannotLook` otherwise."""
        try:
            parts = urlsplit(text if "://" in text else f"https://{text}")
            host, port = (parts.hostname or "").removesuffix("."), parts.port
        except ValueError:
            host, port = "", 0
        else:
            port = starttls.PORTS.get(parts.scheme, 0) if port is None or parts.scheme not in starttls.PORTS else port
        if not host or not port:
            shown = "..." if "=" in text.partition("?")[0] else text.rpartition("@")[2]
            raise CannotLook(f"'{shown}' names no TLS endpoint", "write host:port, or an https, smtp or postgresql URL")
        return cls(host, port, parts.scheme)


@dataclass(frozen=True, slots=True)
class Session:
    """What a handshake agreed on: the protocol, the cipher, and the server's certificate as DER."""

    protocol: str
    cipher: str
    certificate: bytes
    issuers: tuple[bytes, ...] = ()
    """Where the chain was verified, the certificates that lead from the server's to what is trusted."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an offered protocol was not agreed on; `by` is who ended it: the server, or nobody."""

    by: str
    reason: str
    abrupt: bool = False
    """Whether the connection was broken off without a word, as a limiter does it too."""


def authority_file(root: Path, name: str) -> str:
    """The path of a certificate authority's file, nothing for nothing; raises `CannotLook` when there is no file."""
    if not name:
        return ""
    path = root / name
    if not path.is_file():
        raise CannotLook(f"ca: no such file: {path}", "name a PEM file, relative to the root")
    return str(path)


def seen(endpoint: Endpoint, limit: float) -> Session:
    """The session that the server prefers, with nothing verified yet; raises `CannotLook`, `NoTls` without one."""
    context = _permissive(ssl.TLSVersion.TLSv1, ssl.TLSVersion.MAXIMUM_SUPPORTED)
    try:
        return _handshake(endpoint, context, limit)
    except (OSError, ValueError) as error:
        raise _unreachable(endpoint, error, limit) from None


def of_kind(endpoint: Endpoint, kind: str, limit: float) -> Session | None:
    """The session with a certificate of this kind of key, `RSA` or `ECDSA`; None where the server has none."""
    context = _permissive(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    _narrow(context, kind)
    try:
        with _connected(endpoint, limit) as line:
            return _shaken(line, endpoint, context)
    except OSError:
        return None


def _narrow(context: ssl.SSLContext, kind: str) -> None:
    """Take only certificates of this kind of key, where one is named; after TLS 1.2 ciphers settle that no more."""
    if kind:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"a{kind}:@SECLEVEL=0")


def verified(endpoint: Endpoint, ca: str, limit: float, kind: str = "") -> Session | str:
    """The session with a chain that verifies by the authority's file or the system's; or why it does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(ca) if ca else context.load_default_certs()
    except OSError as error:
        raise CannotLook(f"ca: cannot read {ca}: {_words(error)}", "name a PEM file with certificates") from None
    _allow_old(context)
    _narrow(context, kind)
    found = _verification(endpoint, context, limit)
    if isinstance(found, Session):
        return found
    code, words = found
    return words + (_HINT if code in _NO_ISSUER else "")


def name_problem(endpoint: Endpoint, certificate: bytes, limit: float, kind: str = "") -> str:
    """Why the certificate is not for this host; empty when it is, whoever signed it and whenever it ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate)
    context.hostname_checks_common_name = False  # no browser does
    # Trusting the certificate itself leaves its name as the question; OpenSSL asks for it before dates and signatures.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _allow_old(context)
    _narrow(context, kind)
    found = _verification(endpoint, context, limit)
    return found[1] if isinstance(found, tuple) and found[0] not in _AFTER_NAME else ""


def offer(endpoint: Endpoint, protocol: str, limit: float) -> Session | Refusal:
    """Offer this protocol alone, and say what became of it."""
    version = PROTOCOLS[protocol]
    context = _permissive(version, version)
    possible = _can_offer(context, protocol)
    try:
        with _connected(endpoint, limit) as line:
            return _shaken(line, endpoint, context) if possible else _greeted(line, endpoint, version)
    except TimeoutError:
        return Refusal("nobody", f"no answer within {format_seconds(limit)}")
    except (Alert, ConnectionAbortedError) as error:
        return Refusal("the server" if isinstance(error, Alert) and error.refuses else "nobody", str(error))
    except OSError as error:
        return Refusal("the server", _words(error), abrupt=_is_abrupt(error))


def accepted(endpoint: Endpoint, classes: Sequence[str], limit: float) -> str | Refusal:
    """Offer ciphers of these classes alone, and say which one of them the server takes."""
    offered = {number: name for each in classes for number, name in CIPHERS[each].items()}
    try:
        with _connected(endpoint, limit) as line:
            number = chosen(line, endpoint.host, list(offered))
    except TimeoutError:
        return Refusal("nobody", f"no answer within {format_seconds(limit)}")
    except Alert as alert:
        return Refusal("the server" if alert.refuses else "nobody", str(alert))
    except ConnectionAbortedError as error:
        return Refusal("nobody", str(error))
    except (ConnectionResetError, BrokenPipeError) as error:
        return Refusal("the server", _words(error), abrupt=True)
    except OSError as error:
        raise _unreachable(endpoint, error, limit) from None
    return offered.get(number) or f"a cipher that was not offered ({number:#06x})"


def plain(endpoint: Endpoint, limit: float) -> starttls.Plain:
    """What a mail server or a database says to who comes without TLS; no password is ever sent."""
    try:
        with Line((endpoint.address or endpoint.host, endpoint.port), limit) as line:
            return starttls.plain(line, endpoint.login, str(endpoint))
    except OSError as error:
        raise _unreachable(endpoint, error, limit) from None


def _can_offer(context: ssl.SSLContext, protocol: str) -> bool:
    """Whether a first message can be written at all; libraries may be built or configured without old protocols."""
    if not getattr(ssl, f"HAS_{protocol.replace('.', '_')}"):
        return False
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.pending > 0
    except ssl.SSLError:
        return False
    return False


def _permissive(lowest: ssl.TLSVersion, highest: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _allow_old(context, lowest, highest)
    return context


def _allow_old(
    context: ssl.SSLContext,
    lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1,
    highest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
) -> None:
    """Speak with old servers too, because how old they are is a finding of its own."""
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    while True:
        # Not `catch_warnings`: it would put back the filters of a test that runs meanwhile.
        warnings.filterwarnings("ignore", r"ssl\.TLSVersion\.", DeprecationWarning)
        try:
            context.minimum_version = lowest
            context.maximum_version = highest
        except DeprecationWarning:
            continue  # a test has just put its own filters there
        return


def _handshake(endpoint: Endpoint, context: ssl.SSLContext, limit: float) -> Session:
    with endpoint.connect(limit) as line:
        return _shaken(line, endpoint, context)


def _connected(endpoint: Endpoint, limit: float) -> Line:
    """A connection; that there is none says nothing of what would be refused on one."""
    try:
        return endpoint.connect(limit)
    except OSError as error:
        raise _unreachable(endpoint, error, limit) from None


def _shaken(line: Line, endpoint: Endpoint, context: ssl.SSLContext) -> Session:
    secure = line.shake(context, endpoint.host)
    cipher = secure.cipher()
    certificate = secure.getpeercert(binary_form=True) or b""
    issuers = _issuers(secure) if context.verify_mode is ssl.CERT_REQUIRED else ()
    return Session(secure.version() or "unknown", cipher[0] if cipher else "unknown", certificate, issuers)


def _greeted(line: Line, endpoint: Endpoint, version: ssl.TLSVersion) -> Session:
    """What becomes of a first message that is written here, since OpenSSL may be built to write none so old."""
    number = spoken(line, endpoint.host, int(version))
    return Session(ssl.TLSVersion(number).name.replace("_", "."), "a cipher of its time", b"")


def _issuers(secure: ssl.SSLObject) -> tuple[bytes, ...]:
    ask = getattr(secure, "get_verified_chain", None)  # public since Python 3.13
    if ask is not None:
        return tuple(ask())[1:]
    chain = getattr(secure, "_sslobj").get_verified_chain()  # noqa: B009  private before
    return tuple(each.public_bytes(_DER) for each in chain)[1:]


def _is_abrupt(error: OSError) -> bool:
    """Whether nothing was said: what OpenSSL tells of an alert is no such error."""
    return not isinstance(error, ssl.SSLError) or isinstance(
        error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    )


def _verification(endpoint: Endpoint, context: ssl.SSLContext, limit: float) -> Session | tuple[int, str]:
    try:
        return _handshake(endpoint, context, limit)
    except ssl.SSLCertVerificationError as error:
        return error.verify_code, error.verify_message.rstrip(".")
    except (OSError, ValueError) as error:
        raise _unreachable(endpoint, error, limit) from None


def _unreachable(endpoint: Endpoint, error: Exception, limit: float) -> CannotLook:
    if isinstance(error, TimeoutError):
        return CannotLook(
            f"{endpoint}: no TLS handshake within {format_seconds(limit)}", "is the host right, and the port open?"
        )
    if isinstance(error, (ssl.SSLError, ConnectionResetError, BrokenPipeError)):
        return CannotLook(f"{endpoint}: no TLS handshake: {_words(error)}", "does the port speak TLS at once?")
    return CannotLook(f"{endpoint}: cannot connect: {_words(error)}", "is the service up, and the address right?")


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLEOFError):
        return "the server closed the connection"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
