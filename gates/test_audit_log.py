"""6.2, C1.1: an action is done through the application, and its row is expected in the audit log."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import requests

from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context

TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
ROLE = re.compile(r'action="(/admin/staff/([0-9a-f-]{36})/role)"(?!.*disabled).*value="(\w+)" selected', re.DOTALL)
FEATURE = re.compile(r'action="(/admin/flags/(\w+))".*?name="value" value="(on|off)"', re.DOTALL)
NEWEST = "select coalesce(max(id), 0) from audit_logs"
ROWS = """
    select action_type, severity from audit_logs
    where id > %s and action_type = %s and resource_id = %s and user_id is not null
"""


@contextmanager
def signed_in(base_url: str, context: Context, who: str) -> Iterator[requests.Session]:
    """A session of the environment's test account of that kind."""
    account = f"RELEASEGATE_{context.environment.name}_{who}".upper().replace("-", "_")
    form = {
        "email": context.resolve(f"${{env:{account}_EMAIL}}"),
        "password": context.resolve(f"${{env:{account}_PASSWORD}}"),
    }
    with requests.Session() as session:
        form["csrf_token"] = token(session, f"{base_url}/auth")
        answer = session.post(f"{base_url}/auth", data=form, timeout=10)
        assert answer.url.endswith("/dashboard"), f"login as {who.lower()}: expected /dashboard, got {answer.url}"
        yield session


def token(session: requests.Session, url: str) -> str:
    """The form token of a page."""
    found = TOKEN.search(session.get(url, timeout=10).text)
    assert found, f"{url}: expected a form, got a page without one"
    return found[1]


def audit_rows(context: Context, after: int, action: str, resource: str) -> list[tuple[str, str]]:
    """Action and severity of the rows written since."""
    with connect(context) as connection:
        return connection.execute(ROWS, [after, action, resource]).fetchall()


def newest(context: Context) -> int:
    """The newest row's id."""
    with connect(context) as connection:
        return connection.execute(NEWEST).fetchone()[0]


@pytest.mark.gate("6.2.2")
def test_reading_a_chart_is_logged(base_url, gate_context, finding):
    """A clinician opens a chart; the audit log names who, what and which."""
    gate_context.require_permission("writes_through_app", "a canary in the audit log")
    before = newest(gate_context)
    with signed_in(base_url, gate_context, "CLINICIAN") as session:
        chart = re.search(r'href="/clients/(\d+)"', session.get(f"{base_url}/clients", timeout=10).text)
        assert chart, "the list of clients shows no chart"
        assert session.get(f"{base_url}/clients/{chart[1]}", timeout=10).ok
    rows = audit_rows(gate_context, before, "phi_access", chart[1])
    finding("rows of the access", expected=">= 1", actual=len(rows), ok=len(rows) >= 1)


@pytest.mark.gate("6.2.3")
def test_role_changes_are_logged(base_url, gate_context, finding):
    """An administrator sets a role, to what it was; the audit log has it as critical."""
    gate_context.require_permission("writes_through_app", "setting a role to what it is")
    before = newest(gate_context)
    with signed_in(base_url, gate_context, "ADMIN") as session:
        page = session.get(f"{base_url}/admin", timeout=10).text
        form = next((found for part in page.split("<form")[1:] if (found := ROLE.search(part))), None)
        assert form, "the administration page shows no role to set"
        data = {"csrf_token": token(session, f"{base_url}/admin"), "role": form[3]}
        assert session.post(base_url + form[1], data=data, timeout=10).ok
    rows = audit_rows(gate_context, before, "role_change", form[2])
    finding("rows of the change", expected=">= 1", actual=len(rows), ok=len(rows) >= 1)
    finding(
        "their severity",
        expected="critical",
        actual={row[1] for row in rows},
        ok={row[1] for row in rows} == {"critical"},
    )


@pytest.mark.gate("C1.1.1")
def test_reading_a_note_is_logged(base_url, gate_context, finding):
    """A clinician opens a note: health data beside the chart, with a row of its own."""
    gate_context.require_permission("writes_through_app", "a canary in the audit log")
    before = newest(gate_context)
    with signed_in(base_url, gate_context, "CLINICIAN") as session:
        note = re.search(r'href="/notes/(\d+)"', session.get(f"{base_url}/notes", timeout=10).text)
        assert note, "the list of notes shows no note"
        assert session.get(f"{base_url}/notes/{note[1]}", timeout=10).ok
    rows = audit_rows(gate_context, before, "phi_access", note[1])
    finding("rows of the access", expected=">= 1", actual=len(rows), ok=len(rows) >= 1)


@pytest.mark.gate("C1.1.2")
def test_user_actions_are_logged(base_url, gate_context, finding):
    """An administrator sets a feature to what it is; the audit log has who did it to which."""
    gate_context.require_permission("writes_through_app", "setting a feature to what it is")
    with signed_in(base_url, gate_context, "ADMIN") as session:
        page = session.get(f"{base_url}/admin", timeout=10).text
        form = next((found for part in page.split("<form")[1:] if (found := FEATURE.search(part))), None)
        assert form, "the administration page shows no feature to set"
        before, is_now = newest(gate_context), "off" if form[3] == "on" else "on"
        data = {"csrf_token": token(session, f"{base_url}/admin"), "value": is_now}
        assert session.post(base_url + form[1], data=data, timeout=10).ok
    rows = audit_rows(gate_context, before, "feature_flag", form[2])
    finding("rows of the action", expected=">= 1", actual=len(rows), ok=len(rows) >= 1)
