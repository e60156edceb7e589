"""The record in PostgreSQL instead of a file: the same runs, the same words, everything in one schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_releasegate.sources.pgserver import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

GATES = [f"id: g{number}, title: Gate {number}, document: NOTES.md" for number in range(6)]


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    """A database of its own."""
    with PostgresServer(fsync=False) as server:
        yield server.dsn()


def test_a_run_with_workers_is_recorded_in_the_schema(product, dsn):
    product.gates("predeploy", *GATES)
    ran = product.pytest("-m", "predeploy", "-n2", RELEASEGATE_RECORD=dsn)
    assert (ran.code, ran.has("phase predeploy: GO")) == (0, True), ran.out
    with psycopg.connect(dsn) as connection:
        tables = connection.execute("select distinct table_schema from information_schema.tables").fetchall()
        rows = connection.execute("select count(*) from releasegate.gate_results").fetchone()
    assert (rows, ("releasegate",) in tables) == ((6,), True)
    assert not (product.root / ".releasegate" / "record.db").exists()
    password = psycopg.conninfo.conninfo_to_dict(dsn)["password"]
    assert password not in ran.out
    seen = product.releasegate("status", "--exit-code", "--phase", "predeploy", RELEASEGATE_RECORD=dsn)
    assert (seen.code, password in seen.out) == (0, False)
    assert product.releasegate("verify", RELEASEGATE_RECORD=dsn).code == 0
