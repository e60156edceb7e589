"""Lints of what the callers of an API reach: tables, views and foreign tables."""

# ruff: noqa: S608  the parts are constants of this package
from __future__ import annotations

from pytest_releasegate.sources.pglints.lint import Level, Lint

__all__ = ["LINTS"]

_REACH = """concat_ws(' and ',
    case when r.readers <> '{}' then array_to_string(r.readers, ', ') || ' may read' end,
    case when r.writers <> '{}' then array_to_string(r.writers, ', ') || ' may write' end)"""
_REACHED = "(r.readers <> '{}' or r.writers <> '{}')"
INVOKER = """exists (
    select from pg_catalog.pg_options_to_table(r.options) o
    where o.option_name = 'security_invoker' and o.option_value::boolean)"""
"""The view is read with the rights of whoever asks it."""

_CERTAIN = (
    "password|passwd|passphrase|passcode|ssn|social_security|social_security_(?:number|no)|credit_card|"
    "credit_card_(?:number|no)|card_number|cvv|cvc|iban|api_key|apikey|secret_key|private_key|access_token|"
    "refresh_token|bank_account|bank_account_(?:number|no)|passport_number|national_id|tax_id"
)
_EXACT = (
    "pwd|secret|token|jwt|auth_key|auth_code|oauth_token|session_token|bearer_token|session_id|session_key|"
    "session_secret|client_secret|webhook_secret|signing_secret|encryption_key|recovery_code|backup_code|"
    "recovery_codes|backup_codes|verification_code|otp|otp_secret|totp_secret|mfa_secret|two_factor|2fa_secret|"
    "2fa_code|driver_license|drivers_license|license_number|passport_id|cvn|account_number|routing_number|"
    "swift_code|bic|health_record|medical_record|patient_id|insurance_number|health_insurance|medical_insurance|"
    "diagnosis|treatment|mac_address|macaddr|imei|device_uuid|pgp_key|gpg_key|ssh_key|certificate|license_key|"
    "activation_key|fingerprint|biometric|facial_recognition"
)
SENSITIVE = f"^(?:(?:.+_)?(?:{_CERTAIN})(?:_(?:hash|digest|salt|encrypted|enc|plain))?|{_EXACT})$"
"""Names of columns that hold secrets or what identifies people; the telling ones with a word before or after, too."""

_SNAKE = r"lower(replace(regexp_replace(a.name, '([a-z0-9])([A-Z])', '\1_\2', 'g'), '-', '_'))"
_QUIET_TYPES = "('boolean'::regtype, 'date'::regtype, 'timestamptz'::regtype, 'timestamp'::regtype)"


def _graphql(id: str, which: str, who: str) -> Lint:  # noqa: A002  a lint's own word for it
    return Lint(
        id=id,
        level=Level.WARN,
        title=f"no relation in the GraphQL schema of {who}",
        why="pg_graphql shows names, columns and relationships of whatever the role may read, row security or not.",
        fix="revoke select on SCHEMA.RELATION from ROLE;",
        api=True,
        sql=f"""
            select r.label, array_to_string(x.roles, ', ') || ' may see it in the GraphQL schema',
                   format('revoke select on %s from public, %s;', r.sql,
                          (select string_agg(quote_ident(n), ', ') from unnest(x.roles) n)), true
            from relation r, lateral (select array(select n from unnest(r.readers) n where n {which} 'anon')) x (roles)
            where r.kind in ('r', 'v', 'm', 'f') and x.roles <> '{{}}'
              and exists (select from pg_catalog.pg_extension where extname = 'pg_graphql')""",
    )


LINTS = (
    Lint(
        id="rls_disabled_in_public",
        level=Level.ERROR,
        title="row-level security on every table that an API reaches",
        why="Without it, whoever holds the API's public key reads and writes every row that the grants allow.",
        fix="alter table SCHEMA.TABLE enable row level security;",
        api=True,
        sql=f"""
            select r.label, 'off, and ' || {_REACH}, format('alter table %s enable row level security;', r.sql), true
            from relation r where r.kind in ('r', 'p') and r.api and not r.rls and {_REACHED}""",
    ),
    Lint(
        id="sensitive_columns_exposed",
        level=Level.ERROR,
        title="row-level security wherever columns are named like secrets or identities",
        why="Credentials and what identifies people would be read by whoever holds the API's public key.",
        fix="alter table SCHEMA.TABLE enable row level security;",
        api=True,
        sql=f"""
            select r.label, 'off, and columns ' || string_agg(a.name, ', ' order by a.number) || ' can be read by '
                   || array_to_string(r.readers, ', '),
                   format('alter table %s enable row level security;', r.sql), true
            from relation r join attribute a on a.relid = r.oid
            where r.kind in ('r', 'p') and r.api and not r.rls and r.readers <> '{{}}'
              and {_SNAKE} ~ '{SENSITIVE}' and a.type not in {_QUIET_TYPES}
              and exists (select from api_role x where has_column_privilege(x.oid, r.oid, a.number, 'SELECT'))
            group by r.label, r.sql, r.readers""",
    ),
    Lint(
        id="auth_users_exposed",
        level=Level.ERROR,
        title="no view of an API that shows auth.users past its row-level security",
        why="The view shows e-mail addresses, phone numbers and metadata of every user to the API's callers.",
        fix="revoke all on SCHEMA.VIEW from ROLES;",
        api=True,
        sql=f"""
            select r.label, 'shows auth.users to ' || array_to_string(r.readers, ', '),
                   format('revoke all on %s from public, %s;', r.sql,
                          (select string_agg(quote_ident(n), ', ') from unnest(r.readers) n)), true
            from relation r
            where r.kind in ('v', 'm') and r.api and r.readers <> '{{}}' and exists (
                with recursive reached (view, relid, open) as (
                    select r.oid, r.oid, r.kind = 'm' or not {INVOKER}
                    union
                    select s.view, d.refobjid, s.open or c.relkind = 'm' or (c.relkind = 'v' and not exists (
                               select from pg_catalog.pg_options_to_table(c.reloptions) o
                               where o.option_name = 'security_invoker' and o.option_value::boolean))
                    from reached s join pg_catalog.pg_rewrite w on w.ev_class = s.relid
                    join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = w.oid
                     and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid <> w.ev_class
                    join pg_catalog.pg_class c on c.oid = w.ev_class
                )
                select from reached s join pg_catalog.pg_class c on c.oid = s.relid
                join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                where n.nspname = 'auth' and c.relname = 'users' and (s.open or not c.relrowsecurity))""",
    ),
    Lint(
        id="security_definer_view",
        level=Level.ERROR,
        title="every view of an API is read with the rights of its caller (security_invoker)",
        why="Such a view reads as its owner, and so past the row-level security of the tables under it.",
        fix="alter view SCHEMA.VIEW set (security_invoker = on);",
        api=True,
        sql=f"""
            select r.label, 'read as its owner ' || pg_get_userbyid(r.owner) || ', and ' || {_REACH},
                   format('alter view %s set (security_invoker = on);', r.sql), true
            from relation r where r.kind = 'v' and {_REACHED} and not {INVOKER}""",
    ),
    Lint(
        id="view_bypasses_rls",
        unless="security_definer_view",
        level=Level.WARN,
        title="no view that others read past the row-level security of its tables",
        why="The view reads as its owner, whom the policies do not bind, so its readers see every row.",
        fix="alter view SCHEMA.VIEW set (security_invoker = on);",
        sql=f"""
            select r.label, 'reads ' || string_agg(distinct t.label, ', ') || ' as ' || pg_get_userbyid(r.owner)
                   || ', and others may read it',
                   format('alter view %s set (security_invoker = on);', r.sql), true
            from relation r
            join pg_catalog.pg_rewrite w on w.ev_class = r.oid
            join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = w.oid
             and d.refclassid = 'pg_catalog.pg_class'::regclass
            join relation t on t.oid = d.refobjid and t.kind in ('r', 'p') and t.rls
            join pg_catalog.pg_roles o on o.oid = r.owner
            where r.kind = 'v' and not {INVOKER}
              and (o.rolsuper or o.rolbypassrls
                   or (not t.forced and pg_has_role(o.oid, t.owner, 'USAGE')))
              and exists (select from aclexplode(r.acl) a
                          where a.privilege_type = 'SELECT' and a.grantee <> r.owner
                            and not exists (select from pg_catalog.pg_roles g where g.oid = a.grantee
                                            and (g.rolsuper or g.rolbypassrls)))
            group by r.label, r.sql, r.owner""",
    ),
    Lint(
        id="materialized_view_in_api",
        level=Level.WARN,
        title="no materialized view that an API reaches",
        why="A materialized view has no row-level security: every caller reads all that it holds.",
        fix="revoke all on SCHEMA.VIEW from ROLES;",
        api=True,
        sql="""
            select r.label, array_to_string(r.readers, ', ') || ' may read it',
                   format('revoke all on %s from public, %s;', r.sql,
                          (select string_agg(quote_ident(n), ', ') from unnest(r.readers) n)), true
            from relation r where r.kind = 'm' and r.readers <> '{}'""",
    ),
    Lint(
        id="foreign_table_in_api",
        level=Level.WARN,
        title="no foreign table that an API reaches",
        why="A foreign table has no row-level security: every caller reads all that the other server gives.",
        fix="revoke all on SCHEMA.TABLE from ROLES;",
        api=True,
        sql=f"""
            select r.label, {_REACH} || ' it',
                   format('revoke all on %s from public, %s;', r.sql,
                          (select string_agg(distinct quote_ident(n), ', ')
                           from unnest(r.readers || r.writers) n)), true
            from relation r where r.kind = 'f' and r.api and {_REACHED}""",
    ),
    Lint(
        id="insecure_queue_exposed_in_api",
        level=Level.ERROR,
        title="row-level security on every queue, where pgmq_public is a schema of the API",
        why="Whoever holds the API's public key reads, changes and deletes the queue's messages.",
        fix="alter table pgmq.QUEUE enable row level security;",
        api=True,
        sql="""
            select 'pgmq.' || c.relname, 'off, and ' || string_agg(a.name, ', ' order by a.name) || ' may read it',
                   format('alter table pgmq.%I enable row level security;', c.relname), true
            from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            join api_role a on has_any_column_privilege(a.oid, c.oid, 'SELECT')
            where n.nspname = 'pgmq' and c.relname ^@ 'q_' and c.relkind in ('r', 'p') and not c.relrowsecurity
              and 'pgmq_public' = any(%(api_schemas)s)
            group by c.relname""",
    ),
    _graphql("pg_graphql_anon_table_exposed", "=", "callers without a login (anon)"),
    _graphql("pg_graphql_authenticated_table_exposed", "<>", "signed-in callers"),
    Lint(
        id="api_role_bypasses_rls",
        level=Level.ERROR,
        title="roles of an API are bound by row-level security",
        why="No policy applies to such a role: every caller reads and writes every row that the grants allow.",
        fix="alter role ROLE nosuperuser nobypassrls;",
        api=True,
        sql="""
            select a.name, 'is a superuser or has BYPASSRLS',
                   format('alter role %I nosuperuser nobypassrls;', a.name), true
            from api_role a where a.bypasses
            union all
            select a.name || ' on ' || r.label, 'owns the table, and row-level security is not forced on its owner',
                   format('alter table %s force row level security;', r.sql), true
            from relation r join api_role a on pg_has_role(a.oid, r.owner, 'USAGE') and not a.bypasses
            where r.kind in ('r', 'p') and r.rls and not r.forced""",
    ),
    Lint(
        id="api_role_may_truncate",
        level=Level.INFO,
        title="roles of an API hold none of TRUNCATE, REFERENCES, TRIGGER",
        why="TRUNCATE empties a table past row-level security, TRIGGER and REFERENCES act on others' writes; an API "
        "needs none of them.",
        fix="revoke truncate, references, trigger on SCHEMA.TABLE from ROLES;",
        api=True,
        sql="""
            select r.label, string_agg(a.name || ' may ' || p.held, '; ' order by a.name),
                   format('revoke truncate, references, trigger on %s from public, %s;', r.sql,
                          string_agg(quote_ident(a.name), ', ' order by a.name)), true
            from relation r
            join api_role a on true
            cross join lateral (
                select string_agg(w, ', ') from unnest(array['TRUNCATE', 'REFERENCES', 'TRIGGER']) w
                where has_table_privilege(a.oid, r.oid, w)) p (held)
            where r.kind in ('r', 'p') and r.api and p.held <> ''
            group by r.label, r.sql""",
    ),
    Lint(
        id="default_privileges_open_to_api",
        level=Level.INFO,
        title="what is made in an API's schema is not at once open to its callers",
        why="Every new table or function is reachable from the moment it exists, before anybody enables row security.",
        fix="alter default privileges for role OWNER in schema SCHEMA revoke all on tables from ROLES;",
        api=True,
        sql="""
            select coalesce(s.name, 'every schema') || ': ' || k.kind || ' made by ' || pg_get_userbyid(d.defaclrole),
                   'granted to ' || string_agg(distinct g.name, ', '),
                   format('alter default privileges for role %I%s revoke all on %s from %s;',
                          pg_get_userbyid(d.defaclrole), ' in schema ' || s.sql, k.kind,
                          string_agg(distinct g.sql, ', ')), true
            from pg_catalog.pg_default_acl d
            join (values ('r', 'tables'), ('f', 'functions'), ('S', 'sequences')) k (code, kind)
              on k.code = d.defaclobjtype::text
            left join space s on s.oid = d.defaclnamespace
            cross join lateral aclexplode(d.defaclacl) x
            join (select oid, name, quote_ident(name) as sql from api_role union all select 0, 'PUBLIC', 'public') g
              on g.oid = x.grantee
            where (s.api or d.defaclnamespace = 0) and not (x.grantee = 0 and k.kind = 'functions')
            group by s.name, s.sql, k.kind, d.defaclrole""",
    ),
)
