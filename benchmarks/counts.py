"""Exact counts of all tables: the `snapshot` kind against what people write by hand, on the same tables."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
from psycopg import IsolationLevel

from benchmarks._database import NAMES, arguments, filled, interleaved
from pytest_releasegate.checks.snapshot import Snapshot
from pytest_releasegate.model import Status
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Count in turn in each way, and print the ratio to the fastest hand-written one."""
    given = arguments()
    with filled(given.rows, "app") as (server, environment):
        dsn = server.dsn("app")

        def ours() -> int:
            seen = look(Snapshot(), environment)
            assert seen.status is Status.PASSED, seen.message
            return sum(seen.kept["row_counts/app/before"]["tables"].values())

        ways: dict[str, Callable[[], int]] = {
            "the snapshot kind, all in all": ours,
            "one connection, one table after the other": lambda: one_by_one(dsn),
            "the same without parallel workers": lambda: one_by_one(dsn, workers=0),
            "two connections that share a snapshot": lambda: shared_by_two(dsn),
            "the same without parallel workers ": lambda: shared_by_two(dsn, workers=0),
            "UNION ALL with workers": lambda: in_one(dsn),
        }
        totals = {way() for way in ways.values()}
        assert len(totals) == 1, totals
        print(f"counts: {totals.pop()} rows in {len(NAMES)} tables")
        medians = interleaved(ways, given.rounds)
    mine, *others = medians.values()
    print(f"counts: ours / fastest by hand = {mine / min(others):.3f} (medians; wanted <= 1.15)")


def opened(dsn: str, workers: int) -> psycopg.Connection:
    """A connection in a transaction that only reads."""
    connection = psycopg.connect(dsn, options=f"-c max_parallel_workers_per_gather={workers}")
    connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
    return connection


def count(connection: psycopg.Connection, name: str) -> int:
    """The rows of one table."""
    row = connection.execute(f"select count(*) from {name}").fetchone()
    return int(row[0]) if row else 0


def one_by_one(dsn: str, workers: int = 2) -> int:
    """One statement a table."""
    with opened(dsn, workers) as connection:
        return sum(count(connection, name) for name in NAMES)


def shared_by_two(dsn: str, workers: int = 2) -> int:
    """Two threads take the biggest table that is left."""
    with opened(dsn, workers) as first, opened(dsn, workers) as second:
        row = first.execute("select pg_export_snapshot()").fetchone()
        second.execute(f"set transaction snapshot '{row[0] if row else ''}'")
        names = iter(NAMES)
        with ThreadPoolExecutor(2) as pool:
            return sum(pool.map(lambda connection: sum(count(connection, name) for name in names), (first, second)))


def in_one(dsn: str) -> int:
    """All tables in one statement."""
    text = " union all ".join(f"select count(*) from {name}" for name in NAMES)
    with opened(dsn, workers=2) as connection:
        return sum(row[0] for row in connection.execute(text))
