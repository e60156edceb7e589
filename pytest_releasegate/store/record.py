"""The record as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from pytest_releasegate.check import SystemClock
from pytest_releasegate.store.address import address, explain
from pytest_releasegate.store.engine import engine_of
from pytest_releasegate.store.migrate import migrate
from pytest_releasegate.store.sharing import Sharing
from pytest_releasegate.store.verify import defects

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_releasegate.check import Clock

__all__ = ["Store", "connect"]


class Store(Sharing):
    """The record of all releases; append-only and chained by hash. Open it by `open_store`."""

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def verify(self) -> list[str]:
        """Compare tables and chain in both directions; one sentence for each defect, none when all is intact.

        What a chain alone cannot show: that its newest entries were cut off together with the rows they wrote, or that
        someone wrote all of it anew. Only a copy of its newest digest kept elsewhere (`head`) shows that.
        """
        with self._reading() as connection:
            return list(defects(connection))

    def head(self) -> tuple[int, str]:
        """The number and digest of the newest entry, to be kept elsewhere; (0, ...) for an empty record."""
        from sqlalchemy import select

        from pytest_releasegate.store.chain import GENESIS
        from pytest_releasegate.store.schema import entries

        newest = select(entries.c.seq, entries.c.digest).order_by(entries.c.seq.desc()).limit(1)
        with self._reading() as connection:
            found = connection.execute(newest).one_or_none()
        return (found.seq, found.digest) if found else (0, GENESIS)


def connect(url: str, *, create: bool = True, clock: Clock | None = None) -> Store:
    """Open the record and migrate it to the newest schema; raises `RecordError`."""
    where = address(url)
    engine = engine_of(where, create=create)
    try:
        migrate(engine, where, create=create)
    except SQLAlchemyError as error:
        engine.dispose()
        raise explain(error, where) from error
    except BaseException:
        engine.dispose()
        raise
    return Store(engine, where, clock or SystemClock())
