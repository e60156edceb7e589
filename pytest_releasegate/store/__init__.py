"""The record on SQLite or PostgreSQL; nothing heavy is imported before `open_store` is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_releasegate.check import Clock
    from pytest_releasegate.store.people import AuditLog
    from pytest_releasegate.store.record import Store

__all__ = ["AuditLog", "Store", "open_store"]


def open_store(url: str, *, create: bool = True, clock: Clock | None = None) -> Store:
    """Open the record at `sqlite:////absolute/path/record.db` or `postgresql://...`, migrated to the newest schema.

    Raises `RecordError` when that is impossible, and when `create` is false and there is no record.
    """
    from pytest_releasegate.store.record import connect

    return connect(url, create=create, clock=clock)


def __getattr__(name: str) -> object:
    if name == "Store":
        from pytest_releasegate.store.record import Store

        return Store
    if name == "AuditLog":
        from pytest_releasegate.store.people import AuditLog

        return AuditLog
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
