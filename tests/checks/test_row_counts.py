"""`row_counts`: what became of the rows since the snapshot."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.row_counts import Change, RowCounts
from pytest_releasegate.checks.snapshot import Snapshot
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import Remembered, look

SCRIPT = """
create table clients (id int, test_run text);
insert into clients select i, null from generate_series(1, 10) i;
create table notes (id int);
insert into notes select generate_series(1, 100);
create table old (id int);
insert into old values (1);
"""


@pytest.fixture
def environment(fresh_database: Any) -> Environment:
    made: Environment = fresh_database(SCRIPT)
    return made


def remembered(environment: Environment, **parameters: Any) -> Remembered:
    seen = look(Snapshot(**parameters), environment)
    assert seen.status is Status.PASSED, seen.message
    return Remembered(this=dict(seen.kept))


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def test_nothing_changed_passes_with_one_line(environment: Environment) -> None:
    seen = look(RowCounts(), environment, memory=remembered(environment))
    assert seen.status is Status.PASSED, told(seen)
    assert told(seen) == [
        "rows of the other tables: expected unchanged, got unchanged (3 tables, 111 rows) [yes]",
        "tables looked at: expected >= 1, got 3 [yes]",
        "rows looked at: expected >= 1, got 111 [yes]",
    ]


def test_expected_changes_pass_and_are_told(environment: Environment, superuser: Any) -> None:
    memory = remembered(environment)
    superuser(
        environment,
        """insert into notes select generate_series(1, 20); drop table old; create table consents (id int);
        insert into clients values (11)""",
    )
    check = RowCounts(expect={"notes": "+20", "public.old": "dropped", "consents": "new", "clients": "-0"})
    seen = look(check, environment, memory=memory)
    assert seen.status is Status.PASSED, told(seen)
    assert told(seen)[:4] == [
        "rows of public.clients: expected >= 10 (-0), got 11 (+1) [yes]",
        "rows of public.consents: expected new, got a new table of 0 rows [yes]",
        "rows of public.notes: expected 120 (+20), got 120 (+20) [yes]",
        "rows of public.old: expected dropped, got the table is gone (1 rows before) [yes]",
    ]
    assert seen.attached[0][1].decode().splitlines() == [
        "table            before  after  delta  expected  ok",
        "public.clients   10      11     +1     -0        yes",
        "public.consents  -       0             new       yes",
        "public.notes     100     120    +20    +20       yes",
        "public.old       1       -             dropped   yes",
    ]


@pytest.mark.parametrize(
    ("script", "expect", "line"),
    [
        ("delete from notes where id = 7", {}, "rows of public.notes: expected 100 (unchanged), got 99 (-1)"),
        ("delete from notes where id = 7", {"notes": "-0"}, "rows of public.notes: expected >= 100 (-0), got 99 (-1)"),
        ("insert into notes values (1)", {"notes": "+2"}, "rows of public.notes: expected 102 (+2), got 101 (+1)"),
        ("truncate notes", {"notes": ">= 5"}, "rows of public.notes: expected >= 5, got 0 (-100)"),
        (
            "drop table notes",
            {},
            "rows of public.notes: expected 100 (unchanged), got the table is gone (100 rows before)",
        ),
        ("drop table notes", {"notes": "any"}, "rows of public.notes: expected any, got the table is gone"),
        ("create table extra (id int)", {}, "rows of public.extra: expected no new table, got a new table of 0 rows"),
        ("select 1", {"notes": "dropped"}, "rows of public.notes: expected dropped, got 100 (unchanged)"),
        ("select 1", {"notes": "new"}, "rows of public.notes: expected new, got 100 (unchanged)"),
        ("select 1", {"consents": "new"}, "rows of consents: expected new, got no such table, neither in the snapshot"),
        ("select 1", {"notes": "+1..+50"}, "rows of public.notes: expected 101..150 (+1..+50), got 100 (unchanged)"),
    ],
)
def test_unexpected_changes_fail(
    environment: Environment, superuser: Any, script: str, expect: dict[str, str], line: str
) -> None:
    memory = remembered(environment)
    superuser(environment, script)
    seen = look(RowCounts(expect=expect), environment, memory=memory)
    assert seen.status is Status.FAILED
    assert [text for text in told(seen) if text.startswith(line) and text.endswith("[no]")], told(seen)
    assert b"NO\n" in seen.attached[0][1]


def test_rows_left_out_of_the_snapshot_are_left_out_again(environment: Environment, superuser: Any) -> None:
    memory = remembered(environment, where={"clients": "test_run is null"}, exclude=["old"])
    superuser(environment, "insert into clients values (99, 'smoke'); truncate old")
    assert look(RowCounts(), environment, memory=memory).status is Status.PASSED
    superuser(environment, "insert into clients values (100)")
    assert look(RowCounts(), environment, memory=memory).status is Status.FAILED


def test_a_snapshot_of_named_tables_compares_those_and_the_expected(environment: Environment, superuser: Any) -> None:
    memory = remembered(environment, tables=["clients"])
    superuser(environment, "truncate notes; create table consents (id int)")
    assert look(RowCounts(expect={"consents": "new"}), environment, memory=memory).status is Status.PASSED


def test_without_a_snapshot_it_cannot_tell(environment: Environment) -> None:
    seen = look(RowCounts(), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert str(seen.findings[0]) == (
        "snapshot 'before' of database 'app': expected one of this release to compare with, "
        "got none of 1.4.0/test; it is taken by a gate with `snapshot:`"
    )
    previous = Remembered(previous=dict(remembered(environment).this))
    assert look(RowCounts(), environment, memory=previous).status is Status.INCONCLUSIVE


def test_fewer_tables_than_declared_cannot_tell(environment: Environment) -> None:
    seen = look(RowCounts(least=4), environment, memory=remembered(environment))
    assert seen.status is Status.INCONCLUSIVE
    assert "tables looked at: expected >= 4, got 3 [cannot tell]" in told(seen)


def test_a_role_that_sees_less_is_an_error(environment: Environment, superuser: Any) -> None:
    memory = remembered(environment)
    superuser(environment, "alter table notes enable row level security")
    dsn = environment.databases["app"].replace("releasegate_probe", "filtered")
    seen = look(RowCounts(), Environment(name="test", databases={"app": dsn}), memory=memory)
    assert seen.status is Status.ERROR
    assert "row-level security" in seen.message


def test_a_snapshot_that_cannot_be_read_is_an_error(environment: Environment) -> None:
    seen = look(RowCounts(), environment, memory=Remembered(this={"row_counts/app/before": {"tables": {}}}))
    assert seen.status is Status.ERROR
    assert "cannot be read" in seen.message


def test_a_table_in_two_schemas_must_be_named_in_full(environment: Environment, superuser: Any) -> None:
    superuser(environment, "create schema two; create table two.notes (id int)")
    seen = look(RowCounts(expect={"notes": "any"}), environment, memory=remembered(environment))
    assert seen.status is Status.ERROR
    assert "write public.notes or two.notes" in seen.message


@pytest.mark.parametrize(
    ("text", "before", "holds", "not_holds"),
    [
        ("unchanged", 5, [5], [4, 6, None]),
        ("+2", 5, [7], [5, 6, 8]),
        ("-2", 5, [3], [5, 2, 4]),
        ("-0", 5, [5, 6], [4, 0]),
        ("+0", 5, [5], [4, 6]),
        ("+0..+2", 5, [5, 6, 7], [4, 8]),
        ("-2..+1", 5, [3, 6], [2, 7]),
        (">= 5", None, [5], [4]),
        ("== 5", 1, [5], [4, None]),
        ("new", None, [0, 3], [None]),
        ("dropped", 5, [None], [0, 5]),
        ("any", 5, [0, 9], [None]),
        ("any", None, [0], [None]),
        ("+2", None, [], [2, 0]),
    ],
)
def test_the_grammar_of_changes(
    text: str, before: int | None, holds: list[int | None], not_holds: list[int | None]
) -> None:
    change = Change.parse(text)
    assert [after for after in (*holds, *not_holds) if change.holds(before, after)] == holds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (120, "write '+120' in quotes, or '== 120'"),
        (0, "write '-0' in quotes"),
        ("same", "expected unchanged, .120, -5, -0"),
        ("+5..+1", "expected a range from less to more"),
        ("5", "got '5'"),
        (True, "got 'True'"),
    ],
)
def test_what_is_no_change_says_what_is_allowed(value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("+", r"\+")):
        RowCounts(expect={"clients": value})
