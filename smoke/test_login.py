"""Signing in, as the staff do it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import expect

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from pytest_releasegate.check import Context
    from pytest_releasegate.hooks.browser import Flow
    from pytest_releasegate.hooks.fixtures import Finder
    from smoke.conftest import Desk, Practice

ATTEMPTS = 2
PAUSE = timedelta(seconds=30)


@pytest.mark.gate("SMOKE.1")
def test_user_login(page: Page, flow: Flow) -> None:
    """1. User Login: 200 OK, user profile visible."""
    with flow.step("Navigate to /auth"):
        page.goto("/auth")
    with flow.step("Enter valid credentials"):
        account = flow.account("clinician")
        page.get_by_label("E-mail").fill(account.email)
        page.get_by_label("Password").fill(account.password)
    with flow.step("Verify redirect to /dashboard"):
        with page.expect_response(lambda answer: answer.request.resource_type == "document") as sent:
            page.get_by_role("button", name="Sign in").click()
        expect(page, "sign-in leads to /dashboard").to_have_url("/dashboard")
    with flow.step("Expected: 200 OK, user profile visible"):
        answer = page.reload()
        assert sent.value.status == 302
        assert answer is not None
        assert answer.status == 200
        expect(page.get_by_test_id("profile"), "the user's profile").to_be_visible()


@pytest.mark.gate("10.2.1")
def test_each_role_can_sign_in_and_out(page: Page, flow: Flow, practice: Practice) -> None:
    """User login successful: for the accounts of every role."""
    for role in ("clinician", "admin", "billing"):
        with flow.step(f"Sign in as {role}"):
            page.goto("/auth")
            practice.sign_in(role, page)
            expect(page, f"{role} reaches the dashboard").to_have_url("/dashboard")
            expect(page.get_by_test_id("profile"), f"the profile names {role}").to_contain_text(role)
        with flow.step(f"Sign out as {role}"):
            page.get_by_role("button", name="Sign out").click()
            expect(page.get_by_role("button", name="Sign in"), "the login form").to_be_visible()


@pytest.mark.gate("T15.2")
def test_authentication_works(front_door: Desk, gate_context: Context, finding: Finder) -> None:
    """Fires when two of two attempts, 30 seconds apart, cannot sign in and open a chart list. No browser is needed."""
    watch = gate_context.environment.watch
    refusals = [_attempt(front_door, gate_context)]
    while refusals[-1] and len(refusals) < ATTEMPTS:
        gate_context.clock.sleep(min(PAUSE, PAUSE if watch is None else watch).total_seconds())
        refusals.append(_attempt(front_door, gate_context))
    failed = [refusal for refusal in refusals if refusal]
    actual = f"{len(failed)} of {len(refusals)} failed" + (f": {failed[-1]}" if failed else "")
    finding("sign-in", expected=f"one of {ATTEMPTS} attempts succeeds", actual=actual, ok=len(failed) < ATTEMPTS)


def _attempt(front_door: Desk, context: Context) -> str:
    """Why the clinician does not get in, empty when it works."""
    prefix = f"${{env:RELEASEGATE_{context.environment.name.upper()}_CLINICIAN"
    fields = {name.lower(): context.resolve(f"{prefix}_{name}}}") for name in ("EMAIL", "PASSWORD")}
    front_door.session.cookies.clear()
    try:
        front_door.get("/auth")
        answer = front_door.post("/auth", **fields)
        if urlsplit(answer.url).path != "/dashboard" or answer.status_code != 200:
            return f"/auth answered {answer.status_code} and did not lead to /dashboard"
        charts = front_door.get("/clients")
    except requests.RequestException as error:
        raise CannotLook(f"{front_door.base_url} cannot be reached: {type(error).__name__}") from None
    return "" if charts.status_code == 200 else f"signed in, and /clients answered {charts.status_code}"
