"""Scans of many tables: one instant for all connections, the biggest table first, and errors that end the whole."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pytest_releasegate.check import Context
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Environment, Release
from pytest_releasegate.sources import pgscan
from pytest_releasegate.sources.pgscan import Scan, grouped, scans, shared, spread
from pytest_releasegate.sources.pgtables import Table, user_tables
from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPT = """
create table big as select i as id, i % 3 as kind from generate_series(1, 2000) i;
analyze big;
create table small as select 1 as id;
create table "empty %" (id int);
create table parts (id int) partition by hash (id);
create table parts_0 partition of parts for values with (modulus 2, remainder 0);
create table parts_1 partition of parts for values with (modulus 2, remainder 1);
insert into parts select generate_series(1, 20000);
"""


@pytest.fixture(scope="module")
def environment(new_database: Any) -> Environment:
    made: Environment = new_database(SCRIPT)
    return made


def context(environment: Environment) -> Context:
    at = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    release = Release(product="demo", version="1.4.0", environment=environment.name, opened_at=at)
    return Context(environment=environment, release=release, root=Path.cwd())


def tables(connections: Sequence[Any]) -> dict[str, Table]:
    return {table.name: table for table in user_tables(connections[0])}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_all_aggregates_of_each_table_in_the_order_asked(environment: Environment, number: int) -> None:
    looking = context(replace(environment, connections=number))
    with shared(looking, connections=3) as connections:
        known = tables(connections)
        wanted = [
            Scan(known["small"]),
            Scan(known["big"], ("count(*)", "max(id)", "count(*) filter (where kind = 0)"), where="id > 10 -- not %"),
            Scan(known["empty %"], ("sum(id)",)),
            Scan(known["parts"], ("count(*)", "min(id)")),
            Scan(known["big"], where="false"),
        ]
        assert len(connections) == number
        assert scans(looking, connections, wanted) == [(1,), (1990, 2000, 663), (None,), (20000, 1), (0,)]
        assert sorted(grouped(looking, connections, [Scan(known["big"], by="kind")])[0]) == [
            (0, 666),
            (1, 667),
            (2, 667),
        ]
        assert scans(looking, connections, []) == []


def test_not_as_many_groups_are_guessed_as_there_are_rows(environment: Environment) -> None:
    looking = context(environment)
    with shared(looking, connections=1) as connections:
        scan = Scan(tables(connections)["big"], by="id / 100", where="kind > 0")
        plan = connections[0].execute(f"explain {scan.sql}".encode()).fetchall()
        assert "rows=200 " in plan[0][0]
        assert sum(row[1] for row in grouped(looking, connections, [scan])[0]) == 1334


def test_the_biggest_tables_come_first_and_alone(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgscan, "_SMALL", 300_000)
    with shared(context(environment)) as connections:
        known = tables(connections)
        wanted = [Scan(known[name]) for name in ("small", "big", "empty %", "parts")]
        assert pgscan._portions(connections[0], wanted) == [[3], [1, 0, 2]]
        monkeypatch.setattr(pgscan, "_TOGETHER", 1)
        assert pgscan._portions(connections[0], wanted) == [[3], [1], [0], [2]]


def test_all_connections_see_one_instant_and_may_not_write(
    environment: Environment, superuser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connected(*words: Any, **named: Any) -> Any:
        superuser(environment, "insert into small values (2)")
        return connect(*words, **named)

    monkeypatch.setattr(pgscan, "connect", connected)
    with shared(context(environment), connections=2) as connections:
        seen = [each.execute("select count(*) from small").fetchone() for each in connections]
        assert len(seen) == 2
        assert seen[0] == seen[1]
        assert [each.execute("show transaction_read_only").fetchone() for each in connections] == [("on",), ("on",)]
    superuser(environment, "delete from small where id = 2")


def test_both_connections_work(environment: Environment) -> None:
    both = threading.Barrier(2, timeout=10)
    users: set[int] = set()

    def work(connection: Any, _: int) -> None:
        users.add(connection.info.backend_pid)
        both.wait()

    with shared(context(environment)) as connections:
        spread(connections, [1, 2], work)
        assert users == {each.info.backend_pid for each in connections}


def test_an_error_ends_the_others_at_once(environment: Environment) -> None:
    looking = context(environment)
    both = threading.Barrier(2, timeout=10)
    cancelled: list[str] = []

    def work(connection: Any, query: str) -> None:
        both.wait()
        try:
            connection.execute(query)
        except psycopg.errors.QueryCanceled:
            cancelled.append(query)
            raise

    def work_on_all() -> None:
        with shared(looking) as connections:
            spread(connections, ["select pg_sleep(30)", "select nothing", "select pg_sleep(30)"], work)

    with pytest.raises(CannotLook, match=r'column "nothing" does not exist \(SQLSTATE 42703\)'):
        work_on_all()
    assert cancelled == ["select pg_sleep(30)"]


def test_what_belongs_to_the_work_is_not_taken_for_its_end(environment: Environment) -> None:
    def work(_: Any, place: int) -> None:
        raise IndexError(place)

    with shared(context(environment), connections=1) as connections, pytest.raises(IndexError):
        spread(connections, [1], work)


@pytest.mark.parametrize("where", ["true; drop table big", "true); select (1"])
def test_a_second_statement_is_refused(environment: Environment, where: str) -> None:
    looking = context(environment)
    with pytest.raises(CannotLook, match="SQLSTATE 42601"), shared(looking) as connections:
        scans(looking, connections, [Scan(tables(connections)["big"], where=where)])
