"""Appointments."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from pytest_releasegate.hooks.browser import Flow
    from smoke.conftest import Client, Practice


@pytest.mark.gate("SMOKE.4")
def test_schedule_appointment(staff: Page, client_for_test: Client, flow: Flow, practice: Practice) -> None:
    """4. Schedule Appointment: appointment appears on calendar."""
    page, path = staff, _far_day(flow)
    practice.will_book(path)
    with flow.step("Navigate to /schedule"):
        page.goto(path)
    with flow.step("Click on time slot"):
        _free_slot(page, flow).click()
    with flow.step("Select client and fill details"):
        page.get_by_label("Client").select_option(client_for_test.id)
        page.get_by_label("Reason").fill(f"Smoke test {practice.mark}")
    with flow.step("Save appointment"):
        page.get_by_role("button", name="Book appointment").click()
        expect(page.get_by_role("status")).to_have_text("Appointment booked")
    with flow.step("Expected: Appointment appears on calendar"):
        expect(_on_calendar(page, flow), "the appointment on the calendar").to_contain_text(client_for_test.name)


@pytest.mark.gate("10.2.5")
def test_appointment_can_be_opened_and_deleted(
    staff: Page, client_for_test: Client, flow: Flow, practice: Practice
) -> None:
    """Schedule appointment: booked as a video session, opened, deleted, and its time is free again."""
    page, client, path = staff, client_for_test, _far_day(flow)
    practice.will_book(path)
    with flow.step("Book an appointment"):
        page.goto(path)
        _free_slot(page, flow).click()
        page.get_by_label("Client").select_option(client.id)
        page.get_by_label("Mode").select_option("video")
        page.get_by_label("Reason").fill(f"Smoke test {practice.mark}")
        page.get_by_role("button", name="Book appointment").click()
    with flow.step("Open the appointment"):
        _on_calendar(page, flow).click()
        details = page.get_by_role("region", name="Appointment")
        expect(details, "the client of the appointment").to_contain_text(client.name)
        expect(details, "the mode of the appointment").to_contain_text("Video")
    with flow.step("Delete the appointment"):
        page.get_by_role("button", name="Delete appointment").click()
        expect(page.get_by_role("status")).to_have_text("Appointment deleted")
        expect(_on_calendar(page, flow), "the deleted appointment").to_have_count(0)


def _far_day(flow: Flow) -> str:
    """A day in the far future, so that no client's time is taken, and another one for each flow."""
    day = flow.context.clock.now() + timedelta(days=400 + int(flow.run[3:], 16) % 2000)
    return f"/schedule?day={day:%Y-%m-%d}"


def _free_slot(page: Page, flow: Flow) -> Locator:
    return page.get_by_role("button", name="Book ").nth(int(flow.run[3:], 16) % 10)


def _on_calendar(page: Page, flow: Flow) -> Locator:
    return page.get_by_role("region", name="Day calendar").get_by_role("link").filter(has_text=flow.run)
