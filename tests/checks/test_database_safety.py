"""What a look may not do to a database, and may not be done as: the guard, the server, the role, the budget."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pytest_releasegate.check import Context, SystemClock
from pytest_releasegate.checks.foreign_keys import ForeignKeys
from pytest_releasegate.checks.snapshot import Snapshot
from pytest_releasegate.checks.sql import Sql
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Environment, Release, Status
from pytest_releasegate.sources.pgrole import role_script
from pytest_releasegate.sources.pgserver import PostgresServer
from pytest_releasegate.sources.postgres import connect, one_predicate, one_statement, several
from pytest_releasegate.sources.sqlguard import require_harmless
from pytest_releasegate.testing import FakeClock, look
from tests.checks.conftest import PASSWORD

SCRIPT = """
create table clients (id int primary key, name text);
insert into clients select i, 'c' || i from generate_series(1, 20) i;
create table notes (id int primary key, client int references clients);
insert into notes select i, i from generate_series(1, 20) i;
create sequence made;
create function meddle() returns int language plpgsql as
    $$ begin insert into clients values (99, 'x'); return 1; end $$;
"""
HARMLESS = [
    "select count(*) from notes n where not exists (select from clients c where c.id = n.client)",
    "with a as (select 1) select * from a union all values (2) -- ; drop table a",
    "select count(*) filter (where a is distinct from b), percentile_cont(0.5) within group (order by x) from t",
    "select x from t where c operator(pg_catalog.=) 1 and y ->> 'pg_notify(' <> $$lo_import('x')$$",
    "select now() - interval '1 day' < max(at) from t tablesample system (1)",
    "select * from json_table('[]'::jsonb, '$[*]' columns (a int path '$.a')) t",
    "select pg_size_pretty(pg_relation_size('clients')), pg_sleep(0)",
    "select (c).name, a.lo_total, 'U&' from clients c cross join lateral (values (1)) a (lo_total)",
    "table clients",
]


@pytest.mark.parametrize("query", HARMLESS)
def test_queries_are_let_through(query: str) -> None:
    assert one_statement(query) == query


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("select dblink_exec('dbname=x', 'delete from clients')", "calls dblink_exec, .* it opens another session"),
        ("select * from public.dblink('x', 'y') as t (a int)", "calls dblink, "),
        ("select count(*) from clients where pg_terminate_backend(id)", "it ends the work of other sessions"),
        ('select "pg_cancel_backend"(1)', "calls pg_cancel_backend"),
        ("select pg_catalog.pg_advisory_lock(1)", "it takes or frees locks"),
        ("select (select lo_import('/etc/passwd'))", "large objects"),
        ("select PG_SWITCH_WAL()", "calls pg_switch_wal"),
        ("select net.http_get('https://example.org')", "calls net.http_get"),
        ("select extensions.http_post('x')", "calls http_post, .* it calls another system"),
        ("select set_config('row_security', 'on', true)", "settings that keep the look safe"),
        ("select query_to_xml('delete from clients', true, true, '')", "it runs SQL out of a text"),
        ("select pg_read_file('postgresql.conf')", "the server's files"),
        ("select pg_current_xact_id()", "it leaves traces"),
        ("select (1234567).pg_terminate_backend", "calls pg_terminate_backend, .* it ends the work"),
        ("select 1 from t where ((array[1::oid])[1]).lo_unlink = 1", "calls lo_unlink, .* large objects"),
        ('select U&"pg\\005fnotify"(1)', r'names as they are, got one with escapes \(U&"..."\)'),
        ("select bt_index_parent_check('i')", "it keeps others from writing"),
        ("select * from xpath_table('a', 'b', 'c', 'd', 'e') as t (i int)", "it runs SQL out of a text"),
        ("select * from run_command_on_workers('drop table t')", "it runs SQL on other servers"),
        ("select ai.openai_embed('x')", "it reaches outside"),
        ("select nextval('made')", "it moves a sequence"),
        ("copy clients to program 'cat'", "got COPY"),
        ("lock table clients", "got LOCK"),
        ("explain analyze delete from clients", "got EXPLAIN"),
        ("insert into clients values (1)", "expected a query .*, got INSERT"),
        ("with gone as (delete from clients returning 1) select count(*) from gone", "got DELETE within it"),
        ("select * into made_up from clients", "SELECT INTO, which makes a table"),
        ("select * from clients for update", "FOR UPDATE or FOR SHARE, which lock rows"),
        ("select 1 from (", "expected SQL that can be read before it runs; line 1, column 15"),
        ("select 1 frm clients where", "expected SQL that can be read before it runs; line 1"),
    ],
)
def test_what_reading_does_not_undo_is_refused(query: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        require_harmless(query, "the query")


def test_a_predicate_is_held_against_the_same() -> None:
    assert one_predicate("test_run is null or id in (select 1)") == "test_run is null or id in (select 1)"
    with pytest.raises(ValueError, match=r"the predicate of clients: calls pg_notify, .* it sends a message"):
        one_predicate("pg_notify('a', 'b') is null", "the predicate of clients")


def test_a_broken_query_stops_the_plan() -> None:
    with pytest.raises(ValueError, match=r"the query: calls lo_unlink, which a read-only transaction does not stop"):
        Sql.model_validate({"query": "select lo_unlink(1)", "expect": 1})


def test_what_the_guard_cannot_see_the_server_refuses(fresh_database: Any, superuser: Any) -> None:
    environment = fresh_database(SCRIPT + "grant execute on function meddle to releasegate_probe;")
    seen = look(Sql(query="select meddle()", expect=1), environment)
    assert (seen.status, "(SQLSTATE 25006)" in seen.message) == (Status.ERROR, True)
    assert superuser(environment, "select count(*) from clients") == [(20,)]


def _wal(connection: psycopg.Connection[Any]) -> Any:
    query = "select pg_current_wal_insert_lsn(), pg_snapshot_xmax(pg_current_snapshot())"
    return connection.execute(query).fetchone()


def test_looking_leaves_no_trace_in_the_server() -> None:
    settings = {"autovacuum": "off", "log_statement": "all", "log_line_prefix": "%u|%a|"}
    with PostgresServer(settings=settings) as server, psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(SCRIPT + "analyze;")
        admin.execute(role_script("gate's \"%eye$$", ["pg_signal_backend"], 2))
        admin.execute("""alter role "gate's ""%eye$$" password 'correct-horse-battery'""")
        environment = Environment(
            name="prod",
            databases={"app": server.dsn("postgres", "gate's \"%eye$$", PASSWORD)},
            protected=True,
        )
        # the first readers set hint bits and open the visibility map
        admin.execute("vacuum (freeze)")
        admin.execute("checkpoint")
        before = _wal(admin)
        statuses = [
            look(check, environment).status
            for check in (
                Sql(query="select count(*) from clients", expect=20),
                Snapshot(schemas=["public"]),
                ForeignKeys(schemas=["public"]),
            )
        ]
        after = _wal(admin)
        said = [line for line in server.log.splitlines() if "|pytest-releasegate|" in line]
    assert statuses == [Status.PASSED] * 3
    assert after == before
    # a second connection, where one is free, shares the first one's snapshot and sets nothing else
    said = [line for line in said if "set transaction snapshot" not in line.lower()]
    verbs = {match[1].lower() for line in said if (match := re.search(r"(?:statement|execute [^:]*): *(\w+)", line))}
    assert {"begin", "select", "rollback"} <= verbs <= {"begin", "select", "declare", "fetch", "close", "rollback"}


def test_the_role_of_the_script_may_read_and_nothing_else() -> None:
    with PostgresServer() as server, psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(SCRIPT + "create role anon nologin; alter table clients enable row level security;")
        for _ in range(2):
            admin.execute(role_script("eye", ["anon"], 2))
        admin.execute("alter role eye password 'correct-horse-battery'")
        dsn = server.dsn("postgres", "eye", PASSWORD)
        with psycopg.connect(dsn, autocommit=True) as eye:
            assert eye.execute("select count(*) from clients").fetchone() == (20,)
            eye.execute("set role anon")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                eye.execute("select count(*) from clients")
            eye.execute("reset role")
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                eye.execute("insert into clients values (99, 'x')")
            eye.execute("set default_transaction_read_only = off")
            for forbidden in (
                "insert into clients values (99, 'x')",
                "do $$ begin lock clients; end $$",
                "copy clients to program 'true'",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    eye.execute(forbidden)


@pytest.mark.parametrize(
    ("user", "allow", "told"),
    [
        ("postgres", (), "role 'postgres' is a superuser, and environment 'test' is protected"),
        ("postgres", ("superuser",), ""),
        ("tender", (), "role 'tender' owns tables, such as clients, and environment 'test' is protected"),
        ("tender", ("owner",), ""),
        ("disguised", (), "role 'disguised' owns tables, such as clients, and environment 'test' is protected"),
        ("mighty", (), "role 'mighty' is a superuser, and environment 'test' is protected"),
        ("releasegate_probe", (), ""),
    ],
)
def test_a_protected_environment_is_not_looked_at_as_its_master(
    server: PostgresServer, new_database: Any, superuser: Any, user: str, allow: tuple[str, ...], told: str
) -> None:
    environment = new_database("create table clients (id int); insert into clients values (1);", allow=allow)
    superuser(
        environment,
        f"""
        create role tender login bypassrls password '{PASSWORD}';
        create role disguised login noinherit in role tender password '{PASSWORD}';
        create role boss superuser nologin;
        create role mighty login noinherit in role boss password '{PASSWORD}';
        alter table clients owner to {"tender" if user in ("tender", "disguised") else "postgres"};
        """,
    )
    name = environment.databases["app"].rsplit("/", 1)[1]
    dsn = server.dsn(name) if user == "postgres" else server.dsn(name, user, PASSWORD)
    # a role may be taken on where the session begins, before anything is asked
    if taken := {"disguised": "tender", "mighty": "boss"}.get(user):
        dsn += f"{'&' if '?' in dsn else '?'}options=-c%20role%3D{taken}"
    one = Sql(query="select count(*) from clients", expect=1)
    open_to_all = look(one, replace(environment, databases={"app": dsn}))
    seen = look(one, replace(environment, databases={"app": dsn}, protected=True))
    # other tests look at the roles of this server
    superuser(environment, "drop owned by tender, boss; drop role tender, disguised, mighty, boss")
    assert open_to_all.status is Status.PASSED
    assert (seen.status is Status.ERROR, told in seen.message) == (bool(told), True)


@pytest.fixture
def context(fresh_database: Any) -> Context:
    """What a gate is given, on a database with two connections."""
    environment = fresh_database(SCRIPT)
    clock = FakeClock()
    release = Release(product="demo", version="1.4.0", environment="test", opened_at=clock.now())
    return Context(environment=environment, release=release, root=None, clock=clock)  # type: ignore[arg-type]


def test_no_more_connections_than_the_budget(context: Context) -> None:
    other = replace(context, reserved={})
    with connect(context), several(other, most=5) as free:
        assert free == 1
        third = connect(replace(context, reserved={}))
        with connect(other), pytest.raises(CannotLook, match="other gates used all its 2 connections for 120 s"):
            third.__enter__()
    with several(other, most=5, least=2) as both, connect(other), connect(other):
        assert both == 2


def test_a_gate_that_needs_more_than_the_budget_says_so(context: Context) -> None:
    with pytest.raises(CannotLook, match="3 connections are needed at once, and 2 may be used"):
        several(context, most=3, least=3).__enter__()


def test_two_gates_that_need_two_do_not_wait_for_each_other(context: Context) -> None:
    done: list[int] = []

    def gate(number: int) -> None:
        own = replace(context, reserved={}, clock=SystemClock())
        for _ in range(5):
            with several(own, most=2, least=2), connect(own), connect(own):
                done.append(number)

    threads = [threading.Thread(target=gate, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(done) == sorted([0, 1, 2] * 5)


def test_budgets_are_of_a_server_and_its_database(context: Context, new_database: Any) -> None:
    elsewhere = replace(context, environment=new_database(), reserved={})
    with several(context, most=2, least=2), several(elsewhere, most=2) as free:
        assert free == 2
