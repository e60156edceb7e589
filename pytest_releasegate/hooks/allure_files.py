"""Texts for Allure: a gate's description, and the files beside the results that say where, what and who has looked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_releasegate.hooks.session import GateSession
    from pytest_releasegate.model import Decision, Gate

__all__ = ["CATEGORIES", "categories", "described", "environment", "executor"]

CATEGORIES: list[dict[str, Any]] = [
    {"name": "Failed gates", "matchedStatuses": ["failed"]},
    {"name": "Could not look", "matchedStatuses": ["broken"], "messageRegex": r"^(error|missing)\b[\s\S]*$"},
    {"name": "Inconclusive", "matchedStatuses": ["broken"], "messageRegex": r"^inconclusive\b[\s\S]*$"},
    {"name": "Waiting for a person", "matchedStatuses": ["skipped"], "messageRegex": r"^pending\b[\s\S]*$"},
]
"""What Allure sorts the gates by that are not green; written so that Java and JavaScript read the patterns alike."""


def described(gate: Gate) -> str:
    """The gate as declared, as Markdown."""
    facts = {
        "declared at": f"{gate.place.file}:{gate.place.line}",
        "kind": gate.kind,
        "severity": gate.severity.value,
        "owner": gate.owner,
        "when": gate.when,
        "needs": ", ".join(gate.needs),
    }
    lines = [f"**{gate.id} {gate.title}**", ""] + [f"- {name}: `{value}`" for name, value in facts.items() if value]
    lines += ["- observed only, never decisive"] if gate.observe else []
    lines += ["- a failure asks for a rollback"] if gate.trigger else []
    if gate.parameters:
        shown = json.dumps(dict(gate.parameters), indent=2, ensure_ascii=False, default=str)
        lines += ["", "```json", shown, "```"]
    return "\n".join(lines)


def environment(session: GateSession, decision: Decision | None, path: Path) -> str:
    """The text of `environment.properties`, in the format of Java's property files.

    Of several targets, each adds its own after what the ones before it have written to the path.
    """
    release = session.release
    values = {
        "Product": release.product,
        "Release": release.name,
        "Environment": release.environment,
        "Base URL": session.identity.base_url or session.identity.environment.base_url,
        "Commit": release.git_commit,
        "Plan": f"{len(session.plan.gates)} gates, digest {session.plan.digest[:12]}",
        "Scope": session.expression or "a rehearsal, by path",
        "Record": session.store.shown_url if session.store and session.recorded else "",
        "Decision": decision.value if decision else "",
    }
    shown = {f"{name} {session.suffix}".strip(): value for name, value in values.items() if value}
    before = path.read_text("utf-8") if session.fleet[:1] not in {(), (release.environment,)} else ""
    return before + "".join(f"{_escaped(name, ' ')}={_escaped(value)}\n" for name, value in shown.items())


def executor(session: GateSession) -> str:
    """The text of `executor.json`: this run of this release."""
    name = f"{session.release.product} {session.release.name}"
    if session.fleet:
        name = f"{session.release.product} {session.release.version}/{','.join(session.fleet)}"
    run = f"run {session.run}" if session.run else "rehearsal"
    values: dict[str, Any] = {"name": "pytest-releasegate", "type": "releasegate"}
    values |= {"buildName": f"{name} {run}", "reportName": name}
    if session.run:
        values["buildOrder"] = session.run
    return json.dumps(values, indent=2)


def categories(path: Path) -> str:
    """The text of `categories.json`: ours, then what else the file at the path holds."""
    ours = {category["name"] for category in CATEGORIES}
    try:
        present = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        present = []
    others = [row for row in present if isinstance(row, dict) and row.get("name") not in ours]
    return json.dumps([*CATEGORIES, *others], indent=2)


def _escaped(text: str, also: str = "") -> str:
    special = "\\:=#!" + also
    return "".join(f"\\{letter}" if letter in special else letter for letter in " ".join(text.split()))
