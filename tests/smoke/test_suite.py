"""The smoke suite against the demo: green when it is healthy, red at the right gate when it is broken."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from releasegate_demo import control

if TYPE_CHECKING:
    from pytest_releasegate.model import Result
    from tests.smoke.conftest import Ehr

ROLLBACK, NO_GO = 11, 1
KILLED = """
import os, signal
from datetime import timedelta
from pytest_releasegate.check import SystemClock
from pytest_releasegate.hooks.flow import Flow

if os.environ.get("HOW") == "killed":
    Flow.finish = lambda flow: os.kill(os.getpid(), signal.SIGKILL)

class Later(SystemClock):
    def now(self):
        return super().now() + timedelta(minutes=11)

def pytest_releasegate_clock():
    return Later() if os.environ.get("HOW") == "later" else SystemClock()
"""
CHECKLIST = Path(__file__).parents[2] / "docs" / "reference" / "PRODUCTION_RELEASE_CHECKLIST.md"
FLOWS = tuple(f"SMOKE.{number}" for number in range(1, 6))


def leave_behind(ehr: Ehr) -> None:
    """Leave what a run that was killed long ago would: a client with a payment and a note, and a message."""
    mark = "rg-00000000 2020-01-01 00:00"
    who = "(select id from auth.users where email = %s)"
    client = ehr.one(
        "insert into public.clients (clinician_id, first_name, last_name, date_of_birth, test_run)"
        f" values ({who}, 'Smoke Test', %s, '1990-01-01', 'rg-00000000') returning id",
        ehr.info.credentials()["clinician"]["email"],
        mark,
    )
    ehr.one(
        "insert into public.payments (client_id, recorded_by, billing_code, amount, method, test_run)"
        f" values (%s, {who}, (select min(code) from public.billing_codes), 1, 'card', 'rg-00000000') returning id",
        client,
        ehr.info.credentials()["billing"]["email"],
    )
    ehr.one(
        "insert into public.messages (client_id, author_id, sender, body, test_run)"
        " select client_id, id, 'client', %s, 'rg-00000000' from public.portal_accounts join auth.users u using (id)"
        " where u.email = %s returning id",
        f"Smoke test {mark}",
        ehr.info.credentials()["portal"]["email"],
    )


def appendix_a() -> dict[str, list[str]]:
    """What the document says to do and to expect, by flow."""
    text = CHECKLIST.read_text().partition("### A. Smoke Test Scripts")[2].partition("### B.")[0]
    flows = re.findall(r"^# (\d)\. .+\n((?:^# \D.+\n)+)", text, re.MULTILINE)
    return {f"SMOKE.{number}": [line.removeprefix("# ") for line in lines.splitlines()] for number, lines in flows}


def words_of(results: dict[str, Result]) -> dict[str, list[str]]:
    """The steps that each flow of the appendix has taken."""
    steps = {gate: [re.match(r"step \d+, (.+)", finding.name) for finding in results[gate].findings] for gate in FLOWS}
    return {gate: [match[1] for match in matches if match] for gate, matches in steps.items()}


def test_a_healthy_demo_passes_every_gate_and_nothing_is_left(ehr: Ehr) -> None:
    leave_behind(ehr)
    assert ehr.made() == 3
    code, out = ehr.scratch.run("-m", "smoke", "-n", "2")
    results = ehr.scratch.results()
    assert code == 0, out
    assert {result.status.value for result in results.values()} == {"passed"}
    assert results.keys() == ehr.scratch.marked().keys()
    assert ehr.made() == 0
    assert ehr.voided() == {"notes": 1, "payments": 3, "clients": 4}
    assert words_of(results) == appendix_a()
    secrets = [account["password"].encode() for account in ehr.info.credentials().values()]
    for gate, result in results.items():
        evidence = ehr.scratch.evidence(gate)
        assert gate == "T15.2" or {one.media_type for one in result.evidence} == {"image/png", "application/json"}
        assert not any(secret in body for body in evidence.values() for secret in secrets)
    assert not any(secret.decode() in out for secret in secrets)


def test_a_note_that_is_not_stored_turns_its_gate_red_and_the_flow_cleans_up(ehr: Ehr) -> None:
    control.make_break(ehr.state, "flow")
    code, _ = ehr.scratch.run("-m", "smoke", "-k", "create_clinical_note or critical_flows")
    result = ehr.scratch.results()["SMOKE.3"]
    assert "the note in the list of notes" in ehr.scratch.wrong("RB2.2.3")
    assert code == NO_GO
    assert result.status == "failed"
    step = "step 5, Expected: Note saved, appears in list: expected done, got the saved note in the list of notes"
    assert step in ehr.scratch.wrong(result.gate)
    picture = "05-expected-note-saved-appears-in-list-failed.png"
    assert [one.name for one in result.evidence if "failed" in one.name] == [picture]
    assert ehr.scratch.evidence("SMOKE.3")[picture].startswith(b"\x89PNG")
    assert any(str(finding) == "left behind: expected 0, got 0" for finding in result.findings)
    assert ehr.made() == 0


def test_what_a_killed_run_has_left_is_swept_by_the_next(ehr: Ehr) -> None:
    (ehr.scratch.root / "conftest.py").write_text(KILLED)
    before = ehr.voided()
    code, _ = ehr.scratch.run("-m", "smoke", "-k", "read_and_signed", HOW="killed")
    assert code == -signal.SIGKILL
    assert ehr.made() == 1, "the client; its note is signed"
    code, out = ehr.scratch.run("-m", "smoke", "-k", "create_and_view", HOW="later")
    told = {finding.name: finding.actual for finding in ehr.scratch.results()["10.2.3"].findings}
    assert told["clients of killed runs, removed"] == "1", out
    assert ehr.made() == 0
    assert ehr.voided() == {**before, "clients": before["clients"] + 1, "notes": before["notes"] + 1}


def test_a_login_that_refuses_everybody_is_red_and_asks_for_a_rollback(ehr: Ehr) -> None:
    control.make_break(ehr.state, "login")
    code, out = ehr.scratch.run("-m", "smoke", "-k", "test_user_login or authentication or portal_login")
    results = ehr.scratch.results()
    assert code == ROLLBACK
    assert "2 of 2 failed: /auth answered 401 and did not lead to /dashboard" in ehr.scratch.wrong("T15.2")
    assert results["T15.2"].seconds >= 1
    assert "Verify redirect to /dashboard: expected done, got sign-in leads to /dashboard" in ehr.scratch.wrong(
        "SMOKE.1"
    )
    assert results["SMOKE.5"].status == "passed"
    assert ehr.info.credentials()["clinician"]["password"] not in out


def test_answers_of_500_are_red_and_named(ehr: Ehr) -> None:
    control.make_break(ehr.state, "errors")
    code, _ = ehr.scratch.run("-m", "smoke", "-k", "browser_complain")
    result = ehr.scratch.results()["11.2.4"]
    assert code == NO_GO
    assert result.status == "failed"
    assert "500" in ehr.scratch.wrong("11.2.4")


def test_an_environment_that_does_not_allow_writing_is_not_written_to(ehr: Ehr) -> None:
    ehr.scratch.prepare('base_url: "${env:RELEASEGATE_DEMO_URL}"')
    ehr.scratch.run("-m", "smoke", "-k", "create_clinical_note")
    result = ehr.scratch.results()["SMOKE.3"]
    assert result.status == "error"
    assert "needs `writes_through_app`" in result.message
    assert ehr.made() == 0
