"""Reads `environments.yaml`: the named targets of a product."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.nodes import read
from pytest_releasegate.checklist.schema import EnvironmentKeys, EnvironmentsFile
from pytest_releasegate.checklist.validate import validate
from pytest_releasegate.errors import Problem, nearest
from pytest_releasegate.model import Environment

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FILE", "Environments", "load"]

FILE = "environments.yaml"


@dataclass(frozen=True, slots=True)
class Environments:
    """The targets by name, the default one's name, and the product's name."""

    by_name: dict[str, Environment] = field(default_factory=dict)
    default: str = ""
    product: str = ""


def load(folder: Path, root: Path, problems: list[Problem]) -> Environments:
    """The environments of a gates folder; what is wrong is added to the problems. No file means no environments."""
    path = folder / FILE
    if not path.is_file():
        return Environments()
    tree = read(path, path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path))
    keys = validate(EnvironmentsFile, tree.value, tree, ()) if not tree.problems else None
    if keys and keys.default and keys.default not in keys.environments:
        what = f"default: unknown environment '{keys.default}'"
        tree.problems.append(Problem(tree.place(("default",)), what, nearest(keys.default, list(keys.environments))))
    problems += tree.problems
    if not keys:
        return Environments()
    by_name = {name: _environment(name, target) for name, target in keys.environments.items()}
    return Environments(by_name, keys.default, keys.product)


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
