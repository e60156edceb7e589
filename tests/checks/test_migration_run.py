"""`migration_run`: the version table and the log must both say that it ran, or that it was taken back."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.migration_run import MigrationRun
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from pathlib import Path

UP = "create table a (id int);\nselect 'é';\n"
SUM = hashlib.sha256(UP.encode()).hexdigest()
PLAIN = f"""create table schema_migrations (version text primary key, name text, applied_at timestamptz,
    duration_ms int, checksum text);
insert into schema_migrations values ('009', 'one', '2026-01-01 10:00Z', 12, '{SUM}'),
    ('010', 'two', '2026-01-02 10:00Z', 1500, '{SUM}');"""
ALEMBIC = "create table alembic_version (version_num text); insert into alembic_version values ('beef02');"
DJANGO = """create table django_migrations (id int, app text, name text, applied timestamptz);
insert into django_migrations values (1, 'auth', '0001_initial', now()), (2, 'clients', '0001_initial', now()),
    (3, 'clients', '0002_names', now());"""
CRC = -688649743
FLYWAY = f"""create table flyway_schema_history (installed_rank int, version text, description text, type text,
    script text, checksum int, installed_by text, installed_on timestamp, execution_time int, success boolean);
insert into flyway_schema_history values
    (1, '1', 'base', 'BASELINE', 'B1__base.sql', null, 'x', now(), 0, true),
    (2, '1.9', 'one', 'SQL', 'V1_9__one.sql', {CRC}, 'x', now(), 40, true),
    (3, '1.10', 'two', 'SQL', 'V1_10__two.sql', {CRC}, 'x', now(), 900, true),
    (4, null, 'views', 'SQL', 'R__views.sql', {CRC}, 'x', now(), 4, true);"""
SUPABASE = """create schema supabase_migrations; create table supabase_migrations.schema_migrations
    (version text primary key, statements text[], name text);
insert into supabase_migrations.schema_migrations values ('20260101', '{}', 'one'), ('20260102', '{}', 'two');"""
GOLANG = (
    "create table schema_migrations (version bigint, dirty boolean); insert into schema_migrations values (10, false);"
)
ALEMBIC_FILE = "revision: str = '{}'\ndown_revision = {}\n"


def revision(name: str, before: str) -> str:
    return ALEMBIC_FILE.format(name, before)


TOOLS: dict[str, tuple[str, str, dict[str, str]]] = {
    "plain": (PLAIN, "010", {"009_one.up.sql": UP, "010_two.up.sql": UP, "010_two.down.sql": "x"}),
    "alembic": (
        ALEMBIC,
        "beef02",
        {"1_one.py": revision("beef01", "None"), "2_two.py": revision("beef02", "('beef01',)"), "__init__.py": ""},
    ),
    "django": (DJANGO, "clients.0002_names", {"0001_initial.py": "", "0002_names.py": "", "__init__.py": ""}),
    "flyway": (FLYWAY, "1.10", {"V1__base.sql": "x", "V1_9__one.sql": UP, "V1_10__two.sql": UP, "R__views.sql": UP}),
    "supabase": (SUPABASE, "20260102", {"20260101_one.sql": UP, "20260102_two.sql": UP}),
    "golang": (GOLANG, "10", {"000009_one.up.sql": UP, "000010_two.up.sql": UP}),
}
LATER = {
    "plain": "011_three.up.sql",
    "alembic": "3_three.py",
    "django": "0003_more.py",
    "flyway": "V2__three.sql",
    "supabase": "20260103_three.sql",
    "golang": "000011_three.up.sql",
}
TIMES = ("2026-01-02T10:00:00+00:00", "2026-01-02T10:00:01.500+00:00")


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def folder(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / "clients" / "migrations" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return "clients/migrations"


def logged(root: Path, *lines: dict[str, Any] | str) -> str:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (root / "run.log").write_text("\n".join(texts) + "\n")
    return "run.log"


def line(event: str, at: str, level: str = "info", **more: Any) -> dict[str, Any]:
    return {"ts": at, "level": level, "event": event, "version": "010", "direction": "up", **more}


@pytest.mark.parametrize("tool", TOOLS)
def test_all_of_a_folder_is_applied(fresh_database: Any, tmp_path: Path, tool: str) -> None:
    script, version, files = TOOLS[tool]
    environment = fresh_database(script)
    files_at = folder(tmp_path, files)
    seen = look(MigrationRun(version=version, files=files_at), environment, root=tmp_path)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert version in seen.attached[0][1].decode()
    (tmp_path / files_at / LATER[tool]).write_text(revision("beef03", "'beef02'") if tool == "alembic" else "")
    seen = look(MigrationRun(version=version, files=files_at), environment, root=tmp_path)
    assert seen.status is Status.FAILED
    assert f"got {LATER[tool]} not applied [no]" in told(seen)[1]


@pytest.mark.parametrize(
    ("script", "actual"),
    [
        ("delete from schema_migrations where version = '010'", "expected 010, got 009"),
        ("insert into schema_migrations values ('011')", "expected 010, got 011; 010 is there, but not the newest"),
        ("delete from schema_migrations where version = '009'", "009_one.up.sql not applied"),
        ("insert into schema_migrations values ('008')", "008 applied without a file"),
        (f"update schema_migrations set checksum = '{'0' * 64}' where version = '009'", "009_one.up.sql changed since"),
        ("update schema_migrations set duration_ms = 61000", "time it took: expected <= 1m, got 61.000s [no]"),
    ],
)
def test_a_version_table_that_says_otherwise_fails(
    fresh_database: Any, tmp_path: Path, script: str, actual: str
) -> None:
    files = folder(tmp_path, TOOLS["plain"][2])
    check = MigrationRun(version="010", files=files, within=timedelta(minutes=1))
    seen = look(check, fresh_database(PLAIN), root=tmp_path)
    assert seen.status is Status.PASSED, told(seen)
    assert told(seen)[1].endswith("got 2 of 2 applied, 2 checksums the same [yes]")
    seen = look(check, fresh_database(PLAIN + script), root=tmp_path)
    assert seen.status is Status.FAILED
    assert actual in "\n".join(told(seen))


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (ALEMBIC + "insert into alembic_version values ('beef09')", "several heads: "),
        (
            FLYWAY + "update flyway_schema_history set success = false where version = '1.10'",
            "1.10 failed or ",
        ),
        (GOLANG + "; update schema_migrations set dirty = true", "10 failed or left halfway"),
        (
            FLYWAY + "insert into flyway_schema_history values (5, '1.10', 'x', 'UNDO_SQL', 'U.sql')",
            "got 1.9 [no]",
        ),
    ],
)
def test_what_each_tool_says_in_its_own_way(fresh_database: Any, script: str, line: str) -> None:
    version = "beef02" if script.startswith(ALEMBIC) else "1.10" if script.startswith(FLYWAY) else "10"
    seen = look(MigrationRun(version=version), fresh_database(script))
    assert seen.status is Status.FAILED
    assert line in "\n".join(told(seen)), told(seen)


def test_the_log_tells_of_start_and_end_and_gives_the_time(fresh_database: Any, tmp_path: Path) -> None:
    environment = fresh_database(
        "create table schema_migrations (version int); insert into schema_migrations values (10)"
    )
    failed = line("migration failed", TIMES[0], "error", error="duplicate key Key (email)=(ada@example.org) exists")
    log = logged(tmp_path, failed, line("migration started", TIMES[0]), line("migration finished", TIMES[1]))
    check = MigrationRun(version="010", log=log, within=timedelta(seconds=2))
    seen = look(check, environment, root=tmp_path)
    assert seen.status is Status.PASSED, told(seen)
    assert told(seen)[1:5] == [
        "start in the log: expected a line, got 2026-01-02T10:00:00+00:00 migration started [yes]",
        "end in the log: expected a line after the start, got 2026-01-02T10:00:01+00:00 migration finished [yes]",
        "error lines: expected 0, got 0 [yes]",
        "time it took: expected <= 2s, got 1.500s [yes]",
    ]
    logged(tmp_path, line("migration started", TIMES[0]), failed)
    seen = look(check, environment, root=tmp_path)
    assert seen.status is Status.FAILED
    assert "end in the log: expected a line after the start, got none [no]" in told(seen)
    assert "error lines: expected 0, got 1: migration failed: duplicate key Key '...' exists [no]" in told(seen)
    assert "ada@" not in str(seen)


def test_a_log_of_text_and_one_of_another_version(fresh_database: Any, tmp_path: Path) -> None:
    environment = fresh_database(PLAIN)
    log = logged(tmp_path, f"{TIMES[0]} Migrating to 010", f"{TIMES[1]} Migration completed")
    check = MigrationRun(version="010", log=log)
    assert look(check, environment, root=tmp_path).status is Status.PASSED
    logged(tmp_path, f"{TIMES[0]} Migrating to 010", "ERROR:  no disk", f"{TIMES[1]} done")
    seen = look(check, environment, root=tmp_path)
    assert (seen.status, "error lines: expected 0, got 1: ERROR:  no disk [no]" in told(seen)) == (Status.FAILED, True)
    logged(tmp_path, line("migration started", TIMES[0], version="009"))
    assert "start in the log: expected a line, got none [no]" in told(look(check, environment, root=tmp_path))


def test_a_version_that_was_taken_back(fresh_database: Any, tmp_path: Path) -> None:
    log = logged(
        tmp_path,
        line("migration started", TIMES[0], direction="down"),
        line("migration finished", TIMES[1], direction="down"),
    )
    check = MigrationRun(version="010", reverted=True, log=log, within=timedelta(minutes=1))
    seen = look(check, fresh_database(PLAIN + "delete from schema_migrations where version = '010'"), root=tmp_path)
    assert seen.status is Status.PASSED, told(seen)
    assert told(seen)[0].endswith("expected taken back, got it is not; the newest is 009 [yes]")
    seen = look(check, fresh_database(PLAIN), root=tmp_path)
    assert seen.status is Status.FAILED
    assert told(seen)[0].endswith("expected taken back, got it is there, applied 2026-01-02T10:00:00+00:00 [no]")
    logged(tmp_path, line("migration started", TIMES[0]), line("migration finished", TIMES[1]))
    assert "start in the log: expected a line, got none [no]" in told(look(check, fresh_database(PLAIN), root=tmp_path))


def test_too_little_to_tell(fresh_database: Any, tmp_path: Path) -> None:
    seen = look(MigrationRun(version="beef02", within=timedelta(minutes=1)), fresh_database(ALEMBIC))
    assert seen.status is Status.INCONCLUSIVE
    assert "time it took: expected <= 1m, got neither the version table nor the log says [cannot tell]" in told(seen)
    check = MigrationRun(version="010", reverted=True)
    seen = look(check, fresh_database(PLAIN + "delete from schema_migrations where version = '010'"))
    assert seen.status is Status.INCONCLUSIVE
    assert told(seen)[0].endswith("the newest is 009; nothing says that it ever was: name its `log` [cannot tell]")
    seen = look(check, fresh_database(PLAIN + "delete from schema_migrations"))
    assert seen.status is Status.INCONCLUSIVE
    assert told(seen)[-1] == "rows of public.schema_migrations looked at: expected >= 1, got 0 [cannot tell]"


@pytest.mark.parametrize(
    ("script", "more", "message"),
    [
        ("", {}, "no version table is known by its name"),
        (ALEMBIC + DJANGO, {}, "several version tables: public.alembic_version, public.django_migrations"),
        ("create table mine (id int)", {"table": "mine"}, "it has no column for the version"),
        (PLAIN, {"files": "nowhere"}, "there is no folder"),
        (PLAIN, {"files": "."}, "no migration of plain in"),
        (PLAIN, {"log": "nowhere.log"}, "the log cannot be read: No such file or directory"),
    ],
)
def test_without_table_files_or_log_it_cannot_look(
    fresh_database: Any, tmp_path: Path, script: str, more: Any, message: str
) -> None:
    seen = look(MigrationRun(version="010", **more), fresh_database(script), root=tmp_path)
    assert (seen.status, message in seen.message) == (Status.ERROR, True), seen.message


@pytest.mark.parametrize(
    "wrong", [{}, {"files": "m", "within": "1m"}, {"version": "1", "reverted": True, "files": "m"}, {"started": "("}]
)
def test_what_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        MigrationRun.model_validate(wrong)


def test_a_version_table_of_another_name(fresh_database: Any) -> None:
    made: Environment = fresh_database(PLAIN.replace("schema_migrations", "steps"))
    assert look(MigrationRun(version="010", table="steps"), made).status is Status.PASSED
