"""`row_counts` between two databases: the same answer as a comparison row by row, by counts and keys alone."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.row_counts import RowCounts
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources import pgdiff
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = """
create type mood as enum ('sad', 'glad');
create table clients (id int primary key, name text, mood mood, notes json, at timestamptz, spent numeric(8, 2));
insert into clients select i, 'name ' || i, 'glad', '{"a": 1}', '2026-01-01', i from generate_series(1, 3000) i;
create table codes (code text primary key, title text);
insert into codes select 'c' || i, 'title' from generate_series(1, 500) i;
create table keyless (a int, b bit(3));
insert into keyless select i % 5, b'101' from generate_series(1, 100) i;
"""
WIPE = "drop schema public cascade; create schema public; grant usage on schema public to public;"
SHIFT = "create type shift as enum ('x'); drop type shift;"
"""Something that makes the numbers of types and tables differ between the two databases."""


@pytest.fixture(scope="module")
def two(new_database: Any) -> tuple[Environment, Environment]:
    return new_database(), new_database()


@pytest.fixture
def filled(two: tuple[Environment, Environment], superuser: Any) -> Any:
    """Fill both databases; gives one environment with `staging` and `app`, and ways to change either."""

    def fill(staging: str, app: str) -> Environment:
        for environment, script in zip(two, (staging, app), strict=True):
            superuser(environment, WIPE + script)
        return replace(two[1], databases={"app": two[1].databases["app"], "staging": two[0].databases["app"]})

    return fill


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def test_the_same_content_passes_whatever_its_order(filled: Any) -> None:
    shuffled = SCRIPT.replace("generate_series(1, 3000) i", "generate_series(1, 3000) i order by random()")
    environment = filled(SCRIPT, SHIFT + shuffled)
    seen = look(RowCounts(against="staging", default="identical", least=3), environment)
    assert seen.status is Status.PASSED, told(seen)
    assert told(seen) == [
        "rows of the other tables: expected identical, got identical (3 tables, 3600 rows) [yes]",
        "tables looked at: expected >= 3, got 3 [yes]",
        "rows looked at: expected >= 1, got 3600 [yes]",
    ]


def test_differing_keys_are_found_and_no_row_is_told(filled: Any) -> None:
    change = """
    update clients set name = 'Secret' where id between 1001 and 1100; delete from clients where id in (5, 2999);
    insert into clients values (9000, 'Secret', 'sad', null, null, null);
    update codes set title = 'Secret' where code = 'c7'; insert into codes values ('Secret', 'x');
    delete from keyless where ctid in (select ctid from keyless limit 1); insert into keyless values (99, b'000');
    """
    environment = filled(SCRIPT, SCRIPT + change)
    seen = look(RowCounts(against="staging", default="identical", expect={"codes": "any"}), environment)
    assert seen.status is Status.FAILED
    assert told(seen)[:3] == [
        "rows of public.clients: expected 3000 (identical), got 2999 (-1); the content differs: differing keys: 100, "
        "only in staging: 2, only in app: 1 (id 5, 1001..1100, 2999, 9000) [no]",
        "rows of public.codes: expected any, got 501 (+1) [yes]",
        "rows of public.keyless: expected 100 (identical), got 100 (unchanged); the content differs: "
        "no primary key that both sides share says where [no]",
    ]
    seen = look(RowCounts(against="staging", tables=["codes"], default="identical"), environment)
    assert told(seen)[0].endswith("got 501 (+1); the content differs: differing keys: 1, only in app: 1 [no]")
    assert seen.attached[0][1].decode().splitlines() == [
        "table         staging  app  delta  expected   content  ok",
        "public.codes  500      501  +1     identical  DIFFERS  NO",
    ]
    assert "Secret" not in "".join(told(seen))


def test_columns_and_tables_that_one_side_lacks_are_said(filled: Any) -> None:
    change = (
        "alter table clients add fax text; alter table codes drop title; drop table keyless; create table new (id int)"
    )
    environment = filled(SCRIPT, SCRIPT + change)
    seen = look(RowCounts(against="staging", default="identical", expect={"clients": "identical"}), environment)
    assert seen.status is Status.FAILED
    assert told(seen)[:4] == [
        "rows of public.clients: expected 3000 (identical), got 3000 (unchanged); the same content "
        "(not compared: column fax: only on one side) [yes]",
        "rows of public.codes: expected 500 (identical), got 500 (unchanged); the same content "
        "(not compared: column title: only on one side) [yes]",
        "rows of public.keyless: expected 100 (identical), got app has no such table (100 rows in staging) [no]",
        "rows of public.new: expected no table that staging lacks, got a new table of 0 rows [no]",
    ]


@pytest.mark.parametrize("way", ["", "?options=-c%20work_mem%3D4MB", "&"])
def test_a_database_by_another_name_is_still_itself(filled: Any, way: str, superuser: Any) -> None:
    environment = filled("", SCRIPT)
    dsn = environment.databases["app"]
    other = dsn.replace("127.0.0.1", "localhost") if way == "&" else dsn + way
    again = replace(environment, databases={"app": dsn, "again": other}, connections=1 if way == "" else 2)
    seen = look(RowCounts(database="app", against="again", default="identical"), again)
    assert seen.status is Status.ERROR
    assert "'again' and 'app' are one database, which is always like itself" in seen.message


def test_values_that_changed_places_are_another_content(filled: Any) -> None:
    swap = "update clients set name = 'name ' || (case id when 7 then 8 else 7 end) where id in (7, 8);"
    many = "update clients set name = 'name ' || (case id % 2 when 0 then id - 1 else id + 1 end);"
    for script, words in ((swap, "differing keys: 2 (id 7..8)"), (many, "differing keys: 3000 (id 1..3000)")):
        seen = look(RowCounts(against="staging", default="identical"), filled(SCRIPT, SCRIPT + script))
        assert seen.status is Status.FAILED
        assert words in told(seen)[0]


def test_where_no_column_is_compared_nothing_can_be_told(filled: Any) -> None:
    check = RowCounts(against="staging", expect={"t": "identical"}, without={"t": ["a", "c"]})
    one = "create table t (a int); insert into t values (1)"
    seen = look(check, filled(one, "create table t (b int, c int); insert into t values (2)"))
    assert seen.status is Status.INCONCLUSIVE
    words = "no column that both sides have and the gate compares (not compared: column b: only on one side)"
    assert words in told(seen)[0]


def test_types_that_hash_alike_compare_and_others_cannot(filled: Any) -> None:
    alike = "alter table clients alter id type bigint, alter name type varchar(50), alter mood type text;"
    environment = filled(SCRIPT, SCRIPT + alike)
    check = RowCounts(against="staging", tables=["clients"], default="identical")
    assert look(check, environment).status is Status.PASSED
    environment = filled(SCRIPT, SCRIPT + "alter table clients alter spent type float8;")
    seen = look(check, environment)
    assert seen.status is Status.INCONCLUSIVE
    assert "(not compared: column spent: numeric(8,2) and double precision)" in told(seen)[0]
    without = look(RowCounts(**check.model_dump(exclude={"moment"}) | {"without": {"clients": ["spent"]}}), environment)
    assert without.status is Status.PASSED, told(without)


def test_predicates_leave_rows_out_on_both_sides(filled: Any) -> None:
    environment = filled(SCRIPT, SCRIPT + "update clients set name = '100%; x' where id = 7")
    check = RowCounts(against="staging", default="identical", where={"clients": "name not like '100%; %' and id <> 7"})
    assert look(check, environment).status is Status.PASSED
    check = RowCounts(against="staging", default="identical", where={"clients": "id % 7 = 0 or name like '100%'"})
    seen = look(check, environment)
    assert "differing keys: 1 (id 7) [no]" in told(seen)[0]


KINDS: dict[str, tuple[str, Callable[[int], str]]] = {
    "ints": ("id int primary key", lambda i: f"{i - 40}"),
    "bigs": ("id bigint primary key", lambda i: f"{i * 10**14 - 10**15}"),
    "ends": ("id bigint primary key", lambda i: f"{(-1) ** i * (2**63 - 1 - i)}"),
    "texts": ("id text primary key", lambda i: f"'k{i}'"),
    "pairs": ("id int, second text, primary key (second, id)", lambda i: f"{i % 7}, 's{i}'"),
    "uuids": ("id uuid primary key", lambda i: f"'00000000-0000-0000-0000-{i:012}'"),
}


def random_script(rng: random.Random) -> str:
    """A table of each kind of key, and rows whose values come from few, so that many are equal and some are null."""
    values = ("null", "'x'", "'X'", "''"), ("null", "0", "1.5", "-3"), ("null", """'{"a":1}'""", """'{"a": 1}'""")
    script = ""
    for name, (head, key) in KINDS.items():
        script += f"create table {name} ({head}, a text, b numeric, c json, d int[]);"
        keys = [i for i in range(60) if rng.random() < 0.9]
        for i in keys:
            a, b, c = (rng.choice(some) for some in values)
            script += f"insert into {name} values ({key(i)}, {a}, {b}, {c}, '{{1,{rng.choice((1, 2))}}}');"
    return script


def by_key(rows: list[tuple[Any, ...]], width: int) -> dict[Any, Any]:
    return {row[:width]: row[width:] for row in rows}


@pytest.mark.parametrize("seed", range(4))
def test_the_answer_is_that_of_a_comparison_row_by_row(
    filled: Any, two: Any, superuser: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgdiff, "_PART_SIZE", 4)
    monkeypatch.setattr(pgdiff, "_MOST_PARTS", 16)
    rng = random.Random(seed)
    state = rng.getstate()
    script = random_script(rng)
    rng.setstate(state)
    change = "update {0} set a = 'changed', d = null where b = {1}; delete from {0} where a = 'X' and b = -3;"
    other = random_script(rng) + "".join(
        change.format(name, rng.choice((0, 1.5))) for name in KINDS if rng.random() < 0.8
    )
    scripts = (script, other) if seed % 2 else (other, script)
    seen = look(RowCounts(against="staging", default="identical"), filled(*scripts))
    lines = {line.split(":")[0]: line for line in told(seen)}
    found = 0
    for name in KINDS:
        key, width = ("id, second", 2) if name == "pairs" else ("id", 1)
        before, after = (by_key(superuser(side, f"select {key}, t::text from {name} t"), width) for side in two)
        numbers = {
            "differing keys": sum(before[k] != after[k] for k in before.keys() & after.keys()),
            "only in staging": len(before.keys() - after.keys()),
            "only in app": len(after.keys() - before.keys()),
        }
        expected = ", ".join(f"{what}: {number}" for what, number in numbers.items() if number)
        line = lines.get(f"rows of public.{name}", "")
        assert bool(expected) == bool(line), (name, expected, told(seen))
        assert f"the content differs: {expected}" in line or not expected
        if expected and name in ("ints", "bigs"):
            bad = sorted(k[0] for k in before.keys() | after.keys() if before.get(k) != after.get(k))
            assert f" (id {bad[0]}" in line
        found += bool(expected)
    assert found > 1


def test_what_cannot_be_compared_is_an_error(filled: Any) -> None:
    environment = filled(SCRIPT, SCRIPT)
    seen = look(RowCounts(database="app", against="app"), environment)
    assert (seen.status, "with itself" in seen.message) == (Status.ERROR, True)
    seen = look(RowCounts(against="staging", default="identical", without={"codes": ["titel"]}), environment)
    assert (seen.status, "'titel', which public.codes has not" in seen.message) == (Status.ERROR, True)
    seen = look(RowCounts(against="staging", tables=["nothing"]), environment)
    assert seen.status is Status.INCONCLUSIVE


@pytest.mark.parametrize(("side", "other"), [("staging", "app"), ("app", "staging")])
def test_an_error_names_the_database_it_is_of(filled: Any, side: str, other: str) -> None:
    scripts = {"staging": SCRIPT, "app": SCRIPT, side: SCRIPT + "alter table clients enable row level security;"}
    environment = filled(scripts["staging"], scripts["app"])
    databases = {name: text.replace("releasegate_probe", "filtered") for name, text in environment.databases.items()}
    seen = look(RowCounts(database="app", against="staging"), replace(environment, databases=databases))
    assert seen.status is Status.ERROR
    assert f"database '{side}': query would be affected by row-level security" in seen.message, other


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"where": {"clients": "true"}}, "`where` is what the snapshot says"),
        ({"against": "staging", "moment": "after"}, "compare with a `moment` or `against` a database"),
        ({"against": "staging", "where": {"clients": "a) or (b"}}, "the predicate of clients"),
    ],
)
def test_a_comparison_is_with_one_thing(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RowCounts(**wrong)
