"""`schema_lint`: what an API opens is never passed over in silence."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.schema_lint import SchemaLint
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources.pglints import LINTS, Level
from pytest_releasegate.testing import look

CLEAN = """
create schema auth;
create function auth.uid() returns uuid language sql stable set search_path = '' as 'select null::uuid';
create table notes (id int primary key, author uuid not null, text text);
alter table notes enable row level security;
create policy own on notes to authenticated using ((select auth.uid()) = author);
grant usage on schema auth to authenticated;
grant select, insert on notes to authenticated;
"""
OPEN = """create table open (id int primary key); grant select on open to anon;"""
NAMELESS = "create table public.nameless (id int);"


def gate(**parameters: Any) -> SchemaLint:
    return SchemaLint(**{"api_schemas": ["public"], **parameters})


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings if not finding.observe]


def observed(seen: Any) -> list[str]:
    return [str(finding) for finding in seen.findings if finding.observe]


@pytest.fixture(scope="module")
def clean(new_database: Any) -> Environment:
    """A database that no lint speaks of at level warn; tests that change it have their own."""
    made: Environment = new_database(CLEAN)
    return made


@pytest.fixture(scope="module")
def dirty(new_database: Any) -> Environment:
    """The same with an open table, and one without a key."""
    made: Environment = new_database(CLEAN + OPEN + NAMELESS)
    return made


def test_a_clean_schema_passes_with_its_numbers(clean: Environment) -> None:
    seen = look(gate(), clean)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert told(seen)[-1] == "tables looked at: expected >= 1, got 1 [yes]"
    assert told(seen)[0].startswith("lints looked at: expected >= 1, got 5")
    assert "policies looked at: expected any number, got 1" in observed(seen)
    assert any(line.startswith("schemas left out: expected none of your own, got auth (") for line in observed(seen))
    assert [line.split(" ")[0] for line in observed(seen) if " (info)" in line] == ["tls_off"]


def test_an_open_table_fails_and_says_what_why_and_how(dirty: Environment) -> None:
    seen = look(gate(), dirty)
    assert seen.status is Status.FAILED
    assert told(seen)[0] == (
        "rls_disabled_in_public: public.open: expected row-level security on every table that an API reaches, got off, "
        "and anon may read. Without it, whoever holds the API's public key reads and writes every row that the grants "
        "allow. To fix: alter table public.open enable row level security; [no]"
    )
    assert "no_primary_key (info): expected every table has a primary key, got 1: public.nameless" in observed(seen)
    evidence = seen.attached[0][1].decode()
    assert "alter table public.open enable row level security;\n" in evidence
    assert "-- info no_primary_key: public.nameless: none\n" in evidence


def test_the_level_decides_what_fails(dirty: Environment) -> None:
    assert look(gate(only=["no_primary_key"]), dirty).status is Status.PASSED
    seen = look(gate(only=["no_primary_key"], at_least="info"), dirty)
    assert seen.status is Status.FAILED
    assert told(seen)[0].startswith(
        "no_primary_key: public.nameless: expected every table has a primary key, got none."
    )
    assert (
        look(gate(only=["no_primary_key", "rls_disabled_in_public"], at_least="error"), dirty).status is Status.FAILED
    )


def test_what_may_stay_needs_a_reason_and_is_shown(dirty: Environment) -> None:
    seen = look(gate(ignore={"rls_disabled_in_public": {"public.op*": "a list of countries"}}), dirty)
    assert seen.status is Status.PASSED, told(seen)
    assert any(
        line.startswith("rls_disabled_in_public: public.open") and line.endswith("; ignored: a list of countries")
        for line in observed(seen)
    )
    seen = look(gate(ignore={"rls_disabled_in_public": {"public.shut": "was open"}}), dirty)
    assert seen.status is Status.FAILED
    gone = (
        "ignore rls_disabled_in_public: public.shut: expected something to ignore, got nothing: remove it from `ignore`"
    )
    assert gone in observed(seen)


def test_without_the_apis_schemas_nothing_is_clear(clean: Environment) -> None:
    seen = look(SchemaLint(), clean)
    assert seen.status is Status.ERROR
    assert "api_schemas is not set" in seen.message
    assert "say `api_schemas: [public]`" in seen.message
    assert look(SchemaLint(only=["no_primary_key"]), clean).status is Status.PASSED


def test_no_api_at_all_is_said_so(dirty: Environment) -> None:
    seen = look(gate(api_schemas=[]), dirty)
    assert seen.status is Status.PASSED, told(seen)
    assert any(lint.api for lint in gate().lints())
    assert not any(lint.api for lint in gate(api_schemas=[]).lints())


def test_a_view_past_the_policies_is_found_with_and_without_an_api(fresh_database: Any) -> None:
    view = "create view all_notes as select * from notes; grant select on all_notes to anon;"
    environment = fresh_database(CLEAN + view)
    for schemas, lint in ((["public"], "security_definer_view"), ([], "view_bypasses_rls")):
        seen = look(gate(api_schemas=schemas), environment)
        assert seen.status is Status.FAILED
        assert [line.split(": ")[0] for line in told(seen) if "all_notes" in line] == [lint]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"api_schemas": ["pubic"]}, "api_schemas: the database has no schema 'pubic'\n    did you mean 'public'?"),
        ({"api_roles": ["anon", "autenticated"]}, "api_roles: there is no role 'autenticated'"),
        ({"database": "other"}, "has no database 'other'"),
        (
            {"api_schemas": ["auth"]},
            "api_schemas: 'auth' is left out, as a schema that a platform or an extension fills",
        ),
    ],
)
def test_wrong_names_are_errors(clean: Environment, parameters: dict[str, Any], said: str) -> None:
    seen = look(gate(**parameters), clean)
    assert seen.status is Status.ERROR
    assert said in seen.message


def test_without_the_apis_roles_exposure_cannot_be_told(clean: Environment) -> None:
    seen = look(gate(api_roles=["web_anon", "web_user"]), clean)
    assert seen.status is Status.INCONCLUSIVE
    assert told(seen)[0].startswith("not told: api_role_bypasses_rls, auth_users_exposed, ")
    assert "got none of the API's roles exists (web_anon, web_user) [cannot tell]" in told(seen)[0]
    assert look(gate(api_roles=["web_anon"], only=["no_primary_key"]), clean).status is Status.PASSED


def test_a_schema_that_only_the_database_calls_an_apis_is_told(fresh_database: Any, superuser: Any) -> None:
    environment = fresh_database(CLEAN + "create schema api")
    superuser(environment, "alter role authenticated set pgrst.db_schemas = 'public, api, storage'")
    try:
        seen, both = look(gate(), environment), look(gate(api_schemas=["public", "api"]), environment)
    finally:
        superuser(environment, "alter role authenticated reset pgrst.db_schemas")
    assert (seen.status, both.status) == (Status.INCONCLUSIVE, Status.PASSED)
    assert told(seen)[0] == (
        "schemas of the API: expected `api_schemas` names all that PostgREST serves by pgrst.db_schemas, "
        "got not api [cannot tell]"
    )


def test_what_the_server_refuses_is_an_error(clean: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_releasegate.sources.pglints.look.POLICIES", "select 1 from gone")
    seen = look(gate(), clean)
    assert seen.status is Status.ERROR
    assert 'relation "gone" does not exist (SQLSTATE 42P01)' in seen.message


def test_a_platforms_schema_of_the_api_need_not_be_there(clean: Environment) -> None:
    assert look(gate(api_schemas=["public", "graphql_public"]), clean).status is Status.PASSED


def test_own_schemas_of_a_well_known_name_can_be_taken_in(clean: Environment) -> None:
    seen = look(gate(include=["auth"], at_least="error"), clean)
    assert seen.status is Status.PASSED, told(seen)
    assert not any("schemas left out" in line for line in observed(seen))
    assert "functions looked at: expected any number, got 1" in observed(seen)


@pytest.mark.parametrize(("script", "least"), [("select 1", 1), (CLEAN, 2)])
def test_too_few_tables_are_inconclusive(fresh_database: Any, script: str, least: int) -> None:
    seen = look(gate(least=least), fresh_database(script))
    assert seen.status is Status.INCONCLUSIVE
    assert f"tables looked at: expected >= {least}, got" in told(seen)[-1]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"only": ["rls_disabled"]}, "there is no lint 'rls_disabled'; did you mean 'rls_not_forced'"),
        ({"ignore": {"no_primary_keys": {"a": "b"}}}, "did you mean 'no_primary_key'"),
        ({"ignore": {"no_primary_key": {"a": " "}}}, "expected a reason for 'a', got none"),
        ({"ignore": {"no_primary_key": ["a"]}}, "valid dictionary"),
        ({"at_least": "warning"}, "'error', 'warn' or 'info'"),
        ({"api_schemas": [], "only": ["rls_disabled_in_public"]}, "no lint is left to run"),
        ({"api_roles": []}, "at least 1"),
    ],
)
def test_wrong_parameters(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        gate(**parameters)
    assert said.split("; did")[0] in str(wrong.value)


def test_another_name_of_a_lint_means_the_lint() -> None:
    (lint,) = gate(only=["permissive_rls_policy", "rls_policy_always_true"]).lints()
    assert lint.id == "rls_policy_always_true"


def test_lints_are_known_by_one_name_each() -> None:
    names = [name for lint in LINTS for name in (lint.id, *lint.aliases)]
    assert len(names) == len(set(names))
    assert all(lint.title and lint.why.endswith(".") and lint.fix for lint in LINTS)
    assert {lint.level for lint in LINTS} == set(Level)
