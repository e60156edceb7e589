"""`restore`: a dump that does not come back as what it was dumped from does not pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import ValidationError

from pytest_releasegate.check import Context
from pytest_releasegate.checks import restore
from pytest_releasegate.checks.restore import Restore
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources import pgrestored
from pytest_releasegate.sources.pgarchive import Archive, Contents
from pytest_releasegate.testing import look
from tests.checks.test_backup import DECRYPT, HIDE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = """
create type mood as enum ('well', 'ill');
create table clients (id int primary key, name text not null, mood mood);
insert into clients select i, md5(i::text), 'well' from generate_series(1, 500) i;
create table notes (id int primary key, client int references clients, body text);
insert into notes select i, 1 + i % 500, 'n' from generate_series(1, 900) i;
create table visits (id int, on_day date) partition by range (on_day);
create table visits_1 partition of visits for values from ('2026-01-01') to ('2027-01-01');
insert into visits values (1, '2026-02-02');
create index by_client on notes (client);
create function touch() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger touched before update on notes for each row execute function touch();
create view seen as select count(*) from clients;
alter table clients enable row level security;
create policy own on clients for select to authenticated, "Odd, role" using (name = current_user);
"""


@pytest.fixture(scope="module")
def source(server: Any, new_database: Any, superuser: Any) -> Environment:
    """A database with one of everything, and a role that no scratch server knows."""
    environment: Environment = new_database('create role "Odd, role" nologin;' + SCRIPT)
    return environment


@pytest.fixture(scope="module")
def dump(server: Any, source: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dump of it with its manifest beside it."""
    path: Path = tmp_path_factory.mktemp("dumps") / "a.dump"
    name = source.databases["app"].rsplit("/", 1)[1]
    known = conninfo_to_dict(server.dsn(name))
    variables = {f"PG{key.upper()}": str(known[key]) for key in ("host", "port", "user", "password")}
    variables |= {"PGDATABASE": name, "PG_DUMP": str(server.binaries / "pg_dump")}
    command = [sys.executable, "-m", "pytest_releasegate.sources.pgmanifest", f"{path}.manifest", "--no-comments"]
    with path.open("wb") as file:
        subprocess.run(command, env={**os.environ, **variables}, stdout=file, check=True)
    return path


@pytest.fixture(scope="module")
def copy(dump: Path) -> Iterator[pgrestored.Restored]:
    """The dump, restored once for all tests that only compare."""
    context = Context(environment=Environment(name="test"), release=None, root=dump.parent)  # type: ignore[arg-type]
    archive = Archive(dump, context)
    with pgrestored.restored(archive, archive.contents(), context) as made:
        yield made


@pytest.fixture
def restored_before(copy: pgrestored.Restored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the check compare what was restored before."""
    monkeypatch.setattr(restore, "restored", lambda *given: nullcontext(copy))


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def line(seen: Any, name: str) -> str:
    (found,) = [text for text in told(seen) if text.startswith(f"{name}:")]
    return found


def test_a_dump_that_comes_back_whole_passes(dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[Any] = []

    class Watched(pgrestored.PostgresServer):
        def start(self) -> Any:
            servers.append(self)
            return super().start()

    monkeypatch.setattr(pgrestored, "PostgresServer", Watched)
    seen = look(Restore(dump=str(dump), manifest=".manifest", within="1m", least=3))
    assert seen.status is Status.PASSED, (told(seen), seen.message)
    assert line(seen, "tables") == "tables: expected the 3 of the manifest, got the same 3 [yes]"
    assert line(seen, "rows") == "rows: expected as in the manifest, got 3 of 3 tables [yes]"
    assert line(seen, "rows looked at") == "rows looked at: expected >= 1, got 1401 [yes]"
    assert "restored" in seen.attached[0][1].decode()
    server = servers[0]
    assert (server.running, server.folder.exists()) == (False, False)
    assert seen.kept["restore/a.dump"]["tables"]["public.notes"] == 900
    assert Restore(dump="a", within="30m").needs_time == timedelta(minutes=30)


def test_an_encrypted_dump_comes_back_and_a_broken_one_does_not(dump: Path, tmp_path: Path) -> None:
    hidden = subprocess.run([sys.executable, "-c", HIDE], input=dump.read_bytes(), capture_output=True, check=True)
    (tmp_path / "a.enc").write_bytes(hidden.stdout)
    check = Restore(dump=str(tmp_path), decrypt=DECRYPT, manifest=str(dump.with_name("a.dump.manifest")))
    seen = look(check)
    assert seen.status is Status.PASSED, (told(seen), seen.message)
    # what is missing lies behind the table of contents
    (tmp_path / "a.enc").write_bytes(hidden.stdout[: len(hidden.stdout) // 2])
    seen = look(check)
    assert seen.status is Status.FAILED
    assert "could not read from input file" in told(seen)[0]


def test_compared_with_the_live_database(
    dump: Path, source: Environment, superuser: Any, restored_before: None
) -> None:
    check = Restore(dump=str(dump))
    assert look(check, source).status is Status.PASSED
    superuser(source, "delete from notes where id <= 9; create table consents (id int)")
    seen = look(check, source)
    assert seen.status is Status.FAILED
    assert line(seen, "tables") == ("tables: expected the 4 of the live database, got 1 missing: public.consents [no]")
    assert line(seen, "rows of public.notes") == (
        "rows of public.notes: expected 891 as in the live database, got 900 [no]"
    )
    assert "1 missing" not in line(seen, "objects")
    assert "column public.consents.id integer" in line(seen, "objects")
    superuser(source, "drop table consents")
    near = look(Restore(dump=str(dump), tolerance="<= 2%"), source)
    assert near.status is Status.PASSED, told(near)
    assert line(near, "rows").endswith("expected as in the live database, but for <= 2%, got 3 of 3 tables [yes]")
    assert look(Restore(dump=str(dump), tolerance_rows=8), source).status is Status.FAILED
    superuser(source, "insert into notes select i, 1, 'n' from generate_series(1, 9) i; drop index by_client")
    seen = look(check, source)
    superuser(source, "create index by_client on notes (client)")
    assert "1 too many: index public.by_client [no]" in line(seen, "objects")


def test_a_manifest_of_other_tables_does_not_pass(dump: Path, tmp_path: Path, restored_before: None) -> None:
    other = tmp_path / "manifest.json"
    other.write_text(json.dumps({"tables": {"public": 0}}))
    seen = look(Restore(dump=str(dump), manifest=str(other)))
    assert seen.status is Status.FAILED
    assert line(seen, "tables looked at") == "tables looked at: expected >= 1, got 0 [cannot tell]"
    other.write_text("[]")
    assert "is not one" in look(Restore(dump=str(dump), manifest=str(other))).message


def test_no_dump_fails_and_an_unknown_extension_is_an_error(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look(Restore(dump=str(tmp_path))).status is Status.FAILED
    (tmp_path / "a.dump").write_bytes(b"nothing like an archive")
    assert look(Restore(dump=str(tmp_path))).status is Status.FAILED
    (tmp_path / "a.dump").write_text("--\n-- PostgreSQL database dump\n--\n-- PostgreSQL database dump complete\n")
    seen = look(Restore(dump=str(tmp_path)))
    assert seen.status is Status.ERROR
    assert "a.dump is plain SQL, which only psql restores" in seen.message
    seen = look(Restore(dump=str(dump), manifest=".none"))
    assert seen.status is Status.ERROR
    assert "a.dump.none cannot be read: No such file" in seen.message
    monkeypatch.setattr(Contents, "named", lambda self, what: ["timescaledb"] if what == "EXTENSION" else [])
    seen = look(Restore(dump=str(dump), manifest=".manifest"))
    assert seen.status is Status.ERROR
    assert "the dump needs the extension 'timescaledb'" in seen.message


def test_what_calls_out_is_left_out_and_tables_without_rows_cannot_tell(
    server: Any, fresh_database: Any, tmp_path: Path
) -> None:
    environment = fresh_database(
        "create schema extensions; create extension postgres_fdw schema extensions;"
        "create server away foreign data wrapper postgres_fdw;"
        "create table clients (id int)"
    )
    name = environment.databases["app"].rsplit("/", 1)[1]
    subprocess.run([server.binaries / "pg_dump", "-Fc", "-f", tmp_path / "a", server.dsn(name)], check=True)
    seen = look(Restore(dump=str(tmp_path)), environment)
    assert seen.status is Status.INCONCLUSIVE, (told(seen), seen.message)
    assert line(seen, "rows looked at") == "rows looked at: expected >= 1, got 0 [cannot tell]"
    assert "left out, since they call out: extension postgres_fdw, server away [yes]" in told(seen)[0]


def test_data_of_a_protected_environment_comes_here_only_where_that_is_allowed(tmp_path: Path) -> None:
    check = Restore(dump=str(tmp_path))
    environment = Environment(name="prod", protected=True)
    seen = look(check, environment)
    assert seen.status is Status.ERROR
    assert "declare `allow: [restores]` for it in environments.yaml" in seen.message
    assert look(check, replace(environment, allow=frozenset({"restores"}))).status is Status.FAILED


@pytest.mark.parametrize(
    "wrong", [{}, {"dump": "a", "manifest": "b", "database": "c"}, {"dump": "a", "tolerance": "5"}]
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Restore(**wrong)
