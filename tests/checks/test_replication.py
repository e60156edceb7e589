"""`replication`: a standby that is away, late or stopped does not pass, and an idle primary is no lag."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.replication import Replication
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources.pgserver import PostgresServer
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


SETTINGS = {
    "max_prepared_transactions": "2",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "50ms",
}
AWAY = "alter system set primary_conninfo = 'host=/nowhere'"


class Standby(PostgresServer):
    """A server over a base backup: its superuser's password is the primary's."""

    def _set_password(self) -> None:
        """Nothing can be written here."""


@pytest.fixture(scope="module")
def standby(primary: Any, base_backup: Any) -> Iterator[Environment]:
    """A standby that streams from the primary."""
    with Standby(template=base_backup, settings=SETTINGS) as server:
        primary.wait("select count(*) = 1 from pg_stat_replication where state = 'streaming'")
        dsn = server.dsn("postgres", "watcher", primary.environment.databases["app"].split(":")[2].split("@")[0])
        yield Environment(name="test", databases={"app": dsn, "root": _as_superuser(server, primary)})


def _as_superuser(server: PostgresServer, primary: Any) -> str:
    return server.dsn("postgres", "postgres", primary.server._password)


def do(environment: Environment, *statements: str) -> str:
    """Run statements on the standby as the superuser; the value that the last one gives."""
    import psycopg

    with psycopg.connect(environment.databases["root"], autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return str((cursor.fetchone() or ("",))[0])


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def caught_up(primary: Any) -> None:
    primary.wait("select pg_current_wal_lsn() = replay_lsn from pg_stat_replication")


WRITE = ("create table burst as select md5(i::text) from generate_series(1, 2000) i", "drop table burst")


def test_a_standby_that_streams_passes_on_both_sides(primary: Any, standby: Environment) -> None:
    primary.run(*WRITE)
    caught_up(primary)
    seen = look(Replication(), primary.environment)
    assert seen.status is Status.PASSED, (told(seen), seen.message)
    assert told(seen)[0] == "standbys that stream: expected >= 1, got 1: standby1 [yes]"
    assert re.search(r"got streaming, \d+ bytes and 0\.\d s behind \[yes\]$", told(seen)[1])
    seen = look(Replication(), replace(standby, databases={"app": standby.databases["app"]}))
    assert seen.status is Status.PASSED, (told(seen), seen.message)
    assert re.search(r"got \d+ bytes and 0\.\d s behind \[yes\]$", told(seen)[2])
    # nobody writes, and the newest transaction is older than that
    idle = look(Replication(lag="1ms"), replace(standby, databases={"app": standby.databases["app"]}))
    assert told(idle)[2].endswith("got 0 bytes and 0.0 s behind [yes]")


def test_a_standby_that_applies_nothing_fails_on_both_sides(primary: Any, standby: Environment) -> None:
    caught_up(primary)
    do(standby, "select pg_wal_replay_pause()")
    try:
        primary.run(*WRITE)
        primary.wait("select flush_lsn > replay_lsn from pg_stat_replication")
        seen = look(Replication(lag_bytes="10kB"), primary.environment)
        assert seen.status is Status.FAILED
        assert "kB" in told(seen)[1]
        assert told(seen)[1].endswith("behind [no]")
        seen = look(Replication(), replace(standby, databases={"app": standby.databases["app"]}))
        assert seen.status is Status.FAILED
        assert told(seen)[1] == "replay: expected running, got paused [no]"
    finally:
        do(standby, "select pg_wal_replay_resume()")


def test_a_standby_without_its_primary_fails(primary: Any, standby: Environment) -> None:
    caught_up(primary)
    before = do(standby, "show primary_conninfo").replace("'", "''")
    do(standby, AWAY, "select pg_reload_conf()")
    try:
        primary.wait("select count(*) = 0 from pg_stat_replication")
        seen = look(Replication(), primary.environment)
        assert seen.status is Status.FAILED
        assert told(seen) == [
            "standbys that stream: expected >= 1, got 0 [no]",
            "standbys looked at: expected >= 1, got 0 [cannot tell]",
        ]
        seen = look(Replication(), replace(standby, databases={"app": standby.databases["app"]}))
        assert seen.status is Status.FAILED
        assert told(seen)[0].endswith("got not connected to a primary [no]")
    finally:
        do(standby, f"alter system set primary_conninfo = '{before}'", "select pg_reload_conf()")
        primary.wait("select count(*) = 1 from pg_stat_replication where state = 'streaming'")


def test_too_few_standbys_and_none_synchronous_fail(primary: Any, standby: Environment) -> None:
    caught_up(primary)
    seen = look(Replication(standbys=2, synchronous=True), primary.environment)
    assert seen.status is Status.FAILED
    assert "standbys that stream: expected >= 2, got 1: standby1 [no]" in told(seen)
    assert "synchronous standby: expected >= 1, got async [no]" in told(seen)


def test_slots(primary: Any, standby: Environment) -> None:
    primary.run("select pg_create_physical_replication_slot('old', true)", *WRITE)
    try:
        caught_up(primary)
        seen = look(Replication(), primary.environment)
        assert seen.status is Status.FAILED
        (slot,) = [text for text in told(seen) if text.startswith("slot ")]
        assert slot.startswith("slot old: expected active, its WAL kept, got inactive; holds back ")
        assert look(Replication(idle_slots=["old"]), primary.environment).status is Status.PASSED
        seen = look(Replication(idle_slots=["old"], retained="1kB"), primary.environment)
        assert "got more than 1.0 kB held back; holds back " in told(seen)[2]
    finally:
        primary.run("select pg_drop_replication_slot('old')")


def test_what_only_receives_wal_cannot_tell(primary: Any, standby: Environment, tmp_path: Path) -> None:
    caught_up(primary)
    command = [primary.server.binaries / "pg_receivewal", "-D", tmp_path, "--no-loop", "-d"]
    place = f"host={primary.server.socket_dir} port={primary.server.port} user=postgres"
    with subprocess.Popen([*command, place]) as receiver:
        primary.wait("select count(*) = 1 from pg_stat_replication where application_name = 'pg_receivewal'")
        primary.wait("select bool_and(state = 'streaming') from pg_stat_replication")
        seen = look(Replication(), primary.environment)
        told_apart = look(Replication(ignore=["pg_receivewal"]), primary.environment)
        receiver.terminate()
    primary.wait("select count(*) = 1 from pg_stat_replication")
    assert seen.status is Status.INCONCLUSIVE, told(seen)
    assert told(seen)[1].startswith("standby pg_receivewal: ")
    assert told(seen)[1].endswith("got streaming, tells no position [cannot tell]")
    assert told_apart.status is Status.PASSED


def test_a_subscriber_is_no_standby(primary: Any, standby: Environment) -> None:
    caught_up(primary)
    primary.run("create publication told", "select pg_create_logical_replication_slot('copy', 'pgoutput')")
    place = f"host={primary.server.socket_dir} port={primary.server.port} user=postgres dbname=postgres"
    options = ["-S", "copy", "--start", "-f", "/dev/null", "-o", "proto_version=1", "-o", "publication_names=told"]
    with subprocess.Popen([primary.server.binaries / "pg_recvlogical", "-d", place, *options]) as subscriber:
        primary.wait("select active from pg_replication_slots where slot_name = 'copy'")
        seen = look(Replication(standbys=2), primary.environment)
        subscriber.terminate()
    primary.wait("select not active from pg_replication_slots where slot_name = 'copy'")
    primary.run("select pg_drop_replication_slot('copy')", "drop publication told")
    assert seen.status is Status.FAILED
    assert told(seen)[0] == "standbys that stream: expected >= 2, got 1: standby1 [no]"


def test_who_may_not_look_is_an_error(fresh_database: Any) -> None:
    seen = look(Replication(), fresh_database(user="outsider"))
    assert seen.status is Status.ERROR
    assert "grant pg_monitor to outsider" in seen.message


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ValidationError):
        Replication(standbys=0)
