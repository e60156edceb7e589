from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checks.load import Load
from pytest_releasegate.model import Status
from pytest_releasegate.testing import Remembered, look

if TYPE_CHECKING:
    from pytest_releasegate.execution import Look


def measured(p95: float | None = 0.2, **changed: Any) -> dict[str, Any]:
    value = {"p95": p95, "requests": 900, "users": 5, "run_time": 60.0, "scenario": ["Visitor"], "locustfile": "ab"}
    return {key: found for key, found in (value | changed).items() if found is not None}


def compared(this: dict[str, Any] | None, previous: dict[str, Any] | None, **given: Any) -> Look:
    wanted = {"name": "v", "regression": "<= 50%", "first_run": "inconclusive"} | given
    return asked({"compare": wanted}, this, previous)


def asked(question: dict[str, Any], this: dict[str, Any] | None, previous: dict[str, Any] | None) -> Look:
    memory = Remembered(
        this={} if this is None else {"load/v": this}, previous={} if previous is None else {"load/v": previous}
    )
    return look(Load.model_validate(question), memory=memory)


def texts(seen: Look) -> list[str]:
    return [str(finding) for finding in seen.findings]


def test_a_run_about_as_fast_as_the_previous_passes() -> None:
    seen = compared(measured(0.25), measured(0.2))
    assert seen.status is Status.PASSED
    assert texts(seen) == [
        "requests looked at: expected >= 1, got 900",
        "p95 growth: expected <= 50%, or by no more than 50ms, got +25 %: 200 ms in 1.3.0, now 250 ms",
        "baseline: expected several runs, got 1 run, of 1.3.0: no confidence interval",
    ]
    assert seen.findings[-1].observe


def test_a_much_slower_run_fails() -> None:
    seen = compared(measured(0.4), measured(0.2))
    assert seen.status is Status.FAILED
    assert "got +100 %: 200 ms in 1.3.0, now 400 ms" in texts(seen)[1]


@pytest.mark.parametrize(("now", "floor", "status"), [(0.04, "50ms", "passed"), (0.04, "10ms", "failed")])
def test_growth_below_the_floor_is_none(now: float, floor: str, status: str) -> None:
    assert compared(measured(now), measured(0.01), floor=floor).status == status


def test_growth_that_rounding_could_explain_cannot_tell() -> None:
    seen = compared(measured(1.1), measured(1.0), regression="<= 5%")
    assert seen.status is Status.INCONCLUSIVE
    assert "too near to tell" in texts(seen)[1]


def test_another_load_is_not_compared() -> None:
    seen = compared(measured(), measured(users=50))
    assert seen.status is Status.INCONCLUSIVE
    assert texts(seen)[1] == (
        "baseline: expected Visitor with 5 users for 60s, got Visitor with 50 users for 60s, in 1.3.0: not comparable"
    )


def test_a_changed_locustfile_is_shown() -> None:
    seen = compared(measured(locustfile="cd"), measured())
    assert seen.status is Status.PASSED
    assert "locustfile: expected the baseline's, got changed since 1.3.0" in texts(seen)


@pytest.mark.parametrize(
    ("this", "previous", "says"),
    [
        (None, measured(), "none in the record: it has not run, or did not pass"),
        (measured(), None, "baseline load/v: expected a run of a previous release, got none in the record"),
        (measured(None), measured(), "too few requests for one"),
        (measured(), measured(None), "the previous run has no p95"),
    ],
)
def test_without_both_runs_a_comparison_cannot_tell(this: Any, previous: Any, says: str) -> None:
    seen = compared(this, previous)
    assert seen.status is Status.INCONCLUSIVE
    assert any(says in text for text in texts(seen))


@pytest.mark.parametrize(("bound", "status"), [("< 500ms", "passed"), ("< 150ms", "failed")])
def test_on_an_absolute_first_run_p95_decides(bound: str, status: str) -> None:
    seen = compared(measured(), None, first_run="absolute", p95=bound)
    assert seen.status == status
    assert "none in the record; p95 alone decides" in texts(seen)[-1]


@pytest.mark.parametrize(
    ("this", "previous", "first_run", "status", "says"),
    [
        (measured(), measured(), "inconclusive", "passed", "got Visitor with 5 users for 60s, in 1.3.0"),
        (measured(), measured(run_time=30.0), "absolute", "inconclusive", "not comparable"),
        (measured(), None, "inconclusive", "inconclusive", "none in the record"),
        (measured(), None, "absolute", "passed", "this release's run is the first baseline"),
        (None, measured(), "absolute", "inconclusive", "it has not run"),
    ],
)
def test_a_baseline_must_be_of_the_same_load(this: Any, previous: Any, first_run: str, status: str, says: str) -> None:
    seen = asked({"baseline": {"name": "v", "first_run": first_run}}, this, previous)
    assert seen.status == status
    assert says in texts(seen)[-1]
