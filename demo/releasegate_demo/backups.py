"""The demo's backups: encrypted dumps with a manifest each, and a base backup with the WAL since."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from pytest_releasegate.sources import pgmanifest
from pytest_releasegate.sources.pgfiles import run
from pytest_releasegate.sources.pgserver import find_binaries
from releasegate_demo import vault

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_releasegate.sources.pgserver import PostgresServer
    from releasegate_demo.place import Place

__all__ = ["ARCHIVING", "base", "dump", "prepare"]

ARCHIVING = {
    "archive_mode": "on",
    # the server's working folder is its data folder
    "archive_command": "mkdir -p ../wal && test ! -e ../wal/%f && cp %p ../wal/%f",
    "archive_timeout": "60s",
}


def prepare(place: Place) -> None:
    """Make the folder of the dumps, the key, and the command that gates decrypt with."""
    place.backups.mkdir(exist_ok=True)
    _write(place.backup_key, token_urlsafe(32), 0o600)
    program = [sys.executable, "-m", "releasegate_demo.vault", str(place.backup_key)]
    words = " ".join("'" + word.replace("'", "'\\''") + "'" for word in program)
    _write(place.unlock, f"#!/bin/sh\nexec {words}\n", 0o700)


def dump(place: Place, dsn: str, name: str) -> Path:
    """Take a full dump of one instant, encrypt it, and write down beside it what it holds."""
    target = place.backups / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.dump.enc"
    command = [str(find_binaries() / "pg_dump"), f"--dbname={dsn}"]
    archive, manifest = pgmanifest.dump(command, dsn, output=subprocess.PIPE)
    target.with_name(f"{target.name}.manifest.json").write_text(manifest.as_json(), encoding="utf-8")
    # the dump comes last and at once: whoever looks finds it whole and with its manifest
    part = place.backups / f".{target.name}"
    part.write_bytes(vault.encrypt(archive, place.backup_key.read_bytes()))
    part.replace(target)
    return target


def base(server: PostgresServer) -> None:
    """Take a base backup, from which the archive leads to any later moment."""
    place = f"host={server.socket_dir} port={server.port} user=postgres"
    options = ["--format=tar", "--checkpoint=fast", "--wal-method=none", "--no-sync", "--no-manifest"]
    run([str(server.binaries / "pg_basebackup"), "-D", str(server.folder / "base"), "-d", place, *options])


def _write(path: Path, text: str, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
