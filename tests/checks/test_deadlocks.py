"""`deadlocks`: one that came after the mark does not pass, and counters of another series tell nothing."""

from __future__ import annotations

from contextlib import suppress
from threading import Barrier, Thread
from typing import Any

import psycopg
import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.deadlocks import Deadlocks
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import Remembered, look

SCRIPT = "create table pair (id int primary key, n int); insert into pair values (1, 0), (2, 0)"


@pytest.fixture
def environment(fresh_database: Any) -> Environment:
    made: Environment = fresh_database(SCRIPT)
    return made


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def marked(environment: Environment) -> dict[str, Any]:
    seen = look(Deadlocks(mark=True), environment)
    assert seen.status is Status.PASSED, seen.message
    return dict(seen.kept)


def deadlock(dsn: str) -> None:
    """Two sessions that wait for each other, until the server ends one."""
    both = Barrier(2)

    def update(*order: int) -> None:
        with suppress(psycopg.errors.DeadlockDetected), psycopg.connect(dsn) as connection:
            connection.execute("set local deadlock_timeout = '10ms'")
            for number in order:
                connection.execute("update pair set n = n + 1 where id = %s", [number])
                if number == order[0]:
                    both.wait()

    threads = [Thread(target=update, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_deadlock_since_the_mark_fails(environment: Environment, server: Any, superuser: Any) -> None:
    memory = Remembered(this=marked(environment))
    # what gates do themselves is rolled back, and no traffic
    superuser(environment, "select 1")
    seen = look(Deadlocks(), environment, memory=memory)
    assert seen.status is Status.PASSED, told(seen)
    assert told(seen)[0] == "deadlocks since 'before': expected <= 0, got 0 since 2026-01-01 00:00:00Z [yes]"
    deadlock(server.dsn(environment.databases["app"].rsplit("/", 1)[1]))
    seen = look(Deadlocks(), environment, memory=memory)
    assert seen.status is Status.FAILED
    assert told(seen)[0].endswith("; the server's log names the statements [no]")
    assert look(Deadlocks(most=1), environment, memory=memory).status is Status.PASSED


def test_a_second_mark_leaves_the_first(environment: Environment) -> None:
    first = {"deadlocks": 0, "transactions": 1, "reset": "never", "timeline": "00000001", "started": "x"}
    seen = look(Deadlocks(mark=True), environment, memory=Remembered(this={"deadlocks/app/before": first}))
    assert seen.kept["deadlocks/app/before"] == first
    assert "got set at 2026-01-01 00:00:00Z [yes]" in told(seen)[0]


def test_without_a_mark_nobody_can_tell(environment: Environment) -> None:
    seen = look(Deadlocks(since="noon"), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert "it is set by a gate with `deadlocks: {since: noon, mark: true}`" in told(seen)[0]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"reset": "2026-01-01"}, "the statistics were reset at "),
        ({"timeline": "00000002"}, "another server answers now (timeline 00000001, then 00000002)"),
        ({"transactions": 10**15}, "the counters were lost, maybe in a crash"),
        ({"series": "1/2/3"}, "a crash threw them away, or another server or database answers now"),
    ],
)
def test_counters_of_another_series_cannot_tell(environment: Environment, change: dict[str, Any], why: str) -> None:
    kept = {"deadlocks/app/before": {**marked(environment)["deadlocks/app/before"], **change}}
    seen = look(Deadlocks(), environment, memory=Remembered(this=kept))
    assert seen.status is Status.INCONCLUSIVE
    assert f"got cannot be counted: {why}" in told(seen)[0]


def test_without_traffic_nobody_can_tell(environment: Environment) -> None:
    memory = Remembered(this=marked(environment))
    seen = look(Deadlocks(least=10**6), environment, memory=memory)
    assert (seen.status, seen.findings[-1].name) == (Status.INCONCLUSIVE, "transactions since looked at")


def test_a_database_out_of_reach_is_an_error() -> None:
    environment = Environment(name="test", databases={"app": "postgresql://nobody@127.0.0.1:9/app"})
    assert look(Deadlocks(), environment).status is Status.ERROR


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ValidationError):
        Deadlocks(mark=True, most=3)
