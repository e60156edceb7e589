"""`locks`: sessions that wait, and transactions that stay open, do not pass."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.locks import Locks
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Iterator


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


@pytest.fixture
def environment(fresh_database: Any, superuser: Any) -> Iterator[Environment]:
    script = "create table clients (id int primary key); insert into clients values (1); grant pg_monitor to outsider"
    made: Environment = fresh_database(script, user="outsider")
    yield made
    superuser(made, "revoke pg_monitor from outsider")


@pytest.fixture
def holder(environment: Environment, server: Any) -> Iterator[psycopg.Connection[Any]]:
    """A session with an open transaction that holds a lock."""
    name = environment.databases["app"].rsplit("/", 1)[1]
    with psycopg.connect(server.dsn(name), application_name="importer") as connection:
        connection.execute("update clients set id = 2")
        yield connection


def test_a_quiet_database_passes(environment: Environment) -> None:
    seen = look(Locks(), environment)
    assert seen.status is Status.PASSED, (told(seen), seen.message)
    assert told(seen)[0] == "waiting sessions: expected <= 0 longer than 2s, got 0 [yes]"


def test_a_session_that_waits_fails(environment: Environment, server: Any, superuser: Any, holder: Any) -> None:
    def wait() -> None:
        with psycopg.connect(server.dsn(environment.databases["app"].rsplit("/", 1)[1])) as connection:
            connection.execute("update clients set id = 3")

    waiter = Thread(target=wait)
    waiter.start()
    pause = Event()
    while not superuser(environment, "select 1 from pg_locks where not granted"):
        pause.wait(0.01)
    seen = look(Locks(waiting="1ms"), environment)
    some = look(Locks(waiting="1ms", most=1), environment)
    holder.rollback()
    waiter.join()
    assert seen.status is Status.FAILED
    assert " waits: expected <= 1ms, got for " in told(seen)[0]
    assert told(seen)[0].endswith(f" s for ShareLock on transactionid, blocked by {holder.info.backend_pid} [no]")
    assert some.status is Status.PASSED


def test_a_long_transaction_fails(environment: Environment, holder: Any) -> None:
    seen = look(Locks(transaction="1ms"), environment)
    assert seen.status is Status.FAILED
    pid = holder.info.backend_pid
    assert f"got 1: pid {pid} (importer, idle in transaction) for " in told(seen)[1]


def test_a_prepared_transaction_fails(primary: Any) -> None:
    seen = look(Locks(), primary.environment)
    assert seen.status is Status.PASSED, told(seen)
    primary.run("begin", "create table p (id int)", "prepare transaction 'left behind'")
    try:
        seen = look(Locks(prepared="1ms"), primary.environment)
    finally:
        primary.run("rollback prepared 'left behind'")
    assert seen.status is Status.FAILED
    assert "got 1: 'left behind' for " in told(seen)[2]


def test_who_may_not_look_is_an_error(fresh_database: Any) -> None:
    seen = look(Locks(), fresh_database(user="outsider"))
    assert seen.status is Status.ERROR
    assert "grant pg_monitor to outsider" in seen.message


def test_a_look_that_saw_no_session_cannot_tell(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_releasegate.checks import locks

    monkeypatch.setattr(locks, "_SESSIONS", "select 0")
    seen = look(Locks(), environment)
    assert (seen.status, seen.findings[-1].ok) == (Status.INCONCLUSIVE, Ok.CANNOT_TELL)


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ValidationError):
        Locks(transaction="0s")
