"""A dump restored into a scratch server, which goes with everything in it."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgarchive import reason
from pytest_releasegate.sources.pgdump import CALLS_OUT, binaries_for
from pytest_releasegate.sources.pgserver import PostgresError, PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgarchive import Archive, Contents, Entry

__all__ = ["Restored", "restored"]

_DATABASE = "restored"
_SETTINGS = {"autovacuum": "off", "max_wal_size": "4GB", "jit": "off", "maintenance_work_mem": "256MB"}
_CALLING = re.compile(
    r"(?:FOREIGN )?(?:SERVER|DATA WRAPPER|TABLE)|USER MAPPING|EVENT TRIGGER|PUBLICATION(?: TABLES?.*)?|SUBSCRIPTION"
)
_NAME = r'(?:"(?:[^"]|"")+"|[^\s",;]+)'
_POLICY = re.compile(
    rf"^CREATE POLICY {_NAME} ON \S+(?: AS \w+)?(?: FOR \w+)? TO ({_NAME}(?:, {_NAME})*)", re.MULTILINE
)
_MOST_ERRORS = 3


@dataclass(frozen=True, slots=True)
class Restored:
    """The restored database, what pg_restore complained of, what was not restored on purpose, and how long it took."""

    server: PostgresServer
    errors: tuple[str, ...]
    error_count: int
    left_out: tuple[str, ...]
    seconds: float

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        """One transaction of the superuser."""
        import psycopg

        with psycopg.connect(self.server.dsn(_DATABASE), prepare_threshold=None) as connection:
            yield connection


@contextmanager
def restored(archive: Archive, contents: Contents, context: Context) -> Iterator[Restored]:
    """Restore an archive into a scratch server of at least its version; both go at the end, and when this is killed."""
    start = context.clock.monotonic()
    server = PostgresServer(binaries_for(contents.major), settings=_SETTINGS)
    archive.use(server.binaries)
    try:
        server.start()
    except PostgresError as error:
        raise CannotLook(f"the scratch server did not start: {error}", "is there room on its disk?") from None
    with server, tempfile.TemporaryDirectory(prefix="releasegate-") as folder:
        context.secrets.add(server.dsn(), "scratch")
        _prepare(server, archive, contents)
        left = _chosen(contents, chosen := Path(folder) / "list")
        place = f"host={server.socket_dir} port={server.port} user=postgres dbname={_DATABASE}"
        parallel = [] if archive.is_encrypted or contents.is_tar else ["--jobs=2"]
        done, undone = archive.restore(
            *("--no-owner", "--no-privileges", "--no-publications", "--no-subscriptions", "--no-tablespaces"),
            *(*parallel, f"--use-list={chosen}", f"--dbname={place}"),
        )
        errors = re.findall(r"^pg_restore: error: .*$", done.stderr, re.MULTILINE)
        told = [reason(line) for line in errors[:_MOST_ERRORS]]
        if undone:
            told.append(f"decrypting it ended with {undone}")
        number = max(len(errors), bool(done.returncode)) + bool(undone)
        yield Restored(server, tuple(told), number, left, context.clock.monotonic() - start)


def _prepare(server: PostgresServer, archive: Archive, contents: Contents) -> None:
    """An empty database, and the roles that policies name; all else of roles is not restored."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        known = {name for (name,) in connection.execute("select name from pg_catalog.pg_available_extensions")}
        needed = contents.named("EXTENSION")
        if missing := sorted(set(needed) - known - CALLS_OUT):
            raise CannotLook(
                f"the dump needs the extension '{missing[0]}', which {server.binaries} does not have",
                "install it there, or name the folder of a PostgreSQL that has it in RELEASEGATE_PG_BIN",
            )
        roles = _roles(archive) if contents.named("POLICY") else set()
        for role in sorted(roles - {"public", "current_user", "session_user", "postgres"}):
            connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
        connection.execute(sql.SQL("create database {} template template0").format(sql.Identifier(_DATABASE)))


def _roles(archive: Archive) -> set[str]:
    done, _ = archive.restore("--schema-only", "--no-owner", "--no-privileges", "-f", "-")
    named = [name for found in _POLICY.findall(done.stdout) for name in re.findall(_NAME, found)]
    return {name[1:-1].replace('""', '"') if name.startswith('"') else name.lower() for name in named}


def _chosen(contents: Contents, target: Path) -> tuple[str, ...]:
    """Write down what is restored; tells what is not, since it would call other machines."""
    out = [entry for entry in contents.entries if _calls_out(entry)]
    # the schema that every new database has is there already
    wanted = [
        entry for entry in contents.entries if entry not in out and (entry.what, entry.name) != ("SCHEMA", "public")
    ]
    target.write_text("".join(f"{entry.line}\n" for entry in wanted), encoding="utf-8")
    return tuple(f"{entry.what.lower()} {entry.name}" for entry in out if entry.what != "COMMENT")


def _calls_out(entry: Entry) -> bool:
    if entry.what == "EXTENSION":
        return entry.name in CALLS_OUT
    if entry.what == "COMMENT":
        return bool(re.match(rf"(?:{_CALLING.pattern}) ", entry.name)) or (
            entry.name.startswith("EXTENSION ") and entry.name.split()[1] in CALLS_OUT
        )
    return entry.what != "TABLE" and bool(_CALLING.fullmatch(entry.what))
