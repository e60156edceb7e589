"""The foreign keys of a PostgreSQL database: what the catalogue says of them, and how many rows violate them."""

# ruff: noqa: S608  identifiers are quoted, values are bound, and predicates are the gate's own text
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pgtables import Table, quoted
from pytest_releasegate.sources.postgres import count_each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

    from pytest_releasegate.check import Context

__all__ = ["ForeignKey", "compared", "filled", "foreign_keys", "orphans"]

# partitions have constraints of their own below their parent's: the whole family is looked at
_KEYS = """
with recursive family(root, oid) as (
    select oid, oid from pg_catalog.pg_constraint where contype = 'f' and conparentid = 0
    union all
    select f.root, c.oid from family f join pg_catalog.pg_constraint c on c.conparentid = f.oid and c.contype = 'f'
), state as (
    select f.root,
           bool_and(c.convalidated) as validated,
           bool_and({enforced}) as enforced,
           (select array_agg(array[n.nspname || '.' || r.relname, t.tgname] order by n.nspname, r.relname, t.tgname)
            from pg_catalog.pg_trigger t join pg_catalog.pg_class r on r.oid = t.tgrelid
            join pg_catalog.pg_namespace n on n.oid = r.relnamespace
            where t.tgconstraint = any(array_agg(c.oid)) and t.tgenabled not in ('O', 'A')) as disabled
    from family f join pg_catalog.pg_constraint c on c.oid = f.oid group by f.root
)
select c.conname, cn.nspname, ct.relname, ct.relkind = 'p', pn.nspname, pt.relname, pt.relkind = 'p',
       s.validated, s.enforced, s.disabled, c.confmatchtype = 'f',
       {temporal}, k.names, k.condition
from pg_catalog.pg_constraint c
join state s on s.root = c.oid
join pg_catalog.pg_class ct on ct.oid = c.conrelid
join pg_catalog.pg_namespace cn on cn.oid = ct.relnamespace
join pg_catalog.pg_class pt on pt.oid = c.confrelid
join pg_catalog.pg_namespace pn on pn.oid = pt.relnamespace
cross join lateral (
    select array_agg(format('c.%%I', a.attname) order by u.place) as names,
           string_agg(format('p.%%I operator(%%I.%%s) c.%%I%%s', b.attname, o.nspname, o.oprname, a.attname,
               case when b.attcollation not in (0, a.attcollation)
                    then (select format(' collate %%I.%%I', ln.nspname, l.collname) from pg_catalog.pg_collation l
                          join pg_catalog.pg_namespace ln on ln.oid = l.collnamespace where l.oid = b.attcollation)
                    else '' end), ' and ' order by u.place) as condition
    from unnest(c.conkey, c.confkey, c.conpfeqop) with ordinality u(child, parent, operator, place)
    join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = u.child
    join pg_catalog.pg_attribute b on b.attrelid = c.confrelid and b.attnum = u.parent
    join (select q.oid, q.oprname, n.nspname from pg_catalog.pg_operator q
          join pg_catalog.pg_namespace n on n.oid = q.oprnamespace) o on o.oid = u.operator
) k
where ct.oid = any(%(tables)s)
   or ct.relispartition and pg_catalog.pg_partition_root(ct.oid)::oid = any(%(tables)s)
order by cn.nspname, ct.relname, c.conname
"""


_KNOWS_BOTH = 180000
"""The version from which keys may be temporal or not enforced."""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """One declared foreign key, and what the catalogue says of it."""

    name: str
    child: Table
    parent: Table
    validated: bool
    enforced: bool
    sleeping: tuple[tuple[str, str], ...]
    """The triggers of it that are disabled, each after its table."""
    full: bool
    """MATCH FULL: a key that is null in part violates it."""
    temporal: bool
    """Its last column is a period, whose coverage is no plain comparison."""
    columns: tuple[str, ...]
    condition: str

    def __str__(self) -> str:
        return f"{self.name}: {self.child.label} -> {self.parent.label}"

    @property
    def disabled(self) -> int:
        """How many of its triggers are disabled."""
        return len(self.sleeping)

    @property
    def faults(self) -> list[str]:
        """What the catalogue says against it, and what would mend it."""
        table = self.child.sql
        mend = f"(alter table {table} validate constraint {quoted(self.name)})"
        # the server counts a key that is not enforced as not validated too
        told = [f"not validated {mend}"] if self.enforced else ["not enforced"]
        faults = [] if self.validated and self.enforced else told
        return [*faults, *([self._asleep()] if self.disabled else [])]

    def _asleep(self) -> str:
        tables: dict[str, list[str]] = {}
        for table, name in self.sleeping:
            tables.setdefault(table, []).append(name)
        where = "; ".join(f"on {table}: {', '.join(names)}" for table, names in tables.items())
        return f"{self.disabled} of its triggers disabled ({where})"

    def violating(self, where: str = "") -> str:
        """The rows that violate it, from FROM on; `where` is one predicate on the child's rows."""
        complete = " and ".join(f"{column} is not null" for column in self.columns)
        missing = f"({complete} and not exists (select 1 from {self.parent.source} p where {self.condition}))"
        partly = f"(num_nulls({', '.join(self.columns)}) between 1 and {len(self.columns) - 1})"
        violated = f"({missing} or {partly})" if self.full else missing
        only = f"(\n{where}\n) and " if where else ""
        return f"from {self.child.source} c where {only}{violated}"

    @property
    def comparison(self) -> tuple[str, str, str]:
        """What makes two keys the same one."""
        return self.child.label, self.parent.label, self.condition

    def valued(self, where: str = "", what: str = "select count(*)") -> str:
        """A query that counts the rows whose key is complete."""
        complete = [f"{column} is not null" for column in self.columns] + ([f"(\n{where}\n)"] if where else [])
        return f"{what} from {self.child.source} c where {' and '.join(complete)}"

    def orphans(self, where: str = "") -> str:
        """A query that counts the rows that violate it."""
        return f"select count(*) {self.violating(where)}"


def foreign_keys(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> list[ForeignKey]:
    """The foreign keys that the tables hold; those of partitions count with their parent's."""
    known = connection.info.server_version >= _KNOWS_BOTH
    query = _KEYS.replace("{enforced}", "c.conenforced" if known else "true")
    query = query.replace("{temporal}", "c.conperiod" if known else "false")
    rows = connection.execute(query.encode(), {"tables": [table.oid for table in tables]}).fetchall()
    return [_key(row) for row in rows]


def orphans(
    connection: psycopg.Connection[Any],
    context: Context,
    keys: Sequence[ForeignKey],
    where: Mapping[str, str] | None = None,
) -> list[int]:
    """The number of violating rows of each key, really counted; `where` leaves rows out, by the child's label."""
    queries = [key.orphans((where or {}).get(key.child.label, "")) for key in keys]
    return count_each(connection, context, queries, at_most=300.0)


def compared(
    connection: psycopg.Connection[Any], context: Context, keys: Sequence[ForeignKey], where: Mapping[str, str]
) -> int:
    """How many of the keys have a row at least whose parent can be missing."""
    values = [key.valued(where.get(key.child.label, ""), "select 1") for key in keys]
    queries = [f"select count(*) from ({value} limit 1) one" for value in values]
    return sum(count_each(connection, context, queries, at_most=300.0))


def filled(connection: psycopg.Connection[Any], context: Context, tables: Sequence[Table]) -> int:
    """How many of the tables hold a row at least."""
    queries = [f"select count(*) from (select 1 from {table.source} limit 1) one" for table in tables]
    return sum(count_each(connection, context, queries, at_most=300.0))


def _key(row: tuple[Any, ...]) -> ForeignKey:
    name, validated, enforced, disabled, full, temporal, columns, condition = row[0], *row[7:]
    child, parent = Table(*row[1:4]), Table(*row[4:7])
    asleep = tuple((table, trigger) for table, trigger in disabled or ())
    return ForeignKey(name, child, parent, validated, enforced, asleep, full, temporal, tuple(columns), condition)
