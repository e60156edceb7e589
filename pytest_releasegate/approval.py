"""Sign-offs: what a role signs, and whether its signature still stands for what the phase is now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.model import Decision, Phase, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_releasegate.counting import Counted
    from pytest_releasegate.model import Plan, PlannedGate, Release, SignOff
    from pytest_releasegate.policy import Rules
    from pytest_releasegate.standing import Standing

__all__ = ["Approval", "approvals", "is_barred_author", "role_of", "signers_of", "subject"]

_ASSURANCE = (Status.PASSED, Status.ATTESTED, Status.NOT_DUE, Status.NOT_APPLICABLE, Status.WAIVED)
"""From most to least that a status says was looked at; what is not here holds nothing."""
_MOST = 3


def subject(phase: Phase, standings: Mapping[str, Standing]) -> dict[str, tuple[str, ...]]:
    """What a sign-off of the phase is over: each gate but the sign-offs, its effective status, its live claims."""
    mine = [row for row in standings.values() if row.gate.phase is phase and row.gate.kind != "sign_off"]
    return {row.gate.id: (row.status.value, *row.live) for row in mine}


def signers_of(plan: Plan, release: Release) -> dict[str, PlannedGate]:
    """The sign-off gates that this release needs, by their ids; a profile names its own approvers."""
    gates = {planned.gate.id: planned for planned in plan.gates if planned.gate.kind == "sign_off"}
    profile = plan.rules.profiles.get(release.profile) if plan.rules and release.profile else None
    if profile is None:
        return gates
    return {name: planned for name, planned in gates.items() if role_of(planned) in profile.approved_by}


@dataclass(frozen=True, slots=True)
class Approval:
    """Where one sign-off gate stands, why, and by which signature."""

    status: Status
    reason: str
    sign_off: SignOff | None = None


def approvals(plan: Plan, standings: Mapping[str, Standing], claims: Counted, release: Release) -> dict[str, Approval]:
    """Where each sign-off gate stands, given where all others do; one person stands for one role of a phase."""
    needed, found = signers_of(plan, release), {}
    taken: dict[tuple[Phase, str], str] = {}
    for planned in (planned for planned in plan.gates if planned.gate.kind == "sign_off"):
        name, role = planned.gate.id, role_of(planned)
        if name not in needed:
            other = f"profile {release.profile} is approved by other roles"
            found[name] = Approval(Status.NOT_APPLICABLE, other)
            continue
        signed, why = _newest(planned, plan, standings, claims, release, taken)
        if signed and not why:
            taken[planned.gate.phase, signed.person.lower()] = role
            told = f"{signed.person} ({role}), {signed.at:%Y-%m-%d %H:%M} UTC, key {signed.key}"
            found[name] = Approval(Status.ATTESTED, told, signed)
        else:
            told = f"{why}; {role} must sign anew" if why else f"{role} must sign"
            found[name] = Approval(Status.PENDING, f"{told}: releasegate sign {role}", signed)
    return found


def role_of(planned: PlannedGate) -> str:
    """The role that a gate asks."""
    return str(planned.gate.parameters.get("role", ""))


def is_barred_author(rules: Rules | None, release: Release, person: str) -> bool:
    """Whether the person wrote part of the release, by any of their addresses, and the policy bars who did."""
    if rules is None or rules.authors_may_sign:
        return False
    known = rules.people.get(person)
    return bool({person.lower(), known.email.lower() if known else ""} & set(release.authors))


def _newest(
    planned: PlannedGate,
    plan: Plan,
    standings: Mapping[str, Standing],
    claims: Counted,
    release: Release,
    taken: Mapping[tuple[Phase, str], str],
) -> tuple[SignOff | None, str]:
    """The role's newest signature, and why it is void; the newest that is not void goes first."""
    gate, role = planned.gate, role_of(planned)
    mine = [one for one in claims.claims.sign_offs if (one.phase, one.role) == (gate.phase, role)]
    if release.deployed_at:
        mine = [one for one in mine if one.at <= release.deployed_at or gate.phase is not Phase.PREDEPLOY]
    why = claims.refusal(role)
    for signed in sorted(mine, key=lambda one: (one.at, one.identity), reverse=True):
        void = _void(signed, plan, standings, release) or _second(signed, taken)
        if not void:
            return signed, ""
        why = why or f"{signed.person}'s signature of {signed.at:%Y-%m-%d %H:%M} UTC is void: {void}"
    return (mine[-1] if mine else None), why


def _void(signed: SignOff, plan: Plan, standings: Mapping[str, Standing], release: Release) -> str:
    """What has changed since it was given, for the worse; empty while it stands."""
    rules = plan.rules
    if signed.plan_digest != plan.digest:
        return "the plan has changed since"
    if signed.policy_digest != (rules.digest if rules else ""):
        return "the policy has changed since"
    if signed.decision != Decision.GO:
        return f"it was given on {signed.decision}"
    if is_barred_author(rules, release, signed.person):
        return f"{signed.person} wrote part of this release"
    now = subject(signed.phase, standings)
    worse = [change for gate in now if (change := _worse(gate, signed.subject.get(gate, ()), now[gate]))]
    more = f" and {len(worse) - _MOST} more" if len(worse) > _MOST else ""
    return ", ".join(worse[:_MOST]) + more


def _worse(gate: str, was: Sequence[str], now: Sequence[str]) -> str:
    """How the gate is worse than it was signed: less looked at, or resting on a word that the signer did not see."""
    if not was:
        return f"{gate} was not in it"
    if _rank(now[0]) > _rank(was[0]):
        return f"{gate} was {was[0].replace('_', ' ')} and is {now[0].replace('_', ' ')}"
    if now[0] == was[0] and set(now[1:]) - set(was[1:]):
        return f"{gate} rests on another word than it did"
    return ""


def _rank(status: str) -> int:
    names = [each.value for each in _ASSURANCE]
    return names.index(status) if status in names else len(names)


def _second(signed: SignOff, taken: Mapping[tuple[Phase, str], str]) -> str:
    other = taken.get((signed.phase, signed.person.lower()))
    return f"{signed.person} has signed as {other} already" if other else ""
