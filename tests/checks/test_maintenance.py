"""`maintenance` against pages that say so, and a database that holds it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.maintenance import Maintenance
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.execution import Look

BANNER = "Scheduled maintenance"
SEEN = ["/opened", "/wide", "/list", "/paragraph", "/break", "/marked"]
SETTINGS = """
create table app_settings (name text primary key, value text);
insert into app_settings values ('maintenance', 'on'), ('running', 'off'), ('odd', 'perhaps'), ('none', null);
"""
PAGES: dict[str, tuple[int, Any]] = {
    "/on": (200, f"<div><b>{BANNER}</b> until ten</div>"),
    "/off": (200, "<p>Sign in</p>"),
    "/closed": (503, "<p>Scheduled\n maintenance</p>"),
    "/later": (503, f"<p>{BANNER}</p>"),
    "/comment": (200, f"<p>Sign in</p><!-- {BANNER} -->"),
    "/script": (200, f"<p>Sign in</p><script>show('{BANNER}')</script>"),
    "/hidden": (200, f"<p>Sign in</p><div hidden><br><p>{BANNER}</div>"),
    "/style": (200, f'<div style="display: none">{BANNER}</div><p>Sign in</p>'),
    "/class": (200, f'<div class="alert d-none">{BANNER}</div><p>Sign in</p>'),
    "/opacity": (200, f'<div style="color: red; opacity: 0">{BANNER}</div><p>Sign in</p>'),
    "/dialog": (200, f"<dialog><p>{BANNER}</p></dialog><p>Sign in</p>"),
    "/details": (200, f"<details><summary>News</summary>{BANNER}<p>{BANNER}</p></details><p>Sign in</p>"),
    "/opened": (200, f"<details open><summary>News</summary>{BANNER}</details>"),
    "/wide": (200, f'<div class="hidden md:block">{BANNER}</div>'),
    "/list": (200, f"<ul><li hidden>old<li>{BANNER}</ul>"),
    "/paragraph": (200, f"<p hidden>old<div>{BANNER}</div>"),
    "/break": (200, "<h1>SCHEDULED<br>MAIN&shy;TENANCE</h1>"),
    "/marked": (200, "<p>Scheduled <b>mainten</b>ance"),
    "/rails": (
        503,
        "<!DOCTYPE html><html><head><title>Down</title><style>.x{color:red}</style></head><body><!-- in public/ -->"
        f"<div class='dialog'><h1>We're sorry</h1>\n<p>{BANNER}.</p></div></body></html>",
    ),
    "/react": (200, "<div>Scheduled <!-- -->maintenance</div>"),
    "/deep": (200, "<a>" * 30_000 + "</b>" * 30_000),
    "/open": (200, "<!--" * 60_000),
    "/odd": (200, f"<p>{BANNER}</p><![" + "<![" * 60_000),
    "/nested": (200, "[" * 100_000),
    "/refused": (404, {"app": {"maintenance": False}}),
    "/after": (200, f"<div><p hidden>x</div><title>t</title><svg/><p>{BANNER}"),
    "/empty": (200, ""),
    "/busy": (429, ""),
    "/state": (200, {"app": {"maintenance": True, "jobs": "paused"}}),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, content = PAGES.get(self.path, (404, "no such page"))
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/later":
            self.send_header("Retry-After", "600")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def database(new_database: Any) -> dict[str, str]:
    made: Environment = new_database(SETTINGS)
    return dict(made.databases)


def setting(name: str, **more: Any) -> dict[str, Any]:
    return {"query": f"select value from app_settings where name = '{name}'", **more}


def run(site: str, mode: Any, databases: dict[str, str] | None = None, **fields: Any) -> Look:
    environment = Environment(name="staging", base_url=site, databases=databases or {})
    return look(Maintenance.model_validate({"mode": mode, **fields}), environment)


def said(result: Look) -> list[str]:
    return [str(finding) for finding in result.findings if finding.ok is not Ok.YES]


JOBS = {"url": "/state", "path": "app.jobs", "during": "paused", "otherwise": "running"}
FLAG = {"url": "/state", "path": "app.maintenance", "during": True, "otherwise": False}


def test_maintenance_is_on_and_off(site: str, database: dict[str, str]) -> None:
    pages = ["/on", "/closed", "/later", "/after"]
    assert run(site, "on", url=[*SEEN, "/odd", "/rails", "/react"], banner=BANNER).status is Status.PASSED
    on = run(site, "on", database, url=pages, banner=BANNER, setting=setting("maintenance"), jobs=JOBS)
    assert (on.status, said(on)) == (Status.PASSED, [])
    assert str(on.findings[-1]) == "things looked at: expected >= 1, got 6"
    hidden = ["/off", "/comment", "/script", "/hidden", "/style", "/class", "/opacity", "/dialog", "/details"]
    off = run(site, False, database, url=hidden, banner=BANNER, jobs=setting("running"))
    assert (off.status, said(off)) == (Status.PASSED, [])
    assert run(site, True, setting=FLAG).status is Status.PASSED


@pytest.mark.parametrize("page", SEEN)
def test_a_banner_is_seen_however_the_page_is_written(site: str, page: str) -> None:
    result = run(site, "off", url=page, banner=BANNER)
    assert said(result) == [f"{page}: banner '{BANNER}': expected not visible, got visible"]


def test_pages_of_garbage_are_read_in_time(site: str) -> None:
    result = run(site, "off", url=["/deep", "/open"], banner=BANNER)
    assert [line.partition(", got ")[2] for line in said(result)] == ["a page without any text"] * 2


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ({"during": True, "otherwise": False, **setting("maintenance")}, Status.PASSED),
        ({"url": "/state", "path": "app.maintenance"}, Status.PASSED),
        ({**setting("maintenance"), "during": "o" * 40 + "n", "otherwise": "o" * 40 + "ff"}, Status.FAILED),
    ],
)
def test_values_are_compared_as_they_are_meant(
    site: str, database: dict[str, str], state: dict[str, Any], status: Status
) -> None:
    assert run(site, "on", database, setting=state).status is status


def test_long_values_are_compared_to_their_end(site: str, database: dict[str, str]) -> None:
    query = f"select '{'o' * 60}ff'"
    state = {"query": query, "during": "o" * 60 + "n", "otherwise": "o" * 60 + "ff"}
    assert [run(site, mode, database, setting=state).status for mode in ("on", "off")] == [
        Status.FAILED,
        Status.PASSED,
    ]


@pytest.mark.parametrize(
    ("mode", "fields", "message"),
    [
        ("on", {"url": "/off"}, "/off: banner 'Scheduled maintenance': expected visible, got not visible"),
        (
            "on",
            {"url": "/comment"},
            "/comment: banner 'Scheduled maintenance': expected visible, got not visible: it stands in the page, "
            "hidden or in a script",
        ),
        ("off", {"url": "/on"}, "/on: banner 'Scheduled maintenance': expected not visible, got visible"),
        ("off", {"url": "/after"}, "/after: banner 'Scheduled maintenance': expected not visible, got visible"),
        ("off", {"url": "/later"}, "/later: status: expected 200, got 503 Service Unavailable"),
        ("on", {"url": "/on", "status": 503}, "/on: status: expected 503, got 200 OK"),
        ("on", {"url": "/closed", "retry_after": True}, "/closed: Retry-After: expected told, got absent"),
        ("on", {"url": "/nowhere"}, "/nowhere: status: expected 200 or 503, got 404 Not Found"),
        ("on", {"setting": setting("running")}, "mode: expected on, got off"),
        ("off", {"jobs": JOBS}, "background jobs: expected running, got paused"),
        ("off", {"setting": FLAG}, "mode: expected off (false), got on (true)"),
        ("off", {"jobs": setting("odd")}, "background jobs: expected running (off), got perhaps"),
    ],
)
def test_the_other_mode_is_found(
    site: str, database: dict[str, str], mode: str, fields: dict[str, Any], message: str
) -> None:
    banner = {"banner": BANNER} if "url" in fields else {}
    result = run(site, mode, database, **banner, **fields)
    assert (result.status, said(result)) == (Status.FAILED, [message])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "/empty", "banner": BANNER}, "got a page without any text"),
        ({"url": "/busy", "banner": BANNER}, "got 429 Too Many Requests"),
        ({"setting": setting("none")}, "mode: expected off, got no value"),
        ({"setting": setting("missing")}, "mode: expected off, got no value"),
        ({"jobs": {**JOBS, "path": "app.queue"}}, "background jobs: expected running, got no value"),
    ],
)
def test_what_says_nothing_cannot_tell(
    site: str, database: dict[str, str], fields: dict[str, Any], message: str
) -> None:
    result = run(site, "off", database, **fields)
    assert (result.status, said(result)[0].endswith(message)) == (Status.INCONCLUSIVE, True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"setting": {"query": "select name, value from app_settings"}}, "the query gave more than one value"),
        ({"setting": {"query": "select value from settings"}}, "does not exist"),
        ({"setting": {**FLAG, "url": "/off"}}, "/off: the answer (200) is not JSON"),
        ({"setting": {**FLAG, "url": "/nested"}}, "/nested: the answer (200) is not JSON"),
        ({"setting": {**FLAG, "url": "/refused"}}, "/refused answered 404 Not Found"),
    ],
)
def test_what_keeps_it_from_looking(site: str, database: dict[str, str], fields: dict[str, Any], message: str) -> None:
    result = run(site, "on", database, **fields)
    assert (result.status, message in result.message) == (Status.ERROR, True), result.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "expected `setting`, `url` or `jobs`, got none"),
        ({"setting": FLAG, "banner": "x"}, "are of pages; expected `url`"),
        ({"url": "/"}, "pages alone tell nothing"),
        ({"url": "/", "status": 503}, "a broken server answers so too"),
        ({"setting": {"query": "select 1", "url": "/"}}, "expected either `query`, or `url` with `path`"),
        ({"setting": {"url": "/", "path": "a[0]"}}, "expected a dotted path"),
        ({"setting": {"url": "/"}}, "expected either `query`, or `url` with `path`"),
        ({"setting": {**FLAG, "otherwise": True}}, "expected two values that differ"),
        ({"mode": "maybe", "setting": FLAG}, "Input should be 'on' or 'off'"),
    ],
)
def test_wrong_declarations_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Maintenance.model_validate({"mode": "on", **fields})
