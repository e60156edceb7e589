"""What vacuum left to do in a PostgreSQL database: dead rows, empty space, and the age of transactions."""

# ruff: noqa: S608  identifiers are quoted, and nothing else is put in
from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pgtables import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from pytest_releasegate.sources.pgtables import Table

__all__ = [
    "Age",
    "IndexSpace",
    "Server",
    "TableSpace",
    "database_ages",
    "index_space",
    "measured",
    "server",
    "table_space",
]

_PAGE_HEAD, _ROW_HEAD, _POINTER, _INDEX_HEAD, _INDEX_TAIL = 24, 23, 4, 8, 16
_SERVER = """
select current_setting('block_size')::int, pg_catalog.pg_is_in_recovery(),
       (select extract(epoch from now() - stats_reset)::float8 from pg_catalog.pg_stat_database
        where datname = current_database()),
       (select n.nspname from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
        join pg_catalog.pg_proc p on p.pronamespace = n.oid and p.proname = 'pgstattuple_approx'
        where e.extname = 'pgstattuple' and pg_catalog.has_schema_privilege(n.oid, 'usage')
          and pg_catalog.has_function_privilege(p.oid, 'execute'))
"""
_AGES = """
select datname, age(datfrozenxid), current_setting('autovacuum_freeze_max_age')::bigint,
       mxid_age(datminmxid), current_setting('autovacuum_multixact_freeze_max_age')::bigint
from pg_catalog.pg_database order by datname
"""
_LEAVES = """
with recursive tree(oid) as (
    select oid from unnest(%(tables)s::oid[]) asked(oid)
    union all
    select h.inhrelid from tree join pg_catalog.pg_inherits h on h.inhparent = tree.oid
    join pg_catalog.pg_class c on c.oid = h.inhrelid and c.relispartition
), leaf as (
    select c.*, n.nspname from tree join pg_catalog.pg_class c on c.oid = tree.oid and c.relkind = 'r'
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
), stats as materialized (
    select s.schemaname, s.tablename, s.attname, s.null_frac, s.avg_width from pg_catalog.pg_stats s
    where not s.inherited and s.schemaname in (select nspname from leaf)
)
"""
_TABLES = (
    _LEAVES
    + """, widths as (
    select schemaname, tablename, count(*) as known, sum((1 - null_frac) * avg_width) as width,
           bool_or(null_frac > 0) as nulls
    from stats group by schemaname, tablename
)
select l.oid::bigint, l.nspname, l.relname, l.reltuples::float8, l.relpages, m.amname = 'heap',
       (select count(*) from pg_catalog.pg_attribute a
        where a.attrelid = l.oid and a.attnum > 0 and not a.attisdropped),
       coalesce(w.known, 0), coalesce(w.width, 0)::float8, coalesce(w.nulls, false),
       coalesce(o.fillfactor, 100), coalesce(u.n_live_tup, 0), coalesce(u.n_dead_tup, 0),
       extract(epoch from now() - greatest(u.last_vacuum, u.last_autovacuum))::float8,
       extract(epoch from now() - greatest(u.last_analyze, u.last_autoanalyze))::float8,
       greatest(age(l.relfrozenxid), age(t.relfrozenxid)),
       least(current_setting('autovacuum_freeze_max_age')::bigint, o.freeze),
       greatest(mxid_age(l.relminmxid), mxid_age(t.relminmxid)),
       least(current_setting('autovacuum_multixact_freeze_max_age')::bigint, o.multixact)
from leaf l
left join pg_catalog.pg_am m on m.oid = l.relam
left join pg_catalog.pg_class t on t.oid = l.reltoastrelid
left join pg_catalog.pg_stat_all_tables u on u.relid = l.oid
left join widths w on w.schemaname = l.nspname and w.tablename = l.relname
left join lateral (
    select max(option_value) filter (where option_name = 'fillfactor')::int as fillfactor,
           max(option_value) filter (where option_name = 'autovacuum_freeze_max_age')::bigint as freeze,
           max(option_value) filter (where option_name = 'autovacuum_multixact_freeze_max_age')::bigint as multixact
    from pg_catalog.pg_options_to_table(l.reloptions)
) o on true
order by l.nspname, l.relname
"""
)
_INDEXES = (
    _LEAVES
    + """
select l.oid::bigint, l.nspname, x.relname, x.reltuples::float8, x.relpages,
       k.columns, k.known, k.width::float8, k.nulls,
       coalesce((select option_value::int from pg_catalog.pg_options_to_table(x.reloptions)
                 where option_name = 'fillfactor'), 90)
from leaf l
join pg_catalog.pg_index i on i.indrelid = l.oid and i.indisvalid
join pg_catalog.pg_class x on x.oid = i.indexrelid
join pg_catalog.pg_am m on m.oid = x.relam and m.amname = 'btree'
cross join lateral (
    select count(*) as columns, count(s.attname) as known, coalesce(sum((1 - s.null_frac) * s.avg_width), 0) as width,
           coalesce(bool_or(s.null_frac > 0), false) as nulls
    from pg_catalog.pg_attribute a
    left join pg_catalog.pg_attribute b on b.attrelid = l.oid and b.attnum = i.indkey[a.attnum - 1] and b.attnum <> 0
    left join stats s on s.schemaname = l.nspname
        and s.tablename = case when b.attname is null then x.relname else l.relname end
        and s.attname = coalesce(b.attname, a.attname)
    where a.attrelid = x.oid and a.attnum > 0
) k
order by l.nspname, x.relname
"""
)
_MEASURE = """
select t.oid::bigint, a.table_len::float8, (a.dead_tuple_len + a.approx_free_space)::float8
from unnest(%s::oid[]) t(oid) cross join lateral {}.pgstattuple_approx(t.oid::regclass) a
"""


@dataclass(frozen=True, slots=True)
class Server:
    """What one must know to read the numbers."""

    block: int
    standby: bool
    counting: float | None
    """For how many seconds it has counted; None where it was never begun anew."""
    pgstattuple: str | None
    """The schema of `pgstattuple_approx`, where the role that looks may use it."""


@dataclass(frozen=True, slots=True)
class Age:
    """How old the oldest transaction id is, and at what age the server begins to freeze by itself."""

    what: str
    transactions: int
    most: int
    multixacts: int
    most_multixacts: int

    @property
    def share(self) -> float:
        """The age as a share of that one."""
        return max(self.transactions / self.most, self.multixacts / self.most_multixacts)

    @property
    def worse(self) -> str:
        """The worse of both, in numbers."""
        if self.transactions / self.most >= self.multixacts / self.most_multixacts:
            return f"{self.transactions} transactions old, autovacuum_freeze_max_age is {self.most}"
        return f"{self.multixacts} multixacts old, autovacuum_multixact_freeze_max_age is {self.most_multixacts}"


@dataclass(frozen=True, slots=True)
class TableSpace:
    """One table or partition."""

    oid: int
    schema: str
    name: str
    tuples: float
    pages: int
    heap: bool
    columns: int
    known: int
    width: float
    nulls: bool
    fill: int
    live: int
    dead: int
    vacuumed: float | None
    analyzed: float | None
    age: Age = field(compare=False)

    @property
    def label(self) -> str:
        """Its name with the schema."""
        return f"{self.schema}.{self.name}"

    @property
    def rows(self) -> float:
        """About how many rows it holds, dead ones too."""
        return max(self.live + self.dead, self.tuples)

    @property
    def dead_share(self) -> float:
        """The share of its rows that are dead."""
        return self.dead / (self.live + self.dead) if self.dead else 0.0

    def empty_share(self, block: int) -> float | None:
        """About which share of its pages its rows did not need when it was last analyzed; None where nobody knows."""
        # a column that came later was not there when the pages were counted
        if self.tuples < 0 or not self.pages or not self.known:
            return None
        bitmap = (self.columns + 7) // 8 if self.nulls else 0
        row = _aligned(_ROW_HEAD + bitmap) + _aligned(self.width) + _POINTER
        return _spare(self.tuples, self.pages, (block - _PAGE_HEAD) * self.fill / 100 / row)


@dataclass(frozen=True, slots=True)
class IndexSpace:
    """One btree index."""

    table: int
    schema: str
    name: str
    tuples: float
    pages: int
    columns: int
    known: int
    width: float
    nulls: bool
    fill: int

    @property
    def label(self) -> str:
        """Its name with the schema."""
        return f"{self.schema}.{self.name}"

    def empty_share(self, block: int) -> float | None:
        """About which share of its pages its keys did not need; equal keys need less than is thought here."""
        if self.tuples < 0 or not self.pages or self.known < self.columns:
            return None
        entry = _aligned(_INDEX_HEAD * (2 if self.nulls else 1) + self.width) + _POINTER
        room = (block - _PAGE_HEAD - _INDEX_TAIL) * self.fill / 100
        # one page describes the index
        return _spare(self.tuples, self.pages - 1, room / entry)


def server(connection: psycopg.Connection[Any]) -> Server:
    """What the server says of itself."""
    row = connection.execute(_SERVER).fetchone()
    return Server(*(row or ()))


def database_ages(connection: psycopg.Connection[Any]) -> list[Age]:
    """The ages of all databases of the server."""
    return [Age(f"database {row[0]}", *row[1:]) for row in connection.execute(_AGES).fetchall()]


def table_space(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> list[TableSpace]:
    """The tables, and the partitions in place of partitioned ones."""
    rows = connection.execute(_TABLES.encode(), {"tables": [table.oid for table in tables]}).fetchall()
    return [_table(row) for row in rows]


def index_space(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> list[IndexSpace]:
    """The btree indexes of the tables and of their partitions."""
    rows = connection.execute(_INDEXES.encode(), {"tables": [table.oid for table in tables]}).fetchall()
    return [IndexSpace(*row) for row in rows]


def measured(connection: psycopg.Connection[Any], schema: str, tables: Sequence[TableSpace]) -> dict[int, float]:
    """By oid, which share of a table is empty or dead, beyond what its fillfactor leaves, by `pgstattuple_approx`."""
    fills = {table.oid: table.fill for table in tables if table.heap}
    rows = connection.execute(_MEASURE.format(quoted(schema).replace("%", "%%")).encode(), [list(fills)]).fetchall()
    return {oid: max(0.0, spare / size - 1 + fills[oid] / 100) if size else 0.0 for oid, size, spare in rows}


def _table(row: tuple[Any, ...]) -> TableSpace:
    age = Age(f"{row[1]}.{row[2]}", *row[15:])
    shape: tuple[Any, ...] = (*row[2:15], age)
    return TableSpace(row[0], row[1], *shape)


def _aligned(size: float) -> float:
    return ceil(size / 8) * 8


def _spare(tuples: float, pages: int, on_a_page: float) -> float:
    needed = ceil(tuples / max(1, int(on_a_page)))
    return max(0.0, 1 - needed / pages) if pages > 0 else 0.0
