"""The `releasegate` command, as people call it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from pytest_releasegate.cli import build_parser, main
from pytest_releasegate.testing import FakeClock

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
GATE = "id: 6.1.1, title: Release notes there, document: NOTES.md"
PERSON = "id: 6.3.4, title: Access reviewed, attest: {role: security_lead, evidence: required}"


@pytest.fixture
def call(product, monkeypatch, capsys):
    """Call a command in the product at an instant; gives exit code and output."""
    product.gates("predeploy", GATE, PERSON)
    monkeypatch.chdir(product.root)
    for name in ("RELEASEGATE_RECORD", "RELEASEGATE_RELEASE", "RELEASEGATE_ENV"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str, at: datetime = NOW) -> tuple[int, str]:
        code = main(list(words), FakeClock(at))
        seen = capsys.readouterr()
        return code, seen.out + seen.err

    return run


def test_open_freezes_the_plan_and_knows_it_again(call, product):
    code, out = call("open", "1.4.0", "--commit", "c0ffee" * 6 + "abcd", "--fact", "maintenance=false")
    assert (code, "plan: 2 gates" in out, "opened now" in out) == (0, True, True)
    assert product.release().facts == {"maintenance": False}
    assert "knew it already" in call("open", "1.4.0")[1]


def test_the_role_of_the_gates_may_take_on_those_that_rls_gates_name(call, product):
    matrix = "personas: {ann: {role: authenticated}}, expect: {clients: {ann: denied}}"
    product.gates("compliance", f"id: 9.1.1, title: Rows, rls: {{{matrix}}}")
    code, out = call("db-role", "--name", "eye")
    assert (code, 'create role "eye" login;' in out, "array['authenticated']" in out) == (0, True, True)
    assert "array['anon']" in call("db-role", "--persona", "anon")[1]
    code, out = call("db-role", "--name", "eye\n;")
    assert (code, "--name: expected the name of a role, got 'eye\\n;'" in out) == (4, True)


@pytest.mark.parametrize("number", ["99999999999999999999999", "0", "-1", "one"])
def test_attempts_are_small_numbers(call, capsys, number):
    with pytest.raises(SystemExit) as stopped:
        call("status", f"--attempt={number}")
    assert (stopped.value.code, f"from 1 to 9999, got '{number}'" in capsys.readouterr().err) == (4, True)


@pytest.mark.parametrize("fact", ["maintenance", "maintenance=yes", "=true", "a b=true"])
def test_facts_are_true_or_false(call, fact):
    code, out = call("open", "1.4.0", "--fact", fact)
    assert (code, "expected NAME=true or NAME=false" in out) == (4, True)


def test_deployed_schedules_the_review_72_hours_later_in_utc(call, product):
    call("open", "1.4.0")
    code, out = call("deployed", "--at", "2026-03-01T04:30:00+02:00", at=NOW + timedelta(hours=1))
    assert (code, "review due 2026-03-04 02:30:00 UTC" in out) == (0, True)
    assert product.release().deployed_at == datetime(2026, 3, 1, 2, 30, tzinfo=UTC)


def test_deployed_is_said_once(call):
    call("open", "1.4.0")
    assert call("deployed", at=NOW + timedelta(minutes=1))[0] == 0
    assert call("deployed", at=NOW + timedelta(minutes=9))[0] == 0
    code, out = call("deployed", "--at", "2026-03-01T02:05:00Z", at=NOW + timedelta(minutes=9))
    assert (code, "02:01" in out) == (4, True)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("2026-03-01T04:30:00", "has no offset from UTC"),
        ("yesterday", "expected ISO 8601"),
        ("2027-01-01T00:00:00Z", "in the future"),
        ("2020-01-01T00:00:00Z", "before the release was opened"),
    ],
)
def test_instants_that_cannot_be(call, at, said):
    call("open", "1.4.0")
    code, out = call("deployed", "--at", at)
    assert (code, said in out) == (4, True)


def test_attest_asks_for_evidence_and_keeps_it(call, product):
    call("open", "1.4.0")
    code, out = call("attest", "6.3.4", "--status", "passed")
    assert (code, "asks for evidence" in out) == (4, True)
    assert "no file" in call("attest", "6.3.4", "--status", "passed", "--evidence", "gone.pdf")[1]
    for bad in ("://", "https://", "https:// x", "https://ann:secret@example.com/"):
        assert call("attest", "6.3.4", "--status", "passed", "--evidence", bad)[0] == 4
    product.write("review.txt", "31 members of staff")
    code, out = call("attest", "6.3.4", "--status", "passed", "--evidence", "review.txt", "--person", "sam@ehr.example")
    assert (code, "says sam@ehr.example (security_lead)" in out) == (0, True)
    assert "attested" in call("show", "6.3.4")[1]


def test_unknown_gates_are_answered_with_the_nearest(call):
    call("open", "1.4.0")
    for words in (("attest", "6.3.5", "--status", "passed"), ("show", "6.3.5")):
        code, out = call(*words)
        assert (code, "did you mean '6.3.4'?" in out) == (4, True)


def test_what_the_record_does_not_know(call):
    call("open", "1.4.0")
    code, out = call("status", "--release", "9.9.9")
    assert (code, "does not know 9.9.9/demo" in out, "1.4.0/demo" in out) == (4, True, True)


def test_without_a_record_or_gates(call, product, monkeypatch, tmp_path):
    assert "there is no such file" in call("status")[1]
    monkeypatch.chdir(tmp_path)
    code, out = call("status")
    assert (code, "no gates/ folder" in out) == (4, True)


def test_check_counts_what_is_declared_and_tries_references(call, product):
    code, out = call("check")
    assert (code, "2 gates in 1 item: 1 document, 1 attest" in out) == (0, True)
    product.write("gates/environments.yaml", 'default: d\nenvironments:\n  d: {base_url: "${env:RG_NOT_SET_URL}"}\n')
    code, out = call("check", "--resolve")
    assert (code, "d.base_url: reference ${env:RG_NOT_SET_URL}" in out) == (4, True)
    product.gates("predeploy", 'id: "1", title: A, http: {url: /, auth: {bearer: "${env:RG_NOT_SET_TOKEN}"}}')
    assert (
        "predeploy.yaml:6:9: 1: the environment variable RG_NOT_SET_TOKEN is not set" in call("check", "--resolve")[1]
    )
    assert not (product.root / ".releasegate" / "record.db").exists()


def test_report_is_html_or_json(call, product):
    call("open", "1.4.0")
    code, out = call("report")
    assert (code, (product.root / ".releasegate" / "report.html").read_text()[:9].lower()) == (0, "<!doctype")
    code, out = call("report", "--format", "json", "--output", "-")
    assert json.loads(out)["release"]["version"] == "1.4.0"
    assert call("report", "--output", "/proc/nowhere/x.html")[0] == 4


def test_status_ends_with_the_code_of_the_worst_phase(call):
    call("open", "1.4.0")
    assert call("status", "--exit-code")[0] == 10
    assert call("status")[0] == 0


def test_reopen_needs_a_step_that_has_begun(call):
    call("open", "1.4.0")
    assert "has not begun" in call("reopen", "deploy/before", "--reason", "again")[1]
    assert "unknown step" in call("reopen", "deploy/later", "--reason", "again")[1]


def test_replan_says_what_changed(call, product):
    call("open", "1.4.0")
    assert "nothing has changed" in call("replan", "--reason", "none")[1]
    product.gates("predeploy", GATE)
    code, out = call("replan", "--reason", "access is reviewed elsewhere")
    assert (code, "- 6.3.4 Access reviewed" in out) == (0, True)


def test_verify_tells_a_changed_row(call, product):
    call("open", "1.4.0")
    assert call("verify")[0] == 0
    import sqlite3

    with sqlite3.connect(product.root / ".releasegate" / "record.db") as connection:
        connection.execute("update releases set version = '1.4.1'")
        connection.execute("update releases set version = '1.4.0', git_branch = 'elsewhere'")
    code, out = call("verify")
    assert (code, "releases" in out) == (1, True)


def test_wrong_calls_end_with_4_and_the_usage(call, capsys):
    for words in (["show"], ["nothing"], ["attest", "6.3.4", "--status", "maybe"]):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 4
        assert "usage: releasegate" in capsys.readouterr().err


def test_every_command_has_help():
    text = build_parser().format_help()
    for name in ("attest", "check", "demo", "deployed", "fact", "open", "replan", "report", "show", "status", "verify"):
        assert name in text


def test_the_commands_read_the_file_that_pytest_reads(product):
    """A pyproject.toml that does not speak of pytest is passed over, as pytest does."""
    product.gates("predeploy", GATE)
    (product.root / "pytest.ini").unlink()
    product.write("pyproject.toml", '[project]\nname = "ehr"\nversion = "0.1"\n')
    product.write("tox.ini", "[pytest]\nreleasegate_release = 7.7\nreleasegate_record = other.db\nbase_url = demo\n")
    assert product.pytest("-m", "predeploy").has("ehr 7.7/demo", "other.db")
    said = product.releasegate("status")
    assert (said.code, said.has("ehr 7.7/demo", "other.db", "phase predeploy: GO")) == (0, True), said.out


def test_the_commands_know_the_environment_of_the_base_url(product):
    product.gates("predeploy", GATE)
    assert product.releasegate("open", PYTEST_BASE_URL="prod").has("ehr 1.4.0/prod")


def test_who_changed_a_release_is_in_the_audit_log_of_the_record(call, product):
    call("open", "1.4.0")
    call("fact", "maintenance=false")
    product.gates("predeploy", GATE)
    call("replan", "--reason", "access is reviewed elsewhere")
    for _ in range(2):
        call("deployed", at=NOW + timedelta(minutes=1))
    with closing(sqlite3.connect(product.root / ".releasegate" / "record.db")) as record:
        rows = record.execute("select action_type, action_description, user_id from audit_logs order by id").fetchall()
    assert [row[:2] for row in rows] == [
        ("facts_declared", "maintenance=false"),
        ("plan_change", "access is reviewed elsewhere"),
        ("deployed", "deployed at 2026-03-01T02:01:00+00:00"),
    ]
    assert all(row[2] for row in rows)
    assert call("verify")[0] == 0


def test_gates_lists_the_plan_with_what_looks_at_each(call, product):
    code, out = call("gates")
    assert code == 0
    assert out.splitlines()[-1] == "2 gates: 1 looked at, 1 attested"
    assert ["6.3.4", "high", "Access", "reviewed", "attest", "security_lead"] in [
        line.split() for line in out.splitlines()
    ]
    assert not (product.root / ".releasegate" / "record.db").exists()
    assert call("gates", "-m", "attest")[1].splitlines()[-1] == "1 gate: 0 looked at, 1 attested"
    assert "no gate has the markers smoke" in call("gates", "-m", "smoke")[1]
    assert call("gates", "-m", "a b")[0] == 4


def test_gates_tells_cases_marks_and_what_a_person_answers_for_now(call, product):
    product.gates(
        "postdeploy",
        "id: a, title: A, test: smoke/test_a.py, trigger: true, observe: true",
        "id: b, title: B, attest: {role: lead, instead_of: backup}",
    )
    body = "@pytest.mark.gate('a')\n@pytest.mark.parametrize('n', [1, 2])\ndef test_a(n):\n    assert n\n"
    product.write("smoke/test_a.py", f"import pytest\n\n{body}")
    out = call("gates", "-m", "postdeploy")[1]
    flat = " ".join(out.split())
    assert "A (trigger, observe) test smoke/test_a.py, 2 cases" in flat
    assert "attest lead until backup" in flat
    assert flat.endswith("2 gates: 1 looked at, 0 attested, 1 attested until a check looks")


def test_todo_says_what_a_person_must_type(call):
    call("open", "1.4.0")
    code, out = call("todo")
    assert code == 0
    flat = " ".join(out.split())
    assert flat == (
        "security_lead 6.3.4 Access reviewed releasegate attest 6.3.4 --status passed --evidence FILE "
        "--release 1.4.0 --env demo"
    )
    assert call("todo", "--role", "security_lead")[1] == out
    assert "no gate of the plan asks a boss" in call("todo", "--role", "boss")[1]
    call("attest", "6.3.4", "--status", "passed", "--evidence", "https://tickets.example.com/7")
    assert call("todo")[1] == "nobody has to say anything now\n"


def test_todo_names_facts_first(call, product):
    product.gates("predeploy", "id: a, title: A, document: NOTES.md, when: maintenance", PERSON)
    call("open", "1.4.0")
    lines = call("todo")[1].splitlines()
    assert lines[:3] == [
        "facts that nobody declared",
        "  for a",
        "    releasegate fact maintenance=true|false --release 1.4.0 --env demo",
    ]


def test_schema_is_json_for_editors(call):
    assert json.loads(call("schema")[1])["properties"].keys() >= {"phase", "items"}
    assert json.loads(call("schema", "--environments")[1])["properties"].keys() >= {"environments"}


def test_the_record_is_read_as_of_another_time(call):
    call("open", "1.4.0")
    call("attest", "6.3.4", "--status", "passed", "--evidence", "https://t.example.com/7", at=NOW + timedelta(hours=1))
    call("deployed", at=NOW + timedelta(hours=2))
    assert "1 attested" in call("status", "--verbose", at=NOW + timedelta(hours=3))[1]
    early = call("status", "--verbose", "--as-of", "2026-03-01T02:30:00Z", at=NOW + timedelta(hours=3))[1]
    assert "1 missing, 1 pending" in early
    assert "04:00" not in early
    assert "6.3.4" in call("todo", "--as-of", "2026-03-01T02:30:00Z", at=NOW + timedelta(hours=3))[1]
    code, out = call("status", "--as-of", "2026-02-01T00:00:00Z", at=NOW + timedelta(hours=3))
    assert (code, "was opened later" in out) == (4, True)
    assert call("status", "--as-of", "soon")[0] == 4


def test_diff_compares_plans_and_where_gates_stand(call, product):
    call("open", "1.3.0")
    product.gates("predeploy", PERSON, "id: 6.1.2, title: New one, document: NOTES.md")
    call("open", "1.4.0")
    call("attest", "6.3.4", "--status", "passed", "--evidence", "https://t.example.com/7", "--release", "1.4.0")
    code, out = call("diff", "1.3.0", "1.4.0")
    assert code == 0
    assert out.splitlines() == [
        "1.3.0/demo -> 1.4.0/demo",
        "plan: 2 differences",
        "  - 6.1.1 Release notes there",
        "  + 6.1.2 New one",
        "gates: 1 of 1 stand otherwise",
        "  6.3.4 Access reviewed: pending -> attested",
    ]
    assert call("diff", "1.4.0", "1.4.0")[1].splitlines()[1:] == ["no difference"]
    code, out = call("diff", "1.2.0")
    assert (code, "does not know 1.2.0/demo" in out) == (4, True)


def test_check_tells_hints_and_with_strict_they_are_mistakes(call):
    code, out = call("check")
    assert (code, "gates/predeploy.yaml:1:1: 2 gates have no owner" in out) == (0, True)
    assert call("check", "--strict")[0] == 4


def test_a_window_is_kept_and_a_deployment_outside_of_it_is_told(call, product):
    window = "2026-03-01T02:00:00Z/2026-03-01T04:00:00Z"
    assert call("open", "1.4.0", "--window", window)[0] == 0
    assert product.release().window == (NOW, NOW + timedelta(hours=2))
    assert "window    2026-03-01 02:00 UTC to 2026-03-01 04:00 UTC" in call("status")[1]
    assert "stays as it was" in call("open", "1.4.0", "--window", "2026-03-02T02:00Z/2026-03-02T03:00Z")[1]
    out = call("deployed", at=NOW + timedelta(hours=3))[1]
    assert "outside of its window: 2026-03-01 02:00 to 2026-03-01 04:00 UTC" in out
    assert call("report", "--output", "-")[1].count("Window") == 1
    for bad in ("2026-03-01T02:00:00Z", "2026-03-01T04:00Z/2026-03-01T02:00Z", "a/b"):
        assert call("open", "1.5.0", "--window", bad)[0] == 4
