"""Reads `gates/*.yaml` into a checklist, or raises every problem at once."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import rfc8785

from pytest_releasegate.checklist import conditions
from pytest_releasegate.checklist.environments import FILE as ENVIRONMENTS
from pytest_releasegate.checklist.environments import Environments
from pytest_releasegate.checklist.environments import load as load_environments
from pytest_releasegate.checklist.nodes import Tree, read
from pytest_releasegate.checklist.rules import POLICY, STAKEHOLDERS
from pytest_releasegate.checklist.rules import load as load_rules
from pytest_releasegate.checklist.schema import FileKeys, GateKeys, ItemKeys
from pytest_releasegate.checklist.validate import known_keys, validate
from pytest_releasegate.checks import kinds, load_kind
from pytest_releasegate.errors import BrokenPlan, Problem, nearest
from pytest_releasegate.model import STEPS, Gate, Item, Place, is_after_deployment
from pytest_releasegate.params import Parameters, format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from pathlib import Path

    from pytest_releasegate.checklist.nodes import Route
    from pytest_releasegate.policy import Rules

__all__ = ["Checklist", "Declaration", "across", "gate_files", "load", "read_gates", "without_gates"]

RESERVED = (ENVIRONMENTS, POLICY, STAKEHOLDERS)
"""Files of the gates folder that declare no gates."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A gate with the check that looks at it and the digest of what was declared."""

    gate: Gate
    check: Parameters
    digest: str
    timeout: timedelta | None = None
    together: bool = True
    """Whether it may look beside others; how it is looked at is no part of what is declared."""


@dataclass(frozen=True, slots=True)
class Checklist:
    """All that a gates folder declares."""

    folder: Path
    declarations: tuple[Declaration, ...]
    environments: Environments
    rules: Rules | None = None
    by_id: dict[str, Declaration] = field(default_factory=dict)

    @property
    def has_tests(self) -> bool:
        """Whether some gate is looked at by a Python test."""
        return any(declaration.gate.kind == "test" for declaration in self.declarations)

    @property
    def markers(self) -> frozenset[str]:
        """Every marker that some gate bears."""
        return frozenset().union(*(declaration.gate.markers for declaration in self.declarations))


def gate_files(folder: Path) -> list[Path]:
    """The files of a gates folder that declare gates, in the order of their names."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in inside if path.suffix in {".yaml", ".yml"} and path.name not in RESERVED)


def load(folder: Path, root: Path) -> Checklist:
    """Read the folder; raises `BrokenPlan` with all problems of all files."""
    problems: list[Problem] = []
    declarations: list[Declaration] = []
    ids: dict[str, Place] = {}
    for path in gate_files(folder):
        tree = read(path, _name(path, root))
        declarations += read_gates(tree, ids)
        problems += tree.problems
    problems += _overlooked(folder, root)
    environments = load_environments(folder, root, problems)
    rules = load_rules(folder, root, problems, declarations, environments)
    problems += across(declarations, root)
    if problems:
        raise BrokenPlan(problems)
    by_id = {declaration.gate.id: declaration for declaration in declarations}
    return Checklist(folder, tuple(declarations), environments, rules, by_id)


def without_gates(folder: Path, root: Path) -> Checklist:
    """The environments alone, for what no broken gate file may stop; raises `BrokenPlan` where they are wrong."""
    problems: list[Problem] = []
    environments = load_environments(folder, root, problems)
    if problems:
        raise BrokenPlan(problems)
    return Checklist(folder, (), environments)


def _overlooked(folder: Path, root: Path) -> list[Problem]:
    """Gates where nobody looks for them: in subfolders, and in files that declare something else."""
    found = []
    for path in sorted(folder.rglob("*.y*ml")):
        name = _name(path, root)
        if path.parent != folder:
            found.append(Problem(Place(name), "a gate file in a subfolder", f"move it into {_name(folder, root)}/"))
        elif path.name in RESERVED[1:] and re.search(r"^items:", path.read_text("utf-8", "replace"), re.MULTILINE):
            found.append(Problem(Place(name), f"gates in {path.name}", "move its items into a file of another name"))
    return found


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def read_gates(tree: Tree, ids: dict[str, Place]) -> list[Declaration]:
    """The gates of one document; what is wrong is added to the tree's problems, and the ids to those known so far."""
    if tree.problems and tree.value is None:
        return []
    keys = validate(FileKeys, tree.value, tree, ())
    items = tree.value.get("items") if isinstance(tree.value, dict) else None
    if not isinstance(items, list):
        return []
    reader = _Reader(tree, keys, ids)
    return [found for index, item in enumerate(items) for found in reader.item(item, ("items", index))]


class _Reader:
    """Reads the items of one file; goes on after a mistake, so that all of them are told."""

    def __init__(self, tree: Tree, file: FileKeys | None, ids: dict[str, Place]) -> None:
        self.tree = tree
        self.file = file
        self.ids = ids

    def item(self, value: Any, route: Route) -> list[Declaration]:
        keys = validate(ItemKeys, value, self.tree, route)
        gates = value.get("gates") if isinstance(value, dict) else None
        self.condition(value.get("when") if isinstance(value, dict) else "", route)
        listed = gates if isinstance(gates, list) else []
        found = [self.gate(gate, (*route, "gates", index), keys) for index, gate in enumerate(listed)]
        return [declaration for declaration in found if declaration]

    def gate(self, value: Any, route: Route, item: ItemKeys | None) -> Declaration | None:
        if not isinstance(value, dict):
            self.problem(self.tree.place(route), "expected a gate: a mapping with id, title and a check")
            return None
        self.unique(value.get("id"), self.tree.place((*route, "id")))
        self.condition(value.get("when"), route)
        own, kind = self.split(value, route)
        keys = validate(GateKeys, own, self.tree, route)
        check = self.check(kind, value[kind], (*route, kind)) if kind else None
        if not (self.file and item and keys and check):
            return None
        step = self.step(keys, item, route)
        if keys.due is not None and not is_after_deployment(self.file.phase, step):
            what = f"`due` counts from the deployment, and {self.file.phase} {step}".rstrip() + " is not after it"
            self.problem(self.tree.place((*route, "due")), what, "only deploy after, postdeploy, day1 and review are")
        gate = self.built(keys, item, check, self.tree.place(route), step)
        try:
            return Declaration(gate, check, _digest(gate), keys.timeout, keys.together)
        except rfc8785.CanonicalizationError as wrong:
            self.problem(self.tree.place((*route, kind)), f"a parameter cannot be kept: {wrong}", "quote large numbers")
            return None

    def unique(self, name: Any, place: Place) -> None:
        name = " ".join(name.split()) if isinstance(name, str) else name  # ids are stripped when they are read
        if isinstance(name, str) and name in self.ids:
            self.problem(place, f"gate id '{name}' is given twice", f"first at {self.ids[name]}")
        elif isinstance(name, str):
            self.ids[name] = place

    def split(self, value: dict[str, Any], route: Route) -> tuple[dict[str, Any], str]:
        """The gate's own keys, and the kind of its check; unknown keys become problems."""
        known = known_keys(GateKeys)
        own = {key: part for key, part in value.items() if key in known}
        rest = [key for key in value if key not in known]
        found = [key for key in rest if key in kinds()]
        unknown = [key for key in rest if key not in kinds()]
        for key in unknown:
            place = self.tree.place((*route, key), key=True)
            if found or nearest(key, list(known)).startswith("did"):
                self.problem(place, f"unknown key '{key}'", nearest(key, list(known)))
            else:
                self.problem(place, f"unknown check '{key}'", nearest(key, kinds()))
        if len(found) > 1:
            place = self.tree.place((*route, found[1]), key=True)
            self.problem(
                place, f"a second check '{found[1]}'", f"a gate has one check: make '{found[1]}' a gate of its own"
            )
        if not found and not unknown:
            self.problem(self.tree.place(route), "a gate without a check", f"name one: {', '.join(kinds())}")
        return own, found[0] if found else ""

    def check(self, kind: str, value: Any, route: Route) -> Parameters | None:
        try:
            model = load_kind(kind)
        except (ImportError, AttributeError) as wrong:
            self.problem(self.tree.place(route, key=True), f"check '{kind}' cannot be imported: {wrong}")
            return None
        shorthand = getattr(model, "shorthand", "")
        if shorthand and isinstance(value, str | int | float) and not isinstance(value, bool):
            self.tree.values[(*route, shorthand)] = self.tree.place(route)
            if route in self.tree.texts:
                self.tree.texts[(*route, shorthand)] = self.tree.texts[route]
            value = {shorthand: value}
        return validate(model, {} if value is None else value, self.tree, route)

    def built(self, keys: GateKeys, item: ItemKeys, check: Parameters, place: Place, step: str) -> Gate:
        file = self.file
        assert file is not None  # noqa: S101  the caller has looked
        return Gate(
            id=keys.id,
            title=keys.title,
            item=Item(item.item, item.title),
            phase=file.phase,
            step=step,
            severity=keys.severity or item.severity or file.severity,
            kind=str(getattr(type(check), "kind", "")),
            parameters=check.model_dump(mode="json", exclude_unset=True, by_alias=True),
            topics=tuple(dict.fromkeys((*file.topics, *item.topics, *keys.topics))),
            needs=keys.needs,
            when=f"({item.when}) and ({keys.when})" if item.when and keys.when else item.when or keys.when,
            valid_for=keys.valid_for,
            due=keys.due,
            trigger=keys.trigger,
            observe=keys.observe,
            alternatives=keys.alternatives,
            writes=keys.writes,
            owner=keys.owner or item.owner or file.owner,
            place=place,
        )

    def condition(self, text: Any, route: Route) -> None:
        try:
            if isinstance(text, str) and text:
                conditions.parse_facts(text)
        except ValueError as wrong:
            self.problem(self.tree.place((*route, "when")), f"`when`: {wrong}", "facts joined by and, or, not")

    def step(self, keys: GateKeys, item: ItemKeys, route: Route) -> str:
        """The step that the gate, else its item, else its file names."""
        file = self.file
        assert file is not None  # noqa: S101  the caller has looked
        named = ((keys.step, (*route, "step")), (item.step, (*route[:-2], "step")), (file.step, ("step",)))
        step, where = next((pair for pair in named if pair[0]), ("", route))
        self.known_step(file, step, self.tree.place(where))
        return step

    def known_step(self, file: FileKeys, step: str, place: Place) -> None:
        known = STEPS.get(file.phase, ())
        if known and step not in known:
            what = f"unknown step '{step}'" if step else "missing key 'step'"
            self.problem(place, f"{what} of phase {file.phase}", f"known: {', '.join(known)}")
        elif step and not known:
            self.problem(place, f"phase {file.phase} has no steps, got step '{step}'", "remove it")

    def problem(self, place: Place, what: str, hint: str = "") -> None:
        problem = Problem(place, what, hint)
        if problem not in self.tree.problems:
            self.tree.problems.append(problem)


def _digest(gate: Gate) -> str:
    """The digest of what was declared; place and owner are not part of it."""
    declared: dict[str, Any] = {
        "id": gate.id,
        "title": gate.title,
        "item": [gate.item.id, gate.item.title],
        "phase": gate.phase,
        "step": gate.step,
        "severity": gate.severity,
        "kind": gate.kind,
        "parameters": gate.parameters,
        "topics": list(gate.topics),
        "needs": list(gate.needs),
        "when": gate.when,
        "valid_for": format_duration(gate.valid_for) if gate.valid_for else "",
        "due": format_duration(gate.due) if gate.due else "",
        "trigger": gate.trigger,
        "observe": gate.observe,
        **({"writes": True} if gate.writes else {}),
        **({"alternatives": gate.alternatives} if gate.alternatives else {}),
    }
    return hashlib.sha256(rfc8785.dumps(declared)).hexdigest()


def across(declarations: Sequence[Declaration], root: Path) -> list[Problem]:
    """Problems between gates: needs that name nothing or go in a circle, test files that are not there."""
    problems: list[Problem] = []
    first: dict[str, Declaration] = {}
    for declaration in declarations:
        first.setdefault(declaration.gate.id, declaration)
    for gate in (declaration.gate for declaration in declarations):
        problems += [
            Problem(gate.place, f"gate {gate.id} needs '{need}', which is no gate", nearest(need, list(first)))
            for need in dict.fromkeys(gate.needs)
            if need not in first
        ]
        file = gate.parameters.get("file")
        if gate.kind == "test" and not os.path.isfile(root / str(file)):  # noqa: PTH113  for names of any length
            problems.append(Problem(gate.place, f"gate {gate.id}: no file '{file}'", "paths are relative to the root"))
    return problems + _circles(first)


def _circles(by_id: dict[str, Declaration]) -> list[Problem]:
    done: set[str] = set()
    problems: list[Problem] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            problems.append(Problem(by_id[name].gate.place, f"gates need each other in a circle: {circle}"))
        elif name in by_id and name not in done:
            for need in by_id[name].gate.needs:
                visit(need, (*path, name))
            done.add(name)

    for name in by_id:
        visit(name, ())
    return problems
