"""Engines over the two dialects: durable commits, one writer at a time, no surprise from the server's settings."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import create_engine, event

from pytest_releasegate.store.address import BUSY_SECONDS
from pytest_releasegate.store.schema import SCHEMA

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from pytest_releasegate.store.address import Address

__all__ = ["engine_of", "lock"]

_OWN_FOLDER = ".releasegate"
_CHAIN_LOCK = 5_283_402_119_340_517_441
"""The key of the advisory lock that stands for the head of the chain; any constant nobody else uses will do."""
WRITES = "releasegate_writes"
"""The execution option under which a transaction takes SQLite's write lock at once."""


def engine_of(where: Address, *, create: bool) -> Engine:
    """An engine over the record; raises `RecordError` where there is no file and none may be created."""
    return _sqlite(where, create=create) if where.dialect == "sqlite" else _postgresql(where)


def lock(connection: Connection) -> None:
    """Be the only writer until the transaction ends; SQLite's is that from its beginning."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CHAIN_LOCK})")


def _sqlite(where: Address, *, create: bool) -> Engine:
    _touch(where, create=create)

    def connect() -> sqlite3.Connection:
        # mode=rw: a file that vanishes must not come back empty
        uri = f"file:{quote(str(where.path))}?mode=rw"
        made = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _prepare(made)
        except BaseException:
            made.close()
            raise
        return made

    engine = create_engine("sqlite://", creator=connect, poolclass=_file_pool(), hide_parameters=True)
    event.listen(engine, "begin", _begin)
    return engine


def _file_pool() -> Any:
    from sqlalchemy.pool import QueuePool

    return QueuePool


def _touch(where: Address, *, create: bool) -> None:
    if not create and not where.path.is_file():
        raise where.error("there is no such file", "name another record, or let a run open the first release")
    try:
        where.path.parent.mkdir(parents=True, exist_ok=True)
        if where.path.exists() and not where.path.is_file():
            raise where.error("is a folder or a device, expected a file", "name a file in it")
        if where.path.parent.name == _OWN_FOLDER and not where.path.exists():
            # else the record itself would be an untracked file, and the work tree of no release clean
            (where.path.parent / ".gitignore").write_text("*\n", encoding="utf-8")
        where.path.touch(exist_ok=True)
    except OSError as error:
        what = f"cannot create the file: {error.strerror or error}"
        raise where.error(what, "name a folder that may be written to") from error


def _prepare(made: sqlite3.Connection) -> None:
    made.execute("PRAGMA foreign_keys=ON")
    made.execute("PRAGMA fullfsync=ON")
    _write_ahead(made)
    made.execute("PRAGMA synchronous=FULL")


def _write_ahead(made: sqlite3.Connection) -> None:
    # the switch does not wait for the busy timeout when two processes are the first
    deadline = time.monotonic() + BUSY_SECONDS
    while made.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            made.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not str(error.sqlite_errorname).startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: Connection) -> None:
    # a deferred transaction that writes later fails at once when another one has written meanwhile
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(where: Address) -> Engine:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    chosen = conninfo_to_dict(where.url)
    options: dict[str, Any] = {
        "connect_timeout": 10,
        "application_name": "pytest-releasegate",
        "client_encoding": "utf8",
    }

    def connect() -> psycopg.Connection[Any]:
        missing = {name: value for name, value in options.items() if name not in chosen}
        # prepared statements break behind poolers that share sessions
        return psycopg.connect(where.url, prepare_threshold=None, **missing)

    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        execution_options={"schema_translate_map": {None: SCHEMA}},
    )
