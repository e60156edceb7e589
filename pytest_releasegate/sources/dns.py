"""One question to one name server over UDP, and over TCP where the answer is cut short (RFC 1035)."""

from __future__ import annotations

import re
import secrets
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from time import monotonic

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.params import format_seconds
from pytest_releasegate.sources.sockets import Address, Line, addresses, split_address
from pytest_releasegate.sources.text import visible
from pytest_releasegate.turns import turn

__all__ = ["TYPES", "Record", "Reply", "ask", "followed", "server_address", "system_servers", "wire_name"]

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "MX": 15, "TXT": 16, "AAAA": 28, "CAA": 257}
"""The types of records that can be asked for, with their numbers."""

_PORT = 53
_SOA = 6
_LEAST_DOTS = 2
_RESOLVERS = Path("/etc/resolv.conf")
_INTERNET = 1
_TRUNCATED, _AUTHORITATIVE, _RESPONSE, _WANT_RECURSION, _RECURSIVE = 0x0200, 0x0400, 0x8000, 0x0100, 0x0080
_NO_ERROR, _NO_SUCH_NAME = 0, 3
_CODES = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}
_LARGEST = 65535
_LONGEST_NAME = 255
_RESEND = 1.0
_MOST_POINTERS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]+|\*")


class _Garbled(Exception):
    """A message that breaks the protocol."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record of an answer: its owner, its type's number, its seconds to live, and its value as text."""

    owner: str
    type: int
    ttl: int
    value: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said of a name and type: the records, whether the name is there, and whether it is its own word."""

    records: tuple[Record, ...]
    exists: bool
    authoritative: bool
    aliases: tuple[Record, ...] = ()
    """The aliases that were followed, from the name on."""
    recursive: bool = True
    """Whether the server asks others for what it does not hold."""
    zone: str | None = None
    """The zone that a negative answer comes from, where the server says so."""

    @property
    def is_nowhere(self) -> bool:
        """Whether not even the domain of the name is there, by the word of a zone above it."""
        known = self.exists or self.authoritative or self.zone is None
        return not known and "." not in (self.zone or "")

    @property
    def outside(self) -> str:
        """What the name is an alias for, where this server neither holds that nor asks others; empty otherwise."""
        return self.aliases[-1].value if self.aliases and not self.records and not self.recursive else ""


def system_servers(file: Path = _RESOLVERS) -> list[Address]:
    """The name servers that this machine uses."""
    try:
        found = re.findall(r"(?m)^\s*nameserver\s+(\S+)", file.read_text(errors="replace"))
    except OSError:
        found = []
    if not found:
        raise CannotLook(f"{file} names no name server", "name one as `servers`")
    return [(host, _PORT) for host in found]


def server_address(text: str) -> Address:
    """Read `host`, `host:port`, an IPv6 address or `[address]:port`."""
    try:
        return str(ip_address(text)), _PORT
    except ValueError:
        return split_address(text, _PORT)


def ask(server: Address, name: str, kind: str, limit: float) -> Reply:
    """The records of a name that answer the question, aliases followed; raises `CannotLook` without an answer."""
    number, query = _query(name, kind)
    where = f"{server[0]}:{server[1]}"
    try:
        with turn(server[0]):
            message = _over_udp(server, number, query, limit)
            if struct.unpack("!H", message[2:4])[0] & _TRUNCATED:
                message = _over_tcp(server, query, limit)
        return _read(message, number, query, TYPES[kind], where)
    except TimeoutError:
        hint = "is it a name server, and the network open?"
        raise CannotLook(f"{where}: no answer about {kind} of {name} within {format_seconds(limit)}", hint) from None
    except OSError as error:
        raise CannotLook(f"{where}: {error.strerror or error}", "is it a name server?") from None
    except (_Garbled, struct.error, IndexError) as error:
        raise CannotLook(f"{where}: the answer about {kind} of {name} is garbled: {error}") from None


def _query(name: str, kind: str) -> tuple[int, bytes]:
    number = secrets.randbelow(65536)
    return number, struct.pack("!6H", number, _WANT_RECURSION, 1, 0, 0, 0) + _question(name, TYPES[kind])


def _question(name: str, kind: int) -> bytes:
    labels = [label.encode() for label in wire_name(name).split(".")]
    whole = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(whole) > _LONGEST_NAME or not all(0 < len(label) < 64 for label in labels):
        raise CannotLook(f"'{name}' is no name", "a label has 1 to 63 letters, a name 253")
    return whole + struct.pack("!HH", kind, _INTERNET)


def wire_name(name: str) -> str:
    """The name as it is sent; raises `CannotLook` for what no zone can hold, such as a URL."""
    try:
        labels = [_label(label) for label in name.removesuffix(".").split(".")]
    except UnicodeError as error:
        raise CannotLook(f"'{name}' is no name: {error}") from None
    if not all(map(_NAME.fullmatch, labels)):
        raise CannotLook(f"'{name}' is no name", "write a name alone, such as www.example.org")
    return ".".join(labels)


def _label(label: str) -> str:
    """The label as sent; those of ASCII go as they are, since `_dmarc` is none of a host."""
    return label if label.isascii() else label.encode("idna").decode("ascii")


def _over_udp(server: Address, number: int, query: bytes, limit: float) -> bytes:
    until = monotonic() + limit
    known = addresses(server[0], limit)
    if not known:
        raise OSError("the server's name has no address")
    family, address = known[0]
    with socket.socket(family, socket.SOCK_DGRAM) as line:
        line.connect((address, server[1]))  # only what comes from there is heard
        while (left := until - monotonic()) > 0:
            line.send(query)
            message = _heard(line, number, min(left, _RESEND))
            if message is not None:
                return message
    raise TimeoutError


def _heard(line: socket.socket, number: int, limit: float) -> bytes | None:
    """The answer to this question; None where none came in time, so that the question may be lost."""
    until = monotonic() + limit
    while (left := until - monotonic()) > 0:
        line.settimeout(left)
        try:
            message = line.recv(_LARGEST)
        except TimeoutError:
            return None
        if len(message) >= 12 and message[:2] == struct.pack("!H", number):
            return message
    return None


def _over_tcp(server: Address, query: bytes, limit: float) -> bytes:
    with Line(server, limit) as line:
        line.send(struct.pack("!H", len(query)) + query)
        return line.exactly(struct.unpack("!H", line.exactly(2))[0])


def _read(message: bytes, number: int, query: bytes, kind: int, where: str) -> Reply:
    found, flags, questions, answers = struct.unpack("!4H", message[:8])
    code = flags & 0xF
    if found == number and flags & _RESPONSE and not questions:
        _require_answer(code, _name(query, 12)[0], where)
    if found != number or not flags & _RESPONSE or questions != 1:
        raise _Garbled("it is not about this question")
    asked, at = _name(message, 12)
    wanted, _ = _name(query, 12)
    if asked.lower() != wanted.lower() or message[at : at + 4] != query[-4:]:
        raise _Garbled("it is about another question")
    _require_answer(code, wanted, where)
    records = _records(message, at + 4, answers)
    own, recursive = bool(flags & _AUTHORITATIVE), bool(flags & _RECURSIVE)
    if not (records or own or recursive):
        what = f"{where} does not answer for {wanted}: it neither holds it nor asks others"
        raise CannotLook(what, "name a server of the domain itself, or a resolver")
    steps, end = followed(wanted, records) if kind != TYPES["CNAME"] else ([], "")
    if end in {one.owner.lower() for one in steps}:
        raise CannotLook(f"{where}: the aliases of {wanted} lead in a circle", "see the zone's CNAME records")
    owners = {wanted.lower(), *(one.value.lower() for one in steps)}
    there = tuple(one for one in records if one.type == kind and one.owner.lower() in owners)
    # a domain itself that is not there is always told by the zone above it
    zone = None if there or wanted.count(".") < _LEAST_DOTS else _zone(message, at + 4, answers)
    return Reply(there, code == _NO_ERROR, own, tuple(steps), recursive, zone)


def _zone(message: bytes, at: int, answers: int) -> str | None:
    """The owner of the SOA record that comes with a negative answer (RFC 2308); None without one."""
    more = int.from_bytes(message[8:10])
    with suppress(_Garbled, struct.error, IndexError):
        for number in range(answers + more):
            owner, at = _name(message, at)
            kind, _, _, size = struct.unpack("!HHIH", message[at : at + 10])
            at += 10 + size
            if kind == _SOA and number >= answers:
                return owner
    return None


def _require_answer(code: int, name: str, where: str) -> None:
    if code not in (_NO_ERROR, _NO_SUCH_NAME):
        hint = "does this server serve the name, and answer you?"
        raise CannotLook(f"{where}: {_CODES.get(code, f'code {code}')} for {name}", hint)


def followed(name: str, records: list[Record]) -> tuple[list[Record], str]:
    """The aliases that lead on from a name, each once, and where they end."""
    aliases = {one.owner.lower(): one for one in records if one.type == TYPES["CNAME"]}
    steps, place = [], name.lower()
    while place in aliases:
        steps.append(aliases.pop(place))
        place = steps[-1].value.lower()
    return steps, place


def _records(message: bytes, at: int, count: int) -> list[Record]:
    found = []
    for _ in range(count):
        owner, at = _name(message, at)
        kind, family, ttl, size = struct.unpack("!HHIH", message[at : at + 10])
        at += 10
        if at + size > len(message):
            raise _Garbled("a record ends after the message")
        if family == _INTERNET and kind in TYPES.values():
            found.append(Record(owner, kind, ttl, visible(_value(message, kind, at, size))))
        at += size
    return found


def _value(message: bytes, kind: int, at: int, size: int) -> str:
    body = message[at : at + size]
    if kind == TYPES["A"] and size == 4:
        return str(IPv4Address(body))
    if kind == TYPES["AAAA"] and size == 16:
        return str(IPv6Address(body))
    if kind in (TYPES["NS"], TYPES["CNAME"]):
        return _name(message, at)[0]
    if kind == TYPES["MX"]:
        return f"{struct.unpack('!H', body[:2])[0]} {_name(message, at + 2)[0]}"
    if kind == TYPES["TXT"]:
        return _strings(body)
    if kind == TYPES["CAA"] and size >= 2:
        tag = body[2 : 2 + body[1]].decode("ascii", "replace")
        return f"{body[0]} {tag} {body[2 + body[1] :].decode('utf-8', 'replace')}"
    raise _Garbled("a value has the wrong size")


def _strings(body: bytes) -> str:
    """The parts of a text, which belong together without a space (RFC 7208)."""
    parts, at = [], 0
    while at < len(body):
        parts.append(body[at + 1 : at + 1 + body[at]])
        at += 1 + body[at]
    return b"".join(parts).decode("utf-8", "replace")


def _name(message: bytes, at: int) -> tuple[str, int]:
    """The name at a place, and where the message goes on; pointers point back, so that none can loop."""
    labels: list[str] = []
    after = jumps = 0
    lowest = at
    while message[at]:
        if message[at] >= 0xC0:
            after = after or at + 2
            at = struct.unpack("!H", message[at : at + 2])[0] & 0x3FFF
            jumps += 1
            if at >= lowest or jumps > _MOST_POINTERS:
                raise _Garbled("a name points at itself")
            lowest = at
            continue
        labels.append(message[at + 1 : at + 1 + message[at]].decode("ascii", "backslashreplace"))
        at += 1 + message[at]
        if len(labels) > _LONGEST_NAME:
            raise _Garbled("a name without an end")
    return ".".join(labels), after or at + 1
