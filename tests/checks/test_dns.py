"""`dns` against a real name server on loopback, which speaks RFC 1035 over UDP and TCP."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.dns import Dns
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.sources import dns
from pytest_releasegate.testing import FakeClock, look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_releasegate.execution import Look

NUMBERS = {"A": 1, "NS": 2, "CNAME": 5, "MX": 15, "TXT": 16, "AAAA": 28, "CAA": 257}
ZONE: dict[str, list[tuple[str, str]]] = {
    "app.example.org": [("A", "203.0.113.7"), ("AAAA", "2001:db8::7")],
    "www.example.org": [("CNAME", "edge.example.org")],
    "edge.example.org": [("A", "203.0.113.8"), ("A", "203.0.113.9")],
    "example.org": [
        *[("NS", "ns1.example.org"), ("MX", "10 mail.example.org"), ("CAA", "0 issue letsencrypt.org")],
        *[("TXT", "v=spf1 -all"), ("TXT", "site=" + "x" * 300)],
    ],
    "shop.example.org": [("CNAME", "acme.shops.example.net")],
    "idn.example.org": [("CNAME", "xn--bcher-kva.example.org")],
    "_dmarc.example.org": [("TXT", "v=DMARC1; p=reject")],
}
SILENT, GARBLED, LOOPING, OTHER = range(-4, 0)


def wire_name(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def wire(kind: str, value: str) -> bytes:
    if kind in ("A", "AAAA"):
        return ip_address(value).packed
    if kind == "MX":
        rank, host = value.split()
        return struct.pack("!H", int(rank)) + wire_name(host)
    if kind == "TXT":
        parts = [value[at : at + 255].encode() for at in range(0, len(value), 255)]
        return b"".join(bytes([len(part)]) + part for part in parts)
    if kind == "CAA":
        flags, tag, text = value.split()
        return bytes([int(flags), len(tag)]) + tag.encode() + text.encode()
    return wire_name(value)


@dataclass
class NameServer:
    """What it answers; `code` is the response code, or one of the ways to misbehave."""

    address: str
    code: int = 0
    own_word: bool = True
    cut: bool = False
    lost: int = 0
    recursive: bool = True
    bare: bool = False
    zone: str | None = None
    """The zone that a negative answer is of; None leaves that out."""
    ttls: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, query: bytes, *, datagram: bool) -> bytes:
        end = query.index(0, 12) + 5
        name, at = [], 12
        while query[at]:
            name.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        full, kind = ".".join(name).lower(), struct.unpack("!H", query[end - 4 : end - 2])[0]
        self.asked.append(f"{full} {kind} {'UDP' if datagram else 'TCP'}")
        found = self.records(full, kind) if self.code <= 0 else []
        code = self.code if self.code > 0 else 0 if full in ZONE else 3
        flags = 0x8100 | (0x0080 if self.recursive else 0) | (0x0400 if self.own_word else 0) | code
        if self.bare:
            return query[:2] + struct.pack("!5H", flags, 0, 0, 0, 0)
        if self.cut and datagram:
            return query[:2] + struct.pack("!5H", flags | 0x0200, 1, 0, 0, 0) + query[12:end]
        question = query[12:end] if self.code != OTHER else wire_name("other.example.org") + query[end - 4 : end]
        if self.zone is not None and not found:
            names = wire_name("ns1.example.org") + wire_name("hostmaster.example.org")
            owner = wire_name(self.zone) if self.zone else b"\0"
            record = owner + struct.pack("!HHIH", 6, 1, 60, len(names) + 20) + names + bytes(20)
            return query[:2] + struct.pack("!5H", flags, 1, 0, 1, 0) + question + record
        body = b"".join(found) if self.code != GARBLED else b"\xc0\x0c\0\1\0\1\0\0"
        body = b"\xc0" + bytes([12 + len(question)]) + b"\0\1\0\1" if self.code == LOOPING else body
        return query[:2] + struct.pack("!5H", flags, 1, max(len(found), 1), 0, 0) + question + body

    def records(self, name: str, kind: int) -> list[bytes]:
        """Those of the type, after the aliases that lead to them; the owner is a pointer to the question."""
        made, owner = [], b"\xc0\x0c"
        for each, value in ZONE.get(name, []):
            if NUMBERS[each] == kind or each == "CNAME":
                body = wire(each, value)
                ttl = self.ttls.get(name, 300)
                made.append(owner + struct.pack("!HHIH", NUMBERS[each], 1, ttl, len(body)) + body)
            if each == "CNAME" and NUMBERS[each] != kind:
                alias = [wire_name(value) + record[2:] for record in self.records(value, kind)]
                made += alias
        return made


def serve_datagrams(line: socket.socket, server: NameServer) -> None:
    while True:
        query, sender = line.recvfrom(512)
        if not query:
            return
        server.lost -= 1
        if server.code != SILENT and server.lost < 0:
            line.sendto(b"\0\0not for you.", sender)
            line.sendto(fixed(server.answer(query, datagram=True)), sender)


def serve_connections(listener: socket.socket, server: NameServer) -> None:
    while True:
        connection, _ = listener.accept()
        with connection, suppress(OSError, struct.error):
            size = struct.unpack("!H", connection.recv(2))[0]
            answer = fixed(server.answer(connection.recv(size), datagram=False))
            connection.sendall(struct.pack("!H", len(answer)) + answer)
            continue
        return


def fixed(message: bytes) -> bytes:
    """The count of answers that is none where nothing follows the question."""
    if len(message) == 12:
        return message
    end = message.index(0, 12) + 5
    return message[:6] + b"\0\0" + message[8:] if len(message) == end else message


def two_of_one_port() -> tuple[socket.socket, socket.socket]:
    """A socket for datagrams and one for connections; a port that is free for one may be taken for the other."""
    for _ in range(50):
        line = socket.socket(type=socket.SOCK_DGRAM)
        line.bind(("127.0.0.1", 0))
        with suppress(OSError):
            return line, socket.create_server(line.getsockname())
        line.close()
    raise AssertionError("no port is free for both")


@pytest.fixture(scope="module")
def running() -> Iterator[NameServer]:
    line, listener = two_of_one_port()
    with line, listener:
        port = line.getsockname()[1]
        server = NameServer(f"127.0.0.1:{port}")
        threads = [
            threading.Thread(target=serve_datagrams, args=(line, server)),
            threading.Thread(target=serve_connections, args=(listener, server)),
        ]
        for thread in threads:
            thread.start()
        yield server
        with socket.socket(type=socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", port))
        socket.create_connection(("127.0.0.1", port)).close()
        for thread in threads:
            thread.join()


@pytest.fixture
def server(running: NameServer) -> NameServer:
    running.code, running.own_word, running.cut, running.lost = 0, True, False, 0
    running.recursive, running.bare, running.zone, running.ttls = True, False, None, {}
    running.asked.clear()
    return running


def run(server: NameServer, **fields: Any) -> Look:
    return look(Dns(**{"servers": server.address, "within": "2s", **fields}), Environment(name="test"))


def said(result: Look) -> list[str]:
    return [str(finding).replace(" by 127.0.0.1", "") for finding in result.findings if finding.ok is not Ok.YES]


def test_every_type_is_read(server: NameServer) -> None:
    result = run(
        server,
        exactly={
            "app.example.org": {"A": "203.0.113.7", "AAAA": "2001:0DB8:0::7"},
            "APP.example.org.": {"A": ["203.0.113.7"]},
            "www.example.org": {"CNAME": "edge.example.org.", "A": ["203.0.113.9", "203.0.113.8"]},
            "example.org": {"MX": "10 Mail.example.org.", "NS": "ns1.example.org", "CAA": '0 issue "letsencrypt.org"'},
            "_dmarc.example.org": {"TXT": "v=DMARC1; p=reject"},
        },
        includes={"example.org": {"TXT": ["v=spf1 -all", "site=" + "x" * 300]}},
        absent={"old.example.org": ["A", "AAAA"], "edge.example.org": "AAAA"},
        ttl="<= 5m",
    )
    assert (result.status, said(result)) == (Status.PASSED, [])
    assert str(result.findings[-1]) == "answers looked at: expected >= 1, got 13"
    assert b"app.example.org 300 203.0.113.7" in result.attached[0][1]
    assert b"old.example.org A by 127.0.0.1" in result.attached[0][1]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"exactly": {"app.example.org": {"A": "203.0.113.1"}}},
            "app.example.org A: expected 203.0.113.1, got 203.0.113.7",
        ),
        (
            {"exactly": {"www.example.org": {"A": "203.0.113.8"}}},
            "www.example.org A: expected 203.0.113.8, got 203.0.113.8, 203.0.113.9",
        ),
        (
            {"exactly": {"edge.example.org": {"AAAA": "2001:db8::1"}}},
            "edge.example.org AAAA: expected 2001:db8::1, got absent",
        ),
        (
            {"exactly": {"new.example.org": {"A": "203.0.113.1"}}},
            "new.example.org A: expected 203.0.113.1, got absent: there is no such name",
        ),
        (
            {"includes": {"_dmarc.example.org": {"TXT": "v=DMARC1"}}},
            "_dmarc.example.org TXT: expected among them v=DMARC1, got v=DMARC1; p=reject",
        ),
        ({"absent": {"app.example.org": ["A"]}}, "app.example.org A: expected absent, got 203.0.113.7"),
        (
            {"exactly": {"app.example.org": {"A": "203.0.113.7"}}, "ttl": "<= 60"},
            "app.example.org A TTL: expected <= 60, got 300 s",
        ),
    ],
)
def test_each_difference_fails_alone(server: NameServer, fields: dict[str, Any], line: str) -> None:
    result = run(server, **fields)
    assert (result.status, said(result)) == (Status.FAILED, [line])


def test_time_left_in_a_cache_cannot_tell_the_whole(server: NameServer) -> None:
    fields = {"exactly": {"app.example.org": {"A": "203.0.113.7"}}, "ttl": ">= 1h"}
    own = run(server, **fields)
    server.own_word = False
    cached = run(server, **fields)
    assert (own.status, cached.status) == (Status.FAILED, Status.INCONCLUSIVE)
    assert said(cached)[0].endswith("got 300 s left in the server's cache; ask a server of the domain itself")


def test_answers_that_are_cut_short_are_asked_for_over_tcp(server: NameServer) -> None:
    server.cut = True
    assert run(server, exactly={"app.example.org": {"A": "203.0.113.7"}}).status is Status.PASSED
    assert server.asked == ["app.example.org 1 UDP", "app.example.org 1 TCP"]


def test_question_that_is_lost_is_asked_again(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "_RESEND", 0.1)
    server.lost = 1
    assert run(server, exactly={"app.example.org": {"A": "203.0.113.7"}}).status is Status.PASSED


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (2, "SERVFAIL for app.example.org"),
        (5, "REFUSED for app.example.org"),
        (SILENT, "no answer about A of app.example.org within 0.2 s"),
        (GARBLED, "the answer about A of app.example.org is garbled"),
        (LOOPING, "garbled: a name points at itself"),
        (OTHER, "garbled: it is about another question"),
    ],
)
def test_what_is_no_answer_is_an_error(server: NameServer, code: int, message: str) -> None:
    server.code = code
    result = run(server, absent={"app.example.org": ["A"]}, within="200ms")
    assert (result.status, message in result.message) == (Status.ERROR, True)
    assert server.address in result.message


def test_change_of_a_zone_is_waited_for(server: NameServer) -> None:
    class Changing(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            server.code = 0

    server.code = 3
    check = Dns(exactly={"app.example.org": {"A": "203.0.113.7"}}, servers=server.address, retry_for="30s")
    result = look(check, clock=Changing())
    assert (result.status, result.attempts) == (Status.PASSED, 2)


def test_each_server_must_say_so(server: NameServer) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{nobody.getsockname()[1]}"
    fields = {"exactly": {"app.example.org": {"A": "203.0.113.7"}}}
    both = run(server, servers=[server.address, server.address], **fields)
    with_nobody = run(server, servers=[server.address, closed], **fields)
    assert (both.status, str(both.findings[-1])) == (Status.PASSED, "answers looked at: expected >= 1, got 2")
    assert (with_nobody.status, "Connection refused" in with_nobody.message) == (Status.ERROR, True)


def test_of_the_system_s_servers_the_first_that_answers_speaks(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(server.address.rpartition(":")[2])
    with socket.socket(type=socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = nobody.getsockname()
    monkeypatch.setattr(dns, "system_servers", lambda: [closed, ("127.0.0.1", port)])
    result = run(server, servers=[], exactly={"app.example.org": {"A": "203.0.113.7"}})
    assert (result.status, result.findings[0].name) == (Status.PASSED, "app.example.org A")


def test_system_servers_are_read(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# nameserver 192.0.2.1\nsearch example.org\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n")
    assert dns.system_servers(file) == [("192.0.2.53", 53), ("2001:db8::53", 53)]
    with pytest.raises(CannotLook, match="names no name server"):
        dns.system_servers(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
        ("ns1.example.org", ("ns1.example.org", 53)),
    ],
)
def test_servers_are_named_with_or_without_a_port(text: str, address: tuple[str, int]) -> None:
    assert dns.server_address(text) == address


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example.org", ".".join(["x" * 60] * 5)])
def test_what_is_no_name_is_an_error(server: NameServer, name: str) -> None:
    check = Dns(absent={"${value:name}": ("A",)}, servers=server.address)
    result = look(check, Environment(name="test", values={"name": name}))
    assert (result.status, "is no name" in result.message) == (Status.ERROR, True)


def test_nothing_declared_is_refused() -> None:
    with pytest.raises(ValidationError, match="name records"):
        Dns()
    with pytest.raises(ValidationError, match="'A', 'AAAA'"):
        Dns.model_validate({"exactly": {"a": {"SOA": "x"}}})


@pytest.mark.parametrize(
    "name",
    [
        "https://old.example.org",
        "old.example.org/",
        "old.example.org:443",
        "old example.org",
        "old",
    ],
)
def test_what_no_zone_can_hold_is_not_absent(server: NameServer, name: str) -> None:
    with pytest.raises(ValidationError, match=r"such as www\.example\.org"):
        Dns(absent={name: ("A",)})
    check = Dns(absent={"${value:old}": ("A",)}, servers=server.address)
    seen = look(check, Environment(name="test", values={"old": name}))
    assert (seen.status, server.asked) == (Status.ERROR, [])
    assert f"'{name}'" in seen.message


def test_names_that_zones_hold_are_taken() -> None:
    for name in ("*.example.org", "_dmarc.example.org", "s1._domainkey.example.org.", "bücher.example", "1.0.0.127.in"):
        assert Dns(absent={name: ("A",)}).absent
    assert Dns(exactly={"db": {"A": "10.0.0.7"}}).exactly


def test_a_server_that_only_points_elsewhere_knows_nothing(server: NameServer) -> None:
    server.own_word = server.recursive = False
    for fields in ({"absent": {"old.example.org": "A"}}, {"exactly": {"old.example.org": {"A": "203.0.113.1"}}}):
        seen = run(server, **fields)
        assert seen.status is Status.ERROR
        assert "does not answer for old.example.org: it neither holds it nor asks others" in seen.message


def test_an_alias_that_leads_out_of_what_the_server_holds_is_not_absent(server: NameServer) -> None:
    server.recursive = False
    seen = run(server, absent={"shop.example.org": "A"})
    assert (seen.status, said(seen)) == (
        Status.INCONCLUSIVE,
        [
            "shop.example.org A: expected absent, got an alias for acme.shops.example.net, "
            "which this server does not hold"
        ],
    )
    assert run(server, exactly={"shop.example.org": {"A": "203.0.113.1"}}).status is Status.INCONCLUSIVE
    assert run(server, exactly={"shop.example.org": {"CNAME": "acme.shops.example.net"}}).status is Status.PASSED
    server.recursive = True
    seen = run(server, absent={"shop.example.org": "A"})
    assert seen.status is Status.PASSED
    assert "got absent; an alias for acme.shops.example.net, which has none" in str(seen.findings[0])


def test_a_short_time_left_in_a_cache_is_no_short_time(server: NameServer) -> None:
    fields = {"exactly": {"app.example.org": {"A": "203.0.113.7"}}}
    server.own_word = False
    for ttl, status in (("<= 300", Status.INCONCLUSIVE), ("<= 60", Status.FAILED), (">= 60", Status.PASSED)):
        assert run(server, ttl=ttl, **fields).status is status


def test_the_time_of_an_alias_counts_too(server: NameServer) -> None:
    server.ttls = {"www.example.org": 86400}
    seen = run(server, exactly={"www.example.org": {"A": ["203.0.113.8", "203.0.113.9"]}}, ttl="<= 300")
    assert (seen.status, said(seen)) == (
        Status.FAILED,
        ["www.example.org A TTL: expected <= 300, got 86400 s, of the alias www.example.org"],
    )


def test_a_refusal_without_the_question_is_said_as_such(server: NameServer) -> None:
    server.code, server.bare = 5, True
    assert "REFUSED for app.example.org" in run(server, exactly={"app.example.org": {"A": "203.0.113.7"}}).message
    server.code = 0
    assert run(server, absent={"old.example.org": "A"}).status is Status.ERROR


def test_names_of_other_alphabets_are_compared_as_they_are_sent(server: NameServer) -> None:
    assert run(server, exactly={"idn.example.org": {"CNAME": "Bücher.example.org"}}).status is Status.PASSED


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"exactly": {"a.example": {"A": "203.0.113.300"}}}, "'203.0.113.300' is no IPv4 address"),
        ({"exactly": {"a.example": {"A": "2001:db8::7"}}}, "'2001:db8::7' is no IPv4 address"),
        ({"exactly": {"a.example": {"AAAA": "203.0.113.7"}}}, "'203.0.113.7' is no IPv6 address"),
        ({"includes": {"a.example": {"MX": "mail.a.example"}}}, "'mail.a.example' is no MX: write its preference too"),
        ({"absent": {"a.example": "A"}, "ttl": "<= 60"}, "`ttl` is about records under `exactly` or `includes`"),
    ],
)
def test_values_that_no_record_can_have_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Dns.model_validate(fields)


def test_long_chains_of_aliases_and_loops_of_them_end() -> None:
    chain = [dns.Record(f"a{number}.example", 5, 60, f"a{number + 1}.example") for number in range(3000)]
    steps, end = dns.followed("A0.example", [*reversed(chain), dns.Record("a3000.example", 5, 60, "a0.example")])
    assert (len(steps), end) == (3001, "a0.example")


def test_aliases_that_lead_in_a_circle_are_no_absence(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "_records", lambda *_: [dns.Record("old.example.org", 5, 60, "OLD.example.org")])
    seen = run(server, absent={"old.example.org": "A"})
    assert seen.status is Status.ERROR
    assert "the aliases of old.example.org lead in a circle" in seen.message


@pytest.mark.parametrize("policy", ["v=spf1 -all", "v=DMARC1; p=reject"])
def test_two_policies_where_one_may_be_void_both(
    server: NameServer, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """RFC 7208, section 4.5, and RFC 7489, section 6.6.3."""
    records = [("TXT", policy), ("TXT", f"{policy.partition(' ')[0]} ~other"), ("TXT", "site=1")]
    monkeypatch.setitem(ZONE, "two.example.org", records)
    seen = run(server, includes={"two.example.org": {"TXT": policy}})
    assert seen.status is Status.FAILED
    assert said(seen)[0].endswith(", of which one may begin so, and receivers take none of them")
    monkeypatch.setitem(ZONE, "two.example.org", records[::2])
    assert run(server, includes={"two.example.org": {"TXT": policy}}).status is Status.PASSED


@pytest.mark.parametrize("text", ["https://ns1.example.org", "ns1.example.org:port", "ns1.example.org:0"])
def test_servers_that_are_no_address_are_refused_before_a_release(text: str) -> None:
    with pytest.raises(ValidationError, match="names no host and port"):
        Dns(absent={"old.example.org": ("A",)}, servers=(text,))


@pytest.mark.parametrize(
    ("zone", "own_word", "status"),
    [
        ("org", False, Status.INCONCLUSIVE),
        ("", False, Status.INCONCLUSIVE),
        ("exmaple.org", False, Status.PASSED),
        ("org", True, Status.PASSED),
    ],
)
def test_a_name_whose_whole_domain_is_not_there_may_be_written_wrong(
    server: NameServer, zone: str, own_word: bool, status: Status
) -> None:
    server.zone, server.own_word = zone, own_word
    seen = run(server, absent={"old.exmaple.org": "A"})
    assert seen.status is status
    line = "old.exmaple.org A: expected absent, got absent, and so is the whole domain: is the name written right?"
    assert said(seen) == ([line] if status is Status.INCONCLUSIVE else [])
    assert run(server, absent={"exmaple.org": "A"}).status is Status.PASSED
