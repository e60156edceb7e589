"""`metrics` on whether the process has run since the deployment, and on how much arrives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.metrics import Metrics
from pytest_releasegate.model import Environment, Release, Status
from pytest_releasegate.testing import FakeClock, look
from tests.checks.test_metrics import App, app, named, watched

if TYPE_CHECKING:
    from pytest_releasegate.execution import Look

__all__ = ["app"]

DEPLOYED = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def since(app: App, deployed: datetime | None = DEPLOYED, **given: Any) -> Look:
    release = Release(product="p", version="1.4.0", environment="test", opened_at=DEPLOYED, deployed_at=deployed)
    check = Metrics.model_validate({"window": "lifetime", "no_restart": True, **given})
    return look(check, Environment(name="test", base_url=app.url), clock=FakeClock(), release=release)


def test_a_process_that_started_by_the_deployment_and_keeps_its_memory(app: App) -> None:
    app.started = (DEPLOYED + timedelta(seconds=4)).timestamp()
    seen = since(app, gauges={"db_pool_in_use": "< 8"})
    assert (seen.status, named(seen, "process").actual) == (Status.PASSED, "started 2026-01-05 09:00:04 UTC")


def test_a_process_that_was_killed_meanwhile(app: App) -> None:
    app.started = (DEPLOYED + timedelta(minutes=7)).timestamp()
    seen = since(app)
    assert (seen.status, str(named(seen, "process"))) == (
        Status.FAILED,
        "process: expected started by the deployment, 2026-01-05 09:00:00 UTC, "
        "got started 2026-01-05 09:07:00 UTC, restarted since",
    )


def test_without_an_instant_nobody_knows(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = since(app, None)
    assert (seen.status, "has no deployed_at yet" in seen.message) == (Status.ERROR, True)
    text = app.text().replace("process_start_time_seconds", "something_else")
    monkeypatch.setattr(app, "text", lambda: text)
    seen = since(app)
    assert (seen.status, named(seen, "process").actual) == (Status.INCONCLUSIVE, "no process_start_time_seconds")


@pytest.mark.parametrize(
    ("requests", "status", "actual"),
    [
        (50, Status.PASSED, "20 (200 in 10s)"),
        (20, Status.FAILED, "8 (80 in 10s)"),
        (0, Status.FAILED, "0 (0 in 10s)"),
    ],
)
def test_as_many_requests_arrive_as_should(app: App, requests: int, status: Status, actual: str) -> None:
    app.serve(1)
    seen = watched(app, lambda _: app.serve(requests), watch="10s", rate=">= 10")
    found = named(seen, "requests a second")
    assert (seen.status, found.expected, found.actual) == (status, ">= 10", actual)


def test_a_lifetime_has_no_rate() -> None:
    with pytest.raises(ValidationError, match="rate needs a watch"):
        Metrics.model_validate({"window": "lifetime", "rate": ">= 1"})
