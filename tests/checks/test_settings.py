"""`settings`: a value that only looks right, or is right for some roles only, does not pass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.settings import Settings
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Iterator

READER = "settings_reader"


@pytest.fixture(scope="module")
def whole(new_database: Any, superuser: Any) -> Iterator[Environment]:
    """A database whose role that looks may see every setting."""
    made: Environment = new_database()
    superuser(made, f"create role {READER} login password 'correct-horse-battery' in role pg_read_all_settings")
    yield replace(made, databases={"app": made.databases["app"].replace("releasegate_probe", READER)})
    superuser(made, f"drop role {READER}")


@pytest.fixture
def environment(whole: Environment, superuser: Any) -> Iterator[Environment]:
    """The same, without the values of roles in the end."""
    yield whole
    name = database(whole)
    resets = [f"alter role {role} in database {name} reset all" for role in ("outsider", "stranger", READER)]
    superuser(whole, f"{';'.join(resets)}; alter database {name} reset all")


def database(environment: Environment) -> str:
    return environment.databases["app"].rsplit("/", 1)[1]


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def test_settings_as_declared_pass(whole: Environment) -> None:
    expect = {
        "max_connections": ">= 20",
        "Work_Mem": "4096kB",
        "work_mem": 4096,
        "maintenance_work_mem": [">= 1GB", "64MB"],
        "checkpoint_timeout": "== 300s",
        "random_page_cost": 4.0,
        "autovacuum": False,
        "synchronous_commit": [False, "remote_apply"],
        "wal_level": ["replica", "logical"],
        "password_encryption": "!= md5",
        "statement_timeout": 0,
        "log_min_duration_statement": -1,
        "search_path": "includes public",
    }
    seen = look(Settings(expect=expect, least=13), whole)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert told(seen)[:2] == [
        f"max_connections: expected >= 20, got {seen.findings[0].actual} [yes]",
        "Work_Mem: expected 4096kB, got 4MB [yes]",
    ]
    assert told(seen)[-1] == "settings looked at: expected >= 13, got 13 [yes]"


@pytest.mark.parametrize(
    ("name", "wanted", "actual"),
    [
        ("wal_level", "logical", "replica"),
        ("work_mem", ">= 1GB", "4MB"),
        ("work_mem", ["1kB", ">= 5MB"], "4MB"),
        ("checkpoint_timeout", "< 5min", "5min"),
        ("autovacuum", True, "off"),
        ("statement_timeout", "<= 30s", "0 (off, or without limit)"),
        ("log_min_duration_statement", "<= 500ms", "-1 (off, or without limit)"),
        ("max_slot_wal_keep_size", ">= 1GB", "-1 (off, or without limit)"),
        ("shared_preload_libraries", "includes pgaudit", "empty"),
        ("random_page_cost", "< 1.5", "4"),
        ("pgaudit.log", "write", "not set; is the module loaded that knows it?"),
    ],
)
def test_another_value_fails(whole: Environment, superuser: Any, name: str, wanted: Any, actual: str) -> None:
    if name == "shared_preload_libraries":
        actual = superuser(whole, f"show {name}")[0][0] or actual
    seen = look(Settings(expect={name: wanted}), whole)
    assert seen.status is Status.FAILED, (seen.message, told(seen))
    assert seen.findings[0].actual == actual


def test_values_of_roles_and_databases_are_seen(environment: Environment, superuser: Any) -> None:
    name = database(environment)
    superuser(
        environment,
        f"""alter role outsider in database {name} set statement_timeout = 0;
        alter role stranger in database {name} set statement_timeout = '20s';
        alter database {name} set statement_timeout = '15s'""",
    )
    check = Settings(expect={"statement_timeout": "<= 30s"})
    seen = look(check, environment)
    assert seen.status is Status.FAILED
    assert told(seen)[:2] == [
        "statement_timeout: expected <= 30s, got 15s [yes]",
        f"statement_timeout for role outsider in database {name}: expected <= 30s, got 0 (off, or without limit) "
        "(alter role ... reset statement_timeout, or put it into `ignore_roles`) [no]",
    ]
    assert look(Settings(expect=check.expect, ignore_roles=["out*"]), environment).status is Status.PASSED


def test_the_values_of_one_role_are_those_that_it_gets(environment: Environment, superuser: Any) -> None:
    name = database(environment)
    superuser(
        environment,
        f"""alter role outsider in database {name} set statement_timeout = '20s';
        alter role {READER} in database {name} set statement_timeout = '1min';
        alter database {name} set statement_timeout = 0""",
    )
    expect = {"statement_timeout": "20s"}
    assert look(Settings(expect=expect, role="outsider"), environment).status is Status.PASSED
    seen = look(Settings(expect=expect, role="stranger"), environment)
    assert (seen.status, seen.findings[0].actual) == (Status.FAILED, "0 (off, or without limit)")
    seen = look(Settings(expect=expect, role="nobody"), environment)
    assert (seen.status, "the server has no role 'nobody'" in seen.message) == (Status.ERROR, True)


def test_a_value_of_the_role_that_looks_hides_the_servers(environment: Environment, superuser: Any) -> None:
    superuser(environment, f"alter role {READER} in database {database(environment)} set work_mem = '1GB'")
    seen = look(Settings(expect={"work_mem": ">= 1MB"}), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert "the role that looks has a value of its own" in told(seen)[0]
    assert told(seen)[1] == "settings looked at: expected >= 1, got 0 [cannot tell]"
    superuser(environment, f"alter database {database(environment)} set work_mem = '2MB'")
    assert look(Settings(expect={"work_mem": "2MB"}), environment).status is Status.PASSED


def test_what_waits_for_a_restart_fails(whole: Environment, superuser: Any) -> None:
    def waiting() -> int:
        return len(superuser(whole, "select 1 from pg_settings where pending_restart"))

    check = Settings(expect={"max_connections": ">= 20"})
    superuser(whole, "alter system set max_locks_per_transaction = 65")
    superuser(whole, "select pg_reload_conf()")
    try:
        assert any(waiting() for _ in range(200))
        seen = look(check, whole)
        assert seen.status is Status.FAILED
        assert told(seen)[1].endswith("_transaction: expected in force, got changed, and waits for a restart [no]")
        assert look(Settings(expect=check.expect, restart=True), whole).status is Status.PASSED
    finally:
        # what is only reset goes on waiting
        superuser(whole, "alter system set max_locks_per_transaction = 64")
        superuser(whole, "select pg_reload_conf()")
    assert any(not waiting() for _ in range(200))
    superuser(whole, "alter system reset max_locks_per_transaction")


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        ("work_memm", "1MB", "did you mean 'work_mem'?"),
        ("max_connections", ">= 10MB", "10MB is no number without a unit"),
        ("work_mem", ">= 30s", "30s is no size"),
        ("statement_timeout", "1MB", "1MB is no time"),
        ("statement_timeout", "soon", "soon is no number with a unit"),
        ("wal_level", ">= 3", "replica is no number with a unit"),
    ],
)
def test_what_makes_no_sense_is_an_error(whole: Environment, name: str, wanted: str, message: str) -> None:
    seen = look(Settings(expect={name: wanted}), whole)
    assert seen.status is Status.ERROR
    assert message in seen.message
    assert "known:" not in seen.message


def test_a_setting_that_the_role_may_not_see_is_an_error(new_database: Any, whole: Environment) -> None:
    hidden = replace(whole, databases={"app": whole.databases["app"].replace(READER, "outsider")})
    seen = look(Settings(expect={"shared_preload_libraries": "includes pgaudit"}), hidden)
    assert seen.status is Status.ERROR
    assert "may not see it\n    grant pg_read_all_settings" in seen.message


@pytest.mark.parametrize("expect", [{}, {"a": ">= many"}, {"a": ">="}, {"a": ""}, {"a": "=> 3"}, {"a": None}])
def test_what_cannot_be_read_is_refused(expect: Any) -> None:
    with pytest.raises(ValidationError):
        Settings(expect=expect)
