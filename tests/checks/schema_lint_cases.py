"""What each lint finds, and what it must leave alone: a script for a schema of its own, and the objects to be found.

Things whose names begin with `bad` are wrong; all others are near misses: the fixed form, or what only looks wrong.
"""

from __future__ import annotations

OWNED = """
create table {name} (id int primary key, user_id uuid not null, other uuid, note text);
alter table {name} enable row level security;
grant select, insert, update, delete on {name} to anon, authenticated;
"""


def table(name: str, policy: str = "") -> str:
    """A table with row-level security that the API reaches, and one policy on it."""
    return OWNED.format(name=name) + (f"create policy p on {name} {policy};" if policy else "")


def alone(name: str) -> str:
    """A table with row-level security that the API does not reach, and one policy on it."""
    return (
        f"create table {name} (id int primary key, user_id uuid); alter table {name} enable row level security;"
        f"create policy p on {name} using ((select auth.uid()) = user_id);"
    )


def tables(**policies: str) -> str:
    """Such tables by name, each with its policy."""
    return "\n".join(table(name, policy) for name, policy in policies.items())


MINE = "(select auth.uid()) = user_id"
CASES: dict[str, str] = {
    "rls_disabled_in_public": """
        create table bad (id int primary key); grant select on bad to anon;
        create table bad_column (id int primary key, v int); grant insert (v) on bad_column to authenticated;
        create table bad_parts (id int) partition by list (id); grant select on bad_parts to anon;
        create table bad_parts_1 partition of bad_parts for values in (1); grant select on bad_parts_1 to anon;
        create table bad_public (id int primary key); grant delete on bad_public to public;
        create table good (id int primary key); grant select on good to anon;
        alter table good enable row level security;
        create table good_part_alone partition of bad_parts for values in (2);
        create table unreachable (id int primary key); grant select on unreachable to stranger;
        create view a_view as select 1 as one; grant select on a_view to anon;
    """,
    "sensitive_columns_exposed": """
        create table bad (id int primary key, password text); grant select on bad to anon;
        create table bad_hash (id int primary key, "passwordHash" text, user_ssn text);
        grant select on bad_hash to anon;
        create table bad_exact (id int primary key, "2fa-secret" text); grant select on bad_exact to authenticated;
        create table good (id int primary key, password text); grant select on good to anon;
        alter table good enable row level security;
        create table named_alike (id int primary key, token_count int, secret_santa text, password_set boolean,
                                  password_changed_at timestamptz, treatment_room text, classname text);
        grant select on named_alike to anon;
        create table columns_granted (id int primary key, password text); grant select (id) on columns_granted to anon;
        create table unreachable (id int primary key, password text);
    """,
    "auth_users_exposed": """
        create view bad as select id, email from auth.users; grant select on bad to anon;
        create materialized view bad_stored as select id from auth.users; grant select on bad_stored to authenticated;
        create view bad_over as select * from bad; alter view bad_over set (security_invoker = on);
        grant select on bad_over to anon;
        create view good with (security_invoker = on) as select id from auth.users; grant select on good to anon;
        create view ungranted as select id from auth.users;
    """,
    "security_definer_view": """
        create view bad as select 1 as one; grant select on bad to anon;
        create view bad_said with (security_invoker = off) as select 1 as one;
        grant select on bad_said to authenticated;
        create view good with (security_invoker = on) as select 1 as one; grant select on good to anon;
        create view good_true with (security_invoker = true) as select 1 as one; grant select on good_true to anon;
        create view good_bare with (security_invoker) as select 1 as one; grant select on good_bare to anon;
        create view ungranted as select 1 as one;
    """,
    "view_bypasses_rls": f"""
        {table("protected", f"to authenticated using ({MINE})")}
        create table bare (id int primary key);
        create view bad as select * from protected; grant select on bad to stranger;
        create view good with (security_invoker = on) as select * from protected; grant select on good to stranger;
        create view over_bare as select * from bare; grant select on over_bare to stranger;
        create view own as select * from protected;
        create view for_service as select * from protected; grant select on for_service to service_role;
    """,
    "materialized_view_in_api": """
        create materialized view bad as select 1 as one; grant select on bad to anon;
        create materialized view good as select 1 as one;
        create view plain with (security_invoker = on) as select 1 as one; grant select on plain to anon;
    """,
    "foreign_table_in_api": """
        create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere;
        create foreign table bad (id int) server nowhere; grant select on bad to anon;
        create foreign table good (id int) server nowhere;
    """,
    "api_role_may_truncate": """
        create table bad (id int primary key); grant all on bad to anon; alter table bad enable row level security;
        create table good (id int primary key); grant select, insert, update, delete on good to anon;
        alter table good enable row level security;
    """,
    "policy_exists_rls_disabled": f"""
        create table bad (user_id uuid primary key); create policy p on bad using ({MINE});
        create table good (user_id uuid primary key); create policy p on good using ({MINE});
        alter table good enable row level security;
        create table neither (id int primary key);
    """,
    "rls_enabled_no_policy": f"""
        create table bad (id int primary key); alter table bad enable row level security;
        {table("good", f"using ({MINE})")}
        create table neither (id int primary key);
    """,
    "rls_not_forced": f"""
        {alone("bad")} alter table bad owner to outsider;
        {table("bad_member", f"using ({MINE})")} alter table bad_member owner to web_login;
        {alone("good")} alter table good owner to outsider; alter table good force row level security;
        {table("good_api", f"using ({MINE})")} alter table good_api owner to outsider;
        {alone("owner_cannot_log_in")} alter table owner_cannot_log_in owner to stranger;
        {table("without_policy")} alter table without_policy owner to web_login;
    """,
    "auth_rls_initplan": tables(
        bad="using (auth.uid() = user_id)",
        bad_check="for insert with check (auth.uid() = user_id)",
        bad_setting="using (current_setting('app.user')::uuid = user_id)",
        bad_beside="using ((select auth.uid()) = user_id or auth.uid() = other)",
        bad_correlated="using ((select auth.uid() = user_id))",
        bad_inner="using (exists (select from auth.users u where u.id = auth.uid()))",
        good="using ((select auth.uid()) = user_id)",
        good_deep="using ((select auth.jwt() ->> 'role') = note or user_id = (select (auth.jwt() ->> 'sub')::uuid))",
        good_setting="using ((select current_setting('app.user', true))::uuid = user_id)",
        good_inner="using (exists (select from auth.users u where u.id = (select auth.uid())))",
        good_text="using (note = 'auth.uid()')",
        good_user="using (current_user = note)",
    )
    + "create table off (user_id uuid primary key); create policy p on off using (auth.uid() = user_id);",
    "rls_policy_always_true": tables(
        bad_update="for update to authenticated using (true)",
        bad_delete="for delete to authenticated using ( TRUE )",
        bad_all="to anon using (true)",
        bad_insert="for insert to authenticated with check (1 = 1)",
        bad_unchecked="for insert to authenticated",
        bad_check=f"for update to authenticated using ({MINE}) with check (true)",
        bad_public="for update using (true)",
        bad_strings="for delete to anon using ('a' = 'a')",
        bad_or=f"for delete to anon using ({MINE} or true)",
        bad_not_null="for delete to anon using (id is not null)",
        bad_itself="for update to anon using (id = id)",
        bad_select="for update to anon using ((select true))",
        bad_member="for delete to clerks using (true)",
        good_reads="for select to anon using (true)",
        good="for update to authenticated using (auth.uid() = user_id)",
        good_restrictive="as restrictive for update to authenticated using (true)",
        good_role="for all to stranger using (true)",
        good_service="for all to service_role using (true)",
        good_and=f"for delete to anon using ({MINE} and true)",
        good_nullable="for delete to anon using (other is not null)",
        good_differs="for delete to anon using (1 = 2)",
        good_null_itself="for delete to anon using (other = other)",
    )
    + "create table off (id int primary key); create policy p on off for update to anon using (true);",
    "rls_policy_any_user": tables(
        bad="for update to authenticated using (auth.uid() is not null)",
        bad_role="for delete using (auth.role() = 'authenticated')",
        bad_select="for all using ((select auth.role()) = 'authenticated')",
        bad_or=f"for update using ({MINE} or (select auth.uid()) is not null)",
        good_mine=f"for update using ({MINE})",
        good_and=f"for update using (auth.uid() is not null and {MINE})",
        good_service="for all using (auth.role() = 'service_role')",
        good_reads="for select using (auth.role() = 'authenticated')",
        good_admin="for update using (exists (select from auth.users u where u.id = auth.uid()))",
    ),
    "rls_policy_null_auth_disjunct": tables(
        bad="for select using (auth.uid() is null or user_id = auth.uid())",
        bad_all="to authenticated using (user_id = auth.uid() or auth.uid() is null)",
        bad_not="for select using (not (auth.uid() is not null) or user_id = auth.uid())",
        bad_setting="for select using (current_setting('app.tenant', true) is null or user_id = auth.uid())",
        bad_wrapped="for select using ((select auth.uid()) is null or user_id = (select auth.uid()))",
        bad_third="for select using (user_id = auth.uid() or note = 'x' or auth.role() is null)",
        good="for select using (auth.uid() is not null and user_id = auth.uid())",
        good_user="for select using (current_user is null or user_id = auth.uid())",
        good_raises="for select using (current_setting('app.tenant', false) is null or user_id = auth.uid())",
        good_inner="for select using (user_id = auth.uid() and (auth.uid() is null or note = 'x'))",
        good_write="for update using (auth.uid() is null or user_id = auth.uid())",
        good_role="for select to stranger using (auth.uid() is null or user_id = auth.uid())",
        good_restrictive="as restrictive for select using (auth.uid() is null or user_id = auth.uid())",
        good_column="for select using (other is null or user_id = auth.uid())",
    ),
    "rls_references_user_metadata": tables(
        bad="using (((select auth.jwt()) -> 'user_metadata' ->> 'admin')::boolean)",
        bad_setting="for insert with check ((current_setting('request.jwt.claims')::json ->> 'user_metadata') = 'x')",
        bad_path="using ((auth.jwt() #>> '{user_metadata,role}') = 'admin')",
        bad_table="using (exists (select from auth.users u where u.id = user_id and u.raw_user_meta_data ? 'admin'))",
        good="using (((select auth.jwt()) -> 'app_metadata' ->> 'admin')::boolean)",
        good_text="using (note = 'user_metadata')",
        good_app="using (exists (select from auth.users u where u.id = user_id and u.raw_app_meta_data ? 'admin'))",
    ),
    "rls_policy_reads_all": tables(
        bad="for select to anon using (true)",
        bad_public="for select using (true)",
        good=f"for select to anon using ({MINE})",
        good_role="for select to stranger using (true)",
        good_restrictive="as restrictive for select to anon using (true)",
    ),
    "rls_policy_for_public": tables(
        bad=f"for select using ({MINE})",
        bad_setting="using ((select current_setting('app.user', true))::uuid = user_id)",
        good=f"for select to authenticated using ({MINE})",
        good_for_all="for select using (true)",
        good_restrictive=f"as restrictive using ({MINE})",
    ),
    "multiple_permissive_policies": f"""
        {table("bad", f"for select to authenticated using ({MINE})")}
        create policy q on bad for all to authenticated using (other = (select auth.uid()));
        {table("bad_public", "for select using (note = 'x')")}
        create policy q on bad_public for select to anon using (note = 'y');
        {table("good", f"for select to authenticated using ({MINE})")}
        create policy q on good for insert to authenticated with check ({MINE});
        {table("good_roles", f"for select to authenticated using ({MINE})")}
        create policy q on good_roles for select to anon using (note = 'x');
        {table("good_restrictive", f"for select to authenticated using ({MINE})")}
        create policy q on good_restrictive as restrictive for select to authenticated using (note = 'x');
        {table("good_service", "for select to service_role using (true)")}
        create policy q on good_service for all to service_role using (true);
        do $$ begin create role supabase_auth_admin; exception when duplicate_object then null; end $$;
        {table("good_platform", f"for select using ({MINE})")}
        create policy q on good_platform for select to supabase_auth_admin using (true);
    """,
    "rls_policy_recursive": f"""
        {table("bad", "to authenticated using (exists (select from bad b where b.user_id = auth.uid()))")}
        {table("bad_first")} {table("bad_second")} {table("good_third", "using (note = 'x')")}
        create policy p on bad_first for delete using (id in (select id from bad_second));
        create policy q on bad_first for select using (id in (select s.id from bad_second s, good_third));
        create policy p on bad_second for select to authenticated using (exists (select from bad_first));
        {table("bad_insert", "for select using ((select auth.uid()) = user_id)")}
        create policy q on bad_insert for insert with check (not exists (select from bad_insert b));
        {table("good_insert", "for select using (note = 'x')")}
        create policy q on good_insert for insert with check (not exists (select from good_insert b));
        create function mine() returns setof int language sql security definer set search_path = '' as 'select 1';
        {table("good", "using (id in (select mine()))")}
        {table("good_text", "using (note = 'FROM good_text' and (select true))")}
        {table("bad_checked", "using (note = 'x') with check (exists (select from bad_checked))")}
        {table("good_roles")} {table("good_other")}
        create policy p on good_roles for select to anon using (exists (select from good_other));
        create policy p on good_other for select to stranger using (exists (select from good_roles));
    """,
    "function_search_path_mutable": """
        create function bad() returns int language sql as 'select 1';
        create function bad_definer(a int, b text default 'x') returns int language sql security definer as 'select 1';
        create procedure bad_procedure() language sql as 'select 1';
        create function bad_other() returns int language sql set work_mem = '4MB' as 'select 1';
        create function good() returns int language sql set search_path = '' as 'select 1';
        create function good_named() returns int language sql set search_path = pg_catalog, pg_temp as 'select 1';
        create function good_bound() returns int language sql begin atomic select 1; end;
        create aggregate good_sum (int) (sfunc = int4pl, stype = int);
    """,
    "security_definer_search_path_writable": """
        create function bad() returns int language sql security definer set search_path = "open to all", pg_temp
            as 'select 1';
        create function good() returns int language sql security definer set search_path = '' as 'select 1';
        create function good_closed() returns int language sql security definer set search_path = auth as 'select 1';
        create function invoker() returns int language sql set search_path = "open to all" as 'select 1';
    """,
    "anon_security_definer_function_executable": """
        create function bad(a int, b text) returns int language sql security definer set search_path = '' as 'select 1';
        create function bad_granted() returns int language sql security definer set search_path = '' as 'select 1';
        revoke execute on function bad_granted() from public; grant execute on function bad_granted() to anon;
        create function good() returns int language sql security definer set search_path = '' as 'select 1';
        revoke execute on function good() from public; grant execute on function good() to authenticated;
        create function invoker() returns int language sql set search_path = '' as 'select 1';
        create function fired() returns trigger language plpgsql security definer set search_path = ''
            as 'begin return new; end';
    """,
    "authenticated_security_definer_function_executable": """
        create function bad() returns int language sql security definer set search_path = '' as 'select 1';
        create function good() returns int language sql security definer set search_path = '' as 'select 1';
        revoke execute on function good() from public; grant execute on function good() to anon;
    """,
    "function_executable_by_public": """
        create function bad() returns int language sql set search_path = '' as 'select 1';
        create function good() returns int language sql set search_path = '' as 'select 1';
        revoke execute on function good() from public; grant execute on function good() to anon;
        create function fired() returns trigger language plpgsql set search_path = '' as 'begin return new; end';
    """,
    "no_primary_key": """
        create table bad (id int unique);
        create table bad_parts (id int) partition by list (id);
        create table part partition of bad_parts for values in (1);
        create table good (id int primary key);
        create view a_view as select 1 as one;
    """,
    "fkey_to_auth_unique": """
        create table bad (id int primary key, email text constraint by_email references auth.users (email));
        create table good (id int primary key, user_id uuid references auth.users (id));
        create table parent (id int primary key, code text unique);
        create table child (id int primary key, code text references parent (code));
    """,
    "constraint_not_valid": """
        create table parent (id int primary key);
        create table bad (id int primary key, parent int);
        alter table bad add constraint positive check (id > 0) not valid;
        alter table bad add constraint to_parent foreign key (parent) references parent not valid;
        create table good (id int primary key check (id > 0), parent int references parent);
    """,
    "foreign_key_triggers_disabled": """
        create table good_parent (id int primary key);
        create table bad (id int primary key, parent int constraint to_parent references good_parent);
        alter table bad disable trigger all;
        create table good (id int primary key, parent int references good_parent);
        create function fired() returns trigger language plpgsql set search_path = '' as 'begin return new; end';
        create trigger only_user before insert on good for each row execute function fired();
        alter table good disable trigger user;
    """,
    "trigger_disabled": """
        create function fired() returns trigger language plpgsql set search_path = '' as 'begin return new; end';
        create table bad (id int primary key);
        create trigger off before insert on bad for each row execute function fired();
        create trigger replicas before insert on bad for each row execute function fired();
        create trigger on_ before insert on bad for each row execute function fired();
        create trigger always before insert on bad for each row execute function fired();
        alter table bad disable trigger off; alter table bad enable replica trigger replicas;
        alter table bad enable always trigger always;
    """,
    "foreign_key_type_mismatch": """
        create table parent (id bigint primary key, code varchar(10) unique, name text unique);
        create domain code as varchar(10);
        create table bad (id int primary key, parent int constraint narrow references parent);
        create table good (id int primary key, parent bigint references parent,
                           code varchar(20) references parent (code),
                           same code references parent (code), name varchar references parent (name));
    """,
    "duplicate_foreign_key": """
        create table parent (id int primary key, a int, b int, unique (a, b));
        create table bad (id int primary key, parent int, a int, b int,
            constraint first foreign key (parent) references parent,
            constraint second foreign key (parent) references parent,
            constraint third foreign key (a, b) references parent (a, b),
            constraint fourth foreign key (b, a) references parent (b, a));
        create table good (id int primary key, x int references parent, y int references parent,
                           a int, b int, foreign key (a, b) references parent (a, b));
        alter table good add constraint crossed foreign key (b, a) references parent (a, b);
    """,
    "sequence_near_end": """
        create table bad (id serial primary key); select setval('bad_id_seq', 2000000000);
        create table bad_small (id smallint generated always as identity primary key);
        select setval('bad_small_id_seq', 30000);
        create sequence bad_default; create table holds (id int primary key default nextval('bad_default'));
        select setval('bad_default', 2147483000);
        create sequence bad_down increment -1 minvalue -100 maxvalue -1; select setval('bad_down', -90);
        create table good (id bigserial primary key); select setval('good_id_seq', 2147483000);
        create table fresh (id serial primary key);
        create sequence round maxvalue 10 cycle; select setval('round', 10);
        create table half (id serial primary key); select setval('half_id_seq', 1000000000);
    """,
    "unindexed_foreign_keys": """
        create table parent (id int primary key, a int, b int, unique (a, b));
        create table bad (id int primary key, parent int constraint single references parent, a int, b int,
                          constraint crossed foreign key (a, b) references parent (a, b));
        create index on bad (b, a);
        create table bad_partial (id int primary key, parent int constraint partial references parent);
        create index on bad_partial (parent) where id > 5;
        create table good (id int primary key, parent int references parent, a int, b int,
                           foreign key (a, b) references parent (a, b));
        create index on good (parent, id); create index on good (a, b);
        create table good_filled (id int primary key, "Parent" int references parent);
        create index on good_filled ("Parent") where "Parent" is not null;
        create table good_parts (id int references parent, primary key (id)) partition by list (id);
        create table good_parts_1 partition of good_parts for values in (1);
        create table bad_parts (id int, parent int constraint whole references parent) partition by list (id);
        create table bad_parts_1 partition of bad_parts for values in (1);
    """,
    "unused_index": """
        create table t (id int primary key, u int unique, v int); create index bad on t (v);
    """,
    "duplicate_index": """
        create table t (id int primary key, a int, b int, c text);
        create index alike on t (a); create index bad on t (a);
        create index on t (a desc); create index on t (a) where b > 1; create index on t (b, a);
        create index on t (a, b);
        create index on t using hash (a); create index on t (lower(c)); create index on t (upper(c));
        create index on t (c); create index on t (c text_pattern_ops); create unique index on t (b);
        create table u (id int primary key, x int); create unique index bad_beside_the_key on u (id);
        create table parts (id int primary key) partition by list (id);
        create table parts_1 partition of parts for values in (1);
        create table w (id int primary key, x int); create unique index referred on w (x);
        create table v (id int primary key, x int references w (x)); alter table w add constraint bad_said unique (x);
    """,
    "invalid_index": """
        create table t (id int primary key, v int); create index good on t (v); create index bad on t (v, id);
        update pg_index set indisvalid = false where indexrelid = 'bad'::regclass;
        create table s (id int, r int4range, constraint bad_excluded exclude using gist (r with &&));
        update pg_index set indisvalid = false where indexrelid = 'bad_excluded'::regclass;
        create table parts (id int, v int) partition by list (id);
        create table parts_1 partition of parts for values in (1); create index on only parts (v);
    """,
    "unsupported_reg_types": """
        create table bad (id int primary key, f regproc, fs regprocedure[]);
        create table good (id int primary key, c regclass, t regtype, r regrole);
    """,
    "timestamp_without_time_zone": """
        create table bad (id int primary key, at timestamp, "Then" timestamp(0));
        create table good (id int primary key, at timestamptz, day date, hour time);
    """,
    "unlogged_table": """
        create unlogged table bad (id int primary key); create table good (id int primary key);
    """,
    "autovacuum_disabled": """
        create table bad (id int primary key) with (autovacuum_enabled = off);
        create table good (id int primary key) with (autovacuum_enabled = on);
        create table tuned (id int primary key) with (autovacuum_vacuum_scale_factor = 0.01);
    """,
    "table_bloat": """
        create table bad (id int, v text) with (autovacuum_enabled = off);
        insert into bad select n, repeat('x', 900) from generate_series(1, 26000) n;
        delete from bad where id > 500; analyze bad;
        create table good (id int, v text);
        insert into good select n, repeat('x', 900) from generate_series(1, 24000) n;
        analyze good;
    """,
}
FOUND: dict[str, set[str]] = {
    "rls_disabled_in_public": {"bad", "bad_column", "bad_parts", "bad_parts_1", "bad_public"},
    "sensitive_columns_exposed": {"bad", "bad_hash", "bad_exact"},
    "auth_users_exposed": {"bad", "bad_stored", "bad_over"},
    "security_definer_view": {"bad", "bad_said"},
    "view_bypasses_rls": {"bad"},
    "materialized_view_in_api": {"bad"},
    "foreign_table_in_api": {"bad"},
    "api_role_may_truncate": {"bad"},
    "policy_exists_rls_disabled": {"bad"},
    "rls_enabled_no_policy": {"bad"},
    "rls_not_forced": {"bad", "bad_member"},
    "multiple_permissive_policies": {"bad (select)", "bad_public (select)"},
    "rls_policy_recursive": {"bad", "bad_first", "bad_second", "bad_insert", "bad_checked"},
    "function_search_path_mutable": {
        "bad()",
        "bad_definer(a integer, b text)",
        "bad_procedure()",
        "bad_other()",
    },
    "security_definer_search_path_writable": {"bad()"},
    "anon_security_definer_function_executable": {"bad(a integer, b text)", "bad_granted()"},
    "authenticated_security_definer_function_executable": {"bad()"},
    "function_executable_by_public": {"bad()"},
    "no_primary_key": {"bad", "bad_parts"},
    "fkey_to_auth_unique": {"bad: by_email"},
    "constraint_not_valid": {"bad: positive", "bad: to_parent"},
    "foreign_key_triggers_disabled": {"bad: to_parent"},
    "trigger_disabled": {"bad: off", "bad: replicas"},
    "foreign_key_type_mismatch": {"bad: narrow"},
    "duplicate_foreign_key": {"bad: second", "bad: fourth"},
    "sequence_near_end": {"bad_id_seq", "bad_small_id_seq", "bad_default", "bad_down"},
    "unindexed_foreign_keys": {"bad: single", "bad: crossed", "bad_partial: partial", "bad_parts: whole"},
    "unused_index": {"bad"},
    "duplicate_index": {"bad", "bad_beside_the_key", "bad_said"},
    "invalid_index": {"bad", "bad_excluded"},
    "unsupported_reg_types": {"bad"},
    "timestamp_without_time_zone": {"bad"},
    "unlogged_table": {"bad"},
    "autovacuum_disabled": {"bad"},
    "table_bloat": {"bad"},
}
"""The objects to be found in the schema of a case; without an entry, every policy whose table begins with `bad`."""
