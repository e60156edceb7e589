"""When a look at the running version is the deployment, and when it says nothing of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checks.version import others
from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.lifecycle.arrival import arrival, sees_arrival
from pytest_releasegate.model import (
    Finding,
    Gate,
    Item,
    Ok,
    Phase,
    Place,
    Plan,
    PlannedGate,
    Release,
    Result,
    Run,
    Severity,
    Status,
)
from pytest_releasegate.store import Store, open_store
from pytest_releasegate.verdict import stand

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
OLD, NEW = "a" * 40, "b" * 40
NOTHING = "nothing in the record shows that something else ran before"


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def gate(name: str, phase: Phase = Phase.DEPLOY, step: str = "after", **parameters: Any) -> Gate:
    return Gate(
        id=name,
        title="It runs",
        item=Item("1", "T"),
        phase=phase,
        step=step,
        severity=Severity.HIGH,
        kind=parameters.pop("kind", "version"),
        parameters={"url": ["/version"]} | parameters,
        place=Place("gates/a.yaml"),
    )


GATES = (
    gate("v"),
    gate("before", step="before"),
    gate("other", expect="9.9", keep="other"),
    gate("pinned", expect="1.4.0"),
    gate("back", Phase.ROLLBACK, "verify", expect="previous"),
    gate("bare", commit=None),
    gate("commit", version=None),
)
PLAN = Plan(tuple(PlannedGate(each, f"digest of {each.id}") for each in GATES), "plan")


class World:
    """A record, and what happened in it, in minutes from its beginning."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def opened(self, version: str = "1.4.0", commit: str = NEW, minutes: float = 0, **more: Any) -> Release:
        """A release of the record."""
        about = {"product": "shop", "environment": "prod", "version": version, "git_commit": commit}
        return self.store.open_release(Release(**about, opened_at=at(minutes), **more), PLAN)  # type: ignore[arg-type]

    def deployed(self, version: str = "1.3.0", commit: str = OLD, minutes: float = 1) -> Release:
        """A release that a person says was deployed."""
        return self.store.set_deployed(self.opened(version, commit).id, at(minutes), "ann")

    def looked(self, release: Release, name: str, minutes: float, **more: Any) -> Result:
        """A look at a version, by default one that passed."""
        whole: dict[str, Any] = {"status": Status.PASSED, "seconds": 3.0, "gate_digest": f"digest of {name}"}
        ran = more.pop("ran", (release.version, release.git_commit))
        if more.get("status", Status.PASSED) is Status.PASSED:
            whole["kept"] = {"version/running": dict(zip(("version", "commit"), ran, strict=True))}
        result = Result(gate=name, started_at=at(minutes), **whole | more)
        run = Run(started_at=at(minutes), expression="deploy", scope=(name,), host="h", pid=1)
        self.store.add_result(release.id, self.store.start_run(release.id, run), result, {})
        return result

    def sees(self, release: Release, name: str = "v", minutes: float = 60, **more: Any) -> str:
        """The line that a look leads to; empty for none."""
        result = self.looked(release, name, minutes, **more)
        seen = arrival(self.store, release, PLAN, result, at(minutes + 1))
        return seen.line if seen else ""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty record in a file, to be copied."""
    path = tmp_path_factory.mktemp("record") / "empty.db"
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def world(tmp_path: Path, empty: Path) -> Iterator[World]:
    """An empty record."""
    shutil.copy(empty, tmp_path / "record.db")
    with open_store(f"sqlite:///{tmp_path}/record.db") as opened:
        yield World(opened)


def failed(*pairs: tuple[str, str, str]) -> dict[str, Any]:
    return {"status": Status.FAILED, "findings": tuple(Finding(*pair, Ok.NO) for pair in pairs)}


def test_the_first_look_tells_when_and_leaves_the_gate_itself_in_time(world: World) -> None:
    world.deployed()
    release = world.opened(minutes=30)
    assert world.sees(release) == (
        "DEPLOYED 2026-01-05 10:00:03 UTC, seen by gate v: 1.4.0/prod runs; "
        "before it, 1.3.0 ran when 1.3.0/prod was deployed, 2026-01-05 09:01 UTC"
    )
    known = world.store.release(release.id)
    assert (known.deployed_at, known.deployed_by) == (at(60) + timedelta(seconds=3), "gate v")
    assert (known.seen_by, known.deployment) == ("v", "seen by gate v")
    (line,) = world.store.audit(release.id)
    assert line.user_id == "gate v"
    assert line.action_description == "deployed at 2026-01-05T10:00:03+00:00"
    assert world.sees(release, minutes=61) == ""
    assert world.store.release(release.id) == known
    # what waited for the version looked at it; what looked meanwhile looked at something else
    plan = Plan((PLAN.by_id()["v"], PlannedGate(gate("w", kind="http"), "digest of w")), "p")
    rows = [
        replace(result, gate=name, gate_digest=f"digest of {name}")
        for name in "vw"
        for result in [next(each for each in world.store.results(release.id) if each.gate == "v")]
    ]
    found = stand(plan, rows, world.store.claims(release.id), known, at(70))
    assert (found["v"].status, found["w"].status) == (Status.PASSED, Status.MISSING)
    assert world.store.verify() == []


def test_outside_of_its_window_is_said(world: World) -> None:
    world.deployed()
    line = world.sees(world.opened(minutes=30, window=(at(30), at(60))))
    assert line.endswith(". That is outside of its window")


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("before", {}),
        ("other", {}),
        ("pinned", {}),
        ("back", {}),
        ("gone", {}),
        ("v", {"gate_digest": "of another declaration"}),
        *[("v", {"status": status}) for status in Status if status is not Status.PASSED],
    ],
)
def test_other_looks_say_nothing_of_it(world: World, name: str, result: dict[str, Any]) -> None:
    world.deployed()
    release = world.opened(minutes=30)
    assert world.sees(release, name, **result) == ""
    assert world.store.release(release.id).deployed_at is None


@pytest.mark.parametrize(
    ("earlier", "line"),
    [
        # nothing, and what says nothing of this place
        ([], NOTHING),
        ([("other", {"ran": ("9.8", "")})], NOTHING),
        ([("pinned", {"ran": ("1.4.0", "")})], NOTHING),
        ([("v", {"status": Status.ERROR})], NOTHING),
        ([("v", failed(("version at /version", "1.4.0", "503 Service Unavailable")))], NOTHING),
        ([("v", failed(("answers", "at least 1", "0")))], NOTHING),
        # another version or commit
        ([("before", {"ran": ("1.3.0", OLD)})], "DEPLOYED"),
        ([("v", failed(("version at /", "1.4.0", "1.3.0 (1 of 2 answers), 1.4.0 (1 of 2 answers)")))], "DEPLOYED"),
        ([("v", failed(("commit at /version", NEW, OLD)))], "DEPLOYED"),
        ([("before", {}), ("before", {"ran": ("1.3.0", OLD)})], "DEPLOYED"),
        # the same, already
        ([("before", {})], "so it did by gate before, 2026-01-05 09:40 UTC"),
        ([("before", {"ran": ("v1.4.0", NEW)})], "so it did by gate before, 2026-01-05 09:40 UTC"),
        ([("before", {"ran": ("1.3.0", OLD)}), ("before", {})], "so it did by gate before, 2026-01-05 09:41 UTC"),
        # seen to arrive by a run that was cut off before it could say so
        ([("before", {"ran": ("1.3.0", OLD)}), ("v", {})], "DEPLOYED"),
    ],
)  # fmt: skip
def test_what_ran_before_decides(world: World, earlier: list[tuple[str, dict[str, Any]]], line: str) -> None:
    release = world.opened()
    for number, (name, more) in enumerate(earlier):
        world.looked(release, name, 40 + number, **more)
    assert line in world.sees(release)
    assert bool(world.store.release(release.id).deployed_at) == (line == "DEPLOYED")


@pytest.mark.parametrize(
    ("name", "version", "commit", "seen"),
    [
        ("v", "1.3.0", OLD, True),
        ("v", "1.4.0-rc1", NEW, True),
        ("bare", "1.3.0", OLD, True),
        ("commit", "1.3.0", NEW, False),
        ("commit", "1.3.0", OLD, True),
        ("commit", "1.3.0", "", False),
    ],
)
def test_a_gate_that_could_not_tell_the_two_apart_has_not_seen_it_arrive(
    world: World, name: str, version: str, commit: str, seen: bool
) -> None:
    world.deployed(version, commit)
    line = world.sees(world.opened(minutes=30), name)
    assert line.startswith(
        "DEPLOYED" if seen else "NOT KNOWN SINCE WHEN: 1.4.0/prod runs by gate commit; so it did when "
    )


@pytest.mark.parametrize(
    ("looks", "line"),
    [
        ([], "1.4.0/prod was rolled back, and no gate has looked at what ran after it"),
        ([("back", 25, ("1.3.0", OLD))], "DEPLOYED"),
        ([("back", 25, ("1.3.0", OLD)), ("v", 26, ("1.4.0", NEW))], "1.4.0/prod was rolled back, and no gate"),
    ],
)
def test_another_attempt_needs_a_look_that_saw_the_old_one(
    world: World, looks: list[tuple[str, float, tuple[str, str]]], line: str
) -> None:
    world.deployed()
    first = world.deployed("1.4.0", NEW, 10)
    world.store.roll_back(first.id, at(20), reason="errors", person="ann")
    for name, minutes, ran in looks:
        world.looked(first, name, minutes, ran=ran)
    second = world.opened(attempt=2, minutes=30)
    assert line in world.sees(second)
    words = "Say it: releasegate deployed --at INSTANT --release 1.4.0 --env prod"
    assert line == "DEPLOYED" or words in world.sees(second, minutes=61)


def test_what_was_rolled_back_is_no_proof_of_what_ran_after_it(world: World) -> None:
    newer = world.deployed("1.5.0", "c" * 40)
    world.looked(newer, "v", 2)
    world.store.roll_back(newer.id, at(20), reason="errors", person="ann")
    assert "1.5.0/prod was rolled back, and no gate has looked" in world.sees(world.opened(minutes=30))


def test_who_said_it_meanwhile_is_not_overruled(world: World) -> None:
    world.deployed()
    release = world.opened(minutes=30)
    said = world.store.set_deployed(release.id, at(59), "ann")
    assert world.sees(release) == ""
    assert world.store.release(release.id) == said
    with pytest.raises(UsageProblem, match=r"by the record \(said by ann\)"):
        world.store.set_deployed(release.id, at(60), "gate v")


@pytest.mark.parametrize(
    ("changes", "sees"),
    [
        ({}, True),
        ({"phase": Phase.DAY1, "step": ""}, True),
        ({"phase": Phase.PREDEPLOY, "step": ""}, False),
        ({"step": "migrate"}, False),
        ({"expect": "previous"}, False),
        ({"kind": "http"}, False),
    ],
)
def test_which_gates_see_it(changes: dict[str, Any], sees: bool) -> None:
    assert sees_arrival(gate("v", **changes)) == sees
    assert not sees_arrival(replace(gate("v", **changes), due=timedelta(hours=1)))


@pytest.mark.parametrize(
    ("name", "expected", "actual", "found"),
    [
        ("version at /v", "1.4.0", "1.3.0", ["1.3.0"]),
        ("version at /v", "1.4.0", "v1.4.0 (1 of 3 answers), v1.3.9-rc.1 (2 of 3 answers)", ["v1.3.9-rc.1"]),
        ("commit at /v", NEW, OLD[:9], [OLD[:9]]),
        ("commit at /v", NEW, NEW[:9], []),
        *[("version at /", "1.4.0", text, []) for text in ("404 Not Found", "no version", "not JSON")],
        ("status", "200", "1.3.0", []),
    ],
)  # fmt: skip
def test_what_ran_instead_is_told_from_answers_that_tell_nothing(
    name: str, expected: str, actual: str, found: list[str]
) -> None:
    assert others(Finding(name, expected, actual, Ok.NO)) == found
    assert others(Finding(name, expected, actual, Ok.YES)) == []
