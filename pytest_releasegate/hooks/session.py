"""What a run that asks for gates knows of a target: checklist, environment, release, plan, record."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.check import Context, NoMemory, Secrets, SystemClock
from pytest_releasegate.checklist.conditions import parse
from pytest_releasegate.hooks import asking
from pytest_releasegate.lifecycle.standings import claims_of
from pytest_releasegate.model import Phase, Release, Result, Start, Status
from pytest_releasegate.verdict import closed_steps, due_steps, is_final, stand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_releasegate.check import Clock, Which
    from pytest_releasegate.checklist.loader import Checklist
    from pytest_releasegate.hooks.looking import Looked
    from pytest_releasegate.lifecycle.identify import Identity
    from pytest_releasegate.model import Environment, Gate, Kept, Plan
    from pytest_releasegate.store import Store
    from pytest_releasegate.store.journal import Journal
    from pytest_releasegate.verdict import Standing

__all__ = ["KEY", "GateSession", "begun"]

KEY = pytest.StashKey["GateSession"]()
"""Where an item keeps the session of its target; a pytest config keeps it where there is only one."""


@dataclass
class GateSession:
    """One pytest session over the gates of one target; the controller's, or a worker's copy of it."""

    root: Path
    checklist: Checklist
    identity: Identity
    release: Release
    plan: Plan
    expression: str
    store: Store | None
    clock: Clock = field(default_factory=SystemClock)
    secrets: Secrets = field(default_factory=Secrets)
    notes: list[str] = field(default_factory=list)
    run: int = 0
    fresh: frozenset[str] = frozenset()
    """Gates that are not looked at anew: those that write and have begun; with `--gates stale`, those that hold."""
    worker: str = ""
    journal: Journal | None = None
    fleet: tuple[str, ...] = ()
    """The names of all targets of this run, where there are several."""
    _said: tuple[float, dict[str, Standing]] | None = None

    @property
    def recorded(self) -> bool:
        """Whether results go into the record; a run by path is a rehearsal and leaves no trace."""
        return self.run > 0

    @property
    def folder(self) -> Path:
        """Where the plugin keeps its files."""
        return self.root / ".releasegate"

    @property
    def suffix(self) -> str:
        """What names this target among several, as in `[prod-eu]`; empty where it is the only one."""
        return f"[{self.identity.environment.name}]" if self.fleet else ""

    def plain(self, node_id: str) -> str:
        """The node id as it would be if this target were the only one; unchanged for what is not this target's."""
        if not self.fleet:
            return node_id
        last = f"-{self.identity.environment.name}]"
        return node_id.removesuffix(last) + "]" if node_id.endswith(last) else node_id.removesuffix(self.suffix)

    def scope(self) -> list[Gate]:
        """The gates of the plan that the expression selects: of a phase with steps, those of the steps now due."""
        if not self.expression:
            return []
        gates = [planned.gate for planned in self.plan.gates]
        chosen = [gate for gate in gates if asking.wants(self.expression, gate.markers, gate.markers)]
        narrow = {phase: self._due(phase) for phase in {gate.phase for gate in chosen}}
        return [gate for gate in chosen if not narrow[gate.phase] or gate.step in narrow[gate.phase]]

    def runs(self, gate: Gate) -> bool:
        """Whether the run looks at a gate of its scope: not when its step is closed and others have followed."""
        return gate.id not in self.fresh and not is_final(gate, self.closed())

    def begin(self, gate: Gate, case: str = "") -> str:
        """Note that a gate that writes begins; why it must not, where it began before."""
        if not gate.writes:
            return ""
        if not (self.recorded and self.store):
            return f"{gate.id} writes, and a rehearsal leaves no row that keeps it from running twice: ask by -m"
        start = Start(gate=gate.id, case=case, at=self.clock.now(), run=self.run)
        earlier = self.store.begin(self.release.id, gate, start)
        return begun(gate, earlier) if earlier else ""

    def said(self, read: Callable[[], dict[str, Standing]]) -> dict[str, Standing]:
        """Where gates stand that people answer; read at most once a second, since there may be hundreds of them."""
        now = self.clock.monotonic()
        if self._said is None or now - self._said[0] > 1:
            self._said = (now, read())
        return self._said[1]

    def waived(self, gate: Gate) -> str:
        """Who accepts a failure of the gate now, until when and why; empty where nobody does."""
        planned = self.plan.by_id().get(gate.id)
        if planned is None or self.store is None or not self.release.id:
            return ""
        now = self.clock.now()
        failure = Result(gate=gate.id, status=Status.FAILED, started_at=now, gate_digest=planned.digest)
        alone = replace(self.plan, gates=(replace(planned, cases=("",)),))
        claims = claims_of(self.store, self.release, self.plan)
        row = stand(alone, [failure], claims, self.release, now)[gate.id]
        return row.reason.partition("; it failed")[0] if row.status is Status.WAIVED else ""

    def closed(self) -> frozenset[tuple[Phase, str]]:
        """The steps that the record knows as closed."""
        return closed_steps(self.store.step_events(self.release.id)) if self.store and self.release.id else frozenset()

    def _due(self, phase: Phase) -> tuple[str, ...]:
        """The steps to which naming the phase alone narrows the scope; empty where it does not narrow it."""
        words = parse(self.expression).names
        named = {planned.gate.step for planned in self.plan.gates if planned.gate.phase is phase} & words
        return due_steps(self.plan, phase, self.closed()) if phase.value in words and not named else ()

    def context(self, environment: Environment | None = None) -> Context:
        """What a check of this session is given."""
        return Context(
            environment=environment or self.identity.environment,
            release=self.release,
            root=self.root,
            clock=self.clock,
            memory=_Memory(self.store, self.release) if self.store else NoMemory(),
            secrets=self.secrets,
        )

    def spool(self, looked: Looked) -> None:
        """Write a result to disk before it is reported anywhere, so that it survives whatever dies next."""
        from pytest_releasegate.store.journal import Journal

        self.journal = self.journal or Journal(self.folder / "journal", self.run, self.worker or "main")
        self.journal.append(looked.result, looked.bodies)

    def bodies(self, result: Result) -> dict[str, bytes]:
        """The bytes of a result's evidence, from the journal of this run."""
        blobs = self.folder / "journal" / f"run-{self.run}" / "blobs"
        paths = {evidence.sha256: blobs / evidence.sha256 for evidence in result.evidence}
        return {digest: path.read_bytes() for digest, path in paths.items() if path.is_file()}

    def discard_journal(self) -> None:
        """Remove the journal once all of it is in the record."""
        from pytest_releasegate.store.journal import discard

        if self.journal:
            self.journal.close()
        discard(self.folder / "journal", self.run)

    def close(self) -> None:
        """Let go of the record."""
        if self.store:
            self.store.close()

    def to_worker(self) -> str:
        """What a worker must know, as text."""
        url = self.store.url if self.store and self.recorded else ""
        return json.dumps({"release": self.release.id, "run": self.run, "url": url, "fresh": sorted(self.fresh)})


class _Memory:
    """What the record kept of this and earlier releases."""

    def __init__(self, store: Store, release: Release) -> None:
        self._store = store
        self._release = release

    def recorded(self, name: str, *, of: Which = "this") -> Kept | None:
        """A value kept under the name."""
        return self._store.recorded(self._release, name, of=of)


def begun(gate: Gate, start: Start) -> str:
    """That a gate which writes has begun, and what a person does about it."""
    step = f"{gate.phase}/{gate.step}" if gate.step else gate.phase.value
    what = f"{gate.id} writes, and was begun {start.at:%Y-%m-%d %H:%M:%S} UTC by run {start.run}"
    return f"{what}: see what it has done, then releasegate reopen {step} --reason ..."
