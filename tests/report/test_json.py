"""The JSON report: complete, stable, and valid whatever the record holds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.model import Status
from pytest_releasegate.report.html import render as html
from pytest_releasegate.report.json import SCHEMA, render
from pytest_releasegate.report.terminal import status_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Builder
    from pytest_releasegate.report.view import ReleaseView


def test_it_tells_every_gate_and_every_verdict(mixed: ReleaseView) -> None:
    told = json.loads(render(mixed))
    assert told["schema"] == SCHEMA == "pytest-releasegate/release/1"
    assert [gate["id"] for gate in told["gates"]] == [planned.gate.id for planned in mixed.plan.gates]
    assert {gate["id"]: gate["status"] for gate in told["gates"]} == {
        gate: row.status.value for gate, row in mixed.standings.items()
    }
    assert {name: phase["decision"] for name, phase in told["phases"].items()} == {
        phase.value: verdict.decision.value for phase, verdict in mixed.phases.items()
    }
    assert {gate["status"] for gate in told["gates"]} == {status.value for status in Status}


@pytest.mark.parametrize(
    ("who", "said"),
    [("gate 10.1.1", "seen by gate 10.1.1"), ("ann@ehr.example", "said by ann@ehr.example"), ("", "")],
)
def test_every_report_tells_by_whose_word_it_was_deployed(good: ReleaseView, who: str, said: str) -> None:
    at = datetime(2026, 1, 5, 9, 29, 30, tzinfo=UTC)
    view = replace(good, release=replace(good.release, deployed_at=at, deployed_by=who))
    told = json.loads(render(view))["release"]
    assert (told["deployed_at"], told["deployed_by"]) == ("2026-01-05T09:29:30Z", who)
    assert f"deployed  2026-01-05 09:29 UTC{', ' * bool(said)}{said}\n" in "\n".join(
        status_lines(view, width=100, color=False, verbose=False)
    )
    assert f"2026-01-05 09:29:30 UTC{', ' * bool(said)}{said}<" in html(view)


def test_a_missing_gate_is_told_as_missing(mixed: ReleaseView) -> None:
    gate = next(gate for gate in json.loads(render(mixed))["gates"] if gate["id"] == "2.1.1")
    assert (gate["status"], gate["raw"], gate["reason"], gate["attempts"]) == (
        "missing",
        "missing",
        "not looked at",
        [],
    )


def test_attempts_say_whether_they_are_judged(mixed: ReleaseView) -> None:
    gate = next(gate for gate in json.loads(render(mixed))["gates"] if gate["id"] == "2.2.2")
    first, second = gate["attempts"]
    assert (first["status"], first["judged"]) == ("error", False)
    assert (second["status"], second["judged"], second["started_at"]) == ("failed", True, "2026-01-05T09:30:00Z")
    assert second["findings"][0] == {
        "name": "tests passed",
        "expected": "318 of 318",
        "actual": "317 of 318",
        "ok": "no",
        "observe": False,
    }


def test_spans_and_places_are_written_as_declared(mixed: ReleaseView) -> None:
    gates = {gate["id"]: gate["declaration"] for gate in json.loads(render(mixed))["gates"]}
    assert gates["16.1.1"]["due"] == "1d"
    assert gates["2.1.1"]["place"] == "gates/release.yaml:10:9"


def test_the_same_release_gives_the_same_text(mixed: ReleaseView) -> None:
    mixed = replace(mixed, release=replace(mixed.release, facts={"maintenance": False, "billing": True}))
    other = replace(mixed, release=replace(mixed.release, facts=dict(reversed(list(mixed.release.facts.items())))))
    assert render(mixed) == render(other)
    keys = list(json.loads(render(mixed)))
    assert keys == sorted(keys)


def test_hostile_text_can_be_written_and_read(hostile: ReleaseView) -> None:
    text = render(hostile)
    gate = json.loads(text.encode("utf-8"))["gates"][0]
    assert gate["attempts"][0]["findings"][0]["actual"].endswith("\ud800")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_none_stay_valid_json(build: Callable[[], Builder], number: float) -> None:
    built = build()
    gate = built.gate("1.1.1", "Measured", "Item")
    built.looked(gate, Status.PASSED, kept={"p95": number, "hosts": {"b", "a"}})
    told = json.loads(render(built.view()), parse_constant=pytest.fail)
    assert told["gates"][0]["attempts"][0]["kept"] == {"p95": str(number), "hosts": ["a", "b"]}
