"""What is no mistake in a plan, and still not as it should be; one problem with its place for each."""

from __future__ import annotations

import ast
from itertools import product
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.conditions import parse
from pytest_releasegate.checks import kinds
from pytest_releasegate.errors import Problem
from pytest_releasegate.model import ASKS_PEOPLE, Place
from pytest_releasegate.policy import is_placeholder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_releasegate.model import Gate, Plan
    from pytest_releasegate.policy import Rules

__all__ = ["hints"]

_MOST_FACTS = 12
_SAYS = {"fail", "raises", "warns", "finding", "expect"}


def hints(plan: Plan, root: Path) -> list[Problem]:
    """Gates without an owner, words where a check exists, conditions that never vary, tests that assert nothing."""
    gates = [planned.gate for planned in plan.gates]
    found = [*_ownerless(gates), *_replaceable(gates), *_constant(gates), *_silent(gates, root)]
    found += _unnamed(plan.rules, gates)
    return sorted(found, key=lambda problem: (problem.place.file, problem.place.line) if problem.place else ("", 0))


def _ownerless(gates: list[Gate]) -> Iterator[Problem]:
    without: dict[str, list[Gate]] = {}
    for gate in gates:
        if not gate.owner:
            without.setdefault(gate.place.file, []).append(gate)
    for file, some in without.items():
        alone = len(some) == 1
        what = f"{some[0].id} has no owner" if alone else f"{len(some)} gates have no owner"
        yield Problem(some[0].place if alone else Place(file), what, "owner: in the file, its item or the gate")


def _unnamed(rules: Rules | None, gates: list[Gate]) -> Iterator[Problem]:
    """Roles that gates ask and that only a placeholder holds."""
    asked = {str(gate.parameters.get("role")) for gate in gates if gate.kind in ASKS_PEOPLE}
    for name, role in rules.roles.items() if rules else ():
        if name in asked and role.people and all(map(is_placeholder, role.people)):
            what = f"{name} is held by a placeholder, {role.people[0]}"
            yield Problem(Place("gates/stakeholders.yaml"), what, "name people by the addresses that git knows them by")


def _replaceable(gates: list[Gate]) -> Iterator[Problem]:
    for gate in gates:
        kind = gate.parameters.get("instead_of")
        if kind and kind in kinds():
            what = f"{gate.id} asks for a word, and the check '{kind}' exists"
            yield Problem(gate.place, what, f"declare `{kind}:` in place of `attest:`")
        elif kind:
            yield Problem(gate.place, f"{gate.id} asks for a word until there is a check '{kind}'")


def _constant(gates: list[Gate]) -> Iterator[Problem]:
    """Conditions that no facts, or all, satisfy."""
    for gate in gates:
        condition = parse(gate.when) if gate.when else None
        if condition is None or len(condition.names) > _MOST_FACTS:
            continue
        names = sorted(condition.names)
        worlds = (dict(zip(names, values, strict=True)) for values in product((False, True), repeat=len(names)))
        seen = {condition.holds(world.__getitem__) for world in worlds}
        if len(seen) == 1:
            always = "always" if seen.pop() else "never"
            yield Problem(gate.place, f"{gate.id}: `when: {gate.when}` {always} holds", "leave it out, or mend it")


def _silent(gates: list[Gate], root: Path) -> Iterator[Problem]:
    """Python gates of which no test asserts, raises or finds anything, nor calls anything that could."""
    for gate in gates:
        path = root / str(gate.parameters.get("file", ""))
        if gate.kind != "test" or not path.is_file():
            continue
        functions = [one for one in _functions(path) if _bears(one, gate.id)]
        for function in functions:
            if not any(map(_could_fail, ast.walk(function))):
                place = Place(gate.parameters["file"], function.lineno)
                yield Problem(place, f"{gate.id}: {function.name} asserts nothing", "assert what the gate's title says")


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _bears(function: ast.FunctionDef | ast.AsyncFunctionDef, gate: str) -> bool:
    calls = [one for one in function.decorator_list if isinstance(one, ast.Call)]
    return any(isinstance(arg, ast.Constant) and arg.value == gate for call in calls for arg in call.args)


def _could_fail(node: ast.AST) -> bool:
    """Whether a statement says something of its own, or hands on to a helper that may."""
    if isinstance(node, ast.Assert | ast.Raise | ast.With | ast.AsyncWith):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in _SAYS or isinstance(node.func, ast.Name)
