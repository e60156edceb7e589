"""Two databases side by side: rows and checksums by one scan a side, then only the keys of the parts that differ."""

# ruff: noqa: S608  identifiers are quoted, values are bound, and predicates are the gate's own text
from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.sources.keydiff import Keys, walked
from pytest_releasegate.sources.pgcontent import Buckets, as_text_always, layouts, mixed, row_hash
from pytest_releasegate.sources.pgcounts import Asked, bounds, measure
from pytest_releasegate.sources.pgmonitor import series
from pytest_releasegate.sources.pgscan import SCAN_SECONDS, shared, together
from pytest_releasegate.sources.postgres import address, bound

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgcontent import Column, Layout
    from pytest_releasegate.sources.pgcounts import Content, Told
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Pair", "differences", "pair"]

_MOST_PARTS = 16384
_PART_SIZE = 1024
_FETCH = 20_000
_FINER = 32
_Result = TypeVar("_Result")


class _OfTheOther(Exception):
    """Carries an error past the connection that did not raise it."""

    def __init__(self, error: Exception) -> None:
        self.error = error


@dataclass(frozen=True, slots=True)
class Pair:
    """A connection to each of two databases."""

    context: Context
    names: tuple[str, str]
    connections: tuple[psycopg.Connection[Any], psycopg.Connection[Any]]

    def both(self, job: Callable[[int, psycopg.Connection[Any]], _Result]) -> list[_Result]:
        """Do the same on both sides at once; the job is told which side it is on."""
        first, second = self.connections
        return together(self.connections, [partial(_carried, job, 0, first), partial(job, 1, second)])


@contextmanager
def pair(context: Context, before: str, after: str) -> Iterator[Pair]:
    """A read-only look into two databases at once, one connection each."""
    same = CannotLook(
        f"'{before}' and '{after}' are one database, which is always like itself", "correct their connection strings"
    )
    if address(context, before) == address(context, after):
        raise same
    with shared(context, before, connections=1) as (first,):
        try:
            with shared(context, after, connections=1) as (second,):
                if series(first) == series(second):
                    raise same
                yield Pair(context, (before, after), (first, second))
        except _OfTheOther as carried:
            raise carried.error from None


def differences(
    both: Pair,
    tables: Sequence[Mapping[str, Table]],
    where: Mapping[str, str],
    without: Mapping[str, Sequence[str]],
    content: Collection[str],
) -> tuple[dict[str, int], dict[str, int], dict[str, Told]]:
    """The rows of each table on both sides, and what is to be said of the content of those in `content`."""
    common = sorted(label for label in content if label in tables[0] and label in tables[1])
    shapes = [
        layouts(connection, [side[label] for label in common])
        for connection, side in zip(both.connections, tables, strict=True)
    ]
    as_text_always(both.connections)
    views = {label: _View.of(label, shapes[0][label], shapes[1][label], without.get(label, ())) for label in common}

    def count(side: int, connection: psycopg.Connection[Any]) -> dict[str, Content]:
        asked = [
            Asked(table, where.get(label, ""), views[label].columns[side] if label in views else ())
            for label, table in tables[side].items()
        ]
        return measure(both.context, [connection], asked)

    found = both.both(count)
    bad = [label for label in common if _differs(found, label)]
    keys = _located(both, tables, where, {label: views[label] for label in bad if views[label].key})
    told = {label: view.told(both.names, differs=label in bad, keys=keys.get(label)) for label, view in views.items()}
    rows = [{label: each.rows for label, each in side.items()} for side in found]
    return rows[0], rows[1], told


@dataclass(frozen=True, slots=True)
class _View:
    """What two tables of one name have in common: columns of each side in the same order, and the primary key."""

    columns: tuple[tuple[Column, ...], tuple[Column, ...]]
    key: tuple[str, ...]
    integer: str
    apart: tuple[str, ...]
    """What is not compared, in words."""
    turned: bool
    """Whether a column is not compared because its types cannot be."""

    @classmethod
    def of(cls, label: str, first: Layout, second: Layout, without: Sequence[str]) -> _View:
        """The columns of both but those to leave out."""
        every = first.by_name.keys() | second.by_name.keys()
        if unknown := sorted({*without} - every):
            raise CannotLook(
                f"`without` names a column '{unknown[0]}', which {label} has not", nearest(unknown[0], list(every))
            )
        names = (first.by_name.keys() & second.by_name.keys()) - {*without}
        turned = sorted(n for n in names if first.by_name[n].family != second.by_name[n].family)
        one = sorted(every - names - {*without})
        apart = [f"column {name}: only on one side" for name in one]
        apart += [f"column {n}: {first.by_name[n].type} and {second.by_name[n].type}" for n in turned]
        same = names - {*turned}
        key = first.key if first.key == second.key and {*first.key} <= same else ()
        integer = first.integer_key if key and first.integer_key == second.integer_key else ""
        return cls((first.only(same), second.only(same)), key, integer, tuple(apart), bool(turned))

    def hashed_key(self, side: int, seed: int = 0) -> str:
        """The hash of a row's primary key on one side."""
        return row_hash([column for column in self.columns[side] if column.name in self.key], seed)

    def told(self, sides: tuple[str, str], *, differs: bool, keys: Keys | None) -> Told:
        """The verdict on the content, in words."""
        apart = f" (not compared: {'; '.join(self.apart)})" if self.apart else ""
        if not self.columns[0]:
            return Ok.CANNOT_TELL, f"no column that both sides have and the gate compares{apart}"
        if not differs:
            return (Ok.CANNOT_TELL if self.turned else Ok.YES), f"the same content{apart}"
        where = keys.told(self.key[0], sides) if keys else "no primary key that both sides share says where"
        return Ok.NO, f"the content differs: {where}{apart}"


def _located(
    both: Pair, tables: Sequence[Mapping[str, Table]], where: Mapping[str, str], views: Mapping[str, _View]
) -> dict[str, Keys]:
    """The differing keys of the tables: checksums by parts of the key, then the hashes of the rows of the bad parts."""
    if not views:
        return {}
    keyed = [(label, view.integer) for label, view in views.items() if view.integer]
    ends = both.both(
        lambda side, connection: bounds(
            both.context, [connection], [(tables[side][label], key) for label, key in keyed]
        )
    )
    cuts = {label: _cuts(view, [side.get(label, (None, None)) for side in ends]) for label, view in views.items()}

    def by_parts(side: int, connection: psycopg.Connection[Any]) -> dict[str, Content]:
        asked = [
            Asked(tables[side][label], where.get(label, ""), view.columns[side], buckets=cuts[label][side])
            for label, view in views.items()
        ]
        return measure(both.context, [connection], asked)

    found = both.both(by_parts)
    keys = {}
    for label, view in views.items():
        pairs = (tables[0][label], tables[1][label])
        search = _Search(both, pairs, where.get(label, ""), view, cuts[label])
        keys[label] = search.keys(_bad(*(side[label].parts for side in found)))
    return keys


def _cuts(view: _View, ends: Sequence[tuple[int | None, int | None]]) -> tuple[Buckets, Buckets]:
    """The same parts of the key for both sides."""
    low = min((low for low, _ in ends if low is not None), default=None)
    high = max((high for _, high in ends if high is not None), default=None)
    if made := Buckets.between(view.integer, low, high, _MOST_PARTS, _PART_SIZE):
        cut = replace(made, closed=True)
        return cut, cut
    return Buckets(view.hashed_key(0), _MOST_PARTS), Buckets(view.hashed_key(1), _MOST_PARTS)


def _bad(before: Mapping[int, object], after: Mapping[int, object]) -> list[int]:
    return sorted(part for part in before.keys() | after.keys() if before.get(part) != after.get(part))


def _array(numbers: Sequence[int | None]) -> str:
    return f"'{{{','.join(map(str, numbers))}}}'::bigint[]"


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for the differing keys of one table, in the parts of the key that differ."""

    both: Pair
    tables: tuple[Table, Table]
    where: str
    view: _View
    cuts: tuple[Buckets, Buckets]

    def keys(self, bad: Sequence[int]) -> Keys:
        """Walk along the rows of both sides in the parts that differ."""
        if not self.cuts[0].width:
            return walked(*(self._stream(side, self._hashed(side, bad)) for side in (0, 1)))
        cut, bad = self._finer(bad)
        texts = (f"select key, value from {self._ranged(side, cut, bad)} order by 1" for side in (0, 1))
        return walked(*(self._stream(side, text) for side, text in enumerate(texts)))

    def _finer(self, bad: Sequence[int]) -> tuple[Buckets, list[int]]:
        """The same search once more, in smaller parts of the parts that differ: fewer rows are fetched then."""
        coarse = self.cuts[0]
        width = max(1, coarse.width // _FINER)
        cut = Buckets(coarse.key, -(-coarse.number * coarse.width // width), coarse.low, width)

        def by_parts(side: int, connection: psycopg.Connection[Any]) -> dict[int, tuple[int, int]]:
            part = f"(key - {cut.low}::bigint) / {cut.width}::bigint"
            what = f"{part}, count(*), sum({mixed('value')})::text"
            text = f"select {what} from {self._ranged(side, coarse, bad)} group by 1"
            bound(connection, self.both.context, SCAN_SECONDS)
            return {row[0]: (row[1], int(row[2])) for row in connection.execute(text.encode()).fetchall()}

        return cut, _bad(*self.both.both(by_parts))

    def _hashed(self, side: int, bad: Sequence[int]) -> str:
        """A query for hashes of keys and rows, where the parts are of the key's hash."""
        keys = f"{self.view.hashed_key(side)}, {self.view.hashed_key(side, 1)}"
        inside = f"{self.cuts[side].sql} = any({_array(bad)}){self._predicate}"
        value = row_hash(self.view.columns[side])
        return f"select {keys}, {value} from {self.tables[side].source} where {inside} order by 1, 2"

    def _ranged(self, side: int, cut: Buckets, bad: Sequence[int]) -> str:
        """What stands after FROM for keys and hashes of the rows in some ranges of the key."""
        key, value = self.view.integer, row_hash(self.view.columns[side])
        inside = f'{key} between "releasegate range".low and "releasegate range".high{self._predicate}'
        rows = f"select {key}::bigint as key, {value} as value from {self.tables[side].source} where {inside}"
        lows, highs = zip(*(cut.range(part) for part in bad), strict=True)
        return (
            f'unnest({_array(lows)}, {_array(highs)}) "releasegate range"(low, high) cross join lateral ({rows}) found'
        )

    @property
    def _predicate(self) -> str:
        return f" and (\n{self.where}\n)" if self.where else ""

    def _stream(self, side: int, text: str) -> Iterator[tuple[int, ...]]:
        connection = self.both.connections[side]
        bound(connection, self.both.context, SCAN_SECONDS)
        with connection.cursor(name="releasegate_keys", binary=True) as cursor:
            cursor.itersize = _FETCH
            cursor.execute(text.encode())
            yield from cursor


def _differs(found: Sequence[Mapping[str, Content]], label: str) -> bool:
    first, second = (side[label] for side in found)
    return (first.rows, first.sum) != (second.rows, second.sum)


def _carried(
    job: Callable[[int, psycopg.Connection[Any]], _Result], side: int, connection: psycopg.Connection[Any]
) -> _Result:
    import psycopg

    try:
        return job(side, connection)
    except psycopg.Error as error:
        raise _OfTheOther(error) from None
