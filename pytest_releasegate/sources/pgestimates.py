"""How many rows tables hold by the planner's statistics: at once, however large they are, and never exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from pytest_releasegate.sources.pgtables import Table

__all__ = ["NEVER", "estimates"]

NEVER = "no statistics: it was never analysed; run ANALYZE, or count it exactly"

# as the planner does, the density that was seen last times the size of now
_ESTIMATES = """
select e.root, case when bool_and(e.known) then round(sum(e.rows))::bigint end
from (
    select l.root, l.size = 0 or (c.reltuples >= 0 and c.relpages > 0) as known,
           case when l.size = 0 or c.relpages = 0 then 0
                else c.reltuples::float8 / c.relpages * (l.size / current_setting('block_size')::int) end as rows
    from (
        select root, root as oid, coalesce(pg_catalog.pg_relation_size(root::regclass), 0) as size
        from unnest(%s::bigint[]) root
        union all
        select root, p.relid::bigint, coalesce(pg_catalog.pg_relation_size(p.relid), 0)
        from unnest(%s::bigint[]) root cross join pg_catalog.pg_partition_tree(root::regclass) p where p.relid <> root
    ) l join pg_catalog.pg_class c on c.oid = l.oid
) e group by e.root
"""


def estimates(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> dict[str, int | None]:
    """The estimated number of rows by table; None where the server has no statistics of it."""
    oids = [table.oid for table in tables]
    found = dict(connection.execute(_ESTIMATES, [oids, oids]).fetchall())
    return {table.label: found.get(table.oid) for table in tables}
