"""How a run over gates begins: what is declared, which targets are meant, their releases and plans, and the record."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pytest_releasegate.check import Secrets
from pytest_releasegate.checklist.loader import Checklist, load
from pytest_releasegate.checklist.marked import with_marked
from pytest_releasegate.checklist.plan import freeze
from pytest_releasegate.errors import RecordError, UsageProblem
from pytest_releasegate.hooks import asking
from pytest_releasegate.hooks.cases import python_gates, with_planned_browsers
from pytest_releasegate.hooks.session import GateSession, begun
from pytest_releasegate.lifecycle.changes import origin_of
from pytest_releasegate.lifecycle.facts import parse_facts
from pytest_releasegate.lifecycle.fleet import each, identities
from pytest_releasegate.lifecycle.identify import Asked, Identity, record_at
from pytest_releasegate.lifecycle.opening import cut_off, open_or_find
from pytest_releasegate.lifecycle.standings import standings_of
from pytest_releasegate.model import Phase, Release, Run
from pytest_releasegate.verdict import HOLDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import pytest

    from pytest_releasegate.check import Clock
    from pytest_releasegate.lifecycle.opening import Opened
    from pytest_releasegate.model import Plan
    from pytest_releasegate.store import Store

__all__ = ["record_url", "start"]


def record_url(config: pytest.Config) -> str:
    """Where the record lies: `--record`, RELEASEGATE_RECORD, ini, else a file under the root."""
    said = str(config.getoption("releasegate_record") or "")
    return record_at(config.rootpath, said, str(config.getini("releasegate_record") or ""))


def start(config: pytest.Config, clock: Clock) -> list[GateSession]:
    """Read, identify, open: a session for each target, which is one but for a fleet.

    Raises `UsageProblem` with all that is wrong before anything is executed.
    """
    checklist = load(asking.folder(config), config.rootpath)
    sent = json.loads(getattr(config, "workerinput", {}).get("releasegate", "{}"))
    found = identities(config.rootpath, checklist.environments, _asked(config, sent.get("fleet", {})))
    python = python_gates(config, checklist)
    checklist = with_marked(checklist, python, config.rootpath)
    fleet = tuple(identity.environment.name for identity in found) if len(found) > 1 else ()
    secrets = Secrets()  # what one target's gates have resolved is struck out of what another's say
    drafts = [
        _Draft(config, checklist, one, freeze(checklist, python, one.environment.name), clock, fleet, secrets)
        for one in found
    ]
    if sent:
        return [_worker(draft, json.loads(sent["fleet"][draft.name]) if fleet else sent) for draft in drafts]
    if asking.expression(config) and not config.getoption("collectonly") and not drafts[0].identity.overridden:
        return _opened(config, drafts)
    return each(_rehearsal, drafts)


@dataclass(frozen=True)
class _Draft:
    """What is known of a target before the record is asked."""

    config: pytest.Config
    checklist: Checklist
    identity: Identity
    plan: Plan
    clock: Clock
    fleet: tuple[str, ...]
    secrets: Secrets

    @property
    def name(self) -> str:
        return self.identity.environment.name

    def session(self, store: Store | None, release: Release, plan: Plan) -> GateSession:
        expression = asking.expression(self.config)
        session = GateSession(
            self.config.rootpath, self.checklist, self.identity, release, plan, expression, store, self.clock
        )
        session.fleet, session.secrets = self.fleet, self.secrets
        return session


def _opened(config: pytest.Config, drafts: list[_Draft]) -> list[GateSession]:
    """Open or find the release of each target; no run begins before all of them are there."""
    from pytest_releasegate.store import open_store
    from pytest_releasegate.store.journal import recover

    store = open_store(record_url(config))
    now = drafts[0].clock.now()
    opened = each(lambda draft: _release(store, draft, now), drafts)
    sessions = [draft.session(store, one.release, one.plan) for draft, one in zip(drafts, opened, strict=True)]
    recovered = recover(store, sessions[0].folder / "journal")
    for session, one in zip(sessions, opened, strict=True):
        session.notes += [*cut_off(store, session.release.id, recovered, now), *one.notes]
        session.run = store.start_run(session.release.id, _run(session))
        session.fresh = _written(store, session)
        if config.getoption("releasegate_which") == "stale":
            session.fresh |= _fresh(store, session)
    return [_filled(session, config) for session in sessions]


def _release(store: Store, draft: _Draft, now: datetime) -> Opened:
    config = draft.config
    plan = with_planned_browsers(config, draft.checklist, store, draft.identity, draft.plan)
    return open_or_find(
        store,
        draft.identity,
        plan,
        now=now,
        facts=parse_facts(config.getoption("releasegate_fact") or []),
        must_exist=bool(config.getoption("releasegate_must_exist")),
        again=_goes_before(plan, asking.expression(config)),
        origin=origin_of(config.rootpath, plan),
    )


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
        starts = store.starts(session.release.id, gate)
        found |= {start.gate for start in starts}
        session.notes += [begun(gate, start) for start in starts if (start.gate, start.case) not in results]
    return frozenset(found)


def _rehearsal(draft: _Draft) -> GateSession:
    from pytest_releasegate.store import open_store

    config, identity = draft.config, draft.identity
    named = config.getoption("releasegate_env") or any(
        str(argument).startswith("--base-url") for argument in config.invocation_params.args
    )
    if identity.environment.protected and not named and not config.getoption("collectonly"):
        what = f"the environment '{draft.name}' is protected, and the command does not name it"
        raise UsageProblem(what, f"--env {','.join(draft.fleet) or draft.name}")
    try:
        store = open_store(record_url(config), create=False)
        release = store.find_release(identity.product, identity.version, draft.name)
    except RecordError:
        store, release = None, None
    release = release or Release(
        product=identity.product, version=identity.version, environment=draft.name, opened_at=draft.clock.now()
    )
    session = draft.session(store, release, draft.plan)
    why = "another URL than the environment's own was named" if identity.overridden else "gates were named by path"
    session.notes.append(f"a rehearsal: {why}, nothing is recorded")
    return _filled(session, config)


def _worker(draft: _Draft, sent: dict[str, Any]) -> GateSession:
    from pytest_releasegate.store import open_store

    if not sent["url"]:
        return _rehearsal(draft)
    store = open_store(sent["url"], create=False)
    release = store.release(sent["release"])
    session = draft.session(store, release, store.plan(release.id))
    session.run, session.fresh = sent["run"], frozenset(sent["fresh"])
    session.worker = str(getattr(draft.config, "workerinput")["workerid"])  # noqa: B009  xdist's own attribute
    return _filled(session, draft.config)


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


def _asked(config: pytest.Config, fleet: Iterable[str]) -> Asked:
    """What the user said; to a worker, the targets that the controller has found."""
    base_url = str(config.getoption("base_url", None) or config.getini("base_url") or "")
    return Asked(
        release=str(config.getoption("releasegate_release") or ""),
        environment=",".join(fleet) or str(config.getoption("releasegate_env") or ""),
        base_url="" if fleet else base_url,
        ini_release=str(config.getini("releasegate_release") or ""),
        ini_environment=str(config.getini("releasegate_env") or ""),
    )
