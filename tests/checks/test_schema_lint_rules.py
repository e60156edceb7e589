"""Each lint of `schema_lint`: finds what is wrong, leaves the near misses alone, and its SQL mends it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.check import Context, Secrets, SystemClock
from pytest_releasegate.model import Release
from pytest_releasegate.sources.pglints import LINTS, Issue, Lint, Report, Scope, inspect
from pytest_releasegate.sources.postgres import connect
from tests.checks.schema_lint_cases import CASES, FOUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_releasegate.model import Environment

SETUP = """
create schema auth;
create table auth.users (id uuid primary key, email text unique, raw_user_meta_data jsonb, raw_app_meta_data jsonb);
alter table auth.users enable row level security;
create function auth.uid() returns uuid language sql stable as 'select null::uuid';
create function auth.jwt() returns jsonb language sql stable as 'select null::jsonb';
create function auth.role() returns text language sql stable as 'select null::text';
grant usage on schema auth to anon, authenticated;
create schema extensions;
create schema "open to all"; grant create on schema "open to all" to public;
create role clerks nologin; grant clerks to anon;
create role web_login login noinherit; grant anon to web_login;
"""
BY_HAND = {
    "rls_policy_recursive": "somebody must write the function",
    "no_primary_key": "somebody must choose the columns",
    "rls_enabled_no_policy": "somebody must write the policy",
    "multiple_permissive_policies": "the fix takes policies away; that of one command stays with the other",
    "unused_index": "the index is gone with the fix, and others are unused",
    "table_bloat": "statistics stay until the next ANALYZE",
    "extension_in_public": "it lies in the schema of its case, not in public",
    "function_executable_by_public": "the fix of others grants nothing",
}
"""Lints whose objects need not be gone once their SQL was run, with the reason."""

TRIED = """
grant all on all tables in schema {name} to anon, authenticated, stranger;
set search_path = {name};
create temp table refused (name text);
do $$ declare t text; r text; c text; begin
    for t, r, c in
        select relname, role, command from pg_class,
            unnest(array['anon', 'authenticated', 'stranger']) role,
            unnest(array['select * from %I', 'insert into %I (id) values (1)', 'delete from %I']) command
        where relkind = 'r' and relnamespace = quote_ident(current_schema)::regnamespace
    loop
        begin
            execute format('set local role %I', r);
            execute format('explain ' || c, t);
        exception when invalid_object_definition then
            insert into refused values (t);
        end;
        reset role;
    end loop;
end $$;
select distinct name from refused;
"""
"""Plans commands on every table of a schema as each role, and tells which tables were refused."""


def schema(lint: str) -> str:
    """The schema of a case; its name needs quotes, and holds what formats and patterns stumble over."""
    return f"{lint} %s \"q'"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def script(lint: str, text: str) -> str:
    name = quoted(schema(lint))
    return (
        f"create schema {name}; grant usage on schema {name} to anon, authenticated, stranger;"
        f"set search_path = {name}; {text}; set search_path = public;"
    )


def look(environment: Environment, scope: Scope | None = None, lints: Sequence[Lint] = LINTS) -> Report:
    """What the lints find in a database of the tests."""
    release = Release(product="p", version="1", environment="test", opened_at=SystemClock().now())
    context = Context(environment, release, Path(), secrets=Secrets({}))
    with connect(context) as connection:
        return inspect(connection, lints, scope or Scope(api_schemas=tuple(map(schema, CASES))))


@pytest.fixture(scope="module")
def environment(new_database: Any, superuser: Any) -> Environment:
    """One database with the schemas of all cases."""
    made: Environment = new_database(SETUP)
    cases = "".join(script(lint, text) for lint, text in CASES.items())
    superuser(made, f"set allow_system_table_mods = on; {cases}")
    return made


@pytest.fixture(scope="module")
def report(environment: Environment) -> Report:
    """What the lints find in it."""
    return look(environment)


@pytest.fixture(scope="module")
def mended(environment: Environment, report: Report, superuser: Any) -> Report:
    """What they find once the SQL of each case's own issues was run."""
    fixes = [issue.fix for lint in sorted(set(CASES) - set(BY_HAND)) for issue in found(report, lint).values()]
    alone = [fix for fix in fixes if "concurrently" in fix]
    for script in (*alone, "\n".join(fix for fix in fixes if fix not in alone)):
        superuser(environment, script)
    return look(environment)


def found(report: Report, lint: str) -> dict[str, Issue]:
    """The issues of a lint in the schema of its case, by object without the schema."""
    start = schema(lint) + "."
    of = [issue for issue in report.issues if issue.lint.id == lint and issue.object.startswith(start)]
    return {issue.object.removeprefix(start): issue for issue in of}


@pytest.mark.parametrize("lint", sorted(CASES))
def test_finds_what_is_wrong_and_nothing_else(report: Report, lint: str) -> None:
    tables = set(re.findall(r"create table (bad\w*)", CASES[lint]))
    assert set(found(report, lint)) == FOUND.get(lint, {f"{name}: p" for name in tables})
    assert all(issue.seen and issue.what and issue.fix for issue in found(report, lint).values())


@pytest.mark.parametrize("lint", sorted(set(CASES) - set(BY_HAND)))
def test_its_sql_mends_it(report: Report, mended: Report, lint: str) -> None:
    assert found(report, lint)
    assert {name: issue.what for name, issue in found(mended, lint).items()} == {}


def test_postgresql_refuses_what_is_called_recursive(report: Report, environment: Environment, superuser: Any) -> None:
    rows = superuser(environment, TRIED.format(name=quoted(schema("rls_policy_recursive"))))
    assert {table for (table,) in rows} == set(found(report, "rls_policy_recursive"))
