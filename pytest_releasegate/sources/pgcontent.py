"""What the rows of a table hold, as one number: checksums that know types and no order, in whole or by keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pgtables import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import psycopg

    from pytest_releasegate.sources.pgtables import Table

__all__ = [
    "FORM",
    "Buckets",
    "Column",
    "Layout",
    "as_text_always",
    "checksum",
    "instant",
    "layouts",
    "mixed",
    "row_hash",
    "since",
]

FORM = 2
"""Which way of hashing this is: checksums of another way do not compare."""

MOST_BUCKETS = 1024
_SAFE = 2**62
# enums hash by their number in the catalogue, which another database does not share; intervals by their length
_HASHED = {
    **dict.fromkeys(("int2", "int4", "int8"), "integer"),
    **dict.fromkeys(("float4", "float8"), "float"),
    **dict.fromkeys(("text", "varchar", "bpchar"), "text"),
    **{name: name for name in ("bool", "bytea", "date", "time", "timetz", "timestamp", "timestamptz", "numeric")},
    **{name: name for name in ("uuid", "jsonb", "inet", "cidr", "macaddr", "macaddr8", "pg_lsn", "name")},
}
_COLUMNS = """
with recursive base as (
    select a.attrelid, a.attname, a.atttypid as declared, a.atttypmod, a.attcollation, a.atttypid as type
    from pg_catalog.pg_attribute a
    where a.attrelid = any(%s::bigint[]::oid[]) and a.attnum > 0 and not a.attisdropped
    union all
    select b.attrelid, b.attname, b.declared, b.atttypmod, b.attcollation, t.typbasetype
    from base b join pg_catalog.pg_type t on t.oid = b.type where t.typtype = 'd'
)
select b.attrelid::bigint, b.attname, pg_catalog.format_type(b.declared, b.atttypmod),
       case when t.typnamespace = 'pg_catalog'::regnamespace then t.typname else '' end,
       coalesce(not c.collisdeterministic, false)
from base b join pg_catalog.pg_type t on t.oid = b.type left join pg_catalog.pg_collation c on c.oid = b.attcollation
where t.typtype <> 'd' order by b.attname collate "C"
"""
_KEYS = """
select i.indrelid::bigint, array_agg(a.attname::text order by u.place)
from pg_catalog.pg_index i cross join unnest(i.indkey) with ordinality u(number, place)
join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.number
where i.indrelid = any(%s::bigint[]::oid[]) and i.indisprimary and i.indisvalid and u.place <= i.indnkeyatts
group by i.indrelid
"""
_CYCLE = 2**32
_SETTINGS = """
select set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, YMD', true),
       set_config('intervalstyle', 'postgres', true), set_config('extra_float_digits', '1', true),
       set_config('bytea_output', 'hex', true), set_config('lc_monetary', 'C', true),
       set_config('xmlbinary', 'base64', true), set_config('jit', 'off', true)
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One column, and how its values are hashed; columns of one family hash equal values alike."""

    name: str
    type: str
    family: str
    sql: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table in the order of their names, and its primary key."""

    columns: tuple[Column, ...] = ()
    key: tuple[str, ...] = ()

    @property
    def by_name(self) -> dict[str, Column]:
        """The columns by their names."""
        return {column.name: column for column in self.columns}

    @property
    def integer_key(self) -> str:
        """The quoted name of a primary key of one integer column; nothing when it has another."""
        family = self.by_name[self.key[0]].family if len(self.key) == 1 and self.key[0] in self.by_name else ""
        return quoted(self.key[0]) if family == "integer" else ""

    def only(self, names: Collection[str]) -> tuple[Column, ...]:
        """The columns of these names."""
        return tuple(column for column in self.columns if column.name in names)


@dataclass(frozen=True, slots=True)
class Buckets:
    """The keys of a table in so many parts: ranges of an integer key, or the remainders of a key's hash."""

    key: str
    number: int
    low: int = 0
    width: int = 0
    """How many numbers a range holds; 0 where the parts are remainders of a hash."""
    closed: bool = False
    """Whether all keys are known to be within the ranges."""

    @classmethod
    def of(cls, layout: Layout, low: int | None, high: int | None) -> Buckets:
        """As many parts of a table's primary key as are worth keeping."""
        hashed = row_hash(layout.only(layout.key))
        return cls.between(layout.integer_key, low, high) or cls(hashed, MOST_BUCKETS)

    @classmethod
    def between(
        cls, key: str, low: int | None, high: int | None, most: int = MOST_BUCKETS, size: int = 1
    ) -> Buckets | None:
        """At most so many ranges of an integer key, each of `size` numbers at least; None where it has no such ends."""
        if not key or low is None or high is None or max(-low, high) >= _SAFE:
            return None
        width = max(size, -(-(high - low + 1) // most))
        return cls(key, -(-(high - low + 1) // width), low, width)

    @property
    def high(self) -> int:
        """The last number of the last range."""
        return self.low + self.number * self.width - 1

    @property
    def sql(self) -> str:
        """The part that a row's key belongs to: -1 and `number` are below and above all ranges."""
        if not self.width:
            return f"({self.key} & {self.number - 1})"
        inside = f"({self.key}::bigint - {self.low}::bigint) / {self.width}::bigint"
        if self.closed:
            return inside
        outside = f"when {self.key} < {self.low} then -1 when {self.key} > {self.high} then {self.number}"
        return f"case {outside} else {inside} end"

    def range(self, part: int) -> tuple[int | None, int | None]:
        """The least and the greatest key of a part; None where it has no end."""
        low, high = self.low + part * self.width, self.low + (part + 1) * self.width - 1
        return (None if part < 0 else low, None if part >= self.number else high)


def layouts(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> dict[str, Layout]:
    """The columns and primary keys of the tables by their labels."""
    oids = [table.oid for table in tables]
    columns: dict[int, list[Column]] = {oid: [] for oid in oids}
    for oid, name, declared, base, folds in connection.execute(_COLUMNS, [oids]).fetchall():
        columns[oid].append(_column(name, declared, base, folds=folds))
    keys = dict(connection.execute(_KEYS, [oids]).fetchall())
    return {table.label: Layout(tuple(columns[table.oid]), tuple(keys.get(table.oid, ()))) for table in tables}


def as_text_always(connections: Sequence[psycopg.Connection[Any]]) -> None:
    """Pin the settings by which values become text, so that two sessions write the same value alike.

    Compiling is off too: searches by many ranges are guessed to be far longer than they are.
    """
    for connection in connections:
        connection.execute(_SETTINGS)


def instant(connection: psycopg.Connection[Any]) -> str:
    """Which transactions had ended as of this snapshot, as PostgreSQL writes a `pg_snapshot`."""
    row = connection.execute("select pg_catalog.pg_current_snapshot()::text").fetchone()
    return str(row[0]) if row else ""


def since(then: str, now: str) -> str:
    """A predicate: the row was written by a transaction that had not ended at the one instant and had at the other.

    `xmin` shows the last 32 bits of a transaction's number, so it is held against the few numbers between the two.
    """
    _, end, running = then.split(":")
    late = [f"xmin::text in ({', '.join(_short(number) for number in running.split(','))})"] if running else []
    many = min(int(now.split(":")[1]) - int(end), _CYCLE)
    if many > 0:
        late.append(f"(xmin::text::bigint - {int(end) % _CYCLE} + {_CYCLE}) % {_CYCLE} < {many}")
    return " or ".join(late)


def _short(number: str) -> str:
    return f"'{int(number) % _CYCLE}'"


def row_hash(columns: Sequence[Column], seed: int = 0) -> str:
    """The hash of a row's values in these columns."""
    return f"pg_catalog.hash_record_extended(ROW({', '.join(column.sql for column in columns)}), {seed})"


def mixed(value: str) -> str:
    """A row's hash, fit to be summed: in itself it is a sum of its values' hashes, and values could change places."""
    return f"pg_catalog.hashint8extended({value}, 0)"


def checksum(columns: Sequence[Column], where: str = "") -> str:
    """The sum of the rows' hashes: unlike an exclusive or, it sees that a row came or went twice."""
    return f"coalesce(sum({mixed(row_hash(columns))}){f' filter (where {where})' if where else ''}, 0)"


def _column(name: str, declared: str, base: str, *, folds: bool) -> Column:
    """Values of types without a hash that two databases share are hashed as their text."""
    family = _HASHED.get(base.removeprefix("_"), "")
    if base.startswith("_") and family:
        # the hash of an array knows nothing of its dimensions
        return Column(name, declared, f"{family}[]", f"{quoted(name)}::text")
    if not family:
        return Column(name, declared, "text", f"{quoted(name)}::text")
    return Column(name, declared, family, f'{quoted(name)} collate "C"' if folds else quoted(name))
