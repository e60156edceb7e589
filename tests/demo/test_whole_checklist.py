"""The reference checklist with all that its people say and sign is GO; without any one of it, HOLD, which says who."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from releasegate_demo.people import SIGNERS
from releasegate_demo.words import words

from pytest_releasegate.approval import role_of, subject
from pytest_releasegate.checklist.loader import load
from pytest_releasegate.model import (
    ASKS_PEOPLE,
    Attestation,
    Claims,
    Decision,
    Phase,
    Plan,
    PlannedGate,
    Release,
    Result,
    SignOff,
    Status,
)
from pytest_releasegate.verdict import phase_verdict, stand

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
FACTS = ("backfill", "billing_changes", "edge_functions", "maintenance", "payments", "replication", "survey")
PHASES = (Phase.PREDEPLOY, Phase.COMPLIANCE)


@cache
def plan() -> Plan:
    checklist = load(ROOT / "gates", ROOT)
    gates = tuple(PlannedGate(each.gate, each.digest) for each in checklist.declarations)
    return Plan(gates, "plan", rules=checklist.rules)


def release() -> Release:
    facts = dict.fromkeys(FACTS, True) | {"rollback_database": False}
    whole: dict[str, Any] = {"product": "ehr", "version": "1.4.0", "environment": "demo", "facts": facts}
    return Release(opened_at=NOW - 9 * HOUR, **whole)


def rows() -> list[Result]:
    return [
        Result(gate=each.gate.id, status=Status.PASSED, started_at=NOW - HOUR, gate_digest=each.digest)
        for each in plan().gates
    ]


@cache
def said() -> tuple[Attestation, ...]:
    """The words of the demo's file, as its reader makes claims of them."""
    known = plan().by_id()
    found = words((each.gate for each in plan().gates if each.gate.phase in PHASES), NOW - 2 * HOUR)
    return tuple(
        Attestation(
            gate=word["control_id"],
            status=Status(word["status"]),
            person=word["updated_by"],
            role=role_of(known[word["control_id"]]),
            at=NOW - 2 * HOUR,
            note=word["explanation"],
            evidence=f"{word['control_id']}.txt",
            gate_digest=known[word["control_id"]].digest,
            identity=f"word on {word['control_id']}",
        )
        for word in found
    )


@cache
def signed() -> tuple[SignOff, ...]:
    standings = stand(plan(), rows(), Claims.of(said()), release(), NOW)
    over, rules = subject(Phase.PREDEPLOY, standings), plan().rules
    assert rules is not None
    made = SignOff(
        phase=Phase.PREDEPLOY,
        decision="GO",
        plan_digest="plan",
        policy_digest=rules.digest,
        subject=over,
        person="",
        role="",
        at=NOW,
        key="SHA256:key",
    )
    return tuple(replace(made, role=role, person=person, identity=f"{role} signs") for role, person in SIGNERS.items())


def verdicts(claims: Any, results: Any = None) -> dict[Phase, Any]:
    standings = stand(plan(), rows() if results is None else results, Claims.of(claims), release(), NOW)
    return {phase: phase_verdict(phase, standings, release()) for phase in PHASES}


def test_with_every_look_word_and_signature_it_is_go() -> None:
    assert {phase: verdict.decision for phase, verdict in verdicts([*said(), *signed()]).items()} == dict.fromkeys(
        PHASES, Decision.GO
    )


@pytest.mark.parametrize("left_out", [*(word.gate for word in said())])
def test_without_a_word_it_is_hold_and_names_who_must_speak(left_out: str) -> None:
    claims = [word for word in said() if word.gate != left_out]
    gate = plan().by_id()[left_out].gate
    verdict = verdicts([*claims, *signed()])[gate.phase]
    assert verdict.decision is Decision.HOLD
    (reason,) = [one for one in verdict.reasons if one.gate == left_out]
    assert reason.text.endswith(f"{gate.parameters['role']} must say: releasegate attest {left_out} --status passed")


@pytest.mark.parametrize("role", list(SIGNERS))
def test_without_a_signature_it_is_hold_and_names_who_must_sign(role: str) -> None:
    verdict = verdicts([*said(), *(one for one in signed() if one.role != role)])[Phase.PREDEPLOY]
    assert verdict.decision is Decision.HOLD
    assert [reason.text for reason in verdict.reasons] == [f"pending: {role} must sign: releasegate sign {role}"]


def test_without_a_look_it_is_hold_and_its_signatures_are_void() -> None:
    gates = [each.gate for each in plan().gates if each.gate.phase is Phase.PREDEPLOY]
    for name in (gate.id for gate in gates if gate.kind not in ASKS_PEOPLE):
        fewer = [row for row in rows() if row.gate != name]
        verdict = verdicts([*said(), *signed()], fewer)[Phase.PREDEPLOY]
        assert verdict.decision is Decision.HOLD
        told = {reason.gate: reason.text for reason in verdict.reasons}
        assert told[name] == "missing: not looked at"
        assert f"{name} was passed and is missing" in told["SIGN.1"]
