"""`snapshot` with checksums or estimates, and what `row_counts` makes of them later."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.row_counts import RowCounts
from pytest_releasegate.checks.snapshot import Snapshot
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import Remembered, look

SCRIPT = """
create table clients (id bigint primary key, name text, fax text, spent numeric(8, 2));
insert into clients select i, 'name ' || i, 'fax', i from generate_series(1, 5000) i;
create table log (id int primary key, what text);
insert into log select i, 'created' from generate_series(1, 100) i;
create table codes (code text primary key, title text);
insert into codes select 'c' || i, 'title' from generate_series(1, 500) i;
create table bag (a int);
insert into bag values (7), (7), (9), (9);
"""
SESSION = [
    ("timezone", "Asia/Tokyo"),
    ("datestyle", "SQL"),
    ("intervalstyle", "iso_8601"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "0"),
]


@pytest.fixture(scope="module")
def environment(new_database: Any) -> Environment:
    made: Environment = new_database(SCRIPT)
    return made


@pytest.fixture(scope="module")
def memory(environment: Environment) -> Remembered:
    """What a snapshot kept, as the record gives it back."""
    seen = look(Snapshot(checksums=True, locate=["clients", "co*", "bag"]), environment)
    assert seen.status is Status.PASSED, seen.message
    return Remembered(this=json.loads(json.dumps(dict(seen.kept))))


@pytest.fixture
def changed(environment: Environment, superuser: Any) -> Any:
    """Change the database for one test."""

    def change(script: str) -> Environment:
        superuser(environment, script)
        return environment

    yield change
    superuser(environment, "drop schema public cascade; create schema public; grant usage on schema public to public;")
    superuser(environment, SCRIPT)


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def test_what_is_kept_is_bounded_and_holds_no_row(environment: Environment) -> None:
    seen = look(Snapshot(checksums=True, locate=["*"]), environment)
    kept = seen.kept["row_counts/app/before"]
    sums = kept["checksums"]
    assert kept["tables"] == {"public.bag": 4, "public.clients": 5000, "public.codes": 500, "public.log": 100}
    assert len(sums["public.clients"]["parts"]) == 1000
    assert len(sums["public.codes"]["parts"]) <= 1024
    assert "parts" not in sums["public.bag"]
    assert (sums["public.log"]["low"], sums["public.log"]["high"]) == ("1", "100")
    assert "name 1" not in json.dumps(kept)
    plain = look(Snapshot(checksums=True), environment).kept["row_counts/app/before"]["checksums"]
    assert {label: each["sum"] for label, each in plain.items()} == {label: each["sum"] for label, each in sums.items()}
    assert seen.attached[0][1].decode().splitlines()[0].split() == ["table", "rows", "checksum"]


def test_the_same_content_is_identical(environment: Environment, memory: Remembered) -> None:
    seen = look(RowCounts(default="identical", expect={"log": "appended"}, least=4), environment, memory=memory)
    assert seen.status is Status.PASSED, told(seen)
    assert told(seen)[:2] == [
        "rows of public.log: expected >= 100 (appended), got 100 (unchanged); the old rows have the same content [yes]",
        "rows of the other tables: expected identical, got identical (3 tables, 5504 rows) [yes]",
    ]


def test_changed_content_of_the_same_number_of_rows_fails_and_is_located(changed: Any, memory: Remembered) -> None:
    environment = changed(
        """update clients set name = 'Secret' where id between 1001 and 1010 or id = 4000;
        update codes set title = 'Secret' where code = 'c9'; update log set what = 'deleted' where id = 5;
        update bag set a = 7"""
    )
    assert look(RowCounts(), environment, memory=memory).status is Status.PASSED
    seen = look(RowCounts(default="identical"), environment, memory=memory)
    assert seen.status is Status.FAILED
    assert told(seen)[:4] == [
        "rows of public.bag: expected 4 (identical), got 4 (unchanged); the content differs: "
        "it has no primary key by which to say where [no]",
        "rows of public.clients: expected 5000 (identical), got 5000 (unchanged); the content differs: "
        "id 1001..1010 (10 rows), 3996..4000 (5 rows) [no]",
        "rows of public.codes: expected 500 (identical), got 500 (unchanged); the content differs: "
        "in 1 of 1024 parts of the key's hash (2 rows) [no]",
        "rows of public.log: expected 100 (identical), got 100 (unchanged); the content differs: "
        "name it under `locate` of the snapshot to see where [no]",
    ]


def test_rows_below_and_above_the_old_keys_are_located(changed: Any, memory: Remembered) -> None:
    environment = changed("insert into clients values (-7, 'new'), (9000, 'new'); delete from clients where id = 3")
    seen = look(RowCounts(tables=[], default="any", expect={"clients": "identical"}), environment, memory=memory)
    assert told(seen)[0] == (
        "rows of public.clients: expected 5000 (identical), got 5001 (+1); the content differs: "
        "id below 1 (0 rows before, 1 now), 1..5 (5 rows before, 4 now), from 5001 (0 rows before, 1 now) [no]"
    )


def test_appended_rows_pass_and_changed_old_ones_do_not(changed: Any, memory: Remembered) -> None:
    check = RowCounts(expect={"log": "appended", "clients": "appended"})
    environment = changed("insert into log select i, 'new' from generate_series(101, 120) i")
    seen = look(check, environment, memory=memory)
    assert seen.status is Status.PASSED, told(seen)
    assert "got 120 (+20); the old rows have the same content [yes]" in told(seen)[1]
    seen = look(check, changed("update log set what = 'hidden' where id = 3"), memory=memory)
    assert seen.status is Status.FAILED
    assert "got 120 (+20); the old rows differ: name it under `locate`" in told(seen)[1]
    seen = look(check, changed("update clients set fax = 'new' where id = 3"), memory=memory)
    assert "the old rows differ: id 1..5 (5 rows) [no]" in told(seen)[0]
    changed("delete from log where id = 4")
    assert "rows differ" in told(look(check, environment, memory=memory))[1]


def test_partitioned_tables_and_odd_names_too(fresh_database: Any, superuser: Any, server: Any) -> None:
    environment = fresh_database(
        """create table "Log ""%" ("Id %" bigint, day date, what text, primary key ("Id %", day))
            partition by range (day);
        create table "Log 1" partition of "Log ""%" for values from ('2026-01-01') to ('2026-02-01');
        create table parts (id bigint primary key, "what %" text) partition by range (id);
        create table parts_1 (x int, "what %" text, id bigint not null); alter table parts_1 drop column x;
        alter table parts attach partition parts_1 for values from (0) to (1000);
        insert into "Log ""%" select i, '2026-01-02', 'x' from generate_series(1, 50) i;
        insert into parts select i, 'x' from generate_series(1, 50) i; create table nothing ();"""
    )
    with psycopg.connect(server.dsn(environment.databases["app"].rsplit("/", 1)[1])) as writer:
        writer.execute("insert into parts values (51, 'late')")
        superuser(environment, "insert into parts values (52, 'in time')")
        memory = Remembered(this=dict(look(Snapshot(checksums=True, locate=["*"]), environment).kept))
        writer.commit()
    check = RowCounts(default="identical", expect={"parts": "appended", "nothing": "unchanged"})
    seen = look(check, environment, memory=memory)
    assert seen.status is Status.PASSED, told(seen)
    superuser(environment, """update parts set "what %" = 'y' where id = 7; update "Log ""%" set what = 'y'""")
    seen = look(check, environment, memory=memory)
    assert seen.status is Status.FAILED
    assert told(seen)[0].endswith("in 50 of 1024 parts of the key's hash (50 rows) [no]")
    assert told(seen)[2].endswith("the old rows differ: id 7 (1 row), and 1 new with keys among theirs [no]")


def test_rows_of_transactions_that_ended_late_are_new(changed: Any, environment: Environment, server: Any) -> None:
    with psycopg.connect(server.dsn(environment.databases["app"].rsplit("/", 1)[1])) as writer:
        writer.execute("insert into log values (101, 'late')")
        changed("insert into log values (102, 'in time')")
        memory = Remembered(this=dict(look(Snapshot(checksums=True), environment).kept))
        writer.commit()
    check = RowCounts(expect={"log": "appended"})
    seen = look(check, environment, memory=memory)
    assert seen.status is Status.PASSED, told(seen)
    assert "the old rows have the same content, and 1 new with keys among theirs [yes]" in told(seen)[0]
    changed("update log set what = 'hidden' where id = 102")
    assert look(check, environment, memory=memory).status is Status.FAILED
    changed("update log set what = 'in time' where id = 102; insert into log values (-5, 'dated back')")
    assert look(check, environment, memory=memory).status is Status.FAILED


def test_a_number_drawn_before_and_written_after_is_new(changed: Any, environment: Environment, server: Any) -> None:
    changed("create sequence drawn start 101; select nextval('drawn')")
    with psycopg.connect(server.dsn(environment.databases["app"].rsplit("/", 1)[1])) as writer:
        (number,) = writer.execute("select nextval('drawn')").fetchone() or (0,)
        changed("insert into log values (nextval('drawn'), 'in time')")
        memories = [
            Remembered(this=dict(look(Snapshot(checksums=True, locate=locate), environment).kept))
            for locate in (["log"], [])
        ]
        writer.execute("insert into log values (%s, 'late')", [number])

    def statuses() -> list[Status]:
        check = RowCounts(expect={"log": "appended"})
        return [look(check, environment, memory=memory).status for memory in memories]

    assert statuses() == [Status.PASSED, Status.PASSED]
    changed("alter table log alter id type bigint")
    # a table that was written anew has no row that is older: only where parts are kept, the others speak for themselves
    assert statuses() == [Status.PASSED, Status.FAILED]
    changed("update log set what = 'hidden' where id = 7")
    assert statuses() == [Status.FAILED, Status.FAILED]


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ("alter table clients add email text", Status.PASSED, "the same content (not compared: the new column email)"),
        ("alter table clients alter id type int, alter name type varchar(40)", Status.PASSED, "the same content"),
        ("alter table clients drop fax", Status.INCONCLUSIVE, "column fax is gone, which the checksum covers"),
        ("alter table clients rename name to title", Status.INCONCLUSIVE, "column name is gone"),
        (
            "alter table clients alter spent type float8",
            Status.INCONCLUSIVE,
            "types changed: spent from numeric(8,2) to double precision",
        ),
        ("alter table clients drop constraint clients_pkey", Status.PASSED, "the same content"),
    ],
)
def test_changed_columns_are_said(changed: Any, memory: Remembered, script: str, status: Status, words: str) -> None:
    seen = look(RowCounts(expect={"clients": "identical"}), changed(script), memory=memory)
    assert seen.status is status, told(seen)
    assert words in told(seen)[0]


def test_columns_that_are_to_go_are_left_out(changed: Any, environment: Environment) -> None:
    snapshot = Snapshot(checksums=True, without={"clients": ["fax"]})
    memory = Remembered(this=dict(look(snapshot, environment).kept))
    check = RowCounts(default="identical", expect={"clients": "identical"})
    assert look(check, environment, memory=memory).status is Status.PASSED
    seen = look(check, changed("alter table clients drop fax"), memory=memory)
    assert seen.status is Status.PASSED, told(seen)
    assert "the same content [yes]" in told(seen)[0]


def test_values_that_changed_places_are_seen(changed: Any, environment: Environment) -> None:
    # each pair by itself: a sum of sums would miss most of them
    for low in range(1, 17, 2):
        pair = f"where id in ({low}, {low + 1})"
        changed(f"update clients set fax = id::text {pair}")
        memory = Remembered(this=dict(look(Snapshot(tables=["clients"], checksums=True), environment).kept))
        changed(f"update clients set fax = ({2 * low + 1} - id)::text {pair}")
        seen = look(RowCounts(expect={"clients": "identical"}), environment, memory=memory)
        assert seen.status is Status.FAILED, told(seen)


def test_an_array_of_other_dimensions_is_another_content(fresh_database: Any, superuser: Any) -> None:
    environment = fresh_database("create table t (id int primary key, a int[]); insert into t values (1, '{1,2,3,4}')")
    memory = Remembered(this=dict(look(Snapshot(checksums=True), environment).kept))
    assert look(RowCounts(default="identical"), environment, memory=memory).status is Status.PASSED
    superuser(environment, "update t set a = '{{1,2},{3,4}}'")
    assert look(RowCounts(default="identical"), environment, memory=memory).status is Status.FAILED


def test_a_checksum_of_another_way_or_of_nothing_does_not_compare(environment: Environment) -> None:
    kept = json.loads(json.dumps(dict(look(Snapshot(checksums=True), environment).kept)))
    sums = kept["row_counts/app/before"]["checksums"]
    del sums["public.clients"]["form"]
    sums["public.log"]["columns"] = {}
    check = RowCounts(expect={"clients": "identical", "log": "identical"})
    seen = look(check, environment, memory=Remembered(this=kept))
    assert seen.status is Status.INCONCLUSIVE
    assert "of another version of this check, which hashed otherwise: take it again" in told(seen)[0]
    assert "the snapshot's checksum covers no column of it" in told(seen)[1]


def test_without_a_checksum_nothing_can_be_told(environment: Environment) -> None:
    memory = Remembered(this=dict(look(Snapshot(), environment).kept))
    seen = look(RowCounts(expect={"clients": "identical"}), environment, memory=memory)
    assert seen.status is Status.INCONCLUSIVE
    assert "the snapshot kept no checksum of it: set `checksums: true`" in told(seen)[0]
    memory = Remembered(this=dict(look(Snapshot(checksums=True), environment).kept))
    seen = look(RowCounts(expect={"codes": "appended"}), environment, memory=memory)
    assert seen.status is Status.INCONCLUSIVE
    assert "which rows are new is told by a primary key of one integer, and it has none" in told(seen)[0]


def test_the_session_does_not_change_a_checksum(fresh_database: Any, superuser: Any) -> None:
    script = """create table t (id int primary key, at timestamptz, t tsrange, i interval, r real, b bytea[], m money);
    insert into t values (1, '2026-01-01', '[2026-01-01,2026-02-01)', '1 mon', 0.1, array['a'::bytea], 1)"""
    environment = fresh_database(script)
    memory = Remembered(this=dict(look(Snapshot(checksums=True), environment).kept))
    try:
        superuser(
            environment, "".join(f"alter role releasegate_probe set {name} = '{value}';" for name, value in SESSION)
        )
        assert look(RowCounts(default="identical"), environment, memory=memory).status is Status.PASSED
    finally:
        superuser(environment, "".join(f"alter role releasegate_probe reset {name};" for name, _ in SESSION))
    superuser(environment, "update t set i = '30 days'")
    assert look(RowCounts(default="identical"), environment, memory=memory).status is Status.FAILED


def test_estimates_are_marked_and_answer_only_what_they_can(changed: Any) -> None:
    environment = changed("analyze")
    snapshot = look(Snapshot(estimate=["cl*"]), environment)
    assert snapshot.status is Status.PASSED, told(snapshot)
    assert told(snapshot)[0].startswith(
        "snapshot 'before' of database 'app': expected exact counts of one instant, and the estimates that were asked "
        "for, got 604 rows in 3 tables; by estimate, and not counted, about 5000 rows in 1 tables at "
    )
    assert "public.clients  5000  an estimate" in snapshot.attached[0][1].decode()
    memory = Remembered(this=dict(snapshot.kept))
    assert memory.this["row_counts/app/before"]["estimated"] == ["public.clients"]
    changed("delete from clients where id > 4900; analyze clients")
    seen = look(RowCounts(expect={"clients": "~5%", "log": "~0%"}), environment, memory=memory)
    assert seen.status is Status.PASSED, told(seen)
    assert told(seen)[0] == (
        "rows of public.clients: expected about 5000 (~5%), got about 4900 (-100), by estimate [yes]"
    )
    assert told(seen)[-1] == "rows looked at: expected >= 1, got 604 [yes]"
    assert "~5000" in seen.attached[0][1].decode()
    seen = look(RowCounts(expect={"clients": "~1%"}), environment, memory=memory)
    assert seen.status is Status.FAILED
    for cannot in ("unchanged", "-100", ">= 1", "identical"):
        seen = look(RowCounts(expect={"clients": cannot}), environment, memory=memory)
        assert seen.status is Status.INCONCLUSIVE, told(seen)
        assert "about 4900 (-100), by estimate, which cannot answer this: count it exactly" in told(seen)[0]
    assert look(RowCounts(expect={"clients": "any"}), environment, memory=memory).status is Status.PASSED
    changed("drop table clients")
    assert look(RowCounts(expect={"clients": "~5%"}), environment, memory=memory).status is Status.FAILED


def test_only_estimates_count_no_row_and_say_so(fresh_database: Any, superuser: Any) -> None:
    script = """create table parts (id int) partition by range (id);
    create table parts_1 partition of parts for values from (0) to (100);
    create table parts_2 partition of parts for values from (100) to (200);
    insert into parts select generate_series(1, 150);"""
    environment = fresh_database(script)
    seen = look(Snapshot(estimate=True), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert (
        "estimate of public.parts: expected the planner's statistics, got no statistics: it was never analysed; "
        "run ANALYZE, or count it exactly [cannot tell]"
    ) in told(seen)
    assert seen.kept == {}
    superuser(environment, "analyze parts")
    seen = look(Snapshot(estimate=True), environment)
    assert seen.status is Status.PASSED, told(seen)
    assert told(seen)[1:] == [
        "tables looked at: expected >= 1, got 1 [yes]",
        "rows (by estimate, none counted) looked at: expected >= 1, got 150 [yes]",
    ]
    memory = Remembered(this=dict(seen.kept))
    seen = look(RowCounts(expect={"parts": "~10%"}), environment, memory=memory)
    assert told(seen)[-1] == "rows (by estimate, none counted) looked at: expected >= 1, got 150 [yes]"
    superuser(environment, "create table parts_3 partition of parts for values from (200) to (300)")
    superuser(environment, "insert into parts values (250)")
    seen = look(RowCounts(expect={"parts": "~10%"}), environment, memory=memory)
    assert seen.status is Status.INCONCLUSIVE
    assert "got no statistics: it was never analysed" in told(seen)[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"locate": ["clients"]}, "set `checksums: true`"),
        ({"without": {"clients": ["fax"]}}, "set `checksums: true`"),
        ({"estimate": True, "where": {"clients": "true"}}, "an estimate knows neither content nor predicates"),
        ({"estimate": True, "checksums": True}, "an estimate knows neither content nor predicates"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Snapshot(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"checksums": True, "locate": ["client"]},
            "`locate` names 'client', and no table that is",
        ),
        (
            {"checksums": True, "without": {"clients": ["fux"]}},
            "a column 'fux', which public.clients has not",
        ),
        ({"estimate": ["clints"]}, "`estimate` names 'clints'"),
        ({"estimate": ["clients"], "where": {"clients": "true"}}, "has a predicate, which no estimate knows"),
    ],
)
def test_what_names_nothing_is_an_error(environment: Environment, wrong: dict[str, Any], message: str) -> None:
    seen = look(Snapshot(**wrong), environment)
    assert (seen.status, seen.kept) == (Status.ERROR, {})
    assert message in seen.message
