"""What holds a phase beside its gates: freezes, business hours, the environment that comes first; never a rollback."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.model import (
    Decision,
    Gate,
    Item,
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
from pytest_releasegate.policy import Freeze, Rules
from pytest_releasegate.report.view import view
from pytest_releasegate.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_releasegate.store import Store

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def planned(phase: Phase, step: str = "") -> PlannedGate:
    name = f"{phase}.{step}".rstrip(".")
    gate = Gate(
        id=name,
        title="t",
        item=Item("1", "T"),
        phase=phase,
        step=step,
        severity=Severity.CRITICAL,
        kind="http",
        place=Place("gates/a.yaml"),
    )
    return PlannedGate(gate, f"digest {name}")


GATES = (planned(Phase.PREDEPLOY), planned(Phase.DEPLOY, "after"), planned(Phase.ROLLBACK, "decide"))


def plan(**rules: Any) -> Plan:
    return Plan(GATES, "plan", rules=Rules(**rules))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/record.db") as opened:
        yield opened


def opened(store: Store, rules: Plan, environment: str = "prod", *, passed: bool = True, **changes: Any) -> Release:
    """A deployed release in which every gate has passed, or has failed."""
    asked = Release(
        product="shop",
        version="1.4.0",
        environment=environment,
        git_commit="abc",
        opened_at=NOW - 9 * HOUR,
        deployed_at=NOW - 2 * HOUR,
    )
    release = store.open_release(replace(asked, **changes), rules)
    run = store.start_run(release.id, Run(started_at=NOW, expression="", scope=(), host="h", pid=1))
    for gate in GATES:
        at = NOW - (3 if gate.gate.phase is Phase.PREDEPLOY else 1) * HOUR
        status = Status.PASSED if passed else Status.FAILED
        result = Result(gate=gate.gate.id, status=status, started_at=at, gate_digest=gate.digest)
        store.add_result(release.id, run, result, {})
    return release


def words(store: Store, release: Release) -> dict[str, str]:
    """The word of each phase, with the reasons that are no gate's."""
    found = view(store, release, NOW).phases
    return {
        phase.value: "; ".join([verdict.decision, *(one.text for one in verdict.reasons if not one.gate)])
        for phase, verdict in found.items()
    }


def freeze(start: timedelta, end: timedelta, **changes: Any) -> tuple[Freeze, ...]:
    return (Freeze(start=NOW + start, end=NOW + end, reason="end of year", **changes),)


def test_without_rules_nothing_holds(store: Store) -> None:
    assert words(store, opened(store, Plan(GATES, "plan"))) == dict.fromkeys(("predeploy", "deploy", "rollback"), "GO")


def test_a_freeze_at_the_deployment_holds_it_and_never_a_rollback(store: Store) -> None:
    told = words(store, opened(store, plan(freezes=freeze(-3 * HOUR, -HOUR))))
    assert told["deploy"].startswith("HOLD; frozen from 2026-01-05 06:00 to 2026-01-05 08:00 UTC: end of year")
    assert (told["predeploy"], told["rollback"]) == ("GO", "GO")


@pytest.mark.parametrize(
    ("span", "changes", "word"),
    [
        ((-HOUR, HOUR), {}, "GO"),
        ((-3 * HOUR, -2 * HOUR), {}, "GO"),
        ((-2 * HOUR, -HOUR), {}, "HOLD"),
        ((-3 * HOUR, HOUR), {"environments": ("staging",)}, "GO"),
        ((-3 * HOUR, HOUR), {"environments": ("prod",)}, "HOLD"),
        ((-3 * HOUR, HOUR), {"except_profiles": ("hotfix",)}, "HOLD"),
    ],
)
def test_which_freezes_hold(store: Store, span: Any, changes: Any, word: str) -> None:
    assert words(store, opened(store, plan(freezes=freeze(*span, **changes))))["deploy"].partition(";")[0] == word


def test_a_window_in_a_freeze_holds_predeploy_already(store: Store) -> None:
    window = (NOW + HOUR, NOW + 3 * HOUR)
    release = opened(store, plan(freezes=freeze(2 * HOUR, 9 * HOUR)), window=window, deployed_at=None)
    assert words(store, release)["predeploy"].startswith("HOLD; frozen from 2026-01-05 11:00")


def test_the_environment_that_comes_first(store: Store) -> None:
    rules = plan(after={"prod": ("staging",)})
    release = opened(store, rules)
    unknown = "HOLD; staging comes first, and the record knows no release of commit abc there"
    assert words(store, release)["predeploy"] == unknown
    opened(store, rules, "staging", git_commit="other")
    assert words(store, release)["predeploy"] == unknown
    failed = opened(store, rules, "staging", passed=False, version="1.4.0-rc1")
    told = words(store, release)["predeploy"]
    assert told == "HOLD; staging comes first, and there 1.4.0-rc1/staging: deploy is NO-GO"
    assert words(store, failed)["predeploy"] == "NO-GO"
    opened(store, rules, "staging", version="1.4.0-rc2")
    assert words(store, release) == dict.fromkeys(("predeploy", "deploy", "rollback"), "GO")
    assert view(store, release, NOW).phases[Phase.DEPLOY].decision is Decision.GO


def test_an_environment_that_was_rolled_back_proves_nothing(store: Store) -> None:
    earlier = opened(store, plan(), "staging")
    later = opened(store, plan(after={"prod": ("staging",)}))
    assert words(store, later)["deploy"] == "GO"
    store.roll_back(earlier.id, NOW - HOUR / 2, reason="it leaks", person="ann")
    assert (
        "staging comes first, and there 1.4.0/staging was rolled back 2026-01-05 08:30" in words(store, later)["deploy"]
    )


def test_an_environment_that_another_one_holds_proves_nothing(store: Store) -> None:
    rules = plan(after={"prod": ("staging",), "staging": ("dev",)})
    opened(store, rules, "staging")
    later = opened(store, rules)
    assert "staging comes first, and there 1.4.0/staging: deploy is HOLD" in words(store, later)["deploy"]
    opened(store, rules, "dev")
    assert words(store, later)["deploy"] == "GO"


def test_plans_of_different_times_that_wait_for_each_other_are_judged(store: Store) -> None:
    opened(store, plan(after={"staging": ("prod",)}), "staging")
    later = opened(store, plan(after={"prod": ("staging",)}))
    assert words(store, later)["deploy"] == "GO"
