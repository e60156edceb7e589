"""`http` against real servers on loopback."""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from pydantic import ValidationError
from urllib3.util import connection

from pytest_releasegate.checks.http import Http
from pytest_releasegate.model import Environment, Ok, Release, Status
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_releasegate.execution import Look

COMMIT = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c"
HEALTH = {"status": "ok", "version": "1.4.0", "commit": COMMIT[:10], "checks": {"database": {"ok": True, "pool": 7}}}
LATE = 0.2


@dataclass
class Page:
    """What the server answers, how late, what drips in until the test is over, and what it answers next time."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    late: float = 0.0
    drip: str = ""
    then: Page | None = None
    barrier: threading.Barrier | None = None


@dataclass
class Site:
    """A running server, the requests that it saw, and its pages by path."""

    url: str
    pages: dict[str, Page]
    seen: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def environment(self, **more: Any) -> Environment:
        return Environment(name="staging", base_url=self.url, **more)


def handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            site.seen.append((self.command, self.path, dict(self.headers)))
            site.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            page = site.pages.get(self.path.partition("?")[0], Page(404, body=b"no such page"))
            if page.then:
                site.pages[self.path] = page.then
            site.over.wait(page.late)
            if page.barrier:
                page.barrier.wait(10)
            if page.drip:
                drip(self, page, site)
                return
            self.send_response(page.status)
            for name, value in {"Content-Length": str(len(page.body)), **page.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    for method in ("GET", "HEAD", "POST", "PUT"):
        setattr(Handler, f"do_{method}", Handler.answer)
    return Handler


def drip(handler: BaseHTTPRequestHandler, page: Page, site: Site) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if page.drip == "body" else b"X-Slow: "))
    while not site.over.wait(0.02):
        try:
            handler.wfile.write(b"x" * (1 if page.drip == "headers" else 4096))
        except OSError:
            return


@contextmanager
def serving(
    pages: dict[str, Page], certificate: trustme.LeafCert | None = None, at: tuple[str, int] = ("127.0.0.1", 0)
) -> Iterator[Site]:
    site = Site("", pages)
    family = socket.AF_INET6 if ":" in at[0] else socket.AF_INET
    server = type("Server", (ThreadingHTTPServer,), {"address_family": family})(at, handler(site))
    server.daemon_threads = False
    server.handle_error = lambda *_: None  # clients that hang up are part of the tests
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    site.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
    thread.start()
    try:
        yield site
    finally:
        site.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def as_json(value: object) -> Page:
    return Page(headers={"Content-Type": "application/json; charset=utf-8"}, body=json.dumps(value).encode())


@pytest.fixture
def site() -> Iterator[Site]:
    pages = {
        "/healthz": as_json(HEALTH),
        "/empty": Page(),
        "/page": Page(body="Demo 1.4.0-rc1, Grüße".encode()),
        "/late": Page(body=b"sorry", late=LATE),
        "/old": Page(302, {"Location": "/healthz"}),
        "/loop": Page(302, {"Location": "/loop"}),
    }
    with serving(pages) as running:
        yield running


def run(site: Site, url: str = "/healthz", **fields: Any) -> Look:
    release = Release(
        product="demo",
        version="1.4.0",
        environment="staging",
        git_commit=COMMIT,
        opened_at=datetime(2026, 1, 5, tzinfo=UTC),
    )
    return look(Http(url=url, **fields), site.environment(), release=release)


def said(result: Look) -> list[str]:
    return [str(finding) for finding in result.findings if finding.ok is not Ok.YES]


def test_healthy_service_passes_and_shows_what_was_looked_at(site: Site) -> None:
    result = run(
        site,
        within="5s",
        text="database",
        not_text=["error"],
        header={"Content-Type": "application/json", "X-Debug": None},
        body={
            "status": "ok",
            "checks.database.ok": True,
            "checks.database.pool": ">= 1",
            "version": "${release.version}",
        },
    )
    assert (result.status, said(result)) == (Status.PASSED, [])
    assert "answers looked at: expected >= 1, got 1" in map(str, result.findings)
    evidence, body = result.attached[0]
    assert evidence.name == "answer.txt"
    assert body.startswith(f"{site.url}/healthz\n200 OK\n".encode())
    assert b'"status": "ok"' not in body
    assert re.search(rb"\n\n\[\d+ bytes of application/json; charset=utf-8, sha256 [0-9a-f]{64}\]$", body)


def test_the_body_is_kept_only_where_the_gate_says_so(site: Site) -> None:
    kept = look(Http(url="/healthz", keep_body=True), site.environment()).attached[0][1]
    assert b'"status": "ok"' in kept


def test_shorthand_is_the_url(site: Site) -> None:
    assert look(Http.model_validate({Http.shorthand: "/healthz"}), site.environment()).status is Status.PASSED


@pytest.mark.parametrize(
    ("url", "fields", "message"),
    [
        ("/nowhere", {}, "status: expected 200, got 404 Not Found"),
        ("/nowhere", {"status": [200, 204]}, "status: expected 200 or 204, got 404 Not Found"),
        ("/old", {}, "status: expected 200, got 302 Found to /healthz"),
        ("/late", {"within": "100ms"}, "response time: expected <= 100ms, got 0."),
        ("/empty", {"text": "hello"}, "body: expected a body to look at, got an empty body"),
        ("/empty", {"not_text": "error"}, "body: expected a body to look at, got an empty body"),
        ("/empty", {"body": {"status": "ok"}}, "body: expected a body to look at, got an empty body"),
        ("/page", {"text": "Tschüss"}, "text 'Tschüss': expected present, got absent"),
        ("/page", {"text": "Demo ${release.version}"}, "text 'Demo 1.4.0': expected present, got absent"),
        ("/page", {"not_text": "Grüße"}, "text 'Grüße': expected absent, got present"),
        ("/page", {"body": {"status": "ok"}}, "body: expected JSON, got 23 bytes of no content type that are not JSON"),
        ("/healthz", {"size": "< 100"}, "size in bytes: expected < 100, got 109"),
        ("/healthz", {"body": {"status": "up"}}, 'body status: expected "up", got "ok"'),
        ("/healthz", {"body": {"checks.database.ok": 1}}, "body checks.database.ok: expected 1, got true"),
        ("/healthz", {"body": {"checks.database.pool": "> 7"}}, "body checks.database.pool: expected > 7, got 7"),
        ("/healthz", {"body": {"status": "> 7"}}, 'body status: expected > 7, got "ok"'),
        (
            "/healthz",
            {"body": {"checks.cache": True}},
            "body checks.cache: expected true, got nothing there (known: database)",
        ),
        (
            "/healthz",
            {"header": {"Content-Type": "text/html"}},
            "header Content-Type: expected text/html, got application/json;",
        ),
        ("/healthz", {"header": {"X-Frame-Options": "DENY"}}, "header X-Frame-Options: expected DENY, got absent"),
        ("/healthz", {"header": {"Server": None}}, "header Server: expected absent, got BaseHTTP"),
        ("/loop", {"redirects": True}, "redirects: expected an answer at the end of them, got more than 10 redirects"),
    ],
)
def test_wrong_answers_fail_and_say_why(site: Site, url: str, fields: dict[str, Any], message: str) -> None:
    result = run(site, url, **fields)
    assert result.status is Status.FAILED
    assert [line for line in said(result) if line.startswith(message)], said(result)


def test_running_commit_may_be_abbreviated_but_not_another(site: Site) -> None:
    wanted = {"commit": "${release.git_commit}"}
    assert run(site, body=wanted).status is Status.PASSED
    site.pages["/healthz"] = as_json({"commit": "0" * 10})
    assert run(site, body=wanted).status is Status.FAILED
    site.pages["/healthz"] = as_json({"commit": COMMIT[:4]})
    assert run(site, body=wanted).status is Status.FAILED


def test_a_release_without_commit_cannot_be_compared(site: Site) -> None:
    result = look(Http(url="/healthz", body={"commit": "${release.git_commit}"}), site.environment())
    assert result.status is Status.ERROR
    assert "${release.git_commit}: release 1.4.0/staging knows no git_commit" in result.message


def test_lists_are_reached_by_number_and_compared_as_json(site: Site) -> None:
    site.pages["/healthz"] = as_json({"nodes": [{"up": True}, {"up": False}], "tags": [True]})
    assert run(site, body={"nodes.1.up": False, "nodes.0": {"up": True}}).status is Status.PASSED
    assert said(run(site, body={"tags": [1]})) == ["body tags: expected [1], got [true]"]
    assert said(run(site, body={"nodes.2": 1})) == ["body nodes.2: expected 1, got nothing there (a list of 2)"]


def test_redirects_are_followed_when_asked_and_secrets_stay_home(site: Site) -> None:
    with serving({"/far": Page(body=b"far")}) as other:
        site.pages["/away"] = Page(302, {"Location": f"{other.url}/far"})
        check = Http(url="/away", redirects=True, headers={"X-Api-Key": "${env:KEY}"}, text="far")
        result = look(check, site.environment(), variables={"KEY": "hunter2-hunter2"})
        assert result.status is Status.PASSED
        assert "X-Api-Key" in site.seen[0][2]
        assert "X-Api-Key" not in other.seen[0][2]


def test_echoed_secrets_and_cookies_are_struck_out(site: Site) -> None:
    site.pages["/echo"] = Page(headers={"Set-Cookie": "session=abcdef"}, body=b"token hunter2-hunter2")
    check = Http(url="/echo?t=${env:KEY}", text="${env:KEY} not", header={"Set-Cookie": "other"})
    result = look(check, site.environment(), variables={"KEY": "hunter2-hunter2"})
    everything = repr(result) + repr(check)
    assert result.status is Status.FAILED
    assert "text '${env:KEY} not': expected present, got absent" in said(result)
    assert "header Set-Cookie: expected other, got (not shown)" in said(result)
    assert "hunter2" not in everything
    assert "session=abcdef" not in everything


def test_netrc_is_not_read(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert run(site).status is Status.PASSED
    assert "Authorization" not in site.seen[0][2]


def test_proxies_of_the_environment_are_used_beyond_loopback(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", site.url)
    site.pages["http://app.example.org/healthz"] = as_json(HEALTH)
    result = run(site, "http://app.example.org/healthz", body={"status": "ok"})
    assert result.status is Status.PASSED
    assert f"[through the proxy {site.url} at 127.0.0.1]".encode() in result.attached[0][1]
    refused = run(site, "http://app.example.org/healthz", ip=4)
    assert (refused.status, "IPv4 cannot be asked for through a proxy" in refused.message) == (Status.ERROR, True)


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_to_come_back_later_cannot_tell(site: Site, status: int) -> None:
    site.pages["/busy"] = Page(status, {"Retry-After": "30"})
    result = run(site, "/busy")
    assert result.status is Status.INCONCLUSIVE
    assert said(result)[0].startswith(f"status: expected 200, got {status} ")
    assert said(result)[0].endswith("(the server asks to come back after 30)")
    assert run(site, "/busy", status=status).status is Status.PASSED


@pytest.mark.parametrize(
    ("status", "name", "value"), [(403, "cf-mitigated", "challenge"), (202, "x-amzn-waf-action", "challenge")]
)
def test_a_test_for_browsers_before_it_cannot_tell(site: Site, status: int, name: str, value: str) -> None:
    site.pages["/healthz"] = Page(status, {name: value}, b"<title>Just a moment...</title>")
    result = run(site)
    assert (result.status, "a test for browsers stands before it" in said(result)[0]) == (Status.INCONCLUSIVE, True)


def test_503_without_a_word_is_a_failure(site: Site) -> None:
    site.pages["/down"] = Page(503)
    assert run(site, "/down").status is Status.FAILED


def test_retries_until_it_holds(site: Site) -> None:
    site.pages["/starting"] = Page(503, then=Page())
    result = run(site, "/starting", retry_for="10s")
    assert (result.status, result.attempts) == (Status.PASSED, 2)
    assert [evidence.name for evidence, _ in result.attached] == ["answer.txt", "attempts.txt"]
    first, second = result.attached[1][1].decode().splitlines()
    assert first.endswith("s failed: status: expected 200, got 503 Service Unavailable")
    assert second.endswith("s passed")


def test_body_larger_than_allowed_is_an_error(site: Site) -> None:
    bomb = gzip.compress(b"\0" * 3_000_000)
    site.pages["/bomb"] = Page(headers={"Content-Encoding": "gzip"}, body=bomb)
    result = run(site, "/bomb", text="x")
    assert result.status is Status.ERROR
    assert "/bomb: the body has more than 1048576 bytes" in result.message


def test_garbled_body_is_an_error(site: Site) -> None:
    site.pages["/garbled"] = Page(headers={"Content-Encoding": "gzip"}, body=b"not gzip at all")
    result = run(site, "/garbled", text="x")
    assert result.status is Status.ERROR
    assert "the answer broke off or is garbled" in result.message


@pytest.mark.parametrize("part", ["headers", "body"])
def test_endless_answers_end_with_the_gates_time(site: Site, part: str) -> None:
    site.pages["/drip"] = Page(drip=part)
    start = time.monotonic()
    result = look(Http(url="/drip", max_size=10**9), site.environment(), timeout=timedelta(seconds=0.3))
    assert time.monotonic() - start < 10
    assert result.status is Status.ERROR
    assert "/drip: no full answer within 0.3 s" in result.message


def test_no_answer_is_a_failure_where_a_time_is_promised(site: Site) -> None:
    site.pages["/hangs"] = Page(late=30)
    check = Http(url="/hangs", within=timedelta(seconds=0.1))
    result = look(check, site.environment(), timeout=timedelta(seconds=0.2))
    assert result.status is Status.FAILED
    assert said(result) == ["response time: expected <= 100ms, got no full answer within 0.2s"]


@pytest.fixture
def closed() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://CLOSED/", "http://CLOSED/: cannot connect: Connection refused"),
        ("http://${env:USER_NAME}:${env:PASSWORD}@CLOSED/", "http://CLOSED/: cannot connect"),
        ("http://someone:${env:PASSWORD}/@CLOSED/", "invalid URL: its host or port cannot be read"),
        ("ftp://CLOSED/", "invalid URL ftp://CLOSED/"),
        ("http:///path", "invalid URL http:///path"),
        ("http://CLOSED0000/", "invalid URL: its host or port cannot be read"),
    ],
)
def test_what_cannot_be_reached_is_an_error(closed: str, url: str, message: str) -> None:
    variables = {"USER_NAME": "someone", "PASSWORD": "something"}
    result = look(Http(url=url.replace("CLOSED", closed)), variables=variables)
    assert result.status is Status.ERROR
    assert result.message.startswith(message.replace("CLOSED", closed))
    assert "something" not in result.message


def test_a_service_that_is_down_fails_where_that_is_the_question(site: Site, closed: str) -> None:
    site.pages["/control"] = Page()
    down = look(Http(url=f"http://{closed}/", unreachable="fails"))
    assert (down.status, said(down)) == (
        Status.FAILED,
        [f"answer: expected one, got http://{closed}/: cannot connect: Connection refused"],
    )
    alone = look(Http(url=f"http://{closed}/", unreachable="fails", control="/control"), site.environment())
    assert (alone.status, said(alone)[0].endswith(f"while {site.url}/control answers")) == (Status.FAILED, True)


def test_it_cannot_be_told_down_while_the_control_is_away_too(closed: str) -> None:
    both = look(Http(url=f"http://{closed}/", unreachable="fails", control=f"http://{closed}/control"))
    assert (both.status, "nor does the control answer" in said(both)[0]) == (Status.INCONCLUSIVE, True)


def test_a_name_that_is_not_known_proves_no_outage() -> None:
    assert look(Http(url="http://no-such-host.invalid/", unreachable="fails")).status is Status.ERROR


def test_unset_references_and_missing_base_url_are_errors(site: Site) -> None:
    result = look(Http(url="/", headers={"X-Key": "${env:KEY}"}), site.environment(), variables={})
    assert (result.status, "KEY is not set" in result.message) == (Status.ERROR, True)
    assert "has no base_url" in look(Http(url="/")).message


def test_a_header_that_cannot_be_sent_does_not_show_its_value(site: Site) -> None:
    result = look(Http(url="/", headers={"X-Key": "${env:KEY}"}), site.environment(), variables={"KEY": "abc\ndefghi"})
    assert (result.status, "a header cannot be sent" in result.message) == (Status.ERROR, True)
    assert "defghi" not in repr(result)


def test_tls_is_verified_against_the_named_authority(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "broken.pem").write_text("nothing")
    with serving({"/healthz": as_json(HEALTH)}, authority.issue_cert("127.0.0.1")) as site:

        def tried(ca: str) -> Look:
            return look(Http(url="/healthz", ca=ca), site.environment(), root=tmp_path, variables={"CA": "ca.pem"})

        assert tried("${env:CA}").status is Status.PASSED
        assert (tried("").status, "TLS failed" in tried("").message) == (Status.ERROR, True)
        assert "ca: no such file" in tried("absent.pem").message
        assert tried("broken.pem").status is Status.ERROR
        assert "the check" not in tried("broken.pem").message


def test_protected_environments_are_not_written_to_unasked(site: Site) -> None:
    site.pages["/jobs"] = Page(201)
    check = Http(url="/jobs", method="POST", status=201)
    refused = look(check, site.environment(protected=True))
    assert (refused.status, site.seen) == (Status.ERROR, [])
    assert "POST needs `writes_through_app`, which the environment 'staging' does not allow" in refused.message
    assert (
        look(check, site.environment(protected=True, allow=frozenset({"writes_through_app"}))).status is Status.PASSED
    )


KEY = {"KEY": "hunter2-hunter2"}


@pytest.mark.parametrize(
    ("auth", "sent"),
    [
        ({"bearer": "${env:KEY}"}, "Bearer hunter2-hunter2"),
        ({"basic": {"user": "ops", "password": "${env:KEY}"}}, "Basic b3BzOmh1bnRlcjItaHVudGVyMg=="),
    ],
)
def test_who_asks_is_named_by_reference_and_struck_out(site: Site, auth: dict[str, Any], sent: str) -> None:
    site.pages["/echo"] = Page(headers={"X-Echo": sent}, body=f"you are {sent}".encode())
    check = Http(url="/echo", auth=auth, keep_body=True, header={"X-Echo": "nobody"})  # type: ignore[arg-type]
    result = look(check, site.environment(), variables=KEY)
    assert (result.status, site.seen[0][2]["Authorization"]) == (Status.FAILED, sent)
    assert sent.split()[1] not in repr(result) + repr(check)
    assert b"you are " in result.attached[0][1]


@pytest.mark.parametrize(
    ("fields", "media_type", "body"),
    [
        (
            {"json": {"to": "${release.version}", "key": ["${env:KEY}"], "n": 1}},
            "application/json",
            b'{"to": "1.4.0", "key": ["hunter2-hunter2"], "n": 1}',
        ),
        (
            {"form": {"grant": "a b", "key": "${env:KEY}"}},
            "application/x-www-form-urlencoded",
            b"grant=a+b&key=hunter2-hunter2",
        ),
        (
            {"content": "<v>${release.version} \u00fc</v>", "headers": {"content-type": "text/xml"}},
            "text/xml",
            "<v>1.4.0 \u00fc</v>".encode(),
        ),
    ],
)
def test_bodies_are_sent_with_references_put_in(
    site: Site, fields: dict[str, Any], media_type: str, body: bytes
) -> None:
    site.pages["/jobs"] = Page(201, body=body)
    check = Http.model_validate({"url": "/jobs", "method": "POST", "status": 201, "keep_body": True, **fields})
    result = look(check, site.environment(), variables=KEY)
    assert (result.status, site.bodies) == (Status.PASSED, [body])
    assert {name.lower(): value for name, value in site.seen[0][2].items()}["content-type"] == media_type
    assert "hunter2" not in repr(result)


@pytest.mark.parametrize(("code", "method", "body"), [(303, "GET", b""), (302, "GET", b""), (307, "POST", b"a=1")])
def test_a_body_follows_within_its_server_only_where_the_redirect_says_so(
    site: Site, code: int, method: str, body: bytes
) -> None:
    site.pages["/form"] = Page(code, {"Location": "/healthz"})
    assert run(site, "/form", method="POST", form={"a": "1"}, redirects=True).status is Status.PASSED
    assert (site.seen[1][0], site.bodies[1]) == (method, body)


def test_nothing_but_reading_follows_to_another_server(site: Site) -> None:
    with serving({"/far": Page()}) as other:
        site.pages["/form"] = Page(307, {"Location": f"{other.url}/far?state=abc"})
        check = Http(url="/form", method="POST", form={"key": "${env:KEY}"}, redirects=True)
        result = look(check, site.environment(), variables=KEY)
        assert (result.status, other.seen) == (Status.ERROR, [])
        assert f"/form: redirects a POST to another server, {other.url}/far\n" in result.message
        assert "state" not in result.message


def test_credentials_follow_neither_to_plain_http_nor_back_home(site: Site, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with serving({}, authority.issue_cert("127.0.0.1")) as secure:
        secure.pages |= {"/start": Page(302, {"Location": f"{site.url}/back"}), "/end": Page()}
        site.pages["/back"] = Page(302, {"Location": f"{secure.url}/end"})
        check = Http(url=f"{secure.url}/start", redirects=True, ca="ca.pem", auth={"bearer": "${env:KEY}"})  # type: ignore[arg-type]
        assert look(check, root=tmp_path, variables=KEY).status is Status.PASSED
        seen = [secure.seen[0], site.seen[0], secure.seen[1]]
        assert ["Authorization" in headers for _, _, headers in seen] == [True, False, False]


def test_several_urls_are_asked_at_once_and_each_is_looked_at(site: Site) -> None:
    barrier = threading.Barrier(2)
    site.pages |= {"/a": Page(barrier=barrier), "/b": Page(404, barrier=barrier)}
    result = look(Http(urls=("/a", "/b", "/healthz?key=${env:KEY}")), site.environment(), variables=KEY)
    assert [str(finding) for finding in result.findings] == [
        "answers looked at: expected >= 3, got 3",
        "/a: status: expected 200, got 200 OK",
        "/b: status: expected 200, got 404 Not Found",
        "/healthz: status: expected 200, got 200 OK",
    ]
    assert [evidence.name for evidence, _ in result.attached] == ["answer-1.txt", "answer-2.txt", "answer-3.txt"]
    assert (result.status, "hunter2" in repr(result)) == (Status.FAILED, False)


def test_one_url_of_several_that_does_not_answer_is_no_pass(site: Site, closed: str) -> None:
    urls = ("/healthz", f"http://{closed}/")
    result = look(Http(urls=urls), site.environment())
    assert result.status is Status.ERROR
    assert said(result) == ["answers looked at: expected >= 2, got 1"]
    assert result.message.startswith(f"1 of 2 could not be looked at: http://{closed}/: cannot connect: Connection")
    down = look(Http(urls=urls, unreachable="fails"), site.environment())
    assert down.status is Status.FAILED
    assert said(down)[1].startswith(f"http://{closed}/: answer: expected one, got http://{closed}/: cannot connect")


def test_more_urls_than_there_is_time_for_are_an_error_in_time(site: Site) -> None:
    for number in range(10):
        site.pages[f"/{number}"] = Page(late=30)
    urls = tuple(f"/{number}" for number in range(10))
    result = look(Http(urls=urls), site.environment(), timeout=timedelta(seconds=0.2))
    assert (result.status, result.seconds < 5) == (Status.ERROR, True)
    assert result.message.startswith("10 of 10 could not be looked at: http")
    assert re.search(r"no full answer within 0\.\d+ s", result.message)


def test_a_proxy_that_is_away_is_named_without_its_password(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://someone:hunter2-hunter2@{closed}")
    result = look(Http(url="http://app.example.org/", unreachable="fails"))
    assert result.status is Status.ERROR
    assert f"http://app.example.org/: the proxy http://{closed} failed: Connection refused" in result.message
    assert "hunter2" not in repr(result)


@pytest.fixture
def dual(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Site, Site]]:
    """A server on each version of the protocol, and a name that has both addresses."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, port: Any, family: int = 0, *args: Any, **more: Any) -> Any:
        literal = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}.get(family, "127.0.0.1")
        return resolve(literal if host == "dual.example" else host, port, family, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "dual.example")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving({"/": Page()}) as four:
        port = int(four.url.rpartition(":")[2])
        with serving({"/": Page()}, at=("::1", port)) as six:
            four.url = six.url = f"http://dual.example:{port}"
            yield four, six


def test_each_version_of_the_protocol_can_be_asked_over(dual: tuple[Site, Site]) -> None:
    four, six = dual
    assert run(four, "/", ip=6).status is Status.PASSED
    assert (len(four.seen), len(six.seen)) == (0, 1)
    assert six.seen[0][2]["Host"] == four.url.partition("//")[2]
    six.pages["/"] = Page(503)
    assert run(four, "/", ip=4).status is Status.PASSED
    both = run(four, "/", ip="both")
    assert (both.status, said(both)) == (
        Status.FAILED,
        ["over IPv6: status: expected 200, got 503 Service Unavailable"],
    )
    assert [b"[from ::1]" in body for _, body in both.attached] == [False, True]


def test_a_server_without_an_address_of_that_version_is_an_error(site: Site) -> None:
    result = run(site, ip="both")
    assert (result.status, said(result)) == (Status.ERROR, ["answers looked at: expected >= 2, got 1"])
    assert "127.0.0.1: no IPv6 address" in result.message


SCHEMA = {
    "type": "object",
    "required": ["status", "version"],
    "additionalProperties": False,
    "properties": {
        "status": {"enum": ["ok", "degraded"]},
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "at": {"type": "string", "format": "date-time"},
        "nodes": {"type": "array", "items": {"type": "object", "required": ["up"]}, "minItems": 1},
        "pool": {"type": "integer", "maximum": 10},
        "tags": {"uniqueItems": True},
    },
}
TAGS = [1, True, "1", {"a": 1}, {"a": 2}, [1], None]
FITS = {
    "tags": TAGS,
    "status": "ok",
    "version": "1.4.0",
    "at": "2026-01-05T09:00:00Z",
    "nodes": [{"up": True}],
    "pool": 3,
}


def test_a_body_that_fits_its_schema_passes_inline_and_from_a_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "health.json").write_text(json.dumps(SCHEMA))
    site.pages["/healthz"] = as_json(FITS)
    for schema in (SCHEMA, "health.json"):
        result = look(Http(url="/healthz", schema=schema), site.environment(), root=tmp_path)  # type: ignore[arg-type]
        assert (result.status, str(result.findings[-1])) == (
            Status.PASSED,
            "schema: expected a document as described, got one",
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "Ann is ill"}, 'schema at status: expected enum ["ok", "degraded"], got a text of 10'),
        ({"version": "Ann"}, 'schema at version: expected pattern "^\\\\d+\\\\.\\\\d+\\\\.\\\\d+$", got a text of 3'),
        ({"version": 14}, "schema at version: expected type string, got 14"),
        ({"at": "Ann"}, 'schema at at: expected format "date-time", got a text of 3'),
        ({"at": "2026-01-05T09:00:00"}, 'schema at at: expected format "date-time", got a text of 19'),
        ({"nodes": []}, "schema at nodes: expected minItems 1, got a list of 0"),
        ({"nodes": [{"up": 1}, {"Ann": 1}]}, "schema at nodes.1: expected the keys up, got no up"),
        ({"tags": [1, 1.0]}, "schema at tags: expected uniqueItems true, got a list of 2"),
        ({"tags": [{"a": [1]}, {"a": [1.0]}]}, "schema at tags: expected uniqueItems true, got a list of 2"),
        ({"pool": 11}, "schema at pool: expected maximum 10, got 11"),
        ({"Ann": 1}, "schema: expected no keys but at, nodes, pool, status, tags and 1 more, got 1 more"),
    ],
)
def test_what_does_not_fit_its_schema_is_told_without_its_texts(
    site: Site, change: dict[str, Any], message: str
) -> None:
    site.pages["/healthz"] = as_json(FITS | change)
    result = run(site, schema=SCHEMA)
    assert (result.status, said(result)) == (Status.FAILED, [message])
    assert "Ann" not in repr(result)


def test_of_very_many_misfits_a_few_are_told(site: Site) -> None:
    site.pages["/healthz"] = as_json({"nodes": [1] * 1000})
    assert len(said(run(site, schema={"properties": {"nodes": {"items": {"type": "object"}}}}))) == 10


@pytest.mark.parametrize(
    ("schema", "answer", "actual"),
    [
        ({"properties": {"status": {"const": "ok"}}}, {"error": "down"}, "none of status; name under `required` what"),
        ({"properties": {"status": {"const": "ok"}}}, [], "a list of 0; say `type: object`"),
        ({"type": "array", "items": {"required": ["up"]}}, [], "an empty list: none of its items was seen; say `minI"),
    ],
)
def test_a_schema_that_met_nothing_cannot_tell(site: Site, schema: dict[str, Any], answer: Any, actual: str) -> None:
    site.pages["/healthz"] = as_json(answer)
    result = run(site, schema=schema)
    assert result.status is Status.INCONCLUSIVE
    assert said(result)[0].startswith(f"schema: expected a document as described, got {actual}")


def test_very_many_items_are_told_apart_in_time(site: Site) -> None:
    site.pages["/healthz"] = as_json([{"id": number} for number in range(20_000)])
    assert said(run(site, schema={"type": "array", "uniqueItems": True})) == []


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"type": "array", "items": {"required": ["up"]}, "minItems": 0}, []),
        ({"properties": {"type": {"type": "string"}, "example": {}}, "x-owner": "web"}, {"type": "a"}),
        ({"type": "object", "required": ["requierd"], "properties": {"requierd": True}}, {"requierd": 1}),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}, {}),
    ],
)
def test_a_schema_may_be_loose_where_it_says_so(site: Site, schema: dict[str, Any], answer: Any) -> None:
    site.pages["/healthz"] = as_json(answer)
    assert said(run(site, schema=schema)) == []


@pytest.mark.parametrize(
    ("body", "fields", "message"),
    [
        (b'{"status": "down", "status": "ok"}', {"body": {"status": "ok"}}, "not JSON (an object holds a key twice)"),
        (b'{"free": 1e999}', {"body": {"free": ">= 3"}}, "body free: expected >= 3, got Infinity"),
        (b"", {"size": "< 1000"}, "size in bytes: expected < 1000, got 0: an empty body"),
        ("\ufeffError".encode("utf-16-le"), {"not_text": "Error"}, "text 'Error': expected absent, got present"),
        (b"<meta charset=latin1>St\xf6rung", {"not_text": "Störung"}, "text 'Störung': expected absent, got present"),
        (b"we can&#39;t", {"not_text": "can't"}, "text 'can't': expected absent, got present"),
    ],
)
def test_tricks_of_writing_hide_nothing(site: Site, body: bytes, fields: dict[str, Any], message: str) -> None:
    site.pages["/trick"] = Page(headers={"Content-Type": "text/html"}, body=body)
    result = run(site, "/trick", **fields)
    assert (result.status, message in said(result)[0]) == (Status.FAILED, True), said(result)


SHELL = Page(headers={"Content-Type": "text/html"}, body=b'<div id="root" data-at="1764302400"></div>')
LOGIN = Page(headers={"Content-Type": "text/html"}, body=b'<form><input type="password"></form>')


def test_a_page_that_any_address_gives_is_no_health(site: Site) -> None:
    site.pages |= {"/app/healthz": SHELL, "/app/releasegate-no-such-page": SHELL, "/own": SHELL, "/app/d": SHELL}
    assert run(site, "/app/d").status is Status.INCONCLUSIVE
    result = run(site, "/app/healthz", within="5s")
    assert (result.status, said(result)) == (
        Status.INCONCLUSIVE,
        [
            "page: expected what is at /app/healthz alone, got what "
            f"{site.url}/app/releasegate-no-such-page gives too, which nobody made; name a `text` or a `body` of it"
        ],
    )
    assert run(site, "/app/healthz", text="root").status is Status.PASSED
    assert run(site, "/own").status is Status.PASSED


@pytest.mark.parametrize(("age", "told"), [("86400", " (from a cache, 86400 s old)"), ("0", ""), ("\x1b", "")])
def test_an_answer_of_a_cache_is_told(site: Site, age: str, told: str) -> None:
    site.pages["/cached"] = Page(headers={"Age": age}, body=b"ok")
    assert f"status: expected 200, got 200 OK{told}" in map(str, run(site, "/cached").findings)


def test_the_site_itself_and_what_is_no_page_are_asked_once(site: Site) -> None:
    site.pages |= {"/": SHELL, "/releasegate-no-such-page": SHELL}
    for url in ("/", "/healthz", "/page"):
        site.seen.clear()
        assert (run(site, url).status, len(site.seen)) == (Status.PASSED, 1)


def test_a_redirect_to_the_login_is_no_health(site: Site) -> None:
    site.pages |= {"/private": Page(302, {"Location": "/login?next=/private"}), "/login": LOGIN}
    result = run(site, "/private", redirects=True)
    assert (result.status, said(result)) == (
        Status.INCONCLUSIVE,
        ["page: expected what is at /private, got the login at /login; name a `text` of the page meant"],
    )
    site.pages["/"] = site.pages["/private"]
    assert (run(site, "/login").status, run(site, "/", redirects=True).status) == (Status.PASSED, Status.PASSED)


TOKEN = "0f8b1c3d5e7a9b2c"


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"Location": f"https://app.example.org/#access_token={TOKEN}"}, {}),
        ({"Location": f"/callback?code={TOKEN}&{TOKEN}"}, {"header": {"Location": "/home"}}),
        ({"Location": f"//ops:{TOKEN}@example.org/a[?{TOKEN}"}, {}),
        ({"Location": "/", "X-Auth-Token": TOKEN, "Refresh": f"0; url=/?a={TOKEN}"}, {"header": {"X-Auth-Token": "a"}}),
        ({"Location": f"/cookied?code={TOKEN}"}, {"redirects": True}),
    ],
)
def test_tokens_of_the_server_are_not_shown(site: Site, headers: dict[str, str], fields: dict[str, Any]) -> None:
    site.pages |= {"/cookied": Page(302, headers)}
    result = run(site, "/cookied", keep_body=True, **fields)
    assert result.status is Status.FAILED
    assert TOKEN not in repr(result)


@pytest.mark.filterwarnings("error")
def test_cookies_go_along_within_their_server_however_they_are_written(site: Site) -> None:
    with serving({"/far": Page(302, {"Location": f"{site.url}/healthz"})}) as other:
        site.pages["/set"] = Page(302, {"Set-Cookie": f"seen={TOKEN}; Max-Age; Expires", "Location": "/next"})
        site.pages["/next"] = Page(302, {"Location": f"{other.url}/far"})
        result = run(site, "/set", redirects=True)
        assert (result.status, [path for _, path, _ in site.seen]) == (Status.PASSED, ["/set", "/next", "/healthz"])
        assert [headers.get("Cookie") for _, _, headers in site.seen] == [None, f"seen={TOKEN}", f"seen={TOKEN}"]
        assert [headers.get("Cookie") for _, _, headers in other.seen] == [None]


def test_where_a_redirect_led_is_shown_without_its_query(site: Site) -> None:
    site.pages |= {"/from": Page(302, {"Location": f"/healthz?token={TOKEN}"})}
    result = run(site, "/from", redirects=True)
    assert (result.status, TOKEN in repr(result)) == (Status.PASSED, False)
    assert result.attached[0][1].startswith(f"{site.url}/healthz\n".encode())


def test_what_is_called_a_token_is_struck_out_of_the_path_too(site: Site) -> None:
    site.pages[f"/hooks/{TOKEN}"] = Page(404)
    result = look(Http(url="/hooks/${env:HOOK_TOKEN}"), site.environment(), variables={"HOOK_TOKEN": TOKEN})
    assert (result.status, TOKEN in repr(result)) == (Status.FAILED, False)


def test_a_password_in_the_address_is_struck_out_as_it_is_sent(site: Site) -> None:
    site.pages["/echo"] = Page(body=f"{base64.b64encode(b'ops:hunter2-hunter2').decode()} hunter2-hunter2".encode())
    check = Http(url=f"{site.url.replace('//', '//ops:${env:PW}@')}/echo", keep_body=True)
    result = look(check, site.environment(), variables={"PW": "hunter2-hunter2"})
    assert site.seen[0][2]["Authorization"].endswith(base64.b64encode(b"ops:hunter2-hunter2").decode())
    assert result.attached[0][1].decode().endswith("\n${url} ${url}")


class Near(socket.socket):
    """A connection to where clouds keep credentials, over which nothing can be sent."""

    def getpeername(self) -> Any:
        return "169.254.169.254", 80


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "metadata.example.org"])
def test_no_redirect_leads_to_where_clouds_keep_credentials(
    site: Site, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = connection.create_connection

    def here(address: tuple[str, int], *more: Any, **named: Any) -> socket.socket:
        return connect(address, *more, **named) if address[0] == "127.0.0.1" else Near()

    monkeypatch.setattr(connection, "create_connection", here)
    monkeypatch.setenv("NO_PROXY", "*")
    site.pages["/away"] = Page(302, {"Location": f"http://{host}/latest/meta-data/"})
    result = run(site, "/away", redirects=True)
    assert result.status is Status.ERROR
    assert re.match(r"redirects to (169\.254\.169\.254|fe80::1), an address within the network", result.message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("{", "Expecting property name"),
        ("[]", "no JSON Schema: expected an object"),
        ('{"type": "strin"}', "no JSON Schema: at type: 'strin' is not valid"),
        ('{"$ref": "SITE/other.json"}', "/other.json"),
        ('{"properties": {"a": {"format": "uri"}}}', "the format uri is not looked at here; known: date, date-time"),
    ],
)
def test_a_schema_that_cannot_be_held_to_is_an_error(
    site: Site, tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "a.json").write_text(text.replace("SITE", site.url))
    site.pages["/other.json"] = as_json({})
    result = look(Http(url="/healthz", schema="a.json"), site.environment(), root=tmp_path)
    assert (result.status, message in result.message) == (Status.ERROR, True), result.message
    assert "/other.json" not in [path for _, path, _ in site.seen]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "/", "status": "200"}, "valid integer"),
        ({"url": "/", "status": []}, "at least 1 item"),
        ({"url": "/", "status": 2}, "greater than or equal to 100"),
        ({"url": "/", "redirects": "yes"}, "valid boolean"),
        ({"url": "/", "text": ""}, "at least 1 character"),
        ({"url": "/", "text": "${release.versoin}"}, "did you mean 'version'?"),
        ({"url": "/", "body": {"a": "${release.tag}"}}, "unknown placeholder"),
        ({"url": "/", "body": {"a..b": 1}}, "match pattern"),
        ({"url": "/", "body": {"$.status": "ok"}}, "expected a dotted path such as `status` or `items.0.ok`"),
        ({"url": "/", "body": {"items[0].ok": True}}, "expected a dotted path"),
        ({"url": "/", "body": {"items.*.ok": True}}, "nothing stands for all of a list"),
        ({"url": "/", "method": "HEAD", "text": "x"}, "the answer to HEAD has no body"),
        ({"url": "/", "metod": "GET"}, "Extra inputs"),
        ({}, "expected either `url` or `urls`"),
        ({"url": "/", "urls": ["/a"]}, "expected either `url` or `urls`"),
        ({"urls": ["/a", "/a"]}, "names the same URL twice"),
        ({"url": "/", "ip": 5}, "Input should be 4, 6"),
        ({"url": "/", "auth": {}}, "expected either `basic` or `bearer`"),
        ({"url": "/", "auth": {"bearer": "abcdef"}}, "name it by reference"),
        ({"url": "/", "auth": {"basic": {"user": "a:b", "password": "${env:P}"}}}, "match pattern"),
        (
            {"url": "/", "auth": {"bearer": "${env:P}"}, "headers": {"authorization": "${env:P}"}},
            "the header Authorization",
        ),
        ({"url": "/", "json": {"a": 1}}, "GET carries no body"),
        ({"url": "/", "method": "POST", "json": [1], "form": {"a": "b"}}, "expected one of `json`, `form` and"),
        ({"url": "/", "method": "POST", "content": "a"}, "needs its Content-Type"),
        ({"url": "/", "method": "POST", "json": ["${release.tag}"]}, "unknown placeholder"),
        ({"url": "/", "method": "HEAD", "schema": {"type": "object"}}, "the answer to HEAD has no body"),
        ({"url": "/", "method": "HEAD", "size": "< 1"}, "the answer to HEAD has no body"),
        ({"url": "/", "schema": {"type": "strin"}}, "no JSON Schema: at type"),
        ({"url": "/", "schema": {"format": "uri"}}, "the format uri is not looked at here"),
        ({"url": "/", "schema": {}}, "it describes nothing, and any document fits"),
        ({"url": "/", "schema": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "it describes nothing"),
        (
            {"url": "/", "schema": {"requierd": ["a"]}},
            "'requierd' is no keyword of JSON Schema; did you mean 'required'?",
        ),
        ({"url": "/", "schema": {"properties": {"a": {"minimun": 1}}}}, "did you mean 'minimum'?"),
        ({"url": "https://ops:hunter2@example.org/"}, "a secret stands in no gate file"),
        ({"url": "/", "control": "/other"}, "`control` is asked with `unreachable: fails` alone"),
    ],
)
def test_wrong_declarations_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("?", r"\?")):
        Http.model_validate(fields)
