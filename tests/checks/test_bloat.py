"""`bloat`: what vacuum has left undone does not pass."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_releasegate.checks.bloat import Bloat
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources.pgbloat import Age, Server, Space, TableState
from pytest_releasegate.testing import look

SCRIPT = """
create schema "s % ""x";
create table small (id int primary key); insert into small values (1);
create table fine (id bigint primary key, name text, made timestamptz, note text);
insert into fine select n, md5(n::text), now(), case when n % 3 = 0 then 'a note' end from generate_series(1, 3000) n;
create index fine_name_idx on fine (lower(name), made);
create table "s % ""x"."Odd %" (id int primary key, name text) with (autovacuum_freeze_max_age = 150000000);
insert into "s % ""x"."Odd %" select n, repeat('x', 100) from generate_series(1, 3000) n;
create table parts (id int) partition by range (id);
create table parts_1 partition of parts for values from (0) to (10000);
insert into parts select generate_series(1, 3000);
"""
VACUUM = ("vacuum analyze fine", 'vacuum analyze "s % ""x"."Odd %"', "vacuum analyze parts_1", "analyze parts")
ODD = 's % "x.Odd %'


def check(**parameters: Any) -> Bloat:
    return Bloat(**{"min_rows": 1000, **parameters})


def vacuum(superuser: Any, environment: Environment) -> None:
    for statement in VACUUM:
        superuser(environment, statement)


@pytest.fixture(scope="module")
def whole(new_database: Any, superuser: Any) -> Environment:
    """The database of the tests that change nothing."""
    made: Environment = new_database(SCRIPT)
    vacuum(superuser, made)
    return made


@pytest.fixture
def environment(fresh_database: Any, superuser: Any) -> Environment:
    made: Environment = fresh_database(SCRIPT)
    vacuum(superuser, made)
    return made


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def test_a_tidy_database_passes_and_says_how_it_was_seen(whole: Environment, superuser: Any) -> None:
    databases = superuser(whole, "select count(*) from pg_database")[0][0]
    seen = look(check(vacuumed_within="1h", analyzed_within="1h", least=4, dead="<= 1%", table_bloat="<= 20%"), whole)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    everything = f"{databases + 4} of {databases + 4}"
    assert told(seen) == [
        "databases and tables young enough: expected <= 120% of the age that makes vacuum freeze, "
        f"got {everything} [yes]",
        "tables that vacuum keeps up with: expected dead rows <= 1%, got 3 of 3 with 1000 rows or more [yes]",
        "tables with little empty space: expected <= 20%, got 3 of 3, estimated from the statistics [yes]",
        "indexes with little empty space: expected <= 60%, got 3 of 3, estimated from the statistics [yes]",
        "tables looked at: expected >= 4, got 4 [yes]",
    ]
    assert b"public.parts_1" in seen.attached[0][1]


def test_dead_rows_fail(environment: Environment, superuser: Any) -> None:
    superuser(environment, "delete from fine where id <= 1500; delete from parts where id < 1000")
    seen = look(check(table_bloat="<= 100%"), environment)
    assert seen.status is Status.FAILED
    names = [line for line in told(seen) if "[no]" in line]
    assert [line.partition("; vacuumed")[0] for line in names] == [
        "dead rows of public.fine: expected <= 20%, got 50.0% (1500 of 3000",
        "dead rows of public.parts_1: expected <= 20%, got 33.3% (999 of 3000",
    ]
    assert look(check(tables=["parts"], exclude=["fine"], dead="<= 40%"), environment).status is Status.PASSED


@pytest.mark.parametrize("extension", [False, True])
def test_empty_space_fails_by_either_method(environment: Environment, superuser: Any, extension: bool) -> None:
    if extension:
        superuser(
            environment,
            """create extension pgstattuple schema "s % ""x"; grant usage on schema "s % ""x" to releasegate_probe;
            grant execute on function "s % ""x".pgstattuple_approx(regclass) to releasegate_probe""",
        )
    superuser(environment, "delete from fine where id % 5 <> 0")
    vacuum(superuser, environment)
    seen = look(check(min_rows=500), environment)
    assert seen.status is Status.FAILED
    bad = [line for line in told(seen) if "[no]" in line]
    how = "by pgstattuple_approx" if extension else "estimated from the statistics"
    assert [line.partition(":")[0] for line in bad] == [
        "empty space of table public.fine",
        "empty space of index public.fine_name_idx",
        "empty space of index public.fine_pkey",
    ]
    assert bad[0].endswith(f"%, {how} [no]")
    assert 70 < float(bad[0].partition("got ")[2].partition("%")[0]) < 85
    assert "%, estimated from the statistics [no]" in bad[1]
    estimated = look(check(min_rows=500, estimate=True), environment)
    assert "estimated from the statistics" in next(line for line in told(estimated) if "[no]" in line)


def test_what_was_never_vacuumed_or_analyzed_fails(fresh_database: Any, superuser: Any) -> None:
    made = fresh_database(SCRIPT)
    superuser(made, "analyze fine")
    seen = look(check(vacuumed_within="1h", analyzed_within="1h", tables=["fine"]), made)
    assert seen.status is Status.FAILED
    assert "public.fine vacuumed: expected within 1h, got never [no]" in told(seen)
    assert not any("fine analyzed" in line for line in told(seen))
    superuser(made, "select pg_stat_reset()")
    seen = look(check(vacuumed_within="1h", tables=["fine"]), made)
    assert seen.status is Status.INCONCLUSIVE
    assert "got nothing counted since its statistics were lost; analyze it [cannot tell]" in told(seen)[1]
    assert "got not since the statistics were reset 0s ago [cannot tell]" in told(seen)[2]


def test_a_table_that_was_never_analyzed_cannot_tell(fresh_database: Any) -> None:
    seen = look(check(tables=["fine"]), fresh_database(SCRIPT))
    assert seen.status is Status.INCONCLUSIVE
    unknown = "not known: analyze it, and let the role that looks read it [cannot tell]"
    assert f"empty space of table public.fine: expected <= 50%, got {unknown}" in told(seen)


def test_a_column_that_came_later_changes_nothing(environment: Environment, superuser: Any) -> None:
    superuser(environment, "alter table fine add column later text")
    assert look(check(tables=["fine"]), environment).status is Status.PASSED


def test_old_transactions_fail(whole: Environment) -> None:
    seen = look(check(age="<= 0%", tables=["Odd %"]), whole)
    assert seen.status is Status.FAILED
    (odd,) = [line for line in told(seen) if line.startswith(f"age of {ODD}: ")]
    assert "transactions old, autovacuum_freeze_max_age is 150000000 (vacuum freeze, " in odd
    assert any(line.startswith("age of database template0: ") for line in told(seen))


def test_too_few_are_inconclusive_and_wrong_names_errors(whole: Environment, fresh_database: Any) -> None:
    assert look(check(least=5), whole).status is Status.INCONCLUSIVE
    assert look(check(), fresh_database()).status is Status.INCONCLUSIVE
    assert look(check(tables=["nothing"]), whole).status is Status.ERROR


def test_a_standby_cannot_tell_of_dead_rows() -> None:
    age = Age("public.a", 1, 100, 2, 10)
    table = TableState(1, "public", "a", 5000, True, 100, 0, 0, None, None, age=age)
    (finding,) = check()._vacuum([table], Server(8192, True, None, None))
    assert str(finding) == "dead rows: expected <= 20%, got a standby does not count them; look at the primary"
    assert finding.ok == "cannot tell"
    assert (age.share, age.worse[:16]) == (0.2, "2 multixacts old")


def test_rows_wider_than_a_page_leave_nothing_empty() -> None:
    assert Space(1, "public", "a", False, 50, 50, 1, 1, 9000, False, 100).empty_share(8192) == 0.0
    assert Space(1, "public", "a", False, -1, 50, 1, 1, 9000, False, 100).empty_share(8192) is None
