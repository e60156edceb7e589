"""What the browser says about every page that the flows walk through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from pytest_releasegate.hooks.browser import Flow
    from smoke.conftest import Practice

STAFF = ("/dashboard", "/clients", "/clients/new", "/notes", "/notes/new", "/schedule", "/messages", "/payments")


@pytest.mark.gate("11.2.4")
def test_no_page_of_a_flow_makes_the_browser_complain(page: Page, flow: Flow, practice: Practice) -> None:
    """Browser console errors checked: `flow` counts them on each page."""
    for path in ("/auth", "/portal/login"):
        with flow.step(f"Load {path}"):
            page.goto(path)
            expect(page.get_by_role("heading", level=1), f"the heading of {path}").to_be_visible()
    with flow.step("Sign in"):
        practice.enter("clinician", page)
    for path in STAFF:
        with flow.step(f"Load {path}"):
            page.goto(path)
            expect(page.get_by_role("heading", level=1), f"the heading of {path}").to_be_visible()
    with flow.step("Load /portal"):
        practice.enter("portal", page)
        page.goto("/portal")
        expect(page.get_by_role("heading", level=1), "the heading of /portal").to_be_visible()
