"""Facts that follow from changed files: patterns as git itself reads them, and what contradicts a derived fact."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_releasegate.checklist.derived import contradictions, derive, fits
from pytest_releasegate.model import Release

if TYPE_CHECKING:
    from pathlib import Path

RELEASE = Release(product="shop", version="1.4.0", environment="prod", opened_at=datetime(2026, 1, 5, tzinfo=UTC))

PATHS = [
    "a.sql",
    "billing",
    "billing/a.py",
    "billing/deep/er/a.py",
    "db/billing/a.py",
    "db/migrations/1.sql",
    "db/migrations/old/0.sql",
    "migrations/2.sql",
    "xbilling/a.py",
    "billing.py",
    "src/[x]/a",
    "src/x/a",
    "src/y/a",
    "src/ü ß.txt",
    "src/!a",
]
PATTERNS = [
    "billing/**",
    "billing/",
    "billing",
    "/billing",
    "billing/*",
    "billing/*.py",
    "billing/**/*.py",
    "**/billing/**",
    "**/migrations/*.sql",
    "**/billing",
    "db/**/1.sql",
    "db/**/**/1.sql",
    "**",
    "*",
    "*.sql",
    "?.sql",
    "migrations/?.sql",
    "bill*",
    "src/[xy]/a",
    "src/[!x]/a",
    "src/[^x]/*",
    r"src/\[x\]/a",
    "src/ü*",
    "nothing/**",
    "db/*/1.sql",
    "db/mig**/1.sql",
    "/a.sql",
    "/*.py",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_cover_what_git_ignores_by_them(pattern: str, tmp_path: Path) -> None:
    quiet = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, env=quiet)
    (tmp_path / ".gitignore").write_text(f"{pattern}\n")
    for name in PATHS:
        path = tmp_path / name
        if name != "billing":  # a file and a folder cannot both have the name: git is asked for the folder
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    asked = [path for path in PATHS if path != "billing"]
    command = ["git", "-C", str(tmp_path), "check-ignore", "--no-index", "-z", "--stdin"]
    done = subprocess.run(command, input="\0".join(asked), capture_output=True, text=True, check=False, env=quiet)
    ignored = {path for path in done.stdout.split("\0") if path}
    assert {path for path in asked if fits([pattern], path)} == ignored


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (["billing"], "billing", True),
        (["billing/"], "billing", False),
        (["billing/**", "!billing/docs/**"], "billing/docs/a.md", False),
        (["billing/**", "!billing/docs/**"], "billing/a.py", True),
        (["!billing/docs/**", "billing/**"], "billing/docs/a.md", True),
        (["!billing/**"], "src/a.py", False),
        ([], "a", False),
        (["**"], "../other/a", False),
        (["*"], "../a", False),
        (["../lib/**"], "../lib/a", True),
        (["../lib/**"], "lib/a", False),
        (["../*/a"], "../../x/a", False),
        (["a[b"], "a[b", True),
    ],
)
def test_patterns_that_git_has_otherwise_or_not_at_all(patterns: list[str], path: str, *, expected: bool) -> None:
    assert fits(patterns, path) is expected


@given(st.text(st.sampled_from("a/*?[]!\\.-^"), max_size=12), st.text(st.sampled_from("a/.["), max_size=8))
def test_any_text_is_a_pattern(pattern: str, path: str) -> None:
    assert fits([pattern], path) in {True, False}


def test_facts_are_derived_with_the_first_path_that_makes_them_true() -> None:
    facts = {"billing_changes": ["billing/**"], "schema_changes": ["**/migrations/**"], "docs": ("*.md",)}
    paths = ["billing/z.py", "db/migrations/2.sql", "billing/b.py"]
    assert derive(facts, paths) == {
        "billing_changes": "billing/b.py",
        "schema_changes": "db/migrations/2.sql",
        "docs": "",
    }
    assert derive(facts, []) == dict.fromkeys(facts, "")


def test_a_fact_that_nobody_declared_is_as_derived() -> None:
    release = replace(RELEASE, facts={"a": False, "b": True}, derived={"a": "x", "c": "y", "d": ""})
    assert release.known_facts == {"a": False, "b": True, "c": True, "d": False}


@pytest.mark.parametrize(
    ("facts", "derived", "told"),
    [
        ({}, {"a": "x.py", "b": ""}, []),
        ({"a": True, "b": False, "c": True}, {"a": "x.py", "b": ""}, []),
        ({"a": False}, {"a": "x.py"}, ["fact `a` is declared false, and x.py has changed: releasegate fact a=true"]),
        (
            {"b": True},
            {"b": ""},
            ["fact `b` is declared true, and no file that makes it so has changed: releasegate fact b=false"],
        ),
    ],
)
def test_contradictions(facts: dict[str, bool], derived: dict[str, str], told: list[str]) -> None:
    found = contradictions(replace(RELEASE, facts=facts, derived=derived))
    assert [each.text for each in found] == told
    assert all(each.is_used(["not x", f"{each.fact} and y"]) and not each.is_used(["x"]) for each in found)


def test_a_set_that_is_none_stands_for_itself() -> None:
    assert fits(["[z-a]"], "[z-a]")
    assert not fits(["[z-a]"], "m")
