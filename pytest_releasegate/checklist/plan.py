"""The frozen list of gates of a release, its digest, and what differs between two of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING

from pytest_releasegate.errors import BrokenPlan, Problem, nearest
from pytest_releasegate.model import Place, Plan, PlannedGate

if TYPE_CHECKING:
    from pytest_releasegate.checklist.loader import Checklist, Declaration
    from pytest_releasegate.checklist.python_gates import PythonGates
    from pytest_releasegate.model import Environment

__all__ = ["differences", "freeze"]


def freeze(checklist: Checklist, python: PythonGates, environment: str = "") -> Plan:
    """The plan of what is declared now for the named environment.

    Raises `BrokenPlan` where gates and Python tests do not match both ways.
    """
    problems = [*_unborne(checklist, python), *_nameless(checklist, python)]
    if not checklist.declarations:
        hint = "add a file such as gates/10-verification.yaml, with a phase and its items"
        problems.append(Problem(None, f"no gates in {checklist.folder.name}/", hint))
    if problems:
        raise BrokenPlan(problems)
    gates = tuple(_planned(declaration, python) for declaration in checklist.declarations)
    declared = checklist.environments.by_name.get(environment)
    target = _target(declared) if declared else ""
    rules = checklist.rules
    return Plan(gates, _digest(gates, target, rules.digest if rules else ""), target, rules)


def differences(old: Plan, new: Plan) -> list[str]:
    """What changed from one plan to another, a line each."""
    before, after = old.by_id(), new.by_id()
    lines = [f"- {name} {before[name].gate.title}" for name in before if name not in after]
    lines += [f"+ {name} {after[name].gate.title}" for name in after if name not in before]
    for name in before.keys() & after.keys():
        if before[name].digest != after[name].digest:
            lines.append(f"~ {name} {after[name].gate.title}: declared otherwise")
        elif changed := _cases(before[name].cases, after[name].cases):
            lines.append(f"~ {name} {after[name].gate.title}: {changed}")
    if old.target != new.target:
        lines.append("~ the environment: declared otherwise in environments.yaml")
    if old.rules != new.rules:
        lines.append("~ the policy or the stakeholders: declared otherwise; sign-offs given before are void")
    return sorted(lines, key=lambda line: line[2:])


def _cases(old: tuple[str, ...], new: tuple[str, ...]) -> str:
    """How the cases of a gate changed; empty where only their order did."""
    if sorted(old) == sorted(new):
        return ""
    if len(old) != len(new):
        return f"{len(old)} -> {len(new)} cases"
    changes = [f"+ {case}" for case in new if case not in old] + [f"- {case}" for case in old if case not in new]
    return f"other cases: {', '.join(changes[:6])}"


def _planned(declaration: Declaration, python: PythonGates) -> PlannedGate:
    cases = python.cases.get(declaration.gate.id, ()) if declaration.gate.kind == "test" else ()
    return PlannedGate(declaration.gate, declaration.digest, cases or ("",))


def _target(environment: Environment) -> str:
    declared = {
        **{name: getattr(environment, name) for name in ("name", "base_url", "metrics", "protected")},
        **{name: sorted(getattr(environment, name).items()) for name in ("databases", "values")},
        "allow": sorted(environment.allow),
        "watch": environment.watch.total_seconds() if environment.watch else None,
    }
    return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()


def _digest(gates: tuple[PlannedGate, ...], target: str, rules: str) -> str:
    lines = ["\0".join([planned.digest, *sorted(planned.cases)]) + "\n" for planned in gates]
    lines += [f"environment {target}\n"] if target else []
    lines += [f"rules {rules}\n"] if rules else []
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _unborne(checklist: Checklist, python: PythonGates) -> list[Problem]:
    """`test:` gates that no test bears, in files that could be imported."""
    found = []
    for gate in (declaration.gate for declaration in checklist.declarations):
        file = str(gate.parameters.get("file", ""))
        if gate.kind != "test" or file in python.broken:
            continue
        if gate.id not in python.cases:
            hint = f'mark one: @pytest.mark.gate("{gate.id}")'
            found.append(Problem(gate.place, f"gate {gate.id}: no test in {file} bears it", hint))
        elif python.files[gate.id] != (file,):
            where = " and ".join(sorted(python.files[gate.id]))
            found.append(Problem(gate.place, f"gate {gate.id}: expected its tests in {file} alone, got {where}"))
        found += [
            Problem(gate.place, f"gate {gate.id}: {count} of its tests are the same case '{case}'", "rename one")
            for case, count in Counter(python.cases.get(gate.id, ())).items()
            if count > 1
        ]
    return found


def _nameless(checklist: Checklist, python: PythonGates) -> list[Problem]:
    """Tests whose mark names no `test:` gate."""
    tests = [declaration.gate.id for declaration in checklist.declarations if declaration.gate.kind == "test"]
    problems = []
    for name in sorted(python.cases.keys() - set(tests)):
        declared = checklist.by_id.get(name)
        hint = nearest(name, tests)
        if declared:
            hint = f"{name} is looked at by `{declared.gate.kind}` ({declared.gate.place})"
        for file in sorted(python.files[name]):
            line = python.lines.get(f"{file}:{name}", 1)
            problems.append(Problem(Place(file, line), f'@pytest.mark.gate("{name}") names no `test:` gate', hint))
    return problems
