"""Reads `policy.yaml`, `stakeholders.yaml` and `allowed_signers` into the rules of a plan, all problems at once."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from pytest_releasegate.checklist.nodes import Tree, read
from pytest_releasegate.checklist.rules_schema import PolicyFile, StakeholdersFile, clock, instant
from pytest_releasegate.checklist.validate import validate
from pytest_releasegate.errors import BrokenPlan, Problem
from pytest_releasegate.model import Place
from pytest_releasegate.policy import (
    BusinessHours,
    DerivedFact,
    Freeze,
    Grant,
    Person,
    Profile,
    Role,
    Rules,
    Selector,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_releasegate.checklist.environments import Environments
    from pytest_releasegate.checklist.loader import Declaration
    from pytest_releasegate.checklist.rules_schema import (
        FreezeKeys,
        GrantKeys,
        HoursKeys,
        ProfileKeys,
        SelectorKeys,
    )

__all__ = ["POLICY", "SIGNERS", "STAKEHOLDERS", "load"]

POLICY, STAKEHOLDERS, SIGNERS = "policy.yaml", "stakeholders.yaml", "allowed_signers"


def load(
    folder: Path,
    root: Path,
    problems: list[Problem],
    declarations: Sequence[Declaration],
    environments: Environments,
) -> Rules | None:
    """The rules of a gates folder, None where it has none of the files; what is wrong is added to the problems."""
    from pytest_releasegate.checklist.rules_lint import unsignable, wrong

    names = [name for name in (POLICY, STAKEHOLDERS, SIGNERS) if (folder / name).is_file()]
    if not names:
        gates = [declaration.gate for declaration in declarations]
        problems += unsignable(None, gates, _tree(folder, root, STAKEHOLDERS))
        return None
    trees = {name: _tree(folder, root, name) for name in (POLICY, STAKEHOLDERS)}
    said = _listed(trees[POLICY].value)
    policy = validate(PolicyFile, said, trees[POLICY], ()) if POLICY in names else PolicyFile()
    people = StakeholdersFile(roles={})
    if STAKEHOLDERS in names:
        people = validate(StakeholdersFile, trees[STAKEHOLDERS].value, trees[STAKEHOLDERS], ()) or people
    rules = _rules(policy or PolicyFile(), people, _signers(folder, root, problems))
    found = [problem for tree in trees.values() for problem in tree.problems]
    if not found:
        found += wrong(rules, trees[POLICY], trees[STAKEHOLDERS], declarations, environments)
    problems += found
    return rules


def _listed(value: Any) -> Any:
    """The document of a policy with its one set of business hours as a list of one."""
    hours = value.get("business_hours") if isinstance(value, dict) else None
    return {**value, "business_hours": [hours]} if isinstance(hours, dict) else value


def _tree(folder: Path, root: Path, name: str) -> Tree:
    path = folder / name
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    return read(path, shown) if path.is_file() else Tree(shown)


def _signers(folder: Path, root: Path, problems: list[Problem]) -> str:
    from pytest_releasegate.signatures.allowed_signers import parse

    path = folder / SIGNERS
    if not path.is_file():
        return ""
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        problems.append(Problem(Place(shown), f"cannot be read: {wrong}", "one line a key: PERSON KEYTYPE KEY"))
        return ""
    try:
        parse(text, shown)
    except BrokenPlan as broken:
        problems += broken.problems
    return text


def _rules(policy: PolicyFile, people: StakeholdersFile, signers: str) -> Rules:
    return Rules(
        waive=tuple(map(_grant, policy.waive)),
        attest=tuple(map(_grant, policy.attest)),
        sign=tuple(map(_grant, policy.sign)),
        declare=tuple(map(_grant, policy.declare)),
        signed=frozenset(policy.signed),
        authors_may_sign=policy.authors_may_sign,
        profiles={name: _profile(name, keys) for name, keys in policy.profiles.items()},
        freezes=tuple(map(_freeze, policy.freeze)),
        business_hours=tuple(map(_hours, policy.business_hours)),
        after=dict(policy.after),
        facts={name: DerivedFact(name=name, **keys.model_dump()) for name, keys in policy.facts.items()},
        roles={name: Role(name, keys.title, keys.people) for name, keys in people.roles.items()},
        people={name: Person(name, keys.name, keys.email, keys.phone) for name, keys in people.people.items()},
        signers=signers,
    )


def _any_of(keys: SelectorKeys) -> list[Selector]:
    """A selector for each way by which gates are named: what any of them names is meant."""
    every = (
        Selector(gates=keys.gates),
        Selector(severities=tuple(map(str, keys.severity))),
        Selector(kinds=keys.kinds),
        Selector(phases=tuple(map(str, keys.phases))),
    )
    return [one for one in every if one != Selector()]


def _grant(keys: GrantKeys) -> Grant:
    return Grant(
        gates=keys.gates,
        severities=tuple(map(str, keys.severity)),
        kinds=keys.kinds,
        phases=tuple(map(str, keys.phases)),
        roles=keys.roles,
        facts=keys.facts,
        for_at_most=keys.for_at_most,
    )


def _profile(name: str, keys: ProfileKeys) -> Profile:
    return Profile(
        name=name,
        must_hold=tuple(_any_of(keys.must_hold)),
        deferred_until=keys.deferred_until,
        approved_by=keys.approved_by,
        reason=keys.reason,
    )


def _freeze(keys: FreezeKeys) -> Freeze:
    return Freeze(
        start=instant(keys.start),
        end=instant(keys.end),
        reason=keys.reason,
        environments=keys.environments,
        except_profiles=keys.except_profiles,
    )


def _hours(keys: HoursKeys) -> BusinessHours:
    start, _, end = keys.hours.partition("-")
    return BusinessHours(
        zone=keys.zone,
        days=keys.days,
        start=clock(start),
        end=clock(end),
        country=keys.holidays.country,
        subdivision=keys.holidays.subdivision,
        dates=tuple(map(date.fromisoformat, keys.holidays.dates)),
        environments=keys.environments,
        except_profiles=keys.except_profiles,
    )
