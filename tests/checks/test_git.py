"""`git` against real repositories."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.git import Git
from pytest_releasegate.model import Ok, Release, Status
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_releasegate.execution import Look

RELEASE = Release(product="demo", version="1.4.0", environment="prod", opened_at=datetime(2026, 1, 5, tzinfo=UTC))
IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in {"NAME": "Dev", "EMAIL": "dev@example.org", "DATE": "2026-01-05T09:00:00+00:00"}.items()
}


@pytest.fixture(autouse=True)
def own_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


def git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, **IDENTITY}
    command = ("git", "-C", str(folder), *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def commit(folder: Path, name: str) -> str:
    (folder / name).write_text(name)
    git(folder, "add", name)
    git(folder, "commit", "-q", "-m", name)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "product"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "one")
    commit(folder, "two")
    return folder


def run(root: Path, at: str = "HEAD", **fields: Any) -> Look:
    """Look with the release at that commit, `""` for none and an id for one that need not be there."""
    known = at if len(at) in (0, 40) else git(root, "rev-parse", f"{at}^{{commit}}")
    return look(Git(**fields), root=root, release=replace(RELEASE, git_commit=known))


def said(result: Look) -> list[str]:
    return [str(finding) for finding in result.findings if finding.ok is not Ok.YES]


def clone(source: Path, target: Path, *options: str) -> Path:
    git(source, "clone", "-q", *options, f"file://{source}", str(target))
    return target


def test_annotated_tag_branch_and_clean_tree_pass(repository: Path) -> None:
    git(repository, "tag", "-a", "-m", "release", "v1.4.0")
    head = git(repository, "rev-parse", "HEAD")
    result = run(repository, tag="v${release.version}", branch="main", clean=True)
    assert (result.status, said(result)) == (Status.PASSED, [])
    assert [str(finding) for finding in result.findings] == [
        "references looked at: expected >= 1, got 2",
        "tag v1.4.0 kind: expected annotated, got annotated",
        f"tag v1.4.0 commit: expected {head}, got {head}",
        f"branch main: expected contains {head}, got refs/heads/main at {head} is that commit",
        "tracked files looked at: expected >= 1, got 2",
        "changes in the work tree: expected none, got none",
    ]
    assert result.attached[0][1].decode().splitlines()[1] == f"{head} refs/tags/v1.4.0"


def test_absent_lightweight_and_misplaced_tags_fail(repository: Path) -> None:
    first, head = git(repository, "rev-parse", "HEAD~1"), git(repository, "rev-parse", "HEAD")
    absent = run(repository, tag="v${release.version}")
    assert (absent.status, said(absent)) == (Status.FAILED, ["tag v1.4.0: expected exists, got absent"])
    git(repository, "tag", "v1.4.0", "HEAD~1")
    result = run(repository, tag="v${release.version}")
    assert result.status is Status.FAILED
    assert said(result) == [
        "tag v1.4.0 kind: expected annotated, got lightweight",
        f"tag v1.4.0 commit: expected {head}, got {first}",
    ]
    assert run(repository, at="HEAD~1", tag="v1.4.0", annotated=False).status is Status.PASSED


def test_a_branch_of_the_tags_name_is_no_tag(repository: Path) -> None:
    git(repository, "branch", "v1.4.0")
    assert said(run(repository, tag="v1.4.0")) == ["tag v1.4.0: expected exists, got absent"]


def test_a_tag_on_something_else_than_a_commit_fails(repository: Path) -> None:
    git(repository, "tag", "-a", "-m", "tree", "v1.4.0", "HEAD^{tree}")
    result = run(repository, tag="v1.4.0")
    assert (result.status, said(result)[0].endswith("got no commit")) == (Status.FAILED, True)


def test_branches_without_the_commit_fail(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD~1")
    git(repository, "branch", "production", "HEAD~1")
    result = run(repository, branch="production")
    head = git(repository, "rev-parse", "HEAD")
    assert result.status is Status.FAILED
    assert said(result) == [
        f"branch production: expected contains {head}, got refs/heads/production at {first} does not contain it"
    ]
    assert run(repository, at="HEAD~1", branch="main").status is Status.PASSED
    assert said(run(repository, branch="release")) == ["branch release: expected exists, got absent"]


def test_the_branch_on_origin_counts(repository: Path, tmp_path: Path) -> None:
    copy = clone(repository, tmp_path / "copy")
    git(copy, "checkout", "-q", "--detach")
    git(copy, "branch", "-q", "-D", "main")
    result = run(copy, branch="main")
    assert result.status is Status.PASSED
    assert "refs/remotes/origin/main" in str(result.findings[-1])


def test_changes_fail_and_are_named(repository: Path) -> None:
    (repository / "one").write_text("changed")
    git(repository, "mv", "two", "drei")
    (repository / "new").write_text("new")
    result = run(repository, clean=True)
    assert result.status is Status.FAILED
    assert said(result) == ["changes in the work tree: expected none, got 3: R  drei,  M one, ?? new"]


def test_changes_that_git_was_told_to_overlook_cannot_tell(repository: Path) -> None:
    git(repository, "update-index", "--assume-unchanged", "one")
    (repository / "one").write_text("changed")
    result = run(repository, clean=True)
    assert result.status is Status.INCONCLUSIVE
    assert said(result)[0].startswith("files that git was told not to look at")
    assert said(result)[0].endswith("expected none, got 1: one")


def test_an_empty_repository_is_not_clean_but_unknown(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    result = run(tmp_path, at="", clean=True)
    assert (result.status, said(result)) == (
        Status.INCONCLUSIVE,
        ["tracked files looked at: expected >= 1, got 0"],
    )


def test_a_release_without_commit_cannot_tell(repository: Path) -> None:
    git(repository, "tag", "-a", "-m", "release", "v1.4.0")
    result = run(repository, at="", tag="v1.4.0", branch="main")
    head = git(repository, "rev-parse", "HEAD")
    assert result.status is Status.INCONCLUSIVE
    assert said(result) == [
        f"tag v1.4.0 commit: expected the release's commit, which the release does not know, got {head}",
        f"branch main: expected the release's commit, which the release does not know, got refs/heads/main at {head}",
    ]


def test_shallow_clones_cannot_tell_what_they_do_not_have(repository: Path, tmp_path: Path) -> None:
    first = git(repository, "rev-parse", "HEAD~1")
    commit(repository, "three")
    copy = clone(repository, tmp_path / "copy", "--depth", "2")
    result = run(copy, at=first, branch="main", tag="v1.4.0")
    assert result.status is Status.INCONCLUSIVE
    unknown = "the clone is shallow: git fetch --unshallow --tags"
    assert said(result)[0] == f"tag v1.4.0: expected exists, got not found; {unknown}"
    assert f"cannot be compared, {first} is unknown; {unknown}" in said(result)[1]
    assert run(copy, at="HEAD~1", branch="main").status is Status.PASSED


def test_shallow_history_that_ends_too_early_cannot_tell(repository: Path, tmp_path: Path) -> None:
    git(repository, "tag", "old", "HEAD~1")
    copy = clone(repository, tmp_path / "copy", "--depth", "1")
    git(copy, "fetch", "-q", "--depth", "1", "origin", "tag", "old")
    result = run(copy, at="old", branch="main")
    assert result.status is Status.INCONCLUSIVE
    assert "does not contain it as far as is known; the clone is shallow: git fetch --unshallow" in said(result)[0]


def test_a_commit_that_the_clone_lacks_cannot_tell(repository: Path) -> None:
    result = run(repository, at="0" * 40, branch="main")
    assert result.status is Status.INCONCLUSIVE
    assert said(result)[0].endswith(
        f"cannot be compared, {'0' * 40} is unknown; this clone does not have it: git fetch"
    )


def test_the_remote_is_looked_at_instead_of_the_clone(repository: Path, tmp_path: Path) -> None:
    copy = clone(repository, tmp_path / "copy")
    git(copy, "tag", "-a", "-m", "release", "v1.4.0")
    local_only = run(copy, tag="v1.4.0", remote="origin")
    assert said(local_only) == ["tag v1.4.0 on origin: expected exists, got absent"]
    git(copy, "push", "-q", "origin", "v1.4.0")
    assert run(copy, tag="v1.4.0", branch="main", remote="origin").status is Status.PASSED
    ahead = commit(copy, "three")
    unpushed = run(copy, branch="main", remote="origin")
    assert unpushed.status is Status.FAILED
    assert said(unpushed)[0].startswith(f"branch main on origin: expected contains {ahead}, got refs/heads/main at ")
    git(repository, "tag", "v2")
    assert said(run(repository, tag="v2", remote=str(repository)))[0].endswith("expected annotated, got lightweight")
    commit(repository, "elsewhere")
    assert run(copy, branch="main", remote="origin").status is Status.INCONCLUSIVE


def test_a_remote_that_cannot_be_asked_is_an_error_without_its_password(repository: Path) -> None:
    result = run(repository, tag="v1", remote="file://someone:something@localhost/nowhere")
    assert result.status is Status.ERROR
    assert result.message.startswith(f"git ls-remote in {repository}: ")
    assert "something" not in repr(result)
    reference = Git(tag="v1", remote="${env:REMOTE}")
    assert "REMOTE is not set" in look(reference, root=repository, release=RELEASE, variables={}).message


def test_a_remote_that_says_nothing_ends_with_the_gates_time_and_leaves_no_process(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        accepted: list[socket.socket] = []
        waiter = threading.Thread(target=lambda: accepted.append(silent.accept()[0]))
        waiter.start()
        check = Git(tag="v1", remote=f"http://127.0.0.1:{silent.getsockname()[1]}/product.git")
        result = look(check, root=repository, release=RELEASE, timeout=timedelta(seconds=0.5))
        waiter.join(5)
        with accepted[0] as connection:
            connection.settimeout(5)
            while connection.recv(65536):
                pass  # the end of the stream shows that the process which asked is gone
    assert result.status is Status.ERROR
    assert result.message.startswith("git ls-remote: no answer within 0.")


def test_what_is_no_repository_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    nothing, nowhere = run(tmp_path, at="", clean=True), run(tmp_path, at="", clean=True, repository="nowhere")
    assert (nothing.status, nowhere.status) == (Status.ERROR, Status.ERROR)
    assert f"git rev-parse in {tmp_path}: not a git repository" in nothing.message
    assert nowhere.message.startswith(f"no such folder: {tmp_path / 'nowhere'}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(tmp_path, at="", clean=True).message.startswith("git is not installed")


def test_variables_of_a_running_hook_do_not_turn_it_to_another_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    result = look(Git(clean=True), root=repository, release=RELEASE)
    assert (result.status, said(result)) == (Status.PASSED, [])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "nothing to look at"),
        ({"clean": True, "remote": "origin"}, "`remote` needs `tag` or `branch`"),
        ({"tag": "v${release.tag}"}, "unknown placeholder"),
        ({"tag": ""}, "at least 1 character"),
        ({"tag": 1.4}, "valid string"),
        ({"clean": "yes"}, "valid boolean"),
    ],
)
def test_wrong_declarations_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Git.model_validate(fields)
