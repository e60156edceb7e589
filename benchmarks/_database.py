"""The database that the database's benchmarks look into: twenty tables of very unequal size in a scratch server."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from pytest_releasegate.model import Environment
from pytest_releasegate.sources.pgserver import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROWS = 10_000_000
SHARES = (24, 16, 12, 10, 8, 6, 5, 4, 3, 3, 2, 2, 1, 1, 1, 0.8, 0.6, 0.4, 0.15, 0.05)
"""How many percent of all rows each table holds."""
TABLE = """
create table {name} (id bigint primary key, client_id int not null, at timestamptz not null, kind text not null,
    amount numeric(8, 2), note text, done boolean not null);
insert into {name} select i, i % 50000, '2026-01-01'::timestamptz + i * interval '1 second', 'kind ' || i % 7,
    case when i % 11 > 0 then (i % 10000) / 100.0 end, case when i % 3 > 0 then 'note ' || md5(i::text) end, i % 2 = 0
from generate_series(1, {rows}) i;
"""
NAMES = tuple(f"t{place:02}" for place in range(len(SHARES)))


def arguments() -> argparse.Namespace:
    """The size and the rounds, after the benchmark's name: `python -m benchmarks counts 200000`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*")
    words = parser.parse_args().words
    number = next((int(word) for word in words if word.isdecimal()), ROWS)
    return argparse.Namespace(rows=number, rounds=5)


@contextmanager
def filled(rows: int, *names: str) -> Iterator[tuple[PostgresServer, Environment]]:
    """A server with one such database by each name, vacuumed and analysed."""
    with PostgresServer(settings={"shared_buffers": "1GB", "max_wal_size": "8GB", "autovacuum": "off"}) as server:
        first, *others = names
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(f"create database {first}")
        with psycopg.connect(server.dsn(first), autocommit=True) as connection:
            for name, share in zip(NAMES, SHARES, strict=True):
                connection.execute(TABLE.format(name=name, rows=max(1, int(rows * share / 100))))
            connection.execute("vacuum analyze")
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            for name in others:
                connection.execute(f"create database {name} template {first} strategy file_copy")
        yield server, Environment(name="bench", databases={name: server.dsn(name) for name in names})


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Do each way in turn, so often, and print its median and least; the medians in seconds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(timed(way))
    for name, values in times.items():
        print(f"  {name:44} median {1000 * statistics.median(values):8.0f} ms, least {1000 * min(values):8.0f}")
    sys.stdout.flush()
    return {name: statistics.median(values) for name, values in times.items()}


def timed(way: Callable[[], object]) -> float:
    """Seconds of one time."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start
