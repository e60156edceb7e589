"""`dry_run`: a migration that runs, loses nothing, goes back and forth; and each way in which one does not."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pydantic import ValidationError

from pytest_releasegate.checks import dry_run as kind
from pytest_releasegate.checks.dry_run import DryRun
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources.pgcontents import contents
from pytest_releasegate.sources.pgscratch import Scratch, scratch
from pytest_releasegate.testing import Remembered, look
from tests.checks.test_pgscratch import context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SCRIPT = """
create table versions (version text primary key);
insert into versions values ('001');
create table people (id int primary key, name text, age int, papers json, place point);
insert into people select n, 'n' || n, n, '{"a": 1}', '(1,2)' from generate_series(1, 50) n;
create table notes (id int generated always as identity primary key, person int references people, text text);
create table empty (id int);
create table full_one as select n from generate_series(1, 3) n;
create table papers as select '{"a": 1}'::json as json from generate_series(1, 2);
insert into notes (person, text) select n, 't' from generate_series(1, 50) n;
"""
UP = "alter table people add column born date;\nalter table people alter age type bigint;\n"
DOWN = "alter table people alter age type int;\nalter table people drop column born;"
INSERT = "insert into people (id) select n from generate_series(51, 60) n;"
AFTER = "after the way back: expected schema and rows as before, got "
BACK = "migrations/{name}.down.sql"


@pytest.fixture(scope="module")
def environment(new_database: Callable[..., Environment]) -> Environment:
    return new_database(SCRIPT)


@pytest.fixture(scope="module")
def copied(environment: Environment) -> Iterator[Scratch]:
    """One scratch copy for all: a new server for each test would cost a second."""
    with scratch(context(environment), content="data") as copy:
        yield copy


@pytest.fixture
def run(
    environment: Environment, tmp_path: Path, copied: Scratch, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Rehearse one file and its way back. Each look has a database of its own on the one server."""

    @contextmanager
    def clone(_: Any, __: Any, content: Any, **___: Any) -> Iterator[Scratch]:
        with psycopg.connect(copied.server.dsn(), autocommit=True) as connection:
            connection.execute("drop database if exists cloned")
            connection.execute(f"create database cloned template {copied.database}")
        yield Scratch(copied.server, "cloned", content)

    def rehearse(up: str, down: str = "", *, real: bool = False, memory: Any = None, **parameters: Any) -> Any:
        if not real:
            monkeypatch.setattr(kind, "scratch", clone)
        (tmp_path / "migrations").mkdir(exist_ok=True)
        (tmp_path / "migrations" / "002_x.up.sql").write_text(up)
        if down:
            (tmp_path / "migrations" / "002_x.down.sql").write_text(down)
            parameters["rollback"] = BACK
        return look(DryRun(**parameters), environment, root=tmp_path, memory=memory)

    return rehearse


def wrong(seen: Any) -> list[str]:
    return [str(finding) for finding in seen.findings if finding.ok == "no"]


def test_a_migration_that_holds_in_all_parts_passes(run: Callable[..., Any]) -> None:
    command = "python -c \"import os; print(os.environ['RELEASEGATE_SCRATCH_DSN'])\""
    seen = run(UP + INSERT, "delete from people where id > 50;\n" + DOWN, real=True, command=command)
    assert seen.status is Status.PASSED, (seen.message, wrong(seen))
    told = {finding.name: finding.actual for finding in seen.findings}
    assert told["up"].startswith("3 statements in ")
    assert told["after the way back"] == "as before"
    assert told["after the second time"] == "the schema of the first time"
    assert told["rows and checksums"] == "6 of 6 tables, all rows (106 rows in 6 tables)"
    assert told["longest wait of writers"].endswith("ms: public.people, AccessExclusive")
    assert told[command].startswith("exit code 0 after ")
    evidence = {each.name: body.decode() for each, body in seen.attached}
    assert "public.people AccessExclusive" in evidence["statements.txt"]
    # the copy's own password never leaves the process
    assert "postgresql://" not in evidence["command.txt"] or "${" in evidence["command.txt"]
    kept = seen.kept["dry_run/app"]["told"]
    assert (kept["rows"], kept["up"]["error"], kept["content"]) == (106, "", "data")


@pytest.mark.parametrize(
    ("up", "down", "told"),
    [
        ("select 1;\nalter table peopel add x int;", "", "up: expected runs to its end, got migrations/002_x.up.sql:2"),
        (UP, "drop table nothing;", "down: expected runs to its end, got migrations/002_x.down.sql:1: table "),
        (UP, "alter table people drop column born;", AFTER + "schema: 2 lines differ"),
        ("update people set age = 0;", "select 1;", AFTER + "public.people: its rows are not what they were"),
        ("create table extra (id int);", "select 1;", AFTER + "schema: 4 lines differ, the first: +CREATE TABLE"),
    ],
)  # fmt: skip
def test_a_way_that_does_not_lead_there_and_back_fails(run: Callable[..., Any], up: str, down: str, told: str) -> None:
    seen = run(up, down, part="execution")
    assert seen.status is Status.FAILED, seen.message
    assert wrong(seen)[0].startswith(told), wrong(seen)


def test_lost_rows_and_values_fail_unless_they_are_meant(run: Callable[..., Any]) -> None:
    up = """
        delete from notes where id <= 7;
        alter table versions drop column version;
        drop table empty;
        truncate full_one;
        update people set age = 1 where id < 4;
        update papers set json = '{}';
    """
    seen = run(up, part="data_loss")
    assert seen.status is Status.FAILED, seen.message
    assert wrong(seen) == [
        f"public.{table}: expected the rows of before, got {what}"
        for table, what in (
            ("empty", "the table is gone"),
            ("full_one", "3 of 3 rows are gone"),
            ("notes", "7 of 50 rows are gone"),
            ("papers", "2 rows are not what they were"),
            ("people", "3 rows are not what they were"),
            ("versions", "gone: version"),
        )
    ]
    tables = ["empty", "full_one", "public.notes", "papers", "people", "public.versions"]
    assert run(up, part="data_loss", changes=tables).status is Status.PASSED
    assert run(up, part="data_loss", changes=tables[1:]).status is Status.FAILED


def test_what_takes_too_long_fails(run: Callable[..., Any]) -> None:
    seen = run("alter table people add x int;", part="performance", at_most="0s", lock_at_most="0s")
    assert seen.status is Status.FAILED
    assert [line.partition(":")[0] for line in wrong(seen)] == ["estimated execution time", "longest wait of writers"]


def test_locks_last_to_the_end_of_the_transaction(run: Callable[..., Any]) -> None:
    up = "begin;\nalter table people add x int;\nselect pg_sleep(0.03);\ncommit;\nalter table notes add x int;"
    seen = run(up, part="performance", lock_at_most="20ms")
    assert [line.partition(":")[0] for line in wrong(seen)] == ["longest wait of writers"]
    assert "ms: public.people, AccessExclusive" in wrong(seen)[0]


@pytest.mark.parametrize("content", ["sample", "schema"])
def test_time_on_some_of_the_rows_tells_nothing(run: Callable[..., Any], content: str) -> None:
    assert run(UP, part="estimate", content=content).status is Status.INCONCLUSIVE
    assert run(UP, part="execution", content=content).status is Status.PASSED


def test_the_application_has_its_word(run: Callable[..., Any]) -> None:
    seen = run(UP, part="compatibility", command="python -c 'print(1); raise SystemExit(3)'")
    assert seen.status is Status.FAILED
    assert "expected exit code 0 on the migrated copy, got exit code 3 after" in wrong(seen)[0]
    assert {e.name: body for e, body in seen.attached}["command.txt"] == b"1\n"


def test_gates_share_one_rehearsal_of_the_same_files(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(UP, part="estimate")
    assert first.status is Status.PASSED
    memory = Remembered(this=dict(first.kept))
    counted = run(UP, part="performance", memory=memory)
    assert counted.status is Status.PASSED
    assert counted.kept == {}
    assert run(UP + "select 1;", part="performance", memory=memory).kept != {}
    memory.this["dry_run/app"]["at"] = "2020-01-01T00:00:00+00:00"
    assert run(UP, part="performance", memory=memory).kept != {}


def test_files_that_hold_both_ways_go_back_by_themselves(run: Callable[..., Any]) -> None:
    seen = run(f"-- migrate:up\n{UP}\n-- migrate:down\n{DOWN}", part="execution")
    assert seen.status is Status.PASSED, wrong(seen)
    assert "down" in [finding.name for finding in seen.findings]


def test_nothing_pending_is_inconclusive(run: Callable[..., Any]) -> None:
    seen = run(UP, applied="select '2'")
    assert seen.status is Status.INCONCLUSIVE
    assert [str(finding) for finding in seen.findings] == ["migration files looked at: expected >= 1, got 0"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rollback": "other/{name}.sql"}, "other/002_x.sql: cannot be read"),
        ({"command": "no-such-program"}, "the command 'no-such-program' cannot be run: No such file"),
        ({"files": "none/*.sql"}, "no migration file matches none/*.sql"),
    ],
)
def test_what_cannot_be_rehearsed_is_an_error(run: Callable[..., Any], parameters: Any, message: str) -> None:
    seen = run(UP, **parameters)
    assert seen.status is Status.ERROR
    assert message in seen.message


def test_compatibility_needs_a_command() -> None:
    with pytest.raises(ValidationError, match="expected `command`"):
        DryRun(part="compatibility")


def test_every_type_of_column_is_compared(copied: Scratch) -> None:
    types = (
        "int[], text[], jsonb, json, xml, point, tsvector, money, bit(3), varchar(3)[], int4range, json[], inet, cidr"
    )
    columns = ", ".join(f"c{number} {name}" for number, name in enumerate(types.split(", ")))
    with copied.connect() as connection:
        connection.execute("create domain odd as json")
        connection.execute(f"create table every ({columns}, o odd, c char(3), n name, e numeric, u uuid, b bytea)")
        connection.execute("insert into every default values")
        assert contents(connection)["public.every"].rows == 1
        connection.execute("drop table every")


def test_nothing_of_the_copies_is_left(copied: Scratch) -> None:
    assert copied.server.folder.exists()
    assert not list(copied.server.folder.glob("archive*"))
