"""What a run that asks for gates knows: checklist, environment, release, plan, record."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.check import Context, NoMemory, Secrets, SystemClock
from pytest_releasegate.checklist.conditions import parse
from pytest_releasegate.checklist.loader import Checklist, load
from pytest_releasegate.checklist.marked import with_marked
from pytest_releasegate.checklist.plan import freeze
from pytest_releasegate.checklist.python_gates import collect
from pytest_releasegate.errors import RecordError, UsageProblem
from pytest_releasegate.hooks import asking
from pytest_releasegate.lifecycle.changes import origin_of
from pytest_releasegate.lifecycle.facts import parse_facts
from pytest_releasegate.lifecycle.identify import Asked, Identity, identify, record_at
from pytest_releasegate.lifecycle.opening import cut_off, open_or_find
from pytest_releasegate.lifecycle.standings import claims_of, standings_of
from pytest_releasegate.model import Phase, Release, Result, Run, Start, Status
from pytest_releasegate.verdict import HOLDS, closed_steps, due_steps, is_final, stand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_releasegate.check import Clock, Which
    from pytest_releasegate.checklist.python_gates import PythonGates
    from pytest_releasegate.hooks.looking import Looked
    from pytest_releasegate.model import Environment, Gate, Kept, Plan
    from pytest_releasegate.store import Store
    from pytest_releasegate.store.journal import Journal
    from pytest_releasegate.verdict import Standing

__all__ = ["KEY", "GateSession", "record_url", "start"]

KEY = pytest.StashKey["GateSession"]()
"""Where a pytest config keeps the session, when gates were asked for."""


@dataclass
class GateSession:
    """One pytest session over gates; the controller's, or a worker's copy of it."""

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
    _said: tuple[float, dict[str, Standing]] | None = None

    @property
    def recorded(self) -> bool:
        """Whether results go into the record; a run by path is a rehearsal and leaves no trace."""
        return self.run > 0

    @property
    def folder(self) -> Path:
        """Where the plugin keeps its files."""
        return self.root / ".releasegate"

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
        return _begun(gate, earlier) if earlier else ""

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
        url = self.store.url if self.store else ""
        return json.dumps({"release": self.release.id, "run": self.run, "url": url, "fresh": sorted(self.fresh)})


class _Memory:
    """What the record kept of this and earlier releases."""

    def __init__(self, store: Store, release: Release) -> None:
        self._store = store
        self._release = release

    def recorded(self, name: str, *, of: Which = "this") -> Kept | None:
        """A value kept under the name."""
        return self._store.recorded(self._release, name, of=of)


def record_url(config: pytest.Config) -> str:
    """Where the record lies: `--record`, RELEASEGATE_RECORD, ini, else a file under the root."""
    said = str(config.getoption("releasegate_record") or "")
    return record_at(config.rootpath, said, str(config.getini("releasegate_record") or ""))


def start(config: pytest.Config, clock: Clock) -> GateSession:
    """Read, identify, open; raises `UsageProblem` with all that is wrong before anything is executed."""
    checklist = load(asking.folder(config), config.rootpath)
    identity = identify(config.rootpath, checklist.environments, _asked(config))
    python = _python(config, checklist)
    checklist = with_marked(checklist, python, config.rootpath)
    plan = freeze(checklist, python, identity.environment.name)
    sent = getattr(config, "workerinput", {}).get("releasegate")
    if sent:
        return _worker(config, checklist, identity, plan, json.loads(sent), clock)
    if asking.expression(config) and not config.getoption("collectonly") and not identity.overridden:
        return _opened(config, checklist, identity, plan, clock)
    return _rehearsal(config, checklist, identity, plan, clock)


def _python(config: pytest.Config, checklist: Checklist) -> PythonGates:
    cache = config.rootpath / ".releasegate" / "cases.json"
    return collect(config.rootpath, asking.paths(config), cache, config.inipath, declared=checklist.has_tests)


def _opened(config: pytest.Config, checklist: Checklist, identity: Identity, plan: Plan, clock: Clock) -> GateSession:
    from pytest_releasegate.store import open_store
    from pytest_releasegate.store.journal import recover

    store = open_store(record_url(config))
    now = clock.now()
    must_exist = bool(config.getoption("releasegate_must_exist"))
    again = _goes_before(plan, asking.expression(config))
    opened = open_or_find(
        store,
        identity,
        plan,
        now=now,
        facts=_facts(config),
        must_exist=must_exist,
        again=again,
        origin=origin_of(config.rootpath, plan),
    )
    session = GateSession(
        config.rootpath, checklist, identity, opened.release, opened.plan, asking.expression(config), store, clock
    )
    recovered = recover(store, session.folder / "journal")
    session.notes += [*cut_off(store, opened.release.id, recovered, now), *opened.notes]
    session.run = store.start_run(opened.release.id, _run(session))
    session.fresh = _written(store, session)
    if config.getoption("releasegate_which") == "stale":
        session.fresh |= _fresh(store, session)
    return _filled(session, config)


def _goes_before(plan: Plan, expression: str) -> bool:
    """Whether the run prepares a deployment: it looks at gates of predeploy, and at nothing that follows one."""
    chosen = (planned.gate for planned in plan.gates)
    phases = {gate.phase for gate in chosen if asking.wants(expression, gate.markers, gate.markers)}
    return Phase.PREDEPLOY in phases and phases <= {Phase.PREDEPLOY, Phase.DEPLOY, Phase.COMPLIANCE}


def _fresh(store: Store, session: GateSession) -> frozenset[str]:
    release, now = session.release, session.clock.now()
    rows = standings_of(store, release, session.plan, now)
    return frozenset(name for name, row in rows.items() if row.status in HOLDS)


def _written(store: Store, session: GateSession) -> frozenset[str]:
    """The gates that write and have begun; a note for each that has begun and left no result."""
    found = set()
    results = {(row.gate, row.case) for row in store.results(session.release.id)}
    for gate in (planned.gate for planned in session.plan.gates if planned.gate.writes):
        begun = store.starts(session.release.id, gate)
        found |= {start.gate for start in begun}
        session.notes += [_begun(gate, start) for start in begun if (start.gate, start.case) not in results]
    return frozenset(found)


def _begun(gate: Gate, start: Start) -> str:
    step = f"{gate.phase}/{gate.step}" if gate.step else gate.phase.value
    what = f"{gate.id} writes, and was begun {start.at:%Y-%m-%d %H:%M:%S} UTC by run {start.run}"
    return f"{what}: see what it has done, then releasegate reopen {step} --reason ..."


def _rehearsal(
    config: pytest.Config, checklist: Checklist, identity: Identity, plan: Plan, clock: Clock
) -> GateSession:
    from pytest_releasegate.store import open_store

    named = config.getoption("releasegate_env") or any(
        str(argument).startswith("--base-url") for argument in config.invocation_params.args
    )
    if identity.environment.protected and not named and not config.getoption("collectonly"):
        what = f"the environment '{identity.environment.name}' is protected, and the command does not name it"
        raise UsageProblem(what, f"--env {identity.environment.name}")
    try:
        store = open_store(record_url(config), create=False)
        release = store.find_release(identity.product, identity.version, identity.environment.name)
    except RecordError:
        store, release = None, None
    release = release or Release(
        product=identity.product, version=identity.version, environment=identity.environment.name, opened_at=clock.now()
    )
    session = GateSession(config.rootpath, checklist, identity, release, plan, asking.expression(config), store, clock)
    why = "another URL than the environment's own was named" if identity.overridden else "gates were named by path"
    session.notes.append(f"a rehearsal: {why}, nothing is recorded")
    return _filled(session, config)


def _worker(
    config: pytest.Config, checklist: Checklist, identity: Identity, plan: Plan, sent: dict[str, Any], clock: Clock
) -> GateSession:
    from pytest_releasegate.store import open_store

    if not sent["url"]:
        return _rehearsal(config, checklist, identity, plan, clock)
    store = open_store(sent["url"], create=False)
    release = store.release(sent["release"])
    session = GateSession(
        config.rootpath, checklist, identity, release, store.plan(release.id), asking.expression(config), store, clock
    )
    session.run, session.fresh = sent["run"], frozenset(sent["fresh"])
    session.worker = str(getattr(config, "workerinput")["workerid"])  # noqa: B009  xdist's own attribute
    return _filled(session, config)


def _filled(session: GateSession, config: pytest.Config) -> GateSession:
    """The session with the values that checks of the record need."""
    environment = session.identity.environment
    values: Mapping[str, str] = {**environment.values, "record_url": record_url(config)}
    session.identity = replace(session.identity, environment=replace(environment, values=values))
    if "@" in record_url(config):
        session.secrets.add(record_url(config), "record")
    return session


def _run(session: GateSession) -> Run:
    return Run(
        started_at=session.clock.now(),
        expression=session.expression,
        scope=tuple(gate.id for gate in session.scope()),
        host=socket.gethostname(),
        pid=os.getpid(),
        tool_version=version("pytest-releasegate"),
    )


def _asked(config: pytest.Config) -> Asked:
    return Asked(
        release=str(config.getoption("releasegate_release") or ""),
        environment=str(config.getoption("releasegate_env") or ""),
        base_url=str(config.getoption("base_url", None) or config.getini("base_url") or ""),
        ini_release=str(config.getini("releasegate_release") or ""),
        ini_environment=str(config.getini("releasegate_env") or ""),
    )


def _facts(config: pytest.Config) -> dict[str, bool]:
    return parse_facts(config.getoption("releasegate_fact") or [])
