"""Several browsers, a browser elsewhere, and one that is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from pytest_releasegate.hooks.chromium import usable_chromium
from pytest_releasegate.hooks.launching import films_at, why_none
from tests.standin import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.smoke.conftest import Scratch

FLOW = """
import pytest

@pytest.mark.gate("1.1")
def test_flow(page, flow, browser):
    print(browser.version)
    with flow.step("Load"):
        page.goto("/")
"""

ANY_NAME = """
import pytest

@pytest.fixture(scope="session")
def browser_type(playwright):
    return playwright.chromium

@pytest.fixture(scope="session")
def browser_type_launch_args():
    return {arguments}
"""
"""Whatever a browser is called, it is this Chromium: the others cannot be had on every machine."""


@pytest.fixture(scope="session")
def chromium() -> str:
    """The Chromium of this machine; empty where Playwright finds its own."""
    with sync_playwright() as playwright:
        return usable_chromium("", Path(playwright.chromium.executable_path))


class Shop(BaseHTTPRequestHandler):
    """One page, whatever is asked."""

    def do_GET(self) -> None:
        body = b"<!doctype html><h1>A page</h1>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    with serving(Shop) as url:
        yield url


def product(root: Path, shop: str, make_scratch: type[Scratch]) -> Scratch:
    scratch = make_scratch(root / "product", {})
    (scratch.root / "smoke").mkdir(parents=True)
    (scratch.root / "smoke" / "test_one.py").write_text(FLOW)
    scratch.prepare(f'base_url: "{shop}"')
    return scratch


@pytest.fixture
def scratch(tmp_path: Path, shop: str, make_scratch: type[Scratch]) -> Scratch:
    return product(tmp_path, shop, make_scratch)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, shop: str, make_scratch: type[Scratch], chromium: str) -> Scratch:
    """A product whose browsers are all this Chromium."""
    made = product(tmp_path_factory.mktemp("named"), shop, make_scratch)
    arguments = {"executable_path": chromium} if chromium else {}
    (made.root / "conftest.py").write_text(ANY_NAME.replace("{arguments}", repr(arguments)))
    return made


BOTH = ("--browser", "chromium", "--browser", "firefox")


def test_each_browser_is_a_case_and_one_that_was_left_out_is_missing(named: Scratch) -> None:
    code, out = named.run("-m", "smoke", *BOTH, "-k", "chromium")
    assert code == 10, out
    assert "1 missing" in out
    code, out = named.run("-m", "smoke")
    assert code == 10, "fewer browsers narrow the run, not the plan"
    assert "frozen anew" not in out
    code, out = named.run("-m", "smoke", "--browser", "firefox")
    assert code == 0, out
    assert [look.case for look in named.looks("1.1")][-2:] == ["test_flow[chromium]", "test_flow[firefox]"]


def test_a_browser_more_is_a_case_more_and_does_not_stand_for_the_others(named: Scratch) -> None:
    named.run("-m", "smoke", "-k", "nothing", "--release", "1.5.0")
    code, out = named.run("-m", "smoke", "--browser", "firefox", "--release", "1.5.0")
    assert code == 10, out
    assert "1 missing" in out
    assert "the plan has changed and was frozen anew: ~ 1.1 A flow" in out


def test_a_browser_that_is_not_installed_and_its_films_are_a_sentence_each(scratch: Scratch) -> None:
    words = ("--browser", "firefox", "--video", "on")
    code, out = scratch.run("-m", "smoke", *words, PLAYWRIGHT_BROWSERS_PATH=str(scratch.root / "none"))
    result = scratch.results()["1.1"]
    assert code == 10
    assert result.status == "error"
    assert result.message == "setup failed: no firefox to look with: Playwright's own is not installed"
    assert "run `playwright install firefox`" in out
    assert out.count("no video of a browser started here: no ") == 1
    assert "run `playwright install ffmpeg`" in out
    assert "Traceback" not in out
    assert "During handling" not in out


@pytest.fixture(scope="module")
def elsewhere(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a browser that another process has started."""
    config = tmp_path_factory.mktemp("server") / "config.json"
    config.write_text(json.dumps({"host": "127.0.0.1", **({"executablePath": chromium} if chromium else {})}))
    command = [sys.executable, "-m", "playwright", "launch-server", "--browser", "chromium", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def test_a_browser_elsewhere_is_used_and_its_address_is_not_told(scratch: Scratch, elsewhere: str) -> None:
    own = ("-o", "releasegate_chromium=/opt/not/needed", "-o", "releasegate_browser_url=${env:BROWSER}")
    code, out = scratch.run("-m", "smoke", *own, BROWSER=elsewhere)
    assert code == 0, out
    assert elsewhere not in out
    scratch.run("-m", "smoke", *own, BROWSER="ws://127.0.0.1:9/secret-token-1")
    message = scratch.results()["1.1"].message
    assert message.startswith("setup failed: the browser at ws://127.0.0.1:9 cannot be reached: ")


@pytest.mark.parametrize(
    ("error", "url", "told"),
    [
        ("BrowserType.launch: Executable doesn't exist at /x/firefox", "", "no webkit to look with"),
        ("BrowserType.launch: Missing X server or $DISPLAY", "", "no display to show webkit on"),
        ("BrowserType.launch:\n╔═══╗\n║ Host system is missing dependencies ║", "", "webkit lacks libraries"),
        ("BrowserType.launch: Timeout 30000ms exceeded", "", "webkit could not be started: Timeout 30000ms exceeded"),
        ("BrowserType.connect: WebSocket error: ws://h:1/t 428 Required", "ws://h:1/t", "of another version"),
        ("BrowserType.connect: connect ECONNREFUSED ws://u:p@h:1/t", "ws://u:p@h:1/t", "at ws://h:1 cannot be reached"),
        ("", "", "webkit could not be started: no reason given"),
    ],
)
def test_why_there_is_no_browser_is_told_in_a_sentence(error: str, url: str, told: str) -> None:
    said = why_none(error, "webkit", url)
    assert told in said.splitlines()[0]
    assert len(said.splitlines()) <= 2
    assert "u:p" not in said


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"PLAYWRIGHT_BROWSERS_PATH": "/opt/browsers"}, "/opt/browsers"),
        ({"XDG_CACHE_HOME": "/var/cache/me"}, "/var/cache/me/ms-playwright"),
        ({"HOME": "/home/me"}, "/home/me/.cache/ms-playwright"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the folders of Linux")
def test_ffmpeg_is_looked_for_where_playwright_does(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    for name in ("PLAYWRIGHT_BROWSERS_PATH", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    path, there = films_at()
    assert not there
    assert str(path.parents[1]) == folder
    assert path.parent.name.startswith("ffmpeg-")
