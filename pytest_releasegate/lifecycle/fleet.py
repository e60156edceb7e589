"""Which environments a command means together: a list of names, or a fleet of environments.yaml."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from pytest_releasegate.errors import BrokenPlan, Problem, UsageProblem, nearest
from pytest_releasegate.lifecycle.identify import identify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from pytest_releasegate.checklist.environments import Environments
    from pytest_releasegate.lifecycle.identify import Asked, Identity

__all__ = ["Named", "each", "identities", "is_several", "targets"]

_Thing = TypeVar("_Thing")
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Named:
    """The environments that are meant together, in the order in which they were named, and what says so."""

    names: tuple[str, ...]
    source: str


def identities(root: Path, known: Environments, asked: Asked) -> list[Identity]:
    """What is meant, once for each target; raises `UsageProblem` with all that is wrong."""
    named = targets(known, asked)
    if named is None:
        return [identify(root, known, asked)]
    alone = [replace(asked, environment=name, base_url="") for name in named.names]
    found = each(lambda one: identify(root, known, one), alone)
    return [replace(identity, environment_from=named.source) for identity in found]


def targets(known: Environments, asked: Asked, variables: Mapping[str, str] | None = None) -> Named | None:
    """The environments that are meant together; None where one is meant, or nothing is said.

    Raises `UsageProblem` with all that is wrong with the names.
    """
    variables = os.environ if variables is None else variables
    choices = (
        (asked.environment, "--env"),
        (asked.base_url, f"--base-url={asked.base_url}"),
        (variables.get("RELEASEGATE_ENV", ""), "RELEASEGATE_ENV"),
        (asked.ini_environment, "ini releasegate_env"),
        (known.default, "default in environments.yaml"),
    )
    value, source = next(((value, source) for value, source in choices if value), ("", ""))
    if not (is_several(known, value) or (asked.environment and is_several(known, asked.base_url))):
        return None
    names = _parts(known, value)
    problems = [*_wrong(known, names, source), *_contradiction(known, asked)]
    if problems:
        raise BrokenPlan(problems)
    return Named(tuple(names), source)


def is_several(known: Environments, value: str) -> bool:
    """Whether a name stands for several environments: a list, or a fleet; a URL may hold commas of its own."""
    first, *others = value.split(",")
    if "://" not in first:
        return bool(others) or value in known.fleets
    return any("://" in part or part in known.by_name or part in known.fleets for part in others)


def each(do: Callable[[_Thing], _Made], things: Iterable[_Thing]) -> list[_Made]:
    """What becomes of each thing; raises `UsageProblem` with what is wrong with any of them."""
    made: list[_Made] = []
    problems: list[Problem] = []
    for thing in things:
        try:
            made.append(do(thing))
        except UsageProblem as wrong:
            problems += wrong.problems
    if problems:
        raise BrokenPlan(dict.fromkeys(problems))
    return made


def _parts(known: Environments, value: str) -> list[str]:
    parts = [part.strip() for part in value.split(",")]
    return [name for part in parts for name in known.fleets.get(part, (part,))]


def _wrong(known: Environments, names: list[str], source: str) -> list[Problem]:
    found = []
    for name, times in Counter(names).items():
        if not name:
            found.append(Problem(None, f"{source}: a name is missing beside a comma", "such as prod-eu,prod-us"))
        elif "://" in name:
            what = f"{source}: {name} is a URL, and targets that are looked at together are named"
            found.append(Problem(None, what, "declare an environment for it"))
        elif name not in known.by_name:
            hint = nearest(name, [*known.by_name, *known.fleets])
            found.append(Problem(None, f"{source}: unknown environment '{name}'", hint))
        elif times > 1:
            found.append(Problem(None, f"{source}: '{name}' is named {times} times", "once is enough"))
    return found


def _contradiction(known: Environments, asked: Asked) -> list[Problem]:
    """Where --env and --base-url do not mean the same environments."""
    if not (asked.environment and asked.base_url):
        return []
    if set(_parts(known, asked.environment)) == set(_parts(known, asked.base_url)):
        return []
    what = f"--env names '{asked.environment}', --base-url names '{asked.base_url}'"
    return [Problem(None, f"two sets of environments are named: {what}", "name one of them")]
