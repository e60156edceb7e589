"""A release is opened loudly, found again, and keeps its plan; runs that were cut off are told and ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.lifecycle.identify import Identity
from pytest_releasegate.lifecycle.opening import Opened, cut_off, open_or_find, person
from pytest_releasegate.model import (
    Environment,
    Finding,
    Gate,
    Item,
    Ok,
    Phase,
    Place,
    Plan,
    PlannedGate,
    Result,
    Run,
    Severity,
    Status,
)
from pytest_releasegate.store import Store, open_store
from pytest_releasegate.store.journal import Recovered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty record in a file."""
    with open_store(f"sqlite:///{tmp_path}/record.db") as opened:
        yield opened


def plan(*rows: tuple[str, str]) -> Plan:
    gates = tuple(
        PlannedGate(
            Gate(
                id=name,
                title="Healthy",
                item=Item("1", "T"),
                phase=Phase.PREDEPLOY,
                severity=Severity.HIGH,
                kind="http",
                place=Place("gates/a.yaml"),
            ),
            digest,
        )
        for name, digest in rows or (("1.1", "a"),)
    )
    return Plan(gates, " ".join(f"{name}:{planned.digest}" for planned in gates for name in [planned.gate.id]))


def identity(*, protected: bool = False, commit: str = "c" * 40) -> Identity:
    return Identity(
        product="shop",
        version="1.4.0",
        version_from="--release",
        environment=Environment(name="prod", protected=protected),
        environment_from="--env",
        base_url="",
        commit=commit,
        branch="main",
    )


def opened(store: Store, frozen: Plan | None = None, **changes: Any) -> Opened:
    who = changes.pop("identity", identity())
    return open_or_find(store, who, frozen or plan(), now=NOW, **changes)


def test_unknown_release_is_opened_loudly(store: Store, tmp_path: Path) -> None:
    found = opened(store, facts={"maintenance": False})
    assert found.notes == [f"no earlier record of 1.4.0/prod in sqlite:///{tmp_path}/record.db: opened now"]
    release = found.release
    assert (release.product, release.version, release.environment, release.attempt) == ("shop", "1.4.0", "prod", 1)
    assert (release.git_commit, release.git_branch, release.opened_at) == ("c" * 40, "main", NOW)
    assert (release.facts, release.plan_digest) == ({"maintenance": False}, plan().digest)
    assert (found.plan, store.plan(release.id)) == (plan(), plan())
    assert store.verify() == []


def test_known_release_is_found_again_in_silence(store: Store) -> None:
    first = opened(store)
    again = open_or_find(store, identity(), plan(), now=NOW + timedelta(days=1), must_exist=True)
    assert (again.release, again.plan, again.notes) == (first.release, plan(), [])
    assert len(store.releases()) == 1


def test_release_that_must_exist(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem) as told:
        opened(store, must_exist=True)
    assert str(told.value) == (
        f"the record sqlite:///{tmp_path}/record.db does not know 1.4.0/prod\n    releasegate open 1.4.0"
    )
    assert store.releases() == []


def test_what_was_rolled_back_is_opened_again_as_another_attempt(store: Store) -> None:
    first = opened(store).release
    store.set_deployed(first.id, NOW, "ann")
    assert opened(store, again=True).release.attempt == 1
    store.roll_back(first.id, NOW, reason="errors", person="ann")
    said = "1.4.0/prod was rolled back 2026-01-05 09:00 UTC (errors)"
    same = opened(store)
    assert (same.release.id, same.release.rollback_reason) == (first.id, "errors")
    assert same.notes == [
        f"{said}; this is about that attempt, another one begins with releasegate open 1.4.0 --env prod"
    ]
    with pytest.raises(UsageProblem) as told:
        opened(store, again=True, must_exist=True)
    assert str(told.value) == f"{said}\n    releasegate open 1.4.0"
    other = plan(("1.1", "another"))
    second = opened(store, other, again=True, identity=identity(protected=True, commit="d" * 40))
    assert second.notes == [f"{said}; attempt 2 opened now"]
    assert (second.release.attempt, second.release.git_commit, second.plan) == (2, "d" * 40, other)
    assert second.release.deployed_at is None
    assert opened(store, other, again=True, identity=identity(commit="d" * 40)).release.id == second.release.id
    assert store.plan(first.id) == plan()
    assert store.verify() == []


def test_password_of_the_record_is_not_in_the_note(store: Store) -> None:
    assert opened(store).notes[0].endswith(f"in {store.shown_url}: opened now")


def test_other_commit_is_told_and_does_not_replace_the_recorded_one(store: Store) -> None:
    opened(store)
    found = opened(store, identity=identity(commit="d" * 40))
    assert found.notes == [f"the release is of commit {'c' * 10}, here is {'d' * 10}"]
    assert found.release.git_commit == "c" * 40
    assert opened(store, identity=identity(commit="")).notes == []


def test_changed_plan_is_frozen_anew_where_nothing_is_protected(store: Store) -> None:
    opened(store)
    changed = plan(("1.1", "b"), ("1.2", "a"))
    found = opened(store, changed)
    assert found.notes == [
        "the plan has changed and was frozen anew:\n~ 1.1 Healthy: declared otherwise\n+ 1.2 Healthy"
    ]
    assert (found.plan, found.release.plan_digest) == (changed, changed.digest)
    assert store.plan(found.release.id) == changed
    assert opened(store, changed).notes == []
    assert store.verify() == []


def test_changed_plan_of_a_protected_environment_stops(store: Store) -> None:
    guarded = identity(protected=True)
    first = opened(store, identity=guarded)
    with pytest.raises(UsageProblem) as told:
        opened(store, plan(("1.2", "a")), identity=guarded)
    assert str(told.value) == (
        "the plan of 1.4.0/prod is frozen, and the gates declared now differ from it:\n"
        "- 1.1 Healthy\n+ 1.2 Healthy\n    releasegate replan 1.4.0 --env prod --reason '...'"
    )
    assert store.plan(first.release.id) == plan()
    assert opened(store, identity=guarded).notes == []


def test_long_differences_are_cut(store: Store) -> None:
    opened(store, plan(*((f"1.{number}", "a") for number in range(10, 35))))
    (note,) = opened(store, plan(("1.10", "a"))).notes
    lines = note.splitlines()
    assert (len(lines), lines[-1]) == (22, "and 4 more")


def run(**changes: Any) -> Run:
    whole: dict[str, Any] = {"started_at": NOW, "expression": "predeploy", "scope": ("1.1", "1.2"), "pid": gone()}
    return Run(host=socket.gethostname(), **whole | changes)


def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def looked_at(store: Store, release: int, run_id: int, gate: str) -> None:
    finding = Finding("n", "1", "1", Ok.YES)
    result = Result(gate=gate, status=Status.PASSED, started_at=NOW, findings=(finding,), gate_digest="a")
    store.add_result(release, run_id, result, {})


def test_run_that_was_cut_off_is_told_and_ended(store: Store) -> None:
    release = opened(store).release.id
    run_id = store.start_run(release, run())
    looked_at(store, release, run_id, "1.1")
    recovered = Recovered(run=run_id, recovered=3, problems=("x.jsonl:4: cut off",))
    lines = cut_off(store, release, [recovered], NOW + timedelta(hours=1))
    assert lines == [
        "x.jsonl:4: cut off",
        "the run of 2026-01-05 09:00:00 UTC (-m 'predeploy') was cut off, 3 results were recovered; "
        "1 of its 2 gates have no result of it: 1.2",
    ]
    (ended,) = store.runs(release)
    assert (ended.ended_at, ended.decision, ended.exit_code) == (NOW + timedelta(hours=1), "cut off", 2)
    assert cut_off(store, release, [], NOW) == []


def test_many_gates_without_a_result_are_cut(store: Store) -> None:
    release = opened(store).release.id
    store.start_run(release, run(scope=tuple(f"1.{number}" for number in range(12))))
    (line,) = cut_off(store, release, [], NOW)
    assert line.endswith("12 of its 12 gates have no result of it: 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7 ...")


def test_run_that_had_looked_at_everything_names_nothing(store: Store) -> None:
    release = opened(store).release.id
    run_id = store.start_run(release, run(scope=("1.1",)))
    looked_at(store, release, run_id, "1.1")
    (line,) = cut_off(store, release, [], NOW)
    assert line.endswith("was cut off; 0 of its 1 gates have no result of it")


@pytest.mark.parametrize("changes", [{"host": "elsewhere.example.com"}, {"pid": os.getppid()}])
def test_run_that_may_be_alive_is_told_and_left_alone(store: Store, changes: dict[str, Any]) -> None:
    release = opened(store).release.id
    under_way = replace(run(), **changes)
    store.start_run(release, under_way)
    assert cut_off(store, release, [], NOW) == [
        f"another run is under way: process {under_way.pid} on {under_way.host}, since 09:00:00 UTC"
    ]
    assert [found.ended_at for found in store.runs(release)] == [None]


def test_run_that_ended_is_not_spoken_of(store: Store) -> None:
    release = opened(store).release.id
    store.end_run(store.start_run(release, run()), at=NOW, decision="GO", exit_code=0)
    assert cut_off(store, release, [], NOW) == []


def test_person_is_whom_git_knows_or_the_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("USER", "ann")
    assert person(tmp_path) == "ann"
    (tmp_path / "gitconfig").write_text("[user]\nemail = ann@example.com\n")
    assert person(tmp_path) == "ann@example.com"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert person(tmp_path) == "ann"
    monkeypatch.delenv("USER")
    monkeypatch.setenv("LOGNAME", "bob")
    assert person(tmp_path) == "bob"
