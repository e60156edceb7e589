"""What is wrong between the rules and the gates: names that nothing bears, roles that nobody can sign for."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pytest_releasegate.checks import kinds
from pytest_releasegate.errors import Problem, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_releasegate.checklist.environments import Environments
    from pytest_releasegate.checklist.loader import Declaration
    from pytest_releasegate.checklist.nodes import Route, Tree
    from pytest_releasegate.model import Gate, Phase
    from pytest_releasegate.policy import Rules, Selector

__all__ = ["unsignable", "wrong"]

_GRANTS = ("waive", "attest", "sign", "declare")


def wrong(
    rules: Rules, policy: Tree, people: Tree, declarations: Sequence[Declaration], environments: Environments
) -> list[Problem]:
    """Every problem, with its place in one of the two files."""
    gates = [declaration.gate for declaration in declarations]
    return [
        *_unknown_roles(rules, policy),
        *_unknown_people(rules, people),
        *_unknown_environments(rules, policy, environments),
        *_unknown_profiles(rules, policy),
        *_selections(rules, policy, gates),
        *_backward(rules, policy),
        *_circle(rules, policy),
        *unsignable(rules, gates, people),
        *_unapprovable(rules, policy, gates),
    ]


def unsignable(rules: Rules | None, gates: Sequence[Gate], people: Tree) -> Iterator[Problem]:
    """Sign-off gates whose role nobody holds, or whose holders all must sign for other roles of the phase."""
    asked: dict[Phase, dict[str, Gate]] = {}
    for gate in gates:
        if gate.kind == "sign_off":
            asked.setdefault(gate.phase, {})[str(gate.parameters.get("role"))] = gate
    holders = {name: role.people for name, role in rules.roles.items()} if rules else {}
    for roles in asked.values():
        for role, gate in roles.items():
            if not holders.get(role):
                hint = f"name them in {people.file}: roles: {{{role}: {{people: [NAME@COMPANY]}}}}"
                yield Problem(gate.place, f"gate {gate.id} asks a {role} to sign, and nobody holds that role", hint)
        held = {role: holders[role] for role in roles if holders.get(role)}
        if short := _without_signer(held):
            what = f"one person signs for one role, and that leaves nobody for {short}: {', '.join(holders[short])}"
            yield Problem(roles[short].place, what, f"give it another holder in {people.file}")


def _without_signer(holders: Mapping[str, Sequence[str]]) -> str:
    """A role for which no person is left when each signs once (bipartite matching by augmenting paths); else empty."""
    taken: dict[str, str] = {}

    def assign(role: str, seen: set[str]) -> bool:
        for person in holders[role]:
            if person not in seen:
                seen.add(person)
                if person not in taken or assign(taken[person], seen):
                    taken[person] = role
                    return True
        return False

    return next((role for role in holders if not assign(role, set())), "")


def _unknown_roles(rules: Rules, policy: Tree) -> Iterator[Problem]:
    known = list(rules.roles)
    named: list[tuple[Route, str]] = []
    for action in _GRANTS:
        for index, grant in enumerate(getattr(rules, action)):
            named += [((action, index, "roles", number), role) for number, role in enumerate(grant.roles)]
    for name, profile in rules.profiles.items():
        named += [(("profiles", name, "approved_by", number), role) for number, role in enumerate(profile.approved_by)]
    for route, role in named:
        if role not in known:
            hint = nearest(role, known) if known else "roles stand in stakeholders.yaml"
            yield Problem(policy.place(route), f"unknown role '{role}'", hint)


def _unknown_people(rules: Rules, people: Tree) -> Iterator[Problem]:
    """Holders of roles who are not among the people; where no people are listed, the addresses are enough."""
    known = list(rules.people)
    for name, role in rules.roles.items() if known else ():
        for number, person in enumerate(role.people):
            if person not in known:
                place = people.place(("roles", name, "people", number))
                yield Problem(place, f"{person} is not among the people", nearest(person, known))


def _unknown_environments(rules: Rules, policy: Tree, environments: Environments) -> Iterator[Problem]:
    known = list(environments.by_name)
    named: list[tuple[Route, str]] = [(("after", name), name) for name in rules.after]
    for name, earlier in rules.after.items():
        named += [(("after", name, number), one) for number, one in enumerate(earlier)]
    for index, freeze in enumerate(rules.freezes):
        named += [(("freeze", index, "environments", number), one) for number, one in enumerate(freeze.environments)]
    for index, hours in enumerate(rules.business_hours):
        start: Route = ("business_hours", index) if policy_lists(policy, "business_hours") else ("business_hours",)
        named += [((*start, "environments", number), one) for number, one in enumerate(hours.environments)]
    for route, name in named:
        if name not in known:
            hint = nearest(name, known) if known else "environments stand in environments.yaml"
            yield Problem(policy.place(route), f"unknown environment '{name}'", hint)


def policy_lists(policy: Tree, key: str) -> bool:
    """Whether the key of the file holds a list."""
    return isinstance(policy.value, dict) and isinstance(policy.value.get(key), list)


def _unknown_profiles(rules: Rules, policy: Tree) -> Iterator[Problem]:
    known = list(rules.profiles)
    named: list[tuple[Route, tuple[str, ...]]] = []
    named += [(("freeze", index), one.except_profiles) for index, one in enumerate(rules.freezes)]
    listed = policy_lists(policy, "business_hours")
    for index, hours in enumerate(rules.business_hours):
        named.append((("business_hours", index) if listed else ("business_hours",), hours.except_profiles))
    for start, names in named:
        for number, name in enumerate(names):
            if name not in known:
                hint = nearest(name, known) if known else "profiles stand in the same file"
                yield Problem(policy.place((*start, "except", number)), f"unknown profile '{name}'", hint)


def _selections(rules: Rules, policy: Tree, gates: Sequence[Gate]) -> Iterator[Problem]:
    """Patterns that name no gate, and kinds that are none."""
    some: list[tuple[Route, Selector]] = []
    for action in _GRANTS:
        some += [((action, index), grant) for index, grant in enumerate(getattr(rules, action))]
    for name, profile in rules.profiles.items():
        some += [(("profiles", name, "must_hold"), one) for one in profile.must_hold]
    for start, selector in some:
        for number, pattern in enumerate(selector.gates):
            if not any(fnmatchcase(gate.id, pattern) for gate in gates):
                hint = nearest(pattern, [gate.id for gate in gates])
                yield Problem(policy.place((*start, "gates", number)), f"'{pattern}' names no gate", hint)
        for number, kind in enumerate(selector.kinds):
            if kind not in kinds():
                place = policy.place((*start, "kinds", number))
                yield Problem(place, f"unknown check '{kind}'", nearest(kind, kinds()))


def _backward(rules: Rules, policy: Tree) -> Iterator[Problem]:
    for index, freeze in enumerate(rules.freezes):
        if freeze.end <= freeze.start:
            yield Problem(policy.place(("freeze", index, "until")), "the freeze ends before it begins", "swap them")


def _circle(rules: Rules, policy: Tree) -> Iterator[Problem]:
    for name in rules.after:
        seen, waiting = set(), list(rules.after[name])
        while waiting:
            one = waiting.pop()
            if one == name:
                what = f"{name} comes after itself"
                yield Problem(policy.place(("after", name)), what, "no environment waits for what waits for it")
                break
            if one not in seen:
                seen.add(one)
                waiting += rules.after.get(one, ())


def _unapprovable(rules: Rules, policy: Tree, gates: Sequence[Gate]) -> Iterator[Problem]:
    signing = {str(gate.parameters.get("role")) for gate in gates if gate.kind == "sign_off"}
    for name, profile in rules.profiles.items():
        for number, role in enumerate(profile.approved_by):
            if role in rules.roles and role not in signing:
                place = policy.place(("profiles", name, "approved_by", number))
                yield Problem(place, f"no gate asks a {role} to sign", "add one: sign_off: " + role)
