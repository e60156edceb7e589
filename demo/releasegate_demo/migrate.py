"""Migrations in plain SQL: `migrations/NNN_name.up.sql` and `.down.sql`, each in one transaction with its record."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

FOLDER = Path(__file__).with_name("migrations")
RECORD = b"""
create table if not exists public.schema_migrations (
  version text primary key,
  name text not null,
  applied_at timestamptz not null default clock_timestamp(),
  duration_ms integer not null check (duration_ms >= 0),
  checksum text not null
);
alter table public.schema_migrations enable row level security;
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema, with its way back."""

    version: str
    name: str

    @property
    def up(self) -> bytes:
        """The SQL that applies it."""
        return (FOLDER / f"{self.version}_{self.name}.up.sql").read_bytes()

    @property
    def down(self) -> bytes:
        """The SQL that takes it back."""
        return (FOLDER / f"{self.version}_{self.name}.down.sql").read_bytes()

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL that applies it."""
        return hashlib.sha256(self.up).hexdigest()


def known() -> list[Migration]:
    """Return all migrations of the package, oldest first."""
    stems = sorted(path.name.removesuffix(".up.sql") for path in FOLDER.glob("*.up.sql"))
    return [Migration(*stem.split("_", 1)) for stem in stems]


def applied(connection: psycopg.Connection) -> list[str]:
    """Return the versions the database says it has, oldest first."""
    row = connection.execute("select to_regclass('public.schema_migrations')").fetchone()
    if row is None or row[0] is None:
        return []
    return [version for (version,) in connection.execute("select version from public.schema_migrations order by 1")]


def run(dsn: str, log: Path, direction: str = "up", to: str | None = None) -> list[str]:
    """Apply what is pending up to `to`, or revert down to `to` (one step when None); return the versions moved.

    A migration that fails is rolled back, logged, and raised as psycopg's own error.
    """
    import psycopg

    if direction not in ("up", "down"):
        raise ValueError(f"direction: expected 'up' or 'down', got {direction!r}")
    with psycopg.connect(dsn, autocommit=True, application_name="ehr-migrate") as connection:
        connection.execute("set client_min_messages = warning")
        connection.execute(RECORD)
        steps = _steps(applied(connection), direction, to)
        for step in steps:
            _move(connection, step, direction, log)
    return [step.version for step in steps]


def _steps(done: list[str], direction: str, to: str | None) -> list[Migration]:
    everything = known()
    if to is not None and to not in {"000", *(step.version for step in everything)}:
        raise ValueError(f"to: expected one of {[step.version for step in everything]}, got {to!r}")
    if direction == "up":
        return [step for step in everything if step.version not in done and (to is None or step.version <= to)]
    backwards = [step for step in reversed(everything) if step.version in done]
    return backwards[:1] if to is None else [step for step in backwards if step.version > to]


def _move(connection: psycopg.Connection, step: Migration, direction: str, log: Path) -> None:
    import psycopg

    write(log, "info", "migration started", step, direction)
    start = time.monotonic()
    try:
        with connection.transaction():
            connection.execute(step.up if direction == "up" else step.down)
            _record(connection, step, direction, round((time.monotonic() - start) * 1000))
    except psycopg.Error as error:
        write(log, "error", "migration failed", step, direction, error=str(error).split("\n", 1)[0])
        raise
    write(log, "info", "migration finished", step, direction, ms=round((time.monotonic() - start) * 1000))


def _record(connection: psycopg.Connection, step: Migration, direction: str, duration: int) -> None:
    if direction == "down":
        connection.execute("delete from public.schema_migrations where version = %s", [step.version])
        return
    connection.execute(
        "insert into public.schema_migrations (version, name, duration_ms, checksum) values (%s, %s, %s, %s)",
        [step.version, step.name, duration, step.checksum],
    )


def write(log: Path, level: str, event: str, step: Migration, direction: str, **more: object) -> None:
    """Append one line to the migration log."""
    line = {
        "ts": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "event": event,
        "version": step.version,
        "name": step.name,
        "direction": direction,
        **more,
    }
    with log.open("a") as file:
        file.write(json.dumps(line) + "\n")
