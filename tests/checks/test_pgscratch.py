"""A scratch copy has what its source has, calls nobody, and is gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pytest_releasegate.check import Context
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Environment, Release
from pytest_releasegate.sources import pgdump, pgscratch
from pytest_releasegate.sources.pgscratch import Scratch, scratch
from pytest_releasegate.testing import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCRIPT = """
create extension dblink;
create extension citext;
create extension postgres_fdw;
create server elsewhere foreign data wrapper postgres_fdw options (host 'db.example');
create user mapping for current_user server elsewhere options (password 'never-copied');
create foreign table far (id int) server elsewhere;
create view over_far as select id from far;
create view over_that as select id from over_far;
create publication everything for all tables;
create function stop() returns event_trigger language plpgsql as 'begin raise exception ''no''; end';
create event trigger stopping on ddl_command_start when tag in ('CREATE AGGREGATE') execute function stop();
create function call() returns trigger language plpgsql as
  'begin perform dblink_connect(''host=db.example''); return new; end';
create table clients (id int generated always as identity primary key, mail citext unique,
  low text generated always as (lower(mail::text)) stored, parent int references clients);
insert into clients (mail, parent) select 'Mail' || n || '@example.org', case when n > 4 then n - 4 end
  from generate_series(1, 40) n;
create table notes (id int primary key, client int not null references clients);
insert into notes select n, 41 - n from generate_series(1, 40) n;
create trigger calling before insert or update on notes for each row execute function call();
alter table clients enable row level security;
create policy own on clients for select to authenticated using (mail = 'Mail1@example.org');
grant select on clients to authenticated;
create schema other authorization owner;
create table other.parts (id int) partition by list (id);
create table other.parts_1 partition of other.parts for values in (1);
insert into other.parts values (1);
"""
OWNER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.checks.test_pgscratch import context
from pytest_releasegate.model import Environment
from pytest_releasegate.sources.pgscratch import scratch
with scratch(context(Environment(name="test", databases={"app": sys.argv[2]}))) as copy:
    print(copy.server.folder, copy.server.pid, flush=True)
    time.sleep(60)
"""


def context(environment: Environment) -> Context:
    release = Release(product="demo", version="1.4.0", environment="test", opened_at=SystemClock().now())
    return Context(environment=environment, release=release, root=Path.cwd())


@pytest.fixture(scope="module")
def environment(new_database: Callable[..., Environment], superuser: Any) -> Environment:
    made = new_database(SCRIPT)
    name = made.databases["app"].rsplit("/", 1)[1]
    superuser(made, f"alter database {name} set search_path to public, other; alter database {name} set app.x to 'y'")
    return made


@pytest.fixture(scope="module")
def sample(environment: Environment) -> Iterator[Scratch]:
    with scratch(context(environment), content="sample", rows=10) as copy:
        yield copy


def asked(copy: Scratch, query: str) -> Any:
    with copy.connect() as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0] if len(row) == 1 else row


def test_nothing_that_calls_out_is_copied(sample: Scratch) -> None:
    assert asked(sample, "select array_agg(extname::text order by extname) from pg_extension") == ["citext", "plpgsql"]
    nothing = "select count(*) from {}"
    assert [asked(sample, nothing.format(f"pg_{name}")) for name in ("foreign_server", "publication")] == [0, 0]
    assert [asked(sample, nothing.format(f"pg_{name}")) for name in ("user_mapping", "event_trigger")] == [0, 0]
    told = "; ".join(sample.left_out)
    for name in ("extension dblink", "server elsewhere", "foreign table far", "view over_that, which needs"):
        assert name in told


def test_rows_are_few_and_what_they_refer_to_is_there(sample: Scratch) -> None:
    assert asked(sample, "select count(*) from notes") == 10
    assert asked(sample, "select count(*) from clients") > 10
    assert asked(sample, "select count(*) from other.parts") == 1
    with sample.connect() as connection:
        connection.execute("alter table notes add constraint again foreign key (client) references clients")
        connection.execute("alter table clients add constraint again foreign key (parent) references clients")
        connection.execute("insert into clients (mail) values ('new@example.org')")
        # the trigger that would call out finds nothing to call with
        with pytest.raises(psycopg.errors.UndefinedFunction):
            connection.execute("insert into notes values (99, 1)")


def test_roles_cannot_log_in_and_policies_hold(sample: Scratch) -> None:
    query = "select array_agg(rolname::text) from pg_roles where rolcanlogin"
    assert asked(sample, query) == ["postgres"]
    assert asked(sample, "select rolbypassrls from pg_roles where rolname = 'service_role'") is True
    assert asked(sample, "select pg_has_role('releasegate_probe', 'authenticated', 'member')") is True
    assert asked(sample, "select nspowner::regrole::text from pg_namespace where nspname = 'other'") == "owner"
    with sample.connect() as connection:
        connection.execute("set role authenticated")
        assert connection.execute("select count(*) from clients").fetchall() == [(1,)]


def test_settings_of_the_database_come_with_it(sample: Scratch) -> None:
    assert asked(sample, "select current_setting('search_path'), current_setting('app.x')") == ("public, other", "y")


def test_all_rows(environment: Environment) -> None:
    with scratch(context(environment), content="data") as copy:
        assert asked(copy, "select count(*) from notes") == 40
        assert asked(copy, "select count(*) from clients") == 40
        assert "CREATE TABLE public.notes" in copy.schema()
        folder = copy.server.folder
        assert list(folder.glob("archive*")) == []
    assert not folder.exists()


def test_nothing_is_left_when_its_owner_is_killed(environment: Environment) -> None:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", OWNER, root, environment.databases["app"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder, pid = owner.stdout.readline().split()
        assert Path(folder).exists()
        owner.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while Path(folder).exists() and time.monotonic() < end:
        os.sched_yield()
    assert not Path(folder).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_a_missing_extension_is_named_with_what_to_do(sample: Scratch) -> None:
    with sample.connect() as connection, pytest.raises(CannotLook) as no:
        pgscratch._need_extensions(connection, sample, ["citext", "postgis"])
    assert "uses the extension 'postgis', which the scratch server does not have" in no.value.what
    assert "without: [postgis]" in no.value.hint


def test_an_extension_can_be_left_out_by_name(environment: Environment) -> None:
    with scratch(context(environment), without=["citext"]) as copy:
        assert asked(copy, "select to_regclass('public.clients') is null") is True
        assert any("table clients" in name for name in copy.left_out)


@pytest.mark.parametrize("content", ["data", "sample"])
def test_no_row_of_a_protected_environment_is_copied(environment: Environment, content: Any) -> None:
    protected = context(replace(environment, protected=True))
    with pytest.raises(CannotLook, match="a protected environment, is not copied"), scratch(protected, content=content):
        pass
    allowed = context(replace(environment, protected=True, allow=frozenset({"restores"})))
    with scratch(allowed, content=content) as copy:
        assert asked(copy, "select count(*) > 0 from clients") is True


def test_binaries_that_are_too_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgdump, "installations", lambda: [Path("/opt/old")])
    monkeypatch.setattr(pgdump, "_major", lambda folder: 14)
    with pytest.raises(CannotLook, match=r"needs PostgreSQL 17 or newer.*found: 14 in /opt/old"):
        pgdump.binaries_for(17)


def test_the_password_never_is_an_argument(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def run(command: list[str], *rest: Any) -> Any:
        seen.extend(command)
        return subprocess.CompletedProcess(command, 1, "", "pg_dump: error: no")

    monkeypatch.setattr(pgdump, "_run", run)
    with pytest.raises(CannotLook, match="pg_dump could not copy the database: no"):
        pgdump.dump(Path("/usr/bin"), environment.databases["app"], Path("/tmp/no"), data=False, seconds=9)
    assert any("dbname=" in word for word in seen)
    assert "correct-horse-battery" not in " ".join(seen)


def test_a_role_that_sees_only_some_rows_cannot_copy(environment: Environment, sample: Scratch, tmp_path: Path) -> None:
    filtered = environment.databases["app"].replace("releasegate_probe", "filtered")
    with pytest.raises(CannotLook, match="row-level security") as no:
        pgdump.dump(sample.server.binaries, filtered, tmp_path / "archive", data=True, seconds=30)
    assert "bypassrls" in no.value.hint
