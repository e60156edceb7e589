"""A killed run, a full disk, a lost connection and many writers at once lose nothing and break nothing."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pytest_releasegate.errors import RecordError
from pytest_releasegate.store import open_store
from pytest_releasegate.store.journal import recover

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_releasegate.sources.pgserver import PostgresServer
    from pytest_releasegate.store import Store

WORKER = """
import os, socket, sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from pytest_releasegate.model import Evidence, Finding, Ok, Plan, Release, Result, Run, Status
from pytest_releasegate.store import open_store
from pytest_releasegate.store.journal import Journal
url, folder, name, most = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
at = datetime(2026, 1, 5, tzinfo=UTC)
store = open_store(url)
release = store.open_release(Release(product="shop", version="1", environment="prod", opened_at=at), Plan((), "d"))
run = Run(started_at=at, expression="", scope=(name, "never"), host=socket.gethostname(), pid=os.getpid())
run_id = store.start_run(release.id, run)
journal = Journal(folder, run_id, name)
print("ready", flush=True)
sys.stdin.readline()
for number in range(most):
    body = f"{name} {number}".encode()
    piece = Evidence("answer", "text/plain", sha256(body).hexdigest(), len(body))
    result = Result(gate=name, case=str(number), status=Status.PASSED, started_at=at, evidence=(piece,),
                    findings=(Finding("n", "e", "x" * 500, Ok.YES),), kept={"n": number})
    journal.append(result, {piece.sha256: body})
    os.write(1, f"journal {number}\\n".encode())
    store.add_result(release.id, run_id, result, {piece.sha256: body})
    os.write(1, f"store {number}\\n".encode())
"""


def spawn(url: str, folder: Path, name: str, most: int = 100_000) -> subprocess.Popen[str]:
    """A process that opens the record and waits to begin."""
    command = [sys.executable, "-W", "error", "-c", WORKER, url, str(folder), name, str(most)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ready(worker: subprocess.Popen[str]) -> None:
    """Wait until it has opened the record."""
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"


def go(worker: subprocess.Popen[str]) -> None:
    """Let it begin."""
    assert worker.stdin is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()


def kill(worker: subprocess.Popen[str], after: int) -> dict[str, set[str]]:
    """Kill it after so many lines and give all that it said."""
    assert worker.stdout is not None
    lines = [worker.stdout.readline() for _ in range(after)]
    worker.kill()
    rest = worker.communicate()[0]
    acked: dict[str, set[str]] = {"journal": set(), "store": set()}
    for line in ("".join(lines) + rest).splitlines():
        place, number = line.split()
        acked[place].add(number)
    return acked


def test_killed_runs_lose_nothing_that_was_acked(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    rolls = random.Random()  # any moment will do
    for turn in range(2):
        worker = spawn(url, folder, f"w{turn}")
        ready(worker)
        go(worker)
        acked = kill(worker, rolls.randint(1, 60))
        with open_store(url, create=False) as store:
            (release,) = store.releases()
            stored = {each.case for each in store.results(release.id) if each.gate == f"w{turn}"}
            assert acked["store"] <= stored
            assert store.verify() == []
            (found,) = recover(store, folder)
            assert found.cut_off == ("never",)
            results = [each for each in store.results(release.id) if each.gate == f"w{turn}"]
            assert acked["journal"] <= {each.case for each in results}
            assert len(results) == len(stored) + found.recovered
            assert all(store.evidence_body(each.evidence[0].sha256) for each in results)
            assert store.verify() == []
            assert list(folder.iterdir()) == []


def test_writers_at_once_keep_one_chain(url: str, tmp_path: Path) -> None:
    workers = [spawn(url, tmp_path / "journal", f"w{number}", 15) for number in range(4)]
    for worker in workers:
        ready(worker)
    for worker in workers:
        go(worker)
    for worker in workers:
        worker.communicate()
    assert [worker.returncode for worker in workers] == [0, 0, 0, 0]
    with open_store(url, create=False) as store:
        (release,) = store.releases()
        assert len(store.results(release.id)) == 60
        assert store.head()[0] == 1 + 4 + 60
        assert store.verify() == []


def test_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path, sample: Any) -> None:
    with open_store(f"sqlite:///{tmp_path}/record.db") as store:
        opened, run_id = sample.started(store)
        with store._engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            # the limit belongs to the connection, which the pool gives out again
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        piece, bodies = sample.evidence(b"x" * 100_000)
        with pytest.raises(RecordError, match=r"the disk is full") as caught:
            store.add_result(opened.id, run_id, sample.result(evidence=(piece,)), bodies)
        assert "the next run puts them in" in str(caught.value)
        assert store.results(opened.id) == []
        assert store.verify() == []
        with store._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 100000")
        assert store.add_result(opened.id, run_id, sample.result(evidence=(piece,)), bodies) > 0
        assert store.verify() == []


def test_record_that_another_process_holds_is_said(
    tmp_path: Path, sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_releasegate.store.engine.BUSY_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path}/record.db"
    with open_store(url) as holder, open_store(url) as store, holder._writer.begin():
        with pytest.raises(RecordError, match="another process kept it locked"):
            store.open_release(sample.release(), sample.plan())
        assert store.releases() == []


def cut(store: Store, end: Callable[[], object]) -> None:
    """Lose the connection in the middle of a transaction."""
    with store._writing() as writing:
        end()
        writing.entry("never", 0)


def test_lost_connection_is_said_and_the_next_call_works(server: PostgresServer, sample: Any) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE flaky")
        with open_store(server.dsn("flaky")) as store:
            opened, run_id = sample.started(store)
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'flaky'"
            with pytest.raises(RecordError, match=r"terminating connection|cannot be reached"):
                cut(store, lambda: admin.execute(end))
            admin.execute(end)
            assert store.add_result(opened.id, run_id, sample.result(), {}) == 1
            assert store.verify() == []
