"""The database cluster of the demo: roles, schema and seed in a cached template, passwords fresh at each start."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_releasegate.sources.pgserver import PostgresServer, prepared
from releasegate_demo import migrate, population
from releasegate_demo.backups import ARCHIVING

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
DATABASE = "ehr"
SHIPPED = "002"
"""The migration the seeded database is at; what is newer waits for its release."""
LOGINS = ("authenticator", "app_owner", "releasegate_probe")
SETTINGS = {"max_connections": "100", "shared_buffers": "64MB", "log_min_messages": "error", **ARCHIVING}


def template(today: date | None = None) -> Path:
    """Return the data folder with the schema at `SHIPPED` and the seed of that day, built once a day and a package."""
    day = today or datetime.now(UTC).date()

    def build(server: PostgresServer) -> None:
        _create(server, day)

    return prepared(f"ehr-{_digest(day)}", build)


def start() -> PostgresServer:
    """Return a running server over a copy of the template."""
    return PostgresServer(template=template(), settings={**SETTINGS, **_statistics()}).start()


def _statistics() -> dict[str, str]:
    from pytest_releasegate.sources.pgserver import find_binaries, has_library

    return (
        {"shared_preload_libraries": "pg_stat_statements"} if has_library(find_binaries(), "pg_stat_statements") else {}
    )


def _digest(day: date) -> str:
    files = (
        sorted(HERE.glob("*.sql"))
        + sorted(migrate.FOLDER.glob("*.sql"))
        + [HERE / "population.py", HERE / "phrases.py"]
    )
    parts = [day.isoformat().encode(), *(path.read_bytes() for path in files), Path(__file__).read_bytes()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _statements(path: Path) -> Iterable[bytes]:
    return (part.strip().encode() for part in path.read_text().split(";") if part.strip())


def _create(server: PostgresServer, day: date) -> None:
    import psycopg

    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        for statement in _statements(HERE / "roles.sql"):
            connection.execute(statement)
        connection.execute(b"alter role app_owner password 'building'")
    owner = server.dsn(DATABASE, "app_owner", "building")
    migrate.run(owner, server.folder / "migration.log", to=SHIPPED)
    with psycopg.connect(server.dsn(DATABASE)) as connection:
        population.fill(connection, day)
    with psycopg.connect(server.dsn(DATABASE), autocommit=True) as connection:
        connection.execute(b"vacuum (analyze)")


def open_logins(server: PostgresServer) -> dict[str, str]:
    """Give each login role a new random password and return their connection URLs by role."""
    import psycopg
    from psycopg import sql

    found = {}
    with psycopg.connect(server.dsn(DATABASE), autocommit=True) as connection:
        for role in LOGINS:
            password = secrets.token_urlsafe(18)
            connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), password))
            found[role] = server.dsn(DATABASE, role, password)
        if "pg_stat_statements" in server.settings.get("shared_preload_libraries", ""):
            connection.execute(b"create schema if not exists extensions")
            connection.execute(b"create extension if not exists pg_stat_statements schema extensions")
            connection.execute(b"grant usage on schema extensions to releasegate_probe")
            connection.execute(b"alter role releasegate_probe set search_path = public, extensions")
        if connection.info.server_version >= 160000:
            # before 16 a member inherits all or nothing; the probe must inherit its reading rights
            connection.execute(
                b"grant anon, authenticated, service_role to releasegate_probe with inherit false, set true"
            )
    return found
