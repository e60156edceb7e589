"""What a release brings, by real git repositories: changed files, derived facts, authors."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.lifecycle.changes import Origin
from pytest_releasegate.model import Plan, Release
from pytest_releasegate.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
FACTS = {"billing_changes": ["billing/**"], "schema_changes": ["migrations/**"]}
UNKNOWN = "no fact is derived from what changed: "


class Repository:
    """A real git repository, whose commits are those of whom a test names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "-q", "-b", "main", str(root))

    def git(self, *arguments: str, who: str = "ann@example.com") -> str:
        names = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        people = {f"GIT_{role}_{what}": who for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        where = ["-C", str(self.root)] if self.root.is_dir() else []
        environment = {"PATH": os.environ["PATH"], **names, **people}
        done = subprocess.run(["git", *where, *arguments], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def change(self, *paths: str, who: str = "ann@example.com", message: str = "a change", tag: str = "") -> str:
        """A commit that changes these files; its id."""
        for path in paths:
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{file.read_text() if file.exists() else ''}more\n")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message, who=who)
        if tag:
            self.git("tag", "-a", tag, "-m", tag)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with a first commit."""
    made = Repository(tmp_path / "shop")
    made.change("README", "billing/old.py")
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty record."""
    with open_store(f"sqlite:///{tmp_path}/record.db") as opened:
        yield opened


def release(commit: str, **changes: Any) -> Release:
    whole: dict[str, Any] = {"product": "shop", "version": "1.4.0", "environment": "prod", "opened_at": NOW}
    return Release(git_commit=commit, **whole | changes)


def deployed(store: Store, commit: str, days: int, **changes: Any) -> Release:
    """A release of that commit, deployed so many days before."""
    at = NOW - timedelta(days=days)
    opened = store.open_release(release(commit, version=f"1.{9 - days}", opened_at=at, **changes), Plan((), "d"))
    return store.set_deployed(opened.id, at, "ann")


def seen(store: Store, repository: Repository, commit: str, **changes: Any) -> tuple[dict[str, str], list[str]]:
    opened, notes = Origin(repository.root, FACTS).opened(store, release(commit, **changes))
    return dict(opened.derived), notes


def test_the_base_is_what_was_deployed_last_and_stayed(store: Store, repository: Repository) -> None:
    first = repository.change("a", tag="v1.0")
    second = repository.change("billing/new.py")
    third = repository.change("migrations/1.sql", tag="v1.3")
    head = repository.change("docs/a.md")
    deployed(store, second, 3)
    deployed(store, first, 5)
    deployed(store, third, 1, environment="stage")
    deployed(store, third, 1, product="other")
    store.open_release(release(third, version="never deployed"), Plan((), "d"))
    rolled_back = deployed(store, third, 2)
    store.roll_back(rolled_back.id, NOW, reason="errors", person="ann")
    assert seen(store, repository, head) == (
        {"billing_changes": "", "schema_changes": "migrations/1.sql"},
        [f"2 files changed since 1.6/prod ({second[:10]}): billing_changes not, schema_changes by migrations/1.sql"],
    )


def test_without_a_deployed_release_the_base_is_the_newest_earlier_version_tag(
    store: Store, repository: Repository
) -> None:
    repository.change("migrations/1.sql", tag="v1.9.0")
    repository.change("billing/new.py", tag="v1.10.0")
    repository.change("migrations/2.sql", tag="v2.0.0-rc1")
    head = repository.change("billing/newer.py", tag="v2.0.0")
    repository.git("tag", "release-of-today", "HEAD^")
    repository.git("checkout", "-q", "-b", "side", "v1.9.0")
    repository.change("other", tag="v1.99.0")
    assert seen(store, repository, head) == (
        {"billing_changes": "billing/newer.py", "schema_changes": "migrations/2.sql"},
        [
            "2 files changed since the tag v1.10.0: billing_changes by billing/newer.py, "
            "schema_changes by migrations/2.sql"
        ],
    )


def test_a_file_that_was_moved_or_removed_has_changed_where_it_was(store: Store, repository: Repository) -> None:
    base = repository.git("rev-parse", "HEAD")
    repository.git("mv", "billing/old.py", "old.py")
    head = repository.change()
    deployed(store, base, 1)
    assert seen(store, repository, head)[0]["billing_changes"] == "billing/old.py"
    assert seen(store, repository, base)[0] == {"billing_changes": "", "schema_changes": ""}


def test_paths_are_relative_to_the_products_folder(store: Store, repository: Repository) -> None:
    base = repository.git("rev-parse", "HEAD")
    head = repository.change("services/a/billing/x.py", "services/b/migrations/1.sql", "lib/ü.py", "billing/y.py")
    deployed(store, base, 1)
    facts = {**FACTS, "lib": ["../../lib/**"], "b": ["../b/**"], "all": ["**/*.sql"]}
    opened, _ = Origin(repository.root / "services" / "a", facts).opened(store, release(head))
    assert opened.derived == {
        "billing_changes": "billing/x.py",
        "schema_changes": "",
        "lib": "../../lib/ü.py",
        "b": "../b/migrations/1.sql",
        "all": "",
    }


def test_what_cannot_be_compared_stays_undeclared(store: Store, repository: Repository, tmp_path: Path) -> None:
    head = repository.git("rev-parse", "HEAD")
    hint = ": releasegate fact billing_changes=true|false"
    nothing = "no earlier release is deployed by the record, and no version tag is reachable from the commit"
    assert seen(store, repository, head) == ({}, [f"{UNKNOWN}{nothing}{hint}"])
    assert seen(store, repository, "") == ({}, [f"{UNKNOWN}the release's commit is not known{hint}"])
    here = f"this repository does not have the release's commit {'d' * 10}{hint}"
    assert seen(store, repository, "d" * 40) == ({}, [UNKNOWN + here])
    declared = seen(store, repository, head, facts=dict.fromkeys(FACTS, True))
    assert declared == ({}, [f"{UNKNOWN}{nothing}"])
    repository.change("billing/new.py", tag="v9.0")
    newest = repository.change("a")
    known = deployed(store, "e" * 40, 2)
    assert seen(store, repository, newest) == (
        {},
        [f"{UNKNOWN}this repository does not have the commit {'e' * 10} of {known.name}{hint}"],
    )
    nameless = deployed(store, "", 1)
    assert seen(store, repository, newest) == ({}, [f"{UNKNOWN}{nameless.name} has no commit{hint}"])
    outside = Origin(tmp_path, FACTS).opened(store, release(newest))[0]
    assert (outside.derived, outside.authors) == ({}, ())
    assert Origin(repository.root, {}).opened(store, release(newest))[1] == []


def test_a_replan_derives_anew_and_keeps_what_cannot_be_told_any_more(store: Store, repository: Repository) -> None:
    base = repository.git("rev-parse", "HEAD")
    head = repository.change("billing/a.py")
    deployed(store, base, 1)
    origin = Origin(repository.root, FACTS)
    opened = store.open_release(origin.opened(store, release(head))[0], Plan((), "d"))
    assert opened.derived == {"billing_changes": "billing/a.py", "schema_changes": ""}
    wider = Origin(repository.root, {"schema_changes": ["billing/**"]}).derived(store, opened)[0]
    assert wider == {"schema_changes": "billing/a.py"}
    gone = Origin(repository.root.parent, {"billing_changes": ["x"], "new": ["**"]}).derived(store, opened)[0]
    assert gone == {"billing_changes": "billing/a.py"}
    after = store.replan(opened.id, Plan((), "e"), at=NOW, person="ann", reason="r", derived=wider)
    assert (after.derived, store.release(opened.id).authors) == (wider, ("ann@example.com",))
    kept = store.replan(opened.id, Plan((), "f"), at=NOW, person="ann", reason="r")
    assert kept.derived == wider
    assert store.verify() == []


def test_authors_are_those_of_the_commits_that_are_new(store: Store, repository: Repository) -> None:
    base = repository.change(who="old@example.com")
    repository.change(who="Bob@Example.com")
    trailers = "pair\n\nCo-authored-by: Cy <cy@example.com>\nCo-Authored-By: Dee B <dee@example.com>"
    head = repository.change(who="ann@example.com", message=trailers)

    def authors(commit: str) -> tuple[str, ...]:
        return Origin(repository.root, {}).opened(store, release(commit))[0].authors

    assert authors(head) == ("ann@example.com", "cy@example.com", "dee@example.com")
    deployed(store, base, 1)
    assert authors(head) == ("ann@example.com", "bob@example.com", "cy@example.com", "dee@example.com")
    assert authors(base) == ("old@example.com",)


def test_a_shallow_clone_says_that_authors_may_be_missing(store: Store, repository: Repository, tmp_path: Path) -> None:
    repository.change(who="old@example.com")
    head = repository.change("billing/a.py")
    repository.git("clone", "-q", "--depth", "1", f"file://{repository.root}", str(tmp_path / "shallow"))
    opened, notes = Origin(tmp_path / "shallow", {}).opened(store, release(head))
    assert opened.authors == ("ann@example.com",)
    assert notes == ["this clone is shallow, authors may be missing: git fetch --unshallow"]


def test_git_of_a_hook_does_not_answer_for_another_repository(
    store: Store, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Repository(tmp_path / "other")
    other.change("x", who="other@example.com")
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    head = (repository.root / ".git" / "refs" / "heads" / "main").read_text().strip()
    opened = Origin(repository.root, {}).opened(store, replace(release(head)))[0]
    assert opened.authors == ("ann@example.com",)
