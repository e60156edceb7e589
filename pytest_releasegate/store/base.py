"""Transactions on the record, with every failure said clearly."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from pytest_releasegate.store.address import explain
from pytest_releasegate.store.chain import Writing
from pytest_releasegate.store.engine import WRITES, lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from pytest_releasegate.check import Clock
    from pytest_releasegate.store.address import Address

__all__ = ["Base"]


class Base:
    """An open record; all its methods raise `RecordError` when the database fails."""

    def __init__(self, engine: Engine, where: Address, clock: Clock) -> None:
        self.url = where.url
        self.shown_url = where.shown
        self._address = where
        self._clock = clock
        self._engine = engine
        self._writer = engine.execution_options(**{WRITES: True})
        self._file = self._identity()

    def __repr__(self) -> str:
        return f"Store({self.shown_url!r})"

    @contextmanager
    def _writing(self) -> Iterator[Writing]:
        self._still_there()
        try:
            with self._writer.begin() as connection:
                lock(connection)
                yield Writing(connection, self._clock.now())
        except SQLAlchemyError as error:
            raise explain(error, self._address) from error

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._still_there()
        # one snapshot for all statements of a reading; SQLite gives that anyway
        options = {"isolation_level": "REPEATABLE READ"} if self._address.dialect == "postgresql" else {}
        try:
            with self._engine.connect().execution_options(**options) as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise explain(error, self._address) from error

    def _identity(self) -> tuple[int, int] | None:
        if self._address.dialect == "postgresql":
            return None
        try:
            stat = self._address.path.stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino

    def _still_there(self) -> None:
        # SQLite goes on writing into a file that was removed or replaced, and all of it is lost
        if self._identity() != self._file:
            raise self._address.error("the file was removed or replaced while it was in use", "put it back")
