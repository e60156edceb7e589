"""The hash chain: each entry holds the canonical bytes of what changed and the digest of the entry before it.

The digest of an entry is `sha256(previous + "\\n" + body)`, where `previous` is the digest before it in lower case
hexadecimal; `sha256sum` is enough to check it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from pytest_releasegate.store.schema import blobs, entries
from pytest_releasegate.store.values import canonical, clean, sha256, to_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Table

__all__ = ["GENESIS", "Writing", "digest_of", "origin"]

_ORIGIN = 16

GENESIS = "0" * 64
"""What the first entry names as the one before it."""


def digest_of(previous: str, body: bytes) -> str:
    """The digest of an entry."""
    return sha256(previous.encode() + b"\n" + body)


def origin(connection: Connection) -> str:
    """What tells this record from others: the beginning of the digest of its first entry."""
    first = connection.execute(select(entries.c.digest).where(entries.c.seq == 1)).scalar()
    return str(first or GENESIS)[:_ORIGIN]


class Writing:
    """One transaction on the record: changes rows, then writes the entry that holds them."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection = connection
        self._now = to_text(now)
        self._rows: list[list[Any]] = []

    def insert(self, table: Table, values: Mapping[str, Any]) -> int:
        """Add a row and give its id; columns that are not named are null."""
        whole = {column.name: None for column in table.columns if column.name != "id"} | clean(values)
        done = self.connection.execute(insert(table).values(whole).returning(table.c.id))
        row_id = int(done.scalar_one())
        self._rows.append([table.name, row_id, whole])
        return row_id

    def update(self, table: Table, row_id: int, values: Mapping[str, Any]) -> None:
        """Change columns of a row."""
        changed = clean(values)
        self.connection.execute(update(table).where(table.c.id == row_id).values(changed))
        self._rows.append([table.name, row_id, changed])

    def blob(self, body: bytes) -> str:
        """Keep bytes under their digest, once."""
        digest = sha256(body)
        held = self.connection.execute(select(blobs.c.sha256).where(blobs.c.sha256 == digest)).scalar()
        if held is None:
            self.connection.execute(insert(blobs).values(sha256=digest, size=len(body), body=body))
        return digest

    def lost(self, digest: str, size: int) -> None:
        """Note that bytes of that digest were never kept, unless they are."""
        if self.connection.execute(select(blobs.c.sha256).where(blobs.c.sha256 == digest)).scalar() is None:
            self.connection.execute(insert(blobs).values(sha256=digest, size=size, body=None))

    def entry(self, kind: str, row_id: int, **said: str) -> None:
        """Close the transaction's changes into an entry; `said` is who and why."""
        head = self.connection.execute(
            select(entries.c.seq, entries.c.digest).order_by(entries.c.seq.desc()).limit(1)
        ).one_or_none()
        seq, previous = (head.seq + 1, head.digest) if head else (1, GENESIS)
        body = canonical(
            {"seq": seq, "at": self._now, "kind": kind, "row": row_id, "said": clean(said), "rows": self._rows}
        )
        values = {"seq": seq, "at": self._now, "kind": kind, "row_id": row_id, "body": body, "previous": previous}
        self.connection.execute(insert(entries).values(**values, digest=digest_of(previous, body)))
        self._rows = []
