"""Bundles: the record as files that are only added, so that records which were apart become one.

Documents lie under readable folders and end with their own SHA-256 (`releases/PRODUCT/VERSION/ENVIRONMENT/ATTEMPT/
KIND/SHA256.json`), bytes such as evidence, plans and signed claims under `blobs/SHA256`. Each push adds a list of the
documents that it added, by which a copy that is not whole is found out.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pytest_releasegate.errors import BrokenPlan, Problem, UsageProblem
from pytest_releasegate.store.documents import Document, read
from pytest_releasegate.store.values import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_releasegate.store import Store

__all__ = ["Bundle", "Directory", "Wanted", "pull", "push"]

_NAME = re.compile(r"(?:blobs/(?P<blob>[0-9a-f]{64})|(?:.+/)?[^/]+/(?P<document>[0-9a-f]{64})\.json)")
_PART = ".part-"
_MOST = 5


class Bundle(Protocol):
    """Files by their relative names, which are only added."""

    @property
    def shown(self) -> str:
        """What it is called in messages."""

    def names(self) -> list[str]:
        """The names of all files; raises `UsageProblem` where there is no bundle."""

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The files of these names with their bytes."""

    def add(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Add files; what is there already stays."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which releases travel; every one where nothing is named."""

    version: str = ""
    environment: str = ""

    def admits(self, document: Document) -> bool:
        """Whether the document is about one of them, or about none at all."""
        if document.about is None:
            return True
        _, version, environment, _ = document.about
        return self.version in {"", version} and self.environment in {"", environment}


class Directory:
    """A bundle in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown = str(folder)

    def names(self) -> list[str]:
        """The files, but those that are just being written."""
        if not self.folder.is_dir():
            raise UsageProblem(f"{self.folder}: there is no such folder", "releasegate record push makes one")
        paths = (path for path in self.folder.rglob("*") if not path.is_dir() and not path.name.startswith(_PART))
        return sorted(path.relative_to(self.folder).as_posix() for path in paths)

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The bytes of files."""
        for name in names:
            try:
                yield name, (self.folder / name).read_bytes()
            except OSError as wrong:
                raise UsageProblem(f"{self.folder / name}: {wrong.strerror}") from None

    def add(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write each under another name first, so that nobody reads half of it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, body in files:
                _write(self.folder / name, body)
        except OSError as wrong:
            raise UsageProblem(f"{self.folder}: cannot write: {wrong.strerror}") from None


def push(store: Store, bundle: Bundle, wanted: Wanted | None = None) -> Counter[str]:
    """Add what the record holds and the bundle does not; counts it by kinds.

    Raises `UsageProblem` where the record has defects, the bundle was changed, or both cannot be right.
    """
    from pytest_releasegate.store.sharing import disagreements

    if defects := store.verify():
        more = f"\nand {len(defects) - _MOST} more" if len(defects) > _MOST else ""
        what = "the record was changed past its chain, and is not passed on:\n" + "\n".join(defects[:_MOST]) + more
        raise UsageProblem(what, "releasegate verify")
    wanted, here = wanted or Wanted(), store.documents()
    mine = {each.name: each for each in here.documents.values() if wanted.admits(each)}
    there = _opened(bundle, missing_is_empty=True)
    about = {each.about for each in mine.values()}
    if wrong := disagreements(here, [each for each in there.documents.values() if each.about in about]):
        raise BrokenPlan(wrong)
    new = {name: each for name, each in mine.items() if name not in there.documents}
    blobs = {digest for each in mine.values() for digest in _needs(each)} - there.blobs
    held = ((digest, here.plans.get(digest) or store.evidence_body(digest)) for digest in sorted(blobs))
    files = [(f"blobs/{digest}", body) for digest, body in held if body is not None]
    if new or files:
        bundle.add([*files, *((name, each.body) for name, each in sorted(new.items())), *_listed(new.values())])
    return Counter(each.kind for each in new.values())


def pull(store: Store, bundle: Bundle, wanted: Wanted | None = None) -> Counter[str]:
    """Take in what the bundle holds and the record does not, all or nothing; counts it by kinds.

    Raises `UsageProblem` where the bundle was changed or is not whole, or both cannot be right.
    """
    wanted, there = wanted or Wanted(), _opened(bundle)

    def load(digest: str) -> bytes | None:
        if digest not in there.blobs:
            return None
        ((name, body),) = bundle.read([f"blobs/{digest}"])
        if sha256(body) != digest:
            raise UsageProblem(f"{bundle.shown}/{name}: {_CHANGED}", _ANEW)
        return body

    return store.take((each for each in there.documents.values() if wanted.admits(each)), load)


@dataclass
class _Opened:
    documents: dict[str, Document] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)


def _opened(bundle: Bundle, *, missing_is_empty: bool = False) -> _Opened:
    """All documents of a bundle; raises `BrokenPlan` with every file that is not what its name says."""
    opened, problems, listed = _Opened(), [], set[str]()
    names = _names(bundle, missing_is_empty=missing_is_empty)
    for name, found in names.items():
        if found is None:
            problems.append(Problem(None, f"{bundle.shown}/{name} is no file of a bundle", "move it away"))
        elif found["blob"]:
            opened.blobs.add(found["blob"])
    documents = {name: found["document"] for name, found in names.items() if found and found["document"]}
    for name, body in bundle.read(documents):
        try:
            document = _document(name, documents[name], body)
        except ValueError as wrong:
            problems.append(Problem(None, f"{bundle.shown}/{name}: {wrong}", _ANEW))
            continue
        if document.kind == "push":
            listed.update(document.said["files"])
        else:
            opened.documents[document.name] = document
    if gone := sorted(listed - documents.keys()):
        what = f"{bundle.shown} is not whole: {len(gone)} of its files are missing, the first is {gone[0]}"
        problems.append(Problem(None, what, "copy the bundle whole"))
    if problems:
        raise BrokenPlan(problems)
    return opened


_CHANGED = "its content is not what the digest in its name says"
_ANEW = "it was changed or damaged: copy the bundle anew from where it was whole"


def _names(bundle: Bundle, *, missing_is_empty: bool) -> Mapping[str, re.Match[str] | None]:
    try:
        return {name: _NAME.fullmatch(name) for name in bundle.names()}
    except UsageProblem:
        if missing_is_empty:
            return {}
        raise


def _document(name: str, digest: str, body: bytes) -> Document:
    if sha256(body) != digest:
        raise ValueError(_CHANGED)
    document = read(body)
    if document.name != name:
        raise ValueError(f"it belongs to {document.name}")
    return document


def _needs(document: Document) -> Iterator[str]:
    """The digests of the bytes that a document names."""
    said = document.said
    if document.kind == "result":
        yield from (digest for _, _, digest, _ in said["evidence"])
    elif document.kind == "claim":
        yield from (said[name] for name in ("file", "evidence") if said[name])
    elif "plan" in said:
        yield said["plan"]


def _listed(new: Iterable[Document]) -> Iterator[tuple[str, bytes]]:
    names = sorted(each.name for each in new)
    if names:
        document = Document("push", None, {"files": names})
        yield document.name, document.body


def _write(path: Path, body: bytes) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{_PART}{os.getpid()}-{path.name}")
    part.write_bytes(body)
    part.replace(path)
