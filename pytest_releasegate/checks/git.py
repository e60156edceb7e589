"""`git`: the release's tag and branch, and the work tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import StrictBool, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.git import Ref, Repository
from pytest_releasegate.sources.http import public_url
from pytest_releasegate.sources.text import Expected, fill, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Git"]

_UNSHALLOW = "the clone is shallow: git fetch --unshallow --tags"
_FETCH = "this clone does not have it: git fetch"


class Git(Parameters):
    """The release's commit under a tag or in a branch, or a clean work tree; the denominator is what was looked up.

    ```yaml
    git: {tag: "v${release.version}", branch: main}
    ```
    """

    kind: ClassVar[str] = "git"
    shorthand: ClassVar[str] = "tag"

    tag: Expected | None = None
    """The tag that must name the release's commit, such as `v${release.version}`."""
    annotated: StrictBool = True
    """Whether the tag must be an annotated one, which bears its author and date."""
    branch: Expected | None = None
    """The branch that must contain the release's commit: on origin as last fetched, or the local one."""
    clean: StrictBool = False
    """Whether the work tree must have no changes and no untracked files."""
    repository: str = "."
    """The repository's folder, relative to the root; may hold references."""
    remote: str = ""
    """A remote's name or URL to look at for tag and branch instead of this clone; may hold references."""

    @model_validator(mode="after")
    def _something_to_look_at(self) -> Git:
        if not (self.tag or self.branch or self.clean):
            raise ValueError("nothing to look at: declare `tag`, `branch` or `clean: true`")
        if self.remote and not (self.tag or self.branch):
            raise ValueError("`remote` needs `tag` or `branch`")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Look up the tag and the branch, compare with the release's commit, and ask for changes."""
        folder = context.root / context.resolve(self.repository, secret=False)
        repository = Repository(folder, context.remaining)
        tag, branch = self._names(context)
        if tag or branch:
            yield from self._references(repository, tag, branch, context)
        if self.clean:
            yield from _clean(repository)

    def _names(self, context: Context) -> tuple[str, str]:
        return fill(self.tag or "", context.release), fill(self.branch or "", context.release)

    def _references(self, repository: Repository, tag: str, branch: str, context: Context) -> Iterator[Finding]:
        tagged, branches = self._found(repository, tag, branch, context)
        look = _Look(repository, context.release.git_commit, f" on {public_url(self.remote)}" if self.remote else "")
        context.attach("references.txt", "text/plain", look.evidence([*([tagged] if tagged else []), *branches]))
        yield counted("references", bool(tag) + bool(branch))
        if tag:
            yield from look.tag(tag, tagged, annotated=self.annotated)
        if branch:
            yield look.branch(branch, branches)

    def _found(self, repository: Repository, tag: str, branch: str, context: Context) -> tuple[Ref | None, list[Ref]]:
        if self.remote:
            tagged, tip = repository.on_remote(context.resolve(self.remote), tag=tag, branch=branch)
            return tagged, [tip] if tip else []
        return repository.tag(tag) if tag else None, repository.branches(branch) if branch else []


class _Look:
    """Findings on one release's commit in one repository."""

    def __init__(self, repository: Repository, commit: str, where: str) -> None:
        self.repository = repository
        self.declared = commit
        self.commit = (repository.commit(commit) or commit) if commit else ""
        self.where = where
        self.partial = repository.shallow and not where

    def tag(self, name: str, tag: Ref | None, *, annotated: bool) -> Iterator[Finding]:
        label = f"tag {name}{self.where}"
        if tag is None:
            yield self._absent(label)
            return
        if annotated:
            actual = "annotated" if tag.annotated else "lightweight"
            yield find(f"{label} kind", expected="annotated", actual=actual, ok=tag.annotated)
        if not self.commit:
            yield self._no_commit(f"{label} commit", tag.commit)
            return
        actual = tag.commit or "no commit"
        yield find(f"{label} commit", expected=self.commit, actual=actual, ok=tag.commit == self.commit)

    def branch(self, name: str, branches: list[Ref]) -> Finding:
        label = f"branch {name}{self.where}"
        if not branches:
            return self._absent(label)
        if not self.commit:
            return self._no_commit(label, shown([f"{ref.name} at {ref.commit}" for ref in branches]))
        answers = [(self._contains(ref), ref) for ref in branches]
        best = min(answers, key=lambda pair: (Ok.YES, Ok.CANNOT_TELL, Ok.NO).index(pair[0][0]))
        (ok, words), ref = best
        return find(label, expected=f"contains {self.commit}", actual=f"{ref.name} at {ref.commit} {words}", ok=ok)

    def evidence(self, refs: list[Ref]) -> bytes:
        lines = [f"release {self.commit or 'without commit'}", *(f"{ref.commit or '-'} {ref.name}" for ref in refs)]
        return "\n".join([*lines, ""]).encode()

    def _contains(self, ref: Ref) -> tuple[Ok, str]:
        if ref.commit == self.commit:
            return Ok.YES, "is that commit"
        missing = [commit for commit in (self.commit, ref.commit) if not self.repository.commit(commit)]
        if missing:
            return Ok.CANNOT_TELL, f"cannot be compared, {missing[0]} is unknown; {self._fetch}"
        if self.repository.contains(ref.commit, self.commit):
            return Ok.YES, "contains it"
        if self.repository.shallow:
            return Ok.CANNOT_TELL, f"does not contain it as far as is known; {_UNSHALLOW}"
        return Ok.NO, "does not contain it"

    @property
    def _fetch(self) -> str:
        return _UNSHALLOW if self.repository.shallow else _FETCH

    def _absent(self, label: str) -> Finding:
        if self.partial:
            return find(label, expected="exists", actual=f"not found; {_UNSHALLOW}", ok=Ok.CANNOT_TELL)
        return find(label, expected="exists", actual="absent", ok=False)

    @staticmethod
    def _no_commit(label: str, actual: str) -> Finding:
        expected = "the release's commit, which the release does not know"
        return find(label, expected=expected, actual=actual, ok=Ok.CANNOT_TELL)


def _clean(repository: Repository) -> Iterator[Finding]:
    changes = repository.changes()
    number, ignored = repository.tracked()
    yield counted("tracked files", number)
    actual = f"{len(changes)}: {shown(changes)}" if changes else "none"
    yield find("changes in the work tree", expected="none", actual=actual, ok=not changes)
    if ignored:
        actual = f"{len(ignored)}: {shown(ignored)}"
        name = "files that git was told not to look at (assume-unchanged, skip-worktree)"
        yield find(name, expected="none", actual=actual, ok=Ok.CANNOT_TELL)
