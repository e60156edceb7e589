"""What a flow leaves behind: traces, archives and pictures, without what is secret."""

from __future__ import annotations

import base64
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
        page.evaluate("t => fetch('/api?token=' + encodeURIComponent(t), {{headers: {{Authorization: 'Bearer ' + t}}}})", token)
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
"""

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
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, pages: str, make_scratch: type[Scratch]) -> Scratch:
    root = tmp_path_factory.mktemp("evidence")
    (root / "smoke").mkdir()
    (root / "smoke" / "test_pages.py").write_text(FLOWS)
    variables = {"RELEASEGATE_DEMO_ALICE_EMAIL": "alice@example.test", "RELEASEGATE_DEMO_ALICE_PASSWORD": PASSWORD}
    scratch = make_scratch(root, {**variables, "RELEASEGATE_TOKEN": TOKEN})
    scratch.prepare(f'base_url: "{pages}"')
    scratch.run("-m", "smoke", "-n", "2")
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
