"""What a release brings: which files changed since what is deployed, and who wrote them, by git."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from posixpath import relpath
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.derived import derive
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.git import answer, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_releasegate.model import Plan, Release
    from pytest_releasegate.store import Store

__all__ = ["Origin", "origin_of"]

_FINAL = re.compile(r"v?\d+(?:\.\d+)+")
"""A tag of a version that was released: `v1.4.0-rc1` is none, since what came before it is released with 1.4.0."""
_EMAIL = re.compile(r"<([^<>\s]+@[^<>\s]+)>")
_FORMAT = "--format=<%aE>%n%(trailers:key=Co-authored-by,valueonly,unfold)"


@dataclass(frozen=True, slots=True)
class _Base:
    """The commit that a release is compared with and where it is from; empty, and why, where none is known."""

    commit: str
    source: str


def origin_of(root: Path, plan: Plan) -> Origin:
    """Where releases of that plan come from, with the facts that its policy derives."""
    facts = plan.rules.facts if plan.rules else {}
    return Origin(root, {name: fact.changed for name, fact in facts.items()})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where releases come from: the product's folder in a git repository, and the facts that changed files tell.

    The facts are patterns by name; both paths and patterns are relative to the folder.
    """

    root: Path
    facts: Mapping[str, Sequence[str]]

    def opened(self, store: Store, release: Release) -> tuple[Release, list[str]]:
        """The release with its authors and derived facts, and what a person should know of these."""
        base = _base(self.root, store, release)
        release = replace(release, authors=_authors(self.root, base.commit, release.git_commit))
        derived, notes = self._derived(base, release)
        if answer(self.root, "rev-parse", "--is-shallow-repository") == "true":
            notes = [*notes, "this clone is shallow, authors may be missing: git fetch --unshallow"]
        return replace(release, derived=derived), notes

    def derived(self, store: Store, release: Release) -> tuple[Mapping[str, str], list[str]]:
        """The derived facts anew; what cannot be derived now stays as it was."""
        return self._derived(_base(self.root, store, release), release)

    def _derived(self, base: _Base, release: Release) -> tuple[Mapping[str, str], list[str]]:
        if not self.facts:
            return {}, []
        paths = _changed(self.root, base.commit, release.git_commit) if base.commit else None
        if paths is None:
            kept = {name: path for name, path in release.derived.items() if name in self.facts}
            open_ = [name for name in self.facts if name not in {*kept, *release.facts}]
            command = f": releasegate fact {open_[0]}=true|false" if open_ else ""
            return kept, [f"no fact is derived from what changed: {base.source or 'git cannot compare'}{command}"]
        derived = derive(self.facts, paths)
        told = ", ".join(f"{name} {'by ' + path if path else 'not'}" for name, path in derived.items())
        return derived, [f"{len(paths)} files changed since {base.source}: {told}"]


def _base(root: Path, store: Store, release: Release) -> _Base:
    """The commit of what is deployed by the record, else of the newest earlier version tag."""
    if not release.git_commit:
        return _Base("", "the release's commit is not known")
    if not _commit(root, release.git_commit):
        return _Base("", f"this repository does not have the release's commit {release.git_commit[:10]}")
    earlier = _deployed_before(store, release)
    if earlier is None:
        return _tagged_before(root, release.git_commit)
    commit = _commit(root, earlier.git_commit) if earlier.git_commit else ""
    if not commit:
        what = f"the commit {earlier.git_commit[:10]} of {earlier.name}" if earlier.git_commit else earlier.name
        return _Base("", f"this repository does not have {what}" if earlier.git_commit else f"{what} has no commit")
    return _Base(commit, f"{earlier.name} ({commit[:10]})")


def _deployed_before(store: Store, release: Release) -> Release | None:
    """The newest release that was deployed before this one, and stayed."""
    known = [
        (each.deployed_at, each)
        for each in store.releases(release.product, release.environment)
        if each.deployed_at and not each.rolled_back_at and each.id != release.id
    ]
    before = [each for each in known if release.deployed_at is None or each[0] < release.deployed_at]
    return max(before, key=lambda pair: (pair[0], pair[1].id))[1] if before else None


def _tagged_before(root: Path, commit: str) -> _Base:
    form = "--format=%(refname:strip=2) %(objectname) %(*objectname)"
    lines = answer(root, "for-each-ref", f"--merged={commit}", "--sort=-version:refname", form, "refs/tags")
    own = _commit(root, commit)
    for line in lines.splitlines():
        name, *objects = line.split()
        if _FINAL.fullmatch(name) and objects[-1] != own:
            return _Base(objects[-1], f"the tag {name}")
    return _Base("", "no earlier release is deployed by the record, and no version tag is reachable from the commit")


def _commit(root: Path, name: str) -> str:
    return answer(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")


def _changed(root: Path, base: str, commit: str) -> list[str] | None:
    """The paths that differ between two commits, relative to the root; None where git cannot tell."""
    prefix = answer(root, "rev-parse", "--show-prefix")
    try:
        said = run(root, "diff-tree", "-r", "--name-only", "--no-renames", "--no-relative", "-z", base, commit)
    except CannotLook:
        return None
    paths = [path for path in said.out.split("\0") if path]
    return [relpath(path, prefix or ".") for path in paths] if said.code == 0 else None


def _authors(root: Path, base: str, commit: str) -> tuple[str, ...]:
    """The e-mail addresses of who wrote what is new since the base; without a base, of the commit alone."""
    if not commit:
        return ()
    new = answer(root, "log", _FORMAT, f"{base}..{commit}", "--") if base else ""
    text = new or answer(root, "log", "-1", _FORMAT, commit, "--")
    return tuple(sorted({email.lower() for email in _EMAIL.findall(text)}))
