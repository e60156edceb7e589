"""The fixture `flow` on small pages: what the browser complains of counts, and what was made goes away."""

from __future__ import annotations

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.smoke.conftest import Scratch

FLOWS = """
import pytest
from playwright.sync_api import expect

def walk(page, flow, path):
    with flow.step(f"Load {path}"):
        page.goto(path)
        assert page.get_by_role("heading").inner_text() == "A page"

@pytest.mark.gate("quiet")
def test_quiet(page, flow):
    walk(page, flow, "/quiet")

@pytest.mark.gate("console")
def test_console(page, flow):
    walk(page, flow, "/console")

@pytest.mark.gate("tolerated")
def test_tolerated(page, flow):
    flow.tolerate("clock is wrong")
    walk(page, flow, "/console")

@pytest.mark.gate("uncaught")
def test_uncaught(page, flow):
    walk(page, flow, "/uncaught")

@pytest.fixture
def visited(page, new_context):
    page.goto("/console")
    new_context().new_page().goto("/uncaught")
    return page

@pytest.mark.gate("before")
def test_before(visited, flow):
    walk(visited, flow, "/quiet")

@pytest.mark.gate("hang-up")
def test_hang_up(page, flow):
    walk(page, flow, "/hang-up")

@pytest.mark.gate("aborted")
def test_aborted(page, flow):
    walk(page, flow, "/leaving")
    walk(page, flow, "/quiet")

@pytest.mark.gate("no-step")
def test_no_step(page, flow):
    page.goto("/quiet")

@pytest.mark.gate("no-page")
def test_no_page(page, flow):
    with flow.step("Do nothing"):
        pass

@pytest.mark.gate("clean-up")
def test_clean_up(page, flow):
    flow.later(lambda: page.goto("/last"))
    flow.later(lambda: pytest.fail("the row is locked"))
    flow.later(lambda: page.goto("/first"))
    with flow.step("Load"):
        page.goto("/quiet")
        raise AssertionError("the chart is empty")

@pytest.mark.gate("unset")
def test_unset(page, flow):
    with flow.step("Sign in"):
        flow.account("nobody")

def show(page, flow, who):
    with flow.step("Show"):
        page.goto(f"/echo?{who}-password")

@pytest.mark.gate("masked-alice")
def test_masked_alice(page, flow):
    show(page, flow, flow.account("alice").email[:5])

@pytest.mark.gate("masked-brian")
def test_masked_brian(page, flow):
    show(page, flow, flow.account("brian").email[:5])

def show_framed(page, flow, account):
    with flow.step("Show"):
        page.goto(f"/quiet?{account.email[:5]}")
        field = f'<input autocomplete="current-password" value="{account.password}">'
        page.set_content(f"<iframe srcdoc='<p>{account.password}</p>{field}'></iframe>")

@pytest.mark.gate("framed-alice")
def test_framed_alice(page, flow):
    show_framed(page, flow, flow.account("alice"))

@pytest.mark.gate("framed-brian")
def test_framed_brian(page, flow):
    show_framed(page, flow, flow.account("brian"))

@pytest.mark.gate("lost")
def test_lost(page, flow, base_url):
    cookie = "abcdefghij-0123456789"
    page.context.add_cookies([{"name": "session", "value": cookie, "url": base_url}])
    with flow.step("Get lost"):
        page.goto("/quiet?code=from-the-vendor")
        expect(page, f"the page of {cookie}").to_have_url("/there", timeout=100)

@pytest.mark.gate("unmasked")
def test_unmasked(page, flow):
    show(page, flow, "carol")

@pytest.mark.gate("hidden")
def test_hidden(page, flow):
    flow.hide("pre")
    show(page, flow, "david")
"""

SCRIPTS = {
    "/console": "console.error('the clock is wrong')",
    "/uncaught": "throw new Error('no such plan')",
    "/hang-up": "fetch('/nothing').catch(() => 0)",
    "/leaving": "fetch('/wait').catch(() => 0)",
}


class Pages(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []
    over: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.asked.append(url.path)
        if url.path == "/nothing":
            self.close_connection = True
            return
        if url.path == "/wait":
            self.over.wait(20)
        script = f"<script>{SCRIPTS.get(url.path, '')}</script>"
        text = f'<link rel="icon" href="data:,"><h1>A page</h1><pre>{unquote(url.query)}</pre>{script}'
        body = text.encode()
        with suppress(BrokenPipeError, ConnectionResetError):
            self.answer(body)

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, make_scratch: type[Scratch]) -> Iterator[Scratch]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    root = tmp_path_factory.mktemp("pages")
    (root / "smoke").mkdir()
    (root / "smoke" / "test_pages.py").write_text(FLOWS)
    accounts = {}
    for who in ("alice", "brian"):  # as long as each other: without the mask only the letters differ
        accounts |= {f"RELEASEGATE_DEMO_{who.upper()}_EMAIL": f"{who}@example.test"}
        accounts |= {f"RELEASEGATE_DEMO_{who.upper()}_PASSWORD": f"{who}-password"}
    scratch = make_scratch(root, accounts)
    scratch.prepare(f'base_url: "http://127.0.0.1:{server.server_port}"')
    scratch.run("-m", "smoke", "-n", "2")
    yield scratch
    Pages.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("gate", ["quiet", "tolerated", "aborted"])
def test_pages_without_a_complaint_that_counts_pass(walked: Scratch, gate: str) -> None:
    result = walked.results()[gate]
    assert result.status == "passed", walked.wrong(gate)
    assert {"steps looked at", "pages looked at"} <= {finding.name for finding in result.findings}


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        ("console", "console errors: expected 0, got 1: the clock is wrong (/console)"),
        ("uncaught", "uncaught page errors: expected 0, got 1: no such plan"),
        ("hang-up", "/nothing: net::ERR_EMPTY_RESPONSE"),
    ],
)
def test_a_complaint_turns_the_gate_red_though_the_assertions_hold(walked: Scratch, gate: str, text: str) -> None:
    result = walked.results()[gate]
    assert result.status == "failed"
    assert text in walked.wrong(gate)
    assert any(str(finding) == "the test: expected passes, got passes" for finding in result.findings)
    assert "trace.zip" in walked.evidence(gate)


def test_what_fixtures_open_before_the_flow_is_heard_too(walked: Scratch) -> None:
    wrong = walked.wrong("before")
    assert "console errors: expected 0, got 1: the clock is wrong (/console)" in wrong
    assert "uncaught page errors: expected 0, got 1: no such plan" in wrong


def test_what_was_tolerated_is_shown(walked: Scratch) -> None:
    shown = [finding for finding in walked.results()["tolerated"].findings if "tolerated" in finding.name]
    assert all(finding.observe for finding in shown)
    assert [(finding.name, finding.actual) for finding in shown] == [("console errors, tolerated", "1")]


@pytest.mark.parametrize(("gate", "text"), [("no-step", "steps looked at"), ("no-page", "pages looked at")])
def test_a_flow_that_walks_nowhere_cannot_tell(walked: Scratch, gate: str, text: str) -> None:
    result = walked.results()[gate]
    assert result.status == "inconclusive"
    assert walked.wrong(gate) == f"{text}: expected >= 1, got 0"


def test_cleaning_up_goes_on_after_a_failure_in_reverse_order(walked: Scratch) -> None:
    result = walked.results()["clean-up"]
    assert result.status == "failed"
    assert "clean-up: expected done, got the row is locked" in walked.wrong("clean-up")
    assert "step 1, Load: expected done, got the chart is empty" in walked.wrong("clean-up")
    assert [path for path in Pages.asked if path in {"/first", "/last"}] == ["/first", "/last"]
    assert "01-load-failed.png" in walked.evidence("clean-up")


def test_an_unset_account_is_an_error_that_names_the_variable(walked: Scratch) -> None:
    result = walked.results()["unset"]
    assert result.status == "error"
    assert "RELEASEGATE_DEMO_NOBODY_EMAIL is not set" in result.message


def test_pictures_do_not_show_passwords_nor_what_is_hidden(walked: Scratch) -> None:
    shown = {
        gate: walked.evidence(gate)["01-show.png"] for gate in ("masked-alice", "masked-brian", "unmasked", "hidden")
    }
    assert shown["masked-alice"] == shown["masked-brian"]
    framed = [walked.evidence(gate)["01-show.png"] for gate in ("framed-alice", "framed-brian")]
    assert framed[0] == framed[1]
    assert shown["hidden"] == shown["masked-alice"]
    assert shown["unmasked"] != shown["masked-alice"]


def test_messages_hold_no_cookie_and_no_value_of_an_address(walked: Scratch) -> None:
    result = walked.results()["lost"]
    assert "/quiet?code=***" in walked.wrong("lost")
    assert "the page of ${cookie:session}" in walked.wrong("lost")
    told = "\n".join([result.message, *map(str, result.findings)])
    assert "from-the-vendor" not in told
    assert "abcdefghij-0123456789" not in told
