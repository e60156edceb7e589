"""`dns`: what name servers say of names."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, Threshold, parse_duration
from pytest_releasegate.sources import dns
from pytest_releasegate.sources.text import OneOrMore, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.dns import Reply
    from pytest_releasegate.sources.sockets import Address

    Told = Mapping[tuple[str, "Type"], tuple[Address, Reply]]

__all__ = ["Dns"]

Type = Literal["A", "AAAA", "CNAME", "MX", "TXT", "CAA", "NS"]
Name = Annotated[str, StringConstraints(min_length=1)]
Values = Annotated[tuple[Name, ...], OneOrMore, Field(min_length=1)]
Records = dict[Name, dict[Type, Values]]
_MOST_SHOWN = 120
_POLICIES = ("v=spf1", "v=dmarc1")
_WHOLE = "write the whole name, such as www.example.org"
_ADDRESSES = {"A": (IPv4Address, "IPv4"), "AAAA": (IPv6Address, "IPv6")}


class Dns(Parameters):
    """The records of names, as the system's resolver or given servers tell them; the denominator is the answers.

    ```yaml
    dns:
      exactly:
        app.example.org: {A: 203.0.113.7, AAAA: "2001:db8::7"}
        example.org: {MX: "10 mail.example.org", CAA: "0 issue letsencrypt.org"}
      includes:
        example.org: {TXT: "v=spf1 include:_spf.example.net -all"}
      absent:
        old.example.org: [A, AAAA, CNAME]
      servers: [ns1.example.org, "192.0.2.53:53"]
      ttl: "<= 300"
    ```
    """

    kind: ClassVar[str] = "dns"
    waits: ClassVar[bool] = True
    shorthand: ClassVar[str] = "exactly"

    exactly: Records = Field(default_factory=dict)
    """Names with the values that their records of a type must have, these and no others; aliases are followed."""
    includes: Records = Field(default_factory=dict)
    """Names with values that must be among their records of a type, whatever else is there."""
    absent: dict[Name, Annotated[tuple[Type, ...], OneOrMore, Field(min_length=1)]] = Field(default_factory=dict)
    """Names with the types of which there must be no record."""
    servers: Annotated[tuple[Name, ...], OneOrMore] = ()
    """The name servers to ask, each of which must say so, by address or name with or without a port."""
    ttl: Threshold | None = None
    """How long others may keep each record, such as `<= 300` seconds before a move."""
    within: Duration = parse_duration("5s")
    """The longest that one answer may take."""
    retry_for: Duration | None = None
    """How long to go on asking until all is as expected, such as after a change of a zone."""

    @model_validator(mode="after")
    def _something(self) -> Dns:
        if not (self.exactly or self.includes or self.absent):
            raise ValueError("name records under `exactly`, `includes` or `absent`")
        if self.ttl is not None and not (self.exactly or self.includes):
            raise ValueError("`ttl` is about records under `exactly` or `includes`")
        return self

    @model_validator(mode="after")
    def _names_and_values(self) -> Dns:
        """What no zone can hold is absent everywhere, and found nowhere."""
        for text in self.servers:
            if "${" not in text:
                _require_server(text)
        for name in (*self.exactly, *self.includes, *self.absent):
            _require_name(name, whole=name in self.absent)
        for records in (self.exactly, self.includes):
            for kinds in records.values():
                for kind, values in kinds.items():
                    for value in values:
                        _require_value(kind, value)
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask each server for each name and type once."""
        number = 0
        for servers in self._servers(context):
            told: dict[tuple[str, Type], tuple[Address, Reply]] = {}
            for name, kind in self._questions():
                asked = context.resolve(name, secret=False)
                if "." not in asked.rstrip(".") and name in self.absent:
                    raise CannotLook(f"'{asked}' is no whole name", _WHOLE)
                told[name, kind] = _first(servers, asked, kind, self._limit(context))
            number += len(told)
            context.attach(f"answers-{servers[0][0]}.txt", "text/plain", _evidence(told))
            yield from self._compare(told, context)
        yield counted("answers", number)

    def _limit(self, context: Context) -> float:
        return context.remaining(self.within.total_seconds())

    def _servers(self, context: Context) -> list[list[Address]]:
        """The servers that must each say so; of the system's, the first that answers speaks for all."""
        if not self.servers:
            return [dns.system_servers()]
        return [[dns.server_address(context.resolve(text, secret=False))] for text in self.servers]

    def _questions(self) -> list[tuple[str, Type]]:
        asked: list[tuple[str, Type]] = []
        for records in (self.exactly, self.includes):
            asked += [(name, kind) for name, kinds in records.items() for kind in kinds]
        asked += [(name, kind) for name, kinds in self.absent.items() for kind in kinds]
        return list(dict.fromkeys(asked))

    def _compare(self, told: Told, context: Context) -> Iterator[Finding]:
        for (name, kind), (server, reply) in told.items():
            where = f"{name} {kind}" + (f" by {server[0]}" if self.servers else "")
            exact = self.exactly.get(name, {}).get(kind)
            among = self.includes.get(name, {}).get(kind)
            for wanted, only in ((exact, True), (among, False)):
                if wanted:
                    yield _values(where, [context.resolve(text) for text in wanted], reply, kind, only=only)
            if kind in self.absent.get(name, ()):
                found = [one.value for one in reply.records]
                ok = Ok.CANNOT_TELL if reply.outside or reply.is_nowhere else not found
                yield find(f"{where}", expected="absent", actual=_words(found, reply), ok=ok)
            elif self.ttl is not None and reply.records:
                yield _ttl(where, self.ttl, reply)


def _first(servers: list[Address], name: str, kind: str, limit: float) -> tuple[Address, Reply]:
    """The answer of the first server that gives one, as a resolver asks them."""
    for server in servers[:-1]:
        with suppress(CannotLook):
            return server, dns.ask(server, name, kind, limit)
    return servers[-1], dns.ask(servers[-1], name, kind, limit)


def _values(where: str, wanted: list[str], reply: Reply, kind: str, *, only: bool) -> Finding:
    found = [one.value for one in reply.records]
    keys, there = {_key(text, kind) for text in wanted}, {_key(text, kind) for text in found}
    expected = ("" if only else "among them ") + shown([_cut(text) for text in wanted])
    ok = Ok.CANNOT_TELL if reply.outside else keys == there if only else keys <= there
    actual = _words(found, reply)
    for word in _POLICIES:
        if any(_says(text, word) for text in wanted) and sum(_says(text, word) for text in found) > 1:
            ok, actual = False, f"{actual}, of which one may begin so, and receivers take none of them"
    return find(where, expected=expected, actual=actual, ok=ok)


def _says(text: str, word: str) -> bool:
    return text.lower().replace(";", " ").split()[:1] == [word]


def _key(text: str, kind: str) -> str:
    """A value as it is compared: addresses by number, names without case or a last dot, texts as they are."""
    if kind in ("A", "AAAA"):
        try:
            return str(ip_address(text))
        except ValueError:
            return text
    if kind == "CAA":
        return " ".join(text.replace('"', "").split()).lower()
    if kind == "TXT":
        return text
    with suppress(CannotLook, UnicodeError):
        text = text if text.isascii() else dns.wire_name(text)
    return " ".join(text.lower().rstrip(".").split())


def _words(found: list[str], reply: Reply) -> str:
    if found:
        return shown(sorted(map(_cut, found)))
    if reply.outside:
        return f"an alias for {reply.outside}, which this server does not hold"
    if reply.aliases:
        return f"absent; an alias for {reply.aliases[-1].value}, which has none"
    if reply.is_nowhere:
        return "absent, and so is the whole domain: is the name written right?"
    return "absent" if reply.exists else "absent: there is no such name"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _ttl(where: str, wanted: Threshold, reply: Reply) -> Finding:
    told = (*reply.aliases, *reply.records)
    worst = next((one for one in told if not wanted.holds(one.ttl)), None)
    shown_one = worst or told[0]
    actual = f"{shown_one.ttl} s" + (f", of the alias {shown_one.owner}" if shown_one in reply.aliases else "")
    # what is left in a cache is at most what the record had: a bound from above proves nothing there, but breaks it
    proves = wanted.sign in ("<", "<=") if worst else wanted.sign in (">", ">=")
    if not reply.authoritative and not proves:
        hint = " left in the server's cache; ask a server of the domain itself"
        return find(f"{where} TTL", expected=str(wanted), actual=actual + hint, ok=Ok.CANNOT_TELL)
    return find(f"{where} TTL", expected=str(wanted), actual=actual, ok=worst is None)


def _require_name(name: str, *, whole: bool) -> None:
    if "${" in name:
        return
    try:
        sent = dns.wire_name(name)
    except CannotLook as wrong:
        raise ValueError(str(wrong)) from None
    if whole and "." not in sent:
        raise ValueError(f"'{name}' is no whole name: {_WHOLE}")


def _require_server(text: str) -> None:
    try:
        dns.server_address(text)
    except CannotLook as wrong:
        raise ValueError(str(wrong)) from None


def _require_value(kind: str, value: str) -> None:
    if "${" in value:
        return
    if kind in _ADDRESSES:
        made, called = _ADDRESSES[kind]
        try:
            made(value)
        except ValueError:
            raise ValueError(f"'{value}' is no {called} address") from None
    if kind == "MX" and not value.split()[0].isdigit():
        raise ValueError(f"'{value}' is no MX: write its preference too, such as `10 {value}`")


def _evidence(told: Told) -> bytes:
    lines = []
    for (name, kind), (server, reply) in told.items():
        lines.append(f"{name} {kind} by {server[0]}:{server[1]}{' (its own word)' if reply.authoritative else ''}")
        found = (*reply.aliases, *reply.records)
        lines += [f"    {one.owner} {one.ttl} {one.value}" for one in found] or ["    nothing"]
    return "\n".join(lines).encode()
