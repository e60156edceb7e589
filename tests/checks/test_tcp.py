"""`tcp` against real sockets on loopback."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.tcp import Tcp
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.sources import sockets
from pytest_releasegate.testing import FakeClock, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.execution import Look

SILENT = b""


@contextmanager
def listening(says: bytes = SILENT, host: str = "127.0.0.1") -> Iterator[str]:
    """A port that says this to whoever connects, and then waits for the other side to go."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    over = threading.Event()

    def accept() -> None:
        while not over.is_set():
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.settimeout(5)
                connection.sendall(says)
                if not over.is_set():
                    connection.recv(1)

    with socket.create_server((host, 0), family=family) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        finally:
            over.set()
            socket.create_connection((host, port), timeout=1).close()
            thread.join()


@contextmanager
def nobody() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def deaf() -> Iterator[str]:
    """A port whose queue is full: what comes next is dropped, as by a firewall."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def run(**fields: Any) -> Look:
    return look(Tcp(**fields), Environment(name="test"), variables={"HOST": "127.0.0.1"})


def said(result: Look) -> list[str]:
    return [str(finding) for finding in result.findings if finding.ok is not Ok.YES]


def test_open_ports_answer_and_closed_ones_do_not() -> None:
    with listening() as one, listening() as two, nobody() as none:
        result = run(open=[one, two], closed=none)
        names = [finding.name for finding in result.findings]
        assert names == [f"{one} over IPv4", f"{two} over IPv4", f"{none} over IPv4", "addresses looked at"]
    assert (result.status, said(result)) == (Status.PASSED, [])
    assert str(result.findings[-1]) == "addresses looked at: expected >= 3, got 3"
    assert str(result.findings[2]).endswith("expected not reached, got Connection refused")


def test_refused_and_silent_ports_fail() -> None:
    with nobody() as none, deaf() as away:
        result = run(open=[none, away], within="200ms")
    assert result.status is Status.FAILED
    assert said(result) == [
        f"{none} over IPv4: expected answers within 200ms, got Connection refused",
        f"{away} over IPv4: expected answers within 200ms, got no answer within 0.2 s",
    ]


def test_port_that_should_be_closed_fails() -> None:
    with listening() as at:
        result = run(closed=at)
    assert result.status is Status.FAILED
    assert said(result)[0].startswith(f"{at} over IPv4: expected not reached, got answers after ")


def test_silence_proves_a_closed_port_only_beside_an_open_one() -> None:
    with deaf() as away, listening() as at:
        alone, beside = run(closed=away, within="200ms"), run(closed=away, open=at, within="200ms")
    assert (alone.status, beside.status) == (Status.INCONCLUSIVE, Status.PASSED)
    assert said(alone)[0].endswith("nor does any port under `open`, so the way there may be broken")


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on loopback")
def test_ipv6_is_looked_at_by_itself() -> None:
    with listening(host="::1") as at:
        good, wrong = run(open=at, family="IPv6"), run(open=at, family="each")
    assert (good.status, wrong.status) == (Status.PASSED, Status.FAILED)
    assert said(wrong) == [f"{at} over IPv4: expected answers within 5s, got the name has no address for IPv4"]


def test_service_that_starts_is_waited_for() -> None:
    class Opening(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            listener.listen()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        check = Tcp(open=f"127.0.0.1:{listener.getsockname()[1]}", retry_for="30s")
        result = look(check, clock=Opening())
    assert (result.status, result.attempts) == (Status.PASSED, 2)


def test_any_address_of_a_name_will_do() -> None:
    with listening() as at:
        port = at.rpartition(":")[2]
        result = run(open=f"localhost:{port}")
        assert result.findings[0].name == f"localhost:{port} over IPv4 (127.0.0.1)"
    assert result.status is Status.PASSED


@pytest.mark.parametrize(
    ("says", "fields", "status", "line"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", {"banner": "SSH-2.0"}, Status.PASSED, ""),
        (
            b"SSH-2.0-OpenSSH_9.6\r\n",
            {"not_banner": ["OpenSSH_9", "dropbear"]},
            Status.FAILED,
            "banner 'OpenSSH_9': expected absent, got present",
        ),
        (b"220 mail\r\n", {"banner": "Postfix"}, Status.FAILED, "banner 'Postfix': expected present, got absent"),
        (
            SILENT,
            {"not_banner": "1.4"},
            Status.INCONCLUSIVE,
            "banner '1.4': expected absent, got the port says nothing of its own accord",
        ),
    ],
)
def test_banners(says: bytes, fields: dict[str, Any], status: Status, line: str) -> None:
    with listening(says) as at:
        result = run(open=at, within="200ms", **fields)
    assert (result.status, said(result)) == (status, [f"{at} over IPv4 {line}"] if line else [])
    assert result.attached[0][1] == says


def test_way_that_this_machine_lacks_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **more: object) -> socket.socket:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    result = run(open="[2001:db8::1]:443", family="IPv6")
    assert result.status is Status.INCONCLUSIVE
    assert "Network is unreachable: look from a machine that has a way to it" in said(result)[0]
    assert run(closed="[2001:db8::1]:443").status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("${env:HOST}", "'127.0.0.1' names no host and port"),
        ("${env:NOWHERE}", "NOWHERE is not set"),
        ("nobody.invalid:443", "nobody.invalid: "),
        ("a..b:443", "a..b: "),
    ],
)
def test_what_names_no_port_is_an_error(name: str, message: str) -> None:
    result = run(open=name)
    assert (result.status, message in result.message) == (Status.ERROR, True)


def test_wrong_declarations_are_refused() -> None:
    with pytest.raises(ValidationError, match="under both"):
        Tcp()
    with pytest.raises(ValidationError, match="about the ports under `open`"):
        Tcp(closed="a:1", banner="x")


@contextmanager
def hollow(reset: bool = False) -> Iterator[str]:
    """A port that takes each connection and closes it at once, as a proxy does that has nothing behind it."""
    over = threading.Event()

    def accept() -> None:
        while not over.is_set():
            connection, _ = listener.accept()
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            with suppress(OSError), socket.create_connection(listener.getsockname(), timeout=1):
                pass
            thread.join()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("fields", [{}, {"not_banner": "1.4"}])
def test_a_port_that_closes_what_it_took_does_not_answer(reset: bool, fields: dict[str, Any]) -> None:
    with hollow(reset) as at:
        result = run(open=at, within="2s", **fields)
    assert result.status is Status.FAILED
    closing = "it takes the connection and closes it at once: is the service up behind it?"
    told = said(result)[0].removeprefix(f"{at} over IPv4: expected answers within 2s, got ")
    assert told in ((closing, "Connection reset by peer") if reset else (closing,))


def test_a_port_that_says_its_line_and_closes_answers() -> None:
    with listening(b"Mon Jan  5 09:00:00 2026\r\n") as at:
        assert run(open=at).status is Status.PASSED


def test_many_addresses_of_a_name_take_no_longer_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the connections may take what is left, not all of the time again."""
    waits: list[float] = []

    def slow(address: object, timeout: float) -> socket.socket:
        waits.append(timeout)
        clock.now += timeout / 2
        raise TimeoutError

    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(sockets, "addresses", lambda host, limit: [(2, f"192.0.2.{last}") for last in range(9)])
    monkeypatch.setattr(sockets, "monotonic", lambda: clock.now)
    monkeypatch.setattr(socket, "create_connection", slow)
    with pytest.raises(TimeoutError):
        sockets.Line(("app.example.org", 443), 8.0)
    assert waits[:3] == [8.0, 4.0, 2.0]
    assert sum(waits) / 2 <= 8.0


@pytest.mark.parametrize("name", ["app.example.org", "app.example.org:99999", "https://a.example.org:443/x"])
@pytest.mark.parametrize("field", ["open", "closed"])
def test_what_names_no_port_is_refused_before_a_release(field: str, name: str) -> None:
    with pytest.raises(ValidationError, match="names no host and port"):
        Tcp.model_validate({field: [name]})
