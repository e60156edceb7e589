"""The migrations that a folder of the product holds, as Alembic, Django, Flyway, Supabase and plain SQL name them."""

from __future__ import annotations

import ast
import hashlib
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgversions import natural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_releasegate.sources.pgversions import Versions

__all__ = ["Compared", "MigrationFile", "compared", "migration_files"]

_FLYWAY = re.compile(r"V(?P<version>[0-9][0-9._]*)__.+\.sql")
_REPEATED = re.compile(r"R__.+\.sql")
_PLAIN = re.compile(r"(?P<version>[0-9]+)[_.-]?.*?(?P<down>\.down)?\.(sql|rb|js|ts|go|exs|php)")


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """One migration that lies in a folder."""

    version: str
    path: Path
    before: tuple[str, ...] = ()
    """What it follows, where the file says so."""

    def matches(self, checksum: str) -> bool | None:
        """Whether the file is as it was when it was applied; None where the checksum is of an unknown sort."""
        body = self.path.read_bytes()
        if re.fullmatch(r"-?\d{1,10}", checksum):
            return int(checksum) == _flyway_checksum(body)
        sort = {32: "md5", 40: "sha1", 64: "sha256"}.get(len(checksum))
        if sort is None or not re.fullmatch(r"[0-9a-fA-F]+", checksum):
            return None
        return hashlib.new(sort, body, usedforsecurity=False).hexdigest() == checksum.lower()


@dataclass(frozen=True, slots=True)
class Compared:
    """A folder of migrations against a version table."""

    number: int
    pending: tuple[str, ...]
    unknown: tuple[str, ...]
    changed: tuple[str, ...]
    compared: int
    """How many checksums could be compared."""


def migration_files(folder: Path, tool: str) -> list[MigrationFile]:
    """The migrations of a folder in their order; raises `CannotLook` when it holds none."""
    if not folder.is_dir():
        raise CannotLook(f"there is no folder {folder}", "correct `files` of the gate")
    found = sorted(_read(folder, tool), key=lambda each: (each.version == "", natural(each.version), each.path.name))
    if not found:
        raise CannotLook(f"no migration of {tool} in {folder}", "correct `files` of the gate, or name the `tool`")
    return found


def compared(files: Sequence[MigrationFile], table: Versions) -> Compared:
    """Which files were not applied, which versions have no file, and which files were changed since."""
    applied = _applied(files, table)
    pending = [each.path.name for each in files if _key(each) not in applied]
    own = {_normal(_key(each)) for each in files}
    apps = {each.version.partition(".")[0] for each in files}
    rows = [row for row in table.standing if table.tool != "django" or row.version.partition(".")[0] in apps]
    rows = [row for row in rows if not (table.tool == "flyway" and row.sort.upper() in ("BASELINE", "SCHEMA"))]
    unknown = [row.version or row.script for row in rows if _normal(row.version or row.script) not in own]
    sums = {_normal(row.version or row.script): row.checksum for row in rows if row.checksum}
    told = [(each, each.matches(sums[_normal(_key(each))])) for each in files if _normal(_key(each)) in sums]
    changed = [each.path.name for each, same in told if same is False]
    checked = sum(same is not None for _, same in told)
    return Compared(len(files), tuple(pending), tuple(unknown), tuple(changed), checked)


def _applied(files: Sequence[MigrationFile], table: Versions) -> set[str]:
    """The keys of the files that the table says are applied."""
    own = {_normal(row.version or row.script) for row in table.standing}
    if table.tool == "alembic":
        own = _with_ancestors(files, own)
    keys = {_key(each) for each in files if _normal(_key(each)) in own}
    upto = [row.version for row in table.rows if table.tool == "current" or row.sort.upper() == "BASELINE"]
    if upto:
        highest = max(map(natural, upto))
        keys |= {_key(each) for each in files if each.version and natural(each.version) <= highest}
    return keys


def _with_ancestors(files: Sequence[MigrationFile], heads: set[str]) -> set[str]:
    before = {each.version: each.before for each in files}
    found: set[str] = set()
    waiting = list(heads)
    while waiting:
        version = waiting.pop()
        if version not in found:
            found.add(version)
            waiting += before.get(version, ())
    return found


def _key(each: MigrationFile) -> str:
    return each.version or each.path.name


def _normal(version: str) -> str:
    return str(int(version)) if version.isdecimal() else version.replace("_", ".") if version[:1].isdigit() else version


def _read(folder: Path, tool: str) -> Iterator[MigrationFile]:
    for path in sorted(folder.rglob("*") if tool == "flyway" else folder.iterdir()):
        if not path.is_file() or path.name.startswith("__"):
            continue
        if tool == "alembic":
            yield from _alembic(path)
        elif tool == "django" and re.fullmatch(r"\d{4}_\w+\.py", path.name):
            yield MigrationFile(f"{folder.parent.name}.{path.stem}", path)
        elif tool == "flyway":
            yield from _flyway(path)
        elif tool not in ("alembic", "django", "flyway"):
            yield from _plain(path)


def _flyway(path: Path) -> Iterator[MigrationFile]:
    if match := _FLYWAY.fullmatch(path.name):
        yield MigrationFile(match["version"].replace("_", "."), path)
    elif _REPEATED.fullmatch(path.name):
        yield MigrationFile("", path)


def _plain(path: Path) -> Iterator[MigrationFile]:
    match = _PLAIN.fullmatch(path.name)
    if match and not match["down"]:
        yield MigrationFile(match["version"], path)


def _alembic(path: Path) -> Iterator[MigrationFile]:
    if path.suffix != ".py":
        return
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, ValueError, SyntaxError):
        raise CannotLook(f"{path} is no Python", "mend it, or correct `files` of the gate") from None
    said = dict(_assigned(body))
    for revision in said.get("revision", ()):
        yield MigrationFile(revision, path, said.get("down_revision", ()))


def _assigned(body: Sequence[ast.stmt]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The texts that a module gives to names at its top."""
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = node.value.elts if isinstance(node.value, ast.Tuple | ast.List) else [node.value]
            texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            yield from ((target.id, tuple(texts)) for target in targets if isinstance(target, ast.Name))


def _flyway_checksum(body: bytes) -> int:
    """Flyway's own: CRC32 over the lines without their ends, as a signed number."""
    total = 0
    lines = re.split(r"\r\n|\r|\n", body.decode("utf-8", "replace").removeprefix("\ufeff"))
    for line in lines if lines[-1] else lines[:-1]:
        total = zlib.crc32(line.encode(), total)
    return total - (1 << 32) if total >= 1 << 31 else total
