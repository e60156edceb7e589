"""What lints are asked over: the user's schemas, relations, functions and the API's roles, each worked out once."""

from __future__ import annotations

__all__ = ["BASE", "COUNTS", "OTHERS"]

OTHERS = (
    "_realtime",
    "_timescaledb_cache",
    "_timescaledb_catalog",
    "_timescaledb_config",
    "_timescaledb_internal",
    "auth",
    "cron",
    "extensions",
    "graphql",
    "graphql_public",
    "net",
    "pgbouncer",
    "pgmq",
    "pgmq_public",
    "pgroonga",
    "pgsodium",
    "pgsodium_masks",
    "pgtle",
    "realtime",
    "releasegate",
    "repack",
    "storage",
    "supabase_functions",
    "supabase_migrations",
    "tiger",
    "tiger_data",
    "topology",
    "vault",
)
"""Schemas that a platform, an extension or this tool fills, by their well-known names."""

BASE = """
with recursive api_role as materialized (
    select oid, rolname::text as name, rolsuper or rolbypassrls as bypasses
    from pg_catalog.pg_roles where rolname = any(%(api_roles)s)
), space as materialized (
    select oid, nspname::text as name, quote_ident(nspname) as sql, nspname = any(%(api_schemas)s) as api,
           nspacl as acl, nspowner as owner,
           array(select a.name from api_role a where has_schema_privilege(a.oid, n.oid, 'USAGE')) as entered_by
    from pg_catalog.pg_namespace n
    where nspname !~ '^pg_' and nspname <> 'information_schema' and nspname <> all(%(left_out)s)
), extended as materialized (
    select classid, objid from pg_catalog.pg_depend where deptype = 'e'
), relation as materialized (
    select c.oid, c.relname::text as name, c.relkind as kind, c.relispartition as partition, c.relrowsecurity as rls,
           c.relforcerowsecurity as forced, c.relowner as owner, c.relpersistence as persistence, c.relacl as acl,
           c.reloptions as options, c.reltuples as tuples, c.relpages as pages, c.relam as am,
           s.oid as space, s.name as schema, s.api, s.name || '.' || c.relname as label,
           s.sql || '.' || quote_ident(c.relname) as sql,
           array(select a.name from api_role a
                 where a.name = any(s.entered_by) and has_any_column_privilege(a.oid, c.oid, 'SELECT')
                 order by a.name) as readers,
           array(select a.name from api_role a
                 where a.name = any(s.entered_by)
                   and (has_any_column_privilege(a.oid, c.oid, 'INSERT')
                        or has_any_column_privilege(a.oid, c.oid, 'UPDATE')
                        or has_table_privilege(a.oid, c.oid, 'DELETE'))
                 order by a.name) as writers
    from pg_catalog.pg_class c join space s on s.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f')
      and not exists (select from extended e where e.classid = 'pg_catalog.pg_class'::regclass and e.objid = c.oid)
), attribute as not materialized (
    select attrelid as relid, attnum as number, attname::text as name, quote_ident(attname) as sql,
           atttypid as type, attnotnull as not_null
    from pg_catalog.pg_attribute where attnum > 0 and not attisdropped
), function as materialized (
    select p.oid, p.proname::text as name, p.prokind as kind, p.prosecdef as definer, p.proconfig as config,
           p.prorettype as returns, p.prolang as language, p.prosqlbody is not null as bound, p.proowner as owner,
           p.proacl as acl, s.name as schema, s.api,
           s.name || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' as label,
           case p.prokind when 'p' then 'procedure ' else 'function ' end || s.sql || '.' || quote_ident(p.proname)
               || '(' || pg_get_function_identity_arguments(p.oid) || ')' as sql,
           p.prorettype in ('trigger'::regtype, 'event_trigger'::regtype) as for_triggers,
           array(select a.name from api_role a
                 where a.name = any(s.entered_by) and has_function_privilege(a.oid, p.oid, 'EXECUTE')
                 order by a.name) as callers
    from pg_catalog.pg_proc p join space s on s.oid = p.pronamespace
    where not exists (select from extended e where e.classid = 'pg_catalog.pg_proc'::regclass and e.objid = p.oid)
), foreign_key as materialized (
    select c.oid, c.conname::text as name, quote_ident(c.conname) as sql, c.conrelid as child, c.confrelid as parent,
           c.conkey as columns, c.confkey as keys, c.conindid as target, r.label as child_label, r.sql as child_sql,
           array(select quote_ident(a.attname) from unnest(c.conkey) with ordinality k (number, place)
                 join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number
                 order by k.place) as column_names
    from pg_catalog.pg_constraint c join relation r on r.oid = c.conrelid
    where c.contype = 'f' and c.conparentid = 0
), index as materialized (
    select i.indexrelid as oid, i.indrelid as relid, c.relname::text as name, i.indisunique as is_unique,
           i.indisprimary as is_primary, i.indisexclusion as excludes,
           i.indisvalid as is_valid, i.indisready as is_ready, i.indislive as is_live, i.indkey as columns,
           i.indnkeyatts as keys, i.indpred is not null as partial, c.relkind as kind,
           c.relispartition as partition, r.schema, r.label as table_label, r.sql as table_sql,
           r.schema || '.' || c.relname as label,
           quote_ident(r.schema) || '.' || quote_ident(c.relname) as sql,
           k.conname::text as constraint_name, pg_get_indexdef(i.indexrelid) as definition
    from pg_catalog.pg_index i join relation r on r.oid = i.indrelid
    join pg_catalog.pg_class c on c.oid = i.indexrelid
    left join pg_catalog.pg_constraint k on k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x')
)
"""

COUNTS = """
select
    (select count(*) from relation where kind in ('r', 'p') and not partition),
    (select count(*) from relation where kind in ('v', 'm')),
    (select count(*) from function),
    (select count(*) from pg_catalog.pg_policy p join relation r on r.oid = p.polrelid),
    array(select name from api_role order by name),
    array(select nspname::text from pg_catalog.pg_namespace where nspname = any(%(left_out)s) order by nspname),
    array(select distinct btrim(w, ' "') from pg_catalog.pg_db_role_setting d
          join pg_catalog.pg_database b on b.datname = current_database() and d.setdatabase in (0, b.oid)
          cross join unnest(d.setconfig) c
          cross join unnest(string_to_array(split_part(c, '=', 2), ',')) w
          where c ^@ 'pgrst.db_schemas='
            and btrim(w, ' "') <> all(%(api_schemas)s) and btrim(w, ' "') <> all(%(left_out)s)
          order by 1),
    array(select s from unnest(%(api_schemas)s) s
          where s not in (select nspname from pg_catalog.pg_namespace) and s <> all(%(left_out)s))
"""
