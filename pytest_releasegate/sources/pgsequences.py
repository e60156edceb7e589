"""The sequences of a PostgreSQL database: how far they are, which columns they fill, and what those columns hold."""

# ruff: noqa: S608  identifiers are quoted, and nothing else is put in
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pgtables import Table, quoted, require_schemas
from pytest_releasegate.sources.postgres import bound, count_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from pytest_releasegate.check import Context

__all__ = ["Column", "Counter", "furthest", "sequences"]

_TOGETHER = 200
_WIDTHS = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
# a column is filled by a sequence that it owns, or whose next value its default takes; partitions follow their parent
_SEQUENCES = """
with filled as (
    select d.objid as sequence, d.refobjid as relation, d.refobjsubid as number
    from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_class'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
      and d.refobjsubid > 0 and d.deptype in ('a', 'i')
    union
    select d.refobjid, f.adrelid, f.adnum
    from pg_catalog.pg_depend d join pg_catalog.pg_attrdef f on f.oid = d.objid
    where d.classid = 'pg_catalog.pg_attrdef'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
      and d.refobjsubid = 0
), held as (
    select f.sequence, array_agg(array[tn.nspname, t.relname, (t.relkind = 'p')::text, a.attname,
               case when y.typbasetype = 0 then y.typname else (
                   with recursive base(typname, below) as (
                       select y.typname, y.typbasetype
                       union all
                       select b.typname, b.typbasetype from base join pg_catalog.pg_type b on b.oid = base.below
                   )
                   select typname from base where below = 0) end,
               exists (select from pg_catalog.pg_index i
                       where i.indrelid = t.oid and i.indisunique and a.attnum = any(i.indkey))::text
           ]::text[] order by tn.nspname, t.relname, a.attname) as columns
    from filled f
    join pg_catalog.pg_class t on t.oid = f.relation and t.relkind in ('r', 'p') and not t.relispartition
    join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = f.number and not a.attisdropped
    join pg_catalog.pg_type y on y.oid = a.atttypid
    group by f.sequence
)
select n.nspname, c.relname, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle,
       pg_catalog.has_sequence_privilege(s.seqrelid, 'select, usage'),
       case when pg_catalog.has_sequence_privilege(s.seqrelid, 'select, usage')
            then pg_catalog.pg_sequence_last_value(s.seqrelid) end,
       coalesce(h.columns, '{}')
from pg_catalog.pg_sequence s
left join held h on h.sequence = s.seqrelid
join pg_catalog.pg_class c on c.oid = s.seqrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and case when %(all)s then n.nspname <> 'releasegate' else n.nspname = any(%(schemas)s) end
order by n.nspname, c.relname
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a sequence fills."""

    table: Table
    name: str
    type: str
    unique: bool
    """It is part of a key that may not occur twice."""

    def __str__(self) -> str:
        return f"{self.table.label}.{self.name}"

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers."""
        return self.type in _WIDTHS


@dataclass(frozen=True, slots=True)
class Counter:
    """One sequence."""

    schema: str
    name: str
    start: int
    increment: int
    lowest: int
    highest: int
    cycles: bool
    readable: bool
    columns: tuple[Column, ...]
    next: int
    """The value that it gives next."""

    @property
    def label(self) -> str:
        """Its name with the schema."""
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        """Its quoted name, to stand within single quotes."""
        return f"{quoted(self.schema)}.{quoted(self.name)}".replace("'", "''")

    def __str__(self) -> str:
        return f"{self.label} ({', '.join(map(str, self.columns))})" if self.columns else self.label

    @property
    def narrowest(self) -> Column | None:
        """The column whose type ends before the sequence does."""
        narrow = [column for column in self.columns if column.whole and abs(self._end(column)) < abs(self._own_end)]
        return min(narrow, key=lambda column: _WIDTHS[column.type], default=None)

    @property
    def end(self) -> int:
        """The last value that it can give and its columns can hold."""
        column = self.narrowest
        return self._end(column) if column else self._own_end

    @property
    def left(self) -> int:
        """How many values it can still give."""
        return max(0, (self.end - self.next) // self.increment + 1)

    @property
    def used(self) -> float:
        """The share of its values that is gone."""
        up = self.increment > 0
        # what lies on the other side of its start and of nought was never meant to be given
        first = max(self.lowest, min(self.start, 1)) if up else min(self.highest, max(self.start, -1))
        total = (self.end - first) // self.increment + 1
        return 1.0 if total <= 0 else min(1.0, 1 - self.left / total)

    @property
    def _own_end(self) -> int:
        return self.highest if self.increment > 0 else self.lowest

    def _end(self, column: Column) -> int:
        width = _WIDTHS[column.type]
        return min(self.highest, width - 1) if self.increment > 0 else max(self.lowest, -width)


def sequences(connection: psycopg.Connection[Any], context: Context, schemas: Sequence[str]) -> list[Counter]:
    """The sequences of the schemas, by default of every schema that users made."""
    require_schemas(connection, schemas)
    values = {"all": not schemas, "schemas": list(schemas)}
    rows = connection.execute(_SEQUENCES, values).fetchall()
    # of a sequence that was set anew and gave nothing since, only itself knows where it stands
    asked = [row for row in rows if row[7] and row[8] is None]
    waiting = count_each(connection, context, [_waiting(row) for row in asked])
    starts = {row[:2]: value for row, value in zip(asked, waiting, strict=True)}
    return [_counter(row, starts.get(row[:2])) for row in rows]


def furthest(
    connection: psycopg.Connection[Any], context: Context, asked: Sequence[tuple[Counter, Column]]
) -> list[tuple[Counter, Column, int]]:
    """The columns that hold what their sequence has yet to give, with the value furthest in its direction."""
    # whether there is such a value is planned much faster than which is the largest, and side by side faster than below
    ahead: list[tuple[Counter, Column]] = []
    for start in range(0, len(asked), _TOGETHER):
        part = asked[start : start + _TOGETHER]
        bound(connection, context, at_most=300.0)
        row = connection.execute(f"select {', '.join(_is_ahead(*pair) for pair in part)}".encode()).fetchone() or ()
        ahead += [pair for pair, found in zip(part, row, strict=True) if found]
    values = count_each(connection, context, [_furthest(*pair) for pair in ahead], at_most=300.0)
    return [(*pair, value) for pair, value in zip(ahead, values, strict=True)]


def _is_ahead(counter: Counter, column: Column) -> str:
    sign = ">=" if counter.increment > 0 else "<="
    return f"exists (select from {column.table.source} where {quoted(column.name)} {sign} {counter.next})"


def _furthest(counter: Counter, column: Column) -> str:
    return f"select {'max' if counter.increment > 0 else 'min'}({quoted(column.name)}) from {column.table.source}"


def _waiting(row: tuple[Any, ...]) -> str:
    given = f"last_value + case when is_called then {row[3]} else 0 end"
    return f"select {given} from {quoted(row[0])}.{quoted(row[1])}"


def _counter(row: tuple[Any, ...], waiting: int | None) -> Counter:
    schema, name, start, increment, *rest, last, filled = row
    columns = tuple(
        Column(Table(space, table, partitioned == "true"), column, kind, unique == "true")
        for space, table, partitioned, column, kind, unique in filled
    )
    after = start if last is None else last + increment
    shape: tuple[Any, ...] = (start, increment, *rest, columns, after if waiting is None else waiting)
    return Counter(schema, name, *shape)
