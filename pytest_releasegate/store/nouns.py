"""Plans and results as JSON and back; exact in both directions."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pytest_releasegate.model import (
    Evidence,
    Finding,
    Gate,
    Item,
    Ok,
    Phase,
    Place,
    Plan,
    PlannedGate,
    Result,
    Severity,
    Status,
)
from pytest_releasegate.policy import rules_from_document, rules_to_document
from pytest_releasegate.store.values import canonical, exact, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "findings_document",
    "findings_from",
    "plan_from_json",
    "plan_to_json",
    "result_from_json",
    "result_to_json",
]


def plan_to_json(plan: Plan) -> str:
    """The plan as canonical JSON; raises `ValueError` naming the gate whose parameters JSON cannot carry."""
    gates = [_planned_document(each) for each in plan.gates]
    rules = {"rules": rules_to_document(plan.rules)} if plan.rules else {}
    text = canonical({"digest": plan.digest, "target": plan.target, "gates": gates, **rules}).decode()
    if (read := plan_from_json(text)) != plan:
        odd = next((mine for mine, theirs in zip(plan.gates, read.gates, strict=True) if mine != theirs), plan.gates[0])
        raise ValueError(f"{odd.gate.place}: gate {odd.gate.id}: the record cannot keep its parameters: {odd.gate}")
    return text


def plan_from_json(text: str) -> Plan:
    """The plan that `plan_to_json` wrote."""
    document = unpack(json.loads(text))
    gates = tuple(_planned(each) for each in document["gates"])
    rules = rules_from_document(document["rules"]) if "rules" in document else None
    return Plan(gates, document["digest"], document.get("target", ""), rules)


def _planned_document(planned: PlannedGate) -> dict[str, Any]:
    gate = {each.name: getattr(planned.gate, each.name) for each in fields(Gate)}
    place = planned.gate.place
    gate["item"] = [planned.gate.item.id, planned.gate.item.title]
    gate["place"] = [place.file, place.line, place.column]
    return {"gate": gate, "digest": planned.digest, "cases": list(planned.cases)}


def _planned(document: dict[str, Any]) -> PlannedGate:
    gate = dict(document["gate"])
    gate["item"] = Item(*gate["item"])
    gate["place"] = Place(*gate["place"])
    gate["phase"] = Phase(gate["phase"])
    gate["severity"] = Severity(gate["severity"])
    return PlannedGate(Gate(**gate), document["digest"], tuple(document["cases"]))


def findings_document(findings: Sequence[Finding]) -> list[list[Any]]:
    """The findings as plain lists."""
    return [[each.name, each.expected, each.actual, each.ok, each.observe] for each in findings]


def findings_from(document: Sequence[Sequence[Any]]) -> tuple[Finding, ...]:
    """The findings that `findings_document` made plain."""
    return tuple(Finding(name, expected, actual, Ok(ok), observe) for name, expected, actual, ok, observe in document)


def result_to_json(result: Result) -> str:
    """The result as one line of ASCII."""
    document: dict[str, Any] = {each.name: getattr(result, each.name) for each in fields(Result)}
    document["findings"] = findings_document(result.findings)
    document["evidence"] = [[each.name, each.media_type, each.sha256, each.size] for each in result.evidence]
    return exact(document)


def result_from_json(text: str) -> Result:
    """The result that `result_to_json` wrote; raises `ValueError`, `TypeError` or `LookupError` for anything else."""
    document = unpack(json.loads(text))
    document["status"] = Status(document["status"])
    document["findings"] = findings_from(document["findings"])
    document["evidence"] = tuple(Evidence(*each) for each in document["evidence"])
    return Result(**document)
