"""The demo's backups are real: they are looked at, restored, and lead back to a point in time."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from releasegate_demo import control, vault

from pytest_releasegate.checks.backup import Backup
from pytest_releasegate.checks.pitr import Pitr
from pytest_releasegate.checks.restore import Restore
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look
from tests.conftest import missing_here

if TYPE_CHECKING:
    from pathlib import Path


def environment(demo: Any) -> Environment:
    return Environment(name="demo", databases={"app": demo.info.probe_dsn})


def test_what_is_encrypted_comes_back_with_its_key_only() -> None:
    hidden = vault.encrypt(b"rows" * 100, b"the key\n")
    assert hidden.startswith(b"Salted__")
    assert b"rows" not in hidden
    assert vault.decrypt(hidden, b"the key") == b"rows" * 100
    with pytest.raises(ValueError):
        vault.decrypt(hidden[:-16], b"the key")
    with pytest.raises(ValueError, match="Salted__"):
        vault.decrypt(b"PGDMP", b"the key")


def test_openssl_reads_it_too(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        missing_here("openssl")
    (tmp_path / "key").write_text("the key")
    command = ["openssl", "enc", "-d", "-aes-256-cbc", "-pbkdf2", "-pass", f"file:{tmp_path / 'key'}"]
    done = subprocess.run(command, input=vault.encrypt(b"rows", b"the key"), capture_output=True, check=True)
    assert done.stdout == b"rows"


def test_the_nightly_backup_is_whole_encrypted_and_restorable(demo: Any) -> None:
    pattern, unlock = f"{demo.info.backups}/nightly-*.enc", (demo.info.unlock,)
    seen = look(Backup(dump=pattern, decrypt=unlock, encrypted=True, location=demo.info.backups))
    assert seen.status is Status.PASSED, (seen.findings, seen.message)
    seen = look(Restore(dump=pattern, decrypt=unlock, manifest=".manifest.json", least=10))
    assert seen.status is Status.PASSED, (seen.findings, seen.message)
    assert len(seen.kept) == 1


def test_a_backup_of_now_holds_what_is_there_now(demo: Any) -> None:
    path = control.back_up(demo.state, "test")
    try:
        count = demo.one("select count(*) from clients")
        assert f'"public.clients": {count}' in path.with_name(f"{path.name}.manifest.json").read_text()
        assert path.parent == control.Path(demo.info.backups)
        assert path.stat().st_size > 100_000
    finally:
        path.unlink()


def test_the_archive_leads_back(demo: Any) -> None:
    with psycopg.connect(demo.info.super_dsn, autocommit=True) as connection:
        connection.execute("select pg_switch_wal()")
    seen = look(Pitr(archive=demo.info.wal, ready=5), environment(demo))
    assert seen.status is Status.PASSED, (seen.findings, seen.message)
