"""`extensions`: one that is missing, too old, not allowed or in the wrong schema does not pass."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.extensions import Extensions
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look

SCRIPT = """
create schema tools;
create extension citext schema tools version '1.6';
create extension pg_trgm schema public version '1.5';
"""
OTHERS = {"allowed": ["pg_*", "citext"]}


@pytest.fixture(scope="module")
def whole(new_database: Any) -> Environment:
    made: Environment = new_database(SCRIPT)
    return made


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def test_extensions_as_declared_pass(whole: Environment) -> None:
    expect = {"citext": ">= 1.5", "pg_trgm": "1.5.0", "plpgsql": "default"}
    seen = look(Extensions(expect=expect, allowed=[], not_in=["other"], least=3), whole)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert told(seen) == [
        "extension citext: expected >= 1.5, got 1.6 [yes]",
        "extension pg_trgm: expected 1.5.0, got 1.5 [yes]",
        "extension plpgsql: expected default, 1.0, got 1.0 [yes]",
        "extensions in order: expected allowed, not in other, got 3 of 3 [yes]",
        "extensions looked at: expected >= 3, got 3 [yes]",
    ]
    assert b"citext     1.6      tools" in seen.attached[0][1]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"expect": {"ltree": "any"}}, 'extension ltree: expected any, got not installed (create extension "ltree")'),
        (
            {"expect": {"postgis": ">= 3.4"}},
            "extension postgis: expected >= 3.4, got not installed (the server lacks its package)",
        ),
        (
            {"expect": {"pg_trgm": ">= 1.10"}},
            'extension pg_trgm: expected >= 1.10, got 1.5 (alter extension "pg_trgm" update brings 1.6)',
        ),
        (
            {"expect": {"pg_trgm": "default"}},
            'extension pg_trgm: expected default, 1.6, got 1.5 (alter extension "pg_trgm" update brings 1.6)',
        ),
        ({"expect": {"plpgsql": "!= 1"}}, "extension plpgsql: expected != 1, got 1.0"),
        (
            {"up_to_date": True, "expect": {"citext": "any"}},
            'extension pg_trgm: expected 1.6, got 1.5 (alter extension "pg_trgm" update brings 1.6)',
        ),
        (
            {"allowed": ["pg_*"]},
            "extension citext: expected not there, got 1.6 in tools "
            '(drop extension "citext", or put it into `allowed`)',
        ),
        (
            {"not_in": ["public"]},
            'extension pg_trgm: expected not in schema public, got there (alter extension "pg_trgm" set schema ...)',
        ),
    ],
)
def test_an_extension_that_is_not_as_declared_fails(
    whole: Environment, parameters: dict[str, Any], message: str
) -> None:
    seen = look(Extensions(**parameters), whole)
    assert seen.status is Status.FAILED, (seen.message, told(seen))
    assert f"{message} [no]" in told(seen)


def test_a_version_that_cannot_be_compared_cannot_tell(fresh_database: Any, superuser: Any) -> None:
    made = fresh_database("create extension citext")
    superuser(made, "update pg_extension set extversion = 'unpackaged' where extname = 'citext'")
    seen = look(Extensions(expect={"citext": ">= 1.5"}), made)
    superuser(made, "update pg_extension set extname = 'lost' where extname = 'citext'")
    lost = look(Extensions(expect={"lost": "default"}), made)
    superuser(made, "update pg_extension set extname = 'citext', extversion = '1.6' where extname = 'lost'")
    assert (seen.status, lost.status) == (Status.INCONCLUSIVE, Status.INCONCLUSIVE)
    assert "got unpackaged, and the server lacks its package [cannot tell]" in told(lost)[0]


def test_too_few_are_inconclusive_and_nobody_there_an_error(whole: Environment) -> None:
    assert look(Extensions(least=4), whole).status is Status.INCONCLUSIVE
    assert look(Extensions(database="other", allowed=[]), whole).status is Status.ERROR


@pytest.mark.parametrize("version", [1.10, 1, "newest", ">= x", "1.5-", "", None])
def test_what_cannot_be_read_is_refused(version: Any) -> None:
    with pytest.raises(ValidationError, match="expected any, default"):
        Extensions(expect={"citext": version})


def test_a_gate_that_asks_for_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="nothing is asked for"):
        Extensions()
