"""Clinical notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from pytest_releasegate.hooks.browser import Flow
    from pytest_releasegate.hooks.made import Made
    from smoke.conftest import Client


@pytest.mark.gate("SMOKE.3")
def test_create_clinical_note(staff: Page, client_for_test: Client, flow: Flow, made: Made) -> None:
    """3. Create Clinical Note: note saved, appears in list."""
    with flow.step("Navigate to /notes"):
        staff.goto("/notes")
    with flow.step('Click "New Progress Note"'):
        staff.get_by_role("button", name="New Progress Note").click()
    with flow.step("Fill minimal required fields"):
        staff.get_by_label("Client").select_option(client_for_test.id)
        staff.get_by_label("Note", exact=True).fill(f"Smoke test {made.mark}")
    with flow.step("Save note"):
        staff.get_by_role("button", name="Save note").click()
    with flow.step("Expected: Note saved, appears in list"):
        expect(staff.get_by_role("status")).to_have_text("Progress note saved")
        note = staff.get_by_role("table", name="Notes").get_by_role("row").filter(has_text=f"Smoke test {flow.run}")
        expect(note, "the saved note in the list of notes").to_be_visible()


@pytest.mark.gate("10.2.4")
def test_note_on_a_chart_can_be_read_and_signed(staff: Page, client_for_test: Client, flow: Flow, made: Made) -> None:
    """Create clinical note: written from the chart, read again, signed; then it stays, and its client is discharged."""
    page, chart = staff, f"/clients/{client_for_test.id}"
    with flow.step("Open the chart"):
        page.goto(chart)
    with flow.step("Write a note"):
        page.get_by_role("link", name="New Progress Note").click()
        page.get_by_label("Note", exact=True).fill(f"Smoke test {made.mark}")
        page.get_by_role("button", name="Save note").click()
    with flow.step("Find the note on the chart"):
        page.goto(chart)
        page.get_by_role("link", name="Progress note", exact=False).filter(has_not_text="New").click()
        expect(page.get_by_role("article"), "the text of the note").to_contain_text(flow.run)
    with flow.step("Sign the note"):
        page.get_by_role("button", name="Sign note").click()
        expect(page.get_by_role("main"), "the note's status").to_contain_text("Signed")
