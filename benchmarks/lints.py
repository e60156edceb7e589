"""All lints of a schema over a hundred tables, with policies, functions, indexes and keys: below 100 ms together."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from pytest_releasegate.check import Context, Secrets
from pytest_releasegate.model import Environment, Release
from pytest_releasegate.sources.pglints import LINTS, Report, Scope, inspect
from pytest_releasegate.sources.pgserver import PostgresServer
from pytest_releasegate.sources.postgres import connect

TABLES = 100
ROUNDS = 15
SETUP = """
create role anon nologin; create role authenticated nologin; create role probe login bypassrls;
create schema auth; grant usage on schema auth to public;
create function auth.uid() returns uuid language sql stable set search_path = '' as 'select null::uuid';
"""
TABLE = """
create table t{n} (id bigint generated always as identity primary key, parent bigint references t{parent},
    owner uuid not null, code text unique, at timestamptz not null, note text, amount numeric check (amount > 0));
create index on t{n} (parent); create index on t{n} (owner, at);
alter table t{n} enable row level security;
create policy reads on t{n} for select to authenticated using (owner = (select auth.uid()));
create policy adds on t{n} for insert to authenticated with check (owner = (select auth.uid()));
create policy changes on t{n} for update to authenticated using (owner = auth.uid());
grant select, insert, update on t{n} to authenticated;
create view v{n} with (security_invoker) as select id, owner from t{n};
create function f{n}(a bigint) returns bigint language sql set search_path = '' as 'select a';
"""


def main() -> None:
    """Print the median and the least of several looks, each with its connection, and without."""
    with PostgresServer(settings={"autovacuum": "off"}) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(SETUP)
            for number in range(TABLES):
                connection.execute(TABLE.format(n=number, parent=max(0, number - 1)).encode())
        whole, alone, report = _times(server.dsn())
    numbers = ", ".join(f"{number} {what}" for what, number in report.numbers.items())
    print(f"lints: {len(report.lints)} over {numbers}; {len(report.issues)} issues")
    for name, values in (("with the connection", whole), ("the lints alone", alone)):
        print(f"{name:19}: median {1000 * statistics.median(values):5.1f} ms, least {1000 * min(values):5.1f} ms")


def _times(dsn: str) -> tuple[list[float], list[float], Report]:
    whole, alone = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        with connect(_context(dsn)) as connection:
            inside = time.perf_counter()
            report = inspect(connection, LINTS, Scope(api_schemas=("public",)))
            alone.append(time.perf_counter() - inside)
        whole.append(time.perf_counter() - start)
    return whole, alone, report


def _context(dsn: str) -> Context:
    environment = Environment(name="bench", databases={"app": dsn})
    release = Release(product="p", version="1", environment="bench", opened_at=datetime.now(UTC))
    return Context(environment, release, Path.cwd(), secrets=Secrets({}))
