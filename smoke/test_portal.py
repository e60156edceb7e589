"""The client portal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import BrowserContext, Page

    from pytest_releasegate.hooks.browser import Flow
    from smoke.conftest import Practice


@pytest.mark.gate("SMOKE.5")
def test_portal_login(page: Page, flow: Flow, practice: Practice) -> None:
    """5. Portal Login: portal dashboard loads."""
    with flow.step("Navigate to /portal/login"):
        page.goto("/portal/login")
    with flow.step("Enter client portal credentials"):
        practice.sign_in("portal", page)
    with flow.step("Expected: Portal dashboard loads"):
        expect(page, "sign-in leads to the portal").to_have_url("/portal")
        expect(page.get_by_role("heading", name="Welcome"), "the greeting").to_be_visible()


@pytest.mark.gate("11.3.3")
def test_portal_shows_the_test_user_their_record(page: Page, flow: Flow, practice: Practice) -> None:
    """Portal access confirmed by test user: the record is there, and the staff's pages stay closed."""
    with flow.step("Sign in to the portal"):
        page.goto("/portal/login")
        practice.sign_in("portal", page)
        expect(page.get_by_test_id("profile"), "the profile").to_contain_text("portal")
    with flow.step("See the own record"):
        expect(page.get_by_role("region", name="Your care"), "the client number").to_contain_text("C-")
        expect(page.get_by_role("region", name="Messages"), "the messages").to_be_visible()
    with flow.step("Stay out of the staff's pages"):
        status = page.request.get("/clients", max_redirects=0).status
        assert status in (302, 403), f"/clients: expected a refusal, got {status}"


@pytest.mark.gate("10.2.7")
def test_send_message_via_portal(
    portal_user: Page, flow: Flow, practice: Practice, new_context: Callable[[], BrowserContext]
) -> None:
    """Send message via portal: the client writes, and the clinician reads it."""
    page = portal_user
    practice.will_write_from_the_portal()
    with flow.step("Open the portal"):
        page.goto("/portal")
    with flow.step("Send a message"):
        page.get_by_label("Message", exact=True).fill(f"Smoke test {practice.mark}")
        page.get_by_role("button", name="Send message").click()
        expect(page.get_by_role("region", name="Messages"), "the sent message").to_contain_text(flow.run)
    desk = new_context().new_page()
    with flow.step("Clinician reads the message", page=desk):
        practice.enter("clinician", desk)
        desk.goto("/messages")
        desk.get_by_role("region", name="Threads").get_by_role("link").filter(has_text=flow.run).click()
        expect(desk.get_by_role("region", name="Thread", exact=True), "the message").to_contain_text(flow.run)
