"""Gates that Python tests declare themselves: by keywords of `@pytest.mark.gate`, or by a bare marker of a phase."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_releasegate.checklist.loader import across, read_gates
from pytest_releasegate.checklist.nodes import Tree
from pytest_releasegate.errors import BrokenPlan, Problem
from pytest_releasegate.model import Phase, Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_releasegate.checklist.loader import Checklist
    from pytest_releasegate.checklist.python_gates import PythonGates

__all__ = ["with_marked"]

_MARKED = re.compile(rf"\bmark\.(gate|{'|'.join(Phase)})\b")


def with_marked(checklist: Checklist, python: PythonGates, root: Path) -> Checklist:
    """The checklist with the gates that tests declare; raises `BrokenPlan` with all that is wrong with them."""
    problems = list(_unknown(checklist, python, root))
    ids = {declaration.gate.id: declaration.gate.place for declaration in checklist.declarations}
    found = []
    for name, (first, *others) in python.declared.items():
        place = Place(first["file"], first["line"])
        problems += [
            Problem(Place(other["file"], other["line"]), f"gate {name} is declared otherwise", f"first at {place}")
            for other in others
        ]
        tree = Tree(first["file"], _document(name, first["file"], dict(first["keys"])), {(): place})
        found += read_gates(tree, ids)
        problems += tree.problems
    whole = (*checklist.declarations, *found)
    problems += across(whole, root) if found else []
    if problems:
        raise BrokenPlan(problems)
    return replace(checklist, declarations=whole, by_id={one.gate.id: one for one in whole})


def _unknown(checklist: Checklist, python: PythonGates, root: Path) -> Iterator[Problem]:
    """Modules that cannot be imported and may declare gates of their own."""
    named = {declaration.gate.parameters.get("file") for declaration in checklist.declarations}
    for file in python.broken.keys() - named:
        if (root / file).is_file() and _MARKED.search((root / file).read_text("utf-8", "replace")):
            what = "cannot be imported, so that nobody knows which gates it declares"
            yield Problem(Place(file), what, python.broken[file])


def _document(name: str, file: str, keys: dict[str, Any]) -> dict[str, Any]:
    """What a gate file would say of it."""
    item = {"item": keys.pop("item"), "title": keys.pop("item_title")}
    phase = {key: keys.pop(key) for key in ("phase",) if key in keys}
    return {**phase, "items": [{**item, "gates": [{"id": name, **keys, "test": file}]}]}
