"""Each way to break the demo turns the gates red that look at it, with a message that a stranger understands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from releasegate_demo import control
from releasegate_demo.product import NEW, OLD, make_product

from tests.conftest import Ran

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

RED = {
    "rls": ("40-compliance.yaml::C1.3.1", "select on public.clients as clinician", "1833 others"),
    "orphan": (
        "12-consistency.yaml::12.2.1",
        "notes_client_id_fkey: public.notes -> public.clients: expected no orphaned row, got 1 orphaned row",
    ),
    "index": ("09-migration.yaml::9.3.2", "index clients_number_key: expected unique clients (number), got not valid"),
    "health": ("10-verification.yaml::10.1.3", "checks.sms.ok: expected true, got false"),
    "mail": ("07-pre-deployment.yaml::7.1.2", "incident #41: expected none open, got triggered, high, of EHR"),
    "log": (
        "test_logging.py::test_personal_data_is_redacted",
        "lines with the false social security number: expected 0",
    ),
    "guards": (
        "40-compliance.yaml::C1.3.3.cookies",
        "/auth ehr_session HttpOnly: expected present, got absent",
    ),
    "login": ("test_audit_log.py::test_reading_a_chart_is_logged", "login as clinician: expected /dashboard"),
    "migration": ("09-migration.yaml::9.2.1", "expected 003, got 002"),
    "counts": ("09-migration.yaml::9.3.1", "appointments"),
    "errors": ("20-rollback-triggers.yaml::T15.5", "error rate: expected <= 5%"),
    "latency": ("11-monitoring.yaml::11.2.1", "p95: expected < 1200ms"),
}
"""By break: one gate that must go red, and what it must say. `flow` is in the tests of the smoke suite."""


class Deployed:
    """The demo's product, on the new version, with what the gates read."""

    def __init__(self, folder: Path, running: Path) -> None:
        self.folder = folder
        self.running = running
        commits = make_product(folder)
        self.info = control.up(running, OLD, commits[OLD])
        control.back_up(running, "final")
        self.ask(b"select pg_sleep(0.001)")
        assert self.pytest("-m", "before").code == 10  # facts are not declared; the snapshot is taken
        control.migrate(running)
        self.info = control.deploy(running, NEW, commits[NEW])

    def ask(self, statement: bytes) -> None:
        """Let the application's role run a statement, often enough to be counted."""
        with psycopg.connect(self.info.app_dsn) as connection:
            for _ in range(21):
                connection.execute(statement)

    def pytest(self, *words: str) -> Ran:
        """Run pytest in the product."""
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:locust", *words]
        environment = {**os.environ, **self.info.environment(), "COLUMNS": "200", "NO_COLOR": "1"}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        return Ran(done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One demo for all breaks; each is healed before the next."""
    folder = tmp_path_factory.mktemp("red")
    try:
        yield Deployed(folder / "product", folder / "running")
    finally:
        control.down(folder / "running")


@pytest.mark.parametrize("name", RED)
def test_the_gate_goes_red_and_says_why(deployed: Deployed, name: str) -> None:
    gate, *said = RED[name]
    control.make_break(deployed.running, name)
    try:
        ran = _with_visitors(deployed, gate) if name in {"errors", "latency"} else deployed.pytest(f"gates/{gate}")
    finally:
        control.heal(deployed.running)
    assert (ran.code, ran.has(*said)) == (1, True), ran.out


def test_all_of_them_are_green_when_nothing_is_broken(deployed: Deployed) -> None:
    ran = deployed.pytest(*[f"gates/{gate}" for name, (gate, *_) in RED.items() if name not in {"errors", "latency"}])
    assert ran.code == 0, ran.out


def test_a_migration_that_failed_is_seen_in_its_log(deployed: Deployed) -> None:
    log = Path(deployed.info.migration_log)
    kept = log.read_text("utf-8")
    assert deployed.pytest("gates/test_migration_log.py").code == 0
    last = {**json.loads(kept.splitlines()[-1]), "level": "error", "event": "migration failed", "error": "no disk"}
    log.write_text(kept + json.dumps(last) + "\n", "utf-8")
    try:
        ran = deployed.pytest("gates/test_migration_log.py")
    finally:
        log.write_text(kept, "utf-8")
    assert (ran.code, ran.has("error lines: expected 0, got 1: no disk")) == (1, True), ran.out


def test_an_audit_log_that_loses_its_rows_is_seen(deployed: Deployed) -> None:
    def change(statement: bytes) -> None:
        with psycopg.connect(deployed.info.super_dsn) as connection:
            connection.execute(statement)

    assert deployed.pytest("gates/test_audit_log.py").code == 0
    change(b"create rule lost as on insert to public.audit_logs do instead nothing")
    try:
        ran = deployed.pytest("gates/test_audit_log.py")
    finally:
        change(b"drop rule lost on public.audit_logs")
    assert (ran.code, ran.out.count("- rows of the ")) == (1, 4), ran.out


ASLEEP = "set session_replication_role = replica; "
WRONG = {
    "12-consistency.yaml::12.2.4": (
        ASLEEP + "update notes set signed_at = created_at - interval '1 hour' where id = 5",
        ASLEEP + "update notes set signed_at = created_at + interval '1 hour' where id = 5",
        "public.notes: ordered created_at, signed_at",
        "1 of 15000 rows violates it",
    ),
    "06-documentation.yaml::6.2.4": (
        "alter table notes disable trigger audit_notes",
        "alter table notes enable trigger audit_notes",
        "a note is deleted: expected >= 1 with action_type delete",
        "got 0 of 0 rows written",
    ),
    "40-compliance.yaml::C1.1.3": (
        "grant delete on audit_logs to authenticated",
        "revoke delete on audit_logs from authenticated",
        "what authenticator may do to public.audit_logs",
        "got delete by authenticated",
    ),
    "40-compliance.yaml::C1.3.2": (
        "update staff set role = 'admin' where id = (select id from auth.users where email like 'billing@%')",
        "update staff set role = 'billing' where id = (select id from auth.users where email like 'billing@%')",
        "/admin/audit as billing: expected denied (401, 403 or the login), got let in (200)",
    ),
}
"""By gate: how to make it red, the way back, and what it must say."""


@pytest.mark.parametrize("gate", WRONG)
def test_data_and_its_trail_are_seen_to_be_wrong(deployed: Deployed, gate: str) -> None:
    wrong, right, *said = WRONG[gate]
    assert deployed.pytest(f"gates/{gate}").code == 0
    with psycopg.connect(deployed.info.super_dsn) as connection:
        connection.execute(wrong.encode())
    try:
        ran = deployed.pytest(f"gates/{gate}")
    finally:
        with psycopg.connect(deployed.info.super_dsn) as connection:
            connection.execute(right.encode())
    assert (ran.code, ran.has(*said)) == (1, True), ran.out


def test_a_statement_that_became_slow_is_seen(deployed: Deployed) -> None:
    deployed.ask(b"select pg_sleep(0.07)")
    ran = deployed.pytest("gates/10-verification.yaml::10.3.3", "gates/11-monitoring.yaml::11.2.2")
    said = "mean times: expected <= 3x of what they were, got 1 of"
    assert (ran.code, ran.has(said, "select pg_sleep($n)", "2 failed")) == (1, True), ran.out


def test_deadlocks_that_go_on_ask_for_a_rollback(deployed: Deployed) -> None:
    from threading import Event, Thread

    over = Event()
    fighters = Thread(target=_deadlock, args=(deployed.info.environment()["RELEASEGATE_DEMO_DSN"], over))
    fighters.start()
    try:
        ran = deployed.pytest("gates/test_database_triggers.py")
    finally:
        over.set()
        fighters.join()
    assert (ran.code, ran.has("deadlocks meanwhile: expected <= 2, got")) == (1, True), ran.out


def _deadlock(dsn: str, over: Event) -> None:
    """Two sessions that wait for each other's lock until the server ends one of them, and again."""
    from threading import Barrier, Thread

    def take(first: int, second: int, both: Barrier) -> None:
        with psycopg.connect(dsn) as connection, suppress(psycopg.errors.DeadlockDetected):
            connection.execute("select pg_advisory_xact_lock(%s)", [first])
            both.wait(timeout=10)
            connection.execute("select pg_advisory_xact_lock(%s)", [second])

    while not over.is_set():
        both = Barrier(2)
        pair = [Thread(target=take, args=(*locks, both)) for locks in ((1, 2), (2, 1))]
        for one in pair:
            one.start()
        for one in pair:
            one.join()


def _with_visitors(deployed: Deployed, gate: str) -> Ran:
    from threading import Thread

    visitors = Thread(target=control.traffic, args=(deployed.running, 14.0, 15.0, 24))
    visitors.start()
    try:
        return deployed.pytest(f"gates/{gate}")
    finally:
        visitors.join()


def test_every_break_has_a_gate_that_sees_it() -> None:
    assert {*RED, "flow"} == {*control.BREAKS}
