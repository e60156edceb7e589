"""`tls`: certificates, protocols and ciphers of servers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal
from urllib.parse import urljoin, urlsplit

from pydantic import AfterValidator, Field, StrictInt, StringConstraints, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, format_duration, parse_duration
from pytest_releasegate.sources import certificates, tls, webheaders
from pytest_releasegate.sources.http import Query, ask, public_url
from pytest_releasegate.sources.starttls import NoTls
from pytest_releasegate.sources.text import OneOrMore
from pytest_releasegate.turns import at_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from cryptography.x509 import Certificate

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

    _Asked = tuple[Finding, tls.Session | tls.Refusal | str]

__all__ = ["Tls"]

_DAY = 86400.0
_MOVED = (301, 302, 303, 307, 308)
_SEVERAL, _AT_ONCE, _MOST_OTHERS, _OTHERS_SECONDS = 2, 8, 32, 5.0
_SAME = "the same certificate"
_DATABASE = "database:"
_NOT_HTTPS = (_DATABASE, "smtp:", "smtps:", "postgres:", "postgresql:")
_Class = Literal["null", "anonymous", "export", "rc4", "des", "cbc", "no_forward_secrecy"]


def _plain_http(text: str) -> str:
    if text.startswith(("http://", "${")):
        return text
    raise ValueError(f"'{text}' is no plain URL; write it as http://host/")


class Tls(Parameters):
    """Each endpoint's chain, host name, days left, key, protocols and ciphers; the denominator is the endpoints.

    ```yaml
    tls:
      endpoints: ["https://app.example.org", "smtp://mail.example.org:587", "database:app"]
      min_days: 30
      hsts: 180d
      redirect_from: http://app.example.org/
    ```
    """

    kind: ClassVar[str] = "tls"
    waits: ClassVar[bool] = True
    shorthand: ClassVar[str] = "endpoints"

    endpoints: Annotated[tuple[Annotated[str, StringConstraints(min_length=1)], ...], OneOrMore, Field(min_length=1)]
    """One or more of `host:port`, an https, smtp (STARTTLS), smtps or postgresql URL, `database:NAME`, or `/`."""
    ca: str = ""
    """A file with the certificate authority to trust instead of the system's, relative to the root."""
    min_days: Annotated[StrictInt, Field(ge=1)] = 14
    """The fewest days for which the certificate must still be valid."""
    min_protocol: Literal["TLSv1.1", "TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    """The oldest protocol that the server may speak."""
    refuse_ciphers: Annotated[tuple[_Class, ...], OneOrMore] = ("null", "anonymous", "export", "rc4", "des")
    """Classes of ciphers that the server must refuse, each of which is really offered to it."""
    min_rsa: Annotated[StrictInt, Field(ge=1024)] = 2048
    """The fewest bits of an RSA or DSA key; a key on an elliptic curve needs 224, which is about as strong."""
    hsts: Duration | None = None
    """The shortest time for which each https endpoint must bind browsers to HTTPS (Strict-Transport-Security)."""
    redirect_from: Annotated[tuple[Annotated[str, AfterValidator(_plain_http)], ...], OneOrMore] = ()
    """Plain http URLs that must redirect to HTTPS at once, on the same host."""
    plain: Literal["ignored", "refused"] = "ignored"
    """Whether `database:` servers must refuse who comes without TLS, and mail servers offer no login before it."""
    addresses: Literal["any", "each"] = "any"
    """Whether each address of a name must answer; where any will do, certificates of others that answer count too."""
    handshake: Duration = parse_duration("10s")
    """The longest that one handshake may take; a server that takes longer is not looked at."""

    @field_validator("endpoints")
    @classmethod
    def _endpoints_of_tls(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            if "${" not in text and not text.startswith(("/", _DATABASE)):
                try:
                    tls.Endpoint.parse(text)
                except CannotLook as wrong:
                    raise ValueError(str(wrong)) from None
        return texts

    @model_validator(mode="after")
    def _declared_as_https(self) -> Tls:
        if self.hsts is not None and all(text.startswith(_NOT_HTTPS) for text in self.endpoints):
            raise ValueError("`hsts` is a matter of https, and no endpoint is; leave it out")
        if self.plain == "refused" and not any(text.startswith((_DATABASE, "smtp:")) for text in self.endpoints):
            raise ValueError("`plain` is a matter of smtp and database, and no endpoint is; see `redirect_from`")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Shake hands with each endpoint, a few times each."""
        ca = tls.authority_file(context.root, context.resolve(self.ca, secret=False))
        endpoints = [endpoint for text in self.endpoints for endpoint in _endpoints(text, context)]
        if self.addresses == "each":
            endpoints = [one for endpoint in endpoints for one in endpoint.each(self._limit(context))]
        for endpoint in endpoints:
            looked: set[bytes] = set()
            yield from self._look_at(endpoint, ca, looked, context)
            if self.addresses == "any":
                yield from self._others(endpoint, ca, looked, context)
        for text in self.redirect_from:
            yield self._redirect(context.url(text), context)
        yield counted("endpoints", len(endpoints), len(self.endpoints))

    def _look_at(self, endpoint: tls.Endpoint, ca: str, looked: set[bytes], context: Context) -> Iterator[Finding]:
        try:
            session = tls.seen(endpoint, self._limit(context))
        except NoTls as none:
            yield find(f"{endpoint} TLS", expected="offered", actual=none.what, ok=False)
            return
        looked.add(session.certificate)
        certified = list(self._certified(endpoint, session, ca, context))
        yield from certified
        for kind in ("RSA", "ECDSA"):
            second = tls.of_kind(endpoint, kind, self._limit(context))
            if second is not None and second.certificate not in looked:
                looked.add(second.certificate)
                yield from self._certified(endpoint, second, ca, context, kind)
        yield self._protocol(endpoint, session)
        asked = [*self._refused(endpoint, context), *self._weak(endpoint, context)]
        yield from (finding for finding, _ in asked)
        if any(isinstance(answer, tls.Refusal) and answer.abrupt for _, answer in asked):
            tls.seen(endpoint, self._limit(context))  # else it breaks off whatever comes, and has refused nothing
        if self.plain == "refused" and (endpoint.login or endpoint.scheme == "smtp"):
            yield self._plain(endpoint, context)
        if self.hsts is not None and endpoint.scheme == "https":
            refused = any(finding.ok is Ok.NO for finding in certified[:2])
            yield self._hsts(endpoint, ca, self.hsts, context, refused=refused)

    def _certified(
        self, endpoint: tls.Endpoint, session: tls.Session, ca: str, context: Context, kind: str = ""
    ) -> Iterator[Finding]:
        """What is to say of a certificate: its chain and name first, then its dates and strength."""
        certificate = _parsed(endpoint, session.certificate)
        where = f"{endpoint} ({kind})" if kind else str(endpoint)
        context.attach(f"{where}.txt", "text/plain", _evidence(endpoint, session, certificate))
        chain = tls.verified(endpoint, ca, self._limit(context), kind)
        problem = chain if isinstance(chain, str) else ""
        yield find(f"{where} chain", expected="verifies", actual=problem or "verifies", ok=not problem)
        name = tls.name_problem(endpoint, session.certificate, self._limit(context), kind)
        wanted = f"for {endpoint.host}"
        yield find(f"{where} certificate", expected=wanted, actual=name or wanted, ok=not name)
        yield from self._validity(where, certificate, context.clock.now())
        yield from certificates.strength(where, certificate, self.min_rsa)
        if isinstance(chain, tls.Session) and chain.issuers:
            issuers = [_parsed(endpoint, each) for each in chain.issuers]
            yield from certificates.issuing(where, issuers, self.min_days, context.clock.now())

    def _others(self, endpoint: tls.Endpoint, ca: str, looked: set[bytes], context: Context) -> Iterator[Finding]:
        """The certificates at the further addresses of a name, one of which may have been forgotten."""
        every = endpoint.each(self._limit(context)) if not endpoint.address else []
        each = every[:_MOST_OTHERS]
        if len(each) < _SEVERAL:
            return
        if len(every) > len(each):
            actual = f"the first {len(each)} of {len(every)}"
            name = f"{endpoint} further addresses"
            yield find(name, expected="all looked at", actual=actual, ok=Ok.CANNOT_TELL, observe=True)
        limit = min(self._limit(context), _OTHERS_SECONDS)
        found = at_once(lambda one: _session(one, limit), each, _AT_ONCE)
        for one, session in zip(each, found, strict=True):
            if isinstance(session, CannotLook):
                actual = session.what.removeprefix(f"{one}: ")
                ok = Ok.NO if isinstance(session, NoTls) else Ok.CANNOT_TELL
                yield find(str(one), expected=_SAME, actual=actual, ok=ok, observe=ok is Ok.CANNOT_TELL)
            elif session.certificate in looked:
                yield find(str(one), expected=_SAME, actual="the same", ok=True)
            else:
                yield find(str(one), expected=_SAME, actual="another one, looked at by itself", ok=True)
                looked.add(session.certificate)
                yield from self._certified(one, session, ca, context)

    def _weak(self, endpoint: tls.Endpoint, context: Context) -> Iterator[_Asked]:
        if not self.refuse_ciphers:
            return
        name = f"{endpoint} weak ciphers"
        # Most servers refuse all of them at once; only one that does not is asked for each class.
        answer = tls.accepted(endpoint, self.refuse_ciphers, self._limit(context))
        if isinstance(answer, tls.Refusal):
            yield self._refusal(name, answer), answer
            return
        for each in self.refuse_ciphers:
            answer = tls.accepted(endpoint, [each], self._limit(context))
            name = f"{endpoint} {each.replace('_', ' ')} ciphers"
            if isinstance(answer, tls.Refusal):
                yield self._refusal(name, answer), answer
            else:
                yield find(name, expected="refused", actual=f"accepted: {answer}", ok=False), answer

    def _plain(self, endpoint: tls.Endpoint, context: Context) -> Finding:
        answer = tls.plain(endpoint, self._limit(context))
        ok = {True: Ok.YES, False: Ok.NO, None: Ok.CANNOT_TELL}[answer.refused]
        return find(f"{endpoint} without TLS", expected="no login", actual=answer.words, ok=ok)

    def _hsts(self, endpoint: tls.Endpoint, ca: str, least: timedelta, context: Context, *, refused: bool) -> Finding:
        name, expected = f"{endpoint} HSTS", f"max-age >= {format_duration(least)}"
        if refused:
            return find(name, expected=expected, actual="not asked: the certificate is refused", ok=Ok.CANNOT_TELL)
        place = replace(endpoint, address="")
        answer = ask(Query(url=f"https://{place}/", ca=ca), clock=context.clock, limit=self._limit(context))
        return webheaders.hsts_finding(name, answer, least)

    def _redirect(self, url: str, context: Context) -> Finding:
        answer = ask(Query(url=url), clock=context.clock, limit=self._limit(context))
        target = urlsplit(urljoin(url, answer.headers.get("Location", "")))
        to = f"{target.scheme}://{target.netloc.rpartition('@')[2]}"
        moved = answer.status in _MOVED and "Location" in answer.headers
        actual = f"{answer.status} to {to}" if moved else f"{answer.status} {answer.reason}, without a redirect"
        ok = moved and target.scheme == "https" and target.hostname == urlsplit(url).hostname
        return find(f"{public_url(url)} redirect", expected="to HTTPS on the same host", actual=actual, ok=ok)

    def _limit(self, context: Context) -> float:
        return context.remaining(self.handshake.total_seconds())

    def _validity(self, where: str, certificate: Certificate, now: datetime) -> Iterator[Finding]:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if begin > now:
            yield find(f"{where} valid from", expected=f"<= {now:%Y-%m-%d %H:%MZ}", actual=_day(begin), ok=False)
        days = math.floor((end - now).total_seconds() / _DAY)
        left = f"{days} days, until {_day(end)}" if days >= 0 else f"expired on {_day(end)}"
        yield find(f"{where} days left", expected=f">= {self.min_days} days", actual=left, ok=days >= self.min_days)

    def _protocol(self, endpoint: tls.Endpoint, session: tls.Session) -> Finding:
        names = list(tls.PROTOCOLS)
        ok = session.protocol in names and names.index(session.protocol) >= names.index(self.min_protocol)
        return find(f"{endpoint} protocol", expected=f">= {self.min_protocol}", actual=session.protocol, ok=ok)

    def _refused(self, endpoint: tls.Endpoint, context: Context) -> Iterator[_Asked]:
        names = list(tls.PROTOCOLS)
        for protocol in names[: names.index(self.min_protocol)]:
            answer = tls.offer(endpoint, protocol, self._limit(context))
            yield self._refusal(f"{endpoint} {protocol}", answer), answer

    def _refusal(self, name: str, answer: tls.Session | tls.Refusal) -> Finding:
        if isinstance(answer, tls.Session):
            return find(name, expected="refused", actual=f"accepted with {answer.cipher}", ok=False)
        if answer.by == "the server":
            return find(name, expected="refused", actual=f"refused ({answer.reason})", ok=True)
        return find(name, expected="refused", actual=answer.reason, ok=Ok.CANNOT_TELL)


def _endpoints(text: str, context: Context) -> list[tls.Endpoint]:
    """The endpoints of a text: one, but as many as a connection string of a database names."""
    if text.startswith(_DATABASE):
        from pytest_releasegate.sources.postgres import servers

        found, user, name = servers(context, text.removeprefix(_DATABASE))
        return [tls.Endpoint(*each, "postgresql", login=(user, name)) for each in found]
    return [tls.Endpoint.parse(context.url(text) if text.startswith("/") else context.resolve(text, secret=False))]


def _session(endpoint: tls.Endpoint, limit: float) -> tls.Session | CannotLook:
    """The session at one address, or why there is none."""
    try:
        return tls.seen(endpoint, limit)
    except CannotLook as none:
        return none


def _parsed(endpoint: tls.Endpoint, certificate: bytes) -> Certificate:
    from cryptography.x509 import load_der_x509_certificate

    try:
        return load_der_x509_certificate(certificate)
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
