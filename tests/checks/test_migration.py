"""`migration`: what squawk cries about and is none, what it is silent about and is one, each by file and line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pydantic import ValidationError

from pytest_releasegate.checks import migration as kind
from pytest_releasegate.checks.migration import Migration
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources.pgplans import pending
from pytest_releasegate.sources.pgscratch import Scratch, scratch
from pytest_releasegate.sources.pgsplit import script
from pytest_releasegate.sources.pgtrace import CANCELLED, trace
from pytest_releasegate.testing import Remembered, look
from tests.checks.test_pgscratch import context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SCRIPT = """
create table versions (version text primary key);
insert into versions values ('001');
create table countries (code text primary key);
insert into countries values ('de');
create table big (id int primary key, country text, price numeric(6,2), name varchar(20), seen boolean, note text);
insert into big select n, 'de', 1, 'n', n % 100 = 0, 'n' from generate_series(1, 2000) n;
create index on big (seen) where seen;
create function touch() returns trigger language plpgsql as 'begin return new; end';
create schema clinic;
create table clinic.visits (id int primary key, note text);
insert into clinic.visits select n, 'n' from generate_series(1, 2000) n;
analyze;
"""
ROUTINE = "create or replace function f() returns void language plpgsql as $$ begin update big set name = 'x'; end $$;"
CHECK = "alter table big add constraint k check (id > 0) not valid;"
HIDDEN = "do $$ begin alter table big add column c4 uuid default gen_random_uuid(); end $$;"
GUARD = "set local lock_timeout = '5s';\n"


@pytest.fixture(scope="module")
def environment(new_database: Callable[..., Environment]) -> Environment:
    return new_database(SCRIPT)


@pytest.fixture(scope="module")
def copied(environment: Environment) -> Iterator[Scratch]:
    """One scratch copy for all: a new server for each test would cost a second."""
    with scratch(context(environment)) as copy:
        yield copy


@pytest.fixture
def reviewed(
    environment: Environment, tmp_path: Path, copied: Scratch, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Review files by their texts; the first is 002. Each look has a database of its own on the one server."""

    @contextmanager
    def clone(*_: Any, **__: Any) -> Iterator[Scratch]:
        with psycopg.connect(copied.server.dsn(), autocommit=True) as connection:
            connection.execute("drop database if exists cloned")
            connection.execute(f"create database cloned template {copied.database}")
        yield Scratch(copied.server, "cloned", "schema")

    def review(*texts: str, real: bool = False, **parameters: Any) -> Any:
        if not real:
            monkeypatch.setattr(kind, "scratch", clone)
        (tmp_path / "migrations").mkdir()
        for number, text in enumerate(texts, 2):
            (tmp_path / "migrations" / f"{number:03}_x.up.sql").write_text(text)
        return look(Migration(**{"large_rows": 1000, **parameters}), environment, root=tmp_path)

    return review


def wrong(seen: Any, *, short: bool = True) -> list[str]:
    """The hazards in the order of the files; `short` ones are `line rule`."""
    found = (finding.name.removeprefix("migrations/") for finding in seen.findings if finding.ok == "no")
    return [name.replace("002_x.up.sql:", "") if short else name for name in found]


def test_files_that_harm_nobody_pass(reviewed: Callable[..., Any]) -> None:
    seen = reviewed(
        GUARD
        + "alter table big add column born date;\n"
        "create table fresh (id int primary key, big int references big);\n"
        "create index on fresh (big);\n"
        "alter table countries add constraint short check (length(code) = 2);\n"
        "update countries set code = upper(code);\n"
        "alter table big alter price type numeric(10,2);\n"
        "alter table big alter name type text;\n"
        "alter table big alter id set not null;\n"
        "alter table big add column other int references countries_of_big;\n".replace("countries_of_big", "big"),
        real=True,
    )
    assert seen.status is Status.PASSED, wrong(seen)
    told = {finding.name: finding.actual for finding in seen.findings}
    assert (
        "tried on the scratch server: nothing was rewritten" in told["migrations/002_x.up.sql:7 changing-column-type"]
    )
    assert "fresh is made by the same file" in told["migrations/002_x.up.sql:4 require-concurrent-index-creation"]
    assert "countries is small on the target (1 rows" in told["migrations/002_x.up.sql:5 constraint-missing-not-valid"]
    assert told["migration files looked at"] == "1"
    assert told["statements tried looked at"] == "10"
    assert b"public.big AccessExclusive" in {e.name: body for e, body in seen.attached}["statements.txt"]


HAZARDS: tuple[tuple[str, list[str]], ...] = (
    ("alter table big add column born date;", ["1 missing-lock-timeout"]),
    ("create trigger t before update on big for each row execute function touch();", ["1 missing-lock-timeout"]),
    ("create policy p on big using (true);", ["1 missing-lock-timeout"]),
    ("alter table big enable row level security;", ["1 missing-lock-timeout"]),
    ("create table fresh (id int references big);", ["1 missing-lock-timeout"]),
    (GUARD + "alter table big add column c1 uuid default gen_random_uuid();", ["2 adding-field-with-default"]),
    (GUARD + "alter table big alter name type varchar(10);", ["2 changing-column-type"]),
    (GUARD + "alter table big alter price type text;", ["2 changing-column-type"]),
    (GUARD + "alter table big alter note set not null;", ["2 adding-not-nullable-field"]),
    (GUARD + "alter table big add check (id > 0);", ["2 constraint-missing-not-valid"]),
    (GUARD + "create index on big (name);", ["2 require-concurrent-index-creation"]),
    (GUARD + "create index concurrently on big (name);", ["2 ban-concurrent-index-creation-in-transaction"]),
    ("create index concurrently on big (name);", []),
    ("update big set name = 'x';", ["1 unbatched-write"]),
    ("update big set name = 'x' where seen;", []),
    ("delete from big where id between 1 and 50;", []),
    ("do $$ begin update big set name = 'x'; end $$;", ["1 unbatched-write"]),
    (ROUTINE + "\nselect f();", ["2 unbatched-write"]),
    (ROUTINE, []),
    (
        GUARD + "alter table countries add column c2 int;\nupdate big set name = 'x';",
        ["3 unbatched-write", "3 lock-held-over-slow-statement"],
    ),
    (
        GUARD + "update big set name = 'x';\nalter table countries add column c3 int;",
        ["2 unbatched-write", "3 dml-with-ddl"],
    ),
    (GUARD + CHECK + "\nalter table big validate constraint k;", ["3 lock-held-over-slow-statement"]),
    (
        "set lock_timeout = '5s';\nalter table big add constraint n check (country is not null) not valid;\n"
        "alter table big validate constraint n;\nalter table big alter country set not null;",
        [],
    ),
    ("selec 1;", ["1 syntax-error"]),
    ("begin;\nsavepoint a;\nselect 1;\nrollback to a;\nselect 2;\nrelease a;\ncommit;", []),
    ("begin;\nsavepoint a;\nrelease b;\nselect 1;\ncommit;", ["3 does-not-run"]),
    ("select 1;\n\\i other.sql\n", ["2 does-not-run"]),
    (GUARD + "alter table bigg add column c int;", ["2 does-not-run"]),
    (GUARD + HIDDEN, ["2 adding-field-with-default"]),
    (GUARD + "alter table big drop column note;", ["2 ban-drop-column"]),
    (
        "set search_path to clinic, public;\nset lock_timeout = 9;\nalter table visits drop note;\n"
        "update visits set id = -id;\ncreate index on visits (id);",
        ["3 ban-drop-column", "4 unbatched-write", "5 require-concurrent-index-creation"],
    ),
    (
        GUARD + "create table if not exists countries (code text);\ncreate table if not exists big (id int);\n"
        "create index on big (price);",
        ["4 require-concurrent-index-creation"],
    ),
)


def test_hazards_are_found_where_they_stand(reviewed: Callable[..., Any]) -> None:
    seen = reviewed(*(text for text, _ in HAZARDS))
    assert seen.status is Status.FAILED, seen.message
    told: dict[str, list[str]] = {text: [] for text, _ in HAZARDS}
    for hazard in wrong(seen, short=False):
        number, _, rest = hazard.partition("_x.up.sql:")
        told[HAZARDS[int(number) - 2][0]].append(rest)
    assert told == dict(HAZARDS)
    assert "files without a hazard" in [finding.name for finding in seen.findings]


def test_a_hazard_says_what_and_what_to_do(reviewed: Callable[..., Any]) -> None:
    (seen,) = (f for f in reviewed(GUARD + "update big set name = 'x';").findings if f.ok == "no")
    assert str(seen) == (
        "migrations/002_x.up.sql:2 unbatched-write: expected writes to large tables in batches, got public.big: one "
        "update may touch all rows and locks them to the end; write in batches by key, each in its own transaction"
    )


def test_plans_of_the_target_are_evidence(reviewed: Callable[..., Any]) -> None:
    seen = reviewed("update big set name = 'x' where seen;\ninsert into countries select name from big where seen;")
    (text,) = (body.decode() for evidence, body in seen.attached if evidence.name == "plans.txt")
    assert "migrations/002_x.up.sql:1: 20 rows expected" in text
    assert "migrations/002_x.up.sql:2: 20 rows expected" in text


def test_one_hazard_is_ignored_with_a_reason_and_others_are_not(reviewed: Callable[..., Any]) -> None:
    because = "version 1.3 does not read it any more"
    seen = reviewed(
        GUARD + "alter table big drop column note;\nalter table big drop column name;",
        ignore=[
            {"rule": "ban-drop-column", "at": "migrations/002_x.up.sql:2", "because": because},
            {"rule": "ban-drop-table", "at": "002_x.up.sql", "because": because},
        ],
    )
    assert wrong(seen) == ["3 ban-drop-column"]
    told = {finding.name: finding.actual for finding in seen.findings}
    assert told["migrations/002_x.up.sql:2 ban-drop-column"].endswith(f"none here: {because}")
    assert told["ignore ban-drop-table at 002_x.up.sql"] == "none there"


def test_gates_share_one_review_of_the_same_files(
    reviewed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: Environment
) -> None:
    first = reviewed("update big set name = 'x';", about=["syntax"])
    assert first.status is Status.PASSED
    memory = Remembered(this=dict(first.kept))
    monkeypatch.setattr(kind, "scratch", None)
    second = look(Migration(about=["writes"], large_rows=1000), environment, root=tmp_path, memory=memory)
    assert wrong(second) == ["1 unbatched-write"]
    assert [each.name for each, _ in second.attached] == ["plans.txt", "statements.txt"]
    other = look(Migration(about=["writes"], large_rows=99), environment, root=tmp_path, memory=memory)
    assert other.status is Status.ERROR


def test_only_what_is_asked_counts(reviewed: Callable[..., Any]) -> None:
    seen = reviewed("alter table big drop column note;\nupdate big set name = 'x';", about=["syntax"])
    assert seen.status is Status.PASSED
    assert seen.findings[0].expected == "SQL that PostgreSQL runs"


def test_the_runner_may_set_the_timeout_and_the_transaction(reviewed: Callable[..., Any]) -> None:
    text = "alter table countries add column c int;\nupdate big set name = 'x';"
    seen = reviewed(text, lock_timeout=False, transaction="file")
    assert wrong(seen) == ["2 unbatched-write", "2 lock-held-over-slow-statement"]


def test_a_file_without_its_way_back_fails(reviewed: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "002_x.down.sql").write_text("select 1;")
    (tmp_path / "004_x.down.sql").write_text("-- later\n")
    seen = reviewed("select 1;", "select 1;", "select 1;", rollback="{name}.down.sql")
    told = {finding.name: finding.actual for finding in seen.findings if finding.ok == "no"}
    assert list(told) == [f"migrations/00{number}_x.up.sql:1 missing-rollback-script" for number in (3, 4)]
    assert ["there is no 003_x.down.sql" in str(told), "004_x.down.sql holds no statement" in str(told)] == [True] * 2


def test_files_that_the_target_has_are_left_out(reviewed: Callable[..., Any], tmp_path: Path) -> None:
    applied = "select version from versions union select '0002'"
    seen = reviewed("drop table big;", "select 1;", applied=applied)
    assert seen.status is Status.PASSED
    assert [f.actual for f in seen.findings if f.name == "migration files looked at"] == ["1"]


def test_a_table_of_an_earlier_pending_file_is_empty_on_the_target(reviewed: Callable[..., Any]) -> None:
    seen = reviewed("create table fresh (id int);", "create index on fresh (id);")
    assert seen.status is Status.PASSED, wrong(seen)
    assert "public.fresh is not on the target yet" in seen.findings[0].actual


def test_nothing_pending_is_inconclusive(reviewed: Callable[..., Any]) -> None:
    seen = reviewed("select 1;", applied="select '2'")
    assert seen.status is Status.INCONCLUSIVE
    assert [f.actual for f in seen.findings] == ["0", "0"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"files": "nothing/*.sql"}, "no migration file matches nothing/*.sql"),
        ({"since": "009"}, "1 are older than '009'"),
        ({"applied": "select version from version"}, "version"),
        ({"database": "other"}, "has no database 'other'"),
    ],
)
def test_what_cannot_be_looked_at_is_an_error(
    reviewed: Callable[..., Any], parameters: dict[str, Any], message: str
) -> None:
    seen = reviewed("select 1;", **parameters)
    assert seen.status is Status.ERROR
    assert message in seen.message


def test_without_squawk_it_is_an_error(reviewed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_releasegate.sources.squawk.which", lambda *_, **__: None)
    seen = reviewed("select 1;")
    assert seen.status is Status.ERROR
    assert "pip install 'pytest-releasegate[migration]'" in seen.message


@pytest.mark.parametrize(
    ("name", "applied"),
    [
        ("003_x.up.sql", "003"),
        ("003_x.up.sql", "3"),
        ("0001_initial.sql", "0001_initial"),
        ("20260415120000_x.sql", "20260415120000"),
        ("V1_2__x.sql", "1.2"),
        ("sql/V7__x.sql", "7"),
    ],
)
def test_versions_are_told_by_names(name: str, applied: str) -> None:
    assert pending([script("", name)], [applied]) == []
    assert pending([script("", name)], ["30", "9", "2026", "12"]) != []


def test_no_statement_runs_when_the_time_is_up(copied: Scratch) -> None:
    with copied.connect() as connection:
        told = trace(connection, script("select 1; select 2"), together=False, seconds=0, go_on=True)
    assert [(each.error, each.state) for each in told] == [("not run: the time was up", CANCELLED)]


def test_parameters_are_checked() -> None:
    assert kind.Migration.model_validate({"files": "a.sql"}).files == ["a.sql"]
    with pytest.raises(ValidationError):
        Migration(ignore=[{"rule": "x", "at": "y", "because": "no" + 20 * " "}])
    with pytest.raises(ValidationError, match="expected `rollback`"):
        Migration(about=["rollback"])
