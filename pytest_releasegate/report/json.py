"""The release as JSON: every fact of the other reports, sorted, with a schema version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any

from pytest_releasegate.model import Place
from pytest_releasegate.params import format_duration

if TYPE_CHECKING:
    from pytest_releasegate.model import Result
    from pytest_releasegate.report.view import ReleaseView
    from pytest_releasegate.verdict import Standing, Verdict

__all__ = ["SCHEMA", "render"]

SCHEMA = "pytest-releasegate/release/1"
"""Name and version of the format; the number rises when a key is removed or changes its meaning."""


def render(view: ReleaseView) -> str:
    """The release as indented JSON with sorted keys; spans as `24h`, instants as ISO 8601 in UTC."""
    gates = [_gate(view, row) for row in view.standings.values()]
    facts = {
        "schema": SCHEMA,
        "at": view.now,
        "record": view.record,
        "release": _fields(view.release) | {"name": view.release.name},
        "plan": {"digest": view.plan.digest, "gates": len(view.plan.gates)},
        "phases": {phase.value: _verdict(verdict) for phase, verdict in view.phases.items()},
        "gates": gates,
        "runs": view.runs,
        "steps": view.steps,
        "claims": view.claims,
        "closed": sorted([phase.value, step] for phase, step in view.closed),
    }
    text = json.dumps(_plain(facts), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    # Half of a surrogate pair cannot be written as UTF-8; as an escape it is JSON all the same.
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "decision": verdict.decision,
        "label": verdict.label,
        "exit_code": verdict.exit_code.value,
        "gates": [row.gate.id for row in verdict.standings],
        "reasons": verdict.reasons,
    }


def _gate(view: ReleaseView, row: Standing) -> dict[str, Any]:
    return {
        "id": row.gate.id,
        "declaration": row.gate,
        "digest": row.planned.digest,
        "cases": row.planned.cases,
        "status": row.status,
        "raw": row.raw,
        "reason": row.reason,
        "attestation": row.attestation,
        "waiver": row.waiver,
        "sign_off": row.sign_off,
        "deferred": row.deferred,
        "attempts": [_attempt(result, row) for result in view.results if result.gate == row.gate.id],
    }


def _attempt(result: Result, row: Standing) -> dict[str, Any]:
    return _fields(result) | {"judged": result in row.results}


def _fields(row: Any) -> dict[str, Any]:
    return {part.name: getattr(row, part.name) for part in fields(row)}


def _plain(value: Any) -> Any:
    """What JSON can hold of a value; numbers that are none become their names."""
    if isinstance(value, Place):
        return str(value)
    if is_dataclass(value):
        return _plain(_fields(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)
