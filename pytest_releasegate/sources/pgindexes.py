"""The indexes of a PostgreSQL database: what they cover, what is wrong with them, and which do the same work twice."""

# ruff: noqa: S608  identifiers are quoted by the server, and nothing else is put in
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pgtables import Table, quoted
from pytest_releasegate.sources.postgres import count_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from pytest_releasegate.check import Context

__all__ = ["Index", "Key", "duplicates", "indexes", "repeated", "uncovered_keys"]

# the keys are put together apart from the rest: once for all, not once for each index
_INDEXES = """
with recursive tree(root, oid) as (
    select oid, oid from unnest(%(tables)s::oid[]) asked(oid)
    union all
    select tree.root, h.inhrelid from tree join pg_catalog.pg_inherits h on h.inhparent = tree.oid
    join pg_catalog.pg_class c on c.oid = h.inhrelid and c.relispartition
), mine as materialized (
    select i.*, tree.root from tree join pg_catalog.pg_index i on i.indrelid = tree.oid
), keys as (
    select i.indexrelid,
           array_agg(array[
               coalesce(a.attname, pg_catalog.pg_get_indexdef(i.indexrelid, u.place::int, true)),
               coalesce(quote_ident(a.attname), pg_catalog.pg_get_indexdef(i.indexrelid, u.place::int, false)),
               coalesce(' collate ' || quote_ident(ln.nspname) || '.' || quote_ident(l.collname), ''),
               o.opcname, (u.option & 1)::text, (u.option & 2)::text, (a.attname is null)::text
           ]::text[] order by u.place) filter (where u.place <= i.indnkeyatts) as keys,
           coalesce(array_agg(a.attname::text order by u.place) filter (where u.place > i.indnkeyatts), '{}')
               as included
    from mine i
    cross join lateral unnest(i.indkey::int2[], i.indclass::oid[], i.indcollation::oid[], i.indoption::int2[])
        with ordinality u(number, class, sorted, option, place)
    left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.number and a.attnum <> 0
    left join pg_catalog.pg_opclass o on o.oid = u.class
    left join pg_catalog.pg_collation l on l.oid = u.sorted and l.oid is distinct from a.attcollation
    left join pg_catalog.pg_namespace ln on ln.oid = l.collnamespace
    group by i.indexrelid
)
select xn.nspname, x.relname, tn.nspname, t.relname, t.relkind = 'p', t.oid::bigint, i.root::bigint,
       x.relispartition, m.amname, i.indisunique, i.indisexclusion, i.indnullsnotdistinct, i.indisvalid,
       i.indisready, i.indislive, k.keys, k.included,
       case when i.indpred is not null then pg_catalog.pg_get_expr(i.indpred, i.indrelid, true) end,
       concat_ws(' ', i.indclass, i.indcollation, i.indoption, i.indnkeyatts, e.conexclop::text),
       case when not (i.indisvalid and i.indisready and i.indislive) then exists (
           select from pg_catalog.pg_locks h join pg_catalog.pg_database d on d.oid = h.database
           where d.datname = current_database() and h.relation = i.indrelid and h.granted
             and h.mode = 'ShareUpdateExclusiveLock') else false end
from mine i
join keys k on k.indexrelid = i.indexrelid
join pg_catalog.pg_class t on t.oid = i.indrelid
join pg_catalog.pg_class x on x.oid = i.indexrelid
join pg_catalog.pg_namespace xn on xn.oid = x.relnamespace
join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
join pg_catalog.pg_am m on m.oid = x.relam
left join pg_catalog.pg_constraint e on e.conindid = i.indexrelid and e.contype = 'x' and e.conrelid = i.indrelid
order by xn.nspname, x.relname
"""
_KEYS = """
select k.conname, n.nspname, c.relname, pn.nspname, p.relname,
       array(select a.attname::text from unnest(k.conkey) with ordinality u(number, place)
             join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.number order by u.place)
from pg_catalog.pg_constraint k
join pg_catalog.pg_class c on c.oid = k.conrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_class p on p.oid = k.confrelid join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
where k.contype = 'f' and k.conparentid = 0 and k.conrelid = any(%(tables)s)
order by n.nspname, c.relname, k.conname
"""
_WITHOUT_INDEXES = """
select set_config('enable_indexscan', 'off', true), set_config('enable_indexonlyscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true)
"""


@dataclass(frozen=True, slots=True)
class Key:
    """One column or expression that an index is sorted by."""

    text: str
    sql: str
    collate: str
    operators: str
    descending: bool
    nulls_first: bool
    expression: bool

    def __str__(self) -> str:
        order = " desc" if self.descending else ""
        nulls = "" if self.nulls_first == self.descending else " nulls first" if self.nulls_first else " nulls last"
        return f"{self.text}{order}{nulls}"


@dataclass(frozen=True, slots=True)
class Index:
    """One index of a table or of a partition."""

    schema: str
    name: str
    table: Table
    root: int
    """The table of whose partitions its own table is one, or itself."""
    attached: bool
    """It is the part of a partitioned table's index."""
    method: str
    unique: bool
    exclusion: bool
    nulls_alike: bool
    valid: bool
    ready: bool
    live: bool
    keys: tuple[Key, ...]
    included: tuple[str, ...]
    predicate: str
    details: str
    worked_on: bool
    """Something holds the lock on its table that builds and vacuums take."""

    @property
    def label(self) -> str:
        """Its name with the schema."""
        return f"{self.schema}.{self.name}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The texts of its keys."""
        return tuple(key.text for key in self.keys)

    def __str__(self) -> str:
        method = "" if self.method == "btree" else f" using {self.method}"
        more = f" include ({', '.join(self.included)})" if self.included else ""
        where = f" where {self.predicate}" if self.predicate else ""
        keys = ", ".join(map(str, self.keys))
        return f"{'unique ' * self.unique}{self.table.label}{method} ({keys}){more}{where}"

    @property
    def faults(self) -> str:
        """What the catalogue says against it, and what mends it; empty when it can be used."""
        if self.valid and self.ready and self.live:
            return ""
        words = [word for word, good in (("valid", self.valid), ("ready", self.ready), ("live", self.live)) if not good]
        sql = f"{quoted(self.schema)}.{quoted(self.name)}"
        if self.worked_on:
            mend = "its table is being indexed or vacuumed: look again when that has ended"
        elif self.table.partitioned:
            mend = "a partition has no part of it; create that, then: alter index ... attach partition"
        elif not self.live or "_ccnew" in self.name or "_ccold" in self.name:
            mend = f"drop index concurrently {sql}"
        else:
            mend = f"reindex index concurrently {sql}"
        return f"not {' and not '.join(words)} ({mend})"

    @property
    def repeated(self) -> str:
        """A query that counts the keys that occur in more than one row."""
        keys = [f"({key.sql}){key.collate}" for key in self.keys]
        wanted = [] if self.nulls_alike else [f"({key.sql}) is not null" for key in self.keys]
        wanted += [f"({self.predicate})"] if self.predicate else []
        where = f" where {' and '.join(wanted)}" if wanted else ""
        rows = f"select 1 from {self.table.source}{where} group by {', '.join(keys)} having count(*) > 1"
        return f"select count(*) from ({rows}) repeated"


def indexes(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> list[Index]:
    """The indexes of the tables and of their partitions, by name."""
    rows = connection.execute(_INDEXES.encode(), {"tables": [table.oid for table in tables]}).fetchall()
    return [_index(row) for row in rows]


def duplicates(known: Sequence[Index]) -> list[list[Index]]:
    """Groups of indexes that do the same work; parts of partitioned indexes go with the whole."""
    groups: dict[tuple[object, ...], list[Index]] = defaultdict(list)
    for index in known:
        if index.valid and not index.attached:
            same = (index.table.label, index.method, index.columns, index.included, index.predicate, index.details)
            groups[(*same, index.exclusion)].append(index)
    # of two unique ones, each may refuse what the other lets in
    return [group for group in groups.values() if len(group) > 1 and not _differ(group)]


def repeated(connection: psycopg.Connection[Any], context: Context, unique: Sequence[Index]) -> list[int]:
    """By unique index, how many of its keys occur more than once; the indexes themselves are not asked."""
    connection.execute(_WITHOUT_INDEXES)
    return count_each(connection, context, [index.repeated for index in unique], at_most=300.0)


def uncovered_keys(
    connection: psycopg.Connection[Any], tables: Sequence[Table], known: Sequence[Index]
) -> tuple[int, list[tuple[str, str, str, tuple[str, ...]]]]:
    """How many foreign keys the tables hold; and by name, child, parent, columns those that no index leads with."""
    rows = connection.execute(_KEYS.encode(), {"tables": [table.oid for table in tables]}).fetchall()
    by_table: dict[str, list[Index]] = defaultdict(list)
    for index in known:
        by_table[index.table.label].append(index)
    bare = [
        (name, f"{schema}.{child}", f"{parent_schema}.{parent}", tuple(columns))
        for name, schema, child, parent_schema, parent, columns in rows
        if not any(_covers(index, columns) for index in by_table[f"{schema}.{child}"])
    ]
    return len(rows), bare


def _covers(index: Index, columns: Sequence[str]) -> bool:
    if not index.valid or index.method not in ("btree", "hash") or len(index.keys) < len(columns):
        return False
    # what looks for a key never looks for null
    harmless = {f"{quoted(column) if part else column} IS NOT NULL" for column in columns for part in (True, False)}
    whole = all(part.strip("() ") in harmless for part in index.predicate.split(" AND ")) if index.predicate else True
    return whole and set(index.columns[: len(columns)]) == set(columns)


def _differ(group: Sequence[Index]) -> bool:
    return len(group) == 2 and all(index.unique for index in group) and group[0].nulls_alike != group[1].nulls_alike


def _index(row: tuple[Any, ...]) -> Index:
    table = Table(*row[2:6])
    keys = tuple(
        Key(text, sql, collate, operators, down != "0", first != "0", expression == "true")
        for text, sql, collate, operators, down, first, expression in row[15]
    )
    shape: tuple[Any, ...] = (keys, tuple(row[16]), row[17] or "", *row[18:])
    return Index(row[0], row[1], table, *row[6:15], *shape)
