"""`releasegate attest --file` and `releasegate waive --file`: all claims of a file, or none."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from pytest_releasegate.model import Result, Run, Status
from pytest_releasegate.store import open_store
from tests.commands.test_commands import GATE, NOW, PERSON, call

__all__ = ["call"]

LATER = NOW + timedelta(minutes=1)
WORD = {
    "control_id": "6.3.4",
    "explanation": "All accounts reviewed",
    "frequency": "90d",
    "status": "passed",
    "updated": "2026-02-20T10:00:00Z",
    "updated_by": "sam@clinic.example",
    "evidence": "https://tickets.example.com/7",
}
STAKEHOLDERS = "roles: {manager: {people: [ann@clinic.example]}, security_lead: {people: [sam@clinic.example]}}\n"
POLICY = "waive: [{roles: [manager], for_at_most: 30d}]\n"


def said(product):
    """All claims in the record, as kind, gate and person."""
    with open_store(f"sqlite:///{product.root / '.releasegate' / 'record.db'}", create=False) as store:
        release = store.releases()[-1]
        return [(type(each).__name__, each.gate, each.person, each.role) for each in store.claims(release.id).all]


@pytest.fixture
def words(product):
    """Write an attestation file with these words, each changed."""

    def write(*changes: dict[str, str], name: str = "words.json") -> str:
        product.write(name, json.dumps([WORD | change for change in changes], indent=1))
        return name

    return write


@pytest.fixture
def opened(call, product):
    """The command, once 1.4.0 is open with two gates for people, `6.1.1` looked at by a check, and a policy."""
    other = "id: C1.2, title: Staff told, attest: security_lead"
    product.gates("predeploy", GATE, PERSON, other)
    product.write("gates/stakeholders.yaml", STAKEHOLDERS)
    product.write("gates/policy.yaml", POLICY)
    call("open", "1.4.0")
    return call


def test_all_words_of_a_file_are_recorded(opened, product, words):
    file = words({}, {"control_id": "c1.2", "evidence": "", "status": "failed"})
    code, out = opened("attest", "--file", file)
    assert (code, said(product)) == (
        0,
        [
            ("Attestation", "6.3.4", "sam@clinic.example", "security_lead"),
            ("Attestation", "C1.2", "sam@clinic.example", "security_lead"),
        ],
    )
    assert "2 of words.json; their 2 gates: 1 attested, 1 failed" in out
    assert "  C1.2 Staff told: failed, sam@clinic.example (security_lead), 2026-02-20 10:00 UTC" in out
    assert opened("attest", "--file", file)[0] == 0
    assert len(said(product)) == 2


def test_a_word_ends_when_its_frequency_is_over_or_the_gate_says_so(opened, words):
    opened("attest", "--file", words({"frequency": "10d"}))
    assert "attested" in opened("show", "6.3.4")[1]
    assert "has expired" in opened("show", "6.3.4", at=NOW + timedelta(days=2))[1]
    code, out = opened("attest", "--file", words({"control_id": "C1.2", "frequency": "daily"}))
    assert (code, "C1.2 Staff told: pending, sam@clinic.example's word of 2026-02-20 has expired" in out) == (0, True)


def test_nothing_of_a_file_is_recorded_when_one_entry_is_refused(opened, product, words):
    file = words(
        {},
        {"control_id": "6.3.5"},
        {"control_id": "6.1.1"},
        {"evidence": ""},
        {"evidence": "gone.pdf"},
        {"evidence": "../NOTES.md"},
        name="in/words.json",
    )
    code, out = opened("attest", "--file", file)
    assert (code, said(product)) == (4, [])
    lines = [line for line in out.splitlines() if "words.json:" in line]
    assert [line.partition("words.json:")[2] for line in lines] == [
        "11:2: the plan has no gate 6.3.5",
        "20:2: gate 6.1.1 is looked at by `document`; a word is not enough",
        "29:2: gate 6.3.4 asks for evidence",
        "38:2: evidence: no file gone.pdf",
        "47:2: evidence: ../NOTES.md lies outside the file's folder",
    ]
    assert "did you mean '6.3.4'?" in out


def test_who_may_not_say_so_is_told_by_name(opened, product, words):
    file = words({}, {"updated_by": "eve@clinic.example"}, {"control_id": "C1.2", "role": "manager"})
    code, out = opened("attest", "--file", file)
    assert (code, said(product)) == (4, [])
    assert "words.json:11:2: this attestation would not count: eve@clinic.example does not hold the role" in out
    assert "words.json:20:2: this attestation would not count: sam@clinic.example does not hold the role manager" in out


def test_evidence_beside_the_file_is_kept(opened, product, words):
    product.write("in/review.txt", "31 members of staff")
    assert opened("attest", "--file", words({"evidence": "review.txt"}, name="in/words.json"))[0] == 0
    assert "evidence: review.txt\n    sha256:" in opened("show", "6.3.4")[1]


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (("attest", "6.3.4", "--file", "words.json"), "--file says it for many gates, and 'gate' for one"),
        (("attest", "--file", "words.json", "--note", "n"), "'note' for one"),
        (("attest", "--file", "words.json", "--person", "eve"), "'person' for one"),
        (("attest", "--file", "gone.json"), "--file: cannot read gone.json: No such file"),
        (("attest", "--file", "words.xlsx"), "--file: words.xlsx is a workbook"),
        (("attest", "--file", "latin.json"), "--file: latin.json is not UTF-8 text: byte 3"),
        (("attest", "6.3.4"), "which gate, and what did you find?"),
        (("waive", "6.1.1", "--reason", "r"), "which gate, why, until when?"),
        (("waive", "6.1.1", "--file", "w.yaml"), "'gate' for one"),
        (("attest", "--file", "empty.json"), "empty.json:1:1: no attestations in it"),
        (("waive", "--file", "empty.json"), "empty.json:1:1: expected a mapping"),
    ],
)
def test_what_cannot_be_meant(opened, product, words, command, what):
    words({})
    product.write("empty.json", "[]")
    (product.root / "latin.json").write_bytes(b'["\xc4\xe4"]'.replace(b'["', b'[ "'))
    code, out = opened(*command)
    assert (code, what in out) == (4, True), out


@pytest.fixture
def failed(opened, product):
    """The same, once 6.1.1 has failed."""
    with open_store(f"sqlite:///{product.root / '.releasegate' / 'record.db'}", create=False) as store:
        release = store.releases()[-1]
        planned = store.plan(release.id).by_id()["6.1.1"]
        run = Run(started_at=NOW, expression="predeploy", scope=("6.1.1",), host="h", pid=1)
        looked = Result(gate="6.1.1", status=Status.FAILED, started_at=NOW, gate_digest=planned.digest)
        store.add_result(release.id, store.start_run(release.id, run), looked, {})
    return opened


def test_all_waivers_of_a_file_are_recorded(failed, product):
    text = "6.1.1: {justification: They follow, expiration_date: 2026-03-31T00:00:00Z, approver: ann@clinic.example}\n"
    product.write("w.yaml", text)
    code, out = failed("waive", "--file", "w.yaml", at=LATER)
    assert (code, said(product)) == (0, [("Waiver", "6.1.1", "ann@clinic.example", "manager")]), out
    assert "1 of w.yaml; their 1 gates: 1 waived" in out


def test_a_file_with_one_waiver_that_is_refused_accepts_nothing(failed, product):
    lines = [
        "control_id,justification,run,expiration_date,approver",
        "6.1.1,r,,2026-03-31T00:00:00Z,ann@clinic.example",
        "6.3.4,r,,2026-03-31T00:00:00Z,ann@clinic.example",
        "6.1.2,r,,2026-03-31T00:00:00Z,ann@clinic.example",
    ]
    product.write("w.csv", "\n".join(lines))
    code, out = failed("waive", "--file", "w.csv", at=LATER)
    assert (code, said(product)) == (4, [])
    assert "w.csv:3:1: gate 6.3.4 has not failed but is pending; only a failure can be waived" in out
    assert "w.csv:4:1: the plan has no gate 6.1.2" in out


ANN, SAM = "approver: ann@clinic.example", "approver: sam@clinic.example"
ENDS = "expiration_date: 2026-03-20T00:00:00Z"
UNTIL = ("--until", "2026-03-20T00:00:00Z")


@pytest.mark.parametrize(
    ("keys", "words", "what"),
    [
        (ANN, (), "6.1.1 has no expiration_date, and no waiver is for ever"),
        (ANN, UNTIL, ""),
        (f"{ANN}, expiration_date: 2026-02-01T00:00:00Z", (), "6.1.1: 2026-02-01 00:00 UTC is over"),
        (f"{ANN}, expiration_date: 2026-06-01T00:00:00Z", (), "for at most 30d, not for"),
        (f"{ANN}, expiration_date: 2026-03-31", (), "has no offset from UTC"),
        (SAM, UNTIL, "in which role does sam@clinic.example speak?"),
        (ENDS, ("--person", "ann@clinic.example"), ""),
        (f"{ENDS}, role: manager", ("--person", "eve"), "eve does not hold the role manager"),
    ],
)
def test_until_when_and_by_whom_a_risk_is_accepted(failed, product, keys, words, what):
    product.write("w.yaml", f"6.1.1: {{justification: They follow, {keys}}}\n")
    code, out = failed("waive", "--file", "w.yaml", *words, at=LATER)
    assert (code, what in out) == (4 if what else 0, True), out
    assert len(said(product)) == (0 if what else 1)


def test_a_file_is_all_or_none_also_when_its_words_must_be_signed(opened, product, words):
    product.write("gates/policy.yaml", POLICY + "signed: [attestation]\n")
    opened("replan", "--reason", "words are signed now")
    code, out = opened("attest", "--file", words({}, {"control_id": "C1.2"}), "--key", "gone")
    assert (code, said(product), "gone" in out) == (4, [], True), out


def test_a_date_is_one_of_the_configured_zone(failed, product):
    ini = (product.root / "pytest.ini").read_text("utf-8")
    product.write("pytest.ini", ini + "releasegate_zone = Europe/Berlin\n")
    product.write("w.yaml", f"6.1.1: {{justification: They follow, expiration_date: 2026-03-20, {ANN}}}\n")
    assert failed("waive", "--file", "w.yaml", at=LATER)[0] == 0
    assert "until 2026-03-19 23:00 UTC" in failed("show", "6.1.1", at=LATER)[1]
