"""Clinical notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from pytest_releasegate.hooks.browser import Flow
    from smoke.conftest import Practice


@pytest.mark.gate("SMOKE.3")
def test_create_clinical_note(page: Page, flow: Flow, practice: Practice) -> None:
    """3. Create Clinical Note: note saved, appears in list."""
    with flow.step("Navigate to /notes"):
        client = practice.new_client()
        practice.enter("clinician", page)
        page.goto("/notes")
    with flow.step('Click "New Progress Note"'):
        page.get_by_role("button", name="New Progress Note").click()
    with flow.step("Fill minimal required fields"):
        page.get_by_label("Client").select_option(client.id)
        page.get_by_label("Note", exact=True).fill(f"Smoke test {practice.mark}")
    with flow.step("Save note"):
        page.get_by_role("button", name="Save note").click()
        expect(page.get_by_role("status")).to_have_text("Progress note saved")
    with flow.step("Note appears in list"):
        note = page.get_by_role("table", name="Notes").get_by_role("row").filter(has_text=f"Smoke test {flow.run}")
        expect(note, "the saved note in the list of notes").to_be_visible()


@pytest.mark.gate("10.2.4")
def test_note_on_a_chart_can_be_read_and_signed(page: Page, flow: Flow, practice: Practice) -> None:
    """Create clinical note: written from the chart, read again, signed."""
    with flow.step("Open the chart"):
        client = practice.new_client()
        practice.enter("clinician", page)
        page.goto(f"/clients/{client.id}")
    with flow.step("Write a note"):
        page.get_by_role("link", name="New Progress Note").click()
        page.get_by_label("Note", exact=True).fill(f"Smoke test {practice.mark}")
        page.get_by_role("button", name="Save note").click()
    with flow.step("Find the note on the chart"):
        page.goto(f"/clients/{client.id}")
        page.get_by_role("link", name="Progress note", exact=False).filter(has_not_text="New").click()
        expect(page.get_by_role("article"), "the text of the note").to_contain_text(flow.run)
    with flow.step("Sign the note"):
        page.get_by_role("button", name="Sign note").click()
        expect(page.get_by_role("main"), "the note's status").to_contain_text("Signed")
