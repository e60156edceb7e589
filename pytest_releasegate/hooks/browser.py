"""Browser gates: the Chromium that is there, and the fixture `flow`, which watches a page and keeps what it saw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.hooks.chromium import usable_chromium
from pytest_releasegate.hooks.flow import FLOW, Account, Flow

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from playwright.sync_api import Page, Playwright

    from pytest_releasegate.check import Context
    from pytest_releasegate.hooks.fixtures import Finder

__all__ = ["Account", "Flow", "browser_type_launch_args", "flow", "pytest_runtest_call"]


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
