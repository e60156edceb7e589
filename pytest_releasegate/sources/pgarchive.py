"""Archives of pg_dump: what is in them, whether they can be read to their end, decrypted on the way where asked for."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgplain import scan
from pytest_releasegate.sources.pgserver import installations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_releasegate.check import Context

__all__ = [
    "BESIDE",
    "Archive",
    "Contents",
    "Damaged",
    "Entry",
    "dump_files",
    "is_archive",
    "reason",
    "size_of",
    "written_at",
]

_DIRECTORY = "toc.dat"
_MOST_SAID = 64 * 1024
_WILD = set("*?[")
BESIDE = (".json", ".sha256", ".sha512", ".md5", ".sig", ".log", ".txt", ".md", ".manifest")
_ENTRY = re.compile(r"\d+; \d+ \d+ (?P<what>[A-Z][A-Z ]*[A-Z]) (?:-|\S+) (?P<rest>.*)")
_ERROR = re.compile(r"^pg_restore: error: (.*)$", re.MULTILINE)


class Damaged(Exception):
    """The archive is not one, or breaks off."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a table of contents: of what sort the object is, and its name."""

    line: str
    what: str
    name: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What the table of contents of an archive says; `major` is the least version that can take it."""

    text: str
    created: datetime | None
    major: int
    entries: tuple[Entry, ...]
    plain: bool = False

    @property
    def is_tar(self) -> bool:
        """Whether its format is that of tar."""
        return re.search(r"^;\s+Format: TAR", self.text, re.MULTILINE) is not None

    def named(self, what: str) -> list[str]:
        """The names of one sort, such as `TABLE DATA`."""
        return [entry.name for entry in self.entries if entry.what == what]

    @property
    def missing(self) -> str:
        """What makes it less than a full backup; empty where nothing does."""
        tables, filled = self.named("TABLE"), self.named("TABLE DATA")
        if tables and not filled:
            return f"the schema only: {len(tables)} tables without their rows"
        if filled and not tables:
            return f"the rows only: those of {len(filled)} tables without the schema"
        return "" if tables else "no table at all"

    @property
    def summary(self) -> str:
        """How much there is in it."""
        of = re.search(r"^;\s+dbname: (.*)$", self.text, re.MULTILINE)
        whose = f", of database '{of[1]}'" if of else ""
        return f"{len(self.named('TABLE'))} tables, the rows of {len(self.named('TABLE DATA'))}{whose}"


class Archive:
    """A pg_dump archive in custom, directory or tar format; `decrypt` is a command from standard input to output."""

    def __init__(self, path: Path, context: Context, decrypt: Sequence[str] = ()) -> None:
        self.path = path
        self._context = context
        self._decrypt = [context.resolve(word) for word in decrypt]
        self._binaries: Path | None = None
        self._told: IO[bytes] | None = None

    def use(self, binaries: Path) -> None:
        """Read it with the programs of this folder."""
        self._binaries = binaries

    @property
    def is_encrypted(self) -> bool:
        """Whether it is decrypted on the way, so that it can only be read from its start to its end."""
        return bool(self._decrypt)

    def contents(self) -> Contents:
        """The table of contents; raises `Damaged` where there is none that can be read."""
        for folder in _folders():
            self._binaries = folder
            done, undone = self.restore("--list")
            # no archive has ever had another number before the point
            if "unsupported version (1." not in done.stderr:
                break
        else:
            raise CannotLook(f"{self.path.name} is of a newer pg_dump", "install the client tools of its version")
        if done.returncode and undone:
            raise CannotLook(f"{self.path.name} cannot be decrypted: {undone}", "check the command and its key")
        if done.returncode:
            if (plain := self._plain()) is not None:
                return plain
            raise Damaged(reason(done.stderr))
        return _contents(done.stdout)

    def _plain(self) -> Contents | None:
        """The contents of a dump in plain SQL, which is read to its end for them."""
        if self.path.is_dir():
            return None
        if self.is_encrypted:
            with self._decrypted() as source:
                found = scan(source.stdout) if source.stdout is not None else None
        else:
            with self.path.open("rb") as file:
                found = scan(file)
        if found is None:
            return None
        if found.broken:
            raise Damaged(found.broken)
        tables = [Entry("", "TABLE", name) for name in found.tables]
        return Contents("", None, 0, (*tables, *(Entry("", "TABLE DATA", name) for name in found.filled)), plain=True)

    def read(self, contents: Contents) -> None:
        """Read each block; raises `Damaged` where one is missing or broken."""
        if contents.plain:
            return
        if contents.is_tar:
            self._read_tar()
        done, undone = self.restore("-f", "/dev/null")
        if done.returncode:
            raise Damaged(reason(done.stderr))
        if undone:
            raise Damaged(f"decrypting it ended with {undone}")

    def _read_tar(self) -> None:
        # pg_restore takes a tar archive that breaks off for whole, or never ends
        try:
            if not self._decrypt:
                with tarfile.open(self.path, "r:") as plain:
                    plain.getmembers()
                return
            with self._decrypted() as source, tarfile.open(fileobj=source.stdout, mode="r|") as stream:
                stream.getmembers()
        except (tarfile.TarError, EOFError) as error:
            raise Damaged(f"it breaks off: {error}") from None

    def restore(self, *options: str) -> tuple[subprocess.CompletedProcess[str], str]:
        """Run pg_restore over it; what it said, and how the decryption failed."""
        program = str((self._binaries or next(iter(_folders()))) / "pg_restore")
        limit = self._context.remaining(24 * 3600)
        try:
            if not self._decrypt:
                done = subprocess.run(
                    [program, *options, str(self.path)], capture_output=True, text=True, check=False, timeout=limit
                )
                return done, ""
            with self._decrypted() as source:
                done = subprocess.run(
                    [program, *options], stdin=source.stdout, capture_output=True, text=True, check=False, timeout=limit
                )
                # whoever reads the contents only has no need of the rest, and no interest in how that ends
                wanted = done.returncode or "--list" not in options
                return done, _undone(source, self._told) if wanted else ""
        except subprocess.TimeoutExpired:
            raise CannotLook(f"{self.path.name} was not read in time", "raise the gate's `timeout`") from None

    @contextmanager
    def _decrypted(self) -> Iterator[subprocess.Popen[bytes]]:
        with self.path.open("rb") as file, tempfile.TemporaryFile() as told:
            self._told = told
            try:
                process = subprocess.Popen(
                    self._decrypt, stdin=file, stdout=subprocess.PIPE, stderr=told, cwd=self._context.root
                )
            except OSError as error:
                raise CannotLook(f"{self._decrypt[0]} cannot be run: {error.strerror}", "install it") from None
            try:
                yield process
            finally:
                process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()


def reason(stderr: str) -> str:
    """The first error of pg_restore, without values out of rows."""
    found = _ERROR.search(stderr)
    text = found[1] if found else (stderr.strip().splitlines() or ["pg_restore failed and said nothing"])[0]
    return re.sub(r'(invalid [a-z ]*|violates [^"]*constraint [^:]*): "[^"]*"', r"\1", text)[:300]


def dump_files(pattern: str, context: Context, what: str = "dump") -> list[Path]:
    """The files, and the folders of directory archives, that a path, a folder or a glob names."""
    resolved = context.resolve(pattern, secret=False)
    place = context.root / resolved
    fixed = Path(*_until_wild(place.parts))
    if not fixed.exists():
        if fixed == place and fixed.parent.is_dir():
            return []
        raise CannotLook(f"{what}: {fixed} does not exist", "is the folder mounted here, and the path right?")
    try:
        if fixed != place:
            return _apart(fixed.glob(str(place.relative_to(fixed))))
        if place.is_dir() and not (place / _DIRECTORY).is_file():
            return _apart(place.iterdir())
    except OSError as error:
        raise CannotLook(f"{what}: {fixed} cannot be read: {error.strerror}", "let this account read it") from None
    return [place]


def is_archive(path: Path) -> bool:
    """Whether it looks like an archive whose table of contents can be read as it is."""
    if path.is_dir():
        return True
    with path.open("rb") as file:
        return file.read(8).startswith((b"PGDMP", b"toc.dat"))


def size_of(path: Path) -> int:
    """How many bytes an archive has, all its files together."""
    return sum(file.stat().st_size for file in _files(path))


def written_at(path: Path) -> datetime:
    """When the archive's newest file was last written to."""
    return datetime.fromtimestamp(max(file.stat().st_mtime for file in _files(path)), UTC)


def _files(path: Path) -> list[Path]:
    return [file for file in path.iterdir() if file.is_file()] if path.is_dir() else [path]


def _apart(paths: Iterable[Path]) -> list[Path]:
    """Those that count, each once: a link to the newest is no backup before it."""
    found = {path.resolve(): path for path in sorted(paths, key=lambda path: not path.is_symlink()) if _counts(path)}
    return sorted(found.values())


def _counts(path: Path) -> bool:
    if path.name.startswith(".") or path.suffix in BESIDE:
        return False
    return path.is_file() or (path / _DIRECTORY).is_file()


def _until_wild(parts: Sequence[str]) -> list[str]:
    wild = next((at for at, part in enumerate(parts) if _WILD & set(part)), len(parts))
    return list(parts[:wild])


def _folders() -> list[Path]:
    """The folders with a pg_restore: those of whole installations, then the one on the PATH."""
    path = shutil.which("pg_restore")
    known = [*installations(), *([Path(path).parent] if path else [])]
    found = [folder for folder in dict.fromkeys(known) if (folder / "pg_restore").is_file()]
    if not found:
        raise CannotLook("there is no pg_restore on this machine", "install the PostgreSQL client tools")
    return found


def _undone(process: subprocess.Popen[Any], told: IO[bytes] | None) -> str:
    """How a decryption failed that was let to run to its end, whatever was read of it."""
    while process.stdout is not None and process.stdout.read(1 << 20):
        pass
    code = process.wait()
    if not code or told is None:
        return ""
    told.seek(0)
    said = told.read(_MOST_SAID).decode(errors="replace").strip().splitlines()
    return f"exit code {code}{f', {said[-1][:200]}' if said else ''}"


def _contents(text: str) -> Contents:
    created = re.search(r"^; Archive created at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", text, re.MULTILINE)
    versions = re.findall(r"^;\s+Dumped (?:from database|by pg_dump) version: (\d+)", text, re.MULTILINE)
    entries = [_ENTRY.match(line) for line in text.splitlines()]
    # the header holds the local time of where it was made; read here, it is taken for this machine's
    at = datetime.strptime(created[1], "%Y-%m-%d %H:%M:%S").astimezone(UTC) if created else None
    # the last word is the owner
    found = tuple(Entry(entry[0], entry["what"], entry["rest"].rpartition(" ")[0]) for entry in entries if entry)
    return Contents(text, at, max(map(int, versions), default=0), found)
