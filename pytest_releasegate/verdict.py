"""From plan, results and claims to a decision; iterates the plan, never the results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.derived import contradictions
from pytest_releasegate.errors import ExitCode
from pytest_releasegate.model import (
    PREDECESSORS,
    STEPS,
    Decision,
    Phase,
    Severity,
    Status,
    is_after_deployment,
)
from pytest_releasegate.standing import HOLDS, PRECEDENCE, Standing, prior, stand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_releasegate.model import Gate, Plan, Release, StepEvent

__all__ = [
    "EXIT_CODES",
    "HOLDS",
    "PRECEDENCE",
    "UNDEPLOYED",
    "Reason",
    "Standing",
    "Verdict",
    "closed_steps",
    "decide",
    "due_steps",
    "phase_verdict",
    "prior",
    "stand",
]

EXIT_CODES = {
    Decision.GO: ExitCode.GO,
    Decision.HOLD: ExitCode.HOLD,
    Decision.NO_GO: ExitCode.NO_GO,
    Decision.ROLLBACK: ExitCode.ROLLBACK,
}
"""What the process ends with for each decision."""

_GROUPS: dict[Phase, tuple[tuple[str, ...], ...]] = {
    Phase.DEPLOY: (("before",), ("migrate", "after")),
    Phase.ROLLBACK: (("decide",), ("execute",), ("verify",)),
    Phase.BACKFILL: (("before",), ("during",), ("after",)),
}
"""Steps between which a person acts; the steps of one group run together."""

UNDEPLOYED = "the record does not know when the deployment was: releasegate deployed"
"""Why nothing after a deployment counts yet."""
_HOLDING = {Status.ERROR, Status.INCONCLUSIVE, Status.MISSING, Status.PENDING}


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
    profile: str = ""
    """The profile that it was judged under; empty for the whole plan."""

    @property
    def label(self) -> str:
        """The decision as people say it, such as `GO (hotfix, 31 deferred)`."""
        deferred = sum(row.deferred for row in self.standings)
        return f"{self.decision} ({self.profile}, {deferred} deferred)" if self.profile else self.decision.value

    @property
    def exit_code(self) -> ExitCode:
        """What the process ends with for this decision."""
        return EXIT_CODES[self.decision]


def decide(standings: Iterable[Standing]) -> Verdict:
    """The decision over these gates; GO needs at least one that passed or was attested."""
    rows = tuple(standings)
    reasons = list(_among_alternatives(rows, [reason for row in rows if (reason := _reason(row))]))
    if not reasons and not any(_positive(row) for row in rows):
        reasons = [Reason(Decision.HOLD, "nothing was looked at: no gate passed and none was attested")]
    reasons.sort(key=lambda reason: -reason.decision.rank)
    worst = reasons[0].decision if reasons else Decision.GO
    return Verdict(worst, tuple(reasons), rows)


def phase_verdict(
    phase: Phase, standings: Mapping[str, Standing], release: Release, held: Mapping[Phase, Sequence[str]] | None = None
) -> Verdict:
    """The phase's own word: its gates, the deployment that they speak of, and the GO of the phases before it.

    `held` says what else keeps phases from GO, such as a freeze.
    """
    own = decide(row for row in standings.values() if row.gate.phase is phase)
    reasons = list(own.reasons)
    if not reasons and release.deployed_at is None and any(_is_after(row) for row in own.standings):
        reasons.append(Reason(Decision.HOLD, UNDEPLOYED))
    conditions = [row.gate.when for row in own.standings if row.gate.when]
    reasons += [Reason(Decision.HOLD, each.text) for each in contradictions(release) if each.is_used(conditions)]
    reasons += [Reason(Decision.HOLD, text) for text in (held or {}).get(phase, ())]
    for earlier in PREDECESSORS.get(phase, ()):
        if any(row.gate.phase is earlier for row in standings.values()):
            before = phase_verdict(earlier, standings, release, held)
            if before.decision is not Decision.GO:
                reasons.append(Reason(Decision.HOLD, f"phase {earlier} is not GO but {before.decision}"))
    worst = max((reason.decision for reason in reasons), key=lambda decision: decision.rank, default=Decision.GO)
    return Verdict(worst, tuple(reasons), own.standings, release.profile)


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
