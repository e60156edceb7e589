"""`sql`: what a query answers, and everything that keeps it from being answered."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.sql import Sql
from pytest_releasegate.model import Environment, Ok, Release, Status
from pytest_releasegate.sources.postgres import one_predicate, one_statement
from pytest_releasegate.testing import look

SCRIPT = """
create table clients (id int primary key, name text not null, balance numeric, seen interval);
insert into clients values (1, 'Ada Example', 2.50, '90 s'), (2, 'Bob Example', 0, '1 s');
create table empty (id int);
create table version (number text);
insert into version values ('1.4.0');
create sequence made;
grant usage on sequence made to releasegate_probe;
"""


@pytest.fixture(scope="module")
def environment(new_database: Any) -> Environment:
    made: Environment = new_database(SCRIPT)
    return made


def told(look_: Any) -> list[str]:
    return [str(finding) for finding in look_.findings]


@pytest.mark.parametrize(
    ("query", "expect", "actual"),
    [
        ("select count(*) from clients", 2, "2"),
        ("select count(*) from clients", ">= 1", "2"),
        ("select max(balance) from clients", 2.5, "2.50"),
        ("select max(seen) from clients", "<= 90s", "0:01:30"),
        ("select number from version", "1.4.0", "'1.4.0'"),
        ("select date '2026-01-02'", "2026-01-02", "2026-01-02"),
        ("values (true);", True, "true"),
        ("with a as (select 1 as b) select b from a -- one; two", 1, "1"),
        ("select count(*) from clients where name like '%Exam%'", 2, "2"),
    ],
)
def test_a_value_as_expected_passes(environment: Environment, query: str, expect: Any, actual: str) -> None:
    seen = look(Sql(query=query, expect=expect), environment)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert [f.actual for f in seen.findings] == [actual, "1"]
    assert seen.findings[1].name == "queries looked at"


@pytest.mark.parametrize(
    ("query", "expect", "told_"),
    [
        ("select count(*) from clients", 3, "value: expected 3, got 2"),
        ("select count(*) from clients", "2", "value: expected '2', got 2"),
        ("select '2'", 2, "value: expected 2, got '2'"),
        ("select 1", True, "value: expected true, got 1"),
        ("select true", 1, "value: expected 1, got true"),
        ("select count(*) from empty", ">= 1", "value: expected >= 1, got 0"),
        ("select number from version", "1.5.0", "value: expected '1.5.0', got '1.4.0'"),
    ],
)
def test_another_value_fails_and_is_told(environment: Environment, query: str, expect: Any, told_: str) -> None:
    seen = look(Sql(query=query, expect=expect), environment)
    assert seen.status is Status.FAILED
    assert told(seen)[0] == told_


@pytest.mark.parametrize(
    ("query", "expect", "told_"),
    [
        ("select max(id) from empty", 1, "value: expected 1, got null"),
        ("select id from empty", "< 5", "value: expected < 5, got no row"),
        ("select name from clients limit 1", "< 5", "value: expected < 5, got 'Ada Example' (no number)"),
    ],
)
def test_no_value_cannot_tell(environment: Environment, query: str, expect: Any, told_: str) -> None:
    seen = look(Sql(query=query, expect=expect), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert told(seen)[0] == told_


def test_the_shorthand_expects_true(environment: Environment) -> None:
    query = "select not exists (select from clients where balance < 0)"
    assert look(Sql(query=query), environment).status is Status.PASSED
    assert look(Sql(query=query.replace("< 0", ">= 0")), environment).status is Status.FAILED


def test_rows_are_counted_and_never_shown_unless_asked(environment: Environment) -> None:
    query = "select name from clients where balance > 0"
    of = "select count(*) from clients"
    hidden = look(Sql(query=query, rows=0, of=of), environment)
    assert hidden.status is Status.FAILED
    assert told(hidden)[0] == "rows: expected 0, got 1"
    assert b"Ada" not in hidden.attached[0][1]
    shown = look(Sql(query=query, rows=0, of=of, show_rows=True), environment)
    assert told(shown)[0] == "rows: expected 0, got 1 ('Ada Example')"
    assert look(Sql(query=query, rows=">= 1"), environment).status is Status.PASSED
    assert look(Sql(query=query.replace(">", "<"), rows=0, of=of), environment).status is Status.PASSED


@pytest.mark.parametrize(
    "expected",
    [{"rows": 0}, {"rows": "<= 5"}, {"expect": 0}, {"expect": "== 0"}, {"expect": "< 1"}, {"expect": []}],
)
def test_nothing_is_only_expected_of_something(expected: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="expected `of`: a query to count what was looked at"):
        Sql(query="select id from clients where balance < 0", **expected)
    Sql(query="select id from clients where balance < 0", of="select count(*) from clients", **expected)


def test_nothing_wrong_among_nothing_cannot_tell(environment: Environment) -> None:
    query = "select 1 from {} where id < 0"
    full = Sql(query=query.format("clients"), rows=0, of="select count(*) from clients")
    assert look(full, environment).status is Status.PASSED
    empty = look(Sql(query=query.format("empty"), rows=0, of="select count(*) from empty"), environment)
    assert empty.status is Status.INCONCLUSIVE
    assert told(empty)[1] == "rows looked at: expected >= 1, got 0"


def test_lists_of_rows_are_compared_without_being_shown(environment: Environment) -> None:
    query = "select id, name from clients order by id"
    right = [[1, "Ada Example"], [2, "Bob Example"]]
    assert look(Sql(query=query, expect=right), environment).status is Status.PASSED
    wrong = look(Sql(query=query, expect=[[1, "Ada Example"], [2, "Eve"], [3, None]]), environment)
    assert wrong.status is Status.FAILED
    assert told(wrong)[0] == "rows: expected 3 rows as given, got 2, 2 of them missing or different"


def test_parameters_of_the_release_are_bound_beside_plain_percent_signs(environment: Environment) -> None:
    query = "select count(*) from version where number = %(version)s and number like '1%'"
    assert look(Sql(query=query, expect=1), environment).status is Status.PASSED
    seen = look(Sql(query="select now() > %(deployed_at)s"), environment)
    assert (seen.status, "no deployed_at yet" in seen.message) == (Status.ERROR, True)
    at = datetime(2026, 1, 5, tzinfo=UTC)
    release = Release(product="demo", version="1.4.0", environment="test", opened_at=at, deployed_at=at)
    assert look(Sql(query="select now() > %(deployed_at)s"), environment, release=release).status is Status.PASSED


@pytest.mark.parametrize(
    "text", ["", "  ", ";", "-- nothing", "select 1; select 2", "select 1;;drop table x", "/* a", "select 1; /* b */ x"]
)
def test_anything_but_one_statement_is_refused_before_it_is_sent(text: str) -> None:
    with pytest.raises(ValidationError, match="expected one statement"):
        Sql(query=text)


@pytest.mark.parametrize(
    "text",
    [
        "select ';'",
        'select ";" from x',
        "select $a$;$a$",
        "select 1; -- ;",
        "select E'\\';'",
        "/* don't ; */ select 'x;'",
    ],
)
def test_semicolons_in_strings_and_comments_are_no_end(text: str) -> None:
    assert one_statement(text)


@pytest.mark.parametrize("text", ["true) or (true", "a = 1; b", "(a = 1", "a = 1)"])
def test_a_predicate_cannot_leave_its_brackets(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected one (condition|statement)"):
        one_predicate(text)
    assert one_predicate("a = ')' and (b is null) -- (") == "a = ')' and (b is null) -- ("


@pytest.mark.parametrize(
    ("query", "state"),
    [
        ("insert into clients values (3, 'x')", "42601"),
        ("with a as (delete from clients returning 1) select count(*) from a", "0A000"),
        ("select nextval('made')", "25006"),
        ("select set_config('transaction_read_only', 'off', false)", "25001"),
        ("select * from clients for update", "25006"),
        ("select nothing from clients", "42703"),
        ("select 1 from nothing", "42P01"),
        ("lock table clients", "42601"),
    ],
)
def test_what_writes_or_is_wrong_is_an_error_and_changes_nothing(
    environment: Environment, superuser: Any, query: str, state: str
) -> None:
    # without the guard that reads the text first
    written = Sql(query="select 1", expect=1).model_copy(update={"query": query})
    seen = look(written, environment)
    assert seen.status is Status.ERROR
    assert f"(SQLSTATE {state})" in seen.message
    rows = superuser(environment, "select (select count(*) from clients), (select is_called from made)")
    assert rows == [(2, False)]


def test_more_than_one_value_is_an_error(environment: Environment) -> None:
    seen = look(Sql(query="select id, name from clients", expect=1), environment)
    assert seen.status is Status.ERROR
    assert "gave 2 rows of 2 columns where one value is expected" in seen.message


def test_a_value_in_the_servers_message_is_left_out(environment: Environment) -> None:
    seen = look(Sql(query="select name::int from clients where id = 1", expect=1), environment)
    assert seen.status is Status.ERROR
    assert 'invalid input syntax for type integer: "..."' in seen.message
    assert "Ada" not in seen.message


def test_a_slow_query_is_stopped(environment: Environment) -> None:
    seen = look(Sql(query="select pg_sleep(5) is null", timeout="100ms"), environment)
    assert seen.status is Status.ERROR
    assert "statement timeout (SQLSTATE 57014)" in seen.message
    assert seen.seconds < 3


def test_rows_hidden_from_the_role_are_an_error_not_a_zero(new_database: Any) -> None:
    script = SCRIPT + "alter table clients enable row level security;"
    seen = look(Sql(query="select count(*) from clients", expect=1), new_database(script, user="filtered"))
    assert seen.status is Status.ERROR
    assert "row-level security" in seen.message
    assert "alter role filtered bypassrls" in seen.message


def test_a_missing_grant_is_an_error_with_what_to_grant(new_database: Any) -> None:
    seen = look(Sql(query="select count(*) from clients", expect=1), new_database(SCRIPT, user="outsider"))
    assert seen.status is Status.ERROR
    assert "permission denied for table clients (SQLSTATE 42501)" in seen.message
    assert "grant pg_read_all_data to outsider" in seen.message


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("change", "what", "hint"),
    [
        (("correct-horse", "wrong-horse"), "password authentication failed", "check the user and password"),
        (("/db", "/nodb"), "does not exist", "check the database's name"),
        ((":PORT/", ":CLOSED/"), "Connection refused", "is the server running"),
        (("@127.0.0.1:", "@nowhere.invalid:"), "cannot connect", "check the host"),
        (("postgresql://", "postgres//"), "connection string cannot be read", "expected postgresql://"),
    ],
)
def test_what_cannot_be_reached_is_an_error_without_the_secret(
    environment: Environment, change: tuple[str, str], what: str, hint: str
) -> None:
    dsn = environment.databases["app"]
    port = dsn.rsplit(":", 1)[1].split("/")[0]
    old, new = change[0].replace("PORT", port), change[1].replace("CLOSED", str(_closed_port()))
    broken = dsn.replace(old, new)
    assert broken != dsn
    seen = look(Sql(query="select 1", expect=1), replace(environment, databases={"app": broken}))
    assert seen.status is Status.ERROR
    assert what in seen.message
    assert hint in seen.message
    assert "horse" not in seen.message


def test_the_database_is_found_by_name(environment: Environment) -> None:
    dsn = environment.databases["app"]
    ask = Sql(query="select 1", expect=1)
    several = replace(environment, databases={"one": dsn, "two": dsn})
    assert "several databases and none named 'app'" in look(ask, several).message
    assert look(ask, replace(environment, databases={"app": dsn, "two": dsn})).status is Status.PASSED
    assert look(ask, replace(environment, databases={"one": dsn})).status is Status.PASSED
    assert "has no databases" in look(ask, replace(environment, databases={})).message
    wrong = look(Sql(query="select 1", expect=1, database="ap"), environment)
    assert wrong.message.splitlines()[0] == "environment 'test' has no database 'ap'"
    assert "did you mean 'app'?" in wrong.message


def test_references_resolve_and_their_values_stay_hidden(environment: Environment) -> None:
    dsn = environment.databases["app"]
    hidden = replace(environment, databases={"app": "${env:APP_DSN}"})
    seen = look(Sql(query=f"select '{dsn}'", expect="x"), hidden, variables={"APP_DSN": dsn})
    assert told(seen)[0] == "value: expected 'x', got '${databases.app}'"
    assert b"horse" not in seen.attached[0][1]
    unset = look(Sql(query="select 1", expect=1), hidden, variables={})
    assert (unset.status, "APP_DSN is not set" in unset.message) == (Status.ERROR, True)


def test_the_session_is_read_only_bounded_and_named(environment: Environment) -> None:
    query = """select array[current_setting('transaction_read_only'), current_setting('transaction_isolation'),
        current_setting('row_security'), current_setting('lock_timeout'), current_setting('application_name'),
        (current_setting('statement_timeout') <> '0')::text,
        (current_setting('idle_in_transaction_session_timeout') <> '0')::text]::text"""
    expect = '{on,"repeatable read",off,2s,pytest-releasegate,true,true}'
    seen = look(Sql(query=query, expect=expect), environment)
    assert seen.status is Status.PASSED, told(seen)


@pytest.mark.parametrize("wrong", [{"expect": 1, "rows": 0}, {"rows": True}, {"rows": "many"}, {"expect": None}])
def test_contradicting_or_mistyped_expectations_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Sql(query="select 1", **wrong)


def test_findings_have_the_verdict_of_the_comparison(environment: Environment) -> None:
    assert look(Sql(query="select 1", expect=2), environment).findings[0].ok is Ok.NO


def test_connections_are_closed(environment: Environment, superuser: Any) -> None:
    look(Sql(query="select 1", expect=1), environment)
    where = "application_name = 'pytest-releasegate' and datname = current_database()"
    query = f"select count(*) from pg_stat_activity where {where}"
    for _ in range(200):  # the server needs a moment to notice
        if superuser(environment, query) == [(0,)]:
            return
    pytest.fail("the connection is still open")


def test_a_carriage_return_ends_a_comment_too() -> None:
    with pytest.raises(ValueError, match=r"got '\)' where none belongs"):
        one_predicate("a = 1 -- \r) or (true")


def test_what_the_driver_cannot_read_is_no_lost_connection(fresh_database: Any) -> None:
    seen = look(Sql(query="select timestamptz 'infinity'", expect=1), fresh_database())
    assert seen.status is Status.ERROR
    assert "correct the SQL, or what it gives, of the gate" in seen.message
    assert "infinity" not in seen.message
