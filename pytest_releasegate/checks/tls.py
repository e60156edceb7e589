"""`tls`: certificates and protocols of servers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StrictInt, StringConstraints

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, parse_duration
from pytest_releasegate.sources import tls
from pytest_releasegate.sources.text import OneOrMore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from cryptography.x509 import Certificate

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Tls"]

_DAY = 86400.0


class Tls(Parameters):
    """Each endpoint's chain, host name, days left and protocols; the denominator is the endpoints.

    ```yaml
    tls: {endpoints: ["app.example.org:443", "https://api.example.org"], min_days: 30}
    ```
    """

    kind: ClassVar[str] = "tls"
    shorthand: ClassVar[str] = "endpoints"

    endpoints: Annotated[tuple[Annotated[str, StringConstraints(min_length=1)], ...], OneOrMore, Field(min_length=1)]
    """One or more of `host:port`, an https URL, or `/` for the environment's base URL; may hold references."""
    ca: str = ""
    """A file with the certificate authority to trust instead of the system's, relative to the root."""
    min_days: Annotated[StrictInt, Field(ge=1)] = 14
    """The fewest days for which the certificate must still be valid."""
    min_protocol: Literal["TLSv1.1", "TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    """The oldest protocol that the server may speak."""
    refuse_below: Literal["required", "where_testable"] = "where_testable"
    """Whether it is held against the gate that this machine cannot offer a protocol under `min_protocol`."""
    handshake: Duration = parse_duration("10s")
    """The longest that one handshake may take; a server that takes longer is not looked at."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Shake hands with each endpoint, a few times each."""
        ca = tls.authority_file(context.root, context.resolve(self.ca, secret=False))
        endpoints = [_endpoint(text, context) for text in self.endpoints]
        for endpoint in endpoints:
            yield from self._look_at(endpoint, ca, context)
        yield counted("endpoints", len(endpoints), len(self.endpoints))

    def _look_at(self, endpoint: tls.Endpoint, ca: str, context: Context) -> Iterator[Finding]:
        session = tls.seen(endpoint, self._limit(context))
        certificate = _parsed(endpoint, session)
        context.attach(f"{endpoint}.txt", "text/plain", _evidence(endpoint, session, certificate))
        problem = tls.chain_problem(endpoint, ca, self._limit(context))
        yield find(f"{endpoint} chain", expected="verifies", actual=problem or "verifies", ok=not problem)
        problem = tls.name_problem(endpoint, session.certificate, self._limit(context))
        actual = problem or f"for {endpoint.host}"
        yield find(f"{endpoint} certificate", expected=f"for {endpoint.host}", actual=actual, ok=not problem)
        yield from self._validity(endpoint, certificate, context.clock.now())
        yield self._protocol(endpoint, session)
        yield from self._refused(endpoint, context)

    def _limit(self, context: Context) -> float:
        return context.remaining(self.handshake.total_seconds())

    def _validity(self, endpoint: tls.Endpoint, certificate: Certificate, now: datetime) -> Iterator[Finding]:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if begin > now:
            yield find(f"{endpoint} valid from", expected=f"<= {now:%Y-%m-%d %H:%MZ}", actual=_day(begin), ok=False)
        days = math.floor((end - now).total_seconds() / _DAY)
        left = f"{days} days, until {_day(end)}" if days >= 0 else f"expired on {_day(end)}"
        yield find(f"{endpoint} days left", expected=f">= {self.min_days} days", actual=left, ok=days >= self.min_days)

    def _protocol(self, endpoint: tls.Endpoint, session: tls.Session) -> Finding:
        names = list(tls.PROTOCOLS)
        ok = session.protocol in names and names.index(session.protocol) >= names.index(self.min_protocol)
        return find(f"{endpoint} protocol", expected=f">= {self.min_protocol}", actual=session.protocol, ok=ok)

    def _refused(self, endpoint: tls.Endpoint, context: Context) -> Iterator[Finding]:
        names = list(tls.PROTOCOLS)
        for protocol in names[: names.index(self.min_protocol)]:
            answer = tls.offer(endpoint, protocol, self._limit(context))
            yield self._refusal(f"{endpoint} {protocol}", answer)

    def _refusal(self, name: str, answer: tls.Session | tls.Refusal) -> Finding:
        if isinstance(answer, tls.Session):
            return find(name, expected="refused", actual=f"accepted with {answer.cipher}", ok=False)
        if answer.by == "the server":
            return find(name, expected="refused", actual=f"refused ({answer.reason})", ok=True)
        local = answer.by == "this machine"
        hint = "; look from a machine whose OpenSSL can" if local else ""
        observe = local and self.refuse_below == "where_testable"
        return find(name, expected="refused", actual=answer.reason + hint, ok=Ok.CANNOT_TELL, observe=observe)


def _endpoint(text: str, context: Context) -> tls.Endpoint:
    return tls.Endpoint.parse(context.url(text) if text.startswith("/") else context.resolve(text, secret=False))


def _parsed(endpoint: tls.Endpoint, session: tls.Session) -> Certificate:
    from cryptography.x509 import load_der_x509_certificate

    try:
        return load_der_x509_certificate(session.certificate)
    except ValueError as error:
        raise CannotLook(f"{endpoint}: cannot read the certificate: {error}") from None


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%MZ}"


def _evidence(endpoint: tls.Endpoint, session: tls.Session, certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    lines = [
        f"endpoint: {endpoint}",
        f"protocol: {session.protocol}",
        f"cipher: {session.cipher}",
        f"subject: {certificate.subject.rfc4514_string()}",
        f"issuer: {certificate.issuer.rfc4514_string()}",
        f"serial: {certificate.serial_number:x}",
        f"valid: {_day(certificate.not_valid_before_utc)} to {_day(certificate.not_valid_after_utc)}",
        "",
    ]
    return "\n".join(lines).encode() + certificate.public_bytes(Encoding.PEM)
