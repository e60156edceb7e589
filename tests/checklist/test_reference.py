"""The gates under `gates/` are the reference checklist: each row of its table, and nothing that it does not know."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from releasegate_demo.words import holders, sentences, words

from pytest_releasegate.checklist.loader import load
from pytest_releasegate.params import parse_duration

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
SIGNERS = ("release_manager", "engineering_lead", "database_administrator", "security_lead", "product_owner")
GATES = {"14.0.1": "If review not completed by T+96h, status becomes 'overdue' and escalation notifications sent"}
"""Titles that are the document's where the table shortens them."""
ITEMS = {
    "ROLLBACK.SQL": "Rollback SQL Template",
    "SIGN": "Before production deployment, the following stakeholders must sign off",
    "SMOKE": "Smoke Test Scripts",
    "T15": "Immediate Rollback Triggers (T+15 minutes)",
    "T24": "Delayed Rollback Triggers (T+24 hours)",
}
"""Titles of what is no checkbox of the document, but a section or an appendix."""

BESIDE = {
    "7.1.4.queries": "slow_queries",
    "10.1.1.version": "version",
    "C1.2.2.headers": "headers",
    "C1.3.3.cookies": "cookies",
}
"""Gates that look at what their row means too, by another kind."""


def table(name: str) -> list[dict[str, str]]:
    with (REFERENCE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


ROWS = {row["id"]: row for row in table("gates.tsv")}
NO_GATE = {row["id"]: row["reason"] for row in table("no-gate.tsv")}


@pytest.fixture(scope="module")
def gates():
    return {one.gate.id: one.gate for one in load(ROOT / "gates", ROOT).declarations}


def title_of_item(row):
    return ITEMS.get(row["id"], ITEMS.get(row["id"].split(".")[0], row["item"]))


def test_each_row_is_a_gate_where_the_table_says(gates):
    for name, row in ROWS.items():
        if name in NO_GATE:
            assert name not in gates
            continue
        gate = gates[name]
        assert f"{gate.phase}/{gate.step}".rstrip("/") == row["phase"], name
        assert (gate.title, gate.item.title) == (GATES.get(name, row["gate"]), title_of_item(row)), name
    assert len(ROWS) == 270


def test_the_rows_that_are_no_gate_are_those_that_introduce_others():
    assert {name for name, row in ROWS.items() if row["mode"] == "group"} == NO_GATE.keys()
    assert all(reason.endswith(".") for reason in NO_GATE.values())
    for name in NO_GATE:
        assert ROWS[name]["gate"] in (ROOT / "gates" / "14-review.yaml").read_text("utf-8")


def test_what_is_more_than_the_table_is_a_word_or_another_look_beside_a_look(gates):
    more = gates.keys() - ROWS.keys()
    words = {f"{name}.word" for name, row in ROWS.items() if row["mode"] == "auto+attest"}
    assert more == words | BESIDE.keys()
    for name in words:
        assert (gates[name].kind, "instead_of" in gates[name].parameters) == ("attest", False), name
    for name, kind in BESIDE.items():
        row = name.rpartition(".")[0]
        assert (gates[name].kind, gates[name].item) == (kind, gates[row].item), name
        assert gates[name].title.startswith(f"{gates[row].title} "), name


def test_the_gates_stand_in_the_order_of_the_table(gates):
    for file in sorted({gate.place.file for gate in gates.values()}):
        here = [gate.id for gate in gates.values() if gate.place.file == file and gate.id in ROWS]
        places = [list(ROWS).index(name) for name in here if name != "14.0.1" and not name.startswith("SMOKE")]
        assert places == sorted(places), file


def test_only_what_a_check_will_look_at_one_day_names_a_kind(gates):
    for name, gate in gates.items():
        if gate.kind == "attest" and name in ROWS:
            only_a_person = ROWS[name]["mode"] == "attest"
            assert ("instead_of" in gate.parameters) is not only_a_person, name


def test_the_checklist_is_clean_but_for_the_checks_to_come():
    command = [sys.executable, "-m", "pytest_releasegate.cli", "check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    hints = [line for line in done.stdout.splitlines() if re.match(r"\S+:\d+", line)]
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in hints if "asks for a word" not in line] == []


def test_triggers_are_those_that_are_looked_at(gates):
    told = {name for name in gates if re.match(r"T\d", name)}
    assert {name for name, gate in gates.items() if gate.trigger} == told - {"T24.1", "T24.4"}
    assert gates["T24.4"].severity == "low"


def test_five_roles_sign(gates):
    signing = {name: gate.parameters["role"] for name, gate in gates.items() if gate.kind == "sign_off"}
    assert signing.keys() == {name for name, row in ROWS.items() if row["mode"] == "sign"}
    assert tuple(signing.values()) == SIGNERS
    assert {gates[name].severity for name in signing} == {"critical"}


def test_every_role_is_held_and_nobody_signs_twice(gates):
    book = yaml.safe_load((ROOT / "gates" / "stakeholders.yaml").read_text("utf-8"))
    asked = {str(gate.parameters["role"]) for gate in gates.values() if "role" in gate.parameters}
    assert asked <= book["roles"].keys()
    held = Counter(person for role in book["roles"].values() for person in role["people"])
    assert held.keys() == book["people"].keys()
    assert len({holders()[role] for role in SIGNERS}) == len(SIGNERS)


def test_every_gate_that_a_person_answers_has_a_sentence_of_its_own(gates):
    asked = {name for name, gate in gates.items() if gate.kind == "attest"}
    said = sentences()
    assert said.keys() == asked
    assert {name: text for name, text in said.items() if len(text.split()) < 4 or text[-1] not in ".;"} == {}
    assert [text for text, count in Counter(said.values()).items() if count > 1] == []


def test_each_value_that_a_gate_names_is_declared_for_each_environment():
    named = {
        name
        for path in (ROOT / "gates").glob("*")
        if path.suffix in {".yaml", ".py"} and path.stem != "environments"
        for name in re.findall(r"\$\{value:(\w+)\}", path.read_text("utf-8"))
    }
    environments = yaml.safe_load((ROOT / "gates" / "environments.yaml").read_text("utf-8"))["environments"]
    assert len(named) > 10
    assert {name: named - one["values"].keys() for name, one in environments.items()} == {"demo": set(), "prod": set()}


def test_the_words_of_a_phase_are_attestations_as_saf_reads_them(gates):
    at = datetime(2031, 5, 1, 20, tzinfo=UTC)
    some = [gate for gate in gates.values() if gate.phase in ("predeploy", "compliance")]
    entries = words(some, at)
    assert [entry["control_id"] for entry in entries] == [gate.id for gate in some if gate.kind == "attest"]
    assert entries[0] == {
        "control_id": "1.1.0",
        "explanation": sentences()["1.1.0"],
        "frequency": "30d",
        "status": "passed",
        "updated": "2031-05-01T20:00:00.000000+00:00",
        "updated_by": "marta.release@ehr.example",
    }
    frequencies = {entry["control_id"]: entry["frequency"] for entry in entries}
    assert (frequencies["4.1.1"], frequencies["6.3.2"]) == ("7d", "90d")
    for entry in entries:
        asked = gates[entry["control_id"]].parameters.get("valid_for")
        assert not asked or parse_duration(entry["frequency"]) <= max(parse_duration(asked), parse_duration("1d"))
