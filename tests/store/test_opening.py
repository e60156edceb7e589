"""A record opens, migrates, and says clearly when it cannot."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest

from pytest_releasegate.errors import RecordError
from pytest_releasegate.store import open_store
from pytest_releasegate.store.schema import HEAD, REVISIONS

if TYPE_CHECKING:
    from pytest_releasegate.sources.pgserver import PostgresServer

FIRST = """
import sys
from datetime import UTC, datetime
from pytest_releasegate.model import Plan, Release
from pytest_releasegate.store import open_store
from pytest_releasegate.store.schema import HEAD, REVISIONS
sys.stdin.readline()
with open_store(sys.argv[1]) as store:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    release = Release(product="shop", version="1", environment="prod", opened_at=at)
    print(store.open_release(release, Plan((), "d")).id)
"""


def test_first_openers_at_once_get_the_same_release(url: str) -> None:
    command = [sys.executable, "-W", "error", "-c", FIRST, url]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate()[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert len(set(said)) == 1
    with open_store(url, create=False) as store:
        assert [release.id for release in store.releases()] == [int(said[0])]
        assert store.verify() == []


def test_first_migrators_at_once_in_threads(url: str) -> None:
    def opened(_: int) -> list[str]:
        with open_store(url) as store:
            return store.verify()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened, range(4))) == [[]] * 4


def test_release_that_somebody_inserted_without_the_lock_is_found(url: str, sample: Any) -> None:
    with open_store(url) as store:
        opened = store.open_release(sample.release(), sample.plan())
        found: list[object] = []

        class Blind:
            """A look that comes too early to see the other's row."""

            def one_or_none(self) -> None:
                found.append(1)

        from pytest_releasegate.store.chain import Writing

        class Early(Writing):
            """A transaction whose first look is blind."""

            @property
            def connection(self) -> Any:
                return self

            @connection.setter
            def connection(self, value: Any) -> None:
                self.real = value

            def execute(self, statement: Any) -> Any:
                return self.real.execute(statement) if found else Blind()

        import pytest_releasegate.store.base as base

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(base, "Writing", Early)
            assert store.open_release(sample.release(), sample.plan()) == opened
        assert found == [1]
        assert len(store.releases()) == 1


def test_record_at_head_imports_no_alembic(url: str) -> None:
    open_store(url).close()
    code = "import sys; from pytest_releasegate.store import open_store; open_store(sys.argv[1]).close();"
    code += "print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_store_and_journal_modules_import_nothing_heavy() -> None:
    code = "import sys, pytest_releasegate.store.journal;"
    code += "print(sorted({'sqlalchemy', 'psycopg', 'alembic'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_migrations_make_the_tables_that_the_code_names(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from pytest_releasegate.store.schema import SCHEMA, VERSION_TABLE, metadata

    with open_store(url) as store, store._engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET search_path = {SCHEMA}")
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection.execution_options(schema_translate_map={}), opts=options)
        assert compare_metadata(context, metadata) == []


def test_known_revisions_are_those_of_the_folder() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from pytest_releasegate.store.migrate import FOLDER

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    assert [each.revision for each in script.walk_revisions()][::-1] == list(REVISIONS)
    assert script.get_current_head() == HEAD


def test_postgresql_keeps_to_its_schema(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE apart")
    open_store(server.dsn("apart")).close()
    with psycopg.connect(server.dsn("apart")) as connection:
        found = connection.execute(
            "SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
    assert found == [("releasegate",)]


def test_newer_schema_is_refused(url: str) -> None:
    with open_store(url) as store, store._writer.begin() as connection:
        prefix = "releasegate." if connection.dialect.name == "postgresql" else ""
        connection.exec_driver_sql(f"UPDATE {prefix}schema_version SET version_num = '9999'")
    with pytest.raises(RecordError, match="its schema is 9999, newer than this version knows") as caught:
        open_store(url)
    assert "upgrade pytest-releasegate" in str(caught.value)


def test_no_record_and_none_may_be_created(url: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="there is no"):
        open_store(url, create=False)
    assert list(tmp_path.iterdir()) == []


def test_folders_are_made(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path}/a/b/record.db").close()
    assert (tmp_path / "a" / "b" / "record.db").stat().st_size > 0


def test_folder_under_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match=r"cannot create the file: (Not a directory|File exists)"):
        open_store(f"sqlite:///{tmp_path}/file/sub/record.db")


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is a folder or a device, expected a file"):
        open_store(f"sqlite:///{tmp_path}")


def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "record.db"
    path.write_bytes(b"plain text, and long enough to be looked at " * 20)
    before = path.read_bytes()
    with pytest.raises(RecordError, match="the file is not a database"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_database_of_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    application = sqlite3.connect(path)
    application.execute("CREATE TABLE patients (id)")
    application.close()
    with pytest.raises(RecordError, match=r"database of something else \(it holds patients\)"):
        open_store(f"sqlite:///{path}")


@pytest.mark.skipif(not sys.platform.startswith("linux") or os.geteuid() != 0, reason="mounts a file system")
def test_read_only_file_system(tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=False, capture_output=True).returncode:
        pytest.skip("this account may not mount")
    try:
        url = f"sqlite:///{place}/record.db"
        open_store(url).close()
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        with pytest.raises(RecordError, match=r"read-only|cannot be opened|Read-only"):
            open_store(url)
        with pytest.raises(RecordError, match="cannot create the file: Read-only file system"):
            open_store(f"sqlite:///{place}/another.db")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize(
    "url", ["record.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://u:hushhush@h/d"]
)
def test_url_of_something_else(url: str) -> None:
    with pytest.raises(RecordError, match="name it as sqlite:////absolute/path") as caught:
        open_store(url)
    assert "hushhush" not in str(caught.value)


def test_wrong_password_is_said_and_not_shown(server: PostgresServer) -> None:
    dsn = server.dsn(user="postgres", password="hushhush-wrong")
    with pytest.raises(RecordError, match="the user name or the password is wrong") as caught:
        open_store(dsn)
    assert "hushhush" not in str(caught.value)
    assert f"postgresql://postgres@127.0.0.1:{server.port}/postgres" in str(caught.value)


def test_unknown_database_is_said(server: PostgresServer) -> None:
    with pytest.raises(RecordError, match=r'does not exist \(|database "nowhere" does not exist'):
        open_store(server.dsn("nowhere"))


def test_unreachable_server_is_said() -> None:
    import socket

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(RecordError, match="the server cannot be reached"):
            open_store(f"postgresql://ann:hushhush@127.0.0.1:{port}/d")


@pytest.mark.parametrize("url", ["postgresql://ann:hush@hush/hush@127.0.0.1/d", "postgresql://ann:hushhush@h:port:x/d"])
def test_password_with_unquoted_signs_is_not_shown(url: str) -> None:
    with pytest.raises(RecordError) as caught:
        open_store(url)
    assert "hush" not in str(caught.value)


def test_account_without_rights_is_told_which(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute("CREATE ROLE reader LOGIN PASSWORD 'reader-secret'")
    with pytest.raises(RecordError, match="the account lacks a right") as caught:
        open_store(server.dsn(user="reader", password="reader-secret"))
    assert "GRANT CREATE ON DATABASE" in str(caught.value)


def test_password_is_never_shown(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE shown")
    url = server.dsn("shown")
    with open_store(url) as store:
        password = str(urlsplit(url).password)
        assert password not in repr(store)
        assert password not in store.shown_url
        assert store.url == url


def test_removed_file_is_noticed(tmp_path: Path, sample: Any) -> None:
    with open_store(f"sqlite:///{tmp_path}/record.db") as store:
        opened, run_id = sample.started(store)
        (tmp_path / "record.db").unlink()
        with pytest.raises(RecordError, match="the file was removed or replaced"):
            store.add_result(opened.id, run_id, sample.result(), {})
    assert not Path(tmp_path / "record.db").exists()


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_an_older_record_is_migrated_when_it_is_opened(url: str, revision: str, sample: Any) -> None:
    from pytest_releasegate.store.address import address
    from pytest_releasegate.store.engine import WRITES, engine_of
    from pytest_releasegate.store.migrate import upgrade, version_of

    engine = engine_of(address(url), create=True)
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        upgrade(connection, revision)
    with engine.connect() as connection:
        assert version_of(connection) == revision
    engine.dispose()
    with open_store(url) as store, store._engine.connect() as connection:
        assert version_of(connection) == HEAD
        sample.started(store)
        assert store.verify() == []


@pytest.mark.parametrize(("folder", "told"), [(".releasegate", True), ("records", False)])
def test_a_new_record_is_no_change_of_the_work_tree(tmp_path: Path, folder: str, told: bool) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    with open_store(f"sqlite:///{tmp_path}/{folder}/record.db"):
        pass
    asked = ["git", "-C", str(tmp_path), "status", "--porcelain"]
    assert (subprocess.run(asked, capture_output=True, check=True).stdout == b"") is told
