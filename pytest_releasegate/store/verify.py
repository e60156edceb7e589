"""Compares the record with its own chain, in both directions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from pytest_releasegate.store.chain import GENESIS, digest_of
from pytest_releasegate.store.schema import CHAINED, CHANGING, blobs, entries, evidence
from pytest_releasegate.store.values import canonical, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Row, Table

__all__ = ["defects"]

_SHORT = 60


class _Ledger:
    """What the entries say that each row must be, and which entry said it last."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], dict[str, Any]] = {}
        self.written: dict[tuple[str, int, str], int] = {}
        self.last: dict[tuple[str, int], int] = {}

    def take(self, seq: int, images: list[list[Any]]) -> Iterator[str]:
        """Take in the rows of one entry; one sentence for each that was not its to change."""
        for table, row_id, values in images:
            if (table, row_id) in self.last and table not in CHANGING:
                yield f"entry {seq} changes {table} row {row_id}, which entry {self.last[table, row_id]} wrote for good"
            self.rows.setdefault((table, row_id), {}).update(values)
            self.last[table, row_id] = seq
            self.written.update({(table, row_id, column): seq for column in values})


def defects(connection: Connection) -> Iterator[str]:
    """One sentence for each defect.

    A chain alone cannot show that its end was cut off together with the rows that it covered, nor that all of it was
    written anew: for that, the digest of its head must be kept elsewhere.
    """
    ledger = _Ledger()
    yield from _walk(connection, ledger)
    for table in CHAINED.values():
        yield from _compare(connection, table, ledger)
    yield from _blobs(connection)


def _walk(connection: Connection, ledger: _Ledger) -> Iterator[str]:
    seq, digest = 0, GENESIS
    for row in connection.execute(select(entries).order_by(entries.c.seq)):
        if row.seq != seq + 1:
            missing = f"entry {seq + 1} is" if row.seq == seq + 2 else f"entries {seq + 1} to {row.seq - 1} are"
            yield f"the chain breaks: {missing} missing before entry {row.seq}"
        elif row.previous != digest:
            yield f"the chain breaks at entry {row.seq}: it does not follow from entry {seq}"
        yield from _entry(row, ledger)
        seq, digest = row.seq, row.digest


def _entry(row: Row[Any], ledger: _Ledger) -> Iterator[str]:
    body = bytes(row.body)
    if digest_of(row.previous, body) != row.digest:
        yield f"entry {row.seq} ({row.kind}, {row.at}) was changed: its digest does not fit its content"
    try:
        document = json.loads(body)
        held = (document["seq"], document["at"], document["kind"], document["row"])
        yield from ledger.take(row.seq, document["rows"])
    except (ValueError, LookupError, TypeError):
        yield f"entry {row.seq} ({row.kind}, {row.at}) cannot be read"
        return
    if held != (row.seq, row.at, row.kind, row.row_id):
        yield f"entry {row.seq} was changed: its columns do not fit its content"


def _compare(connection: Connection, table: Table, ledger: _Ledger) -> Iterator[str]:
    seen = set()
    for row in connection.execute(select(table).order_by(table.c.id)):
        seen.add(row.id)
        expected = ledger.rows.get((table.name, row.id))
        if expected is None:
            yield f"{table.name} row {row.id} was inserted past the record: no entry wrote it"
        else:
            yield from _columns(table.name, row, expected, ledger)
    for (name, row_id), seq in ledger.last.items():
        if name == table.name and row_id not in seen:
            yield f"{table.name} row {row_id} was removed: entry {seq} wrote it"


def _columns(table: str, row: Row[Any], expected: dict[str, Any], ledger: _Ledger) -> Iterator[str]:
    values = {name: value for name, value in row._mapping.items() if name != "id"}  # noqa: SLF001  SQLAlchemy's public name
    actual = json.loads(canonical(values))
    for column, value in actual.items():
        if value != expected.get(column):
            seq = ledger.written.get((table, row.id, column), ledger.last[table, row.id])
            was, now = _shorten(expected.get(column)), _shorten(value)
            yield f"{table} row {row.id} was changed: {column} is {now}, entry {seq} wrote {was}"


def _shorten(value: Any) -> str:
    text = "null" if value is None else f"'{value}'"
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}...'"


def _blobs(connection: Connection) -> Iterator[str]:
    query = select(evidence.c.sha256, evidence.c.name).distinct().order_by(evidence.c.sha256)
    for row in connection.execute(query.where(evidence.c.sha256.not_in(select(blobs.c.sha256)))):
        yield f"evidence {row.sha256[:12]} ({row.name}) was removed with what is known of its bytes"
    for row in connection.execute(select(blobs).where(blobs.c.body.is_not(None)).execution_options(yield_per=50)):
        if sha256(bytes(row.body)) != row.sha256:
            yield f"evidence {row.sha256[:12]} was changed: its bytes do not fit its digest"
