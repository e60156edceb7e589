"""From plan, results and claims to a decision; iterates the plan, never the results."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.conditions import parse
from pytest_releasegate.checklist.derived import contradictions
from pytest_releasegate.errors import ExitCode
from pytest_releasegate.model import (
    NEEDS_DEPLOYMENT,
    PREDECESSORS,
    STEPS,
    Decision,
    Phase,
    Severity,
    Status,
    is_after_deployment,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from pytest_releasegate.model import Attestation, Gate, Plan, PlannedGate, Release, Result, StepEvent

__all__ = [
    "EXIT_CODES",
    "HOLDS",
    "UNDEPLOYED",
    "Reason",
    "Standing",
    "Verdict",
    "closed_steps",
    "decide",
    "due_steps",
    "phase_verdict",
    "stand",
]

EXIT_CODES = {
    Decision.GO: ExitCode.GO,
    Decision.HOLD: ExitCode.HOLD,
    Decision.NO_GO: ExitCode.NO_GO,
    Decision.ROLLBACK: ExitCode.ROLLBACK,
}
"""What the process ends with for each decision."""

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

_GROUPS: dict[Phase, tuple[tuple[str, ...], ...]] = {
    Phase.DEPLOY: (("before",), ("migrate", "after")),
    Phase.ROLLBACK: (("decide",), ("execute",), ("verify",)),
    Phase.BACKFILL: (("before",), ("during",), ("after",)),
}
"""Steps between which a person acts; the steps of one group run together."""

_BEFORE_DEPLOYMENT = {(Phase.PREDEPLOY, ""), (Phase.DEPLOY, "before")}
_AFTER_DEPLOYMENT = {Phase.DEPLOY, Phase.POSTDEPLOY, Phase.DAY1, Phase.REVIEW}
UNDEPLOYED = "the record does not know when the deployment was: releasegate deployed"
"""Why nothing after a deployment counts yet."""
_SKEW = timedelta(minutes=5)
"""How far the clocks of two machines may differ before a look counts as one of the future."""
HOLDS = frozenset({Status.PASSED, Status.ATTESTED, Status.WAIVED, Status.NOT_APPLICABLE, Status.NOT_DUE})
"""The statuses that stand in nobody's way."""
_HOLDING = {Status.ERROR, Status.INCONCLUSIVE, Status.MISSING, Status.PENDING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one gate of the plan stands now: effective status, the raw one under it, and why."""

    planned: PlannedGate
    status: Status
    raw: Status
    reason: str = ""
    results: tuple[Result, ...] = ()
    attestation: Attestation | None = None

    @property
    def gate(self) -> Gate:
        """The gate as declared."""
        return self.planned.gate


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision is no GO: the gate (empty for the phase as a whole), what it weighs, and the sentence."""

    decision: Decision
    text: str
    gate: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision with its reasons, worst first, over the standings it was made from."""

    decision: Decision
    reasons: tuple[Reason, ...] = ()
    standings: tuple[Standing, ...] = field(default=(), repr=False)

    @property
    def exit_code(self) -> ExitCode:
        """What the process ends with for this decision."""
        return EXIT_CODES[self.decision]


def stand(
    plan: Plan, results: Iterable[Result], attestations: Iterable[Attestation], release: Release, now: datetime
) -> dict[str, Standing]:
    """Where each gate of the plan stands; one row for each gate, whatever the record holds."""
    rows: dict[str, list[Result]] = {}
    for result in results:
        rows.setdefault(result.gate, []).append(result)
    words: dict[str, list[Attestation]] = {}
    for word in attestations:
        words.setdefault(word.gate, []).append(word)
    return {
        planned.gate.id: _standing(planned, rows.get(planned.gate.id, []), words.get(planned.gate.id, []), release, now)
        for planned in plan.gates
    }


def decide(standings: Iterable[Standing]) -> Verdict:
    """The decision over these gates; GO needs at least one that passed or was attested."""
    rows = tuple(standings)
    reasons = list(_among_alternatives(rows, [reason for row in rows if (reason := _reason(row))]))
    if not reasons and not any(_positive(row) for row in rows):
        reasons = [Reason(Decision.HOLD, "nothing was looked at: no gate passed and none was attested")]
    reasons.sort(key=lambda reason: -reason.decision.rank)
    worst = reasons[0].decision if reasons else Decision.GO
    return Verdict(worst, tuple(reasons), rows)


def phase_verdict(phase: Phase, standings: Mapping[str, Standing], release: Release) -> Verdict:
    """The phase's own word: its gates, the deployment that they speak of, and the GO of the phases before it."""
    own = decide(row for row in standings.values() if row.gate.phase is phase)
    reasons = list(own.reasons)
    if not reasons and release.deployed_at is None and any(_is_after(row) for row in own.standings):
        reasons.append(Reason(Decision.HOLD, UNDEPLOYED))
    conditions = [row.gate.when for row in own.standings if row.gate.when]
    reasons += [Reason(Decision.HOLD, each.text) for each in contradictions(release) if each.is_used(conditions)]
    for earlier in PREDECESSORS.get(phase, ()):
        if any(row.gate.phase is earlier for row in standings.values()):
            before = phase_verdict(earlier, standings, release)
            if before.decision is not Decision.GO:
                reasons.append(Reason(Decision.HOLD, f"phase {earlier} is not GO but {before.decision}"))
    worst = max((reason.decision for reason in reasons), key=lambda decision: decision.rank, default=Decision.GO)
    return Verdict(worst, tuple(reasons), own.standings)


def _is_after(row: Standing) -> bool:
    return is_after_deployment(row.gate.phase, row.gate.step)


def closed_steps(events: Iterable[StepEvent]) -> frozenset[tuple[Phase, str]]:
    """The steps whose newest event says closed."""
    last = {(event.phase, event.step): event.event for event in events}
    return frozenset(step for step, event in last.items() if event == "closed")


def due_steps(plan: Plan, phase: Phase, closed: frozenset[tuple[Phase, str]]) -> tuple[str, ...]:
    """The steps of a phase that are to run next: the open ones, with gates, of the first group that has some."""
    present = {planned.gate.step for planned in plan.gates if planned.gate.phase is phase}
    for group in _GROUPS.get(phase, ()):
        still_open = tuple(step for step in group if step in present and (phase, step) not in closed)
        if still_open:
            return still_open
    return ()


def is_final(gate: Gate, closed: frozenset[tuple[Phase, str]]) -> bool:
    """Whether the gate's step is closed and others follow it, so that looking again would look at something else."""
    groups = _GROUPS.get(gate.phase, ())
    return (gate.phase, gate.step) in closed and any(gate.step in group for group in groups[:-1])


def closable(
    standings: Mapping[str, Standing], closed: frozenset[tuple[Phase, str]], release: Release
) -> list[tuple[Phase, str]]:
    """The open steps whose gates all hold; what comes after a deployment, once there was one."""
    found = []
    for phase, steps in STEPS.items():
        for step in steps:
            rows = [row for row in standings.values() if (row.gate.phase, row.gate.step) == (phase, step)]
            early = release.deployed_at is None and any(map(_is_after, rows))
            if rows and not early and (phase, step) not in closed and decide(rows).decision is Decision.GO:
                found.append((phase, step))
    return found


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


def _standing(
    planned: PlannedGate, rows: list[Result], words: list[Attestation], release: Release, now: datetime
) -> Standing:
    known = prior(planned.gate, release, now)
    if known:
        return Standing(planned=planned, status=known[0], raw=known[0], reason=known[1])
    if planned.gate.kind == "attest":
        return _attested(planned, words, release, _moment(planned.gate, release, now))
    return _looked_at(planned, rows, release, now)


def _attested(planned: PlannedGate, words: list[Attestation], release: Release, now: datetime) -> Standing:
    gate = planned.gate
    role = gate.parameters.get("role", "a person")
    valid = [word for word in words if word.gate_digest == planned.digest and _in_time(gate, word.at, release)]
    valid = [word for word in valid if word.at <= now + _SKEW]
    if not valid:
        reason = f"{role} must say: releasegate attest {gate.id} --status passed"
        return Standing(planned=planned, status=Status.PENDING, raw=Status.PENDING, reason=reason)
    word = valid[-1]
    span = _span(gate.parameters.get("valid_for")) or gate.valid_for
    if span and word.at + span < now:
        reason = f"{word.person}'s word of {word.at:%Y-%m-%d} has expired"
        return Standing(planned=planned, status=Status.PENDING, raw=word.status, reason=reason, attestation=word)
    status = Status.ATTESTED if word.status is Status.PASSED else word.status
    reason = f"{word.person} ({word.role}), {word.at:%Y-%m-%d %H:%M} UTC"
    return Standing(planned=planned, status=status, raw=word.status, reason=reason, attestation=word)


def _looked_at(planned: PlannedGate, rows: list[Result], release: Release, now: datetime) -> Standing:
    gate = planned.gate
    mine = [row for row in rows if row.gate_digest == planned.digest and row.started_at <= now + _SKEW]
    valid = [row for row in mine if _in_time(gate, row.started_at, release)]
    latest = {case: _newest([row for row in valid if row.case == case]) for case in {row.case: None for row in valid}}
    cases = [_case(planned, latest.get(case), rows, _moment(planned.gate, release, now)) for case in planned.cases]
    extra = [(row.status, _told(row), row) for case, row in latest.items() if case not in planned.cases]
    status, reason, worst = min((*cases, *extra), key=lambda case: PRECEDENCE.index(case[0]))
    seen = tuple(row for _, _, row in (*cases, *extra) if row)
    raw = worst.status if worst else status
    return Standing(planned=planned, status=status, raw=raw, reason=reason, results=seen)


def _newest(rows: Sequence[Result]) -> Result:
    """The newest look; where the record's order and the clocks disagree on which that is, the worse of the two."""
    by_entry = max(enumerate(rows), key=lambda pair: (pair[1].id, pair[0]))[1]
    by_clock = max(enumerate(rows), key=lambda pair: (pair[1].started_at, pair[0]))[1]
    return min(by_entry, by_clock, key=lambda row: PRECEDENCE.index(row.status))


def _case(
    planned: PlannedGate, row: Result | None, rows: Sequence[Result], now: datetime
) -> tuple[Status, str, Result | None]:
    if row is None:
        reason = "looked at, but not as declared now or not at its time" if rows else "not looked at"
        return Status.MISSING, reason, None
    span = planned.gate.valid_for
    if row.status is Status.PASSED and span and row.started_at + span < now:
        return Status.MISSING, f"stale: passed {row.started_at:%Y-%m-%d %H:%M} UTC, valid for {span}", row
    return row.status, _told(row), row


def _told(row: Result) -> str:
    """The sentence of a result: its message, else its findings that are not as expected."""
    wrong = [str(finding) for finding in row.findings if finding.ok != "yes" and not finding.observe]
    return row.message.splitlines()[0] if row.message else "; ".join(wrong[:3])


def _in_time(gate: Gate, at: datetime, release: Release) -> bool:
    """Whether a look or a word was on the side of the deployment that the gate speaks of."""
    if release.deployed_at is None:
        return gate.phase not in NEEDS_DEPLOYMENT
    if gate.due is not None and at < release.deployed_at + gate.due:
        return False
    if (gate.phase, gate.step) in _BEFORE_DEPLOYMENT:
        return at <= release.deployed_at
    return gate.phase not in _AFTER_DEPLOYMENT or at >= release.deployed_at


def _moment(gate: Gate, release: Release, now: datetime) -> datetime:
    """The instant at which validity is asked: what came before the deployment had to hold then, not for ever."""
    early = (gate.phase, gate.step) in _BEFORE_DEPLOYMENT
    return min(now, release.deployed_at) if early and release.deployed_at else now


def _reason(row: Standing) -> Reason | None:
    gate = row.gate
    if gate.observe:
        return None
    if row.status is Status.FAILED:
        return Reason(_weight(gate), row.reason or "failed", gate.id)
    if row.status in _HOLDING:
        return Reason(Decision.HOLD, f"{row.status}: {row.reason}" if row.reason else row.status.value, gate.id)
    return None


def _among_alternatives(rows: Sequence[Standing], reasons: Iterable[Reason]) -> Iterator[Reason]:
    """The reasons without those of alternatives of which one holds; where none does, the mildest weighs for all."""
    names = {row.gate.id: f"{row.gate.phase} {row.gate.alternatives}" for row in rows if row.gate.alternatives}
    held = {names.get(row.gate.id) for row in rows if _positive(row)}
    left = [reason for reason in reasons if reason.gate not in names or names[reason.gate] not in held]
    mildest: dict[str, Decision] = {}
    for reason in left:
        if name := names.get(reason.gate):
            mildest[name] = min(mildest.get(name, reason.decision), reason.decision, key=lambda one: one.rank)
    for reason in left:
        name = names.get(reason.gate, "")
        text = f"{reason.text} (no alternative holds: {name})" if name else reason.text
        yield Reason(mildest.get(name, reason.decision), text, reason.gate)


def _weight(gate: Gate) -> Decision:
    if gate.trigger and gate.severity is not Severity.LOW:
        return Decision.ROLLBACK
    return Decision.NO_GO if gate.severity in {Severity.CRITICAL, Severity.HIGH} else Decision.HOLD


def _positive(row: Standing) -> bool:
    return row.status in {Status.PASSED, Status.ATTESTED} and not row.gate.observe


def _span(text: object) -> timedelta | None:
    from pytest_releasegate.params import parse_duration

    return parse_duration(text) if text else None
