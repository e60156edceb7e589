"""Client charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from pytest_releasegate.hooks.browser import Flow
    from smoke.conftest import Practice


@pytest.mark.gate("SMOKE.2")
def test_client_chart_access(staff: Page, flow: Flow) -> None:
    """2. Client Chart Access: client chart loads, no console errors."""
    with flow.step("Navigate to /clients"):
        staff.goto("/clients")
    with flow.step("Click on any client"):
        staff.get_by_role("row").nth(1).get_by_role("link").click()
    with flow.step("Expected: Client chart loads, no console errors"):
        expect(staff.get_by_role("region", name="Chart"), "the chart").to_contain_text("C-")
        assert flow.complaints("console errors") == []


@pytest.mark.gate("10.2.3")
def test_create_and_view_client_chart(staff: Page, flow: Flow, practice: Practice) -> None:
    """Create/view client chart."""
    page = staff
    with flow.step("Open the form for a new client"):
        practice.will_make_a_client()
        page.goto("/clients")
        page.get_by_role("link", name="New client").click()
    with flow.step("Create the client"):
        page.get_by_label("First name").fill("Smoke Test")
        page.get_by_label("Last name").fill(practice.mark)
        page.get_by_label("Date of birth").fill("1990-01-01")
        page.get_by_role("button", name="Create client").click()
        expect(page.get_by_role("status")).to_have_text("Client created")
    with flow.step("Find the client in the list"):
        page.goto("/clients")
        page.get_by_label("Search clients").fill(flow.run)
        page.get_by_role("button", name="Search").click()
        page.get_by_role("link", name=flow.run).click()
    with flow.step("View the chart"):
        expect(page.get_by_role("heading", level=1), "the chart of that client").to_contain_text(flow.run)
        expect(page.get_by_role("region", name="Chart"), "the chart").to_contain_text("01 Jan 1990")
