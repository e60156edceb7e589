"""`audit_log`: what is not told, could be falsified or is gone too soon is red; what reaches nothing is no proof."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.audit_log import AuditLog
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import FakeClock, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_releasegate.sources.pgserver import PostgresServer

SCRIPT = """
create table audit (id bigint generated always as identity primary key, who text, action text, what text,
                    bad boolean, at timestamptz not null default now());
insert into audit (action, what, at)
select 'read', 'clients', now() - n * interval '1 day' from generate_series(1, 90) n;
create table local_audit (at timestamp);
insert into local_audit values (now() - interval '3 days');
create table clients (id int primary key, name text, test_run text);
create table notes (id int primary key, body text);
create table parts (id int) partition by list (id);
create table parts_1 partition of parts for values in (1);
create function tell() returns trigger language plpgsql security definer as $$ begin
    insert into public.audit (who, action, what, bad)
    values (current_setting('app.user', true), lower(tg_op), tg_table_name, tg_op = 'DELETE');
    return null; end $$;
create function stamp() returns trigger language plpgsql as $$ begin return null; end $$;
create trigger tell_clients after insert or update or delete on clients for each row execute function tell();
create constraint trigger tell_notes after insert or update or delete on notes
    deferrable initially deferred for each row execute function tell();
create trigger tell_parts after insert or update or delete on parts for each row execute function tell();
grant usage on schema public to authenticated, stranger;
grant select, insert, update, delete on clients, notes to authenticated;
grant select, insert on audit to authenticated, stranger;
insert into clients values (1, 'Ada'), (2, 'Bob');
insert into notes values (1, 'well');
"""
NO_WRITE = "no update, delete or truncate, also by a role it may take on"
ALL_THREE = "insert, update and delete told to public.audit by an enabled trigger"


@pytest.fixture(scope="module")
def environment(new_database: Any) -> Environment:
    made: Environment = new_database(SCRIPT, allow=("probes", "writes_through_app"))
    return made


@pytest.fixture
def changed(environment: Environment, superuser: Any) -> Iterator[Callable[[str], Any]]:
    """Change the database for one test, in one transaction that the way back follows."""
    back: list[str] = []

    def change(script: str, undo: str) -> None:
        back.append(undo)
        superuser(environment, script)

    yield change
    for script in back:
        superuser(environment, script)


def audit(**keys: Any) -> AuditLog:
    return AuditLog.model_validate({"table": "audit", "time": "at", **keys})


def probe(*sql: str, **keys: Any) -> AuditLog:
    expect = {"action": "delete", "what": "clients", "bad": True}
    return audit(probes={"it is deleted": {"sql": list(sql), "expect": expect, **keys}})


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


DELETE = "delete from clients where id = 1"
AS_ANN = {"role": "authenticated", "settings": {"app.user": "ann"}, "filled": ["who"]}


def test_a_log_that_tells_all_passes_and_holds_nothing_of_the_probes(environment: Environment, superuser: Any) -> None:
    everything = superuser(environment, "select count(*), max(id) from audit")
    check = audit(
        probes={
            "a client is deleted": {
                "sql": DELETE,
                "expect": {"action": "delete", "what": "clients", "bad": True},
                **AS_ANN,
            },
            "a note is changed": {
                "sql": "update notes set body = 'better -- 100%' where id = 1",
                "settings": {"app.user": {"query": "select name from clients where id = 2"}},
                "expect": {"action": "update", "what": "notes", "who": "Bob", "bad": "false"},
                "rows": "== 1",
            },
        },
        audited=["clients", "notes", "parts"],
        append_only=["authenticated", "stranger"],
        oldest=[">= 89d", "<= 91d"],
    )
    seen = look(check, environment)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert told(seen) == [
        f"trail of public.clients: expected {ALL_THREE}, got of all three [yes]",
        f"trail of public.notes: expected {ALL_THREE}, got of all three [yes]",
        f"trail of public.parts: expected {ALL_THREE}, got of all three [yes]",
        f"what authenticated may do to public.audit: expected {NO_WRITE}, got nothing of it [yes]",
        f"what stranger may do to public.audit: expected {NO_WRITE}, got nothing of it [yes]",
        "a client is deleted: expected >= 1 with action delete, what clients, bad True, who filled, "
        "got 1 of 1 row written [yes]",
        "a note is changed: expected == 1 with action update, what notes, who Bob, bad false, "
        "got 1 of 1 row written [yes]",
        "oldest row of public.audit: expected >= 89d, got 90.0d [yes]",
        "oldest row of public.audit: expected <= 91d, got 90.0d [yes]",
        "rows looked at: expected >= 1, got 93 [yes]",
        "actions, tables and roles looked at: expected >= 1, got 7 [yes]",
    ]
    assert superuser(environment, "select count(*), max(id) from audit") == everything
    assert superuser(environment, "select count(*) from clients") == [(2,)]


@pytest.mark.parametrize(
    ("change", "undo", "actual"),
    [
        (
            "alter table clients disable trigger tell_clients",
            "alter table clients enable trigger tell_clients",
            "0 of 0 rows written",
        ),
        ("create rule lost as on insert to audit do instead nothing", "drop rule lost on audit", "0 of 0 rows written"),
        (
            "create trigger more after delete on clients execute function tell()",
            "drop trigger more on clients",
            "2 of 2 rows written",
        ),
    ],
)
def test_an_action_that_leaves_not_its_row_fails(
    environment: Environment, changed: Any, change: str, undo: str, actual: str
) -> None:
    changed(change, undo)
    seen = look(probe(DELETE, rows="== 1", **AS_ANN), environment)
    assert seen.status is Status.FAILED
    assert told(seen)[0].endswith(f"got {actual} [no]")


def test_a_row_that_tells_something_else_fails(environment: Environment) -> None:
    seen = look(probe(DELETE, filled=["who"]), environment)
    assert seen.status is Status.FAILED
    assert told(seen)[0].endswith("who filled, got 0 of 1 row written [no]")
    nobody = look(probe(DELETE, role="authenticated", expect={"action": "delete", "who": "ann"}), environment)
    assert nobody.status is Status.FAILED
    assert told(nobody)[0].endswith("expected >= 1 with action delete, who ann, got 0 of 1 row written [no]")


def test_an_action_that_reaches_nothing_proves_nothing(environment: Environment) -> None:
    seen = look(
        probe("insert into clients values (3, 'Eve')", "delete from clients where id = 9", **AS_ANN), environment
    )
    assert seen.status is Status.INCONCLUSIVE
    assert told(seen)[0].endswith(
        "got the action reached no row (statement 2), so nothing was to be told [cannot tell]"
    )
    assert told(seen)[1] == "actions, tables and roles looked at: expected >= 1, got 0 [cannot tell]"


def trigger(when: str, function: str = "tell") -> str:
    """Another trigger in place of that of `clients`."""
    made = f"create trigger tell_clients {when} for each row"
    made = made.replace("for each row", f"on clients for each row execute function {function}()")
    condition = re.search(r" when \(.*?\)", when)
    if condition:
        made = made.replace(condition[0], "").replace("for each row", f"for each row{condition[0]}")
    return f"drop trigger if exists tell_clients on clients; {made}"


AGAIN = trigger("after insert or update or delete")
ALL_MISSED = "insert, update, delete"
TRAILS = [
    ("alter table clients disable trigger tell_clients", f"{ALL_MISSED}: tell_clients is disabled"),
    ("drop trigger tell_clients on clients", f"{ALL_MISSED}: no trigger has a function that names audit"),
    (trigger("after insert or delete"), "update: no trigger for it"),
    (trigger("after insert or delete or update of name"), "update: tell_clients fires for some columns only"),
    (trigger("after delete when (old.id > 0)"), f"{ALL_MISSED}: tell_clients has a WHEN condition"),
    (trigger("before insert or update or delete"), f"{ALL_MISSED}: tell_clients does not fire after it"),
    (
        trigger("after insert or update or delete", "stamp"),
        f"{ALL_MISSED}: no trigger has a function that names audit",
    ),
]


@pytest.mark.parametrize(("change", "actual"), TRAILS)
def test_a_table_without_its_whole_trail_fails_and_says_why(
    environment: Environment, changed: Any, change: str, actual: str
) -> None:
    changed(change, AGAIN)
    seen = look(audit(audited=["clients", "parts"]), environment)
    assert seen.status is Status.FAILED
    (wrong,) = [line for line in told(seen) if line.endswith("[no]")]
    assert wrong.endswith(f"got not of {actual} [no]")


def test_a_partition_whose_trigger_sleeps_fails(environment: Environment, changed: Any) -> None:
    changed(*(f"alter table parts_1 {word} trigger tell_parts" for word in ("disable", "enable")))
    seen = look(audit(audited=["parts"]), environment)
    assert seen.status is Status.FAILED
    assert told(seen)[0].endswith(f"got not of {ALL_MISSED}: tell_parts is disabled on 1 partition [no]")


def test_the_function_may_be_named_and_tables_meant_by_pattern(environment: Environment) -> None:
    everything = audit(audited=["public.*"], exclude=["local*"], audited_by="public.tell")
    seen = look(everything, environment)
    assert (seen.status, [finding.name for finding in seen.findings][:3]) == (
        Status.PASSED,
        ["trail of public.clients", "trail of public.notes", "trail of public.parts"],
    )
    other = look(audit(audited=["notes"], audited_by="stamp"), environment)
    assert told(other)[0].endswith("got not of insert, update, delete: no trigger executes stamp [no]")


@pytest.mark.parametrize(
    ("change", "undo", "role", "actual"),
    [
        (
            "grant delete on audit to stranger",
            "revoke delete on audit from stranger",
            "stranger",
            "delete by stranger: revoke update, delete, truncate on public.audit from stranger [no]",
        ),
        (
            "grant update (who), truncate on audit to stranger",
            "revoke all on audit from stranger; grant insert on audit to stranger",
            "stranger",
            "truncate, update by stranger: revoke",
        ),
        (
            "create table own (at timestamptz) partition by range (at); create table own_1 partition of own default;"
            "grant delete on own_1 to stranger; alter table audit rename to real; alter table own rename to audit",
            "drop table audit; alter table real rename to audit",
            "stranger",
            "delete by stranger: revoke update, delete, truncate on public.audit from stranger [no]",
        ),
        (
            "grant all on audit to service_role",
            "revoke all on audit from service_role",
            "releasegate_probe",
            "delete, truncate, update by service_role: revoke",
        ),
        (
            "alter table audit owner to owner",
            "alter table audit owner to postgres",
            "owner",
            "everything, as its owner by owner [no]",
        ),
        (
            "select 1",
            "select 1",
            "postgres",
            "delete, update by pg_write_all_data; everything, as a superuser",
        ),
    ],
)
def test_a_role_that_could_falsify_the_log_fails(
    environment: Environment, changed: Any, change: str, undo: str, role: str, actual: str
) -> None:
    changed(change, undo)
    seen = look(audit(append_only=[role]), environment)
    assert seen.status is Status.FAILED, seen.message
    assert f"expected {NO_WRITE}, got {actual}" in told(seen)[0]


@pytest.mark.parametrize(
    ("keys", "status", "said"),
    [
        ({"oldest": ">= 91d"}, Status.FAILED, "oldest row of public.audit: expected >= 91d, got 90.0d [no]"),
        ({"oldest": "< 90d"}, Status.FAILED, "oldest row of public.audit: expected < 90d, got 90.0d [no]"),
        (
            {"oldest": ">= 2190d", "since": "2026-01-02"},
            Status.PASSED,
            "expected >= 2190d, or since the log began: >= 2d, got 90.0d [yes]",
        ),
        (
            {"oldest": ">= 2190d", "since": "2025-01-02"},
            Status.FAILED,
            "expected >= 2190d, or since the log began: >= 367d, got 90.0d [no]",
        ),
        ({"oldest": ">= 2d", "table": "local_audit", "zone": "UTC"}, Status.PASSED, "expected >= 2d, got 3.0d [yes]"),
        (
            {"oldest": ">= 2d", "table": "local_audit"},
            Status.INCONCLUSIVE,
            "got the column is a timestamp without time zone; say its `zone` [cannot tell]",
        ),
        ({"oldest": ">= 2d", "table": "empty"}, Status.INCONCLUSIVE, "expected >= 2d, got no row [cannot tell]"),
        ({"oldest": ">= 2d", "table": "endless"}, Status.INCONCLUSIVE, "got no row with a time [cannot tell]"),
    ],
)
def test_the_oldest_row_is_as_old_as_the_policy_asks(
    environment: Environment, changed: Any, keys: dict[str, Any], status: Status, said: str
) -> None:
    endless = "create table endless (at timestamptz); insert into endless values ('-infinity'), (null)"
    changed(f"create table empty (at timestamptz); {endless}", "drop table empty, endless")
    clock = FakeClock(datetime(2026, 1, 5, 9, tzinfo=UTC))
    seen = look(audit(**keys), environment, clock=clock)
    assert seen.status is status, seen.message
    assert told(seen)[0].endswith(said)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"sql": "delete from clients where id = 1", "role": "anon"},
            "statement 1: permission denied for table clients (SQLSTATE 42501)",
        ),
        ({"sql": DELETE, "role": "nobody"}, 'taking on its role and settings: role "..." does not exist'),
        (
            {"sql": "insert into clients values (1, 'Eve')", "role": "authenticated"},
            'violates unique constraint "..." (SQLSTATE 23505)',
        ),
        (
            {"sql": DELETE, "settings": {"app.user": {"query": "select name from clients"}}},
            "the query of setting 'app.user' gave several rows",
        ),
        ({"sql": DELETE, "expect": {"acton": "delete"}}, "public.audit has no column 'acton'"),
    ],
)
def test_an_action_that_cannot_be_done_is_an_error(environment: Environment, keys: dict[str, Any], said: str) -> None:
    seen = look(probe(**{"sql": [], **keys}) if "sql" not in keys else probe(keys.pop("sql"), **keys), environment)
    assert seen.status is Status.ERROR, told(seen)
    assert said in seen.message


def test_probes_need_their_permission(environment: Environment) -> None:
    bare = Environment(name="prod", databases=environment.databases)
    seen = look(probe(DELETE), bare)
    assert (seen.status, "needs `probes`" in seen.message) == (Status.ERROR, True)
    asked = audit(probes={"p": {"http": {"url": "http://127.0.0.1:9/"}, "expect": {"action": "read"}}})
    seen = look(asked, bare)
    assert (seen.status, "needs `writes_through_app`" in seen.message) == (Status.ERROR, True)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "expected `probes`, `audited`, `append_only` or `oldest`"),
        ({"probes": {"p": {"expect": {"a": 1}}}}, "expected either `sql` or `http`"),
        ({"probes": {"p": {"sql": DELETE}}}, "expected `expect`"),
        ({"probes": {"p": {"sql": DELETE, "expect": {"a": 1}, "rows": ">= 0"}}}, "no row at all would satisfy"),
        ({"probes": {"p": {"sql": "truncate clients", "expect": {"a": 1}}}}, "or a write, got TRUNCATE"),
        ({"probes": {"p": {"sql": f"{DELETE}; {DELETE}", "expect": {"a": 1}}}}, "expected one statement, got 2"),
        ({"probes": {"p": {"sql": "insert into a select dblink('x', 'y')", "expect": {"a": 1}}}}, "calls dblink"),
        ({"oldest": ">= 1d", "on_copy": {}}, "a copy has neither its age nor an application"),
    ],
)
def test_wrong_declarations_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        audit(**keys)
    assert said in str(wrong.value)


class App(BaseHTTPRequestHandler):
    """An application that writes a row for each request but those under `/quiet`, and the mark that was in it."""

    dsn = ""

    def do_GET(self) -> None:
        path, _, mark = self.path.partition("?why=")
        if path != "/quiet":
            with psycopg.connect(self.dsn) as connection:
                values = [self.headers["X-User"], mark]
                connection.execute("insert into audit (action, who, what) values ('read', %s, %s)", values)
        self.send_response(404 if path == "/gone" else 200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def app(environment: Environment, server: PostgresServer) -> Iterator[Environment]:
    App.dsn = server.dsn(environment.databases["app"].rsplit("/", 1)[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), App) as httpd:
        thread = Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield replace(environment, base_url=f"http://127.0.0.1:{httpd.server_port}")
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("url", "what", "status", "said"),
    [
        ("/chart?why=${mark}", "${mark}", Status.PASSED, "got 1 of 1 row written [yes]"),
        (
            "/chart?why=review",
            "review",
            Status.PASSED,
            "other people's actions may be among them: put ${mark} into it [yes]",
        ),
        ("/quiet?why=${mark}", "${mark}", Status.FAILED, "what ${mark} within 300ms, got 0 of 0 rows written [no]"),
        (
            "/gone?why=${mark}",
            "${mark}",
            Status.INCONCLUSIVE,
            "got the application answered 404, so nothing was to be told [cannot tell]",
        ),
    ],
)
def test_an_action_through_the_application_leaves_its_row(
    app: Environment, url: str, what: str, status: Status, said: str
) -> None:
    expect = {"action": "read", "who": "ann", "what": what}
    asked = {"url": url, "headers": {"X-User": "ann"}}
    seen = look(audit(probes={"it is read": {"http": asked, "expect": expect, "within": "300ms"}}), app)
    assert seen.status is status, (seen.message, told(seen))
    assert told(seen)[0].endswith(said)


def test_a_new_table_is_tried_on_a_copy_with_its_migration(
    environment: Environment, superuser: Any, tmp_path: Path
) -> None:
    migration = "create table plans (id int primary key); create trigger tell_plans after insert or {} on plans {};"
    for_each = "for each row execute function tell()"
    (tmp_path / "up.sql").write_text(migration.format("update or delete", for_each))
    (tmp_path / "wrong.sql").write_text("create tabel plans ()")
    statements = ["insert into plans values (1)", "delete from plans"]
    probes = {"a plan is deleted": {"sql": statements, "expect": {"action": "delete", "what": "plans"}}}

    def on_copy(*files: str) -> Any:
        check = audit(on_copy={"run": list(files)}, probes=probes, audited=["plans", "clients"])
        return look(check, replace(environment, allow=frozenset()), root=tmp_path)

    assert on_copy("none.sql").message.startswith("there is no file none.sql")
    good, wrong = on_copy("up.sql"), on_copy("wrong.sql")
    assert (good.status, wrong.status) == (Status.PASSED, Status.ERROR), good.message
    assert told(good)[1].startswith("trail of public.plans")
    assert told(good)[2].endswith("got 1 of 2 rows written [yes]")
    assert wrong.message.startswith('wrong.sql on the copy: syntax error at or near "tabel" (SQLSTATE 42601)')
    assert superuser(environment, "select to_regclass('plans')") == [(None,)]
