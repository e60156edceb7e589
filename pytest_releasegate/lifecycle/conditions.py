"""What keeps a phase from GO beside its gates: freezes, business hours, another environment, facts that contradict.

A rollback is exempt from all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.lifecycle.standings import standings_of
from pytest_releasegate.model import Decision, Phase
from pytest_releasegate.policy import closed
from pytest_releasegate.verdict import phase_verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from pytest_releasegate.model import Plan, Release
    from pytest_releasegate.policy import Rules
    from pytest_releasegate.store import Store

__all__ = ["conditions"]

_PROVEN = (Phase.DEPLOY, Phase.POSTDEPLOY)
"""The phases whose GO shows that a release lives well in an environment."""


def conditions(
    store: Store, release: Release, plan: Plan, now: datetime, waiting: frozenset[str] = frozenset()
) -> dict[Phase, list[str]]:
    """Sentences that hold a phase, by phase; a phase that nothing holds is not in it.

    `waiting` are the environments that wait for this one already: plans of different times may name each other.
    """
    rules = plan.rules
    if rules is None:
        return {}
    elsewhere = list(_elsewhere(store, release, rules, now, waiting | {release.environment}))
    held = {
        Phase.PREDEPLOY: [*_planned_for(release, rules), *elsewhere],
        Phase.DEPLOY: [*_out_at(release, rules, now), *elsewhere],
    }
    return {phase: said for phase, said in held.items() if said}


def _planned_for(release: Release, rules: Rules) -> list[str]:
    """What stands against the window that was declared."""
    return closed(rules, release.environment, release.profile, *release.window) if release.window else []


def _out_at(release: Release, rules: Rules, now: datetime) -> list[str]:
    """What stands against the instant of the deployment: the recorded one, else now."""
    at = release.deployed_at or now
    return closed(rules, release.environment, release.profile, at, at)


def _elsewhere(store: Store, release: Release, rules: Rules, now: datetime, waiting: frozenset[str]) -> Iterator[str]:
    """The environments that must have had this commit first, and do not say GO."""
    for environment in rules.after.get(release.environment, ()):
        if environment in waiting:
            continue
        same = [
            one
            for one in store.releases(release.product, environment)
            if one.git_commit and one.git_commit == release.git_commit and one.opened_at <= now
        ]
        if not same:
            commit = release.git_commit[:10] or "that the record does not know"
            yield f"{environment} comes first, and the record knows no release of commit {commit} there"
        elif wrong := _not_go(store, same[-1], now, waiting):
            yield f"{environment} comes first, and there {wrong}"


def _not_go(store: Store, release: Release, now: datetime, waiting: frozenset[str]) -> str:
    if release.rolled_back_at and release.rolled_back_at <= now:
        return f"{release.name} was rolled back {release.rolled_back_at:%Y-%m-%d %H:%M} UTC"
    plan = store.plan(release.id)
    standings = standings_of(store, release, plan, now)
    planned = {gate.gate.phase for gate in plan.gates}
    proven = [phase for phase in _PROVEN if phase in planned] or sorted(planned)
    held = conditions(store, release, plan, now, waiting)
    words = {phase: phase_verdict(phase, standings, release, held).decision for phase in proven}
    wrong = [f"{phase} is {word}" for phase, word in words.items() if word is not Decision.GO]
    return f"{release.name}: {', '.join(wrong)}" if wrong else ""
