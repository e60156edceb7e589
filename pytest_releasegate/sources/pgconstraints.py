"""The constraints of a PostgreSQL database but its foreign keys: NOT NULL, CHECK, UNIQUE, EXCLUDE, and of domains."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pgtables import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg

    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Constraint", "constraints", "not_null", "unique", "unique_keys"]

_SORTS = {
    "n": "NOT NULL",
    "c": "CHECK",
    "p": "PRIMARY KEY",
    "u": "UNIQUE",
    "x": "EXCLUDE",
    "i": "UNIQUE index",
}
# to_jsonb reaches columns that older servers lack; before 18 a NOT NULL is an attribute and has no name
_CONSTRAINTS = """
with recursive held as (
    select c.oid, n.nspname, c.relname from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = any(%(tables)s)
), domains(oid) as (
    select distinct a.atttypid from held h join pg_catalog.pg_attribute a on a.attrelid = h.oid and a.attnum > 0
    join pg_catalog.pg_type t on t.oid = a.atttypid and t.typtype = 'd' where not a.attisdropped
    union
    select t.typbasetype from domains d join pg_catalog.pg_type t on t.oid = d.oid
    join pg_catalog.pg_type b on b.oid = t.typbasetype and b.typtype = 'd'
), keys as (
    select i.indexrelid, i.indrelid, i.indpred is not null as partial, i.indisunique,
           i.indisvalid and i.indisready and i.indislive as good,
           array(select pg_get_indexdef(i.indexrelid, k, true) from generate_series(1, i.indnkeyatts) k) as parts
    from held h join pg_catalog.pg_index i on i.indrelid = h.oid where i.indisunique or i.indisexclusion
)
select c.contype::text, h.nspname || '.' || h.relname, c.conname::text,
       coalesce(k.parts, array(select a.attname::text from pg_catalog.pg_attribute a
                               where a.attrelid = c.conrelid and a.attnum = any(c.conkey) order by a.attnum)),
       pg_get_constraintdef(c.oid), c.convalidated, coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true),
       coalesce(k.good, true), false
from held h join pg_catalog.pg_constraint c on c.conrelid = h.oid and c.contype in ('c', 'p', 'u', 'x')
left join keys k on k.indexrelid = c.conindid
union all
select 'n', h.nspname || '.' || h.relname, a.attname::text, array[a.attname::text], 'NOT NULL',
       coalesce(c.convalidated, true), true, true, false
from held h join pg_catalog.pg_attribute a on a.attrelid = h.oid and a.attnum > 0 and a.attnotnull
left join pg_catalog.pg_constraint c on c.conrelid = h.oid and c.contype = 'n' and c.conkey = array[a.attnum]
where not a.attisdropped
union all
select 'i', h.nspname || '.' || h.relname, x.relname::text, k.parts, 'UNIQUE', true, true, k.good, k.partial
from held h join keys k on k.indrelid = h.oid and k.indisunique join pg_catalog.pg_class x on x.oid = k.indexrelid
where not exists (select 1 from pg_catalog.pg_constraint c where c.conindid = k.indexrelid and c.conrelid = h.oid)
union all
select 'c', 'domain ' || n.nspname || '.' || t.typname, c.conname::text, '{}', pg_get_constraintdef(c.oid),
       c.convalidated, coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true), true, false
from domains d join pg_catalog.pg_type t on t.oid = d.oid join pg_catalog.pg_namespace n on n.oid = t.typnamespace
join pg_catalog.pg_constraint c on c.contypid = d.oid and c.contype = 'c'
union all
select 'n', 'domain ' || n.nspname || '.' || t.typname, t.typname::text, '{}', 'NOT NULL', true, true, true, false
from domains d join pg_catalog.pg_type t on t.oid = d.oid join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where t.typnotnull
order by 2, 1, 3
"""


@dataclass(frozen=True, slots=True)
class Constraint:
    """One rule that the database keeps, and what the catalogue says of it."""

    sort: str
    owner: str
    """The table, such as `public.clients`, or the domain, such as `domain public.email`."""
    name: str
    """Its name; a NOT NULL goes by its column's."""
    parts: tuple[str, ...]
    """Its columns, or the key expressions of a unique one."""
    definition: str
    validated: bool
    enforced: bool
    ready: bool
    """Whether its index, where it has one, is valid and kept."""
    partial: bool
    """It is a unique index that covers some of the rows only."""

    def __str__(self) -> str:
        return f"{_SORTS[self.sort]} {self.name} of {self.owner}"

    @property
    def faults(self) -> list[str]:
        """What the catalogue says against it."""
        told = {
            "not enforced": self.enforced,
            "not validated, so older rows may break it": self.validated or not self.enforced,
            "its index is invalid": self.ready,
        }
        return [fault for fault, well in told.items() if not well]


def constraints(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> list[Constraint]:
    """All constraints of the tables and of the domains of their columns, and their unique indexes."""
    rows = connection.execute(_CONSTRAINTS, {"tables": [table.oid for table in tables]}).fetchall()
    return [Constraint(sort, owner, name, tuple(parts), *rest) for sort, owner, name, parts, *rest in rows]


def not_null(known: Iterable[Constraint], table: Table, column: str) -> Constraint | None:
    """The constraint by which the column can never be null, or none."""
    check = f"CHECK (({column} IS NOT NULL))", f"CHECK (({quoted(column)} IS NOT NULL))"
    fit = [each for each in known if each.owner == table.label and column in each.parts]
    found = [each for each in fit if each.sort == "n" or each.definition.startswith(check)]
    return min(found, key=lambda each: len(each.faults), default=None)


def unique(known: Iterable[Constraint], table: Table, parts: Sequence[str]) -> Constraint | None:
    """The constraint or whole index that keeps these columns or expressions unique together, or none."""
    wanted = {_plain(part) for part in parts}
    found = [each for each in _unique_keys(known, table) if {_plain(part) for part in each.parts} == wanted]
    return min(found, key=lambda each: len(each.faults), default=None)


def unique_keys(known: Iterable[Constraint], table: Table) -> str:
    """The unique keys of the table, as people write them."""
    return "; ".join(", ".join(each.parts) for each in _unique_keys(known, table)) or "none"


def _unique_keys(known: Iterable[Constraint], table: Table) -> list[Constraint]:
    return [each for each in known if each.owner == table.label and each.sort in ("p", "u", "i") and not each.partial]


def _plain(part: str) -> str:
    """An expression without what the server adds to it when it writes it down: casts, brackets, quotes."""
    return re.sub(r'::\w[\w ]*|[\s()"]', "", part)
