"""One look at a table for all gates of a step that want numbers of it, so that costs grow with the data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.postgres import bound, database_name, said_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["COUNT", "Numbers", "Want", "Wants", "also_wanted", "measured", "offer"]

COUNT = "count(*)"
FRESH_SECONDS = 30.0
"""How old a number of another gate of the same step may be."""
SCAN_SECONDS = 300.0
_MOST_COLUMNS = 1600
_SUBQUERY = re.compile(r"\bselect\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Want:
    """What a gate wants to know of a table: its number of rows, and aggregates over all or those that `where` keeps."""

    table: Table
    where: str = ""
    aggregates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Numbers:
    """What one scan of a table gave, by aggregate; when, and whether another gate had it made."""

    values: Mapping[str, Any] = field(repr=False)
    at: datetime
    borrowed: bool = False

    @property
    def rows(self) -> int:
        """How many rows there were."""
        return int(self.values[COUNT])

    @property
    def when(self) -> str:
        """When it was, where that was not now."""
        return f", as another gate of this step saw at {self.at:%H:%M:%S} UTC" if self.borrowed else ""


@runtime_checkable
class Wants(Protocol):
    """A check that tells beforehand what it wants of which table, and takes the number that another has made."""

    database: str

    def wants(self, connection: psycopg.Connection[Any]) -> Sequence[Want]:
        """What it wants; raises `CannotLook` where it cannot say."""
        ...


def measured(
    connection: psycopg.Connection[Any], context: Context, database: str, wants: Sequence[Want]
) -> list[Numbers]:
    """The numbers of each want, in their order: one scan a table, for all gates of the step together.

    A number of another gate is taken where it is of this run and step, nothing that writes ran since, and it is at
    most thirty seconds old.
    """
    # all is as of the transaction's snapshot, however long the scans take
    now, at = context.clock.monotonic(), context.clock.now()
    return [_numbers(connection, context, database, want, now, at) for want in wants]


def also_wanted(connection: psycopg.Connection[Any], context: Context, database: str, want: Want) -> list[str]:
    """The aggregates that gates of the step want of the same rows, to be counted in the same scan."""
    others = [one for one in _others(connection, context, database) if _key(database, one) == _key(database, want)]
    wanted = [text for one in others for text in one.aggregates if not _SUBQUERY.search(text)]
    return list(dict.fromkeys(wanted))


def offer(context: Context, database: str, want: Want, numbers: Numbers, since: float) -> None:
    """Let the other gates of the step take the numbers of a scan that began at that instant of the monotonic clock."""
    context.shared.see(_key(database, want), numbers, since)


def _numbers(
    connection: psycopg.Connection[Any], context: Context, database: str, want: Want, now: float, at: datetime
) -> Numbers:
    wanted = list(dict.fromkeys([COUNT, *want.aggregates]))
    held: Numbers | None = context.shared.seen(_key(database, want), now - FRESH_SECONDS)
    if held and {*wanted} <= held.values.keys():
        return Numbers(held.values, held.at, borrowed=True)
    every = list(dict.fromkeys([*wanted, *also_wanted(connection, context, database, want)]))
    numbers = Numbers(_scan(connection, context, want, wanted, every[: max(_MOST_COLUMNS, len(wanted))]), at)
    offer(context, database, want, numbers, now)
    return numbers


def _key(database: str, want: Want) -> tuple[str, str, str, str]:
    return "numbers", database, want.table.sql, want.where


def _others(connection: psycopg.Connection[Any], context: Context, database: str) -> list[Want]:
    """What all checks of the step want of the database; asked once."""
    key = ("wants", database)
    known: list[Want] | None = context.shared.seen(key, 0.0)
    if known is None:
        known = [want for check in context.shared.checks for want in _of(check, connection, context, database)]
        context.shared.see(key, known, context.clock.monotonic())
    return known


def _of(check: Any, connection: psycopg.Connection[Any], context: Context, database: str) -> Sequence[Want]:
    import psycopg

    try:
        if not isinstance(check, Wants) or database_name(context, check.database) != database:
            return ()
        with connection.transaction():
            return check.wants(connection)
    except (CannotLook, psycopg.DatabaseError):
        # what is wrong with another gate is for that gate to say
        return ()


def _scan(
    connection: psycopg.Connection[Any], context: Context, want: Want, wanted: list[str], every: list[str]
) -> dict[str, Any]:
    import psycopg

    if every != wanted:
        try:
            with connection.transaction():
                return _select(connection, context, want, every, context.remaining(SCAN_SECONDS) / 2)
        except (CannotLook, psycopg.DatabaseError):
            # a predicate of another gate may be at fault: look for this one alone
            return _select(connection, context, want, wanted, SCAN_SECONDS)
    return _select(connection, context, want, wanted, SCAN_SECONDS)


def _select(
    connection: psycopg.Connection[Any], context: Context, want: Want, aggregates: list[str], at_most: float
) -> dict[str, Any]:
    import psycopg

    where = f" where (\n{want.where}\n)" if want.where else ""
    text = f"{', '.join(aggregates)} from {want.table.source}{where}".replace("%", "%%")
    bound(connection, context, at_most)
    try:
        # a bound parameter makes psycopg use the extended protocol, which takes one statement only
        (row,) = connection.execute(f"select %s::int, {text}".encode(), [0]).fetchall()
    except psycopg.DatabaseError as error:
        if (error.sqlstate or "")[:2] not in ("22", "42") or isinstance(error, psycopg.errors.InsufficientPrivilege):
            raise
        what = f"{want.table.label}: {said_by(error)} (SQLSTATE {error.sqlstate})"
        raise CannotLook(what, "correct what the gate asks of that table") from None
    return dict(zip(aggregates, row[1:], strict=True))
