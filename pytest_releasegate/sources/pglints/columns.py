"""Lints of tables and their columns."""

# ruff: noqa: S608  the parts are constants of this package
from __future__ import annotations

from pytest_releasegate.sources.pglints.lint import Level, Lint

__all__ = ["LINTS"]

_REG = """('regcollation', 'regconfig', 'regdictionary', 'regnamespace', 'regoper', 'regoperator', 'regproc',
    'regprocedure')"""

LINTS = (
    Lint(
        id="unsupported_reg_types",
        level=Level.WARN,
        title="no column of a type that pg_upgrade refuses (reg*)",
        why="Such a column holds numbers that mean something else after an upgrade; pg_upgrade stops at it.",
        fix="alter table SCHEMA.TABLE alter column NAME type text;",
        sql=f"""
            select r.label, string_agg(a.name || ' is ' || t.typname, ', ' order by a.number),
                   string_agg(format('alter table %s alter column %s type text;', r.sql, a.sql), ' '
                              order by a.number), true
            from relation r join attribute a on a.relid = r.oid
            join pg_catalog.pg_type t on t.oid = a.type and t.typnamespace = 'pg_catalog'::regnamespace
            where r.kind in ('r', 'p', 'm') and ltrim(t.typname, '_') in {_REG}
            group by r.label, r.sql""",
    ),
    Lint(
        id="timestamp_without_time_zone",
        level=Level.INFO,
        title="instants are kept with time zone (timestamptz)",
        why="A timestamp without zone means another instant in every session's zone.",
        fix="alter table SCHEMA.TABLE alter column NAME type timestamptz using NAME at time zone 'UTC';",
        sql="""
            select r.label, string_agg(a.name, ', ' order by a.number) || ' without time zone',
                   string_agg(format('alter table %s alter column %s type timestamptz using %s at time zone %L;',
                                     r.sql, a.sql, a.sql, 'UTC'), ' ' order by a.number), true
            from relation r join attribute a on a.relid = r.oid
            where r.kind in ('r', 'p') and not r.partition and a.type = 'timestamp'::regtype
            group by r.label""",
    ),
    Lint(
        id="unlogged_table",
        level=Level.WARN,
        title="every table is logged",
        why="After a crash an unlogged table is empty, and standbys and backups never hold its rows.",
        fix="alter table SCHEMA.TABLE set logged;",
        sql="""
            select r.label, 'unlogged', format('alter table %s set logged;', r.sql), true
            from relation r where r.kind in ('r', 'p') and r.persistence = 'u'""",
    ),
    Lint(
        id="autovacuum_disabled",
        level=Level.WARN,
        title="autovacuum is on for every table",
        why="Dead rows stay, statistics grow stale, and the table is vacuumed by force when its transactions run out.",
        fix="alter table SCHEMA.TABLE reset (autovacuum_enabled);",
        sql="""
            select r.label, 'off for this table', format('alter table %s reset (autovacuum_enabled);', r.sql), true
            from relation r
            where r.kind in ('r', 'm') and exists (
                select from pg_catalog.pg_options_to_table(r.options) o
                where o.option_name = 'autovacuum_enabled' and not o.option_value::boolean)""",
    ),
    Lint(
        id="table_bloat",
        level=Level.INFO,
        title="no table is mostly empty space, by the planner's statistics",
        why="Scans read the empty space too. It is an estimate: pgstattuple counts.",
        fix="vacuum full SCHEMA.TABLE; -- locks it meanwhile; or pg_repack",
        sql="""
            select b.label, format('about %s of %s MiB are empty', round(b.waste / 1048576), round(b.size / 1048576)),
                   format('vacuum full %s; -- locks it meanwhile; or pg_repack', b.sql), true
            from (
                select r.label, r.sql, r.pages::numeric * s.block as size,
                       greatest(0, r.pages::numeric * s.block - ceil(r.tuples::numeric * w.width
                                / (s.block - 24)) * s.block) as waste
                from relation r
                cross join (select current_setting('block_size')::numeric as block) s
                join lateral (
                    select 28 + ceil((case when bool_or(t.stanullfrac > 0) then ceil(count(*) / 8.0) else 0 end
                                      + sum((1 - t.stanullfrac) * t.stawidth)::numeric) / 8) * 8 as width
                    from attribute a join lateral (
                        select g.null_frac as stanullfrac, g.avg_width as stawidth from pg_catalog.pg_stats g
                        where g.schemaname = r.schema and g.tablename = r.name and g.attname = a.name
                          and not g.inherited) t on true
                    where a.relid = r.oid
                ) w on w.width is not null
                where r.kind in ('r', 'm') and r.tuples > 0 and r.pages > 2560
            ) b
            where b.waste > 20 * 1048576 and b.waste > 0.7 * b.size""",
    ),
)
