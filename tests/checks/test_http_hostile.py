"""`http` against servers that mean harm or know no better: a clear answer, in bounded time and memory."""

from __future__ import annotations

import gzip
import socket
import threading
from contextlib import suppress
from datetime import timedelta
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checks.http import Http
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_releasegate.execution import Look

LIMIT = 0.2
PATIENCE = 20.0
"""For servers that answer at once: a machine that stalls must not make them late."""
SLOW = ("/drip", "/silent")
MOST = 64 * 1024
OK = b"HTTP/1.1 200 OK\r\n"
SECRET = "hunter2-hunter2"


def again(first: bytes, part: bytes) -> Callable[[], Iterator[bytes]]:
    """The first bytes, and then the same ones without an end."""

    def parts() -> Iterator[bytes]:
        yield first
        while True:
            yield part

    return parts


def once(*parts: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter(parts)


def sized(body: bytes, headers: bytes = b"") -> Callable[[], Iterator[bytes]]:
    return once(OK, headers, f"Content-Length: {len(body)}\r\n\r\n".encode(), body)


BOMB = gzip.compress(b"\0" * 20_000_000)
ANSWERS: dict[str, Callable[[], Iterator[bytes]]] = {
    "/drip/head": again(OK + b"X-Slow: ", b"x"),
    "/drip/line": again(b"HTTP/1.1 20", b"0"),
    "/drip/body": again(OK + b"\r\n", b"x"),
    "/drip/size": again(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "/silent": again(b"", b""),
    "/endless": again(OK + b"\r\n", b"x" * 16384),
    "/endless/chunks": again(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\nabcd\r\n" * 4096),
    "/endless/size": again(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 16384),
    "/endless/trailer": again(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 4096),
    "/continue": again(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 512),
    "/header/long": again(OK + b"X: ", b"x" * 16384),
    "/header/many": again(OK, b"X: y\r\n" * 1024),
    "/short": once(OK, b"Content-Length: 100\r\n\r\nhello"),
    "/long": once(OK, b"Content-Length: 5\r\n\r\nhello, and more than was said"),
    "/lengths": once(OK, b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    "/nonsense": once(OK, b"Content-Length: -1\r\n\r\nhello"),
    "/bomb": sized(BOMB, b"Content-Encoding: gzip\r\n"),
    "/bomb/twice": sized(gzip.compress(BOMB), b"Content-Encoding: gzip, gzip\r\n"),
    "/brotli": sized(b"\x8b\x02\x80hello\x03", b"Content-Encoding: br\r\n"),
    "/early": once(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK, b"Content-Length: 5\r\n\r\nhello"),
    "/hints": again(b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 512),
    "/charset/escape": sized(b"hello \\q", b"Content-Type: text/plain; charset=unicode_escape\r\n"),
    "/loop": once(b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n"),
    "/to/file": once(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"),
    "/to/broken": once(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n"),
    "/chunks": once(OK, b"Transfer-Encoding: chunked\r\n\r\nzz\r\ngarbage\r\n"),
    "/chunks/cut": once(OK, b"Transfer-Encoding: chunked\r\n\r\n10\r\nonly"),
    "/closed": once(),
    "/closed/head": once(OK, b"X-Half"),
    "/old": once(b"<html>hello from 1991 \x1b[2J</html>\n"),
    "/tls": once(b"\x15\x03\x01\x00\x02\x02\x46"),
    "/utf8": sized(b'{"status": "\xff\xfe"}', b"Content-Type: application/json\r\n"),
    "/charset": sized(b"xn--" * 4096, b"Content-Type: text/plain; charset=punycode\r\n"),
    "/charset/idna": sized(b"hello \xff", b"Content-Type: text/plain; charset=idna\r\n"),
    "/charset/none": sized(b"hello", b"Content-Type: text/plain; charset=no\0such\r\n"),
    "/deep": sized(b"[" * 50_000),
    "/digits": sized(b'{"status": ' + b"9" * 50_000 + b"}"),
    "/nan": sized(b'{"status": NaN}'),
    "/escape": sized(b'{"status": "\\u009b2J"}', b"X-Note: a\x1b[2Jb\r\nX-Note: c\r\n folded: yes\r\n"),
}


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    over = threading.Event()

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            path = self.rfile.readline().split()[1].decode()
            while self.rfile.readline().strip():
                pass
            with suppress(OSError):
                for part in ANSWERS[path]():
                    self.wfile.write(part)
                    if len(part) < 2 and over.wait(0.01):
                        return
                self.connection.shutdown(socket.SHUT_WR)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        over.set()
        server.shutdown()
        thread.join()


def run(site: str, path: str, **fields: Any) -> Look:
    check = Http(url=path, max_size=MOST, **fields)
    limit = LIMIT if path.startswith(SLOW) else PATIENCE
    return look(check, Environment(name="staging", base_url=site), timeout=timedelta(seconds=limit))


def said(result: Look) -> list[str]:
    return [str(finding) for finding in result.findings if finding.ok is not Ok.YES]


ENDLESS = "more than 655360 bytes came, and the answer had no end"
LATE = "no full answer within 0.2 s"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/drip/head", LATE),
        ("/drip/line", LATE),
        ("/drip/body", LATE),
        ("/drip/size", LATE),
        ("/silent", LATE),
        ("/endless", "the body has more than 65536 bytes"),
        ("/endless/chunks", "the body has more than 65536 bytes"),
        ("/endless/size", "/endless/size: "),  # the transport itself bounds this line, from a version on
        ("/endless/trailer", ENDLESS),
        ("/continue", ENDLESS),
        ("/hints", ENDLESS),
        ("/brotli", "the body is encoded as 'br', which was not asked for"),
        ("/header/long", "the answer's head cannot be read: got more than 65536 bytes when reading header line"),
        ("/header/many", "the answer's head cannot be read: got more than 100 headers"),
        ("/short", "the answer broke off or is garbled: IncompleteRead(5 bytes read, 95 more expected)"),
        ("/lengths", "the answer's Content-Length contradicts itself"),
        ("/bomb", "the body has more than 65536 bytes"),
        ("/bomb/twice", "the body is encoded more than once"),
        ("/to/file", "invalid URL file:///etc/passwd"),
        ("/to/broken", "redirects to an invalid URL"),
        ("/chunks", "the answer broke off or is garbled"),
        ("/chunks/cut", "the answer broke off or is garbled"),
        ("/closed", "cannot connect: Remote end closed connection without response"),
        ("/old", "the answer is not HTTP/1: it begins with '<html>hello from 1991 "),
        ("/tls", "the answer is not HTTP/1: it begins with"),
    ],
)
def test_what_is_no_answer_is_an_error_that_says_so(site: str, path: str, message: str) -> None:
    result = run(site, path, redirects=True, text="hello")
    assert (result.status, result.findings) == (Status.ERROR, ())
    assert message in result.message
    assert result.message.isascii()
    assert "\x1b" not in result.message
    assert "the check" not in result.message


def test_no_thread_stays_behind_with_a_server_that_drips(site: str) -> None:
    run(site, "/drip/head")
    left = [thread for thread in threading.enumerate() if thread.name.startswith("releasegate-http")]
    for thread in left:
        thread.join(5)
    assert [thread for thread in left if thread.is_alive()] == []


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("/loop", {}, "redirects: expected an answer at the end of them, got more than 10 redirects, the last to http"),
        (
            "/utf8",
            {"body": {"status": "ok"}},
            "body: expected JSON, got 16 bytes of application/json that are not JSON",
        ),
        (
            "/utf8",
            {"schema": {"type": "object"}},
            "body: expected JSON, got 16 bytes of application/json that are not JSON",
        ),
        ("/deep", {"body": {"0": 1}}, "body: expected JSON, got 50000 bytes of no content type that are not JSON"),
        ("/digits", {"body": {"status": 1}}, "body: expected JSON, got 50012 bytes of no content type that"),
        ("/nan", {"body": {"status": "> 0"}}, "body: expected JSON, got 15 bytes of no content type that are not"),
        ("/escape", {"body": {"status": "ok"}}, 'body status: expected "ok", got "\\x9b2J"'),
        ("/escape", {"header": {"X-Note": "b"}}, "header X-Note: expected b, got a\\x1b[2Jb, c"),
        ("/drip/body", {"within": "100ms"}, "response time: expected <= 100ms, got no full answer within 0.2s"),
        ("/closed", {"unreachable": "fails"}, "answer: expected one, got http"),
        ("/closed/head", {"text": "hello"}, "body: expected a body to look at, got an empty body"),
    ],
)
def test_what_the_product_answers_wrongly_fails(site: str, path: str, fields: dict[str, Any], message: str) -> None:
    result = run(site, path, redirects=True, **fields)
    assert result.status is Status.FAILED
    assert [line for line in said(result) if line.startswith(message)], said(result)


@pytest.mark.parametrize("path", ["/drip/head", "/endless/size", "/old", "/short"])
def test_what_is_no_http_is_no_proof_that_a_service_is_down(site: str, path: str) -> None:
    fields = {} if "drip" in path else {"unreachable": "fails"}
    assert run(site, path, **fields).status is Status.ERROR


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/long", "hello"),
        ("/nonsense", "hello"),
        ("/charset", "xn--"),
        ("/charset/idna", "hello"),
        ("/charset/none", "he"),
        ("/charset/escape", "hello \\q"),
        ("/early", "hello"),
    ],
)
def test_what_is_merely_odd_is_read(site: str, path: str, text: str) -> None:
    assert run(site, path, text=text).status is Status.PASSED
    assert run(site, path, not_text="and more").status is Status.PASSED


def test_evidence_moves_no_cursor(site: str) -> None:
    ((_, body),) = run(site, "/escape").attached
    assert b"X-Note: a\\x1b[2Jb" in body
    assert b"\x1b" not in body


def test_a_name_that_resolves_slowly_ends_with_the_gates_time(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def slow(*_: object, **__: object) -> list[Any]:
        over.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    result = look(Http(url="http://slow.example/"), timeout=timedelta(seconds=LIMIT))
    over.set()
    assert (result.status, result.seconds < 5) == (Status.ERROR, True)
    assert "http://slow.example/: no full answer within 0.2 s" in result.message


def test_a_line_break_in_a_reference_begins_no_header(site: str) -> None:
    check = Http(url="/long?next=${env:NEXT}", text="hello")
    variables = {"NEXT": f"a HTTP/1.1\r\nX-Injected: {SECRET}"}
    ANSWERS[f"/long?next=a%20HTTP/1.1%0D%0AX-Injected:%20{SECRET}"] = ANSWERS["/long"]
    result = look(check, Environment(name="staging", base_url=site), variables=variables)
    assert result.status is Status.PASSED
    assert SECRET not in repr(result)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_port_that_takes_connections_and_stays_silent_is_no_answer(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/"
        result = look(Http(url=url), timeout=timedelta(seconds=LIMIT))
    assert (result.status, LATE in result.message) == (Status.ERROR, True)
