"""Lints of `schema_lint` that speak of no schema of their own: roles, extensions, storage, the server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.sources.pglints import Issue, Scope, by_name
from tests.checks.test_schema_lint_rules import look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.model import Environment

SYSTEM = "set allow_system_table_mods = on; "
OWNED = """
create table bad (id int primary key); alter table bad enable row level security; alter table bad owner to owner;
create table good (id int primary key); alter table good enable row level security; alter table good owner to owner;
alter table good force row level security;
"""
QUEUES = """
create schema pgmq; create schema pgmq_public; grant usage on schema pgmq to anon;
create table pgmq.q_bad (id int primary key); grant select on pgmq.q_bad to anon;
create table pgmq.q_good (id int primary key); grant select on pgmq.q_good to anon;
alter table pgmq.q_good enable row level security;
create table pgmq.q_closed (id int primary key);
create table pgmq.meta (id int primary key); grant select on pgmq.meta to anon;
"""
GRAPHQL = """
create table bad (id int primary key, secret text); grant select (id) on bad to anon;
create view bad_view as select 1 as one; grant select on bad_view to public;
create table signed_in (id int primary key); grant select on signed_in to authenticated;
create table closed (id int primary key);
create table parts (id int) partition by list (id); grant select on parts to anon, authenticated;
"""
PG_GRAPHQL = (
    SYSTEM + "insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) "
    "values (987654, 'pg_graphql', 10, 'public'::regnamespace, false, '1.5');"
)
STORAGE = r"""
create schema storage; grant usage on schema storage to public;
create table storage.buckets (id text primary key, name text, public boolean);
create table storage.objects (bucket_id text, name text, owner uuid);
grant select on storage.buckets to public;
alter table storage.objects enable row level security;
insert into storage.buckets values ('bad', 'b', true), ('a|b[1]\z', 'r', true), ('it''s', 'q', true),
    ('good', 'g', true),
    ('written', 'w', true), ('narrow', 'n', true), ('private', 'p', false);
create policy bad on storage.objects for select to authenticated using (bucket_id = 'bad');
create policy bad_too on storage.objects for all to anon using ((bucket_id = 'bad'));
create policy metas on storage.objects for select using (bucket_id = 'a|b[1]\z');
create policy quotes on storage.objects for select using (bucket_id = 'it''s');
create policy restricts on storage.objects as restrictive for select using (bucket_id = 'good');
create policy writes on storage.objects for insert to authenticated with check (bucket_id = 'written');
create policy narrow on storage.objects for select using (bucket_id = 'narrow' and name like 'public/%');
create policy private on storage.objects for select using (bucket_id = 'private');
create policy other on storage.objects for select to stranger using (bucket_id = 'good');
"""
GUESTS = """
create schema auth; grant usage on schema auth to public;
create table auth.users (id uuid primary key, is_anonymous boolean);
create function auth.jwt() returns jsonb language sql stable set search_path = '' as 'select null::jsonb';
create table bad (id int primary key); alter table bad enable row level security;
create policy p on bad to authenticated using (true);
create table good (id int primary key); alter table good enable row level security;
create policy p on good to authenticated using (true);
create policy q on good as restrictive to authenticated
    using (((select auth.jwt()) ->> 'is_anonymous')::boolean is false);
create table other (id int primary key); alter table other enable row level security;
create policy p on other to anon using (true);
"""
GUEST = "insert into auth.users values (gen_random_uuid(), true);"
DEFAULTS = """
alter default privileges in schema public grant select on tables to anon;
alter default privileges in schema public grant execute on functions to service_role;
"""
CASES: list[tuple[str, str, Scope | None, set[str]]] = [
    ("api_role_bypasses_rls", OWNED, Scope(api_schemas=("public",), api_roles=("owner",)), {"owner on public.bad"}),
    ("api_role_bypasses_rls", "", Scope(api_roles=("anon", "service_role")), {"service_role"}),
    ("api_role_bypasses_rls", OWNED, None, set()),
    ("default_privileges_open_to_api", DEFAULTS, None, {"public: tables made by postgres"}),
    ("schema_open_to_create", "", None, set()),
    ("schema_open_to_create", "grant create on schema public to public", None, {"public"}),
    ("schema_open_to_create", "grant create on schema public to owner", None, set()),
    ("extension_in_public", "create extension citext", None, {"citext"}),
    ("extension_in_public", "create schema extensions; create extension citext schema extensions", None, set()),
    ("extension_versions_outdated", "create extension citext", None, set()),
    (
        "extension_versions_outdated",
        f"create extension citext; {SYSTEM} update pg_extension set extversion = '0.1' where extname = 'citext'",
        None,
        {"citext"},
    ),
    ("insecure_queue_exposed_in_api", QUEUES, Scope(api_schemas=("public", "pgmq_public")), {"pgmq.q_bad"}),
    ("insecure_queue_exposed_in_api", QUEUES, None, set()),
    ("pg_graphql_anon_table_exposed", GRAPHQL, None, set()),
    ("pg_graphql_anon_table_exposed", PG_GRAPHQL + GRAPHQL, None, {"public.bad", "public.bad_view"}),
    ("pg_graphql_authenticated_table_exposed", PG_GRAPHQL + GRAPHQL, None, {"public.bad_view", "public.signed_in"}),
    ("public_bucket_allows_listing", STORAGE, None, {"bucket bad", r"bucket a|b[1]\z", "bucket it's"}),
    ("auth_allow_anonymous_sign_ins", GUESTS, None, set()),
    (
        "auth_allow_anonymous_sign_ins",
        GUESTS + GUEST + "grant select on auth.users to public;",
        None,
        {"public.bad"},
    ),
    ("password_encryption_md5", "", None, set()),
]


def objects(environment: Environment, lint: str, scope: Scope | None = None) -> dict[str, Issue]:
    report = look(environment, scope or Scope(api_schemas=("public",)), [by_name()[lint]])
    assert [each.id for each in report.lints] == [lint], report.untold
    return {issue.object: issue for issue in report.issues}


@pytest.mark.parametrize(("lint", "script", "scope", "wanted"), CASES)
def test_finds_what_is_wrong_and_nothing_else(
    fresh_database: Any, superuser: Any, lint: str, script: str, scope: Scope | None, wanted: set[str]
) -> None:
    environment = fresh_database(script)
    found = objects(environment, lint, scope)
    superuser(environment, f"{SYSTEM} delete from pg_extension where extname = 'pg_graphql'")
    assert set(found) == wanted
    if lint not in ("extension_versions_outdated", "api_role_bypasses_rls") and "graphql" not in lint:
        for issue in found.values():
            superuser(environment, issue.fix)
        assert objects(environment, lint, scope) == {}


@pytest.fixture
def careless(superuser: Any, fresh_database: Any) -> Iterator[Environment]:
    """A server with a role, a slot and a setting that are as they should not be, for a while."""
    made: Environment = fresh_database()
    name = made.databases["app"].rsplit("/", 1)[1]
    superuser(made, "create role \"Dodger\" login bypassrls; select pg_create_physical_replication_slot('left')")
    superuser(made, f"alter database {name} set password_encryption = md5")
    yield made
    superuser(made, f"alter database {name} reset password_encryption")
    superuser(made, 'drop role "Dodger"')


def test_what_belongs_to_the_server(careless: Environment, superuser: Any) -> None:
    found = objects(careless, "role_bypasses_rls")
    assert "Dodger" in found
    assert set(found).isdisjoint({"postgres", "service_role", "releasegate_probe", "owner"})
    superuser(careless, found["Dodger"].fix)
    assert "Dodger" not in objects(careless, "role_bypasses_rls")
    superuser(careless, objects(careless, "unused_replication_slot")["left"].fix)
    assert "left" not in objects(careless, "unused_replication_slot")
    (md5,) = objects(careless, "password_encryption_md5").values()
    assert md5.what == "md5"
    assert set(objects(careless, "tls_off")) == {"ssl"}


def test_logins_without_a_password_where_they_can_be_read(new_database: Any, superuser: Any) -> None:
    environment, lint = new_database(), by_name()["hba_without_password"]
    assert look(environment, Scope(), [lint]).untold == {lint: "pg_hba_file_rules may not be read"}
    superuser(
        environment,
        "grant select on pg_hba_file_rules to public; grant execute on function pg_hba_file_rules() to public",
    )
    assert objects(environment, lint.id) == {}
    ((name,),) = superuser(environment, "show hba_file")
    before = Path(name).read_text()
    rules = [
        "all 10.0.0.0/8 trust",
        "all 127.0.0.1/32 trust",
        "all 10.0.0.0/8 scram-sha-256",
        "ann 10.1.0.0/16 password",
    ]
    Path(name).write_text("\n".join(f"host all {rule}" for rule in rules))
    try:
        found = objects(environment, lint.id)
    finally:
        Path(name).write_text(before)
    assert {issue.object: issue.what for issue in found.values()} == {
        "pg_hba.conf line 1": "host all all 10.0.0.0 trust",
        "pg_hba.conf line 4": "host all ann 10.1.0.0 password",
    }


@pytest.mark.parametrize(
    ("lint", "script", "why"),
    [
        ("public_bucket_allows_listing", "revoke select on storage.buckets from public", "storage.buckets"),
        ("auth_allow_anonymous_sign_ins", GUESTS + "revoke usage on schema auth from public", "auth.users"),
    ],
)
def test_what_may_not_be_read_is_not_told(fresh_database: Any, lint: str, script: str, why: str) -> None:
    storage = STORAGE if lint.startswith("public_bucket") else ""
    report = look(fresh_database(storage + script, user="outsider"), Scope(api_schemas=("public",)), [by_name()[lint]])
    assert (report.lints, report.untold) == ((), {by_name()[lint]: f"{why} may not be read"})


def test_a_sequence_that_may_not_be_read_is_named(fresh_database: Any) -> None:
    environment = fresh_database("create sequence hidden", user="outsider")
    (issue,) = objects(environment, "sequence_near_end").values()
    assert (issue.object, issue.what, issue.seen) == ("public.hidden", "may not be read", False)


def test_constraints_that_are_not_enforced_are_asked_for_where_they_can_be(fresh_database: Any, superuser: Any) -> None:
    environment = fresh_database("create table t (id int primary key, v int constraint positive check (v > 0))")
    lint = by_name()["constraint_not_enforced"]
    ((version,),) = superuser(environment, "select current_setting('server_version_num')::int")
    assert look(environment, Scope(), [lint]).lints == ((lint,) if version >= 180000 else ())
    if version >= 180000:
        superuser(environment, "alter table t add constraint wish check (v < 9) not enforced")
        (issue,) = objects(environment, lint.id).values()
        assert issue.object == "public.t: wish"
        superuser(environment, issue.fix)
        assert objects(environment, lint.id) == {}
