"""Reads `environments.yaml`: the named targets of a product."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.nodes import read
from pytest_releasegate.checklist.schema import EnvironmentKeys, EnvironmentsFile
from pytest_releasegate.checklist.validate import validate
from pytest_releasegate.errors import Problem, nearest
from pytest_releasegate.model import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FILE", "Environments", "load"]

FILE = "environments.yaml"


@dataclass(frozen=True, slots=True)
class Environments:
    """The targets by name, the default one's name, and the product's name."""

    by_name: dict[str, Environment] = field(default_factory=dict)
    default: str = ""
    product: str = ""
    fleets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Short names for environments that are looked at together."""


def load(folder: Path, root: Path, problems: list[Problem]) -> Environments:
    """The environments of a gates folder; what is wrong is added to the problems. No file means no environments."""
    path = folder / FILE
    if not path.is_file():
        return Environments()
    tree = read(path, path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path))
    keys = validate(EnvironmentsFile, tree.value, tree, ()) if not tree.problems else None
    known = [*keys.environments, *keys.fleets] if keys else []
    if keys and keys.default and keys.default not in known:
        what = f"default: unknown environment '{keys.default}'"
        tree.problems.append(Problem(tree.place(("default",)), what, nearest(keys.default, known)))
    for name, *wrong in _wrong(keys) if keys else ():
        tree.problems.append(Problem(tree.place(("fleets", name)), *wrong))
    problems += tree.problems
    if not keys:
        return Environments()
    by_name = {name: _environment(name, target) for name, target in keys.environments.items()}
    return Environments(by_name, keys.default, keys.product, keys.fleets)


def _wrong(keys: EnvironmentsFile) -> Iterator[tuple[str, str, str]]:
    """What is wrong with fleets: the fleet's name, what, and a hint."""
    for name, members in keys.fleets.items():
        if name in keys.environments:
            yield name, f"fleet '{name}' has the name of an environment", "give it another"
        for member, times in Counter(members).items():
            if member not in keys.environments:
                yield name, f"fleet {name}: unknown environment '{member}'", nearest(member, list(keys.environments))
            elif times > 1:
                yield name, f"fleet {name}: '{member}' is named {times} times", "once is enough"


def _environment(name: str, keys: EnvironmentKeys) -> Environment:
    return Environment(
        name=name,
        base_url=keys.base_url,
        databases=keys.databases,
        metrics=keys.metrics,
        values=keys.values,
        protected=keys.protected,
        allow=keys.allow,
        watch=keys.watch,
        connections=keys.connections,
    )
