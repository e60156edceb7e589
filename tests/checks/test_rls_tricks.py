"""`rls`: what no row of the table shows, and yet a caller may do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_releasegate.checks.rls import Rls
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources.pgvariants import identities, told, variants
from pytest_releasegate.testing import look

ANN, BEN = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"
SCRIPT = f"""
create function me() returns uuid language sql stable as
    $$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
create table notes (
    id uuid not null default gen_random_uuid(), author uuid not null, shelf int, told text,
    status varchar(9) not null default 'live', pages int not null, pinned bool not null) partition by list (shelf);
create table notes_1 partition of notes for values in (1);
insert into notes (author, shelf, pages, pinned)
    select case when i <= 6 then '{ANN}' else '{BEN}' end::uuid, 1, i, false from generate_series(1, 12) i;
alter table notes enable row level security;
grant select, insert, update on notes to anon, authenticated;
create policy reading on notes for select to authenticated using (author = me());
create policy adding on notes for insert to authenticated with check (author = me());
create policy changing on notes for update to authenticated using (author = me()) with check (author = me());
"""
OWN = "author = me()"


@pytest.fixture
def environment(fresh_database: Any) -> Environment:
    made: Environment = fresh_database(SCRIPT, allow=("probes",))
    return made


def seen_of(environment: Environment, who: str, command: str, expected: str) -> Any:
    personas = {"ann": {"role": "authenticated", "claims": {"sub": ANN}}, "anon": {"role": "anon"}}
    return look(
        Rls.model_validate({"personas": personas, "expect": {"notes": {who: {command: expected}}}}), environment
    )


ADD, CHANGE = "create policy more on notes for insert", "create policy more on notes for update to authenticated"


@pytest.mark.parametrize(
    ("script", "who", "command", "ending"),
    [
        ("select 1", "ann", "insert", ""),
        ("select 1", "anon", "insert", ""),
        ("select 1", "ann", "update", ""),
        (f"{ADD} with check (status = 'draft')", "ann", "insert", "one with status = draft is accepted"),
        (f"{ADD} with check (pages > 99 and pinned)", "ann", "insert", "pages = 100, pinned = true is accepted"),
        (f"{ADD} with check (pinned)", "anon", "insert", "one with pinned = true is accepted"),
        (f"{CHANGE} using (false) with check (status = 'draft')", "ann", "update", "such as with status = draft"),
        (f"{CHANGE} using ({OWN}) with check ({OWN} or pages = 99)", "ann", "update", "such as with pages = 99"),
    ],
)
def test_rows_that_only_a_policy_names_are_offered_too(
    environment: Environment, superuser: Any, script: str, who: str, command: str, ending: str
) -> None:
    superuser(environment, script)
    seen = seen_of(environment, who, command, OWN if who == "ann" else "denied")
    assert seen.status is (Status.FAILED if ending else Status.PASSED), (seen.message, seen.findings)
    assert ending in seen.findings[1].actual
    assert superuser(environment, "select count(*) from notes") == [(12,)]


@pytest.mark.parametrize(("expected", "status"), [("allowed", Status.PASSED), ("denied", Status.FAILED)])
def test_who_has_no_rows_may_add_the_first(environment: Environment, expected: str, status: Status) -> None:
    eve = {"eve": {"role": "authenticated", "claims": {"sub": "00000000-0000-0000-0000-00000000000e"}}}
    check = {"personas": eve, "expect": {"notes": {"eve": {"insert": expected, "select": "denied"}}}}
    seen = look(Rls.model_validate(check), environment)
    assert seen.status is status
    assert "0 of 4 rows accepted; and one with author = the caller's is accepted (probe)" in seen.findings[1].actual


def test_rows_of_another_sort_are_offered_where_the_first_are_all_alike(
    environment: Environment, superuser: Any
) -> None:
    superuser(environment, "update notes set told = 'x' where pages = 12")
    superuser(environment, "create table open (told text); insert into open values ('x'); grant select on open to anon")
    superuser(environment, f"{ADD} with check (told in (select told from open))")
    assert seen_of(environment, "anon", "insert", "denied").status is Status.FAILED


@pytest.mark.parametrize(
    ("columns", "condition", "status"),
    [
        ("pages", OWN, Status.PASSED),
        ("pages", f"{OWN} and pages < 7", Status.INCONCLUSIVE),
        ("pages, told", f"{OWN} and pages < 7", Status.INCONCLUSIVE),
        ("pages, pinned", f"{OWN} and pages < 7", Status.FAILED),
        ("pages, status", f"{OWN} and status = 'live'", Status.FAILED),
        ("author, pages", OWN, Status.FAILED),
    ],
)
def test_a_row_is_changed_only_in_the_columns_that_may_be(
    environment: Environment, superuser: Any, columns: str, condition: str, status: Status
) -> None:
    superuser(
        environment,
        f"""update notes set status = 'old' where pages = 12;
        revoke update on notes from authenticated; grant update ({columns}) on notes to authenticated;
        alter policy changing on notes using ({condition}) with check ({OWN} or true)""",
    )
    assert seen_of(environment, "ann", "update", condition).status is status


def test_a_row_of_the_caller_beyond_what_is_expected_is_offered(environment: Environment, superuser: Any) -> None:
    superuser(environment, "update notes set status = 'old' where pages = 12")
    seen = seen_of(environment, "ann", "insert", f"{OWN} and status = 'live'")
    assert seen.status is Status.FAILED
    assert "others; and one with author = the caller's is accepted" in seen.findings[1].actual


@pytest.mark.parametrize(
    ("script", "actual"),
    [
        ("grant select on notes_1 to anon", "1 reached past the policies of public.notes by a grant of their own: "),
        ("grant update (told) on notes_1 to anon", "1 reached past the policies of public.notes by a grant of"),
        ("grant select on notes_1 to anon; alter table notes_1 enable row level security", ""),
    ],
)
def test_a_partition_that_a_persona_may_name_is_no_way_past_the_policies(
    environment: Environment, superuser: Any, script: str, actual: str
) -> None:
    superuser(environment, script)
    seen = seen_of(environment, "ann", "select", OWN), seen_of(environment, "anon", "select", "denied")
    assert {each.status for each in seen} == {Status.FAILED if actual else Status.PASSED}
    for each in seen if actual else ():
        assert each.findings[1].name == "partitions of public.notes"
        assert each.findings[1].actual.startswith(actual)


@pytest.mark.parametrize(
    ("check", "named"),
    [
        ("true", []),
        ("(author = me())", ["author = the caller's"]),
        ("((status)::text = 'it''s'::text)", ["status = it's"]),
        ("(status = ANY (ARRAY['a'::text, 'b'::text]))", ["status = a"]),
        ("((pages < '-5'::integer) OR (other = 1))", ["pages = -6"]),
        ("((author = ( SELECT me() AS me)) AND may(pages))", ["author = the caller's"]),
        (
            "(((me())::text = (author)::text) OR (status ~~ 'by %'::text))",
            ["status = by , author = the caller's", "status = by ", "author = the caller's"],
        ),
        ("(author = other)", []),
        ("(pages IS NOT NULL)", ["pages = the caller's", "pages = now", "pages = 1"]),
        ("(pinned AND (author IS NULL))", ["author = null, pinned = true", "author = null", "pinned = true"]),
    ],
)
def test_values_that_a_condition_names(check: str, named: list[str]) -> None:
    found = variants([check], ["status", "author", "pages", "pinned"], [ANN])
    assert [told(each, [ANN]) for each in found] == named


def test_whom_settings_name() -> None:
    claims = json.dumps({"role": "authenticated", "email": "a@example.org", "sub": ANN, "aud": ["x"]})
    assert identities({"app.user": "7", "app.teams": "{1,2}", "request.jwt.claims": claims}) == [
        "7",
        "{1,2}",
        ANN,
        "a@example.org",
    ]
