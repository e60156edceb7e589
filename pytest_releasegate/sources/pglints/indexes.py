"""Lints of indexes."""

# ruff: noqa: S608  the parts are constants of this package
from __future__ import annotations

from pytest_releasegate.sources.pglints.lint import Level, Lint

__all__ = ["LINTS"]

_DROP = """case when x.constraint_name is null then format('drop index %s;', x.sql)
                else format('alter table %s drop constraint %I;', x.table_sql, x.constraint_name) end"""

LINTS = (
    Lint(
        id="unindexed_foreign_keys",
        level=Level.INFO,
        title="an index begins with the columns of each foreign key",
        why="Without it, each delete or key change of a parent row scans the whole table, and so do joins.",
        fix="create index concurrently on SCHEMA.TABLE (COLUMNS);",
        sql="""
            select k.child_label || ': ' || k.name, 'no index begins with ' || array_to_string(k.column_names, ', ')
                   || coalesce((select '; ' || min(x.name) || ' has them in another order' from index x
                                where x.relid = k.child and x.is_valid and not x.partial
                                  and (x.columns::int2[])[0:cardinality(k.columns) - 1] @> k.columns), ''),
                   format('create index%s on %s (%s);', case r.kind when 'r' then ' concurrently' end,
                          k.child_sql, array_to_string(k.column_names, ', ')), true
            from foreign_key k join relation r on r.oid = k.child
            where not exists (
                select from index x where x.relid = k.child and x.is_valid
                  and (x.columns::int2[])[0:cardinality(k.columns) - 1] = k.columns and x.keys >= cardinality(k.columns)
                  and (not x.partial
                       or x.definition ~ (' WHERE \\(' || regexp_replace(k.column_names[1], '([^\\w])', '\\\\\\1', 'g')
                                          || ' IS NOT NULL\\)$')))""",
    ),
    Lint(
        id="unused_index",
        level=Level.INFO,
        title="every index has been used since the statistics began",
        why="An index that is never read still costs each write and its space; it may be used on a standby, or once a "
        "year.",
        fix="drop index concurrently SCHEMA.INDEX;",
        sql="""
            select x.label, 'never used on ' || x.table_label || ' since '
                   || coalesce((select stats_reset::date::text from pg_catalog.pg_stat_database
                                where datname = current_database()), 'the statistics began'),
                   format('drop index concurrently %s;', x.sql), true
            from index x join pg_catalog.pg_stat_user_indexes u on u.indexrelid = x.oid
            where u.idx_scan = 0 and not x.is_unique and not x.partition and x.kind = 'i'
              and x.constraint_name is null""",
    ),
    Lint(
        id="duplicate_index",
        level=Level.WARN,
        title="no two indexes are the same",
        why="Each write maintains both, and both take space; one serves every query.",
        fix="drop index SCHEMA.INDEX;",
        sql=f"""
            select x.label, 'the same as ' || f.label || ' on ' || x.table_label, {_DROP}, true
            from (
                select i.*, row_number() over w as place, first_value(i.oid) over w as first
                from index i where not i.partition
                window w as (partition by i.relid, i.is_unique,
                                          substr(i.definition, strpos(i.definition, quote_ident(i.name) || ' ON ')
                                                               + length(quote_ident(i.name)))
                             order by not i.is_primary, i.oid <> all(array(select k.target from foreign_key k)),
                                      i.constraint_name is null, i.name)
            ) x join index f on f.oid = x.first
            where x.place > 1""",
    ),
    Lint(
        id="invalid_index",
        level=Level.WARN,
        title="every index is valid and ready",
        why="No query uses an invalid index, but every write maintains it; a unique one may not keep rows unique.",
        fix="reindex index concurrently SCHEMA.INDEX;",
        sql="""
            select x.label, concat_ws(', ', case when not x.is_valid then 'not valid' end,
                                      case when not x.is_ready then 'not ready' end,
                                      case when not x.is_live then 'being dropped' end) || ' on ' || x.table_label,
                   case when x.name ~ '_ccnew\\d*$|_ccold\\d*$' then format('drop index concurrently %s;', x.sql)
                        when x.excludes then format('reindex index %s;', x.sql)
                        else format('reindex index concurrently %s;', x.sql) end, true
            from index x
            -- that of a partitioned table is invalid until the last partition has its own, and no query reads it
            where not (x.is_valid and x.is_ready and x.is_live) and x.kind = 'i'
              and not exists (select from pg_catalog.pg_stat_progress_create_index b where b.index_relid = x.oid)""",
    ),
)
