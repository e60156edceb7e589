"""A real PostgreSQL for the checks that look into databases: one server a worker, databases that go with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import psycopg
import pytest

from pytest_releasegate.model import Environment
from pytest_releasegate.sources.pgserver import PostgresServer

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
end $$;
create schema public;
grant usage on schema public to public;
"""
NewDatabase = Callable[..., Environment]
Superuser = Callable[..., list[tuple[Any, ...]]]


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
