"""What tables hold, as a number of rows and a checksum that knows no order."""

# ruff: noqa: S608  identifiers are quoted
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pgcontent import mixed
from pytest_releasegate.sources.pgtables import quoted, user_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

__all__ = ["Contents", "contents", "lost"]

# a type without a hash of its own is compared by its text
_COLUMNS = """
with kinds as (
    select t.oid, case when b.typelem <> 0 and b.typlen = -1 then b.typelem else b.oid end as base
    from pg_catalog.pg_type t
    join pg_catalog.pg_type b on b.oid = case when t.typbasetype <> 0 then t.typbasetype else t.oid end
), hashed as (
    select k.oid from kinds k join pg_catalog.pg_type t on t.oid = k.base
    where t.typtype in ('e', 'r') or exists (
        select from pg_catalog.pg_opclass o join pg_catalog.pg_am m on m.oid = o.opcmethod and m.amname = 'hash'
        where o.opcdefault and (o.opcintype = t.oid or exists (
            select from pg_catalog.pg_cast c
            where c.castsource = t.oid and c.casttarget = o.opcintype and c.castmethod = 'b' and c.castcontext = 'i')))
)
select array_agg(a.attname::text order by a.attnum), array_agg(h.oid is not null order by a.attnum)
from pg_catalog.pg_attribute a left join hashed h on h.oid = a.atttypid
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
"""


@dataclass(frozen=True, slots=True)
class Contents:
    """The rows of one table at one instant."""

    rows: int
    checksum: int
    columns: tuple[str, ...]


def contents(connection: psycopg.Connection[Any], like: Mapping[str, Contents] | None = None) -> dict[str, Contents]:
    """The contents of all tables by label; of those that are `like` others, in the same columns only."""
    told = {}
    for table in user_tables(connection):
        row = connection.execute(_COLUMNS, [table.oid]).fetchone()
        names, hashed = (row[0] or [], row[1] or []) if row else ([], [])
        wanted = set(like[table.label].columns) if like and table.label in like else set(names)
        chosen = [(name, known) for name, known in zip(names, hashed, strict=True) if name in wanted]
        values = ", ".join(f"t.{quoted(name)}{'' if known else '::text'}" for name, known in chosen)
        hashed = mixed(f"hash_record_extended(row({values}), 0)")
        query = f"select count(*), coalesce(sum({hashed}), 0)::text from {table.source} t"
        found = connection.execute(query.encode()).fetchone()
        rows, checksum = found or (0, "0")
        told[table.label] = Contents(rows, int(checksum), tuple(name for name, _ in chosen))
    return told


def lost(
    before: Mapping[str, Contents], after: Mapping[str, Contents], changed: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    """The tables that lost something, each with what; `changed` are rows that were there and were written to."""
    for label, old in before.items():
        new = after.get(label)
        if new is None:
            yield label, "the table is gone"
        elif gone := sorted(set(old.columns) - set(new.columns)):
            yield label, f"gone: {', '.join(gone)}"
        elif new.rows < old.rows:
            yield label, f"{old.rows - new.rows} of {old.rows} rows are gone"
        elif new.checksum != old.checksum and (label in changed or new.rows == old.rows):
            number = changed.get(label, 0)
            yield label, f"{number} rows are not what they were" if number else "its rows are not what they were"
