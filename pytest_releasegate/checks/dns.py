"""`dns`: what name servers say of names."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
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
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask each server for each name and type once."""
        number = 0
        for servers in self._servers(context):
            told: dict[tuple[str, Type], tuple[Address, Reply]] = {}
            for name, kind in self._questions():
                told[name, kind] = _first(servers, context.resolve(name, secret=False), kind, self._limit(context))
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
                yield find(f"{where}", expected="absent", actual=_words(found, reply), ok=not found)
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
    return find(where, expected=expected, actual=_words(found, reply), ok=keys == there if only else keys <= there)


def _key(text: str, kind: str) -> str:
    """A value as it is compared: addresses by number, names without case or a last dot, texts as they are."""
    if kind in ("A", "AAAA"):
        try:
            return str(ip_address(text))
        except ValueError:
            return text
    if kind == "CAA":
        return " ".join(text.replace('"', "").split()).lower()
    return text if kind == "TXT" else " ".join(text.lower().rstrip(".").split())


def _words(found: list[str], reply: Reply) -> str:
    if found:
        return shown(sorted(map(_cut, found)))
    return "absent" if reply.exists else "absent: there is no such name"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _ttl(where: str, wanted: Threshold, reply: Reply) -> Finding:
    worst = [one.ttl for one in reply.records if not wanted.holds(one.ttl)]
    actual = f"{worst[0] if worst else reply.records[0].ttl} s"
    if worst and not reply.authoritative and wanted.sign in (">", ">=", "==", "!="):
        hint = " left in the server's cache; ask a server of the domain itself"
        return find(f"{where} TTL", expected=str(wanted), actual=actual + hint, ok=Ok.CANNOT_TELL)
    return find(f"{where} TTL", expected=str(wanted), actual=actual, ok=not worst)


def _evidence(told: Told) -> bytes:
    lines = []
    for (name, kind), (server, reply) in told.items():
        lines.append(f"{name} {kind} by {server[0]}:{server[1]}{' (its own word)' if reply.authoritative else ''}")
        lines += [f"    {one.owner} {one.ttl} {one.value}" for one in reply.records] or ["    nothing"]
    return "\n".join(lines).encode()
