"""The deployment as a `version` gate sees it: when the release was first seen to run, and whether it did not before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pytest_releasegate.checks.version import others
from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.model import Release, Status, is_after_deployment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from pytest_releasegate.model import Gate, Plan, Result
    from pytest_releasegate.store import Store

__all__ = ["Arrival", "arrival", "sees_arrival"]

_KIND = "version"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a look at the running version says of the deployment: the release as it is now known, and a line to say."""

    release: Release
    line: str = ""


def sees_arrival(gate: Gate) -> bool:
    """Whether the gate, when it passes, shows that the release has arrived: it expects that very version, after it."""
    expects = gate.parameters.get("expect", "release") == "release"
    return gate.kind == _KIND and expects and gate.due is None and is_after_deployment(gate.phase, gate.step)


def arrival(store: Store, release: Release, plan: Plan, result: Result, now: datetime) -> Arrival | None:
    """Record the deployment where this result is the first to show it; None where it says nothing of that.

    Only a look tells it, and only where the record shows that something else ran before: what runs already was
    deployed at an instant that no look from now on can tell.
    """
    planned = plan.by_id().get(result.gate)
    if planned is None or result.status is not Status.PASSED or not sees_arrival(planned.gate):
        return None
    release = store.release(release.id)
    if release.deployed_at or release.rolled_back_at or result.gate_digest != planned.digest:
        return None
    known = max(_sightings(store, release, planned.gate, result.started_at), key=lambda one: one.at, default=None)
    if known is None or not known.differs(release, planned.gate):
        return Arrival(release, _refusal(release, planned.gate, known))
    at, who = min(result.started_at + timedelta(seconds=result.seconds), now), f"gate {planned.gate.id}"
    try:
        release = store.set_deployed(release.id, at, who)
    except UsageProblem:
        return None  # somebody else has said it meanwhile
    _note(store, release, at, now)
    seen = f"DEPLOYED {at:%Y-%m-%d %H:%M:%S} UTC, {release.deployment}: {release.name} runs"
    early_or_late = release.window and not release.window[0] <= at <= release.window[1]
    outside = ". That is outside of its window" if early_or_late else ""
    return Arrival(release, f"{seen}; before it, {known.what} {known.source}{outside}")


def _note(store: Store, release: Release, at: datetime, now: datetime) -> None:
    """The line in the audit log that a person's word leaves too."""
    store.add_audit(
        at=now,
        release_id=release.id,
        user_id=release.deployed_by,
        action_type="deployed",
        resource_type="release",
        action_description=f"deployed at {at.isoformat()}",
        severity="critical",
    )


@dataclass(frozen=True, slots=True)
class _Sighting:
    """What ran at an instant, and how that is known."""

    at: datetime
    source: str
    version: str = ""
    """Empty where it was something else than the release."""
    commit: str = ""
    unclear: bool = False
    """What ran then was rolled back, to nobody knows what."""

    @property
    def what(self) -> str:
        return f"{self.version} ran" if self.version else "something else ran"

    def differs(self, release: Release, gate: Gate) -> bool:
        """Whether the gate would have told it from the release."""
        if self.unclear or not self.version:
            return not self.unclear
        by_version = gate.parameters.get("version", "version") is not None
        by_commit = gate.parameters.get("commit", "commit") is not None and self.commit and release.git_commit
        other = self.version.removeprefix("v") != release.version.removeprefix("v")
        return bool((by_version and other) or (by_commit and self.commit != release.git_commit))


def _refusal(release: Release, gate: Gate, known: _Sighting | None) -> str:
    why = f"so it did {known.source}" if known else "nothing in the record shows that something else ran before"
    if known and known.unclear:
        why = f"{known.source}, and no gate has looked at what ran after it"
    words = f"releasegate deployed --at INSTANT --release {release.version} --env {release.environment}"
    return f"NOT KNOWN SINCE WHEN: {release.name} runs by gate {gate.id}; {why}. Say it: {words}"


def _sightings(store: Store, release: Release, gate: Gate, until: datetime) -> Iterator[_Sighting]:
    """What is known to have run in this place before that instant."""
    for each in store.releases(release.product, release.environment):
        if each.deployed_at and each.deployed_at < until:
            source = f"when {each.name} was deployed, {_at(each.deployed_at)}"
            yield _ran(each, each.deployed_at, source, each.version, each.git_commit)
        if each.id != release.id:
            yield from _kept(store, each, _name(gate), until)
    gates = {one.gate.id: one.gate for one in store.plan(release.id).gates if _name(one.gate) == _name(gate)}
    for result in store.results(release.id):
        if result.gate in gates and result.started_at < until:
            source = f"by gate {result.gate}, {_at(result.started_at)}"
            # what saw it arrive in a run that was cut off says nothing against it
            kept = {} if sees_arrival(gates[result.gate]) else result.kept.get(_name(gate), {})
            if kept:
                yield _ran(release, result.started_at, source, *_read(kept))
            if result.status is Status.FAILED and any(others(finding) for finding in result.findings):
                yield _Sighting(result.started_at, source)


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _name(gate: Gate) -> str:
    """What the version is kept as that the gate sees; empty for gates of other kinds, and of versions of their own."""
    own = gate.kind == _KIND and gate.parameters.get("expect", "release") in {"release", "previous"}
    return f"version/{gate.parameters.get('keep', 'running')}" if own else ""


def _kept(store: Store, release: Release, name: str, until: datetime) -> Iterator[_Sighting]:
    """The newest version that a gate of another release saw."""
    kept = store.recorded(release, name, of="this")
    planned = store.plan(release.id).by_id().get(kept.gate) if kept and kept.at < until else None
    if kept and planned and _name(planned.gate) == name:
        source = f"by gate {kept.gate} of {release.name}, {_at(kept.at)}"
        yield _ran(release, kept.at, source, *_read(kept.value))


def _read(kept: Any) -> tuple[str, str]:
    """Version and commit, as a gate keeps them."""
    return str(kept.get("version") or ""), str(kept.get("commit") or "")


def _ran(release: Release, at: datetime, source: str, version: str, commit: str) -> _Sighting:
    """What a release's deployment or gate says; its own version may be gone since, where it was rolled back."""
    if release.rolled_back_at and version == release.version:
        return _Sighting(at, f"{release.name} was rolled back", unclear=True)
    return _Sighting(at, source, version, commit)
