"""Lints of constraints, triggers and sequences: what the schema promises, and whether it holds."""

# ruff: noqa: S608  the parts are constants of this package
from __future__ import annotations

from pytest_releasegate.sources.pglints.lint import Level, Lint

__all__ = ["LINTS"]

_MOST = 0.8
"""The share of its numbers that a sequence may have given."""

LINTS = (
    Lint(
        id="no_primary_key",
        level=Level.INFO,
        title="every table has a primary key",
        why="Rows cannot be told apart, updates and deletes cannot be replicated, and many tools need one.",
        fix="alter table SCHEMA.TABLE add primary key (COLUMNS);",
        sql="""
            select r.label, 'none', format('-- alter table %s add primary key (...);', r.sql), true
            from relation r
            where r.kind in ('r', 'p') and not r.partition
              and not exists (select from index x where x.relid = r.oid and x.is_primary)""",
    ),
    Lint(
        id="fkey_to_auth_unique",
        level=Level.ERROR,
        title="no foreign key to a unique constraint of the schema auth, only to its primary keys",
        why="Supabase Auth drops and rebuilds such constraints; a key of yours on one stops its upgrades.",
        fix="alter table SCHEMA.TABLE drop constraint NAME;",
        sql="""
            select k.child_label || ': ' || k.name, 'references ' || p.relname || ' of auth by the unique index '
                   || t.relname, format('alter table %s drop constraint %s;', k.child_sql, k.sql), true
            from foreign_key k
            join pg_catalog.pg_class p on p.oid = k.parent
            join pg_catalog.pg_namespace n on n.oid = p.relnamespace and n.nspname = 'auth'
            join pg_catalog.pg_index i on i.indexrelid = k.target and not i.indisprimary
            join pg_catalog.pg_class t on t.oid = i.indexrelid
            where 'auth' = any(%(left_out)s)""",
    ),
    Lint(
        id="constraint_not_valid",
        level=Level.WARN,
        title="every constraint is validated",
        why="Rows from before it was added may break it, and nothing says which.",
        fix="alter table SCHEMA.TABLE validate constraint NAME;",
        sql="""
            select r.label || ': ' || c.conname, 'not validated: ' || pg_get_constraintdef(c.oid),
                   format('alter table %s validate constraint %I;', r.sql, c.conname), true
            from pg_catalog.pg_constraint c join relation r on r.oid = c.conrelid
            where not c.convalidated and c.conparentid = 0 and c.contype in ('f', 'c', 'n')
              and coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true)""",
    ),
    Lint(
        id="constraint_not_enforced",
        level=Level.WARN,
        title="every constraint is enforced",
        why="NOT ENFORCED only states a wish: no write is held against it.",
        fix="alter table SCHEMA.TABLE alter constraint NAME enforced;",
        where=">= 180000",
        sql="""
            select r.label || ': ' || c.conname, 'not enforced: ' || pg_get_constraintdef(c.oid),
                   case c.contype when 'f' then format('alter table %s alter constraint %I enforced;', r.sql, c.conname)
                   else format('alter table %s drop constraint %I, add constraint %I %s;', r.sql, c.conname, c.conname,
                               replace(pg_get_constraintdef(c.oid), ' NOT ENFORCED', '')) end, true
            from pg_catalog.pg_constraint c join relation r on r.oid = c.conrelid
            where not c.conenforced and c.conparentid = 0""",
    ),
    Lint(
        id="foreign_key_triggers_disabled",
        level=Level.ERROR,
        title="the triggers that enforce foreign keys are enabled",
        why="While they are off, no write is held against the key, though the catalogue calls it valid.",
        fix="alter table SCHEMA.TABLE enable trigger all; -- then look for orphaned rows",
        sql="""
            select r.label || ': ' || k.conname, count(*) || ' of its triggers disabled on ' || r.label,
                   format('alter table %s enable trigger all; -- then look for orphaned rows', r.sql), true
            from pg_catalog.pg_trigger t join relation r on r.oid = t.tgrelid
            join pg_catalog.pg_constraint k on k.oid = t.tgconstraint and k.contype = 'f'
            where t.tgisinternal and t.tgenabled not in ('O', 'A')
            group by r.label, r.sql, k.conname""",
    ),
    Lint(
        id="trigger_disabled",
        level=Level.WARN,
        title="every trigger is enabled",
        why="What it keeps, such as the audit log, is not kept, and nothing tells so.",
        fix="alter table SCHEMA.TABLE enable trigger NAME;",
        sql="""
            select r.label || ': ' || t.tgname,
                   case t.tgenabled when 'D' then 'disabled' else 'fires in replicas only' end,
                   format('alter table %s enable trigger %I;', r.sql, t.tgname), true
            from pg_catalog.pg_trigger t join relation r on r.oid = t.tgrelid
            where not t.tgisinternal and t.tgenabled in ('D', 'R') and t.tgparentid = 0""",
    ),
    Lint(
        id="foreign_key_type_mismatch",
        level=Level.WARN,
        title="the columns of a foreign key have the types of those that they reference",
        why="A narrower column runs out before its parent, and comparing other types keeps indexes from being used.",
        fix="alter table SCHEMA.TABLE alter column NAME type TYPE; -- rewrites the table",
        sql="""
            select k.child_label || ': ' || k.name,
                   string_agg(format('%s is %s, %s of %s is %s', a.attname, format_type(a.atttypid, null), b.attname,
                                     k.parent::regclass, format_type(b.atttypid, null)), ', '),
                   string_agg(format('alter table %s alter column %s type %s; /* rewrites the table */', k.child_sql,
                                     quote_ident(a.attname),
                                     format_type(b.atttypid, b.atttypmod)), ' '), true
            from foreign_key k
            cross join lateral unnest(k.columns, k.keys) u (own, other)
            join pg_catalog.pg_attribute a on a.attrelid = k.child and a.attnum = u.own
            join pg_catalog.pg_attribute b on b.attrelid = k.parent and b.attnum = u.other
            join pg_catalog.pg_type ta on ta.oid = a.atttypid
            join pg_catalog.pg_type tb on tb.oid = b.atttypid
            cross join lateral (select case ta.typtype when 'd' then ta.typbasetype else ta.oid end,
                                       case tb.typtype when 'd' then tb.typbasetype else tb.oid end) t (own, other)
            where t.own <> t.other
              and not (t.own in ('text'::regtype, 'varchar'::regtype)
                       and t.other in ('text'::regtype, 'varchar'::regtype))
            group by k.child_label, k.name""",
    ),
    Lint(
        id="duplicate_foreign_key",
        level=Level.WARN,
        title="no two foreign keys say the same",
        why="Each write is checked twice, and a cascade of one may contradict the other.",
        fix="alter table SCHEMA.TABLE drop constraint NAME;",
        sql="""
            select k.child_label || ': ' || k.name, 'says the same as ' || f.name,
                   format('alter table %s drop constraint %s;', k.child_sql, k.sql), true
            from foreign_key k join foreign_key f on f.child = k.child and f.parent = k.parent and f.oid < k.oid
             and cardinality(f.columns) = cardinality(k.columns)
            where array(select (own, other)::text from unnest(k.columns, k.keys) u (own, other) order by 1)
                = array(select (own, other)::text from unnest(f.columns, f.keys) u (own, other) order by 1)
              and not exists (select from foreign_key e where e.child = f.child and e.parent = f.parent
                              and e.columns @> f.columns and e.columns <@ f.columns and e.oid < f.oid)""",
    ),
    Lint(
        id="sequence_near_end",
        level=Level.WARN,
        title=f"no sequence has given more than {_MOST:.0%} of its numbers",
        why="When the numbers end, or no longer fit the column, every insert fails.",
        fix="alter table SCHEMA.TABLE alter column NAME type bigint; -- and: alter sequence NAME as bigint;",
        sql=f"""
            select u.label, case when not u.readable then 'may not be read'
                   else format('%s of %s%s', u.last, u.most, ' given (' || floor(100 * u.share) || ' percent'
                               || coalesce(', ' || u.holder, '') || ')') end,
                   coalesce(u.fix, format('alter sequence %s as bigint %s;', u.sql, u.unbound)), u.readable
            from (
                select s.name || '.' || c.relname as label, s.sql || '.' || quote_ident(c.relname) as sql,
                       h.holder, h.fix, v.readable, v.last, e.unbound,
                       case when q.seqincrement > 0 then l.most else q.seqmin end as most,
                       case when q.seqincrement > 0 then v.last::numeric / nullif(l.most, 0)
                            else v.last::numeric / nullif(q.seqmin, 0) end as share
                from pg_catalog.pg_sequence q
                join pg_catalog.pg_class c on c.oid = q.seqrelid
                join space s on s.oid = c.relnamespace
                cross join lateral (
                    select case when q.seqincrement > 0 then 'no maxvalue' else 'no minvalue' end) e (unbound)
                cross join lateral (
                    -- a standby has no unlogged ones
                    select has_sequence_privilege(c.oid, 'SELECT, USAGE')
                           and (c.relpersistence = 'p' or not pg_is_in_recovery())) p (readable)
                cross join lateral (
                    select p.readable, case when p.readable then pg_sequence_last_value(c.oid) end as last) v
                left join lateral (
                    select r.relname || '.' || a.attname || ' is ' || format_type(a.atttypid, null) as holder,
                           a.atttypid as type, case when a.atttypid <> 'bigint'::regtype then
                               format('alter table %s alter column %s type bigint; /* rewrites the table */',
                                      r.oid::regclass, quote_ident(a.attname))
                           end || format(' alter sequence %s as bigint %s;', q.seqrelid::regclass, e.unbound) as fix
                    from (
                        select d.refobjid as relid, d.refobjsubid as number from pg_catalog.pg_depend d
                        where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
                          and d.deptype in ('a', 'i') and d.refobjsubid > 0
                        union
                        select e.adrelid, e.adnum from pg_catalog.pg_depend d
                        join pg_catalog.pg_attrdef e on e.oid = d.objid
                        where d.classid = 'pg_catalog.pg_attrdef'::regclass
                          and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = c.oid
                    ) o join pg_catalog.pg_attribute a on a.attrelid = o.relid and a.attnum = o.number
                    join pg_catalog.pg_class r on r.oid = o.relid
                    order by case a.atttypid when 'int2'::regtype then 1 when 'int4'::regtype then 2 else 3 end limit 1
                ) h on true
                cross join lateral (select least(q.seqmax::numeric, case h.type when 'int2'::regtype then 32767
                                                     when 'int4'::regtype then 2147483647 end)) l (most)
                where not q.seqcycle and not exists (
                    select from extended x where x.classid = 'pg_catalog.pg_class'::regclass and x.objid = c.oid)
            ) u
            where u.share > {_MOST} or not u.readable""",
    ),
)
