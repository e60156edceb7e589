"""Browser gates: the Chromium that is there, and the fixture `flow`, which watches a page and keeps what it saw."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from pytest_releasegate.check import counted
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Playwright, Request, Response, WebError

    from pytest_releasegate.check import Context
    from pytest_releasegate.hooks.fixtures import Finder

__all__ = ["Account", "Flow", "browser_type_launch_args", "flow", "pytest_runtest_call", "usable_chromium"]

_ON_PATH = ("chromium", "chromium-browser", "google-chrome")
_MAC = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_ABORTED = ("net::ERR_ABORTED", "NS_BINDING_ABORTED", "cancelled")
_PASSWORDS = "input[type=password], [autocomplete=current-password], [autocomplete=new-password]"
_MASK = "#5b6b6c"
_SETTLED_MS = 5_000
_KEPT_ANSWERS = 500
_LONGEST = 300
_KINDS = ("console errors", "uncaught page errors", "failed requests", "answers of 500 and above")


def usable_chromium(said: str, own: Path, *, headless: bool = True) -> str:
    """The Chromium to start, empty where Playwright finds its own; raises `CannotLook` when there is none.

    `said` is the ini value `releasegate_chromium`, `own` is where Playwright's full Chromium would be.
    """
    if said not in {"", "auto"}:
        if not Path(said).is_file():
            raise CannotLook(f"releasegate_chromium: there is no file {said}", "name a Chromium, or say `auto`")
        return said
    if headless and _has_shell(own):
        return ""
    on_path = (shutil.which(name) for name in _ON_PATH)
    places = (str(own), *(path for path in on_path if path), *_MAC)
    found = next((path for path in places if Path(path).is_file()), "")
    if not found:
        what = "no Chromium to look with: neither Playwright's own nor one of the system is installed"
        raise CannotLook(what, "run `playwright install chromium`, or install the package `chromium` (Debian)")
    return found


def _has_shell(own: Path) -> bool:
    """Whether Playwright's headless shell of the same revision is there; it is installed beside the full browser."""
    folder = next((part for part in own.parents if re.fullmatch(r"chromium-\d+", part.name)), None)
    if folder is None:
        return False
    shell = folder.with_name(folder.name.replace("chromium-", "chromium_headless_shell-"))
    names = ("*/chrome-headless-shell", "*/headless_shell")
    return any(path.is_file() for name in names for path in shell.glob(name))


@pytest.fixture(scope="session")
def browser_type_launch_args(
    browser_type_launch_args: dict[str, Any],
    pytestconfig: pytest.Config,
    playwright: Playwright,
    browser_name: str,
    connect_options: dict[str, Any] | None,
) -> dict[str, Any]:
    """pytest-playwright's arguments, with the Chromium of this machine where Playwright has none of its own."""
    given = dict(browser_type_launch_args)
    if browser_name != "chromium" or connect_options or given.keys() & {"channel", "executable_path"}:
        return given
    said = str(pytestconfig.getini("releasegate_chromium"))
    try:
        path = usable_chromium(said, Path(playwright.chromium.executable_path), headless=given.get("headless", True))
    except CannotLook as missing:
        pytest.fail(str(missing), pytrace=False)
    return {**given, "executable_path": path} if path else given


@pytest.fixture
def flow(
    request: pytest.FixtureRequest, gate_context: Context, finding: Finder, base_url: str | None, page: Page
) -> Iterator[Flow]:
    """A walk through the product in steps: each leaves a picture, and what the browser complains of is a finding."""
    if not base_url:
        pytest.fail(_without_url(gate_context), pytrace=False)
    walked = request.node.stash[FLOW] = Flow(page, gate_context, finding)
    yield walked
    walked.finish()


def _without_url(context: Context) -> str:
    try:
        context.url("/")
    except CannotLook as missing:
        return f"no base URL to start from: {missing}"
    return "no base URL to start from\n    name an environment with --env, or pass --base-url"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """End a flow before its test is judged, so that what the browser saw counts."""
    try:
        return (yield)
    finally:
        walked = item.stash.get(FLOW, None)
        if walked:
            walked.finish()


@dataclass(frozen=True, slots=True)
class Account:
    """A test account of the product."""

    email: str
    password: str = field(repr=False)


class Flow:
    """One walk through the product: steps, pictures, complaints of the browser, and what to remove afterwards."""

    def __init__(self, page: Page, context: Context, finding: Finder) -> None:
        self.page = page
        self.context = context
        self.finding = finding
        self.run = f"rg-{uuid4().hex[:8]}"
        """The mark of whatever this flow makes."""
        self._steps = 0
        self._seen: dict[str, list[str]] = {kind: [] for kind in _KINDS}
        self._answers: list[dict[str, Any]] = []
        self._pages = 0
        self._tolerated: list[re.Pattern[str]] = []
        self._passwords: list[str] = []
        self._hidden = [_PASSWORDS]
        self._cleaning: list[Callable[[], object]] = []
        self._over = False
        self.watch(page.context)

    @contextmanager
    def step(self, title: str, page: Page | None = None) -> Iterator[None]:
        """One step, named as a person would say it; a picture of the page is taken when it ends, also when it fails."""
        self._steps += 1
        name, picture = f"step {self._steps}, {title}", f"{self._steps:02}-{_slug(title)}"
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            ok = Ok.CANNOT_TELL if isinstance(error, CannotLook) else Ok.NO
            self.finding(name, expected="done", actual=_told(error), ok=ok)
            self._picture(page or self.page, f"{picture}-failed.png")
            raise
        self.finding(name, expected="done", actual="done", ok=True)
        self._picture(page or self.page, f"{picture}.png")

    def account(self, kind: str) -> Account:
        """The test account of that kind, from `RELEASEGATE_<ENVIRONMENT>_<KIND>_EMAIL` and `..._PASSWORD`.

        A hyphen in the environment's name is an underscore there.
        Raises `CannotLook` when one is unset.
        """
        prefix = f"RELEASEGATE_{self.context.environment.name}_{kind}".upper().replace("-", "_")
        email = self.context.secrets.resolve(f"${{env:{prefix}_EMAIL}}", secret=False)
        password = self.context.resolve(f"${{env:{prefix}_PASSWORD}}")
        self._passwords.append(password)
        return Account(email, password)

    def later(self, clean_up: Callable[[], object]) -> None:
        """Call this when the flow is over, also when it failed; the last one first. What it raises is a finding."""
        self._cleaning.append(clean_up)

    def tolerate(self, pattern: str) -> None:
        """Show complaints of the browser that match the regular expression, and do not judge them."""
        self._tolerated.append(re.compile(pattern))

    def hide(self, selector: str) -> None:
        """Blot out what matches the CSS selector in the pictures from now on; fields for passwords always are."""
        self._hidden.append(selector)

    def watch(self, browser: BrowserContext) -> None:
        """Listen to a further browser context; that of `page` is listened to from the beginning."""
        browser.on("console", self._on_console)
        browser.on("weberror", self._on_error)
        browser.on("requestfailed", self._on_failed)
        browser.on("response", self._on_response)

    def finish(self) -> None:
        """Judge what was seen and clean up; called by the plugin, and a second call does nothing."""
        if self._over:
            return
        self._flush()
        self._over = True
        for found in (counted("steps", self._steps), counted("pages", self._pages)):
            self.finding(found.name, expected=found.expected, actual=found.actual, ok=found.ok)
        for kind in _KINDS:
            self._judge(kind)
        self._clean_up()
        seen = {"answers": self._answers[:_KEPT_ANSWERS], **self._seen}
        self.context.attach("browser.json", "application/json", json.dumps(seen, indent=1).encode())

    def _judge(self, kind: str) -> None:
        texts = [text for text in self._seen[kind] if not self._is_tolerated(text)]
        actual = f"{len(texts)}: {texts[0]}" if texts else "0"
        self.finding(kind, expected="0", actual=actual, ok=not texts)
        rest = len(self._seen[kind]) - len(texts)
        if rest:
            self.finding(f"{kind}, tolerated", expected="any", actual=rest, ok=True, observe=True)

    def _is_tolerated(self, text: str) -> bool:
        return any(pattern.search(text) for pattern in self._tolerated)

    def _clean_up(self) -> None:
        done = 0
        for clean_up in reversed(self._cleaning):
            try:
                clean_up()
            except (Exception, pytest.fail.Exception) as error:  # the others still have to be called
                self.finding("clean-up", expected="done", actual=_told(error), ok=False)
            else:
                done += 1
        if done:
            self.finding("clean-ups", expected=len(self._cleaning), actual=done, ok=done == len(self._cleaning))

    def _picture(self, page: Page, name: str) -> None:
        from playwright.sync_api import Error

        try:
            with suppress(Error):
                page.wait_for_load_state("load", timeout=_SETTLED_MS)
            hidden = [page.locator(selector) for selector in self._hidden]
            hidden += [page.get_by_text(password) for password in self._passwords]
            body = page.screenshot(mask=hidden, mask_color=_MASK, animations="disabled", timeout=_SETTLED_MS)
        except Error as error:
            self.finding(f"picture {name}", expected="taken", actual=_told(error), ok=Ok.CANNOT_TELL)
        else:
            self.context.attach(name, "image/png", body)

    def _flush(self) -> None:
        """Let in the events that are on their way: they arrive before the answer to a question asked now."""
        from playwright.sync_api import Error

        with suppress(Error):
            self.page.evaluate("1")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            where = urlsplit(str(message.location.get("url", ""))).path
            self._note("console errors", f"{message.text} ({where})" if where else message.text)

    def _on_error(self, event: WebError) -> None:
        self._note("uncaught page errors", event.error.message)

    def _on_failed(self, request: Request) -> None:
        reason = request.failure or "no reason given"
        if not any(word in reason for word in _ABORTED):
            self._note("failed requests", f"{request.method} {_bare(request.url)}: {reason}")

    def _on_response(self, response: Response) -> None:
        if self._over:
            return
        request, status = response.request, response.status
        self._answers.append({"method": request.method, "url": _bare(request.url), "status": status})
        if request.resource_type == "document" and not 300 <= status < 400:  # a redirect is not yet a page
            self._pages += 1
        if status >= 500:
            self._note("answers of 500 and above", f"{request.method} {_bare(request.url)} {status}")

    def _note(self, kind: str, text: str) -> None:
        if not self._over:
            lines = text.strip().splitlines() or [""]
            self._seen[kind].append(lines[0][:_LONGEST])


FLOW = pytest.StashKey[Flow]()
"""The flow of a test, until it is judged."""


def _bare(url: str) -> str:
    """The URL without its query and fragment, which may hold names and tokens."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60]


def _told(error: BaseException) -> str:
    """An error in one line; of Playwright's: what was expected, what was there, and what it waited for."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    wanted = [line for line in lines[1:] if line.startswith(("Actual value:", "Received:", "Error:"))]
    waited = next((line.lstrip("- ") for line in lines if line.startswith("- waiting for")), "")
    return "; ".join(dict.fromkeys([lines[0], *wanted, *([waited] if waited else [])]))[:_LONGEST]
