"""Migration files tried one after the other on a scratch copy, and where they are found."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgreview import in_transaction
from pytest_releasegate.sources.pgsplit import read
from pytest_releasegate.sources.pgtrace import trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pytest_releasegate.sources.pghazards import Known
    from pytest_releasegate.sources.pgscratch import Scratch
    from pytest_releasegate.sources.pgsplit import Script
    from pytest_releasegate.sources.pgtrace import Traced

__all__ = ["found", "is_back", "scripts", "tried"]

_BACK = re.compile(r"[._-](?:down|undo|rollback|revert)\.sql$|(?:^|/)(?:down|undo|revert)\.sql$|(?:^|/)U\d[^/]*\.sql$")


def is_back(name: str) -> bool:
    """Whether a file's name says that it holds a way back."""
    return bool(_BACK.search(name))


def found(root: Path, patterns: Iterable[str], since: str = "") -> list[Path]:
    """The files under a folder that patterns name, in the order of their names; raises `CannotLook` for none.

    `since` leaves out those whose name, up to its first dot, sorts before it.
    """
    all_of = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    chosen = sorted((path for path in all_of if _natural(path.name) >= _natural(since)), key=_order)
    if not chosen:
        named = ", ".join(patterns)
        hint = f"{len(all_of)} are older than '{since}'" if all_of else f"expected files under {root}"
        raise CannotLook(f"no migration file matches {named}", hint)
    return chosen


def scripts(paths: Sequence[Path], root: Path) -> list[Script]:
    """The scripts of files, by their names under the folder."""
    told = []
    for path in paths:
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        try:
            told.append(read(path, name))
        except UnicodeDecodeError as error:
            raise CannotLook(f"{name}: cannot be read: {error}", "expected a text file in UTF-8") from None
        except OSError as error:
            raise CannotLook(f"{name}: cannot be read: {error.strerror}", "is the path right?") from None
        if "\0" in told[-1].text:
            raise CannotLook(f"{name}: holds a NUL byte", "expected a text file in UTF-8")
    return told


def tried(copy: Scratch, files: Sequence[Script], known: Known, seconds: float) -> list[list[Traced]]:
    """What each statement did on the scratch copy; what fails is undone, and the rest goes on."""
    told = []
    for script in files:
        with copy.connect() as connection:
            together = in_transaction(script, known)
            told.append(trace(connection, script, together=together, seconds=seconds, go_on=True))
    return told


def _order(path: Path) -> tuple[list[tuple[int, str]], bool, list[tuple[int, str]], str]:
    """By folder and number; Flyway's `V1` stands before its `V1_1`, and what it repeats (`R__`) runs last."""
    flyway = re.match(r"[VBU](\d+(?:[._]\d+)*)__", path.name)
    name = [(int(number), "") for number in re.split("[._]", flyway[1])] if flyway else _natural(path.name)
    return _natural(str(path.parent)), path.name.startswith("R__"), name, path.name


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(digits or 0), word) for digits, word in re.findall(r"(\d+)|(\D+)", text)]
