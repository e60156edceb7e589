"""`releasegate schema-lint`, on a database by its connection string or by its environment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pytest_releasegate.sources.pgserver import PostgresServer
from tests.commands.test_commands import call

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["call"]

SCRIPT = """
create role anon nologin;
create table open (id int primary key); grant select on open to anon;
create table nameless (id int);
"""


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    """A database with an open table and one without a key."""
    with PostgresServer(settings={"autovacuum": "off"}) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(SCRIPT)
        yield server.dsn()


def test_says_what_why_and_how(call: Any, dsn: str) -> None:
    code, out = call("schema-lint", dsn, "--api-schema", "public", "--api-role", "anon")
    assert code == 1
    assert out.splitlines()[:4] == [
        "error rls_disabled_in_public: public.open",
        "    off, and anon may read",
        "    why: Without it, whoever holds the API's public key reads and writes every row that the grants allow.",
        "    fix: alter table public.open enable row level security;",
    ]
    assert "info no_primary_key: public.nameless" in out
    assert " lints over 2 tables, 0 views, 0 functions, 0 policies\n" in out
    assert out.splitlines()[-1].endswith("found, 1 of them warn or worse")


def test_an_environment_is_a_target_too(call: Any, product: Any, monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    product.write("gates/environments.yaml", "environments: {prod: {databases: {app: '${env:LINTED_DSN}'}}}\n")
    monkeypatch.setenv("LINTED_DSN", dsn)
    code, out = call("schema-lint", "prod", "--no-api")
    assert (code, "public.nameless" in out, "public.open" in out) == (0, True, False)
    assert call("schema-lint", "prod", "--no-api", "--at-least", "info")[0] == 1
    assert call("schema-lint", "${env:LINTED_DSN}", "--no-api")[0] == 0
    code, out = call("schema-lint", "prod", "--no-api", "--database", "aap")
    assert (code, "has no database 'aap'" in out) == (4, True)
    code, out = call("schema-lint", "pord", "--no-api")
    assert (code, "unknown environment 'pord'" in out, "did you mean 'prod'" in out) == (4, True, True)


def test_programs_read_it(call: Any, dsn: str) -> None:
    words = ["schema-lint", dsn, "--api-schema", "public", "--only", "rls_disabled_in_public"]
    code, out = call(*words, "--format", "json")
    whole = json.loads(out)
    assert (code, whole["lints"], whole["looked_at"]["tables"]) == (1, ["rls_disabled_in_public"], 2)
    (found,) = whole["found"]
    assert (found["object"], found["level"], found["fails"]) == ("public.open", "error", True)
    (sarif,) = json.loads(call(*words, "--format", "sarif")[1])["runs"]
    assert [rule["id"] for rule in sarif["tool"]["driver"]["rules"]] == ["rls_disabled_in_public"]
    assert sarif["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "public.open"
    script = call(*words, "--format", "sql")[1]
    assert script.splitlines()[-1] == "alter table public.open enable row level security;"


def test_what_cannot_be_told_is_no_all_clear(call: Any, dsn: str) -> None:
    words = ["schema-lint", dsn, "--api-schema", "public", "--only", "rls_disabled_in_public"]
    code, out = call(*words, "--api-role", "web")
    assert (code, "not told rls_disabled_in_public: none of the API's roles exists (web)" in out) == (10, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the lints must know which schemas an API serves"),
        (["--api-schema", "public", "--no-api"], "contradict each other"),
        (["--api-schema", "pubic"], "the database has no schema 'pubic'"),
        (["--only", "rls_enabled"], "there is no lint 'rls_enabled'"),
    ],
)
def test_wrong_calls(call: Any, dsn: str, words: list[str], said: str) -> None:
    code, out = call("schema-lint", dsn, *words)
    assert (code, said in out) == (4, True)


def test_an_unreachable_database_shows_no_password(call: Any) -> None:
    code, out = call("schema-lint", "postgresql://ann:tr0ub4dor@127.0.0.1:1/app", "--no-api")
    assert (code, "cannot connect" in out, "tr0ub4dor" in out) == (4, True, False)
