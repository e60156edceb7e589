"""What people say on the command line: waive, revoke, sign, signoffs; with real SSH keys, under a real policy."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from pytest_releasegate.cli import main
from pytest_releasegate.testing import FakeClock

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
LATER = "2026-03-08T00:00:00Z"
WHO = {"ann": "manager", "bob": "lead", "eve": "lead"}
STAKEHOLDERS = """roles:
  manager: {title: Manager, people: [ann@ehr.example]}
  lead: {title: Lead, people: [bob@ehr.example, eve@ehr.example]}
"""
POLICY = """waive:
  - {roles: [lead], for_at_most: 14d}
authors_may_sign: false
profiles:
  hotfix: {must_hold: {gates: [notes]}, deferred_until: 72h, approved_by: [lead]}
"""
GATES = (
    "id: notes, title: Release notes there, document: NOTES.md",
    "id: access, title: Access reviewed, attest: lead",
    "id: S1, title: Manager, sign_off: manager",
    "id: S2, title: Lead, sign_off: lead",
)


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """A throw-away key for each person."""
    folder = tmp_path_factory.mktemp("keys")
    for name in (*WHO, "mallory"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(command, check=True, timeout=60)
    return folder


@pytest.fixture
def call(product, keys, monkeypatch, capsys):
    """Call a command in a product with policy, stakeholders and keys, at an instant; gives exit code and output."""
    product.gates("predeploy", *GATES)
    product.write("gates/policy.yaml", POLICY)
    product.write("gates/stakeholders.yaml", STAKEHOLDERS)
    lines = [f"{name}@ehr.example {(keys / f'{name}.pub').read_text()}" for name in WHO]
    product.write("gates/allowed_signers", "".join(lines))
    monkeypatch.chdir(product.root)
    for name in ("RELEASEGATE_RECORD", "RELEASEGATE_RELEASE", "RELEASEGATE_ENV"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str, at: datetime = NOW, by: str = "", key: str = "") -> tuple[int, str]:
        who = ["--person", f"{by}@ehr.example"] if by else []
        signed = ["--key", str(keys / (key or by))] if key or (words[0] == "sign" and by) else []
        code = main([*words, *who, *signed], FakeClock(at))
        seen = capsys.readouterr()
        return code, seen.out + seen.err

    return run


@pytest.fixture
def ready(call, product):
    """The same, with a release that everything but signatures makes GO."""
    ran = product.pytest("-m", "predeploy")
    assert ran.code == 10, ran.out
    assert call("attest", "access", "--status", "passed", by="bob", at=soon())[0] == 0
    return call


def soon(**span: float) -> datetime:
    """After what ran just now by the real clock."""
    return datetime.now(UTC) + timedelta(**(span or {"seconds": 1}))


def phase(call, name: str = "predeploy", at: datetime | None = None) -> str:
    _, out = call("status", at=at or soon(seconds=9))
    found = re.search(rf"^phase {name}: (.*)$", out, re.MULTILINE)
    assert found, out
    return found[1]


def test_both_roles_sign_and_the_phase_is_go(ready):
    assert phase(ready) == "HOLD"
    code, out = ready("sign", "manager", by="ann", at=soon(seconds=2))
    assert (code, "ann@ehr.example signs as manager with SHA256:" in out) == (0, True), out
    assert "over 2 gates (1 attested, 1 passed)" in out
    assert phase(ready) == "HOLD"
    assert "lead must sign: releasegate sign lead" in ready("todo", at=soon())[1] + ready("signoffs", at=soon())[1]
    assert ready("sign", "lead", by="eve", at=soon(seconds=3))[0] == 0
    assert phase(ready) == "GO"
    listed = ready("signoffs", at=soon(seconds=9))[1]
    assert listed.count("signed: ") == 2


@pytest.mark.parametrize(
    ("role", "by", "key", "why"),
    [
        ("manager", "bob", "bob", "does not hold the role manager"),
        ("manager", "ann", "bob", "is of 'bob@ehr.example' in gates/allowed_signers, not of 'ann@ehr.example'"),
        ("manager", "ann", "mallory", "is nobody's in gates/allowed_signers"),
        ("intern", "ann", "ann", "no sign-off of a intern is asked for"),
    ],
)
def test_who_may_not_sign_is_told_why_and_leaves_nothing(ready, role, by, key, why):
    code, out = ready("sign", role, by=by, key=key, at=soon(seconds=2))
    assert (code, why in out) == (4, True), out
    assert ready("signoffs", at=soon(seconds=9))[1].count("signed: ") == 0


def test_nothing_is_signed_before_the_phase_is_go_but_for_signatures(call, product):
    product.pytest("-m", "predeploy")
    code, out = call("sign", "manager", by="ann", at=soon())
    assert (code, "predeploy is HOLD for more than signatures" in out, "access" in out) == (4, True, True), out


def test_what_gets_worse_voids_a_signature_and_a_new_one_counts(ready, product):
    ready("sign", "manager", by="ann", at=soon(seconds=2))
    ready("sign", "lead", by="eve", at=soon(seconds=3))
    assert phase(ready) == "GO"
    ready("attest", "access", "--status", "passed", by="eve", at=soon(seconds=4))
    assert phase(ready) == "HOLD"
    assert "access rests on another word than it did" in ready("signoffs", at=soon(seconds=9))[1]
    for role, who in (("manager", "ann"), ("lead", "bob")):
        assert ready("sign", role, by=who, at=soon(seconds=6))[0] == 0
    assert phase(ready) == "GO"


def test_a_changed_policy_voids_signatures(ready, product):
    ready("sign", "manager", by="ann", at=soon(seconds=2))
    product.write("gates/policy.yaml", POLICY.replace("14d", "15d"))
    code, out = ready("replan", "--reason", "longer waivers", at=soon(seconds=4))
    assert (code, "the policy or the stakeholders: declared otherwise" in out) == (0, True), out
    assert "the plan has changed since" in ready("signoffs", at=soon(seconds=9))[1]


def test_a_signature_is_taken_back(ready):
    ready("sign", "manager", by="ann", at=soon(seconds=2))
    shown = ready("show", "S1", at=soon(seconds=4))[1]
    claim = re.search(r"claim ([0-9a-f]{12})", shown)
    assert claim, shown
    code, out = ready("revoke", claim[1], "--reason", "signed the wrong one", by="mallory", at=soon(seconds=5))
    assert (code, "may not take back" in out) == (4, True), out
    assert (
        ready("revoke", claim[1], "--reason", "signed the wrong one", by="ann", key="ann", at=soon(seconds=5))[0] == 0
    )
    assert ready("signoffs", at=soon(seconds=9))[1].count("signed: ") == 0


def test_a_changed_signature_does_not_count(ready, product):
    import sqlite3

    ready("sign", "manager", by="ann", at=soon(seconds=2))
    with sqlite3.connect(product.root / ".releasegate" / "record.db") as record:
        (body, digest) = record.execute(
            "select body, sha256 from blobs where sha256 = (select file_sha256 from sign_offs)"
        ).fetchone()
        whole = json.loads(body)
        whole["claim"]["decision"] = "ROLLBACK"
        record.execute("update blobs set body = ? where sha256 = ?", (json.dumps(whole).encode(), digest))
    record.close()
    listed = " ".join(ready("signoffs", at=soon(seconds=9))[1].split())
    assert "ann@ehr.example's sign-off does not count: its file says something else than the record" in listed
    code, out = ready("verify")
    assert (code, digest[:12] in out) == (1, True), out


@pytest.fixture
def failing(call, product):
    """A release whose only gate that is looked at has failed."""
    (product.root / "NOTES.md").unlink()
    ran = product.pytest("-m", "predeploy")
    assert "failed" in ran.out
    return call


WAIVE = ("waive", "notes", "--reason", "printed on paper", "--mitigation", "mail", "--risk", "low", "--until")


def test_a_waiver_accepts_a_failure_until_it_expires_and_is_shown(failing, product):
    at = soon()
    code, out = failing(*WAIVE, f"{at + timedelta(days=7):%Y-%m-%dT%H:%M:%SZ}", by="bob", at=at)
    assert (code, "notes Release notes there: waived, bob@ehr.example (lead) until" in out) == (0, True), out
    shown = failing("show", "notes", at=soon(seconds=9))[1]
    assert all(text in shown for text in ("waived", "raw", "failed", "mitigation: mail", "risk: low", "this release"))
    ran = product.pytest("-m", "predeploy", "-rx")
    assert "1 xfailed" in ran.out
    assert "waived: bob@ehr.example (lead)" in ran.out
    assert "NO-GO" not in ran.out
    late = failing("show", "notes", at=at + timedelta(days=8))[1]
    assert "waiver expired" in late


@pytest.mark.parametrize(
    ("by", "until", "why"),
    [
        ("ann", 7, "in which role does ann@ehr.example speak?"),
        ("bob", -1, "is over"),
        ("bob", 16, "at most 14d, not for 15d"),
    ],
)
def test_who_may_not_waive_is_told_why(failing, by, until, why):
    at = soon()
    code, out = failing(*WAIVE, f"{at + timedelta(days=until):%Y-%m-%dT%H:%M:%SZ}", by=by, at=at)
    assert (code, why in out) == (4, True), out


def test_only_a_failure_is_waived(ready):
    code, out = ready(*WAIVE, LATER.replace("2026", "2099"), by="bob", at=soon())
    assert (code, "gate notes has not failed but is passed; only a failure can be waived" in out) == (4, True), out
    code, out = ready("waive", "note", "--reason", "r", "--until", LATER, by="bob", at=soon())
    assert (code, "did you mean" in out) == (4, True), out


def test_a_hotfix_puts_off_what_its_profile_lets_wait(call, product):
    code, out = call("open", "1.4.0", "--profile", "hotfix", at=soon(seconds=-60))
    assert (code, "profile: hotfix" in out) == (0, True), out
    product.pytest("-m", "predeploy")
    assert phase(call) == "HOLD (hotfix, 1 deferred)"
    assert call("sign", "lead", by="eve", at=soon(seconds=2))[0] == 0
    assert phase(call) == "GO (hotfix, 1 deferred)"
    assert call("deployed", at=soon(seconds=3))[0] == 0
    assert phase(call, at=soon(hours=71)) == "GO (hotfix, 1 deferred)"
    assert phase(call, at=soon(hours=73)) == "HOLD (hotfix, 0 deferred)"


def test_an_unknown_profile_is_refused(call):
    code, out = call("open", "1.4.0", "--profile", "hotfx")
    assert (code, "unknown profile 'hotfx'" in out, "hotfix" in out) == (4, True, True), out


def test_a_waiver_that_expires_soon_is_a_hint(failing):
    at = soon()
    failing(*WAIVE, f"{at + timedelta(days=7):%Y-%m-%dT%H:%M:%SZ}", by="bob", at=at)
    code, out = failing("check", at=soon(seconds=9))
    assert (code, "notes: the waiver of bob@ehr.example expires" in out) == (0, True), out
    assert failing("check", "--strict", at=soon(seconds=9))[0] == 4


def test_a_key_of_the_agent_or_a_public_file_is_named_clearly_where_it_is_missing(ready, tmp_path):
    missing = tmp_path / "none"
    code, out = ready("sign", "manager", "--person", "ann@ehr.example", "--key", str(missing), at=soon())
    assert (code, str(missing) in out) == (4, True), out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--evidence", "http://[::1"), "is no URL"),
        (("--evidence", "x" * 5000), "cannot read"),
        (("--key", "~nobody-has-this-home/key"), "no such key"),
        (("--key", "x" * 5000), "no such key"),
    ],
)
def test_a_name_that_cannot_be_a_file_or_a_url_is_told(call, words, why):
    assert call("open", "1.4.0")[0] == 0
    code, out = call("attest", "access", "--status", "passed", "--person", "bob@ehr.example", *words)
    assert (code, why in out) == (4, True), out


@pytest.mark.parametrize("words", [("waive", "notes", "--until", LATER), ("revoke", "abcdef"), ("replan",)])
def test_a_blank_reason_is_none(call, words):
    assert call("open", "1.4.0")[0] == 0
    code, out = call(*words, "--reason", " ")
    assert (code, "--reason: expected a sentence, got nothing" in out) == (4, True), out


def test_a_policy_lets_another_role_answer(call, product):
    product.write("gates/policy.yaml", POLICY + "attest:\n  - {roles: [manager], gates: [access]}\n")
    product.pytest("-m", "predeploy")
    said = ("attest", "access", "--status", "passed")
    assert call(*said, by="ann", at=soon())[0] == 4
    code, out = call(*said, "--role", "manager", by="ann", at=soon())
    assert (code, "says ann@ehr.example (manager)" in out) == (0, True), out
    assert "attested" in call("show", "access", at=soon(seconds=9))[1]
