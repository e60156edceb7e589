"""`record` looks at the release's own row over a connection of its own."""

from __future__ import annotations

import sqlite3
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.record import Record
from pytest_releasegate.model import Environment, Ok, Plan, Release, Status
from pytest_releasegate.sources.pgserver import PostgresServer
from pytest_releasegate.store import open_store
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_releasegate.execution import Look

OPENED = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
DEPLOYED = datetime(2026, 1, 6, 22, 15, 0, 123, tzinfo=UTC)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with PostgresServer() as server:
        yield server.dsn()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty record."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/record.db"
        return
    dsn: str = request.getfixturevalue("postgresql")
    yield dsn
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("DROP SCHEMA IF EXISTS releasegate CASCADE")


@pytest.fixture
def release(url: str) -> Release:
    """A deployed release in the record."""
    with open_store(url) as store:
        asked = Release(
            product="shop",
            version="1.4.0",
            environment="prod",
            opened_at=OPENED,
            git_commit="c0ffee",
            git_branch="main",
        )
        opened = store.open_release(asked, Plan((), "d"))
        store.open_release(replace(asked, attempt=2, git_commit="other"), Plan((), "d"))
        return store.set_deployed(opened.id, DEPLOYED, "ann")


def looked(url: str, release: Release, **parameters: Any) -> Look:
    """Look at the record of that URL."""
    check = Record(**parameters)
    return look(check, Environment(name="prod", values={"record_url": url}), release=release)


def change(url: str, assignment: str) -> None:
    """Change the row of the first attempt."""
    where = "WHERE attempt = 1"
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
            file.execute(f"UPDATE releases SET {assignment} {where}")
        file.close()
    else:
        with psycopg.connect(url) as server:
            server.execute(f"UPDATE releasegate.releases SET {assignment} {where}".encode())


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"column": "id"}, "releases.id: expected present, got 1"),
        ({"column": "review_status", "is": "scheduled"}, "releases.review_status: expected scheduled, got scheduled"),
        (
            {"column": "review_scheduled_at", "is": "deployed_at + 72h"},
            "releases.review_scheduled_at: expected 2026-01-09T22:15:00.000123+00:00 (deployed_at + 72h), "
            "got 2026-01-09T22:15:00.000123+00:00",
        ),
        ({"column": "git_commit", "is": "release.git_commit"}, "expected c0ffee (release.git_commit), got c0ffee"),
        ({"column": "git_branch", "is": "release.git_branch"}, "expected main (release.git_branch), got main"),
        ({"column": "was_rolled_back", "is": False}, "releases.was_rolled_back: expected False, got"),
        ({"column": "deployed_at", "is": "deployed_at"}, "(deployed_at), got 2026-01-06T22:15:00.000123+00:00"),
    ],
)
def test_row_that_fits_passes(url: str, release: Release, parameters: dict[str, Any], said: str) -> None:
    seen = looked(url, release, **parameters)
    assert (seen.status, seen.message) == (Status.PASSED, "")
    rows, value = seen.findings
    assert str(rows) == "rows of releases looked at: expected >= 1, got 1"
    assert said in str(value)
    assert len(seen.attached) == 1


@pytest.mark.parametrize(
    ("assignment", "parameters", "said"),
    [
        ("rollback_reason = NULL", {"column": "rollback_reason"}, "expected present, got null"),
        ("rollback_reason = ''", {"column": "rollback_reason"}, "expected present, got an empty text"),
        ("review_status = 'done'", {"column": "review_status", "is": "scheduled"}, "expected scheduled, got done"),
        (
            "review_status = 'x'",
            {"column": "was_rolled_back", "is": True},
            "releases.was_rolled_back: expected True, got",
        ),
        (
            "review_scheduled_at = '2026-01-09T22:16:00.000123+00:00'",
            {"column": "review_scheduled_at", "is": "deployed_at + 72h"},
            "got 2026-01-09T22:16:00.000123+00:00",
        ),
        (
            "review_scheduled_at = '2026-01-09T22:15:00.000123'",
            {"column": "review_scheduled_at", "is": "deployed_at + 72h"},
            "got 2026-01-09T22:15:00.000123",
        ),
        ("review_scheduled_at = NULL", {"column": "review_scheduled_at", "is": "deployed_at + 72h"}, "got null"),
        (
            "git_commit = 'beef'",
            {"column": "git_commit", "is": "release.git_commit"},
            "expected c0ffee (release.git_commit)",
        ),
    ],
)
def test_row_that_does_not_fit_fails(
    url: str, release: Release, assignment: str, parameters: dict[str, Any], said: str
) -> None:
    change(url, assignment)
    seen = looked(url, release, **parameters)
    assert seen.status is Status.FAILED
    assert said in str(seen.findings[-1])


def test_equal_instant_in_another_zone_passes(url: str, release: Release) -> None:
    change(url, "review_scheduled_at = '2026-01-10T00:15:00.000123+02:00'")
    assert looked(url, release, column="review_scheduled_at", **{"is": "deployed_at + 72h"}).status is Status.PASSED


def test_release_without_a_row_fails(url: str, release: Release) -> None:
    seen = looked(url, replace(release, version="9.9"), column="id")
    assert seen.status is Status.FAILED
    assert str(seen.findings[0]) == "releases in the record: expected a row of 9.9/prod, got no row of 9.9/prod"


def test_audit_log_of_the_release(url: str, release: Release) -> None:
    parameters = {"table": "audit_logs", "column": "action_type", "is": "configuration_change"}
    empty = looked(url, release, **parameters)
    assert empty.status is Status.FAILED
    assert "audit_logs in the record: expected a row of 1.4.0/prod" in str(empty.findings[0])
    line = {"user_id": "ann", "resource_type": "settings", "action_description": "rollback", "severity": "critical"}
    with open_store(url) as store:
        for action in ("configuration_change", "later"):
            store.add_audit(at=OPENED, release_id=release.id, action_type=action, **line)
    seen = looked(url, release, **parameters)
    assert seen.status is Status.PASSED
    assert str(seen.findings[0]) == "rows of audit_logs looked at: expected >= 1, got 2"
    other = looked(url, replace(release, attempt=2), **parameters)
    assert other.status is Status.FAILED


@pytest.mark.parametrize("name", ["git_commit", "git_branch"])
def test_unknown_commit_is_inconclusive(url: str, release: Release, name: str) -> None:
    change(url, f"{name} = ''")
    unknown = replace(release, git_commit="", git_branch="")
    seen = looked(url, unknown, column=name, **{"is": f"release.{name}"})
    assert seen.status is Status.INCONCLUSIVE
    assert seen.findings[-1].ok is Ok.CANNOT_TELL
    assert f"expected release.{name}, which is not known, got an empty text" in str(seen.findings[-1])


def test_release_that_is_not_deployed_is_an_error(url: str, release: Release) -> None:
    waiting = replace(release, deployed_at=None)
    seen = looked(url, waiting, column="review_scheduled_at", **{"is": "deployed_at + 72h"})
    assert seen.status is Status.ERROR
    assert "release 1.4.0/prod has no deployed_at yet" in seen.message
    assert "releasegate deployed --release 1.4.0 --env prod" in seen.message


def test_unknown_column_and_table_are_errors(url: str, release: Release) -> None:
    seen = looked(url, release, column="review_statis")
    assert seen.status is Status.ERROR
    assert "table 'releases' has no column 'review_statis'" in seen.message
    assert "did you mean 'review_status'?" in seen.message
    assert "has no table 'nowhere'" in looked(url, release, column="id", table="nowhere").message
    assert "name no release" in looked(url, release, column="sha256", table="blobs").message


def test_record_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    release = Release(product="shop", version="1", environment="prod", opened_at=OPENED)
    seen = looked(f"sqlite:///{tmp_path}/none.db", release, column="id")
    assert seen.status is Status.ERROR
    assert "none.db cannot be read: unable to open database file" in seen.message
    assert not (tmp_path / "none.db").exists()
    unknown = look(Record(column="id"), Environment(name="prod"), release=release)
    assert unknown.status is Status.ERROR
    assert "the record's URL is not known here" in unknown.message


def test_wrong_password_is_an_error_and_not_shown(postgresql: str) -> None:
    from urllib.parse import urlsplit

    wrong = postgresql.replace(str(urlsplit(postgresql).password), "hushhush")
    release = Release(product="shop", version="1", environment="prod", opened_at=OPENED)
    seen = looked(wrong, release, column="id")
    assert seen.status is Status.ERROR
    assert "password authentication failed" in seen.message
    assert "hushhush" not in seen.message
    assert seen.attached == ()


def test_record_is_read_through_a_connection_of_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/record.db"
    with open_store(url) as store:
        asked = Release(product="shop", version="1", environment="prod", opened_at=OPENED)
        with store._writing() as writing:
            from pytest_releasegate.store.releases import _opening
            from pytest_releasegate.store.schema import releases

            writing.insert(releases, _opening(asked, Plan((), "d")))
            # not yet committed: whoever looks through the same connection would see it
            assert looked(url, asked, column="id").status is Status.FAILED
            writing.entry("release opened", 1)
        assert looked(url, asked, column="id").status is Status.PASSED


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"column": "a; DROP TABLE releases"},
        {"column": "id", "table": "x y"},
        {"column": "id", "is": 3},
        {"column": 3},
        {"column": "id", "was": 1},
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Record(**parameters)


BACK = DEPLOYED + timedelta(hours=1)
AUDITED = {"resource_type": "settings", "severity": "critical", "user_id": "ann", "action_description": "present"}
ROLLED_BACK = [
    {"column": "was_rolled_back", "is": True},
    {"column": "rollback_at", "is": "release.rolled_back_at"},
    {"column": "rollback_reason", "is": "release.rollback_reason"},
    {"table": "audit_logs", "column": "action_type", "is": "configuration_change", "also": AUDITED},
]


@pytest.mark.parametrize("parameters", ROLLED_BACK)
def test_a_rollback_that_is_recorded_passes(url: str, release: Release, parameters: dict[str, Any]) -> None:
    with open_store(url) as store:
        back = store.roll_back(release.id, BACK, reason="errors", person="ann")
    assert looked(url, back, **parameters).status is Status.PASSED


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [*zip(ROLLED_BACK, [Status.FAILED, Status.INCONCLUSIVE, Status.INCONCLUSIVE, Status.FAILED], strict=True)],
)
def test_a_rollback_that_is_not_recorded_is_not_green(
    url: str, release: Release, parameters: dict[str, Any], expected: Status
) -> None:
    assert looked(url, release, **parameters).status is expected


@pytest.mark.parametrize(
    ("assignment", "parameters"),
    [
        ("rollback_at = '2026-01-06T23:15:01.000123+00:00'", ROLLED_BACK[1]),
        ("rollback_reason = 'something else'", ROLLED_BACK[2]),
    ],
)
def test_a_rollback_that_is_recorded_otherwise_fails(
    url: str, release: Release, assignment: str, parameters: dict[str, Any]
) -> None:
    with open_store(url) as store:
        back = store.roll_back(release.id, BACK, reason="errors", person="ann")
    change(url, assignment)
    assert looked(url, back, **parameters).status is Status.FAILED


def test_columns_must_fit_in_one_row_of_the_audit_log(url: str, release: Release) -> None:
    half = {"user_id": "ann", "action_description": "x", "severity": "critical", "at": OPENED, "release_id": release.id}
    with open_store(url) as store:
        store.add_audit(action_type="configuration_change", resource_type="release", **half)
        store.add_audit(action_type="deployed", resource_type="settings", **half)
        wrong = looked(url, release, **ROLLED_BACK[3])
        assert wrong.status is Status.FAILED
        assert [str(finding) for finding in wrong.findings if finding.ok is Ok.NO] == [
            "audit_logs.action_type: expected configuration_change, got deployed"
        ]
        store.add_audit(action_type="configuration_change", resource_type="settings", **half)
        store.add_audit(action_type="deployed", resource_type="release", **half)
    assert looked(url, release, **ROLLED_BACK[3]).status is Status.PASSED


def test_other_spans_after_deployment(url: str, release: Release) -> None:
    at = (DEPLOYED + timedelta(minutes=15)).isoformat()
    change(url, f"review_scheduled_at = '{at}'")
    assert looked(url, release, column="review_scheduled_at", **{"is": "deployed_at + 15m"}).status is Status.PASSED


def test_the_commit_is_compared_with_what_git_says_of_the_tag(url: str, release: Release, tmp_path: Path) -> None:
    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    def seen() -> Look:
        check = Record.model_validate({"column": "git_commit", "is": "git.commit", "also": {"git_branch": "present"}})
        environment = Environment(name="prod", values={"record_url": url})
        return look(check, environment, release=release, root=tmp_path)

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "one")
    assert (seen().status, "git has no tag v1.4.0" in seen().message) == (Status.ERROR, True)
    git("tag", "-a", "v1.4.0", "-m", "release")
    commit = git("rev-parse", "HEAD")
    wrong = seen()
    assert wrong.status is Status.FAILED
    assert f"expected {commit} (git.commit), got c0ffee" in str(wrong.findings[1])
    change(url, f"git_commit = '{commit}'")
    assert seen().status is Status.PASSED
    change(url, "git_branch = ''")
    assert str(seen().findings[2]) == "releases.git_branch: expected present, got an empty text"
