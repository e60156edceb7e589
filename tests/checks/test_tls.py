"""`tls` against real servers on loopback."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import warnings
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest
import trustme
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from pytest_releasegate.checks.tls import Tls
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.sources import certificates, sockets, tls
from pytest_releasegate.sources.pgfiles import give
from pytest_releasegate.sources.pgserver import PostgresServer
from pytest_releasegate.testing import FakeClock, look
from tests.conftest import missing_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_releasegate.execution import Look

NOW = datetime.now(UTC)
AUTHORITY = trustme.CA()
CURVE = ec.SECP256R1()
_VERSION = slice(9, 11)
_TLS_1_2 = b"\x03\x03"


@contextmanager
def listening(serve: Callable[[socket.socket], None], listener: socket.socket | None = None) -> Iterator[str]:
    """A server that hands each connection to `serve`; the value is its `host:port`."""
    over = threading.Event()

    def accept() -> None:
        while not over.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.settimeout(5)
                    serve(connection)

    with listener or socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"{host}:{port}"
        finally:
            over.set()
            with suppress(OSError), socket.create_connection((host, port), timeout=1):
                pass
            thread.join()


def shake(
    certificate: trustme.LeafCert | Issued,
    lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ciphers: str = "ALL:!aNULL",
) -> Callable[[socket.socket], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    certificate.configure_cert(context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = lowest, highest

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    return serve


def silent_for_old(certificate: trustme.LeafCert) -> Callable[[socket.socket], None]:
    """Shake hands, but say nothing to a client that offers less than TLS 1.2."""
    modern = shake(certificate)

    def serve(connection: socket.socket) -> None:
        hello = connection.recv(_VERSION.stop, socket.MSG_PEEK)
        if hello[_VERSION] < _TLS_1_2:
            say_nothing(connection)
        else:
            modern(connection)

    return serve


def say_nothing(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.recv(1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path


def run(root: Path, endpoint: str, **fields: Any) -> Look:
    return look(Tls(endpoints=endpoint, **{"ca": "ca.pem", **fields}), root=root)


def said(result: Look) -> list[str]:
    return [str(finding) for finding in result.findings if finding.ok is not Ok.YES]


def test_good_endpoint_passes_and_leaves_its_certificate(root: Path) -> None:
    with listening(shake(AUTHORITY.issue_cert("127.0.0.1"))) as at:
        result = run(root, at, min_days=300)
    assert (result.status, said(result)) == (Status.PASSED, [])
    findings = [str(finding).replace(at, "it") for finding in result.findings]
    assert "it chain: expected verifies, got verifies" in findings
    assert "it certificate: expected for 127.0.0.1, got for 127.0.0.1" in findings
    assert "it protocol: expected >= TLSv1.2, got TLSv1.3" in findings
    assert [line for line in findings if line.startswith("it TLSv1.1: expected refused, got refused (")]
    assert "endpoints looked at: expected >= 1, got 1" in findings
    assert b"BEGIN CERTIFICATE" in result.attached[0][1]


def test_all_endpoints_are_looked_at_by_url_reference_or_base_url(root: Path) -> None:
    with listening(shake(AUTHORITY.issue_cert("127.0.0.1"))) as at:
        check = Tls(endpoints=("/", "${env:API}", f"https://{at}/path"), ca="${env:CA}")
        environment = Environment(name="staging", base_url=f"https://{at}")
        result = look(check, environment, root=root, variables={"API": at, "CA": "ca.pem"})
    assert (result.status, said(result)) == (Status.PASSED, [])
    assert str(result.findings[-1]) == "endpoints looked at: expected >= 3, got 3"


def test_each_address_of_a_name_is_looked_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name has an address where a server runs, and one where none does."""
    with listening(shake(AUTHORITY.issue_cert("app.example.org"))) as at:
        name = at.replace("127.0.0.1", "app.example.org")
        monkeypatch.setattr(tls, "addresses", lambda host, limit: [(2, "127.0.0.1"), (2, "127.0.0.1")])
        both = run(root, name, addresses="each")
        monkeypatch.setattr(tls, "addresses", lambda host, limit: [(2, "127.0.0.1"), (2, "255.255.255.255")])
        one = run(root, name, addresses="each")
    assert both.status is Status.PASSED
    assert str(both.findings[0]) == f"{name} (127.0.0.1) chain: expected verifies, got verifies"
    assert str(both.findings[-1]) == "endpoints looked at: expected >= 1, got 2"
    assert (one.status, one.message.startswith(f"{name} (255.255.255.255): cannot connect")) == (Status.ERROR, True)


def test_unknown_authority_fails_the_chain_alone(root: Path) -> None:
    with listening(shake(trustme.CA().issue_cert("127.0.0.1"))) as at:
        for ca in ("ca.pem", ""):
            result = run(root, at, ca=ca)
            assert result.status is Status.FAILED
            assert len(said(result)) == 1
            assert said(result)[0].startswith(f"{at} chain: expected verifies, got ")
            assert "certificate" in said(result)[0]


def test_certificate_for_another_host_fails_the_name_alone(root: Path) -> None:
    with listening(shake(AUTHORITY.issue_cert("other.example.org"))) as at:
        result = run(root, at)
        by_name = run(root, at.replace("127.0.0.1", "localhost"))
    assert (result.status, by_name.status) == (Status.FAILED, Status.FAILED)
    assert said(result) == [
        f"{at} certificate: expected for 127.0.0.1, got IP address mismatch, certificate is not valid for '127.0.0.1'"
    ]
    assert "certificate is not valid for 'localhost'" in said(by_name)[0]


def test_days_left_are_counted_by_the_clock(root: Path) -> None:
    until = (NOW + timedelta(days=20, hours=1)).replace(microsecond=0)
    with listening(shake(AUTHORITY.issue_cert("127.0.0.1", not_after=until))) as at:
        check = Tls(endpoints=(at,), ca="ca.pem")
        assert look(check, root=root, clock=FakeClock(NOW)).status is Status.PASSED
        soon = look(check, root=root, clock=FakeClock(NOW + timedelta(days=7)))
        late = look(check, root=root, clock=FakeClock(NOW + timedelta(days=21)))
    assert (soon.status, late.status) == (Status.FAILED, Status.FAILED)
    assert said(soon) == [f"{at} days left: expected >= 14 days, got 13 days, until {until:%Y-%m-%d %H:%MZ}"]
    assert said(late) == [f"{at} days left: expected >= 14 days, got expired on {until:%Y-%m-%d %H:%MZ}"]


def test_expired_certificate_is_shown_as_expired_and_still_named(root: Path) -> None:
    leaf = AUTHORITY.issue_cert("127.0.0.1", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=2))
    with listening(shake(leaf)) as at:
        result = run(root, at)
    assert result.status is Status.FAILED
    assert said(result)[0] == f"{at} chain: expected verifies, got certificate has expired"
    assert said(result)[1].startswith(f"{at} days left: expected >= 14 days, got expired on ")
    assert f"{at} certificate: expected for 127.0.0.1, got for 127.0.0.1" in map(str, result.findings)


def test_every_fault_of_a_certificate_is_named(root: Path) -> None:
    begin, end = NOW - timedelta(days=9), NOW - timedelta(days=2)
    leaf = trustme.CA().issue_cert("other.example.org", not_before=begin, not_after=end)
    with listening(shake(leaf)) as at:
        result = run(root, at)
    assert result.status is Status.FAILED
    names = [line.removeprefix(f"{at} ").partition(":")[0] for line in said(result)]
    assert names == ["chain", "certificate", "days left"]


def test_certificate_that_is_not_valid_yet_fails(root: Path) -> None:
    leaf = AUTHORITY.issue_cert("127.0.0.1", not_before=NOW + timedelta(days=2), not_after=NOW + timedelta(days=90))
    with listening(shake(leaf)) as at:
        result = run(root, at)
    assert result.status is Status.FAILED
    assert said(result)[0] == f"{at} chain: expected verifies, got certificate is not yet valid"
    assert said(result)[1].startswith(f"{at} valid from: expected <= ")


def test_old_protocols_fail_preferred_or_only_accepted(root: Path) -> None:
    leaf = AUTHORITY.issue_cert("127.0.0.1")
    with listening(shake(leaf, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)) as at:
        only_old = run(root, at)
    assert only_old.status is Status.FAILED
    assert f"{at} protocol: expected >= TLSv1.2, got TLSv1.1" in said(only_old)
    with listening(shake(leaf, ssl.TLSVersion.TLSv1)) as at:
        old_too = run(root, at)
    assert old_too.status is Status.FAILED
    assert [line.partition(" with ")[0] for line in said(old_too)] == [
        f"{at} TLSv1: expected refused, got accepted",
        f"{at} TLSv1.1: expected refused, got accepted",
    ]


def test_the_floor_can_be_raised(root: Path) -> None:
    with listening(shake(AUTHORITY.issue_cert("127.0.0.1"))) as at:
        result = run(root, at, min_protocol="TLSv1.3")
    assert result.status is Status.FAILED
    assert [line.partition(" with ")[0] for line in said(result)] == [f"{at} TLSv1.2: expected refused, got accepted"]


def test_no_answer_to_an_old_protocol_cannot_tell(root: Path) -> None:
    with listening(silent_for_old(AUTHORITY.issue_cert("127.0.0.1"))) as at:
        result = run(root, at, handshake="800ms")
    assert result.status is Status.INCONCLUSIVE
    assert said(result) == [
        f"{at} TLSv1: expected refused, got no answer within 0.8 s",
        f"{at} TLSv1.1: expected refused, got no answer within 0.8 s",
    ]


@pytest.mark.parametrize("protocol", ["TLSv1", "TLSv1_1"])
def test_protocols_that_no_library_here_offers_are_offered_all_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setattr(ssl, f"HAS_{protocol}", False)
    leaf, version = AUTHORITY.issue_cert("127.0.0.1"), protocol.replace("_", ".")
    with listening(shake(leaf)) as at:
        modern = run(root, at)
    with listening(shake(leaf, getattr(ssl.TLSVersion, protocol))) as at:
        old = run(root, at)
    line = f"{at} {version}: expected refused, got accepted with a cipher of its time"
    assert (modern.status, said(modern)) == (Status.PASSED, [])
    assert [str(one) for one in modern.findings if f" {version}: expected refused, got refused (" in str(one)]
    assert (old.status, line in said(old)) == (Status.FAILED, True)


def test_servers_that_do_not_shake_hands_are_errors(root: Path) -> None:
    with listening(lambda connection: None) as at:
        closing = run(root, at)
    with listening(lambda connection: connection.sendall(b"220 mail.example.org\r\n")) as at:
        plain = run(root, at)
    with listening(say_nothing) as at:
        silent = run(root, at, handshake="200ms")
        assert silent.message.startswith(f"{at}: no TLS handshake within 0.2 s")
    for result in (closing, plain, silent):
        assert result.status is Status.ERROR
        assert "no TLS handshake" in result.message


def test_unreachable_endpoints_are_errors_and_keep_what_was_found(root: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
        with listening(shake(AUTHORITY.issue_cert("127.0.0.1"))) as at:
            result = look(Tls(endpoints=(at, nobody), ca="ca.pem"), root=root)
    assert result.status is Status.ERROR
    assert result.message.startswith(f"{nobody}: cannot connect: Connection refused")
    assert result.findings


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("${env:PLAIN}", "'http://127.0.0.1' names no TLS endpoint"),
        ("${env:NOWHERE}", "the environment variable NOWHERE is not set"),
        ("/", "environment 'test' has no base_url"),
    ],
)
def test_endpoints_that_name_nothing_are_errors(root: Path, endpoint: str, message: str) -> None:
    result = look(Tls(endpoints=(endpoint,)), root=root, variables={"PLAIN": "http://127.0.0.1"})
    assert (result.status, message in result.message) == (Status.ERROR, True)


def test_authority_that_cannot_be_read_is_an_error(root: Path) -> None:
    (root / "broken.pem").write_text("nothing")
    with listening(shake(AUTHORITY.issue_cert("127.0.0.1"))) as at:
        broken, absent = run(root, at, ca="broken.pem"), run(root, at, ca="absent.pem")
    assert (broken.status, absent.status) == (Status.ERROR, Status.ERROR)
    assert "ca: cannot read" in broken.message
    assert "ca: no such file" in absent.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"endpoints": []}, "at least 1 item"),
        ({"endpoints": [""]}, "at least 1 character"),
        ({"endpoints": "a:1", "min_days": "14"}, "valid integer"),
        ({"endpoints": "a:1", "min_days": 0}, "greater than or equal to 1"),
        ({"endpoints": "a:1", "min_protocol": "SSLv3"}, "TLSv1.2"),
    ],
)
def test_wrong_declarations_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Tls.model_validate(fields)


def answer(certificate: trustme.LeafCert, text: bytes) -> Callable[[socket.socket], None]:
    """Shake hands, hear a request, and say this."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            if secure.recv(65536):
                secure.sendall(text)

    return serve


def say(text: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        if connection.recv(65536):
            connection.sendall(text)

    return serve


def page(*headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 0", "Connection: close", *headers, "", ""]).encode()


def smtp(
    then: Callable[[socket.socket], None], offered: str = "STARTTLS", agreed: str = "220 go", before: str = ""
) -> Any:
    """A mail server up to the handshake, in the words of RFC 3207."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"220-mail.example.org\r\n220 ready\r\n")
        if not connection.recv(512).startswith(b"EHLO "):
            return
        connection.sendall(f"250-mail.example.org\r\n250-SIZE 1000\r\n{before}250 {offered}\r\n".encode())
        if connection.recv(512) == b"STARTTLS\r\n":
            connection.sendall(f"{agreed}\r\n".encode())
            then(connection)

    return serve


def postgres(then: Callable[[socket.socket], None], said: bytes = b"S") -> Callable[[socket.socket], None]:
    """A PostgreSQL server up to the handshake, in the words of its manual."""

    def serve(connection: socket.socket) -> None:
        if connection.recv(8, socket.MSG_WAITALL) == struct.pack("!ii", 8, 80877103):
            connection.sendall(said)
            then(connection)

    return serve


def test_mail_server_is_asked_by_starttls(root: Path) -> None:
    with listening(smtp(shake(AUTHORITY.issue_cert("127.0.0.1")))) as at:
        good = run(root, f"smtp://{at}")
    with listening(smtp(say_nothing, offered="SIZE")) as at:
        without = run(root, f"smtp://{at}")
    with listening(smtp(say_nothing, agreed="454 not now")) as at:
        refusing = run(root, f"smtp://{at}")
        refused = f"{at} TLS: expected offered, got it offers STARTTLS and refuses it: 454 not now"
    assert (good.status, said(good)) == (Status.PASSED, [])
    assert without.status is refusing.status is Status.FAILED
    assert said(without)[0].endswith("TLS: expected offered, got it does not offer STARTTLS")
    assert said(refusing) == [refused]


@pytest.mark.parametrize(
    ("greeting", "message"),
    [
        (b"554 no service\r\n", "the mail server does not greet: 554 no service"),
        (b"+OK POP3 ready\r\n", "the mail server does not greet: +OK POP3 ready"),
        (b"220 hello", "the server closed the connection"),
    ],
)
def test_what_is_no_mail_server_is_an_error(root: Path, greeting: bytes, message: str) -> None:
    with listening(lambda connection: connection.sendall(greeting)) as at:
        result = run(root, f"smtp://{at}")
    assert (result.status, message in result.message) == (Status.ERROR, True)
    assert at in result.message


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (b"220-still starting\r\n", "the mail server does not answer EHLO: 220-still starting"),
        (b"x" * 4096, "a line without an end"),
    ],
)
def test_mail_server_without_an_end_is_an_error(root: Path, drop: bytes, message: str) -> None:
    def pour(connection: socket.socket) -> None:
        for _ in range(10_000):
            connection.sendall(drop)

    with listening(pour) as at:
        result = run(root, f"smtp://{at}")
    assert (result.status, message in result.message) == (Status.ERROR, True)


def test_mail_server_that_drips_is_given_up_in_time(root: Path) -> None:
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        while not over.wait(0.02):
            connection.sendall(b"2")

    with listening(drip) as at:
        result = run(root, f"smtp://{at}", handshake="200ms")
        over.set()
    assert (result.status, result.message.startswith(f"{at}: no TLS handshake within 0.2 s")) == (Status.ERROR, True)


def test_database_is_asked_by_an_ssl_request(root: Path) -> None:
    leaf = AUTHORITY.issue_cert("127.0.0.1")
    with listening(postgres(shake(leaf))) as at:
        good = run(root, f"postgresql://{at}")
        host, _, port = at.partition(":")
        dsn = f"host={host} port={port} dbname=app password=hunter22"
        environment = Environment(name="prod", databases={"app": dsn})
        named = look(Tls(endpoints="database:app", ca="ca.pem"), environment, root=root)
    with listening(postgres(say_nothing, b"N")) as at:
        without = run(root, f"postgresql://{at}")
        none = f"{at} TLS: expected offered, got it says that it has no TLS (`ssl` is off)"
    with listening(say(b"HTTP/1.1 400 Bad Request")) as at:
        other = run(root, f"postgresql://{at}")
    assert (good.status, named.status, said(named)) == (Status.PASSED, Status.PASSED, [])
    assert (without.status, said(without)) == (Status.FAILED, [none])
    assert (other.status, "neither S nor N" in other.message) == (Status.ERROR, True)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL that speaks TLS; binaries that were built without it have nothing to look at."""
    folder = tmp_path_factory.mktemp("real")
    certificate = AUTHORITY.issue_cert("127.0.0.1")
    with PostgresServer() as server:
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "all.pem"))
        for name in ("server.crt", "server.key"):
            (server.data / name).touch(mode=0o600)
            (server.data / name).write_bytes((folder / "all.pem").read_bytes())
            give(server.data / name)
        try:
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute("alter system set ssl = on")
        except psycopg.errors.InvalidParameterValue:
            missing_here("PostgreSQL with TLS")
        reload(server, "select setting = 'on' from pg_settings where name = 'ssl'")
        yield server


def reload(server: PostgresServer, until: str) -> None:
    """Have the settings read again, and wait until a new connection sees them."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("select pg_reload_conf()")
    for _ in range(200):
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            if connection.execute(until).fetchone() == (True,):
                return
    raise AssertionError(until)


def test_a_real_database_speaks_tls_and_refuses_who_comes_without(root: Path, real: PostgresServer) -> None:
    def seen(password: str = "") -> Look:
        environment = Environment(name="prod", databases={"app": real.dsn("postgres", "postgres", password)})
        return look(Tls(endpoints="database:app", ca="ca.pem", plain="refused"), environment, root=root)

    lax = seen()
    rules = real.data / "pg_hba.conf"
    rules.write_text(rules.read_text().replace("host ", "hostssl "))
    reload(real, "select bool_or(type = 'hostssl') from pg_hba_file_rules")
    strict = seen()
    at = f"127.0.0.1:{real.port}"
    assert (lax.status, strict.status, said(strict)) == (Status.FAILED, Status.PASSED, [])
    assert said(lax) == [
        f"{at} without TLS: expected no login, got it goes on to the login: `pg_hba.conf` lets in who comes without TLS"
    ]
    assert f"{at} without TLS: expected no login, got refused (28000)" in map(str, strict.findings)


@pytest.mark.parametrize(
    ("user", "start", "status", "words"),
    [
        ("", b"E\0\0\0\x10C28000\0Mx\0\0\0", Status.INCONCLUSIVE, "not tried: the connection string names no user"),
        (
            "app@",
            b"E\0\0\0\x25C28000\0RInitializeSessionUserId\0\0",
            Status.INCONCLUSIVE,
            "an error of another kind (28000)",
        ),
        ("app@", b"E\0\0\0\x10C53300\0Mx\0\0\0", Status.INCONCLUSIVE, "an error of another kind (53300)"),
        ("app@", b"HTTP/1.1 400 Bad Request", Status.ERROR, "does not answer PostgreSQL's start of a connection"),
    ],
)
def test_other_answers_to_who_comes_without(root: Path, user: str, start: bytes, status: Status, words: str) -> None:
    secure = postgres(shake(AUTHORITY.issue_cert("127.0.0.1")))

    def serve(connection: socket.socket) -> None:
        if connection.recv(8, socket.MSG_PEEK)[4:] == b"\0\x03\0\0":
            connection.recv(512)
            connection.sendall(start)
        else:
            secure(connection)

    with listening(serve) as at:
        environment = Environment(name="prod", databases={"app": f"postgresql://{user}{at}/app"})
        result = look(Tls(endpoints="database:app", ca="ca.pem", plain="refused"), environment, root=root)
    assert (result.status, words in result.message + "".join(said(result))) == (status, True)


def test_login_before_starttls_fails(root: Path) -> None:
    leaf = AUTHORITY.issue_cert("127.0.0.1")
    with listening(smtp(shake(leaf))) as at:
        good = run(root, f"smtp://{at}", plain="refused")
    with listening(smtp(shake(leaf), before="250-AUTH PLAIN LOGIN\r\n")) as at:
        bad = run(root, f"smtp://{at}", plain="refused")
        line = f"{at} without TLS: expected no login, got it offers AUTH before STARTTLS"
    assert (good.status, bad.status, said(bad)) == (Status.PASSED, Status.FAILED, [line])


def test_database_behind_a_local_socket_has_no_tls_to_look_at(root: Path) -> None:
    environment = Environment(name="prod", databases={"app": "host=/run/postgresql dbname=app"})
    result = look(Tls(endpoints="database:app"), environment, root=root)
    assert result.status is Status.ERROR
    assert "database 'app' is reached over a socket of this machine" in result.message


@pytest.mark.parametrize(
    ("ciphers", "fields", "lines"),
    [
        ("ALL:!eNULL", {}, ["anonymous ciphers: expected refused, got accepted: ECDH_anon_"]),
        ("ALL:eNULL:!aNULL", {}, ["null ciphers: expected refused, got accepted: ECDHE_ECDSA_NULL_SHA"]),
        ("ALL:!aNULL", {}, []),
        ("ALL:!aNULL", {"refuse_ciphers": "cbc"}, ["cbc ciphers: expected refused, got accepted: ECDHE_ECDSA_AES_"]),
        ("AESGCM", {"refuse_ciphers": ["cbc", "no_forward_secrecy"]}, []),
    ],
)
def test_weak_ciphers_are_really_offered(root: Path, ciphers: str, fields: dict[str, Any], lines: list[str]) -> None:
    leaf = AUTHORITY.issue_cert("127.0.0.1")
    with listening(shake(leaf, highest=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)) as at:
        result = run(root, at, **fields)
    assert result.status is (Status.FAILED if lines else Status.PASSED)
    found = [line.removeprefix(f"{at} ") for line in said(result)]
    assert [each.startswith(line) for each, line in zip(found, lines, strict=True)] == [True] * len(lines)


def test_a_modern_server_refuses_the_weak(root: Path) -> None:
    with listening(shake(AUTHORITY.issue_cert("127.0.0.1"), ssl.TLSVersion.TLSv1_3)) as at:
        result = run(root, at, min_protocol="TLSv1.3")
    assert result.status is Status.PASSED
    assert f"{at} weak ciphers: expected refused, got refused (protocol version)" in map(str, result.findings)


def test_rc4_would_be_seen_although_no_library_here_knows_it(root: Path) -> None:
    """A server of the past, as RFC 5246 writes its first answer."""
    modern = shake(AUTHORITY.issue_cert("127.0.0.1"))

    def serve(connection: socket.socket) -> None:
        hello = connection.recv(65536, socket.MSG_PEEK)
        if hello[44:46] != b"\x00\x0a":  # the size of four ciphers and the mark of RFC 5746
            modern(connection)
            return
        body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x05" + b"\x00"
        message = b"\x02" + len(body).to_bytes(3) + body
        connection.sendall(b"\x16\x03\x03" + len(message).to_bytes(2) + message)

    with listening(serve) as at:
        result = run(root, at, refuse_ciphers="rc4")
    assert result.status is Status.FAILED
    assert said(result) == [f"{at} rc4 ciphers: expected refused, got accepted: RSA_RC4_128_SHA"]


@pytest.mark.parametrize(
    ("answer", "actual"),
    [
        (b"\x15\x03\x03\x00\x02\x01\x70\x15\x03\x03\x00\x02\x02\x28", ""),
        (b"\x15\x03\x03\x00\x02\x02\x50", "alert 80"),
        (b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00", "its answer is no ServerHello"),
        (b"HTTP/1.1 400 Bad Request\r\n", "its answer is no TLS"),
    ],
)
def test_only_what_is_about_the_ciphers_refuses_them(root: Path, answer: bytes, actual: str) -> None:
    modern = shake(AUTHORITY.issue_cert("127.0.0.1"))

    def serve(connection: socket.socket) -> None:
        if connection.recv(65536, socket.MSG_PEEK)[44:46] == b"\x00\x0a":
            connection.recv(65536)
            connection.sendall(answer)
        else:
            modern(connection)

    with listening(serve) as at:
        result = run(root, at, refuse_ciphers="rc4")
        lines = [f"{at} weak ciphers: expected refused, got {actual}"] if actual else []
    assert (result.status, said(result)) == (Status.INCONCLUSIVE if actual else Status.PASSED, lines)


def test_short_keys_fail(root: Path) -> None:
    with listening(shake(AUTHORITY.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA))) as at:
        assert run(root, at).status is Status.PASSED
        result = run(root, at, min_rsa=3072)
    assert result.status is Status.FAILED
    assert said(result) == [f"{at} key: expected >= 3072 bits, or 224 on a curve, got RSA, 2048 bits"]


@pytest.mark.parametrize(
    ("header", "actual"),
    [
        ("Strict-Transport-Security: max-age=31536000; includeSubDomains", ""),
        ('strict-transport-security: MAX-AGE="15552000"', ""),
        ("Strict-Transport-Security: max-age=300", "max-age=300"),
        ("Strict-Transport-Security: max-age=a year", "a header that browsers ignore: max-age=a year"),
        ("X: y", "absent"),
    ],
)
def test_hsts(root: Path, header: str, actual: str) -> None:
    with listening(answer(AUTHORITY.issue_cert("127.0.0.1"), page(header))) as at:
        result = run(root, f"https://{at}/deep", hsts="180d", refuse_ciphers=())
        line = f"{at} HSTS: expected max-age >= 15552000 (180d), got {actual}"
    assert (result.status, said(result)) == ((Status.FAILED, [line]) if actual else (Status.PASSED, []))


def test_hsts_is_not_asked_where_the_certificate_is_refused(root: Path) -> None:
    with listening(answer(trustme.CA().issue_cert("127.0.0.1"), page())) as at:
        result = run(root, at, hsts="180d", refuse_ciphers=())
    assert result.status is Status.FAILED
    assert said(result)[-1].endswith("got not asked: the certificate is refused")


@pytest.mark.parametrize(
    ("target", "actual"),
    [
        (page("Location: https://127.0.0.1/x", status="301 Moved"), ""),
        (page("Location: https://other.example.org/", status="308 Moved"), "308 to https://other.example.org"),
        (page("Location: /login", status="302 Found"), "302 to http://AT"),
        (page(), "200 OK, without a redirect"),
    ],
)
def test_redirect_from_plain_http(root: Path, target: bytes, actual: str) -> None:
    with listening(say(target)) as plain, listening(shake(AUTHORITY.issue_cert("127.0.0.1"))) as at:
        result = run(root, at, redirect_from=f"http://{plain}/", refuse_ciphers=())
        actual = actual.replace("AT", plain)
        line = f"http://{plain}/ redirect: expected to HTTPS on the same host, got {actual}"
    assert (result.status, said(result)) == ((Status.FAILED, [line]) if actual else (Status.PASSED, []))


def test_hsts_without_https_is_refused() -> None:
    with pytest.raises(ValidationError, match="no endpoint is"):
        Tls(endpoints="database:app", hsts="180d")


def key_of(bits: int = 0) -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits) if bits else ec.generate_private_key(CURVE)


def certify(
    name: str,
    key: Any,
    by: tuple[x509.Name, Any] | None = None,
    *,
    days: float = 90,
    san: bool = False,
    use: x509.ObjectIdentifier | None = None,
) -> x509.Certificate:
    """A certificate by this issuer, by itself without one; authorities are those without a name of a host."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signing = by or (subject, key)
    made = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=name.startswith("The "), path_length=None), critical=True)
    )
    if san:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    if use is not None:
        made = made.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    return made.sign(signing, hashes.SHA256())


class Issued:
    """A host's certificate by an intermediate one of a root, as a server is configured with it."""

    def __init__(
        self,
        host: str,
        *,
        days: float = 90,
        bits: int = 0,
        san: bool = True,
        use: x509.ObjectIdentifier | None = None,
    ) -> None:
        root_key, middle_key, key = key_of(), key_of(bits), key_of()
        self.root = certify("The Root", root_key, days=3000)
        middle = certify("The Intermediate", middle_key, (self.root.subject, root_key), days=days)
        leaf = certify(host, key, (middle.subject, middle_key), san=san, use=use)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.pem = private + b"".join(each.public_bytes(Encoding.PEM) for each in (leaf, middle))

    def configure_cert(self, context: ssl.SSLContext) -> None:
        """As of `trustme.LeafCert`."""
        with trustme.Blob(self.pem).tempfile() as file:
            context.load_cert_chain(file)


def run_issued(root: Path, monkeypatch: pytest.MonkeyPatch, issued: Issued) -> Look:
    """Look at a server of the host `app.example.org`, whose root is trusted."""
    (root / "root.pem").write_bytes(issued.root.public_bytes(Encoding.PEM))
    known = {"app.example.org": [(2, "127.0.0.1")]}
    monkeypatch.setattr(sockets, "addresses", lambda host, limit: known[host])
    monkeypatch.setattr(tls, "addresses", lambda host, limit: known[host])
    with listening(shake(issued)) as at:
        return run(root, at.replace("127.0.0.1", "app.example.org"), ca="root.pem")


def test_a_chain_through_an_intermediate_certificate_passes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = run_issued(root, monkeypatch, Issued("app.example.org"))
    assert (seen.status, said(seen)) == (Status.PASSED, [])
    assert [line for line in map(str, seen.findings) if "issuers days left: expected >= 14 days, got 89 days" in line]


def test_an_intermediate_certificate_that_ends_tomorrow_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = run_issued(root, monkeypatch, Issued("app.example.org", days=1.1))
    assert seen.status is Status.FAILED
    (line,) = said(seen)
    assert "issuers days left: expected >= 14 days, got 1 days, until " in line
    assert line.endswith(" (The Intermediate)")


def test_a_weak_key_of_an_intermediate_certificate_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = run_issued(root, monkeypatch, Issued("app.example.org", bits=1024))
    assert seen.status is Status.FAILED
    (line,) = said(seen)
    assert line.endswith("issuer 'The Intermediate' key: expected >= 2048 bits, or 224 on a curve, got RSA, 1024 bits")


def test_a_name_that_stands_only_in_the_subject_is_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As browsers have it since 2017."""
    seen = run_issued(root, monkeypatch, Issued("app.example.org", san=False))
    assert seen.status is Status.FAILED
    (line,) = said(seen)
    assert "certificate: expected for app.example.org, got Hostname mismatch" in line


@contextmanager
def also(serve: Callable[[socket.socket], None], at: str) -> Iterator[None]:
    """Another server, on the port of the first at another address of this machine."""
    try:
        listener = socket.create_server(("127.0.0.2", int(at.rpartition(":")[2])))
    except OSError:
        pytest.skip("this machine has one address on loopback")
    with listening(serve, listener):
        yield


def two_addresses(monkeypatch: pytest.MonkeyPatch, second: str = "127.0.0.2") -> None:
    known = [(2, "127.0.0.1"), (2, second)]
    monkeypatch.setattr(sockets, "addresses", lambda host, limit: known)
    monkeypatch.setattr(tls, "addresses", lambda host, limit: known)


def test_another_address_with_an_old_certificate_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_addresses(monkeypatch)
    new = AUTHORITY.issue_cert("app.example.org")
    old = AUTHORITY.issue_cert("app.example.org", not_after=NOW + timedelta(days=2))
    with listening(shake(new)) as at:
        name = at.replace("127.0.0.1", "app.example.org")
        with also(shake(old), at):
            differ = run(root, name)
        with also(shake(new), at):
            same = run(root, name)
    assert (same.status, said(same)) == (Status.PASSED, [])
    assert f"{name} (127.0.0.2): expected the same certificate, got the same" in map(str, same.findings)
    assert differ.status is Status.FAILED
    assert [line.partition(",")[0] for line in said(differ)] == [f"{name} (127.0.0.2) days left: expected >= 14 days"]


def test_an_address_that_cannot_be_reached_is_shown(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_addresses(monkeypatch, "255.255.255.255")
    with listening(shake(AUTHORITY.issue_cert("app.example.org"))) as at:
        name = at.replace("127.0.0.1", "app.example.org")
        seen = run(root, name)
    assert seen.status is Status.PASSED
    assert said(seen)[0].startswith(f"{name} (255.255.255.255): expected the same certificate, got cannot connect")


def only(times: int, serve: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """A server behind a limiter: after so many connections it resets all that come."""
    left = iter(range(times))

    def limited(connection: socket.socket) -> None:
        if next(left, None) is None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            serve(connection)

    return limited


def test_a_limiter_that_breaks_off_every_connection_refuses_no_protocol(root: Path) -> None:
    with listening(only(3, shake(AUTHORITY.issue_cert("127.0.0.1"), ssl.TLSVersion.TLSv1))) as at:
        seen = run(root, at)
    assert seen.status is Status.ERROR
    assert f"{at}: " in seen.message


def test_a_server_that_is_gone_refuses_no_protocol(root: Path) -> None:
    left = iter(range(3))

    def leaving(connection: socket.socket) -> None:
        if next(left, None) == 2:
            listener.close()
        modern(connection)

    modern = shake(AUTHORITY.issue_cert("127.0.0.1"))
    listener = socket.create_server(("127.0.0.1", 0))
    with listening(leaving, listener) as at:
        seen = run(root, at)
    assert seen.status is Status.ERROR
    assert "cannot connect: Connection refused" in seen.message


def test_a_server_that_breaks_off_old_protocols_alone_refuses_them(root: Path) -> None:
    modern = shake(AUTHORITY.issue_cert("127.0.0.1"))

    def serve(connection: socket.socket) -> None:
        if connection.recv(_VERSION.stop, socket.MSG_PEEK)[_VERSION] >= _TLS_1_2:
            modern(connection)

    with listening(serve) as at:
        seen = run(root, at)
    assert (seen.status, said(seen)) == (Status.PASSED, [])


@pytest.mark.parametrize("text", ["http://app.example.org", "app.example.org:port", "imaps://a.example", "a.example:0"])
def test_endpoints_that_name_nothing_are_refused_before_a_release(text: str) -> None:
    with pytest.raises(ValidationError, match="names no TLS endpoint"):
        Tls(endpoints=(text,))


def test_a_second_certificate_of_another_kind_of_key_is_looked_at_too(root: Path) -> None:
    """A server may have one for clients that know elliptic curves, and one for others."""
    until = NOW + timedelta(days=2)
    leaves = [
        AUTHORITY.issue_cert("127.0.0.1"),
        AUTHORITY.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA, not_after=until),
    ]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for leaf in leaves:
        leaf.configure_cert(context)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    with listening(serve) as at:
        seen = run(root, at)
    assert seen.status is Status.FAILED
    assert [line.partition(",")[0] for line in said(seen)] == [f"{at} (RSA) days left: expected >= 14 days"]


def test_a_key_that_nobody_here_knows_cannot_tell() -> None:
    class Strange:
        signature_hash_algorithm = None

        def public_key(self) -> Any:
            raise UnsupportedAlgorithm("of tomorrow")

    first, _ = certificates.strength("it", cast("x509.Certificate", Strange()), 2048)
    assert str(first) == "it key: expected >= 2048 bits, or 224 on a curve, got of a kind that is not known here"
    assert first.ok is Ok.CANNOT_TELL


def test_a_name_with_very_many_addresses_is_looked_at_in_part(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [(2, "127.0.0.1"), *((2, f"255.255.255.{last}") for last in range(60))]
    monkeypatch.setattr(sockets, "addresses", lambda host, limit: known)
    monkeypatch.setattr(tls, "addresses", lambda host, limit: known)
    with listening(shake(AUTHORITY.issue_cert("app.example.org"))) as at:
        name = at.replace("127.0.0.1", "app.example.org")
        seen = run(root, name, refuse_ciphers=())
    assert seen.status is Status.PASSED
    assert f"{name} further addresses: expected all looked at, got the first 32 of 61" in said(seen)


def test_a_certificate_for_clients_is_none_of_this_host(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What OpenSSL finds before it asks for the name leaves the name unproved."""
    issued = Issued("other.example.org", use=x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH)
    seen = run_issued(root, monkeypatch, issued)
    assert seen.status is Status.FAILED
    chain, name = said(seen)
    assert "chain: expected verifies, got un" in chain
    assert "certificate: expected for app.example.org, got un" in name
    assert name.endswith("certificate purpose")
