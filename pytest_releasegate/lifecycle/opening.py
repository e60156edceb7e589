"""Opens a release, or finds it, and keeps its plan frozen."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.plan import differences
from pytest_releasegate.errors import ExitCode, UsageProblem, nearest
from pytest_releasegate.model import Release
from pytest_releasegate.policy import Person, objection
from pytest_releasegate.sources.git import answer
from pytest_releasegate.store.journal import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from pytest_releasegate.lifecycle.changes import Origin
    from pytest_releasegate.lifecycle.identify import Identity
    from pytest_releasegate.model import Plan
    from pytest_releasegate.policy import Rules
    from pytest_releasegate.store import Store
    from pytest_releasegate.store.journal import Recovered

__all__ = ["Opened", "cut_off", "may_declare", "open_or_find", "person"]

_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Opened:
    """A release of the record with its plan, and what a person should know about how it got there."""

    release: Release
    plan: Plan
    notes: list[str] = field(default_factory=list)


def open_or_find(
    store: Store,
    identity: Identity,
    plan: Plan,
    *,
    now: datetime,
    facts: Mapping[str, bool] | None = None,
    window: tuple[datetime, datetime] | None = None,
    profile: str = "",
    must_exist: bool = False,
    again: bool = False,
    origin: Origin | None = None,
) -> Opened:
    """The release that is meant, in its newest attempt; opened loudly when the record does not know it.

    `again` opens another attempt of what was rolled back; otherwise that attempt is what is meant, and said to be so.

    Raises `UsageProblem` when it must exist and does not, or when the plan of a protected environment has changed.
    """
    found = store.find_release(identity.product, identity.version, identity.environment.name)
    name = f"{identity.version}/{identity.environment.name}"
    if found is None or (found.rolled_back_at and again):
        if must_exist:
            why = _rolled_back(found) if found else f"the record {store.shown_url} does not know {name}"
            raise UsageProblem(why, f"releasegate open {identity.version}")
        attempt = found.attempt + 1 if found else 1
        _known(profile, plan)
        may_declare(plan.rules, person(origin.root) if origin else "", facts or {})
        opening = replace(_release(identity, plan, now, facts or {}), window=window, attempt=attempt, profile=profile)
        opening, derived = origin.opened(store, opening) if origin else (opening, [])
        said = f"{_rolled_back(found)}; attempt {attempt} opened now" if found else ""
        said = said or f"no earlier record of {name} in {store.shown_url}: opened now"
        release = store.open_release(opening, plan)
        store.set_stakeholders(release.id, _holders(plan.rules))
        return Opened(release, plan, [said, *derived])
    notes = ["the window stays as it was when the release was opened"] if window not in {None, found.window} else []
    notes += [f"the profile stays {found.profile or 'none'}, as it was opened"] * (profile not in {"", found.profile})
    if identity.commit and found.git_commit and identity.commit != found.git_commit:
        notes.append(f"the release is of commit {found.git_commit[:10]}, here is {identity.commit[:10]}")
    if found.rolled_back_at:
        command = f"releasegate open {found.version} --env {found.environment}"
        notes.append(f"{_rolled_back(found)}; this is about that attempt, another one begins with {command}")
    frozen = store.plan(found.id)
    if frozen.digest == plan.digest:
        return Opened(found, frozen, notes)
    return _replanned(store, identity, found, frozen, plan, now, notes, origin)


def may_declare(rules: Rules | None, who: str, facts: Iterable[str]) -> None:
    """Raises `UsageProblem` where the policy lets the person declare one of the facts in none of their roles."""
    mine = [name for name, role in rules.roles.items() if who in role.people] if rules else []
    for fact in facts if rules and rules.declare else ():
        objections = [objection(rules, "declare", who, role, fact=fact) for role in mine or [""]] if rules else []
        if all(objections):
            raise UsageProblem(f"fact {fact}: {objections[0]}", "ask one of them, or change gates/policy.yaml")


def _holders(rules: Rules | None) -> dict[str, tuple[str, str]]:
    """The first holder of each role, as name and address."""
    if rules is None:
        return {}
    first = {name: role.people[0] for name, role in rules.roles.items() if role.people}
    people = {name: rules.people.get(who, Person(who)) for name, who in first.items()}
    return {name: (one.name or one.id, one.email or one.id) for name, one in people.items()}


def _known(profile: str, plan: Plan) -> None:
    profiles = list(plan.rules.profiles) if plan.rules else []
    if profile and profile not in profiles:
        hint = nearest(profile, profiles) if profiles else "profiles stand in gates/policy.yaml"
        raise UsageProblem(f"unknown profile '{profile}'", hint)


def cut_off(store: Store, release_id: int, recovered: Sequence[Recovered], now: datetime) -> list[str]:
    """What a person should know of earlier runs that never ended; those whose process is gone are ended here."""
    by_run = {found.run: found for found in recovered}
    lines = [line for found in recovered for line in found.problems]
    for run in store.runs(release_id):
        if run.ended_at is not None:
            continue
        if run.host != socket.gethostname() or is_alive(run):
            lines.append(
                f"another run is under way: process {run.pid} on {run.host}, since {run.started_at:%H:%M:%S} UTC"
            )
            continue
        found = by_run.get(run.id)
        seen = store.looked_at(run.id)
        missing = [gate for gate in run.scope if gate not in seen]
        saved = f", {found.recovered} results were recovered" if found else ""
        shown = f": {', '.join(missing[:8])}{' ...' if len(missing) > 8 else ''}" if missing else ""
        lines.append(
            f"the run of {run.started_at:%Y-%m-%d %H:%M:%S} UTC (-m '{run.expression}') was cut off{saved}; "
            f"{len(missing)} of its {len(run.scope)} gates have no result of it{shown}"
        )
        store.end_run(run.id, at=now, decision="cut off", exit_code=ExitCode.INTERRUPTED)
    return lines


def person(root: Path) -> str:
    """Who runs this: the e-mail address that git knows, else the account's name."""
    return answer(root, "config", "user.email") or os.environ.get("USER") or getpass.getuser()


def _replanned(
    store: Store,
    identity: Identity,
    found: Release,
    frozen: Plan,
    plan: Plan,
    now: datetime,
    notes: list[str],
    origin: Origin | None,
) -> Opened:
    changes = differences(frozen, plan)
    shown = "\n".join(
        [*changes[:_MOST_LINES], *([f"and {len(changes) - _MOST_LINES} more"] * (len(changes) > _MOST_LINES))]
    )
    if identity.environment.protected:
        what = f"the plan of {found.name} is frozen, and the gates declared now differ from it:\n{shown}"
        raise UsageProblem(what, f"releasegate replan {found.version} --env {found.environment} --reason '...'")
    reason = "the gates were changed; the environment is not protected"
    derived, told = origin.derived(store, found) if origin else (None, [])
    release = store.replan(found.id, plan, at=now, person="pytest", reason=reason, derived=derived)
    return Opened(release, plan, [*notes, f"the plan has changed and was frozen anew:\n{shown}", *told])


def _rolled_back(release: Release) -> str:
    return f"{release.name} was rolled back {release.rolled_back_at:%Y-%m-%d %H:%M} UTC ({release.rollback_reason})"


def _release(identity: Identity, plan: Plan, now: datetime, facts: Mapping[str, bool]) -> Release:
    return Release(
        product=identity.product,
        version=identity.version,
        environment=identity.environment.name,
        git_commit=identity.commit,
        git_branch=identity.branch,
        opened_at=now,
        facts=dict(facts),
        plan_digest=plan.digest,
    )
