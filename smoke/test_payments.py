"""Payments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from pytest_releasegate.hooks.browser import Flow
    from smoke.conftest import Practice


@pytest.mark.gate("10.2.6")
def test_process_payment(page: Page, flow: Flow, practice: Practice) -> None:
    """Process payment; what is settled stays in the books, refunded."""
    client_number = record_payment(page, flow, practice)
    with flow.step("Payment is settled"):
        payment = page.get_by_role("table", name="Payments").get_by_role("row").filter(has_text=client_number)
        expect(payment, "the payment in the list").to_contain_text("$12.34")
        expect(payment, "the payment in the list").to_contain_text("Settled")


@pytest.mark.gate("T15.4")
def test_payments_work_at_all(page: Page, flow: Flow, practice: Practice) -> None:
    """A payment is recorded and gets its receipt; what the browser complains of besides asks for no rollback."""
    flow.tolerate(".*")
    record_payment(page, flow, practice)


def record_payment(page: Page, flow: Flow, practice: Practice) -> str:
    """Record one payment for a client of this run; gives the client's number."""
    method = flow.payment_method("card")
    with flow.step("Open payments"):
        client = practice.new_client()
        practice.enter("billing", page)
        page.goto("/payments")
    with flow.step("Record a payment"):
        form = page.get_by_role("form", name="Record payment")
        form.get_by_label("Client number").fill(client.number)
        form.get_by_label("Amount").fill("12.34")
        form.get_by_label("Method").select_option(method)
        form.get_by_role("button", name="Record payment").click()
        expect(page.get_by_role("status"), "the receipt").to_contain_text("Payment recorded, receipt R-")
    return client.number
