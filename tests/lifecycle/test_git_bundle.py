"""A bundle under a git ref: one commit a push, races won by trying again, nothing lost, nothing of the user's moved."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.errors import CannotLook, UsageProblem
from pytest_releasegate.lifecycle.git_bundle import DEFAULT_REF, GitRef

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Git without the user's settings, and so without an identity."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """An empty bare repository."""
    git(tmp_path, "init", "-q", "--bare", "origin.git")
    return tmp_path / "origin.git"


def clone(origin: Path, name: str) -> Path:
    git(origin.parent, "clone", "-q", str(origin), name)
    return origin.parent / name


def ref(folder: Path, name: str = DEFAULT_REF) -> GitRef:
    return GitRef(folder, name, NOW)


def held(folder: Path) -> dict[str, bytes]:
    bundle = ref(folder)
    return dict(bundle.read(bundle.names()))


def test_files_go_to_origin_and_come_from_it(origin: Path) -> None:
    one, two = clone(origin, "one"), clone(origin, "two")
    (one / "notes.txt").write_text("not committed")
    hook = one / ".git" / "hooks" / "pre-push"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    body = bytes(range(256)) + b"\r\n"
    ref(one).add([("blobs/a", body), ("releases/x y/%2E/b.json", b"{}")])
    assert held(two) == {"blobs/a": body, "releases/x y/%2E/b.json": b"{}"}
    ref(two).add([("blobs/c", b"")])
    assert held(one).keys() == {"blobs/a", "blobs/c", "releases/x y/%2E/b.json"}
    assert git(one, "log", "--format=%an %ad %s", "--date=iso-strict", DEFAULT_REF) == (
        "releasegate 2026-01-05T09:00:00+00:00 Record: 2 files"
    )
    assert git(one, "status", "--porcelain") == "?? notes.txt"
    assert git(one, "branch", "--all") == ""


def test_content_does_not_change_by_the_users_filters(origin: Path) -> None:
    one = clone(origin, "one")
    git(one, "config", "core.autocrlf", "true")
    (one / ".git" / "info" / "attributes").write_text("* text eol=crlf ident export-ignore\n")
    ref(one).add([("a", b"x\r\ny\n$Id$\n")])
    assert held(clone(origin, "two")) == {"a": b"x\r\ny\n$Id$\n"}


def test_nothing_new_is_no_commit(origin: Path) -> None:
    one, two = clone(origin, "one"), clone(origin, "two")
    ref(one).add([("a", b"a")])
    tip = git(origin, "rev-parse", DEFAULT_REF)
    ref(two).add([("a", b"a")])
    ref(one).add([])
    assert git(origin, "rev-parse", DEFAULT_REF) == tip == git(two, "rev-parse", DEFAULT_REF)


def test_refs_that_grew_apart_are_merged_by_union(origin: Path) -> None:
    one, two = clone(origin, "one"), clone(origin, "two")
    for folder, name in ((one, "a"), (two, "b")):
        git(folder, "remote", "rename", "origin", "away")
        ref(folder).add([(name, name.encode())])
        git(folder, "remote", "rename", "away", "origin")
    ref(one).add([])
    ref(two).add([("c", b"c")])
    assert held(one) == held(two) == {"a": b"a", "b": b"b", "c": b"c"}
    assert len(git(origin, "rev-list", "--parents", "-n", "1", DEFAULT_REF).split()) == 3


def test_without_origin_the_ref_stays_here(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "alone")
    with pytest.raises(UsageProblem, match="there is no such ref in this repository"):
        ref(tmp_path / "alone").names()
    ref(tmp_path / "alone").add([("a", b"a")])
    assert held(tmp_path / "alone") == {"a": b"a"}


def test_many_at_once_lose_nothing(origin: Path) -> None:
    """Six clones, and each twice: races for the local ref as for origin's."""
    clones = [clone(origin, f"clone-{number}") for number in range(6)]

    def add(number: int) -> None:
        ref(clones[number % 6]).add([(f"file-{number}", str(number).encode())])

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(add, range(12)))
    assert held(clone(origin, "last")) == {f"file-{number}": str(number).encode() for number in range(12)}


def test_an_origin_that_takes_nothing_is_told(origin: Path) -> None:
    one = clone(origin, "one")
    hook = origin / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(CannotLook, match=f"git push origin {DEFAULT_REF}"):
        ref(one).add([("a", b"a")])
    hook.unlink()
    ref(one).add([])
    assert held(clone(origin, "two")) == {"a": b"a"}


@pytest.mark.parametrize("name", ["", "main", "refs/", "refs/a..b", "refs/a b", "-x"])
def test_names_of_refs(name: str, origin: Path) -> None:
    with pytest.raises(UsageProblem, match="is no name of a ref"):
        ref(clone(origin, "one"), name)


def test_no_repository_and_no_origin_are_told(tmp_path: Path, origin: Path) -> None:
    with pytest.raises(CannotLook, match="not a git repository"):
        ref(tmp_path)
    one = clone(origin, "one")
    with pytest.raises(UsageProblem, match="neither here nor at origin"):
        ref(one).names()
    git(one, "remote", "set-url", "origin", str(tmp_path / "gone.git"))
    with pytest.raises(CannotLook, match="git ls-remote"):
        ref(one).names()
