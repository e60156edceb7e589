"""What every report is made from: one release as the record knows it at an instant."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_releasegate.lifecycle.conditions import conditions
from pytest_releasegate.lifecycle.standings import FOREVER, claims_of
from pytest_releasegate.model import Claims, Phase
from pytest_releasegate.verdict import closed_steps, phase_verdict, stand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from pytest_releasegate.model import Plan, Release, Result, Run, StepEvent
    from pytest_releasegate.store import Store
    from pytest_releasegate.verdict import Standing, Verdict

__all__ = ["ReleaseView", "view"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseView:
    """A release, its plan, where each gate stands, the verdict of each phase in the plan, and all attempts."""

    release: Release
    plan: Plan
    standings: Mapping[str, Standing]
    phases: Mapping[Phase, Verdict]
    results: tuple[Result, ...]
    """Every attempt, oldest first."""
    claims: Claims = field(default_factory=Claims)
    """All that was said, also what does not count."""
    runs: tuple[Run, ...]
    steps: tuple[StepEvent, ...]
    now: datetime
    record: str
    """Where the record lies, without password."""
    body: Callable[[str], bytes | None]
    """The bytes of a piece of evidence by its sha256; None when they were erased."""

    @property
    def closed(self) -> frozenset[tuple[Phase, str]]:
        """The steps that are closed."""
        return closed_steps(self.steps)

    def begun(self, phase: Phase) -> bool:
        """Whether somebody has looked at or spoken on any gate of the phase."""
        return any(row.results or row.attestation or row.sign_off for row in self.phases[phase].standings)

    @property
    def ahead(self) -> Mapping[Phase, Verdict]:
        """The phases that a release goes through: all that are planned, a rollback only once it has begun."""
        return {
            phase: verdict for phase, verdict in self.phases.items() if phase is not Phase.ROLLBACK or self.begun(phase)
        }


def view(store: Store, release: Release, now: datetime, *, strictly: bool = False) -> ReleaseView:
    """The release as the record knows it at `now`; `strictly` leaves out what was looked at or said later.

    Plan and facts are those of the record as it is.
    """
    plan = store.plan(release.id)
    until = now if strictly else FOREVER
    if release.deployed_at and release.deployed_at > until:
        release = replace(release, deployed_at=None, deployed_by="")
    if release.rolled_back_at and release.rolled_back_at > until:
        release = replace(release, rolled_back_at=None, rollback_reason="")
    results = [row for row in store.results(release.id) if row.started_at <= until]
    claims = claims_of(store, release, plan, until)
    standings = stand(plan, results, claims, release, now)
    planned = {gate.gate.phase for gate in plan.gates}
    held = conditions(store, release, plan, now)
    return ReleaseView(
        release=release,
        plan=plan,
        standings=standings,
        phases={phase: phase_verdict(phase, standings, release, held) for phase in Phase if phase in planned},
        results=tuple(results),
        claims=claims,
        runs=tuple(run for run in store.runs(release.id) if run.started_at <= until),
        steps=tuple(event for event in store.step_events(release.id) if event.at <= until),
        now=now,
        record=store.shown_url,
        body=store.evidence_body,
    )
