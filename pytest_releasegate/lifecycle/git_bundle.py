"""A bundle under a ref of a git repository, such as `refs/releasegate/record`: one commit a push, merged by union."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_releasegate.errors import CannotLook, UsageProblem
from pytest_releasegate.sources.git import talk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

__all__ = ["DEFAULT_REF", "GitRef"]

DEFAULT_REF = "refs/releasegate/record"
_REMOTE = "origin"
_MOST_TRIES = 25
_LONGEST = 120.0
_RACES = ("[rejected]", "cannot lock ref", "failed to update ref", "incorrect old value", "already exists")
"""What git says of a push where somebody else was first."""


class GitRef:
    """The bundle under one ref; fetched from `origin` and pushed there when the repository has it.

    Whatever git cannot do raises `CannotLook`.
    """

    def __init__(self, folder: Path, ref: str, now: datetime) -> None:
        self.shown = f"git:{ref}"
        self._folder = folder
        self._ref = ref
        self._fetched = f"refs/releasegate/fetched/{ref.removeprefix('refs/')}"
        self._now = now
        self._files: dict[str, str] = {}
        if not ref.startswith("refs/") or talk(folder, "check-ref-format", ref).code:
            raise UsageProblem(f"'{ref}' is no name of a ref", f"such as {DEFAULT_REF}")
        self._remote = _REMOTE in self._ask("remote").split()

    def names(self) -> list[str]:
        """The files of this repository's ref and of origin's."""
        tips = self._tips()
        if not tips:
            where = f"neither here nor at {_REMOTE}" if self._remote else "in this repository"
            raise UsageProblem(f"{self.shown}: there is no such ref {where}", "releasegate record push makes one")
        self._files = self._union(tips)
        return sorted(self._files)

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The bytes of files, by one run of git."""
        wanted = list(names)
        if not wanted:
            return
        given = "".join(f"{self._files[name]}\n" for name in wanted).encode()
        answer = talk(self._folder, "cat-file", "--batch", given=given, limit=_LONGEST)
        rest = memoryview(self._checked("cat-file", answer.code, answer.out, answer.problem))
        for name in wanted:
            end = bytes(rest[:200]).index(b"\n")
            size = int(bytes(rest[:end]).split()[-1])
            yield name, bytes(rest[end + 1 : end + 1 + size])
            rest = rest[end + 2 + size :]

    def add(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Commit files on top of what is there here and at origin, again as long as somebody else is first."""
        new = self._written(files)
        for _ in range(_MOST_TRIES):
            if self._committed(new) and self._pushed():
                return
        raise CannotLook(f"{self.shown}: others were first {_MOST_TRIES} times", "try again")

    def _tips(self) -> list[str]:
        """The commits to read: ours, and origin's as just fetched."""
        refs = [self._ref, *([self._fetched] if self._fetch() else [])]
        found = list(dict.fromkeys(commit for commit in map(self._commit, refs) if commit))
        return self._ask("merge-base", "--independent", *found).split() if len(found) > 1 else found

    def _fetch(self) -> bool:
        if not self._remote:
            return False
        if not self._ask("ls-remote", _REMOTE, self._ref).strip():
            return False
        spec = f"+{self._ref}:{self._fetched}"
        fetched = talk(
            self._folder, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", _REMOTE, spec, limit=_LONGEST
        )
        if fetched.code and "cannot lock ref" not in fetched.problem:
            raise CannotLook(f"git fetch {_REMOTE} {self._ref}: {fetched.problem}")
        return True

    def _commit(self, ref: str) -> str:
        return self._ask("for-each-ref", "--format=%(objectname)", ref).strip()

    def _union(self, tips: Iterable[str]) -> dict[str, str]:
        """Blob ids by names; a name stands for one content, so trees never disagree."""
        files = {}
        for tip in tips:
            for entry in self._ask("ls-tree", "-r", "-z", "--full-tree", tip).split("\0"):
                if entry:
                    head, _, name = entry.partition("\t")
                    files[name] = head.split()[2]
        return files

    def _written(self, files: Iterable[tuple[str, bytes]]) -> dict[str, str]:
        """Store files as blobs, by one run of git; their ids by their names."""
        with tempfile.TemporaryDirectory(prefix="releasegate-") as folder:
            paths = []
            names = []
            for number, (name, body) in enumerate(files):
                path = Path(folder) / str(number)
                path.write_bytes(body)
                paths.append(str(path))
                names.append(name)
            given = "".join(f"{path}\n" for path in paths).encode()
            ids = self._ask("hash-object", "-w", "--no-filters", "--stdin-paths", given=given) if paths else ""
        return dict(zip(names, ids.split(), strict=True))

    def _committed(self, new: Mapping[str, str]) -> bool:
        """Move our ref to a commit that holds everything; false when somebody moved it meanwhile."""
        tips = self._tips()
        ours = self._commit(self._ref)
        files = self._union(tips)
        if len(tips) == 1 and new.keys() <= files.keys():
            return self._moved(tips[0], ours)
        tree = self._tree({**files, **new})
        parents = [word for tip in tips for word in ("-p", tip)]
        message = f"Record: {len(new.keys() - files.keys())} files"
        who = {"NAME": "releasegate", "EMAIL": "releasegate@localhost", "DATE": self._now.isoformat(timespec="seconds")}
        variables = {f"GIT_{role}_{name}": text for role in ("AUTHOR", "COMMITTER") for name, text in who.items()}
        commit = self._ask("commit-tree", tree, *parents, "-m", message, variables=variables).strip()
        return self._moved(commit, ours)

    def _moved(self, commit: str, ours: str) -> bool:
        if commit == ours:
            return True
        moved = talk(self._folder, "update-ref", "-m", "releasegate record push", self._ref, commit, ours)
        return moved.code == 0

    def _tree(self, files: Mapping[str, str]) -> str:
        with tempfile.TemporaryDirectory(prefix="releasegate-") as folder:
            index = {"GIT_INDEX_FILE": os.path.join(folder, "index")}  # noqa: PTH118  a text for the environment
            given = b"".join(f"100644 {blob}\t{name}\0".encode() for name, blob in files.items())
            self._ask("update-index", "-z", "--index-info", given=given, variables=index)
            return self._ask("write-tree", variables=index).strip()

    def _pushed(self) -> bool:
        """Whether origin has our commit now; false when somebody else was first."""
        if not self._remote:
            return True
        commit = self._commit(self._ref)
        # neither the user's hooks nor tags and submodules belong to it
        words = ("--no-verify", "--no-follow-tags", "--recurse-submodules=no", _REMOTE, f"{commit}:{self._ref}")
        pushed = talk(self._folder, "push", "--porcelain", *words, limit=_LONGEST)
        if pushed.code == 0:
            return True
        if any(race in pushed.out.decode(errors="replace") + pushed.problem for race in _RACES):
            return False
        raise CannotLook(f"git push {_REMOTE} {self._ref}: {pushed.problem}", "may you push to origin?")

    def _ask(self, *arguments: str, given: bytes = b"", variables: Mapping[str, str] | None = None) -> str:
        said = talk(self._folder, *arguments, given=given, variables=variables, limit=_LONGEST)
        return self._checked(arguments[0], said.code, said.out, said.problem).decode(errors="surrogateescape")

    def _checked(self, what: str, code: int, out: bytes, problem: str) -> bytes:
        if code:
            raise CannotLook(f"git {what} in {self._folder}: {problem}")
        return out
