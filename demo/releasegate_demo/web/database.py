"""A small connection pool; each transaction says who is asking, and row-level security does the rest."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = dict[str, Any]
Connection = psycopg.Connection[Row]
WAIT_SECONDS = 5.0


class PoolTimeoutError(RuntimeError):
    """No connection became free in time."""


class Pool:
    """At most `size` connections, opened when first needed, checked when they come back."""

    def __init__(self, dsn: str, size: int = 44) -> None:
        self._dsn = dsn
        self.size = size
        self._free: queue.LifoQueue[Connection | None] = queue.LifoQueue()
        for _ in range(size):
            self._free.put(None)
        self._lock = threading.Lock()
        self.open = 0
        self.waiting = 0

    @property
    def in_use(self) -> int:
        """How many connections are lent."""
        return self.size - self._free.qsize()

    @contextlib.contextmanager
    def session(self, role: str, claims: dict[str, str] | None = None) -> Iterator[Connection]:
        """Lend a connection in a transaction as that role; it ends with the block, rolled back after an error."""
        connection = self._take()
        try:
            with connection.transaction():
                connection.execute(
                    "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
                    [role, json.dumps(claims or {})],
                )
                yield connection
        finally:
            self._give(connection)

    def _take(self) -> Connection:
        with self._lock:
            self.waiting += 1
        try:
            connection = self._free.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            raise PoolTimeoutError(f"none of {self.size} connections free after {WAIT_SECONDS:g} s") from None
        finally:
            with self._lock:
                self.waiting -= 1
        return connection if connection is not None else self._connect()

    def _connect(self) -> Connection:
        try:
            made = psycopg.connect(self._dsn, autocommit=True, row_factory=dict_row, application_name="ehr-web")
        except psycopg.Error:
            self._free.put(None)
            raise
        with self._lock:
            self.open += 1
        return made

    def _give(self, connection: Connection) -> None:
        if connection.closed or connection.broken:
            with self._lock:
                self.open -= 1
            self._free.put(None)
        else:
            self._free.put(connection)

    def close(self) -> None:
        """Close the connections that nobody has; the pool opens others when asked."""
        for _ in range(self.size):
            connection = self._free.get_nowait()
            if connection is not None:
                connection.close()
                self.open -= 1
        for _ in range(self.size):
            self._free.put(None)
