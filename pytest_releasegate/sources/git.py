"""Questions to a git repository, each one bounded run of `git` that never asks anybody anything."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Raw", "Ref", "Repository", "Said", "answer", "run", "talk"]

_LONGEST = 30.0
_INHERITED = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
}
"""Set while a git hook runs; they would turn every question to another repository."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A tag or branch: where it was found, the object it names, and the commit behind that, empty for none."""

    name: str
    commit: str
    annotated: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """What one run of git said: its exit code, its output, and what was wrong in one line."""

    code: int
    out: str
    problem: str


@dataclass(frozen=True, slots=True)
class Raw:
    """What one run of git said, as bytes."""

    code: int
    out: bytes
    problem: str


class Repository:
    """A repository on this machine; `remaining` bounds each run, and whatever git cannot do raises `CannotLook`."""

    def __init__(self, folder: Path, remaining: Callable[[float], float]) -> None:
        self.folder = folder
        self._remaining = remaining
        if not folder.is_dir():
            raise CannotLook(f"no such folder: {folder}", "name the repository as `repository`")
        self.shallow = self._ask("rev-parse", "--is-shallow-repository").strip() == "true"

    def commit(self, name: str) -> str:
        """The full id of a commit by id or reference; empty when the repository does not have it."""
        return self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").out.strip()

    def tag(self, name: str) -> Ref | None:
        """The tag of that name in this repository."""
        ref = f"refs/tags/{name}"
        found = self._run("rev-parse", "--verify", "--quiet", ref).out.strip()
        if not found:
            return None
        return Ref(ref, self.commit(ref), annotated=self._ask("cat-file", "-t", found).strip() == "tag")

    def branches(self, name: str) -> list[Ref]:
        """The branch of that name on origin, as last fetched, and in this repository."""
        refs = (f"refs/remotes/origin/{name}", f"refs/heads/{name}")
        return [Ref(ref, commit) for ref in refs if (commit := self.commit(ref))]

    def contains(self, tip: str, commit: str) -> bool:
        """Whether the commit is the tip or one of its ancestors, as far as this repository's history goes."""
        said = self._run("merge-base", "--is-ancestor", commit, tip)
        if said.code not in (0, 1):
            raise CannotLook(f"git merge-base: {said.problem}")
        return said.code == 0

    def on_remote(self, remote: str, *, tag: str = "", branch: str = "") -> tuple[Ref | None, Ref | None]:
        """The tag and the branch as the remote has them now."""
        tag_ref, branch_ref = f"refs/tags/{tag}", f"refs/heads/{branch}"
        found = self._listed(remote, tag_ref, f"{tag_ref}^{{}}", branch_ref)
        peeled = found.get(f"{tag_ref}^{{}}")
        tagged = found.get(tag_ref)
        return (
            Ref(tag_ref, peeled or tagged, annotated=peeled is not None) if tagged else None,
            Ref(branch_ref, found[branch_ref]) if branch_ref in found else None,
        )

    def changes(self) -> list[str]:
        """The paths of the work tree that differ from the commit, untracked ones too, with git's two letters."""
        fields = iter(self._ask("status", "--porcelain=v1", "-z", "--untracked-files=normal").split("\0"))
        changes = []
        for entry in fields:
            if entry:
                changes.append(entry)
            if entry[:1] in ("R", "C"):
                next(fields, None)  # a renamed entry is followed by the path that it had
        return changes

    def tracked(self) -> tuple[int, list[str]]:
        """How many files are tracked, and those among them that git was told not to look at."""
        entries = [entry for entry in self._ask("ls-files", "-v", "-z", "--full-name", ":/").split("\0") if entry]
        return len(entries), [entry[2:] for entry in entries if entry[0].islower() or entry[0] == "S"]

    def _listed(self, remote: str, *refs: str) -> dict[str, str]:
        lines = self._ask("ls-remote", "--", remote, *refs).splitlines()
        pairs = (line.partition("\t") for line in lines)
        return {ref: commit for commit, _, ref in pairs if ref in refs}

    def _ask(self, *arguments: str) -> str:
        said = self._run(*arguments)
        if said.code != 0:
            raise CannotLook(f"git {arguments[0]} in {self.folder}: {said.problem}", _hint(said.problem))
        return said.out

    def _run(self, *arguments: str) -> Said:
        return run(self.folder, *arguments, limit=self._remaining(_LONGEST))


def run(folder: Path, *arguments: str, limit: float = _LONGEST) -> Said:
    """Run git in a folder for at most `limit` seconds; raises `CannotLook` where it cannot run or does not end."""
    raw = talk(folder, *arguments, limit=limit)
    return Said(raw.code, raw.out.decode(errors="replace"), raw.problem)


def talk(
    folder: Path,
    *arguments: str,
    given: bytes = b"",
    variables: Mapping[str, str] | None = None,
    limit: float = _LONGEST,
) -> Raw:
    """Run git as `run` does, with bytes for its input, variables of its environment, and its output as bytes."""
    command = ("git", "-C", str(folder), "-c", "core.fsmonitor=false", *arguments)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if given else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**_environment(), **(variables or {})},
            start_new_session=True,
        )
    except FileNotFoundError:
        raise CannotLook("git is not installed", "install it, or put it on PATH") from None
    with process:
        out, problem = _finish(process, f"git {arguments[0]}", limit, given)
    return Raw(process.returncode, out, problem)


def answer(folder: Path, *arguments: str) -> str:
    """What git says, or nothing where it has nothing to say: no repository, no commit, no git."""
    try:
        said = run(folder, *arguments)
    except (CannotLook, OSError):
        return ""
    return said.out.strip() if said.code == 0 else ""


def _finish(process: subprocess.Popen[bytes], what: str, limit: float, given: bytes) -> tuple[bytes, str]:
    try:
        out, errors = process.communicate(given or None, timeout=limit)
    except BaseException as interrupted:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its helpers, such as ssh, which would outlive it
        if isinstance(interrupted, subprocess.TimeoutExpired):
            hint = "is the remote reachable without a password?"
            raise CannotLook(f"{what}: no answer within {limit:.3g} s", hint) from None
        raise
    return out, _problem(errors.decode(errors="replace"))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _INHERITED}
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    return {"GIT_SSH_COMMAND": "ssh -oBatchMode=yes", **kept, **quiet}


def _problem(errors: str) -> str:
    """What git said of a failure, in one line and without user names and passwords of URLs."""
    lines = [line for line in errors.splitlines() if line.startswith(("fatal: ", "error: "))] or errors.splitlines()
    first = lines[0].partition(": ")[2] or lines[0] if lines else "no reason given"
    return re.sub(r"//[^/\s]*@", "//", first)


def _hint(problem: str) -> str:
    if "dubious ownership" in problem:
        return "the folder belongs to another user: git config --global --add safe.directory FOLDER"
    return "name a repository as `repository`" if "not a git repository" in problem else ""
