"""The workflow that the practice cannot do without, as one walk: find a client, write a note, book a visit."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from pytest_releasegate.hooks.browser import Flow
    from smoke.conftest import Practice


@pytest.mark.gate("T24.3")
def test_the_key_workflow_is_usable(page: Page, flow: Flow, practice: Practice) -> None:
    """The walk is possible from end to end; what the browser complains of besides asks for no rollback."""
    flow.tolerate(".*")
    walk(page, flow, practice)


@pytest.mark.gate("RB2.2.3")
def test_critical_flows_after_the_code_went_back(page: Page, flow: Flow, practice: Practice) -> None:
    """Critical flows tested: on the version that came back."""
    walk(page, flow, practice)


@pytest.mark.gate("RB3.3.1")
def test_the_application_works_with_the_schema_that_came_back(page: Page, flow: Flow, practice: Practice) -> None:
    """Application functions with rolled-back schema: it reads and writes the tables of the walk."""
    walk(page, flow, practice)


@pytest.mark.gate("RB4.1.3")
def test_users_can_work_after_the_rollback(page: Page, flow: Flow, practice: Practice) -> None:
    """User workflows functioning: the clinician's walk, and the client's way into the portal."""
    walk(page, flow, practice)
    with flow.step("Sign in to the portal"):
        page.context.clear_cookies()
        page.goto("/portal/login")
        practice.sign_in("portal", page)
        expect(page.get_by_role("heading", name="Welcome"), "the greeting").to_be_visible()


def walk(page: Page, flow: Flow, practice: Practice) -> None:
    """A clinician's morning, with a client and a day of its own."""
    day = flow.context.clock.now() + timedelta(days=3000 + int(flow.run[3:], 16) % 2000)
    path = f"/schedule?day={day:%Y-%m-%d}"
    with flow.step("Open the chart"):
        client = practice.new_client()
        practice.will_book(path)
        practice.enter("clinician", page)
        page.goto(f"/clients/{client.id}")
        expect(page.get_by_role("region", name="Chart"), "the chart").to_contain_text(client.number)
    with flow.step("Write a note"):
        page.get_by_role("link", name="New Progress Note").click()
        page.get_by_label("Note", exact=True).fill(f"Smoke test {practice.mark}")
        page.get_by_role("button", name="Save note").click()
        page.goto("/notes")
        written = page.get_by_role("table", name="Notes").get_by_role("row").filter(has_text=flow.run)
        expect(written.first, "the note in the list of notes").to_be_visible()
    with flow.step("Book a visit"):
        page.goto(path)
        page.get_by_role("button", name="Book ").first.click()
        page.get_by_label("Client").select_option(client.id)
        page.get_by_label("Reason").fill(f"Smoke test {practice.mark}")
        page.get_by_role("button", name="Book appointment").click()
        expect(page.get_by_role("status")).to_have_text("Appointment booked")
