"""Browser gates: the Chromium that is there, and the fixture `flow`, which watches a page and keeps what it saw."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.check import Secrets
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.hooks.accessibility import Accessibility, axe_script
from pytest_releasegate.hooks.artifacts import Artifacts
from pytest_releasegate.hooks.chromium import usable_chromium
from pytest_releasegate.hooks.ears import Ears
from pytest_releasegate.hooks.flow import FLOW, Account, Flow
from pytest_releasegate.hooks.launching import films_at, remote, why_none, without_film
from pytest_releasegate.hooks.made import Made

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from playwright.sync_api import Browser, BrowserType, Page, Playwright

    from pytest_releasegate.check import Context
    from pytest_releasegate.hooks.fixtures import Finder
    from pytest_releasegate.hooks.session import GateSession

__all__ = [
    "Account",
    "Flow",
    "browser_context_args",
    "browser_type_launch_args",
    "delete_output_dir",
    "flow",
    "launch_browser",
    "made",
    "pytest_runtest_call",
    "pytest_runtest_setup",
    "set_up",
]

_ARTIFACTS = "releasegate-artifacts"
_EARS = pytest.StashKey[Ears]()
_SECRETS = pytest.StashKey[Secrets]()
"""What the targets of this run have in common of what must not be told."""


def set_up(config: pytest.Config, sessions: Sequence[GateSession]) -> list[tuple[object, str]]:
    """The plugins of browser gates; says where no films can be made."""
    session = sessions[0]
    config.stash[_SECRETS] = session.secrets
    config.stash[_EARS] = Ears()
    video = config.getoption("--video") != "off"
    elsewhere = config.getini("releasegate_browser_url")
    if video and not elsewhere and not hasattr(config, "workerinput"):
        path, there = films_at()
        if not there:
            session.notes.append(f"no video of a browser started here: no {path}; run `playwright install ffmpeg`")
    artifacts = Artifacts(config, recorded=session.recorded)
    return [(sys.modules[__name__], "releasegate-browser"), (artifacts, _ARTIFACTS)]


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
    elsewhere = connect_options or pytestconfig.getini("releasegate_browser_url")
    if browser_name != "chromium" or elsewhere or given.keys() & {"channel", "executable_path"}:
        return given
    said = str(pytestconfig.getini("releasegate_chromium"))
    headless = given.get("headless", not os.environ.get("PWDEBUG"))
    try:
        path = usable_chromium(said, Path(playwright.chromium.executable_path), headless=headless)
    except CannotLook as missing:
        pytest.fail(str(missing), pytrace=False)
    return {**given, "executable_path": path} if path else given


@pytest.fixture(scope="session", autouse=True)
def delete_output_dir() -> None:
    """Nothing, instead of pytest-playwright's: a worker that starts later would delete what others have just kept."""


@pytest.fixture(scope="session")
def launch_browser(
    launch_browser: Callable[..., Browser],
    browser_type: BrowserType,
    browser_type_launch_args: dict[str, Any],
    connect_options: dict[str, Any] | None,
    pytestconfig: pytest.Config,
) -> Callable[..., Browser]:
    """pytest-playwright's, or what reaches the browser of `releasegate_browser_url`; fails in one sentence."""
    from playwright.sync_api import Error

    url = _remote(pytestconfig)
    if url and not url.startswith(("ws://", "wss://", "http://", "https://")):
        pytest.fail("releasegate_browser_url: expected ws:// of Playwright, or http:// of CDP", pytrace=False)

    def launch(**given: Any) -> Browser:
        browser = reach(**given)
        artifacts = pytestconfig.pluginmanager.getplugin(_ARTIFACTS)
        if isinstance(artifacts, Artifacts) and artifacts.ours:
            browser.on("context", without_film)
        browser.on("context", pytestconfig.stash[_EARS].watch)
        return browser

    def reach(**given: Any) -> Browser:
        try:
            if url.startswith("http"):
                return browser_type.connect_over_cdp(url)
            wanted = {"x-playwright-launch-options": json.dumps({**browser_type_launch_args, **given})}
            return browser_type.connect(url, headers=wanted) if url else launch_browser(**given)
        except Error as wrong:
            said = str(wrong)
        where = url or next((str(value) for name, value in (connect_options or {}).items() if "endpoint" in name), "")
        return pytest.fail(why_none(said, browser_type.name, where), pytrace=False)

    return launch


@pytest.fixture(scope="session")
def browser_context_args(
    browser_context_args: dict[str, Any], connect_options: dict[str, Any] | None, pytestconfig: pytest.Config
) -> dict[str, Any]:
    """pytest-playwright's, without films where nothing can make them."""
    elsewhere = connect_options or pytestconfig.getini("releasegate_browser_url")
    if "record_video_dir" not in browser_context_args or elsewhere or films_at()[1]:
        return browser_context_args
    return {name: value for name, value in browser_context_args.items() if name != "record_video_dir"}


def _remote(config: pytest.Config) -> str:
    try:
        return remote(config, config.stash[_SECRETS])
    except CannotLook as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture
def flow(
    request: pytest.FixtureRequest, gate_context: Context, finding: Finder, base_url: str | None, page: Page
) -> Iterator[Flow]:
    """A walk through the product in steps: each leaves a picture, and what the browser complains of is a finding."""
    if not base_url:
        pytest.fail(_without_url(gate_context), pytrace=False)
    looks = _accessibility(request.config)
    walked = request.node.stash[FLOW] = Flow(page, gate_context, finding, looks, request.config.stash[_EARS])
    yield walked
    walked.finish()


@pytest.fixture
def made(flow: Flow) -> Made:
    """What the flow makes: `made.mark` is written on it, and `made.will_be(kind)` sees to it that nothing stays."""
    return Made(flow)


def _accessibility(config: pytest.Config) -> Accessibility:
    level, script = (str(config.getini(name)) for name in ("releasegate_axe", "releasegate_axe_script"))
    try:
        return Accessibility(axe_script(script, config.rootpath), level or "observe")
    except CannotLook as wrong:
        pytest.fail(str(wrong), pytrace=False)


def _without_url(context: Context) -> str:
    try:
        context.url("/")
    except CannotLook as missing:
        return f"no base URL to start from: {missing}"
    return "no base URL to start from\n    name an environment with --env, or pass --base-url"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Listen before any fixture opens a page."""
    item.config.stash[_EARS].begin(listening="flow" in getattr(item, "fixturenames", ()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """End a flow before its test is judged, so that what the browser saw counts."""
    try:
        return (yield)
    finally:
        walked = item.stash.get(FLOW, None)
        if walked:
            walked.finish()
