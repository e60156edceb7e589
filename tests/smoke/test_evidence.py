"""What a flow leaves behind: traces, archives and pictures, without what is secret."""

from __future__ import annotations

import base64
import functools
import io
import json
import shutil
import zipfile
from datetime import datetime
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import imageio_ffmpeg
import pytest
from playwright.sync_api import expect, sync_playwright

from pytest_releasegate.cli import main
from pytest_releasegate.hooks.chromium import usable_chromium
from pytest_releasegate.hooks.launching import films_at
from tests.standin import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.smoke.conftest import Scratch

PASSWORD, COOKIE, TOKEN, TYPED = 'pass"word/7+é', "s3ssion-cookie-value", "api-token/+42=", "typed-by-hand-99"

FLOWS = f"""
import pytest

def sign_in(page, flow):
    account = flow.account("alice")
    token = flow.context.resolve("${{env:RELEASEGATE_TOKEN}}")
    with flow.step("Sign in"):
        page.goto(f"/login?token={{token}}")
        page.get_by_label("User").fill(account.email)
        page.get_by_label("Password").fill(account.password)
        page.get_by_label("Again").fill("{TYPED}")
        page.get_by_role("button").click()
        page.get_by_role("heading", name="Welcome").wait_for()
        page.evaluate("t => fetch('/api?t=' + encodeURI(t), {{headers: {{Authorization: 'Bearer ' + t}}}})", token)
        page.request.post("/api", data={{"token": token, "password": account.password}})

@pytest.mark.gate("canary")
def test_canary(page, flow):
    sign_in(page, flow)
    with flow.step("Look"):
        assert page.get_by_role("heading").inner_text() == "Something else"

@pytest.mark.gate("hiding")
def test_hiding(page, flow):
    flow.hide("h1")
    with flow.step("Look"):
        page.goto("/login")
        assert page.get_by_role("heading").inner_text() == "Something else"

@pytest.mark.gate("quiet")
def test_quiet(page, flow):
    with flow.step("Look"):
        page.goto("/login")

@pytest.mark.gate("shaky")
def test_shaky(page, flow, tmp_path_factory):
    before = tmp_path_factory.getbasetemp() / "before"
    first, _ = not before.exists(), before.write_text("")
    with flow.step("Look"):
        page.goto("/login")
        assert not first, "not yet"

@pytest.mark.gate("many")
def test_many(page, flow):
    page.goto("/login")
    for number in range(4):
        with flow.step(f"Look {{number}}"):
            pass
"""

AGAIN = """
from _pytest.runner import runtestprotocol
from pytest_releasegate.hooks import keeping

keeping.MOST_PIECES = 3

def pytest_runtest_protocol(item, nextitem):
    if not item.name.startswith("test_shaky"):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(2):
        item.execution_count = attempt + 1
        setup, call, *rest = runtestprotocol(item, log=False, nextitem=nextitem)
        if attempt == 0:
            call.outcome, rest = "rerun", []
            item._initrequest()
        for report in (setup, call, *rest):
            item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True

def pytest_report_teststatus(report):
    return ("rerun", "R", "RERUN") if report.outcome == "rerun" else None
"""
"""What pytest-rerunfailures does: the report of the teardown that ends a failed attempt reaches nobody."""

LOGIN = """<link rel=icon href="data:,"><link rel=stylesheet href="/style.css?v=123"><h1>Login</h1>
<form method=post action="/login"><label>User <input name=user></label>
<label>Password <input type=password name=pw></label><label>Again <input type=password name=again></label>
<input type=hidden name=csrf value="csrf-4711-token"><button>Go</button></form>"""


class Pages(BaseHTTPRequestHandler):
    """Signs anybody in, and tells them more than is good: what was typed comes back in every spelling."""

    def do_GET(self) -> None:
        if self.path.startswith("/style.css"):
            return self.answer("h1 {color: red}", "text/css")
        return self.answer(LOGIN)

    def do_POST(self) -> None:
        told = self.rfile.read(int(self.headers["Content-Length"])).decode()
        secret = base64.b64encode(f"x:{PASSWORD}".encode()).decode()
        script = f"console.error({json.dumps(PASSWORD + COOKIE)}); localStorage.setItem('t', {json.dumps(TOKEN)})"
        body = f'<link rel="icon" href="data:,"><h1>Welcome</h1><pre>{told} {secret} {quote(TOKEN)}</pre>'
        self.answer(
            f"{body}<a href='/next?password={quote(PASSWORD)}#t={quote(TOKEN)}'>{TYPED}</a><script>{script}</script>"
        )

    def answer(self, text: str, media: str = "text/html") -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", f"{media}; charset=utf-8")
        self.send_header("Set-Cookie", f"sid={COOKIE}; HttpOnly")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    with serving(Pages) as url:
        yield url


def product(root: Path, pages: str, make_scratch: type[Scratch]) -> Scratch:
    (root / "smoke").mkdir()
    (root / "smoke" / "test_pages.py").write_text(FLOWS)
    variables = {"RELEASEGATE_DEMO_ALICE_EMAIL": "alice@example.test", "RELEASEGATE_DEMO_ALICE_PASSWORD": PASSWORD}
    scratch = make_scratch(root, {**variables, "RELEASEGATE_TOKEN": TOKEN})
    scratch.prepare(f'base_url: "{pages}"')
    return scratch


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, pages: str, make_scratch: type[Scratch]) -> Scratch:
    """A run that says nothing of traces."""
    scratch = product(tmp_path_factory.mktemp("evidence"), pages, make_scratch)
    (scratch.root / "conftest.py").write_text(AGAIN)
    _, out = scratch.run("-m", "smoke", "-n", "2")
    (scratch.root / "out.txt").write_text(out)
    return scratch


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory, pages: str, make_scratch: type[Scratch]) -> Scratch:
    """A run that asks for all that Playwright can keep; another ffmpeg films where Playwright has none of its own."""
    scratch = product(tmp_path_factory.mktemp("filmed"), pages, make_scratch)
    path, there = films_at()
    if not there and not any(path.parents[1].glob("chromium*")):
        link = scratch.root / "browsers" / path.parent.name / path.name
        link.parent.mkdir(parents=True)
        link.symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
        scratch.variables["PLAYWRIGHT_BROWSERS_PATH"] = str(link.parents[1])
    old = scratch.root / "test-results" / "of an earlier run" / "trace.zip"
    old.parent.mkdir(parents=True)
    old.touch()
    scratch.run("-m", "smoke", "--tracing", "on", "--screenshot", "on", "--video", "on", "-k", "canary")
    return scratch


def spellings(secret: str) -> Iterator[bytes]:
    yield secret.encode()
    yield quote(secret, safe="").encode()
    yield json.dumps(secret)[1:-1].encode()
    yield json.dumps(secret, ensure_ascii=False)[1:-1].encode()
    for before in range(3):
        whole = (before + len(secret.encode())) // 3 * 3
        yield base64.b64encode(b" " * before + secret.encode())[(0, 2, 3)[before] : whole // 3 * 4]


def everything(evidence: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """All evidence, and what is in its archives."""
    for name, body in evidence.items():
        yield name, body
        if name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                yield from ((f"{name}/{entry}", archive.read(entry)) for entry in archive.namelist())


@pytest.mark.parametrize("secret", [PASSWORD, COOKIE, TOKEN, TYPED, "csrf-4711-token"])
def test_no_secret_is_in_any_evidence_in_any_spelling(walked: Scratch, secret: str) -> None:
    found = list(everything(walked.evidence("canary")))
    assert {"trace.zip", "flow.har", "browser.json"} <= {name for name, _ in found}
    assert [(name, form) for name, body in found for form in spellings(secret) if form in body] == []


def test_without_redaction_the_secrets_would_be_there(filmed: Scratch) -> None:
    (raw,) = filmed.root.glob("test-results/*/trace.zip")
    whole = b"".join(body for _, body in everything({"trace.zip": raw.read_bytes()}))
    for secret in (PASSWORD, COOKIE, TOKEN, TYPED, "csrf-4711-token"):
        assert any(form in whole for form in spellings(secret)), secret
        assert not any(form in body for _, body in everything(filmed.evidence("canary")) for form in spellings(secret))


def test_a_trace_is_kept_of_flows_that_are_not_green_alone_and_nothing_raw_stays(walked: Scratch) -> None:
    assert {gate: "trace.zip" in walked.evidence(gate) for gate in ("canary", "hiding", "quiet")} == {
        "canary": True,
        "hiding": True,
        "quiet": False,
    }
    assert not (walked.root / "test-results").exists()


def test_what_was_asked_for_is_evidence_and_stays_where_playwright_put_it(filmed: Scratch) -> None:
    evidence = filmed.evidence("canary")
    assert evidence["test-failed-1.png"].startswith(b"\x89PNG")
    kept = sorted(path.name for path in filmed.root.glob("test-results/*/*"))
    assert [name for name in kept if name != "video.webm"] == ["test-failed-1.png", "trace.zip"]


def test_a_film_is_evidence_and_stays_where_playwright_put_it(filmed: Scratch) -> None:
    assert filmed.evidence("canary")["video.webm"].startswith(b"\x1aE\xdf\xa3")
    assert [*filmed.root.glob("test-results/*/video.webm")]


def test_a_flow_that_passed_on_retry_is_green_says_so_and_keeps_every_attempt(walked: Scratch) -> None:
    first, second = walked.looks("shaky")
    assert (first.status, second.status) == ("failed", "passed")
    assert {"01-look-failed.png", "trace.zip"} <= {one.name for one in first.evidence}
    assert "passed on retry: expected 1 attempt, got 2 attempts" in {str(finding) for finding in second.findings}
    assert not any(finding.name == "passed on retry" for finding in first.findings)
    assert "passed on retry: shaky (2 attempts)" in (walked.root / "out.txt").read_text()


def test_pictures_end_where_there_are_too_many_and_what_tells_of_a_failure_is_kept(walked: Scratch) -> None:
    (result,) = walked.looks("many")
    names = [one.name for one in result.evidence]
    assert names == ["01-look-0.png", "02-look-1.png", "03-look-2.png", "browser.json", "flow.har"]
    told = [str(finding) for finding in result.findings if finding.name == "evidence left out"]
    assert told == ["evidence left out: expected 0, got 3: 04-look-3.png: there are 3 pieces already"]
    assert result.status == "passed"


def test_a_rehearsal_leaves_a_trace_in_the_folder_and_that_is_redacted_too(
    tmp_path: Path, pages: str, make_scratch: type[Scratch]
) -> None:
    scratch = product(tmp_path, pages, make_scratch)
    scratch.run("smoke/test_pages.py", "-k", "canary")
    (trace,) = scratch.root.glob("test-results/*/trace.zip")
    whole = list(everything({"trace.zip": trace.read_bytes()}))
    secrets = (PASSWORD, COOKIE, TOKEN, TYPED)
    assert [name for name, body in whole for secret in secrets for form in spellings(secret) if form in body] == []
    assert any(b'"frame-snapshot"' in body for _, body in whole)


def test_evidence_comes_out_of_the_record_again(
    walked: Scratch, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(walked.root)
    words = ["show", "shaky", "--release", "1.4.0", "--env", "demo", "--save", str(tmp_path)]
    assert main(words) == 0
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*"))
    assert names[0] == "01/01-01-look-failed.png"
    assert "01/04-trace.zip" in names
    assert names[-1].startswith("02/")
    assert names[-1].endswith("-flow.har")
    assert zipfile.ZipFile(tmp_path / "01/04-trace.zip").testzip() is None
    assert f"saved: {tmp_path}/01/04-trace.zip" in capsys.readouterr().out.replace("\n", "")


def test_a_flow_that_hides_something_leaves_a_trace_without_pages(walked: Scratch) -> None:
    events = [json.loads(line) for line in opened(walked, "hiding").read("trace.trace").splitlines()]
    kinds = {event["type"] for event in events}
    assert {"before", "after", "context-options"} <= kinds
    assert not kinds & {"frame-snapshot", "screencast-frame"}


def opened(scratch: Scratch, gate: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(scratch.evidence(gate)["trace.zip"]))


def references(value: object) -> Iterator[str]:
    """The files that a value names."""
    for one in value if isinstance(value, list) else []:
        yield from references(one)
    for key, one in value.items() if isinstance(value, dict) else ():
        yield from [str(one)] if key in {"_file", "file"} and isinstance(one, str) else references(one)


def test_each_line_of_a_trace_can_be_read_and_each_file_that_it_names_is_there(walked: Scratch) -> None:
    trace = opened(walked, "canary")
    named = {
        name
        for entry in ("trace.trace", "trace.network")
        for line in trace.read(entry).splitlines()
        for name in references(json.loads(line))
    }
    kept = {name for name in trace.namelist() if name.startswith("resources/")}
    assert named == kept
    assert [trace.read(name) for name in kept] == [b"h1 {color: red}"]


@pytest.fixture(scope="module")
def viewer(walked: Scratch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Playwright's own viewer, with the redacted trace beside it."""
    import playwright

    site = tmp_path_factory.mktemp("viewer") / "site"
    shutil.copytree(Path(playwright.__file__).parent / "driver/package/lib/vite/traceViewer", site)
    (site / "canary.zip").write_bytes(walked.evidence("canary")["trace.zip"])
    handler = functools.partial(Files, directory=str(site))
    with serving(handler) as url:
        yield url


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def test_playwrights_own_viewer_opens_the_trace_and_draws_its_pages(viewer: str) -> None:
    with sync_playwright() as playwright:
        said = usable_chromium("", Path(playwright.chromium.executable_path))
        browser = playwright.chromium.launch(executable_path=said or None)
        page = browser.new_page()
        page.goto(f"{viewer}/index.html?trace={viewer}/canary.zip")
        page.get_by_text("Navigate", exact=False).first.click()
        drawn = page.frame_locator("iframe.snapshot-visible").get_by_role("heading", name="Login")
        expect(drawn).to_be_visible()
        expect(drawn).to_have_css("color", "rgb(255, 0, 0)")
        page.get_by_role("tab", name="Network").click()
        expect(page.get_by_text("/login").first).to_be_visible()
        browser.close()


HAR = {
    "request": {"method": str, "url": str, "httpVersion": str, "cookies": list, "headers": list, "queryString": list,
                "headersSize": int, "bodySize": int},
    "response": {"status": int, "statusText": str, "httpVersion": str, "cookies": list, "headers": list,
                 "content": dict, "redirectURL": str, "headersSize": int, "bodySize": int},
    "timings": {"blocked": (int, float), "dns": (int, float), "connect": (int, float), "ssl": (int, float),
                "send": (int, float), "wait": (int, float), "receive": (int, float)},
    "cache": {},
}  # fmt: skip
"""What HAR 1.2 wants of each entry."""


def test_an_archive_of_each_flow_has_the_shape_of_har(walked: Scratch) -> None:
    log = json.loads(walked.evidence("canary")["flow.har"])["log"]
    assert log["version"] == "1.2"
    assert set(log["creator"]) == {"name", "version"}
    for entry in log["entries"]:
        assert datetime.fromisoformat(entry["startedDateTime"]).year > 2000
        timings = entry["timings"]
        assert entry["time"] == pytest.approx(
            sum(value for key, value in timings.items() if value > 0 and key != "ssl")
        )
        for part, fields in HAR.items():
            wrong = [name for name, kind in fields.items() if not isinstance(entry[part][name], kind)]
            assert (part, wrong) == (part, [])
    asked = [(entry["request"]["method"], entry["request"]["url"].rpartition("/")[2]) for entry in log["entries"]]
    assert asked[:3] == [("GET", "login?token=***"), ("GET", "style.css?v=***"), ("POST", "login")]
    assert log["entries"][2]["request"]["bodySize"] > 80
    assert log["entries"][0]["response"]["content"]["mimeType"] == "text/html; charset=utf-8"
