"""`releasegate rollback`, and the same version again after it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.commands.test_commands import GATE, NOW, PERSON, call

__all__ = ["call"]

LATER = NOW + timedelta(hours=1)


@pytest.fixture
def deployed(call):
    """The command, once 1.4.0 is deployed."""
    call("open", "1.4.0")
    call("deployed")
    return call


def test_a_rollback_is_recorded_once(deployed, product):
    code, out = deployed("rollback", "--reason", "errors", at=LATER)
    assert (code, "ehr 1.4.0/demo: rolled back 2026-03-01 03:00:00 UTC: errors" in out) == (0, True)
    assert "as attempt 2: releasegate open 1.4.0 --env demo" in out
    assert (product.release().rolled_back_at, product.release().rollback_reason) == (LATER, "errors")
    assert deployed("rollback", "--reason", "errors", at=LATER + timedelta(hours=1))[0] == 0
    for words in (["--reason", "other"], ["--reason", "errors", "--at", "2026-03-01T02:30:00Z"]):
        code, out = deployed("rollback", *words, at=LATER)
        assert (code, "was rolled back 2026-03-01 03:00:00 UTC: errors" in out) == (4, True)
    assert deployed("verify")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--reason", "r", "--at", "2026-03-01T01:00:00Z"], "before the release was deployed (2026-03-01 02:00:00)"),
        (["--reason", "r", "--at", "2026-03-01T04:00:00Z"], "in the future"),
        (["--reason", "r", "--at", "soon"], "expected ISO 8601"),
        (["--reason", " "], "--reason is empty"),
    ],
)
def test_rollbacks_that_cannot_be(deployed, product, words, said):
    code, out = deployed("rollback", *words, at=LATER)
    assert (code, said in out) == (4, True)
    assert product.release().rolled_back_at is None


def test_what_was_not_deployed_is_not_rolled_back(call):
    call("open", "1.4.0")
    code, out = call("rollback", "--reason", "r")
    assert (code, "1.4.0/demo was not deployed by the record" in out) == (4, True)


def test_no_broken_gate_file_stops_a_rollback(deployed, product):
    product.write("gates/broken.yaml", "phase: nowhere\n")
    assert deployed("status")[0] == 4
    assert deployed("rollback", "--reason", "errors", at=LATER)[0] == 0
    product.write("gates/environments.yaml", "default: nowhere\nenvironments: {demo: {}}\n")
    assert "unknown environment 'nowhere'" in deployed("rollback", "--reason", "errors", at=LATER)[1]


def test_reports_tell_the_rollback(deployed):
    deployed("rollback", "--reason", "too many <errors>", at=LATER)
    assert "            rolled back 2026-03-01 03:00 UTC: too many <errors>" in deployed("status", at=LATER)[1]
    assert "rolled back" not in deployed("status", "--as-of", "2026-03-01T02:30:00Z", at=LATER)[1]
    page = deployed("report", "--output", "-", at=LATER)[1]
    assert "2026-03-01 03:00:00 UTC: too many &lt;errors&gt;" in page
    assert '"rollback_reason": "too many <errors>"' in deployed("report", "--format", "json", "--output", "-")[1]


def test_each_command_means_the_newest_attempt_unless_another_is_named(deployed, product):
    said = ("attest", "6.3.4", "--status", "passed", "--evidence", "https://t.example.com/7")
    deployed(*said)
    deployed("rollback", "--reason", "errors", at=LATER)
    product.gates("predeploy", PERSON)
    assert "attempt 2 opened now" in deployed("open", "1.4.0", at=LATER)[1]
    assert "knew it already" in deployed("open", "1.4.0", at=LATER)[1]
    assert "ehr 1.4.0/demo attempt 2" in deployed("status")[1]
    assert "pending" in deployed("show", "6.3.4")[1]
    assert "attested" in deployed("show", "6.3.4", "--attempt", "1")[1]
    first = deployed("status", "--attempt", "1")[1]
    assert "attempt" not in first
    assert "rolled back" in first
    assert '"attempt": 1' in deployed("report", "--attempt", "1", "--format", "json", "--output", "-")[1]
    code, out = deployed("status", "--attempt", "3")
    assert (code, "does not know 1.4.0/demo attempt 3" in out) == (4, True)
    assert deployed("diff", "1.4.0", "--attempt", "1")[1].splitlines() == [
        "1.4.0/demo -> 1.4.0/demo attempt 2",
        "plan: 1 differences",
        "  - 6.1.1 Release notes there",
        "gates: 1 of 1 stand otherwise",
        "  6.3.4 Access reviewed: attested -> pending",
    ]
    deployed("deployed", at=LATER + timedelta(hours=1))
    assert [part.strip() for part in deployed("status")[1].splitlines() if "deployed  " in part] == [
        "deployed  2026-03-01 04:00 UTC, said by"
    ]


def test_predeploy_opens_the_next_attempt_by_itself_and_rollback_looks_at_this_one(product):
    record = "record: {column: was_rolled_back, is: true}"
    product.gates("predeploy", GATE)
    product.gates("rollback", f"id: RB4.3.1, title: Rollback recorded, step: verify, {record}")
    assert product.pytest("-m", "predeploy").code == 0
    assert product.releasegate("deployed").code == 0
    early = product.pytest("-m", "rollback and verify")
    assert (early.code, early.has("was_rolled_back: expected True")) == (1, True), early.out
    assert product.releasegate("rollback", "--reason", "errors").code == 0
    ran = product.pytest("-m", "rollback and verify")
    assert (ran.code, ran.has("1.4.0/demo was rolled back", "this is about that attempt")) == (0, True), ran.out
    assert product.pytest("-m", "predeploy", "--must-exist").code == 4
    again = product.pytest("-m", "predeploy")
    assert (again.code, again.has("ehr 1.4.0/demo attempt 2", "attempt 2 opened now")) == (0, True), again.out
    assert list(product.statuses()) == ["6.1.1"]
    assert product.pytest("-m", "rollback and verify").code == 1
