"""A real PostgreSQL for the checks that look into databases: one server a worker, databases that go with it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest

from pytest_releasegate.model import Environment
from pytest_releasegate.sources.pgfiles import give, run
from pytest_releasegate.sources.pgserver import PostgresServer, find_binaries, has_library
from tests.conftest import missing_here

PASSWORD = "correct-horse-battery"
ROLES = f"""
create role anon nologin;
create role authenticated nologin;
create role service_role nologin bypassrls;
create role owner nologin;
create role stranger nologin;
create role releasegate_probe login bypassrls password '{PASSWORD}';
grant pg_read_all_data, anon, authenticated, service_role, owner to releasegate_probe;
alter role releasegate_probe set default_transaction_read_only = on;
create role filtered login password '{PASSWORD}';
grant pg_read_all_data to filtered;
create role outsider login password '{PASSWORD}';
"""
WIPE = """
do $$ declare name text; begin
    for name in select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' loop
        execute format('drop schema %I cascade', name);
    end loop;
    for name in select fdwname from pg_foreign_data_wrapper loop
        execute format('drop foreign data wrapper %I cascade', name);
    end loop;
    for name in select evtname from pg_event_trigger loop
        execute format('drop event trigger %I', name);
    end loop;
    for name in select pubname from pg_publication loop
        execute format('drop publication %I', name);
    end loop;
end $$;
create schema public;
grant usage on schema public to public;
"""
NewDatabase = Callable[..., Environment]
Superuser = Callable[..., list[tuple[Any, ...]]]


@contextmanager
def _without_contrib() -> Iterator[None]:
    """Skip what needs an extension that a server named by hand came without; every other server must have it."""
    try:
        yield
    except psycopg.errors.FeatureNotSupported as error:
        if "is not available" not in str(error):
            raise
        missing_here(str(error).splitlines()[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, Any, Any]:
    """Tests whose fixtures make extensions."""
    with _without_contrib():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """Tests that make extensions."""
    with _without_contrib():
        return (yield)


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """The server of this worker, with the roles of the tests."""
    with PostgresServer(settings={"autovacuum": "off"}) as started:
        with psycopg.connect(started.dsn(), autocommit=True) as connection:
            connection.execute(ROLES)
        yield started


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    """Numbers for the databases' names."""
    return count(1)


@pytest.fixture(scope="session")
def superuser(server: PostgresServer) -> Superuser:
    """Run statements in an environment's database as the superuser; the rows of the last one."""

    def run(environment: Environment, script: str) -> list[tuple[Any, ...]]:
        name = environment.databases["app"].rsplit("/", 1)[1]
        with psycopg.connect(server.dsn(name), autocommit=True) as connection:
            cursor = connection.execute(script)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture(scope="session")
def reused(new_database: NewDatabase) -> Environment:
    """The database that `fresh_database` wipes and fills again and again."""
    return new_database()


@pytest.fixture
def fresh_database(reused: Environment, superuser: Superuser) -> NewDatabase:
    """Fill the reused database from a script: much faster than a new one, and only one at a time."""

    def make(script: str = "", *, user: str = "releasegate_probe", allow: tuple[str, ...] = ()) -> Environment:
        superuser(reused, WIPE)
        superuser(reused, script or "select 1")
        databases = {"app": reused.databases["app"].replace("releasegate_probe", user)}
        return replace(reused, databases=databases, allow=frozenset(allow))

    return make


@pytest.fixture(scope="session")
def new_database(server: PostgresServer, superuser: Superuser, numbers: Iterator[int]) -> NewDatabase:
    """Make a database from a script; gives an environment whose database `app` it is, for one of the roles."""

    def make(script: str = "", *, user: str = "releasegate_probe", allow: tuple[str, ...] = ()) -> Environment:
        name = f"db{next(numbers)}"
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(f"create database {name}")
        databases = {"app": server.dsn(name, user, PASSWORD)}
        environment = Environment(name="test", databases=databases, allow=frozenset(allow))
        if script:
            superuser(environment, script)
        return environment

    return make


@dataclass(frozen=True)
class Primary:
    """A server of its own that archives its WAL and counts its statements."""

    server: PostgresServer
    archive: Path

    @property
    def environment(self) -> Environment:
        """Its database `postgres`, for a role that may see what others do."""
        return Environment(name="test", databases={"app": self.server.dsn("postgres", "watcher", PASSWORD)})

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the superuser; the rows of the last one."""
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def wait(self, query: str) -> None:
        """Wait until a query says true."""
        pause = Event()
        for _ in range(1000):
            if self.run(query)[:1] == [(True,)]:
                return
            pause.wait(0.02)
        raise AssertionError(f"{query} never became true")

    def archive_more(self) -> None:
        """Finish a segment, and wait until it is archived."""
        ((name,),) = self.run("select pg_walfile_name(pg_create_restore_point('test'))")
        self.run("select pg_switch_wal()")
        self.wait(f"select left(last_archived_wal, 24) >= '{name}' from pg_stat_archiver")


@pytest.fixture(scope="session")
def primary() -> Iterator[Primary]:
    """The server that the kinds of operation share: archiving can be made to fail by a file `stop` in the archive."""
    folder = Path(tempfile.mkdtemp(prefix="rgwal-"))
    give(folder)
    archive = folder / "archive"
    run(["mkdir", str(archive)])
    settings = {"archive_mode": "on", "archive_command": f"test ! -e {archive}/stop && cp %p {archive}/%f"}
    if has_library(find_binaries(), "pg_stat_statements"):
        settings["shared_preload_libraries"] = "pg_stat_statements"
    try:
        with PostgresServer(
            settings={"autovacuum": "off", "max_prepared_transactions": "2", "wal_level": "logical", **settings}
        ) as server:
            made = Primary(server, archive)
            made.run(f"create role watcher login password '{PASSWORD}' in role pg_monitor")
            yield made
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def base_backup(primary: Primary) -> Path:
    """A base backup of the primary, ready to start as its standby."""
    folder, server = primary.archive.with_name("base"), primary.server
    place = f"host={server.socket_dir} port={server.port} user=postgres application_name=standby1"
    run([str(server.binaries / "pg_basebackup"), "-D", str(folder), "-d", place, "-c", "fast", "-R"])
    return folder
