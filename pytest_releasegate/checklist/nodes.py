"""YAML read as a tree with places: repeated keys refused, scalars typed by the YAML 1.2 core schema."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isinf
from typing import TYPE_CHECKING, Any

import yaml

from pytest_releasegate.errors import Problem
from pytest_releasegate.model import Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Route", "Tree", "parse", "read"]

Route = tuple[str | int, ...]
"""The keys and indexes that lead to a value."""

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_NODES = 200_000
_DEEPEST = 60
_TOO_DEEP = f"more than {_DEEPEST} levels of lists and mappings in each other"
_UNTAGGED: Any = yaml.resolver.Resolver()
_SCALARS: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"null|Null|NULL|~|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]{1,40}"), int),
    (re.compile(r"0o[0-7]{1,40}"), lambda text: int(text, 0)),
    (re.compile(r"0x[0-9a-fA-F]{1,40}"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
)
"""The core schema of the YAML 1.2.2 specification, section 10.3.2 (`.inf` and `.nan` left out)."""


@dataclass
class Tree:
    """A YAML document: its plain value, and the place of each key and value by route."""

    file: str
    value: Any = None
    values: dict[Route, Place] = field(default_factory=dict)
    keys: dict[Route, Place] = field(default_factory=dict)
    texts: dict[Route, str] = field(default_factory=dict)
    """What stood in the file for each scalar that is no text."""
    problems: list[Problem] = field(default_factory=list)

    def place(self, route: Route, *, key: bool = False) -> Place:
        """The place of the value (or of its key) at the route, or of the nearest thing around it."""
        for end in range(len(route), -1, -1):
            found = (self.keys if key else self.values).get(route[:end]) or self.values.get(route[:end])
            if found:
                return found
        return Place(self.file)


def read(path: Path, name: str) -> Tree:
    """Read one YAML file, known to users under `name`; every mistake is in `problems`, none is raised."""
    try:
        text = path.read_text(encoding="utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as wrong:
        what = f"not UTF-8 text: byte {wrong.start} is {wrong.object[wrong.start]:#x}"
        return Tree(name, problems=[Problem(Place(name), what)])
    except OSError as wrong:
        return Tree(name, problems=[Problem(Place(name), f"cannot be read: {wrong.strerror}")])
    return parse(text, name)


def parse(text: str, name: str) -> Tree:
    """The text of a YAML file as a tree; every mistake is in `problems`, none is raised."""
    tree = Tree(name)
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as wrong:
        tree.problems.append(_syntax(name, wrong, text))
    except yaml.YAMLError as wrong:
        tree.problems.append(Problem(Place(name), f"not YAML: {str(wrong).splitlines()[0]}"))
    else:
        if node is not None:
            tree.value = _Builder(tree).build(node, ())
    return tree


def _compose(text: str) -> Any:
    """The root node; nesting is bounded first, because libyaml's composer ends the process when it is too deep."""
    depth = 0
    event: Any
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=event.start_mark)
    return yaml.compose(text, Loader=_LOADER)


def _syntax(name: str, wrong: yaml.MarkedYAMLError, text: str) -> Problem:
    mark = wrong.problem_mark or wrong.context_mark
    place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name)
    here = "".join(text.splitlines()[mark.line : mark.line + 1])[mark.column :] if mark else ""
    hint = "a tab cannot indent YAML: use spaces" if here.startswith("\t") else (wrong.context or "")
    # libyaml reads ahead, and newer ones have a bound of their own that they meet first
    if "nesting depth" in str(wrong.problem):
        return Problem(place, f"not YAML: {_TOO_DEEP}")
    return Problem(place, f"not YAML: {str(wrong.problem).removeprefix('but ')}", hint)


class _Builder:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.open: set[int] = set()
        self.count = 0

    def build(self, node: Any, route: Route) -> Any:
        place = self._place(node)
        self.tree.values.setdefault(route, place)
        self.count += 1
        if id(node) in self.open or self.count > _MOST_NODES:
            self._endless(place)
            return None
        self.open.add(id(node))
        try:
            return self._value(node, route, place)
        finally:
            self.open.discard(id(node))

    def _value(self, node: Any, route: Route, place: Place) -> Any:
        if node.tag != _untagged(node):
            self._problem(place, f"tag '{node.tag}'", "tags are not used here: remove it; quote what is to be text")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, route)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*route, index)) for index, child in enumerate(node.value)]
        return self._scalar(node, route)

    def _scalar(self, node: Any, route: Route) -> Any:
        if node.style:
            return node.value
        for pattern, convert in _SCALARS:
            if pattern.fullmatch(node.value):
                value = convert(node.value)
                if isinstance(value, float) and isinf(value):
                    self._problem(self._place(node), f"number '{node.value}' is too large", "quote it if it is text")
                self.tree.texts[route] = node.value
                return value
        return node.value

    def _mapping(self, node: Any, route: Route) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(place, "a key must be text", "quote it, or check the indentation")
                continue
            key = key_node.value
            if key == "<<":
                self._problem(place, "merge keys (<<) are not part of YAML 1.2", "write the keys out")
            elif key in result:
                first = self.tree.keys[(*route, key)]
                self._problem(place, f"key '{key}' is given twice", f"first at {first}")
            else:
                self.tree.keys[(*route, key)] = place
                result[key] = self.build(value_node, (*route, key))
        return result

    def _endless(self, place: Place) -> None:
        what = "an alias that contains itself, or a document that unfolds without end"
        if not any(problem.what == what for problem in self.tree.problems):
            self._problem(place, what, "write it out")

    def _place(self, node: Any) -> Place:
        return Place(self.tree.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def _problem(self, place: Place, what: str, hint: str = "") -> None:
        self.tree.problems.append(Problem(place, what, hint))


def _untagged(node: Any) -> str:
    """The tag that the node has when the file gives it none."""
    if not isinstance(node, yaml.ScalarNode):
        return str(_UNTAGGED.resolve(type(node), None, (True, False)))
    return str(_UNTAGGED.resolve(yaml.ScalarNode, node.value, (not node.style, bool(node.style))))
