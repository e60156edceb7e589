"""`slow_queries`: a statement that became slow does not pass, and nothing compared is never green."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.slow_queries import SlowQueries
from pytest_releasegate.model import Status
from pytest_releasegate.sources.pgstatements import Statement, Statements, normalised
from pytest_releasegate.testing import Remembered, look
from tests.conftest import missing_here

COUNT = "select count(*) from rows where n > {}"


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


@pytest.fixture
def counting(primary: Any) -> Any:
    """The primary with the extension, its counters at zero and a small table."""
    if "pg_stat_statements" not in primary.server.settings.get("shared_preload_libraries", ""):
        missing_here("pg_stat_statements")
    primary.run(
        "create schema if not exists extensions",
        "grant usage on schema extensions to watcher",
        "create extension if not exists pg_stat_statements schema extensions",
        "create table rows as select i as n from generate_series(1, 10) i",
        "select extensions.pg_stat_statements_reset()",
    )
    yield primary
    primary.run("drop table rows", "drop extension pg_stat_statements")


def use(primary: Any, times: int) -> None:
    primary.run(*[COUNT.format(number) for number in range(times)])


def test_a_statement_that_became_slow_fails(counting: Any) -> None:
    use(counting, 20)
    marked = look(SlowQueries(mark=True), counting.environment)
    assert marked.status is Status.PASSED, marked.message
    assert "set over" in told(marked)[0]
    memory = Remembered(this=dict(marked.kept))
    check = SlowQueries(mean="<= 4x", ignore_below="0s")
    counting.run("insert into rows select i from generate_series(1, 50000) i")
    use(counting, 20)
    seen = look(check, counting.environment, memory=memory)
    assert seen.status is Status.FAILED, told(seen)
    assert told(seen)[0].startswith("select count(*) from rows where n > $n: expected <= 4x of 0.")
    assert "beyond it [no]" in told(seen)[1]
    assert told(seen)[-1] == "statements compared looked at: expected >= 1, got 1 [yes]"
    assert b"ms before" in seen.attached[0][1]
    assert look(SlowQueries(mean="<= 100000x"), counting.environment, memory=memory).status is Status.PASSED
    # so many are too few to tell
    seen = look(SlowQueries(min_calls=21), counting.environment, memory=memory)
    assert seen.status is Status.INCONCLUSIVE
    assert told(seen)[-1] == "statements compared looked at: expected >= 1, got 0 [cannot tell]"


def test_bounds_hold_without_a_baseline_where_the_gate_says_so(counting: Any) -> None:
    use(counting, 20)
    seen = look(SlowQueries(), counting.environment)
    assert seen.status is Status.INCONCLUSIVE
    assert told(seen)[0] == "baseline: expected one to compare with, got nothing kept of 'before' [cannot tell]"
    first = {"first_run": "absolute", "against": "previous"}
    assert look(SlowQueries(limit="10s", **first), counting.environment).status is Status.PASSED
    seen = look(SlowQueries(limit="1ms", share="<= 1%", **first), counting.environment)
    assert seen.status is Status.FAILED
    assert "largest share of the time: expected <= 1%, got 100%: select count(*) from rows where n > $n [no]" in told(
        seen
    )
    counting.run(*["select pg_sleep(0.002)"] * 20)
    seen = look(SlowQueries(limit="1ms", **first), counting.environment)
    assert told(seen)[1].startswith("select pg_sleep($n): expected <= 1ms, got ")


def test_the_release_before_is_a_baseline(counting: Any) -> None:
    use(counting, 20)
    kept = look(SlowQueries(first_run="absolute", limit="10s"), counting.environment).kept
    memory = Remembered(previous=dict(kept))
    seen = look(SlowQueries(against="previous", mean="<= 1000x", min_calls=20), counting.environment, memory=memory)
    assert seen.status is Status.INCONCLUSIVE
    use(counting, 20)
    seen = look(SlowQueries(against="previous", mean="<= 1000x"), counting.environment, memory=memory)
    assert seen.status is Status.PASSED, told(seen)


def test_counters_that_were_reset_or_dropped(counting: Any) -> None:
    use(counting, 20)
    kept = look(SlowQueries(mark=True), counting.environment).kept["slow_queries/app/before"]
    reset = Remembered(this={"slow_queries/app/before": {**kept, "reset": "2026-01-01"}})
    seen = look(SlowQueries(), counting.environment, memory=reset)
    assert seen.status is Status.INCONCLUSIVE
    assert "cannot be compared: the statistics were reset at 20" in told(seen)[0]
    other = Remembered(this={"slow_queries/app/before": {**kept, "series": ""}})
    seen = look(SlowQueries(), counting.environment, memory=other)
    assert seen.status is Status.INCONCLUSIVE
    assert "cannot be compared: a crash threw them away, or another server" in told(seen)[0]
    dropped = Remembered(this={"slow_queries/app/before": {**kept, "dealloc": -1}})
    use(counting, 20)
    seen = look(SlowQueries(mean="<= 1000x"), counting.environment, memory=dropped)
    assert seen.status is Status.PASSED
    assert "raise pg_stat_statements.max [no]" in told(seen)[-2]


def test_without_the_extension_it_is_an_error(primary: Any, fresh_database: Any, superuser: Any) -> None:
    seen = look(SlowQueries(), primary.environment)
    assert seen.status is Status.ERROR
    assert "the database has no extension pg_stat_statements" in seen.message
    assert "add pg_stat_statements to shared_preload_libraries" in seen.message
    environment = fresh_database("create extension pg_stat_statements; grant pg_monitor to outsider", user="outsider")
    seen = look(SlowQueries(), environment)
    superuser(environment, "revoke pg_monitor from outsider")
    assert "the server does not load pg_stat_statements" in seen.message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select $1", "select $2"),
        ("select  1\n", "select 1"),
        ("select a from b where c in ($1, $2, $3)", "select a from b where c in ($1, $2)"),
        ("select 1 /* trace=abc */", "select 1 /* trace=def */"),
        ("select a from b where c in ($1 /*, ... */)", "select a from b where c in ($1,$2)"),
    ],
)
def test_texts_that_mean_the_same_are_one(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


def test_a_value_comes_back_out_of_the_record() -> None:
    kept = Statements({"a": Statement("select 1", 3, 4.5)}, 2, "never")
    assert Statements.of_value(kept.as_value()) == kept


@pytest.mark.parametrize(
    "wrong", [{"mean": "<= 5"}, {"first_run": "absolute"}, {"mark": True, "against": "previous"}, {"min_calls": 0}]
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SlowQueries(**wrong)
