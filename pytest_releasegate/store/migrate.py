"""Brings a record to the newest schema; Alembic is imported only when there is something to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from pytest_releasegate.store.engine import WRITES, lock
from pytest_releasegate.store.schema import HEAD, REVISIONS, SCHEMA, VERSION_TABLE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from pytest_releasegate.store.address import Address

__all__ = ["migrate", "upgrade", "version_of"]

FOLDER = Path(__file__).with_name("migrations")


def migrate(engine: Engine, where: Address, *, create: bool) -> None:
    """Migrate to head; raises `RecordError` for a schema of a newer version and for a database of something else."""
    with engine.begin() as connection:
        if _is_current(connection, where, create=create):
            return
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        lock(connection)
        # another process may have done it while this one waited
        if not _is_current(connection, where, create=create):
            upgrade(connection)


def version_of(connection: Connection) -> str | None:
    """The revision of the record, or None where there is none yet."""
    if connection.dialect.name == "postgresql":
        known = connection.exec_driver_sql(f"SELECT to_regclass('{SCHEMA}.{VERSION_TABLE}')").scalar()
        table = f"{SCHEMA}.{VERSION_TABLE}"
    else:
        known = connection.execute(
            text("SELECT name FROM sqlite_master WHERE type = 'table' AND name = :name"), {"name": VERSION_TABLE}
        ).scalar()
        table = VERSION_TABLE
    if known is None:
        return None
    found: str | None = connection.exec_driver_sql(f"SELECT version_num FROM {table}").scalar()  # noqa: S608
    return found


def _is_current(connection: Connection, where: Address, *, create: bool) -> bool:
    version = version_of(connection)
    if version == HEAD:
        return True
    if version is None:
        if not create:
            raise where.error("there is no record in this database", "let a run open the first release")
        if connection.dialect.name == "sqlite" and (names := inspect(connection).get_table_names()):
            raise where.error(
                f"the file is a database of something else (it holds {', '.join(names[:3])})", "name another file"
            )
    elif version not in REVISIONS:
        raise where.error(
            f"its schema is {version}, newer than this version knows ({HEAD})", "upgrade pytest-releasegate"
        )
    return False


def upgrade(connection: Connection, revision: str = HEAD) -> None:
    """Bring the record up to the revision."""
    from alembic import command
    from alembic.config import Config

    if connection.dialect.name == "postgresql" and not inspect(connection).has_schema(SCHEMA):
        connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
