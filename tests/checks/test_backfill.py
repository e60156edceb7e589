"""`backfill`: what is left is counted, and batches, rate and log are held against it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.backfill import Backfill
from pytest_releasegate.cli import main
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.params import Threshold
from pytest_releasegate.testing import FakeClock, look

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Product

SCRIPT = """
create table clients (id int primary key, "preferred ""% name" text, test_run text);
insert into clients select i, 'a' from generate_series(1, 1000) i;
insert into clients values (1001, null, 'x');
create table steps (job text, rows int, started_at timestamptz, finished_at timestamptz, error text);
insert into steps select 'names', 250, '2026-01-01Z'::timestamptz + i * interval '15 s',
    '2026-01-01Z'::timestamptz + (i + 1) * interval '15 s' from generate_series(0, 3) i;
insert into steps values ('other', 9000, now(), now(), 'no disk');
"""
COLUMN = 'preferred "% name'
LOG = (
    {"ts": "2026-01-01T00:00:00Z", "level": "info", "event": "backfill started"},
    {"ts": "2026-01-01T00:00:15Z", "level": "info", "event": "batch finished", "rows": 250},
    {"ts": "2026-01-01T00:01:00Z", "level": "info", "event": "backfill finished", "rows": 1000, "errors": 0},
)


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def of_names(**more: Any) -> Backfill:
    whole = {"table": "clients", "column": COLUMN, "where": "test_run is null"}
    return Backfill.model_validate({**whole, "batches": "steps", "batches_where": "job = 'names'", **more})


def logged(root: Path, *lines: Any) -> None:
    (root / "run.log").write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))


@pytest.fixture
def environment(fresh_database: Any) -> Environment:
    made: Environment = fresh_database(SCRIPT)
    return made


def test_rows_of_which_the_predicate_tells_nothing_are_not_done(environment: Environment) -> None:
    check = Backfill(table="clients", todo="test_run <> 'x'")
    seen = look(check, environment)
    assert seen.status is Status.INCONCLUSIVE
    assert "got 0, and 1000 of which a null in `todo` tells nothing: write coalesce" in told(seen)[0]
    assert look(Backfill(table="clients", todo="coalesce(test_run, 'x') <> 'x'"), environment).status is Status.PASSED


def test_a_backfill_that_is_done_passes(environment: Environment, tmp_path: Path) -> None:
    logged(tmp_path, *LOG)
    check = of_names(most=250, rate=">= 1000", within="1m", log="run.log", finished="backfill finished", least=1000)
    seen = look(check, environment, root=tmp_path)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert told(seen) == [
        f"nulls left in clients.{COLUMN}: expected == 0, got 0; 1000 of 1000 are done (100.0%) [yes]",
        "largest batch: expected <= 250, got 250 of 4 batches with 1000 rows [yes]",
        "errors in public.steps: expected 0, got 0 [yes]",
        "rate: expected >= 1000 rows a minute, got 1000 rows a minute [yes]",
        "time left: expected <= 1m, got none, it is done [yes]",
        "time in the log: expected start and end with their times, got 60.000s [yes]",
        "rows in the log: expected 1000, as in public.steps, got 1000 [yes]",
        "errors in the log: expected 0, got 0 [yes]",
        "rows of clients looked at: expected >= 1000, got 1000 [yes]",
        "batches looked at: expected >= 1, got 4 [yes]",
    ]


@pytest.mark.parametrize(
    ("script", "more", "line"),
    [
        ("update clients set {c} = null where id < 4", {}, "expected == 0, got 3; 997 of 1000 are done (99.7%) [no]"),
        ("", {"most": 249}, "largest batch: expected <= 249, got 250 of 4 batches with 1000 rows [no]"),
        (
            "update steps set error = 'x' where started_at = '2026-01-01Z'",
            {},
            "errors in public.steps: expected 0, got",
        ),
        ("", {"rate": "> 1000"}, "rate: expected > 1000 rows a minute, got 1000 rows a minute [no]"),
        (
            "update clients set {c} = null where id <= 500",
            {"left": ">= 0", "within": "29s"},
            "time left: expected <= 29s, got 30s for 500 rows [no]",
        ),
        (
            "update steps set rows = 251 where job = 'names'",
            {"log": "run.log"},
            "expected 1004, as in public.steps",
        ),
    ],
)
def test_one_that_is_not_as_it_should_be_fails(
    environment: Environment, superuser: Any, tmp_path: Path, script: str, more: Any, line: str
) -> None:
    superuser(environment, script.replace("{c}", '"preferred ""% name"') or "select 1")
    logged(tmp_path, *LOG)
    seen = look(of_names(**more), environment, root=tmp_path)
    assert seen.status is Status.FAILED, (seen.message, told(seen))
    assert line in "\n".join(told(seen))


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (LOG[:2], "rows in the log: expected 1000, as in public.steps, got 250 [no]"),
        (LOG[1:], "time in the log: expected start and end with their times, got no line that tells of a start [no]"),
        (LOG[:1], "time in the log: expected start and end with their times, got no line that tells of an end [no]"),
        (({"event": "backfill started"}, LOG[2]), "got lines without a time [no]"),
        (
            (
                LOG[0],
                {"level": "error", "event": "batch failed", "error": "Key (mail)=(ada@x.org) exists"},
                LOG[2],
            ),
            "errors in the log: expected 0, got 1: batch failed: Key '...' exists [no]",
        ),
        ((LOG[0], {**LOG[2], "errors": 7}), "errors in the log: expected 0, got 7 [no]"),
    ],
)
def test_a_log_that_leaves_something_out_fails(environment: Environment, tmp_path: Path, lines: Any, line: str) -> None:
    logged(tmp_path, *lines)
    seen = look(of_names(log="run.log"), environment, root=tmp_path)
    assert seen.status is Status.FAILED, (seen.message, told(seen))
    assert line in told(seen) or line in "\n".join(told(seen))
    assert "ada@" not in str(seen)


def test_a_log_of_text_alone(environment: Environment, tmp_path: Path) -> None:
    logged(tmp_path, "2026-01-01 10:00:00 starting", "2026-01-01 10:00:09 done, 1000 rows, 0 errors")
    check = Backfill(table="clients", todo="id < 0", log="run.log")
    seen = look(check, environment, root=tmp_path)
    assert seen.status is Status.PASSED, told(seen)
    assert told(seen)[0] == "rows left in clients: expected == 0, got 0; 1001 of 1001 are done (100.0%) [yes]"
    assert told(seen)[1:3] == [
        "time in the log: expected start and end with their times, got 9.000s [yes]",
        "rows in the log: expected a number, got 1000 [yes]",
    ]


class Meanwhile(FakeClock):
    """A clock on which something happens while one sleeps."""

    def __init__(self, happens: Any) -> None:
        super().__init__()
        self.happens = happens

    def sleep(self, seconds: float) -> None:
        self.happens()
        super().sleep(seconds)


@pytest.mark.parametrize(
    ("meanwhile", "status", "lines"),
    [
        ("where id <= 100", Status.PASSED, ["got 600 rows a minute [yes]", "got 40s for 400 rows [yes]"]),
        ("where false", Status.FAILED, ["got 0 rows a minute [no]", "got without end: no row is filled any more [no]"]),
    ],
)
def test_two_looks_tell_the_rate_where_there_is_no_progress_table(
    environment: Environment, superuser: Any, meanwhile: str, status: Status, lines: list[str]
) -> None:
    superuser(environment, """update clients set "preferred ""% name" = null where id <= 500""")
    clock = Meanwhile(lambda: superuser(environment, f"""update clients set "preferred ""% name" = 'b' {meanwhile}"""))
    seen = look(
        of_names(batches="", batches_where="", left=">= 0", apart="10s", rate="> 0", within="1m"),
        environment,
        clock=clock,
    )
    assert seen.status is status, (seen.message, told(seen))
    assert all(line in "\n".join(told(seen)) for line in lines), told(seen)
    assert clock.monotonic() == 10.0


def test_no_row_or_no_batch_cannot_tell(environment: Environment) -> None:
    seen = look(of_names(where="id < 0"), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert "rows of clients looked at: expected >= 1, got 0 [cannot tell]" in told(seen)
    seen = look(of_names(batches_where="job = 'none'", most=9, rate=">= 1", within="1m"), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert "rate: expected >= 1 rows a minute, got no two times to tell it by [cannot tell]" in told(seen)
    assert told(seen)[-1] == "batches looked at: expected >= 1, got 0 [cannot tell]"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"table": "client"}, "there is no table 'client'"),
        ({"column": "preferred"}, "SQLSTATE 42703"),
        ({"batches": "clients", "batches_where": ""}, "public.clients does not say how many rows a batch had"),
        ({"log": "gone.log"}, "the log cannot be read"),
    ],
)
def test_without_what_is_named_it_cannot_look(environment: Environment, more: Any, message: str) -> None:
    seen = look(of_names(**more), environment)
    assert (seen.status, message in seen.message) == (Status.ERROR, True), seen.message


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"column": "a", "todo": "b"},
        {"column": "a", "most": 5},
        {"column": "a", "rate": ">= 1"},
        {"todo": "a; b"},
        {"column": "a", "finished": "("},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        Backfill.model_validate({"table": "clients", **wrong})


def test_what_is_left_is_none_unless_it_is_said() -> None:
    assert Backfill(table="clients", column="a").left == Threshold.parse("== 0")
    assert Backfill.model_validate({"table": "clients", "column": "a", "apart": "5s"}).apart == timedelta(seconds=5)


WATCHED = "id: B, title: t, backfill: {table: clients, column: 'preferred \"% name', where: test_run is null}"


@pytest.fixture
def watched(environment: Environment, product: Product, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Watch it from the command line, on a clock on which something happens between two looks."""
    monkeypatch.setenv("WATCHED_DSN", environment.databases["app"])
    product.write("gates/environments.yaml", "environments: {test: {databases: {app: '${env:WATCHED_DSN}'}}}\n")
    product.gates("predeploy", WATCHED)

    def watch(*words: str, clock: Any = None) -> int:
        return main(["--root", str(product.root), "backfill", "--env", "test", *words], clock)

    return watch


def test_it_is_watched_until_nothing_is_left(
    environment: Environment, superuser: Any, watched: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    superuser(environment, """update clients set "preferred ""% name" = null where id <= 500""")
    fill = """update clients set "preferred ""% name" = 'b' where id in (
        select id from clients where "preferred ""% name" is null order by id limit 250)"""
    clock = Meanwhile(lambda: superuser(environment, fill))
    assert watched("--once", clock=clock) == 10
    assert watched("--every", "30s", clock=clock) == 0
    name = f"clients.{COLUMN}"
    assert capsys.readouterr().out.splitlines() == [
        f"{name} [###############               ]  50.0%  500 of 1000, 500 left",
        f"{name} [###############               ]  50.0%  500 of 1000, 500 left",
        f"{name} [######################        ]  75.0%  750 of 1000, 250 left, 500 a minute, 0:00:30 left",
        f"{name} [##############################] 100.0%  1000 of 1000, 0 left",
    ]


@pytest.mark.parametrize(
    ("gates", "words", "message"),
    [
        (["id: A, title: t, attest: {role: dba}"], [], "no gate looks at a backfill"),
        ([WATCHED], ["--gate", "C"], "--gate: C is no such gate"),
        ([WATCHED], ["--every", "soon"], "--every: expected a duration"),
        ([WATCHED, "id: C, title: t, backfill: {table: a, column: b}"], [], "several backfills are looked at: B, C"),
    ],
)
def test_what_cannot_be_watched_is_said(
    product: Product,
    watched: Any,
    capsys: pytest.CaptureFixture[str],
    gates: list[str],
    words: list[str],
    message: str,
) -> None:
    product.gates("predeploy", *gates)
    assert watched(*words) == 4
    assert message in capsys.readouterr().err
