"""What vacuum left to do in a PostgreSQL database: dead rows, empty space, and the age of transactions."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pgtables import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Age", "Server", "Space", "TableState", "measured", "server", "spaces", "table_states"]

_FEW = 4
"""Of so few pages none is worth a word."""
_PAGE_HEAD, _ROW_HEAD, _POINTER, _INDEX_HEAD, _INDEX_TAIL = 24, 23, 4, 8, 16
_SERVER = """
select current_setting('block_size')::int, pg_catalog.pg_is_in_recovery(),
       (select extract(epoch from now() - stats_reset)::float8 from pg_catalog.pg_stat_database
        where datname = current_database()),
       (select n.nspname from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
        join pg_catalog.pg_proc p on p.pronamespace = n.oid and p.proname = 'pgstattuple_approx'
        where e.extname = 'pgstattuple' and pg_catalog.has_schema_privilege(n.oid, 'usage')
          and pg_catalog.has_function_privilege(p.oid, 'execute')),
       datname, age(datfrozenxid), current_setting('autovacuum_freeze_max_age')::bigint,
       mxid_age(datminmxid), current_setting('autovacuum_multixact_freeze_max_age')::bigint
from pg_catalog.pg_database order by datname
"""
_TABLES = """
with recursive tree(oid) as (
    select oid from unnest(%(tables)s::oid[]) asked(oid)
    union all
    select h.inhrelid from tree join pg_catalog.pg_inherits h on h.inhparent = tree.oid
    join pg_catalog.pg_class c on c.oid = h.inhrelid and c.relispartition
)
select c.oid::bigint, n.nspname, c.relname, c.reltuples::float8, m.amname = 'heap', coalesce(o.fillfactor, 100),
       coalesce(u.n_live_tup, 0), coalesce(u.n_dead_tup, 0),
       extract(epoch from now() - greatest(u.last_vacuum, u.last_autovacuum))::float8,
       extract(epoch from now() - greatest(u.last_analyze, u.last_autoanalyze))::float8,
       greatest(age(c.relfrozenxid), age(t.relfrozenxid)),
       least(current_setting('autovacuum_freeze_max_age')::bigint, o.freeze),
       greatest(mxid_age(c.relminmxid), mxid_age(t.relminmxid)),
       least(current_setting('autovacuum_multixact_freeze_max_age')::bigint, o.multixact)
from tree
join pg_catalog.pg_class c on c.oid = tree.oid and c.relkind = 'r'
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_am m on m.oid = c.relam
left join pg_catalog.pg_class t on t.oid = c.reltoastrelid
left join pg_catalog.pg_stat_all_tables u on u.relid = c.oid
left join lateral (
    select max(option_value) filter (where option_name = 'fillfactor')::int as fillfactor,
           max(option_value) filter (where option_name = 'autovacuum_freeze_max_age')::bigint as freeze,
           max(option_value) filter (where option_name = 'autovacuum_multixact_freeze_max_age')::bigint as multixact
    from pg_catalog.pg_options_to_table(c.reloptions)
) o on true
order by n.nspname, c.relname
"""
# the columns of a table, and the keys of its indexes; what an index computes has statistics under the index's name
_SPACES = """
with own as (
    select c.oid, c.relname, n.nspname from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = any(%(tables)s)
), mine as (
    select oid as owner, oid, relname as owner_name, nspname, false as is_index, null::int2vector as indkey from own
    union all
    select o.oid, i.indexrelid, o.relname, o.nspname, true, i.indkey
    from own o join pg_catalog.pg_index i on i.indrelid = o.oid and i.indisvalid
), part as (
    select i.oid, i.nspname, case when i.is_index and b.attname is null then x.relname else i.owner_name end as relname,
           coalesce(b.attname, a.attname) as attname
    from mine i
    join pg_catalog.pg_class x on x.oid = i.oid
    join pg_catalog.pg_attribute a on a.attrelid = i.oid and a.attnum > 0 and not a.attisdropped
    left join pg_catalog.pg_attribute b
        on i.is_index and b.attrelid = i.owner and b.attnum = i.indkey[a.attnum - 1] and b.attnum <> 0
), stats as materialized (
    select s.schemaname, s.tablename, s.attname, s.null_frac, s.avg_width from pg_catalog.pg_stats s
    where not s.inherited and (s.schemaname, s.tablename) in (select nspname, relname from part)
), widths as (
    select p.oid, count(*) as columns, count(s.attname) as known,
           coalesce(sum((1 - s.null_frac) * s.avg_width), 0)::float8 as width,
           coalesce(bool_or(s.null_frac > 0), false) as nulls
    from part p
    left join stats s on s.schemaname = p.nspname and s.tablename = p.relname and s.attname = p.attname
    group by p.oid
)
select i.owner::bigint, i.nspname, x.relname, i.is_index, x.reltuples::float8, x.relpages,
       w.columns, w.known, w.width, w.nulls,
       coalesce((select option_value::int from pg_catalog.pg_options_to_table(x.reloptions)
                 where option_name = 'fillfactor'), case when i.is_index then 90 else 100 end)
from mine i
join widths w on w.oid = i.oid
join pg_catalog.pg_class x on x.oid = i.oid
join pg_catalog.pg_am m on m.oid = x.relam and m.amname = case when i.is_index then 'btree' else 'heap' end
order by i.is_index, i.nspname, x.relname
"""
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
class TableState:
    """One table or partition, as the server counts it."""

    oid: int
    schema: str
    name: str
    tuples: float
    heap: bool
    fill: int
    live: int
    dead: int
    vacuumed: float | None
    """How many seconds ago; None is never."""
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


@dataclass(frozen=True, slots=True)
class Space:
    """The pages of a table or of a btree index, and what its rows need, when it was last analyzed."""

    table: int
    schema: str
    name: str
    is_index: bool
    tuples: float
    pages: int
    columns: int
    known: int
    """Of how many of its columns the widths are known."""
    width: float
    nulls: bool
    fill: int

    @property
    def label(self) -> str:
        """Its name with the schema."""
        return f"{self.schema}.{self.name}"

    def empty_share(self, block: int) -> float | None:
        """About which share of its pages its rows did not need; None where nobody knows."""
        if self.tuples < 0:
            return None
        if self.pages <= _FEW:
            return 0.0
        # a column that came later was not there when the pages were counted; equal keys need less than is thought here
        if self.known < (self.columns if self.is_index else 1):
            return None
        room = (block - _PAGE_HEAD - _INDEX_TAIL * self.is_index) * self.fill / 100
        needed = ceil(self.tuples / max(1, int(room / self._row)))
        # one page describes an index
        return max(0.0, 1 - needed / (self.pages - self.is_index))

    @property
    def _row(self) -> float:
        """What a row takes on a page."""
        if self.is_index:
            return _aligned(_INDEX_HEAD * (2 if self.nulls else 1) + self.width) + _POINTER
        bitmap = (self.columns + 7) // 8 if self.nulls else 0
        return _aligned(_ROW_HEAD + bitmap) + _aligned(self.width) + _POINTER


def server(connection: psycopg.Connection[Any]) -> tuple[Server, list[Age]]:
    """What the server says of itself, and the ages of all its databases."""
    rows = connection.execute(_SERVER).fetchall()
    return Server(*rows[0][:4]), [Age(f"database {row[4]}", *row[5:]) for row in rows]


def table_states(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> list[TableState]:
    """The tables, and the partitions in place of partitioned ones."""
    rows = connection.execute(_TABLES, {"tables": [table.oid for table in tables]}).fetchall()
    return [_table(row) for row in rows]


def spaces(connection: psycopg.Connection[Any], tables: Sequence[TableState]) -> list[Space]:
    """The pages of the tables and of their btree indexes."""
    if not tables:
        return []
    rows = connection.execute(_SPACES, {"tables": [table.oid for table in tables]}).fetchall()
    return [Space(*row) for row in rows]


def measured(connection: psycopg.Connection[Any], schema: str, tables: Sequence[TableState]) -> dict[int, float]:
    """By oid, which share of a table is empty or dead, beyond what its fillfactor leaves, by `pgstattuple_approx`."""
    fills = {table.oid: table.fill for table in tables if table.heap}
    rows = connection.execute(_MEASURE.format(quoted(schema).replace("%", "%%")).encode(), [list(fills)]).fetchall()
    return {oid: max(0.0, spare / size - 1 + fills[oid] / 100) if size else 0.0 for oid, size, spare in rows}


def _table(row: tuple[Any, ...]) -> TableState:
    age = Age(f"{row[1]}.{row[2]}", *row[10:])
    shape: tuple[Any, ...] = (*row[2:10], age)
    return TableState(row[0], row[1], *shape)


def _aligned(size: float) -> float:
    return ceil(size / 8) * 8
