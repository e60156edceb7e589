"""`constraints`: what must not be stored is refused by the database, which is seen without storing anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.constraints import Constraints
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look

SCRIPT = """
create type kind as enum ('adult', 'child');
create domain email as text check (value ~ '@') not null;
create table parents (id int primary key);
insert into parents values (1), (2);
create table "odd ""% people" (
    id bigint generated always as identity primary key,
    number text not null unique,
    "first ""% name" text not null check ("first ""% name" <> ''),
    kind kind not null,
    email email,
    born date check (born > '1900-01-01'),
    score smallint,
    price numeric(40, 20) not null default 0.1,
    starts timestamptz not null default now(),
    ends timestamptz not null default now() + interval '1 hour',
    parent int references parents,
    free text,
    seen int generated always as (score + 1) stored,
    constraint ends_after_start check (ends > starts)
);
create unique index people_email on "odd ""% people" (lower(email), kind);
create unique index people_free on "odd ""% people" (free) where free is not null;
insert into "odd ""% people" (number, "first ""% name", kind, email, price, parent)
    values ('A', 'Ada', 'adult', 'ada@example.org', 12345678901234567890.12345678901234567890, 1);
create table audit (id bigint generated always as identity, what text);
create function note() returns trigger language plpgsql as
    $$ begin insert into audit (what) values (tg_op); return null; end $$;
create trigger noted after insert or update or delete on "odd ""% people" for each row execute function note();
grant select, insert on all tables in schema public to service_role, authenticated;
"""
CHECK = "let through; to mend: add a CHECK, or choose a narrower type"
KEYS = "its keys: lower(email::text), kind; id; number"
TABLE = 'odd "% people'
NAME = 'first "% name'


@pytest.fixture
def environment(fresh_database: Any) -> Environment:
    made: Environment = fresh_database(SCRIPT, allow=("probes",))
    return made


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def refusing(*rows: Any, **more: Any) -> Constraints:
    return Constraints.model_validate({"refuse": {TABLE: list(rows)}, "as": "service_role", **more})


@pytest.fixture
def traces(superuser: Any) -> Any:
    """What a write would leave: the rows of the audit, the last number of each sequence, the last transaction."""
    query = """select (select count(*) from audit), (select count(*) from "odd ""% people"),
        (select sum(coalesce(last_value, 0)) from pg_sequences), pg_snapshot_xmax(pg_current_snapshot())::text"""
    return lambda environment: superuser(environment, query)


def test_constraints_that_hold_and_values_that_are_refused_pass(environment: Environment, traces: Any) -> None:
    before = traces(environment)
    check = refusing(
        {NAME: None},
        {NAME: ""},
        {"kind": "banana"},
        {"score": 40_000},
        {"born": "2026-02-30"},
        {"email": "nobody"},
        {"row": {"ends": date(1950, 1, 1)}, "by": "ends_after_start"},
        {"parent": 7},
        {"number": "A"},
        {"id": None},
        not_null={TABLE: [NAME, "kind"]},
        unique={TABLE: ["number", "kind, lower(email)", "id"], "parents": ["id"]},
        named={TABLE: ["ends_after_start"]},
        least=15,
    )
    seen = look(check, environment)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    lines = "\n".join(told(seen))
    assert told(seen)[0] == "constraints that hold: expected validated and in force, got 19 of 19 [yes]"
    assert f"public.{TABLE} with {NAME} = null: expected refused, got refused by NOT NULL of {NAME} (23502)" in lines
    assert 'kind = "banana": expected refused, got refused by SQLSTATE 22P02 [yes]' in lines
    assert "score = 40000: expected refused, got refused by SQLSTATE 22003 [yes]" in lines
    assert "expected refused by ends_after_start, got refused by ends_after_start (23514) [yes]" in lines
    assert "got refused by email_check (23514) [yes]" in lines
    assert "(23503, which is in force, and public.parents has no such row) [yes]" in lines
    assert "people_number_key (23505, which is in force, and there is such a row) [yes]" in lines
    assert told(seen)[-1] == "bad rows that were decided looked at: expected >= 1, got 10 [yes]"
    assert traces(environment) == before
    assert "Ada" not in lines + seen.attached[0][1].decode()


@pytest.mark.parametrize(
    ("script", "bad", "actual"),
    [
        ("alter column {name} drop not null", {NAME: None}, "let through; to mend: alter table"),
        (
            "drop constraint ends_after_start",
            {"ends": "1950-01-01"},
            CHECK,
        ),
        (
            "alter column kind type text",
            {"kind": "banana"},
            CHECK,
        ),
        (
            'drop constraint {table}_parent_fkey"',
            {"parent": 7},
            CHECK,
        ),
        ('drop constraint {table}_number_key"', {"number": "A"}, CHECK),
        ("disable trigger all", {"parent": 7}, "let through: {table}_parent_fkey is 2 of its triggers disabled"),
        (
            "alter column free set default ''",
            {"free": "anything"},
            CHECK,
        ),
    ],
)
def test_a_bad_value_that_is_let_through_fails_and_is_not_stored(
    environment: Environment, superuser: Any, traces: Any, script: str, bad: Any, actual: str
) -> None:
    quoted = script.replace("{name}", '"first ""% name"').replace("{table}", '"odd ""% people')
    superuser(environment, f'alter table "odd ""% people" {quoted}')
    before = traces(environment)
    seen = look(refusing(bad), environment)
    assert seen.status is Status.FAILED, (seen.message, told(seen))
    assert actual.replace("{table}", TABLE) in "\n".join(told(seen))
    assert traces(environment) == before


@pytest.mark.parametrize(
    ("declared", "line"),
    [
        ({"not_null": {TABLE: ["born"]}}, f"NOT NULL of public.{TABLE}.born: expected in force, got null is allowed"),
        (
            {"unique": {TABLE: ["free"]}},
            f"got no whole constraint or index over just these; {KEYS} [no]",
        ),
        (
            {"unique": {TABLE: ["number, kind"]}},
            f"got no whole constraint or index over just these; {KEYS} [no]",
        ),
        ({"named": {TABLE: ["end_after_start"]}}, "got no such constraint; "),
    ],
)
def test_a_declared_constraint_that_is_not_there_fails(environment: Environment, declared: Any, line: str) -> None:
    seen = look(Constraints(**declared), environment)
    assert seen.status is Status.FAILED
    assert line in "\n".join(told(seen))


def test_what_is_not_validated_fails_and_says_how_to_mend(environment: Environment, superuser: Any) -> None:
    superuser(environment, "alter table parents add constraint late check (id > 0) not valid")
    superuser(environment, "alter domain email add constraint short check (length(value) < 99) not valid")
    seen = look(Constraints(), environment)
    assert seen.status is Status.FAILED
    assert told(seen)[:2] == [
        "CHECK late of public.parents: expected validated and in force, got not validated, so older rows may break it; "
        "to mend: alter table public.parents validate constraint late [no]",
        "CHECK short of domain public.email: expected validated and in force, got not validated, so older rows may "
        "break it; to mend: alter domain public.email validate constraint short [no]",
    ]
    assert look(Constraints(tables=["audit"]), environment).status is Status.PASSED


def test_a_refusal_for_another_reason_proves_nothing(environment: Environment, superuser: Any) -> None:
    superuser(environment, 'alter table "odd ""% people" add constraint never check (id < 0) not valid')
    seen = look(refusing({NAME: ""}, tables=["parents"]), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert told(seen)[1] == (
        f'public.{TABLE} with {NAME} = "": expected refused, got proves nothing: the unchanged row is refused too, '
        "by never (23514); name rows that are good in `where` [cannot tell]"
    )
    assert told(seen)[-1] == "bad rows that were decided looked at: expected >= 1, got 0 [cannot tell]"


RULE = """create function refuse() returns trigger language plpgsql as $$ begin
    if new.score < 0 then raise exception 'score of % is negative', new.score; end if; return new; end $$;
create trigger rule before insert on "odd ""% people" for each row execute function refuse();"""


def test_rules_in_triggers_are_tried_only_when_it_is_said(environment: Environment, superuser: Any) -> None:
    superuser(environment, RULE)
    seen = look(refusing({"score": -1}), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert "trigger rule would fire; where it calls nothing outside, say `triggers: true`" in told(seen)[1]
    seen = look(refusing({"score": -1}, triggers=True), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert "refused for another reason: SQLSTATE P0001; where that is the rule meant, say `by: P0001`" in told(seen)[1]
    assert look(refusing({"row": {"score": -1}, "by": "P0001"}, triggers=True), environment).status is Status.PASSED
    seen = look(refusing({"row": {"score": 1}, "by": "P0001"}, triggers=True), environment)
    assert seen.status is Status.FAILED


@pytest.mark.parametrize(
    ("script", "bad", "actual"),
    [
        (
            "select 1",
            {"ends": "1950-01-01"},
            "(23514), which asks for starts too; where that is the rule meant, say `by: ",
        ),
        ("select 1", {"row": {"free": "x"}, "by": "P0001"}, "not tried: trigger noted speaks after the row is written"),
        ("select 1", {"row": {"free": "x"}, "by": "people_free"}, CHECK),
        (
            """create constraint trigger late after insert on "odd ""% people" deferrable initially deferred
            for each row execute function note()""",
            {"free": "x"},
            "not tried: trigger late speaks after the row is written",
        ),
    ],
)
def test_a_rule_of_other_columns_or_of_a_later_trigger_is_not_taken_for_the_one_meant(
    environment: Environment, superuser: Any, script: str, bad: Any, actual: str
) -> None:
    superuser(environment, script)
    seen = look(refusing(bad), environment)
    assert seen.status is (Status.FAILED if actual == CHECK else Status.INCONCLUSIVE)
    assert actual in told(seen)[1]


@pytest.mark.parametrize(
    ("table", "bad", "actual"),
    [
        ("audit", {"what": "x"}, "the table has no immediate primary or unique key of NOT NULL columns"),
        ("parents", {"id": 5}, "the table has no immediate primary or unique key other than what is changed"),
        ("empty", {"name": None}, "not tried: there is no row to copy"),
        ("closed", {"name": None}, "not tried: role authenticated may not insert into public.closed"),
        ("guarded", {"name": None}, "by SQLSTATE 42501; name a role in `as` that may insert into public.guarded"),
    ],
)
def test_what_cannot_be_tried_cannot_tell(
    environment: Environment, superuser: Any, table: str, bad: Any, actual: str
) -> None:
    superuser(
        environment,
        """create table closed (id int primary key, name text not null);
        create table empty (id int primary key, name text not null);
        create table guarded (id int primary key, name text not null);
        insert into guarded values (1, 'a'); alter table guarded enable row level security;
        create policy read on guarded for select using (true);
        grant all on empty, guarded to authenticated""",
    )
    seen = look(Constraints.model_validate({"refuse": {table: [bad]}, "as": "authenticated"}), environment)
    assert seen.status is Status.INCONCLUSIVE, told(seen)
    assert actual in told(seen)[1]


def test_the_policies_of_the_role_choose_the_row(environment: Environment, superuser: Any) -> None:
    superuser(
        environment,
        """create table mine (id int primary key, owner text, name text not null);
        insert into mine select i, 'u' || i, 'a' from generate_series(1, 9) i;
        alter table mine enable row level security;
        create policy own on mine using (owner = current_setting('app.user', true));
        grant all on mine to authenticated""",
    )
    seen = look(
        Constraints.model_validate(
            {"refuse": {"mine": [{"name": None}]}, "as": "authenticated", "settings": {"app.user": "u7"}}
        ),
        environment,
    )
    assert seen.status is Status.PASSED, told(seen)


def test_without_permission_or_role_or_column_it_cannot_look(environment: Environment) -> None:
    seen = look(refusing({NAME: None}), replace(environment, allow=frozenset()))
    assert (seen.status, "`refuse` needs `probes`" in seen.message) == (Status.ERROR, True)
    seen = look(refusing({NAME: None}, **{"as": "stranger"}), environment)
    assert (seen.status, "grant stranger to releasegate_probe" in seen.message) == (Status.ERROR, True)
    seen = look(refusing({"nmber": None}), environment)
    assert (seen.status, f"public.{TABLE} has no column 'nmber'" in seen.message) == (Status.ERROR, True)
    seen = look(refusing({"seen": 1}), environment)
    assert (seen.status, "is generated" in seen.message) == (Status.ERROR, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"refuse": {"clients": []}},
        {"refuse": {"clients": [{}]}},
        {"refuse": {"clients": [{"row": {"a": 1}, "bye": "x"}]}, "where": {"clients": "true; drop table x"}},
        {"settings": {"role": "postgres"}},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        Constraints.model_validate(wrong)


def test_no_constraint_is_inconclusive(fresh_database: Any) -> None:
    seen = look(Constraints(), fresh_database("create table lonely (id int)"))
    assert seen.status is Status.INCONCLUSIVE
    assert told(seen) == ["constraints looked at: expected >= 1, got 0 [cannot tell]"]


def test_what_is_not_enforced_is_told_where_the_server_knows_of_it(environment: Environment, superuser: Any) -> None:
    if superuser(environment, "select current_setting('server_version_num')::int < 180000") == [(True,)]:
        pytest.skip("NOT ENFORCED came with PostgreSQL 18")
    superuser(
        environment,
        """alter table parents add constraint loose check (id > 0) not enforced, add name text;
        alter table parents add constraint named not null name not valid""",
    )
    seen = look(Constraints(tables=["parents"]), environment)
    assert seen.status is Status.FAILED
    assert told(seen)[:2] == [
        "CHECK loose of public.parents: expected validated and in force, got not enforced [no]",
        "NOT NULL name of public.parents: expected validated and in force, got not validated, so older rows may break "
        "it [no]",
    ]
