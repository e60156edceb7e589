"""The reference checklist: 66 items, 245 gates, 11 triggers and 5 roles, with the ids of its enumeration by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from pytest_releasegate.checklist.markdown.completing import Mark, complete
from pytest_releasegate.checklist.markdown.entries import Part
from pytest_releasegate.checklist.markdown.gatefiles import SIGN_OFF, gate_files, stakeholders
from pytest_releasegate.checklist.markdown.lines import read_source, source_of
from pytest_releasegate.checklist.markdown.reading import read_checklist
from pytest_releasegate.policy import placeholder

DOCUMENT = Path(__file__).parents[3] / "docs" / "reference" / "PRODUCTION_RELEASE_CHECKLIST.md"
BY_HAND = Path(__file__).parent / "reference-gates.tsv"
ELSEWHERE = {"1.1.0", "2.1.0", "14.0.1", "ROLLBACK.SQL", *(f"SMOKE.{number}" for number in range(1, 6))}
"""Rows of the enumeration that come from an item's own words, a note or an appendix, not from a line to tick."""


@pytest.fixture(scope="module")
def reading():
    return read_checklist(read_source(DOCUMENT, DOCUMENT.name))


def test_every_line_is_accounted_for(reading):
    counts = reading.account.counts
    parts = (Part.ITEM, Part.GATE, Part.TRIGGER, Part.ROLE)
    assert tuple(counts[part] for part in parts) == (66, 245, 11, 5)
    assert sum(counts.values()) == reading.account.lines == len(DOCUMENT.read_bytes().splitlines())
    assert counts[Part.IGNORED] == len([reason for _, reason in reading.account.ignored() if reason])


def test_ids_phases_steps_and_words_are_those_of_the_enumeration_by_hand(reading):
    with BY_HAND.open(encoding="utf-8") as file:
        rows = {row["id"]: (row["phase"], row["gate"]) for row in csv.DictReader(file, delimiter="\t", quoting=3)}
    written = {}
    for text in gate_files(reading).values():
        document = yaml.load(text, yaml.BaseLoader)
        for item in document["items"]:
            place = "/".join(filter(None, [document["phase"], item.get("step", "")]))
            written |= {gate["id"]: (place, gate["title"]) for gate in item["gates"]}
    assert len(rows) == 270
    assert written == {name: row for name, row in rows.items() if name not in ELSEWHERE}


def test_triggers_have_the_severity_that_they_name(reading):
    severities = [entry.severity for entry in reading.of(Part.TRIGGER)]
    assert severities == ["critical"] * 4 + ["high"] * 4 + ["medium"] * 2 + ["low"]


def attested(reading):
    files = [yaml.safe_load(text) for text in gate_files(reading).values()]
    return [gate for file in files for item in file["items"] for gate in item["gates"] if "attest" in gate]


def test_roles_become_sign_offs_and_stakeholders(reading):
    roles = ["release_manager", "engineering_lead", "database_administrator", "security_lead", "product_owner"]
    gates = yaml.safe_load(gate_files(reading)[SIGN_OFF])["items"][0]["gates"]
    assert [gate["sign_off"]["role"] for gate in gates] == roles
    asked = {gate["attest"]["role"] for gate in attested(reading)}
    people = yaml.safe_load(stakeholders(reading))["roles"]
    assert list(people)[:5] == roles
    assert set(people) == asked | set(roles)
    assert [people[name]["people"] for name in people] == [[placeholder(name)] for name in people]


def test_completed_and_stripped_it_is_the_same_byte_for_byte(reading):
    before = DOCUMENT.read_bytes().decode()
    assert complete(reading, {}, plain=True).text == before
    some = {entry.id: Mark("passed", holds=entry.section.number == "2") for entry in reading.of(Part.GATE)}
    done = complete(reading, some)
    ticked = [line for line in done.text.splitlines() if line.startswith("- [x]")]
    assert [line.split("**")[1] for line in ticked] == [
        "All code changes peer-reviewed",
        "Automated tests passing",
        "Security scan completed",
        "Load testing completed",
        "Previous version redeployed",
        "Application health verified",
    ]
    again = source_of(done.text, DOCUMENT.name)
    assert "".join(again.lines).replace("- [x]", "- [ ]") == before
    assert complete(read_checklist(again), some).text == done.text
