"""`rollback_sql`: the script goes all the way back on a scratch copy, and its verification is no decoration."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks import rollback_sql
from pytest_releasegate.checks.rollback_sql import RollbackSql
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources.pgscratch import Content, Scratch
from pytest_releasegate.sources.rollbackscript import dropped
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_releasegate.sources.pgserver import PostgresServer
    from tests.conftest import Product

SCRIPT = """
create table schema_migrations (version text primary key, applied_at timestamptz default now(), name text not null);
insert into schema_migrations values ('002', now(), 'two');
create table clients (id int primary key, name text);
insert into clients values (1, 'a'), (2, 'b');
create table codes (code text primary key);
insert into codes values ('A');
create table audit_logs (id bigint generated always as identity, user_id uuid, action_type text, resource_type text,
    action_description text, severity text);
alter table schema_migrations owner to owner; alter table clients owner to owner; alter table codes owner to owner;
alter table audit_logs owner to owner; grant all on schema public to owner;
"""
UP = """create table plans (id int primary key, client int references clients);
alter table clients add column nickname text;
create index clients_nickname on clients (nickname);
insert into codes select 'P' || i from generate_series(1, 3) i
"""
DOWN = """delete from codes where code like 'P%';
drop table plans;
alter table clients drop column nickname -- with its index
"""
WHOLE: dict[str, Any] = {
    "down": ["003_plans.down.sql"],
    "versions": ["003"],
    "rows": {"codes": -3, "clients": 0},
    "audit": "audit_logs",
}


@pytest.fixture(scope="module")
def environment(new_database: Any) -> Environment:
    """One for all: the check only reads it."""
    made: Environment = new_database(SCRIPT)
    return made


@pytest.fixture
def copied(server: PostgresServer, new_database: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a database of the tests' own server stand for the copy, for a server of its own takes a second to start."""

    def use(script: str = SCRIPT) -> None:
        @contextmanager
        def scratch(_context: Any, _database: str, content: Content) -> Iterator[Scratch]:
            use.asked = content  # type: ignore[attr-defined]
            dsn = new_database(script).databases["app"]
            yield Scratch(server, dsn.rpartition("/")[2], "data")

        monkeypatch.setattr(rollback_sql, "scratch", scratch)

    use()
    return use


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "003_plans.up.sql").write_text(UP)
    (tmp_path / "003_plans.down.sql").write_text(DOWN)
    return tmp_path


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def check(**more: Any) -> RollbackSql:
    return RollbackSql.model_validate({**WHOLE, **more})


def test_a_script_that_goes_all_the_way_back_passes(environment: Environment, superuser: Any, root: Path) -> None:
    traces = "select pg_snapshot_xmax(pg_current_snapshot())::text"
    before = superuser(environment, traces)
    seen = look(check(), environment, root=root)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    lines = told(seen)
    assert lines[0].startswith("the script without an operator: expected refused, got refused: nobody said")
    assert lines[1] == (
        "the script without its way back: expected refused, got refused: rollback refused: plans is still there "
        "(SQLSTATE P0001) [yes]"
    )
    assert lines[2].startswith("the script on the copy: expected runs in one transaction, got ran in one")
    assert lines[3] == "rows of it in the audit log: expected 1, got 1 [yes]"
    assert lines[4].startswith("schema after the rollback: expected as before, got the same, ")
    assert lines[5] == "migration after the rollback: expected runs again, got runs again [yes]"
    assert lines[6] == "things that the script verifies looked at: expected >= 1, got 5 [yes]"
    text = seen.attached[0][1].decode()
    assert "-- Rollback of demo 1.4.0, written by: releasegate rollback-sql" in text
    assert (
        text.index("BEGIN ISOLATION")
        < text.index("INSERT INTO audit_logs")
        < text.index("drop table plans")
        < len(text)
    )
    assert superuser(environment, traces) == before


@pytest.mark.parametrize(
    ("down", "more", "line"),
    [
        (
            DOWN.replace("drop table plans;", ""),
            {"gone": ["clients.nickname"]},
            "schema after the rollback: expected as before, got ",
        ),
        (
            DOWN.replace("delete from codes where code like 'P%'", "delete from codes"),
            {},
            "the script on the copy: expected runs in one transaction, got rollback refused: codes: not -3 rows",
        ),
        (
            DOWN.replace("drop table plans;", "drop table plans; commit; begin;"),
            {},
            "rollback refused: the way back ended the transaction, so that not all",
        ),
        (DOWN.replace("plans", "plan"), {}, 'table "..." does not exist'),
        ("delete from codes where code like 'P%'; do $$ begin end $$", {"rows": {}}, "its verification notices"),
        (DOWN, {"there": ["clients.nickname"], "gone": ["plans"]}, "clients.nickname is not there"),
    ],
)
@pytest.mark.usefixtures("copied")
def test_a_script_that_does_not_fails(environment: Environment, root: Path, down: str, more: Any, line: str) -> None:
    (root / "003_plans.down.sql").write_text(down)
    seen = look(check(content="data", **more), environment, root=root)
    assert seen.status is Status.FAILED, (seen.message, told(seen))
    assert line in "\n".join(told(seen)), told(seen)


@pytest.mark.usefixtures("copied")
def test_a_migration_that_does_not_run_cannot_tell(environment: Environment, root: Path) -> None:
    (root / "003_plans.up.sql").write_text("create table clients ()")
    seen = look(check(), environment, root=root)
    assert seen.status is Status.INCONCLUSIVE
    assert told(seen)[0] == (
        'migration on the copy: expected runs, got relation "..." already exists (SQLSTATE 42P07) [cannot tell]'
    )


def test_the_data_of_a_protected_environment_is_not_copied(environment: Environment, copied: Any, root: Path) -> None:
    copied(SCRIPT + "delete from schema_migrations; delete from clients;")
    seen = look(check(), replace(environment, protected=True, allow=frozenset({"owner"})), root=root)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert told(seen)[0] == (
        "content of the copy: expected data, got schema: no copy is made of a protected environment's data [yes]"
    )
    assert copied.asked == "schema"


def test_after_the_migration_it_goes_back_and_forth(environment: Environment, copied: Any, root: Path) -> None:
    applied = f"set role owner; {UP}; insert into schema_migrations values ('003', now(), 'three'); reset role;"
    again = check(recorded="insert into schema_migrations values ('003', now(), '3')")
    copied(SCRIPT + applied)
    seen = look(again, environment, root=root)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert not any(line.startswith("schema after the rollback") for line in told(seen))
    assert any(line.startswith("schema after the migration: expected as before, got the same") for line in told(seen))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"down": ["gone.down.sql"]}, "the down file gone.down.sql cannot be read"),
        ({"down": ["003_plans.up.sql"]}, "the file that applies what 003_plans.up.sql takes back is not known"),
        ({"version_table": "versions"}, "there is no version table versions"),
        ({"versions": ["002", "003"]}, "some of the versions are applied and some are not"),
        ({"recorded": "select 1"}, "the version table of the copy has no row to copy"),
    ],
)
@pytest.mark.usefixtures("copied")
def test_without_what_is_named_it_cannot_look(environment: Environment, root: Path, more: Any, message: str) -> None:
    seen = look(check(**more), environment, root=root)
    assert (seen.status, message in seen.message) == (Status.ERROR, True), (seen.message, told(seen))


@pytest.mark.parametrize("wrong", [{"down": []}, {"rows": {"a; drop table b": 1}}, {"audit": "a b"}, {"versions": []}])
def test_what_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        check(**wrong)


def test_what_a_down_file_drops_is_read_from_it() -> None:
    text = 'drop table if exists public.a, "B" cascade; drop index i; alter table c drop column "D x", drop column e'
    assert dropped(text) == ["public.a", '"B"', "i", 'c."D x"', "c.e"]
    assert dropped("no sql at all (") == []


def test_the_command_prints_the_script_for_a_person(product: Product) -> None:
    gate = "id: R, title: t, rollback_sql: {down: [003.down.sql], versions: ['003'], audit: audit_logs}"
    product.gates("predeploy", gate)
    product.write("003.down.sql", "drop table plans;")
    ran = product.releasegate("rollback-sql", "--output", "rollback.sql")
    assert (ran.code, ran.has("rollback.sql: written")) == (0, True), ran.out
    text = (product.root / "rollback.sql").read_text()
    assert "Database rollback initiated for release 1.4.0" in text
    assert "plans is still there" in text
    assert product.releasegate("rollback-sql").has("nobody said who runs this")
    product.gates("predeploy", "id: A, title: t, attest: {role: dba}")
    ran = product.releasegate("rollback-sql")
    assert (ran.code, ran.has("no gate looks at a rollback script")) == (4, True), ran.out
