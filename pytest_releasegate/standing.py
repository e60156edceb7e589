"""Where each gate of a plan stands: from results and claims to a status, raw and effective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from pytest_releasegate.approval import approvals
from pytest_releasegate.checklist.conditions import parse
from pytest_releasegate.counting import SKEW, count
from pytest_releasegate.model import NEEDS_DEPLOYMENT, Phase, Status
from pytest_releasegate.policy import deferred

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from pytest_releasegate.approval import Approval
    from pytest_releasegate.counting import Counted
    from pytest_releasegate.model import Attestation, Claims, Gate, Plan, PlannedGate, Release, Result, SignOff, Waiver

__all__ = ["BEFORE_DEPLOYMENT", "HOLDS", "PRECEDENCE", "Standing", "prior", "stand"]

PRECEDENCE = (
    Status.FAILED,
    Status.ERROR,
    Status.INCONCLUSIVE,
    Status.MISSING,
    Status.PENDING,
    Status.WAIVED,
    Status.ATTESTED,
    Status.PASSED,
    Status.NOT_DUE,
    Status.NOT_APPLICABLE,
)
"""From worst to best: a gate's row is the worst of its cases."""

BEFORE_DEPLOYMENT = {(Phase.PREDEPLOY, ""), (Phase.DEPLOY, "before")}
"""The phases and steps whose gates have to hold when the release is deployed."""
_AFTER_DEPLOYMENT = {Phase.DEPLOY, Phase.POSTDEPLOY, Phase.DAY1, Phase.REVIEW}
HOLDS = frozenset({Status.PASSED, Status.ATTESTED, Status.WAIVED, Status.NOT_APPLICABLE, Status.NOT_DUE})
"""The statuses that stand in nobody's way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one gate of the plan stands now: effective status, the raw one under it, and why."""

    planned: PlannedGate
    status: Status
    raw: Status
    reason: str = ""
    results: tuple[Result, ...] = ()
    attestation: Attestation | None = None
    waiver: Waiver | None = None
    """What accepts the failure, or did until it expired."""
    sign_off: SignOff | None = None
    deferred: bool = False
    """Put off by the release's profile, and not yet answered."""

    @property
    def gate(self) -> Gate:
        """The gate as declared."""
        return self.planned.gate

    @property
    def live(self) -> tuple[str, ...]:
        """The identities of the claims that make the status what it is, sorted."""
        word = self.attestation if self.status in {self.raw, Status.ATTESTED, Status.WAIVED} else None
        waiver = self.waiver if self.status is Status.WAIVED else None
        return tuple(sorted(claim.identity for claim in (word, waiver) if claim))


def stand(
    plan: Plan, results: Iterable[Result], claims: Claims, release: Release, now: datetime
) -> dict[str, Standing]:
    """Where each gate of the plan stands; one row for each gate, whatever the record holds."""
    rows: dict[str, list[Result]] = {}
    for result in results:
        rows.setdefault(result.gate, []).append(result)
    counted = count(claims, plan, release, now)
    found = {
        planned.gate.id: _Gate(planned, plan, release, now).standing(rows.get(planned.gate.id, []), counted)
        for planned in plan.gates
        if planned.gate.kind != "sign_off"
    }
    signed = approvals(plan, found, counted, release)
    return {planned.gate.id: found.get(planned.gate.id) or _signed(planned, signed) for planned in plan.gates}


def _signed(planned: PlannedGate, signed: Mapping[str, Approval]) -> Standing:
    mine = signed[planned.gate.id]
    return Standing(planned=planned, status=mine.status, raw=mine.status, reason=mine.reason, sign_off=mine.sign_off)


def prior(gate: Gate, release: Release, now: datetime) -> tuple[Status, str] | None:
    """What is known of a gate before anybody looks: not applicable, pending a fact, not due; else None."""
    if gate.when:
        condition = parse(gate.when)
        unknown = sorted(condition.names - set(release.known_facts))
        if unknown:
            facts = ", ".join(f"`{name}`" for name in unknown)
            return Status.PENDING, f"fact {facts} is not declared: releasegate fact {unknown[0]}=true|false"
        if not condition.holds(lambda name: release.known_facts[name]):
            return Status.NOT_APPLICABLE, f"not `{gate.when}`"
    if gate.due is not None:
        if release.deployed_at is None:
            return Status.NOT_DUE, "counts from the deployment, which is not recorded"
        due = release.deployed_at + gate.due
        if now < due:
            return Status.NOT_DUE, f"due {due:%Y-%m-%d %H:%M} UTC"
    return None


class _Gate:
    """One gate of a plan, judged at an instant."""

    def __init__(self, planned: PlannedGate, plan: Plan, release: Release, now: datetime) -> None:
        self.planned = planned
        self.gate = planned.gate
        self.release = release
        self.now = now
        self.put_off = deferred(plan.rules, release.profile, planned.gate) if plan.rules else None
        self.unseen: tuple[Status, str] | None = None
        self.failed = False

    def standing(self, rows: list[Result], claims: Counted) -> Standing:
        """Its status by its results and by what was said of it."""
        known = prior(self.gate, self.release, self.now)
        if known:
            return Standing(planned=self.planned, status=known[0], raw=known[0], reason=known[1])
        judged = self._attested(claims) if self.gate.kind == "attest" else self._looked_at(rows)
        return self._deferred(self._waived(judged, claims))

    def _attested(self, claims: Counted) -> Standing:
        words = [word for word in claims.attestations(self.planned) if self._in_time(word.at)]
        if not words:
            role = self.gate.parameters.get("role", "a person")
            said = f"{claims.refusal(self.gate.id)}; " if claims.refusal(self.gate.id) else ""
            reason = f"{said}{role} must say: releasegate attest {self.gate.id} --status passed"
            return Standing(planned=self.planned, status=Status.PENDING, raw=Status.PENDING, reason=reason)
        word = max(words, key=lambda word: (word.at, -PRECEDENCE.index(word.status), word.identity))
        if self._is_over(word):
            reason = f"{word.person}'s word of {word.at:%Y-%m-%d} has expired"
            return Standing(
                planned=self.planned, status=Status.PENDING, raw=word.status, reason=reason, attestation=word
            )
        status = Status.ATTESTED if word.status is Status.PASSED else word.status
        reason = f"{word.person} ({word.role}), {word.at:%Y-%m-%d %H:%M} UTC"
        return Standing(planned=self.planned, status=status, raw=word.status, reason=reason, attestation=word)

    def _is_over(self, word: Attestation) -> bool:
        span = _span(self.gate.parameters.get("valid_for")) or self.gate.valid_for
        ends = [end for end in (word.expires_at, word.at + span if span else None) if end]
        return bool(ends) and min(ends) < self._moment()

    def _looked_at(self, rows: list[Result]) -> Standing:
        mine = [row for row in rows if row.gate_digest == self.planned.digest and row.started_at <= self.now + SKEW]
        valid = [row for row in mine if self._in_time(self._told_at(row))]
        names = dict.fromkeys(row.case for row in valid)
        latest = {case: _newest([row for row in valid if row.case == case]) for case in names}
        certain = [row for row in valid if row.status in {Status.PASSED, Status.FAILED}]
        told = [_newest([row for row in certain if row.case == case]) for case in {row.case for row in certain}]
        self.failed = any(row.status is Status.FAILED for row in told)
        cases = [self._case(latest.get(case), rows) for case in self.planned.cases]
        extra = [(row.status, _told(row), row) for case, row in latest.items() if case not in self.planned.cases]
        status, reason, worst = min((*cases, *extra), key=lambda case: PRECEDENCE.index(case[0]))
        open_ = [(state, why) for state, why, _ in (*cases, *extra) if state not in {*HOLDS, Status.FAILED}]
        self.unseen = min(open_, key=lambda case: PRECEDENCE.index(case[0]), default=None)
        seen = tuple(row for _, _, row in (*cases, *extra) if row)
        raw = worst.status if worst else status
        return Standing(planned=self.planned, status=status, raw=raw, reason=reason, results=seen)

    def _case(self, row: Result | None, rows: Sequence[Result]) -> tuple[Status, str, Result | None]:
        if row is None:
            return Status.MISSING, self._unlooked(rows), None
        span = self.gate.valid_for
        if row.status is Status.PASSED and span and row.started_at + span < self._moment():
            return Status.MISSING, f"stale: passed {row.started_at:%Y-%m-%d %H:%M} UTC, valid for {span}", row
        return row.status, _told(row), row

    def _unlooked(self, rows: Sequence[Result]) -> str:
        """Why none of the looks counts."""
        own = [row for row in rows if row.gate_digest == self.planned.digest]
        if not own:
            return "looked at, but not as declared now" if rows else "not looked at"
        if any(self._in_time(self._told_at(row)) for row in own):
            return "looked at, but not as declared now or not at its time"
        if self._must_hold_by is not None:
            return "looked at only after the deployment, before which it had to hold"
        if self.gate.due is not None:
            return "looked at only before it was due"
        return "looked at only before the deployment, after which it has to hold"

    def _waived(self, row: Standing, claims: Counted) -> Standing:
        """The failure with what accepts it; a waiver that does not count, or no longer, is told beside it."""
        if row.status is not Status.FAILED:
            return row
        every = claims.waivers(self.planned)
        waivers = [each for each in every if self._is_early_enough(each.at)]
        waiver = max(waivers, key=lambda each: (each.expires_at, each.at, each.identity), default=None)
        if waiver is None:
            late = f"{every[-1].person}'s waiver came after the deployment" if every else ""
            refused = claims.refusal(self.gate.id) or late
            return replace(row, reason=f"{row.reason} ({refused})") if refused else row
        if waiver.expires_at <= self._moment():
            over = f"{waiver.person}'s waiver expired {waiver.expires_at:%Y-%m-%d %H:%M} UTC"
            return replace(row, reason=f"{row.reason} ({over})" if row.reason else over, waiver=waiver)
        if self.unseen:
            reason = f"a case is {self.unseen[0]}: {self.unseen[1]}; {waiver.person} accepts those that failed alone"
            return replace(row, status=self.unseen[0], raw=Status.FAILED, reason=reason, waiver=waiver)
        until = f"{waiver.expires_at:%Y-%m-%d %H:%M} UTC"
        accepted = f"{waiver.person} ({waiver.role}) until {until}: {waiver.reason}"
        reason = f"{accepted}; it failed: {row.reason}" if row.reason else accepted
        return replace(row, status=Status.WAIVED, raw=Status.FAILED, reason=reason, waiver=waiver)

    def _deferred(self, row: Standing) -> Standing:
        """The gate as not due where the release's profile puts it off; a failure is never put off.

        A look that could not tell takes back no failure before it.
        """
        if self.put_off is None or row.status in HOLDS or row.raw is Status.FAILED or self.failed:
            return row
        deployed = self.release.deployed_at
        if deployed and self.now >= deployed + self.put_off:
            return replace(row, reason=f"put off until {deployed + self.put_off:%Y-%m-%d %H:%M} UTC; {row.reason}")
        when = f"{deployed + self.put_off:%Y-%m-%d %H:%M} UTC" if deployed else f"{self.put_off} after the deployment"
        reason = f"put off by profile {self.release.profile} until {when}"
        return replace(row, status=Status.NOT_DUE, reason=reason, deferred=True)

    def _in_time(self, at: datetime) -> bool:
        """Whether a look or a word was on the side of the deployment that the gate speaks of."""
        gate, deployed = self.gate, self.release.deployed_at
        if deployed is None:
            return gate.phase not in NEEDS_DEPLOYMENT
        if gate.due is not None and at < deployed + gate.due:
            return False
        if self._must_hold_by is not None:
            return self._is_early_enough(at)
        return (gate.phase, gate.step) in BEFORE_DEPLOYMENT or gate.phase not in _AFTER_DEPLOYMENT or at >= deployed

    def _told_at(self, row: Result) -> datetime:
        """The instant that a look speaks of: a version that was waited for was seen when the look ended."""
        waited = row.seconds if self.gate.kind == "version" and row.status is Status.PASSED and row.seconds > 0 else 0.0
        return row.started_at + timedelta(seconds=waited)

    @property
    def _must_hold_by(self) -> datetime | None:
        """The deployment, where the gate had to hold by then."""
        early = (self.gate.phase, self.gate.step) in BEFORE_DEPLOYMENT and self.put_off is None
        return self.release.deployed_at if early else None

    def _is_early_enough(self, at: datetime) -> bool:
        """Whether a word or a look was not too late for when the gate had to hold."""
        return self._must_hold_by is None or at <= self._must_hold_by

    def _moment(self) -> datetime:
        """The instant at which validity is asked: what came before the deployment had to hold then, not for ever."""
        return min(self.now, self._must_hold_by or self.now)


def _newest(rows: Sequence[Result]) -> Result:
    """The newest look; where the record's order and the clocks disagree on which that is, the worse of the two."""
    by_entry = max(enumerate(rows), key=lambda pair: (pair[1].id, pair[0]))[1]
    by_clock = max(enumerate(rows), key=lambda pair: (pair[1].started_at, pair[0]))[1]
    return min(by_entry, by_clock, key=lambda row: PRECEDENCE.index(row.status))


def _told(row: Result) -> str:
    """The sentence of a result: its message, else its findings that are not as expected."""
    wrong = [str(finding) for finding in row.findings if finding.ok != "yes" and not finding.observe]
    return row.message.splitlines()[0] if row.message else "; ".join(wrong[:3])


def _span(text: object) -> timedelta | None:
    from pytest_releasegate.params import parse_duration

    return parse_duration(text) if text else None
