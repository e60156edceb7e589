"""`snapshot`: exact counts of one instant, kept only when they are worth keeping."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.check import SystemClock
from pytest_releasegate.checks.snapshot import Snapshot
from pytest_releasegate.model import Environment, Release, Status
from pytest_releasegate.sources.pgtables import user_tables
from pytest_releasegate.testing import Remembered, look

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = """
create table clients (id int primary key, test_run text);
insert into clients select i, case when i > 8 then 'run' end from generate_series(1, 10) i;
create table "Odd ""name%" (id int);
insert into "Odd ""name%" values (1);
create table parent (id int);
create table child () inherits (parent);
insert into parent values (1);
insert into child values (2), (3);
create table events (id int, day date) partition by range (day);
create table events_1 partition of events for values from ('2026-01-01') to ('2026-02-01');
create table events_2 partition of events for values from ('2026-02-01') to ('2026-03-01');
insert into events values (1, '2026-01-01'), (2, '2026-02-02');
create schema audit;
create table audit.log (id int);
insert into audit.log values (1), (2);
create schema releasegate;
create table releasegate.result (id int);
create view seen as select * from clients;
"""


@pytest.fixture(scope="module")
def environment(new_database: Any) -> Environment:
    made: Environment = new_database(SCRIPT)
    return made


def counts(seen: Any, moment: str = "before") -> dict[str, int]:
    found: dict[str, int] = seen.kept[f"row_counts/app/{moment}"]["tables"]
    return found


def test_every_table_is_counted_once_and_kept(environment: Environment) -> None:
    seen = look(Snapshot(), environment)
    assert seen.status is Status.PASSED, seen.message
    assert counts(seen) == {
        "audit.log": 2,
        'public.Odd "name%': 1,
        "public.child": 2,
        "public.clients": 10,
        "public.events": 2,
        "public.parent": 1,
    }
    assert [f"{f.name}: {f.actual}" for f in seen.findings[1:]] == ["tables looked at: 6", "rows looked at: 18"]
    assert "18 rows in 6 tables at " in seen.findings[0].actual
    assert b"public.clients     10\n" in seen.attached[0][1]


def test_scope_and_predicates_are_kept_for_the_comparison(environment: Environment) -> None:
    where = {"clients": "test_run is null -- of the smoke tests"}
    seen = look(Snapshot(schemas=["public", "audit"], exclude=["audit.*", "e*"], where=where), environment)
    assert counts(seen)["public.clients"] == 8
    assert "audit.log" not in counts(seen)
    assert "public.events" not in counts(seen)
    kept = seen.kept["row_counts/app/before"]
    assert kept["where"] == {"public.clients": where["clients"]}
    assert (kept["exclude"], kept["schemas"], kept["named"]) == (["audit.*", "e*"], ["public", "audit"], [])


def test_named_tables_and_moments(environment: Environment) -> None:
    seen = look(Snapshot(tables=["clients", "audit.log"], moment="after-backfill"), environment)
    assert counts(seen, "after-backfill") == {"audit.log": 2, "public.clients": 10}


class Meddling(SystemClock):
    """Lets somebody work in the database whenever a check asks for the time."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work

    def monotonic(self) -> float:
        self.work()
        return super().monotonic()


def test_all_counts_are_of_one_instant(fresh_database: Any, superuser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_releasegate.sources.postgres._TOGETHER", 1)
    busy = fresh_database("create table a (id int); create table b (id int)")
    clock = Meddling(lambda: superuser(busy, "begin; insert into a values (1); insert into b values (1); commit"))
    found = counts(look(Snapshot(), busy, clock=clock))
    assert found["public.a"] == found["public.b"] > 0
    assert superuser(busy, "select count(*) from a")[0][0] > found["public.a"]


def test_too_few_tables_are_inconclusive_and_nothing_is_kept(environment: Environment) -> None:
    seen = look(Snapshot(least=7), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert str(seen.findings[1]) == "tables looked at: expected >= 7, got 6"
    assert seen.kept == {}


@pytest.mark.parametrize("script", ["", "create table clients (id int)"])
def test_an_empty_database_is_inconclusive(fresh_database: Any, script: str) -> None:
    seen = look(Snapshot(), fresh_database(script))
    assert seen.status is Status.INCONCLUSIVE
    assert str(seen.findings[-1]) == "rows looked at: expected >= 1, got 0"
    assert seen.kept == {}


def test_the_first_counts_of_before_stay(environment: Environment) -> None:
    kept = look(Snapshot(), environment).kept
    seen = look(Snapshot(), replace(environment, databases={}), memory=Remembered(this=dict(kept)))
    assert (seen.status, seen.kept) == (Status.ERROR, {})
    memory = Remembered(this={"row_counts/app/before": {**kept["row_counts/app/before"], "tables": {"clients": 7}}})
    seen = look(Snapshot(), environment, memory=memory)
    assert (seen.status, seen.kept) == (Status.PASSED, {})
    assert "to count anew: releasegate reopen deploy/before" in seen.findings[0].actual
    assert [str(f.actual) for f in seen.findings[1:]] == ["1", "7"]
    seen = look(Snapshot(exclude=["audit.*"]), environment, memory=memory)
    assert seen.status is Status.FAILED
    assert "declared otherwise then" in seen.findings[0].actual


def test_before_is_refused_after_the_deployment(environment: Environment) -> None:
    at = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
    release = Release(product="demo", version="1.4.0", environment="test", opened_at=at, deployed_at=at)
    seen = look(Snapshot(), environment, release=release)
    assert seen.status is Status.ERROR
    assert seen.message.startswith(
        "a snapshot 'before' cannot be taken any more: 1.4.0/test was deployed at 2026-01-05T09:30:00+00:00"
    )
    assert look(Snapshot(moment="after"), environment, release=release).status is Status.PASSED


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tables": ["client"]}, "there is no table 'client'\n    did you mean 'public.clients'?"),
        ({"schemas": ["publik"]}, "the database has no schema 'publik'"),
        ({"where": {"nothing": "true"}}, "there is no table 'nothing'"),
        ({"where": {"clients": "run is null"}}, 'column "run" does not exist (SQLSTATE 42703)'),
    ],
)
def test_what_is_not_there_is_an_error(environment: Environment, wrong: dict[str, Any], message: str) -> None:
    seen = look(Snapshot(**wrong), environment)
    assert seen.status is Status.ERROR
    assert message in seen.message
    assert seen.kept == {}


def test_rows_hidden_by_policies_are_an_error_not_a_smaller_number(fresh_database: Any) -> None:
    script = SCRIPT + "alter table clients enable row level security;"
    seen = look(Snapshot(), fresh_database(script, user="filtered"))
    assert seen.status is Status.ERROR
    assert 'row-level security policy for table "clients"' in seen.message


def test_a_locked_table_is_an_error_after_a_moment(
    environment: Environment, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    monkeypatch.setattr("pytest_releasegate.sources.postgres.LOCK_SECONDS", 0.1)
    with psycopg.connect(server.dsn(environment.databases["app"].rsplit("/", 1)[1])) as migration:
        migration.execute("lock table clients in access exclusive mode")
        seen = look(Snapshot(), environment)
        migration.rollback()
    assert seen.status is Status.ERROR
    assert "lock timeout (SQLSTATE 55P03)" in seen.message


@pytest.mark.parametrize("text", ["true) or (true", "a; b", ""])
def test_broken_predicates_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="the predicate of clients"):
        Snapshot(where={"clients": text})


def test_an_unknown_database_is_an_error(environment: Environment) -> None:
    seen = look(Snapshot(database="other"), environment)
    assert (seen.status, "no database 'other'" in seen.message) == (Status.ERROR, True)


def test_two_tables_of_one_name_are_an_error(fresh_database: Any) -> None:
    script = 'create schema a; create schema "a.b"; create table a."b.c" (id int); create table "a.b".c (id int);'
    fill = 'insert into a."b.c" values (1); insert into "a.b".c values (1), (2);'
    seen = look(Snapshot(), fresh_database(script + fill))
    assert (seen.status, "two tables are called 'a.b.c'" in seen.message) == (Status.ERROR, True)
    assert counts(look(Snapshot(schemas=["a.b"]), fresh_database(script + fill))) == {"a.b.c": 2}


def test_a_table_that_was_emptied_meanwhile_is_not_counted_as_empty(
    fresh_database: Any, superuser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = fresh_database(SCRIPT)

    def late(connection: Any, *rest: Any) -> Any:
        superuser(environment, "truncate events_2")
        return user_tables(connection, *rest)

    monkeypatch.setattr("pytest_releasegate.checks.snapshot.user_tables", late)
    seen = look(Snapshot(), environment)
    assert seen.status is Status.ERROR
    assert "public.events was truncated or rewritten while it was read" in seen.message
