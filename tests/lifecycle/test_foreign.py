"""Attestations of SAF and waivers of InSpec: read in their own shapes, or told what is wrong with them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from pytest_releasegate.errors import BrokenPlan
from pytest_releasegate.lifecycle.foreign import (
    ForeignWaiver,
    ForeignWord,
    named,
    read_attestations,
    read_waivers,
)
from pytest_releasegate.lifecycle.frequency import end_of, known_frequency
from pytest_releasegate.model import Place, Status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORD = {
    "control_id": "6.3.4",
    "explanation": "All accounts reviewed",
    "frequency": "quarterly",
    "status": "passed",
    "updated": "2026-02-01T10:35:50.519Z",
    "updated_by": "Sam, Security",
}
YAML = """---
- control_id: 6.3.4
  explanation: All accounts reviewed
  frequency: 90d
  status: passed
  updated: 2026-02-01 11:35:50 +01:00
  updated_by: sam@clinic.example
  evidence: review.pdf
- control_id: 6.3.5
  explanation: >-
    Two of eleven
    are open
  frequency: 1y
  status: failed
  updated: "2026-02-01"
  updated_by: sam@clinic.example
"""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def told(broken: pytest.ExceptionInfo[BrokenPlan]) -> list[str]:
    return [line for line in str(broken.value).splitlines() if not line.startswith(" ")]


def test_a_saf_file_in_yaml() -> None:
    words, odd = read_attestations("w.yaml", YAML, "Europe/Berlin", NOW)
    assert words == [
        ForeignWord(
            gate="6.3.4",
            status=Status.PASSED,
            note="All accounts reviewed",
            at=at("2026-02-01T10:35:50Z"),
            expires_at=at("2026-05-02T10:35:50Z"),
            person="sam@clinic.example",
            evidence="review.pdf",
            role="",
            place=Place("w.yaml", 2, 3),
        ),
        ForeignWord(
            gate="6.3.5",
            status=Status.FAILED,
            note="Two of eleven are open",
            at=at("2026-01-31T23:00:00Z"),
            expires_at=at("2027-01-31T23:00:00Z"),
            person="sam@clinic.example",
            evidence="",
            role="",
            place=Place("w.yaml", 9, 3),
        ),
    ]
    assert odd == []


@pytest.mark.parametrize(
    "document",
    [[WORD], {"plugins": {"inspec-reporter-json-hdf": {"attestations": [WORD]}}}],
    ids=["array", "older files"],
)
@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_a_saf_file_in_json(document: Any, indent: Any) -> None:
    (word,), odd = read_attestations("w.json", json.dumps(document, indent=indent), "", NOW)
    assert (word.gate, word.at, word.person) == ("6.3.4", at("2026-02-01T10:35:50.519Z"), "Sam, Security")
    assert (word.expires_at, odd) == (at("2026-05-01T10:35:50.519Z"), [])


def test_json_that_is_no_yaml() -> None:
    (word,), _ = read_attestations("w.json", json.dumps([WORD | {"explanation": "fine \U0001f600"}]), "", NOW)
    assert word.note == "fine \U0001f600"


def test_a_key_that_means_nothing_is_odd_and_no_mistake() -> None:
    words, odd = read_attestations("w.json", json.dumps([WORD | {"evidnce": "x"}]), "", NOW)
    assert len(words) == 1
    assert [problem.what for problem in odd] == ["key 'evidnce' means nothing here"]
    assert "did you mean 'evidence'?" in odd[0].hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"explanation": None}, "w.json:1:2: missing key 'explanation'"),
        ({"updated_by": None}, "w.json:1:2: missing key 'updated_by'"),
        ({"explanation": " "}, "should have at least 1 character"),
        ({"status": "skipped"}, "expected passed, failed or not_applicable, got the text 'skipped'"),
        ({"frequency": "hourly"}, "expected a number with d, w, m (months) or y, or annually"),
        ({"frequency": 90}, "expected text, got the number 90"),
        ({"control_id": 10.1}, "expected text, got the number 10.1"),
        ({"updated": "3000-01-01T00:00:00Z"}, "updated: 3000-01-01T00:00:00Z is in the future"),
        ({"updated": "2026-03-01T12:05:01Z"}, "is in the future"),
        ({"updated": "2026-02-01"}, "updated: instant '2026-02-01' has no offset from UTC"),
        ({"updated": "last week"}, "updated: instant 'last week': expected ISO 8601"),
        ({"updated": 2026}, "expected text, got the number 2026"),
    ],
)
def test_what_is_wrong_with_an_attestation(change: dict[str, Any], said: str) -> None:
    entry = {key: value for key, value in (WORD | change).items() if value is not None}
    with pytest.raises(BrokenPlan) as broken:
        read_attestations("w.json", json.dumps([entry]), "", NOW)
    (line,) = told(broken)
    assert line.startswith("w.json:1:")
    assert said in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "w.yaml:1:1: no attestations in it"),
        ("", "w.yaml:1:1: no attestations in it"),
        ("{control_id: 6.3.4}", "w.yaml:1:1: expected a list of attestations, or one under plugins."),
        ("plugins: {inspec-reporter-json-hdf: {}}", "w.yaml:1:1: expected a list of attestations"),
        ("[6.3.4]", "w.yaml:1:2: expected a mapping of keys to values, got the text '6.3.4'"),
        ("[{", "w.yaml:2:1: not YAML"),
    ],
)
def test_what_is_no_attestation_file(text: str, said: str) -> None:
    with pytest.raises(BrokenPlan) as broken:
        read_attestations("w.yaml", text, "", NOW)
    assert told(broken)[0].startswith(said)


def test_all_mistakes_of_a_file_at_once() -> None:
    entries = [WORD, WORD | {"status": "ok"}, WORD | {"updated": "soon"}, {}]
    with pytest.raises(BrokenPlan) as broken:
        read_attestations("w.json", json.dumps(entries, indent=0), "", NOW)
    assert [line.split(":")[1] for line in told(broken)][:2] == ["14", "23"]
    assert len(told(broken)) == 8


def test_a_word_a_little_ahead_of_our_clock_is_no_word_of_the_future() -> None:
    words, _ = read_attestations("w.json", json.dumps([WORD | {"updated": "2026-03-01T12:04:59Z"}]), "", NOW)
    assert len(words) == 1


@pytest.mark.parametrize(
    ("frequency", "start", "end"),
    [
        ("annually", "2024-02-29T12:00:00Z", "2025-02-28T12:00:00Z"),
        ("semiannually", "2026-01-15T00:00:00Z", "2026-07-15T00:00:00Z"),
        ("quarterly", "2025-11-30T00:00:00Z", "2026-02-28T00:00:00Z"),
        ("monthly", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
        ("every2weeks", "2026-01-01T00:00:00Z", "2026-01-15T00:00:00Z"),
        ("fortnightly", "2026-01-01T00:00:00Z", "2026-01-15T00:00:00Z"),
        ("weekly", "2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z"),
        ("every3days", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
        ("daily", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("1.5d", "2026-01-01T00:00:00Z", "2026-01-02T12:00:00Z"),
        (".5w", "2026-01-01T00:00:00Z", "2026-01-04T12:00:00Z"),
        ("3m", "2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"),
        # February has 28 days, so that half of it is 14
        ("0.5m", "2026-02-01T00:00:00Z", "2026-02-15T00:00:00Z"),
        ("1.5m", "2026-01-01T00:00:00Z", "2026-02-15T00:00:00Z"),
        ("1.5y", "2026-01-31T00:00:00Z", "2027-07-31T00:00:00Z"),
        ("100y", "2026-01-31T00:00:00Z", "2126-01-31T00:00:00Z"),
    ],
)
def test_how_long_a_word_holds(frequency: str, start: str, end: str) -> None:
    assert end_of(at(start), known_frequency(frequency)) == at(end)


@pytest.mark.parametrize(
    "text", ["", "0d", "0.0m", "-1d", "1", "d", "1h", "1 d", "1.d", "101y", "1e3d", "Weekly", "1d1w"]
)
def test_what_is_no_frequency(text: str) -> None:
    with pytest.raises(ValueError, match="got "):
        known_frequency(text)


WAIVER = ForeignWaiver(
    gate="control_1",
    reason="Not needed until Q3. @secteam",
    expires_at=at("2026-10-15T00:00:00+02:00"),
    person="",
    role="",
    risk="",
    mitigation="",
    place=Place("w.yaml", 1, 1),
)
INSPEC = """control_1:
  expiration_date: 2026-10-15
  justification: Not needed until Q3. @secteam
xccdf_control_2:
  expiration_date: "2026-06-01 06:00:00 UTC"
  justification: |
    Two lines
  run: yes
"6.3.4":
  justification: For ever
  run: false
  approver: ann@clinic.example
  role: release_manager
  risk: a stranger may read it
  mitigation: it is watched
"""


def test_an_inspec_file_in_yaml() -> None:
    waivers, odd = read_waivers("w.yaml", INSPEC, "Europe/Berlin")
    assert waivers[0] == WAIVER
    assert (waivers[1].expires_at, waivers[1].reason) == (at("2026-06-01T06:00:00Z"), "Two lines")
    whole = waivers[2]
    assert (whole.expires_at, whole.person, whole.role) == (None, "ann@clinic.example", "release_manager")
    assert (whole.risk, whole.mitigation) == ("a stranger may read it", "it is watched")
    assert [str(problem.place) for problem in odd] == ["w.yaml:11:8"]
    assert "a gate is looked at all the same" in odd[0].what


def test_an_inspec_file_in_json() -> None:
    text = json.dumps({"control_1": {"expiration_date": "2026-10-15", "justification": WAIVER.reason}})
    (waiver,), _ = read_waivers("w.json", text, "Europe/Berlin")
    assert (waiver.gate, waiver.reason, waiver.expires_at) == ("control_1", WAIVER.reason, WAIVER.expires_at)


def test_an_inspec_file_in_csv() -> None:
    text = (
        "control_id,justification,run,expiration_date,approver,ticket\r\n"
        "control_1,Not needed until Q3. @secteam,true,2026-10-15,ann@clinic.example,\r\n"
        '\r\ncontrol_2,"two\nlines, and a comma",FALSE,,,T-4711\r\n'
        "control_3,short\r\n"
    )
    waivers, odd = read_waivers("w.csv", text, "Europe/Berlin")
    assert [(each.gate, each.place.line, each.expires_at is None) for each in waivers] == [
        ("control_1", 2, False),
        ("control_2", 4, True),
        ("control_3", 6, True),
    ]
    assert (waivers[0].expires_at, waivers[0].person) == (WAIVER.expires_at, "ann@clinic.example")
    assert waivers[1].reason == "two\nlines, and a comma"
    assert [problem.what.split(":")[0] for problem in odd] == ["key 'ticket' means nothing here", "control_2"]


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("w.yaml", "", ["w.yaml:1:1: no waivers in it"]),
        ("w.yaml", "[a]", ["w.yaml:1:1: expected a mapping of control ids to waivers"]),
        ("w.yaml", "a: {run: true}", ["w.yaml:1:4: missing key 'justification'"]),
        ("w.yaml", "a: {justification: }", ["w.yaml:1:20: expected text, got nothing"]),
        ("w.yaml", "a: accepted", ["w.yaml:1:4: expected a mapping of keys to values, got the text 'accepted'"]),
        ("w.yaml", "a: {justification: r, run: maybe}", ["w.yaml:1:28: expected true or false, got the text 'maybe'"]),
        ("w.yaml", "a: {justification: r}\na: {justification: s}", ["w.yaml:2:1: key 'a' is given twice"]),
        (
            "w.yaml",
            "a: {justification: r, expiration_date: 2077}\nb: {justification: r, expiration_date: 2026-10-15}",
            [
                "w.yaml:1:40: expected text, got the number 2077",
                "w.yaml:2:40: expiration_date: instant '2026-10-15' has no offset from UTC",
            ],
        ),
        ("w.json", '{"a": {"justification": "r"}, "a": 2}', ["w.json:1:31: key 'a' is given twice"]),
        ("w.csv", "", ["w.csv:1:1: no waivers in it"]),
        ("w.csv", "id,justification\na,r\n", ["w.csv:1:1: the header has no 'control_id'"]),
        (
            "w.csv",
            "control_id,run,run\na,true,true\n",
            [
                "w.csv:1:1: the header has no 'justification'",
                "w.csv:1:1: the header has 'run' twice",
                "w.csv:2:1: missing key 'justification'",
            ],
        ),
        (
            "w.csv",
            "control_id,justification\na,\n,r\nb,r,s\nc,r\nc,s\n",
            [
                "w.csv:2:1: missing key 'justification'",
                "w.csv:3:1: a row without control_id",
                "w.csv:4:1: 3 cells under 2 names",
                "w.csv:6:1: 'c' is given twice",
            ],
        ),
        ("w.csv", 'control_id,justification\na,"r', ["w.csv:2:1: not CSV: unexpected end of data"]),
    ],
)
def test_what_is_wrong_with_waivers(name: str, text: str, lines: list[str]) -> None:
    with pytest.raises(BrokenPlan) as broken:
        read_waivers(name, text, "")
    found = told(broken)
    assert [line for line in lines if not any(said.startswith(line) for said in found)] == [], found
    assert len(found) == len(lines)


def test_a_date_needs_a_zone_and_says_so() -> None:
    with pytest.raises(BrokenPlan, match="or set releasegate_zone"):
        read_waivers("w.yaml", "a: {justification: r, expiration_date: 2026-10-15}", "")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("6.3.4", "6.3.4"), ("C1.2", "C1.2"), ("c1.2", "C1.2"), ("rb1", ""), ("RB1", "RB1"), ("rB1", ""), ("6.3", "")],
)
def test_ids_are_those_of_the_plan_in_any_case_when_there_is_one(wanted: str, found: str) -> None:
    assert named(["6.3.4", "C1.2", "RB1", "Rb1"], wanted) == found
