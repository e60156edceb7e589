"""Which claims count: not revoked, signed where they must be, by somebody who may say so, and not from the future."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from pytest_releasegate.claims import Attestation, Claims, Revocation, SignOff, Waiver, kind_of
from pytest_releasegate.policy import Action, Rules, objection
from pytest_releasegate.statuses import Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pytest_releasegate.claims import Claim
    from pytest_releasegate.model import Gate, Plan, PlannedGate, Release

__all__ = ["ATTESTABLE", "SKEW", "Counted", "count", "must_be_signed", "objection_to", "revokes"]

SKEW = timedelta(minutes=5)
"""How far the clocks of two machines may differ before a look or a word counts as one of the future."""

ATTESTABLE = frozenset({Status.PASSED, Status.FAILED, Status.NOT_APPLICABLE})
"""What a person may say of a gate."""

_ACTIONS: dict[type[Claim], Action] = {Attestation: "attest", Waiver: "waive", SignOff: "sign"}


@dataclass(frozen=True, slots=True)
class Counted:
    """The claims that count, and why the newest of the others does not, by its gate or role."""

    claims: Claims
    refused: Mapping[str, str] = field(default_factory=dict)

    def attestations(self, planned: PlannedGate) -> list[Attestation]:
        """The words on the gate as it is declared."""
        return [word for word in self.claims.attestations if _is_on(word, planned)]

    def waivers(self, planned: PlannedGate) -> list[Waiver]:
        """The waivers of the gate as it is declared."""
        return [waiver for waiver in self.claims.waivers if _is_on(waiver, planned)]

    def refusal(self, name: str) -> str:
        """Why the newest claim on the gate, or of the role, does not count; empty where none was refused."""
        return self.refused.get(name, "")


def count(claims: Claims, plan: Plan, release: Release, now: datetime) -> Counted:
    """Those of the claims that count at `now`, whatever their order."""
    said = [claim for claim in claims.all if claim.at <= now + SKEW]
    named = {claim.identity: claim for claim in said}
    revoked = {
        one.claim
        for one in said
        if isinstance(one, Revocation) and one.claim in named and revokes(one, named[one.claim], plan)
    }
    refused: dict[str, str] = {}
    good: list[Claim] = []
    for claim in sorted(said, key=lambda claim: (claim.at, claim.identity)):
        if claim.identity in revoked or isinstance(claim, Revocation) or not _is_bound(claim, release):
            continue
        if why := objection_to(claim, plan):
            refused[_about(claim)] = f"{claim.person}'s {kind_of(claim).replace('_', '-')} does not count: {why}"
        else:
            good.append(claim)
    return Counted(Claims.of(good), refused)


def objection_to(claim: Claim, plan: Plan) -> str:
    """Why a claim does not count under the rules that were frozen with the plan; empty when it does."""
    rules = plan.rules or Rules()
    if claim.flaw:
        return claim.flaw
    if must_be_signed(claim, plan) and not claim.key:
        return "it is not signed"
    if isinstance(claim, Revocation):
        return ""
    gate = _gate(claim, plan)
    if lacking := _lacks(claim, gate):
        return lacking
    if gate is None and not isinstance(claim, SignOff):
        return ""
    span = claim.expires_at - claim.at if isinstance(claim, Waiver) else None
    return objection(rules, _ACTIONS[type(claim)], claim.person, claim.role, gate, span=span)


def _lacks(claim: Claim, gate: Gate | None) -> str:
    """What the claim must hold and does not; a person's word that a gate failed counts as it is."""
    if isinstance(claim, Waiver) and not claim.reason.strip():
        return "it gives no reason"
    if not isinstance(claim, Attestation) or claim.status is Status.FAILED:
        return ""
    if claim.status not in ATTESTABLE:
        return f"nobody can say that a gate is {claim.status}"
    asked = gate.parameters.get("evidence") == "required" if gate else False
    return "the gate asks for evidence" if asked and not claim.evidence.strip() else ""


def _gate(claim: Claim, plan: Plan) -> Gate | None:
    """The gate that the claim is on; of a sign-off, the one that asks its role to sign its phase."""
    if isinstance(claim, SignOff):
        asked = (one.gate for one in plan.gates if one.gate.kind == "sign_off" and one.gate.phase is claim.phase)
        return next((gate for gate in asked if gate.parameters.get("role") == claim.role), None)
    planned = plan.by_id().get(claim.gate) if isinstance(claim, Attestation | Waiver) else None
    return planned.gate if planned else None


def must_be_signed(claim: Claim, plan: Plan) -> bool:
    """Whether the claim counts only with a signature: sign-offs, and what the policy names."""
    return isinstance(claim, SignOff) or kind_of(claim) in (plan.rules or Rules()).signed


def revokes(revocation: Revocation, claim: Claim, plan: Plan) -> bool:
    """Whether the word takes the other back: its own speaker's, or of one who may say such a thing.

    What counts only with a signature is taken back only by one.
    """
    if isinstance(claim, Revocation) or objection_to(revocation, plan):
        return False
    if must_be_signed(claim, plan) and not revocation.key:
        return False
    if revocation.person == claim.person:
        return True
    rules = plan.rules or Rules()
    return not objection(rules, _ACTIONS[type(claim)], revocation.person, revocation.role, _gate(claim, plan))


def _is_bound(claim: Claim, release: Release) -> bool:
    return not (isinstance(claim, Waiver) and claim.git_commit and claim.git_commit != release.git_commit)


def _is_on(claim: Attestation | Waiver, planned: PlannedGate) -> bool:
    return claim.gate == planned.gate.id and claim.gate_digest == planned.digest


def _about(claim: Claim) -> str:
    return claim.role if isinstance(claim, SignOff) else getattr(claim, "gate", "")
