"""The backfill of release 1.4.0: who has no preferred name yet gets the first one, in batches that are written down."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

SIZE = 200
PROGRESS = b"""
create schema if not exists ops;
create table if not exists ops.backfill_batches (
  job text not null,
  batch integer not null,
  rows integer not null,
  started_at timestamptz not null,
  finished_at timestamptz not null default clock_timestamp(),
  error text,
  primary key (job, batch)
);
"""
JOB = "preferred_name"
BATCH = """
with todo as (
  select id from public.clients where preferred_name is null order by id limit %s for update skip locked
)
update public.clients c set preferred_name = c.first_name from todo where c.id = todo.id
"""


def run(dsn: str, log: Path, size: int = SIZE, pause: float = 0.0) -> int:
    """Fill what is empty, `pause` seconds between two batches; return the number of rows."""
    import psycopg

    with psycopg.connect(dsn, autocommit=True, application_name="ehr-backfill") as connection:
        connection.execute("set client_min_messages = warning")
        connection.execute(PROGRESS)
        row = connection.execute("select count(*) from ops.backfill_batches where job = %s", [JOB]).fetchone()
        number, total = row[0] if row else 0, 0
        write(log, "backfill started", job=JOB, batch_size=size)
        while rows := _batch(connection, number + 1, size):
            number, total = number + 1, total + rows
            write(log, "batch finished", job=JOB, batch=number, rows=rows)
            time.sleep(pause)
        write(log, "backfill finished", job=JOB, rows_total=total, errors=0)
    return total


def _batch(connection: psycopg.Connection, number: int, size: int) -> int:
    with connection.transaction():
        began = datetime.now(UTC)
        rows = connection.execute(BATCH, [size]).rowcount
        if rows:
            connection.execute(
                "insert into ops.backfill_batches (job, batch, rows, started_at) values (%s, %s, %s, %s)",
                [JOB, number, rows, began],
            )
    return rows


def write(log: Path, event: str, **more: object) -> None:
    """Append one line to the log."""
    line = {"ts": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": "info", "event": event, **more}
    with log.open("a") as file:
        file.write(json.dumps(line) + "\n")
