"""Lints of the server and what belongs to all of it: roles, passwords, connections, extensions, slots."""

# ruff: noqa: S608  the parts are constants of this package
from __future__ import annotations

from pytest_releasegate.sources.pglints.lint import Level, Lint

__all__ = ["BUCKETS", "HBA", "LINTS"]

_PLATFORM = "^(supabase_|rds|cloudsql|azure|alloydb|pgbouncer|postgres$|neon|avnadmin$|doadmin$|_crunchy)"

LINTS = (
    Lint(
        id="extension_in_public",
        level=Level.WARN,
        title="no extension in the schema public or in one of an API",
        why="Its functions stand among the user's own, and an API offers them to its callers.",
        fix="alter extension NAME set schema extensions;",
        sql="""
            select e.extname::text, 'in ' || n.nspname,
                   'create schema if not exists extensions; '
                   || case when e.extrelocatable then format('alter extension %I set schema extensions;', e.extname)
                   else format('drop extension %I; create extension %I schema extensions;', e.extname, e.extname)
                   end, true
            from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
            where e.extname <> 'plpgsql'
              and (n.nspname = 'public' or n.nspname = any(%(api_schemas)s) and n.nspname <> all(%(left_out)s))""",
    ),
    Lint(
        id="extension_versions_outdated",
        level=Level.WARN,
        title="every extension is at the version that the server brings",
        why="Older scripts lack fixes, some of them of security holes.",
        fix="alter extension NAME update;",
        sql="""
            select e.extname::text, 'at ' || e.extversion || ', and the server brings ' || v.default_version,
                   format('alter extension %I update;', e.extname), true
            from pg_catalog.pg_extension e
            join pg_catalog.pg_available_extensions() v on v.name = e.extname
            where v.default_version is not null and v.default_version <> e.extversion""",
    ),
    Lint(
        id="role_bypasses_rls",
        level=Level.INFO,
        title="few roles that log in are superusers or have BYPASSRLS",
        why="No policy binds them; an application that connects as one has no row-level security at all.",
        fix="alter role NAME nosuperuser nobypassrls;",
        sql=f"""
            select r.rolname::text, concat_ws(', ', case when r.rolsuper then 'superuser' end,
                                       case when r.rolbypassrls then 'BYPASSRLS' end) || ', and can log in',
                   format('alter role %I nosuperuser nobypassrls;', r.rolname), true
            from pg_catalog.pg_roles r
            where r.rolcanlogin and (r.rolsuper or r.rolbypassrls) and r.oid <> 10
              and (r.rolsuper or r.rolname <> current_user) and r.rolname !~ '{_PLATFORM}'""",
    ),
    Lint(
        id="password_encryption_md5",
        level=Level.WARN,
        title="new passwords are kept as SCRAM-SHA-256",
        why="MD5 hashes can be used to log in without knowing the password, and are gone in a coming release.",
        fix="alter system set password_encryption = 'scram-sha-256'; -- then set the passwords anew",
        sql="""
            select 'password_encryption', current_setting('password_encryption'),
                   'alter system set password_encryption = ''scram-sha-256''; -- then set the passwords anew', true
            where current_setting('password_encryption') <> 'scram-sha-256'""",
    ),
    Lint(
        id="tls_off",
        level=Level.INFO,
        title="the server speaks TLS",
        why="Passwords and rows travel in the clear, unless only local sockets or a tunnel lead to the server.",
        fix="alter system set ssl = on; -- once ssl_cert_file and ssl_key_file are there",
        sql="""
            select 'ssl', 'off', 'alter system set ssl = on; -- once ssl_cert_file and ssl_key_file are there', true
            where current_setting('ssl') = 'off'""",
    ),
    Lint(
        id="unused_replication_slot",
        level=Level.WARN,
        title="every replication slot is in use",
        why="A slot that nobody reads keeps all WAL since then, until the disk is full.",
        fix="select pg_drop_replication_slot('NAME');",
        sql="""
            select s.slot_name::text, 'inactive ' || s.slot_type || ' slot'
                   || coalesce(', ' || s.wal_status, ''),
                   format('select pg_drop_replication_slot(%L);', s.slot_name), true
            from pg_catalog.pg_replication_slots s where not s.active and not s.temporary""",
    ),
)

HBA = Lint(
    id="hba_without_password",
    level=Level.ERROR,
    title="nobody from another machine logs in without a password, or with one that can be read on the way",
    why="`trust` lets whoever reaches the port in as anybody; `password` without TLS sends it in the clear.",
    fix="-- in pg_hba.conf: hostssl DATABASE USER ADDRESS scram-sha-256",
    rare=True,
    sql="""
        select 'pg_hba.conf line ' || h.line_number,
               concat_ws(' ', h.type, array_to_string(h.database, ','), array_to_string(h.user_name, ','), h.address,
                         h.auth_method),
               '-- hostssl ' || concat_ws(' ', array_to_string(h.database, ','), array_to_string(h.user_name, ','),
                                          h.address, 'scram-sha-256'), true
        from pg_catalog.pg_hba_file_rules h
        where h.type like 'host%' and coalesce(h.address, 'all') not in ('127.0.0.1', '::1', 'localhost')
          and (h.auth_method = 'trust' or (h.auth_method = 'password' and h.type <> 'hostssl'))""",
)
"""Run only where the role may read that file."""

BUCKETS = Lint(
    id="public_bucket_allows_listing",
    level=Level.WARN,
    title="no policy lets callers list a public bucket of files",
    why="Whoever knows an address reads that file anyway; listing tells everybody all addresses.",
    fix="drop policy NAME on storage.objects;",
    api=True,
)
"""Run only where there is Supabase Storage."""
