"""`document`: what somebody has written down."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field, StrictBool, StrictInt

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources import markdown
from pytest_releasegate.sources.text import Expected, OneOrMore, cut, fill, mentions_release, occurs, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding, Release

__all__ = ["Document"]

_LARGEST = 5 * 1024 * 1024
_MOST_KEPT = 10
_WILD = set("*?[")


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts:
        raise ValueError(f"expected a path inside the root, got '{path}'")
    if any("**" in part and part != "**" for part in parts):
        raise ValueError(f"expected '**' as a whole part of the path, got '{path}'")
    return path


class Document(Parameters):
    """Markdown documents with sections and texts that must be there; the denominators are documents and sections.

    ```yaml
    document: {path: "docs/releases/${release.version}.md", section: Known issues, contains: "${release.version}"}
    ```
    """

    kind: ClassVar[str] = "document"
    shorthand: ClassVar[str] = "path"

    path: Annotated[Expected, AfterValidator(_inside)]
    """The document, or a pattern such as `docs/runbooks/*.md`, relative to the root; may hold `${release.version}`."""
    section: Expected | None = None
    """A heading that must be there with something under it; one with `${release.version}` need only contain it."""
    sections: tuple[Expected, ...] = ()
    """Several such headings."""
    contains: Annotated[tuple[Expected, ...], OneOrMore] = ()
    """A text, or a list of texts, that must stand in each document; may hold `${release.version}`."""
    not_placeholder: StrictBool = True
    """Whether TODO, TBD, `lorem ipsum`, `...`, `n/a`, empty bullets and the like count as nothing."""
    min_words: Annotated[StrictInt, Field(ge=1)] | None = None
    """The fewest words in each section, or in each document where no section is named."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Read each document and look for what must be in it."""
        path = _inside_filled(fill(self.path, context.release))
        files = _files(path, fill(self.path, context.release, glob.escape), context.root)
        pages = [_read(file, context.root) for file in files]
        for page in pages[:_MOST_KEPT]:
            context.attach(page.name, "text/markdown", cut(page.source))
        context.attach("documents.txt", "text/plain", "".join(map(_line, pages)).encode())
        if not pages:
            yield find(path, expected="a document", actual="no such file", ok=False)
        yield counted("documents", len(pages))
        for page in pages:
            yield from self._judge(page, context.release)

    def _judge(self, page: _Page, release: Release) -> Iterator[Finding]:
        wanted = [*([self.section] if self.section else []), *self.sections]
        for title in wanted:
            yield from self._section(page, title, release)
        if not wanted:
            yield self._body(page.name, [page.lines])
        for text in self.contains:
            ok = occurs(text, page.text, release)
            yield find(f"{page.name} text '{fill(text, release)}'", expected="present", actual=_present(ok), ok=ok)

    def _section(self, page: _Page, title: str, release: Release) -> Iterator[Finding]:
        name = f"{page.name} section '{fill(title, release)}'"
        found = [section for section in page.sections if _is_called(section, title, release)]
        if not found:
            known = shown([section.title for section in page.sections], most=12)
            actual = f"absent (headings: {known})" if known else "absent (no headings)"
            yield find(name, expected="present", actual=actual, ok=False)
            return
        yield counted(f"{name} headings", len(found))
        yield self._body(name, [section.lines for section in found])

    def _body(self, name: str, bodies: Sequence[Sequence[str]]) -> Finding:
        """One finding on all bodies of a name; some with and some without content cannot tell which one counts."""
        least = self.min_words or 1
        words = [len(self._content(body).split()) for body in bodies]
        enough = [number >= least for number in words]
        expected = f">= {least} words" if self.min_words else "something written"
        if any(enough) and not all(enough):
            actual = f"{len(bodies)} of that name, {enough.count(True)} of them with it"
            return find(name, expected=expected, actual=actual, ok=Ok.CANNOT_TELL)
        actual = f"{min(words)} words" if all(words) else _instead(bodies[words.index(0)])
        return find(name, expected=expected, actual=actual, ok=all(enough))

    def _content(self, lines: Sequence[str]) -> str:
        return markdown.written(lines) if self.not_placeholder else "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Page:
    """One document as read."""

    name: str
    source: bytes
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def sections(self) -> list[markdown.Section]:
        return markdown.sections(self.text)


def _inside_filled(path: str) -> str:
    try:
        return _inside(path)
    except ValueError as error:
        raise CannotLook(f"path: {error}", "the release's version makes it leave the root") from None


def _files(path: str, pattern: str, root: Path) -> list[Path]:
    """The files that the path or pattern names, sorted; folders are passed over by patterns only."""
    if _WILD & set(path):
        return sorted(file for file in root.glob(pattern) if not file.is_dir())
    file = root / path
    if file.is_dir():
        raise CannotLook(f"{path} is a folder", f"name a document in it, or all of them: {path.rstrip('/')}/*.md")
    return [file] if file.exists() or file.is_symlink() else []


def _read(file: Path, root: Path) -> _Page:
    name = file.relative_to(root).as_posix()
    if not file.resolve().is_relative_to(root.resolve()):
        raise CannotLook(f"{name} leads out of the root", "put the document itself there")
    if not file.is_file():
        raise CannotLook(f"{name} is not a regular file")
    if file.stat().st_size > _LARGEST:
        raise CannotLook(f"{name} has {file.stat().st_size} bytes, more than {_LARGEST}", "is it a document?")
    try:
        source = file.read_bytes()
        return _Page(name, source, markdown.visible(source.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise CannotLook(f"{name} is not UTF-8 text: byte {error.start}", "save it as UTF-8") from None
    except OSError as error:
        raise CannotLook(f"{name} cannot be read: {error.strerror}") from None


def _is_called(section: markdown.Section, title: str, release: Release) -> bool:
    if mentions_release(title):
        return occurs(title, section.title, release)
    return _folded(section.title) == _folded(title)


def _folded(title: str) -> str:
    return " ".join(title.split()).rstrip(":").casefold()


def _present(ok: bool) -> str:
    return "present" if ok else "absent"


def _instead(lines: Sequence[str]) -> str:
    """What stands where something should have been written."""
    text = " ".join(" ".join(lines).split())
    return f"only '{text[:60]}{'...' if len(text) > 60 else ''}'" if text else "nothing"


def _line(page: _Page) -> str:
    return f"{page.name}  {len(page.source)} bytes  sha256 {hashlib.sha256(page.source).hexdigest()}\n"
