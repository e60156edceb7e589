"""`pitr`: an archive that WAL does not reach, or that does not lead back far enough, does not pass."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.pitr import Pitr
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources.backups import Made, Report
from pytest_releasegate.sources.pgserver import PostgresServer
from pytest_releasegate.sources.walarchive import of_folder, of_report
from pytest_releasegate.testing import FakeClock, look

if TYPE_CHECKING:
    from pathlib import Path

MEGABYTES = 16 * 1024 * 1024
HISTORY = "000000010000000000000002.00000028.backup"
ENDED = "START TIME: 2026-01-01 01:00:00 UTC\nSTOP TIME: 2026-01-01 02:00:00 UTC\n"


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def line(seen: Any, name: str) -> str:
    (found,) = [text for text in told(seen) if text.startswith(f"{name}:")]
    return found


def test_an_archive_that_works_passes(primary: Any, base_backup: Any) -> None:
    primary.archive_more()
    seen = look(Pitr(archive=str(primary.archive)), primary.environment)
    assert seen.status is Status.PASSED, (told(seen), seen.message)
    assert line(seen, "archiving").endswith("got archive_mode on, a command or library [yes]")
    assert "a full backup and all WAL since, got from 20" in line(seen, "recovery window")
    assert "or later, which the server has archived, got 0000000100000000" in line(seen, "newest segment there")


def test_the_window_must_be_long_enough(primary: Any, base_backup: Any) -> None:
    primary.archive_more()
    check = Pitr(archive=str(primary.archive), window="7d")
    seen = look(check, primary.environment)
    assert seen.status is Status.FAILED
    assert line(seen, "recovery window").endswith("[no]")
    later = FakeClock(datetime.now(UTC) + timedelta(days=8))
    assert look(check, primary.environment, clock=later).status is Status.PASSED


def test_nothing_written_since_is_no_lag_and_something_is(primary: Any) -> None:
    primary.archive_more()
    seen = look(Pitr(within="1ms"), primary.environment)
    assert line(seen, "newest archived segment").endswith("written since [yes]"), told(seen)
    primary.run("create table much as select md5(i::text) from generate_series(1, 3000) i", "drop table much")
    seen = look(Pitr(within="1ms"), primary.environment)
    assert line(seen, "newest archived segment").endswith("kB written since [no]"), told(seen)


def test_a_failing_archiver_fails(primary: Any) -> None:
    primary.archive_more()
    stop = primary.archive / "stop"
    stop.touch()
    try:
        primary.run("create table a (id int)", "drop table a", "select pg_switch_wal()")
        primary.wait("select last_failed_time > last_archived_time from pg_stat_archiver")
        seen = look(Pitr(ready=0), primary.environment)
        assert seen.status is Status.FAILED
        assert "failed at 20" in line(seen, "archiver")
        assert line(seen, "archiver").endswith("; see the server's log [no]")
        assert line(seen, "segments that wait") == "segments that wait: expected <= 0, got 1 [no]"
    finally:
        stop.unlink()
    primary.archive_more()
    seen = look(Pitr(), primary.environment)
    assert "failures, all made good [yes]" in line(seen, "archiver")


def test_no_archiving_fails(fresh_database: Any, superuser: Any) -> None:
    environment = fresh_database("grant pg_monitor to outsider", user="outsider")
    seen = look(Pitr(), environment)
    superuser(environment, "revoke pg_monitor from outsider")
    assert seen.status is Status.FAILED
    assert line(seen, "archiving").endswith("got archive_mode off, neither command nor library [no]")


def test_an_archiver_without_work_so_far_cannot_tell(primary: Any) -> None:
    primary.archive_more()
    primary.run("select pg_stat_reset_shared('archiver')")
    seen = look(Pitr(), primary.environment)
    primary.archive_more()
    assert seen.status is Status.INCONCLUSIVE, told(seen)
    assert line(seen, "newest archived segment").endswith("got none yet [cannot tell]")


def test_who_may_not_look_is_an_error(fresh_database: Any, primary: Any, tmp_path: Path) -> None:
    seen = look(Pitr(), fresh_database(user="outsider"))
    assert seen.status is Status.ERROR
    assert "grant pg_monitor to outsider" in seen.message
    seen = look(Pitr(archive=str(tmp_path / "none")), primary.environment)
    assert seen.status is Status.ERROR
    assert "is it mounted here?" in seen.message


def archive(folder: Path, *numbers: int, history: str = ENDED) -> Path:
    for number in numbers:
        (folder / f"0000000100000000{number:08X}.gz").write_bytes(b"packed")
    (folder / HISTORY).write_text(history)
    return folder


@pytest.mark.parametrize(
    ("numbers", "history", "why"),
    [
        ((1, 2, 3, 4), ENDED, ""),
        ((2, 4), ENDED, f"since {HISTORY} 000000010000000000000003 is missing"),
        ((3, 4), ENDED, f"since {HISTORY} 000000010000000000000002 is missing"),
        ((2, 3), "START TIME: ?", f"since {HISTORY} does not tell when it ended"),
    ],
)
def test_segments_must_follow_each_other(tmp_path: Path, numbers: Any, history: str, why: str) -> None:
    window = of_folder(archive(tmp_path, *numbers, history=history), MEGABYTES)
    assert (window.since, window.why_not) == (None if why else datetime(2026, 1, 1, 2, tzinfo=UTC), why)


def test_a_gap_shortens_the_window_to_the_next_base_backup(tmp_path: Path) -> None:
    archive(tmp_path, 2, 4, 5)
    (tmp_path / "000000010000000000000004.00000028.backup").write_text(ENDED.replace("01-01", "01-03"))
    window = of_folder(tmp_path, MEGABYTES)
    assert window.since == datetime(2026, 1, 3, 2, tzinfo=UTC)
    assert "000000010000000000000003 is missing" in window.why_not


def test_an_empty_archive_leads_nowhere(tmp_path: Path) -> None:
    assert of_folder(tmp_path, MEGABYTES).why_not == f"no whole segment in {tmp_path}"
    segment = tmp_path / "000000010000000000000002"
    segment.write_bytes(b"breaks off")
    assert of_folder(tmp_path, MEGABYTES).why_not == f"no whole segment in {tmp_path}"
    with segment.open("r+b") as file:
        file.truncate(MEGABYTES)
    assert "no base backup" in of_folder(tmp_path, MEGABYTES).why_not


def test_the_archive_of_another_server_is_not_this_ones(primary: Any, tmp_path: Path) -> None:
    primary.archive_more()
    archive(tmp_path, *range(2, 200))
    for segment in tmp_path.glob("00000001*.gz"):
        segment.rename(tmp_path / segment.name.replace("00000001", "00000007", 1))
    seen = look(Pitr(archive=str(tmp_path)), primary.environment)
    assert seen.status is Status.FAILED
    assert line(seen, "newest segment there").endswith(" in full [no]")


def test_what_only_the_server_says_is_said_so(primary: Any) -> None:
    primary.archive_more()
    seen = look(Pitr(), primary.environment)
    assert seen.status is Status.PASSED, told(seen)
    assert "got not looked at: only the server's word" in line(seen, "the archive itself")


def test_a_command_that_archives_nothing_fails() -> None:
    with PostgresServer(settings={"archive_mode": "on", "archive_command": " /bin/true"}) as server:
        seen = look(Pitr(), Environment(name="test", databases={"app": server.dsn()}))
    assert seen.status is Status.FAILED
    assert line(seen, "archiving").endswith("got archive_mode on, a command that does nothing [no]")


def test_a_report_counts_only_backups_whose_wal_is_kept(primary: Any, tmp_path: Path) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    old = Made(name="old", at=at, dated_by="x", first_wal="000000010000000000000002")
    new = Made(name="new", at=at + timedelta(days=1), dated_by="x", first_wal="000000010000000000000009")
    assert of_report(Report((new, old))).backup == "old"
    assert of_report(Report((new, old), oldest_wal={"": "000000010000000000000005"})).backup == "new"
    assert of_report(Report((old,), oldest_wal={"": "000000010000000000000005"})).since is None
    items = [{"backup_name": "base_1", "finish_time": "2026-01-04T10:00:00Z"}]
    (tmp_path / "list.json").write_text(json.dumps(items))
    primary.archive_more()
    seen = look(Pitr(walg=str(tmp_path / "list.json"), window="1d"), primary.environment)
    assert "got from 2026-01-04 10:00:00Z on, by base_1 [yes]" in line(seen, "recovery window")


@pytest.mark.parametrize("wrong", [{"window": "7d"}, {"archive": "a", "walg": "b"}, {"ready": -1}])
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Pitr(**wrong)
