"""`connections`: a server that is nearly full, or sessions that sleep in a transaction, do not pass."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.connections import Connections
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.testing import look


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


@pytest.fixture
def environment(fresh_database: Any, superuser: Any) -> Any:
    made: Environment = fresh_database("grant pg_monitor to outsider", user="outsider")
    yield made
    superuser(made, "revoke pg_monitor from outsider; alter role outsider connection limit -1")


def test_a_server_with_room_passes(environment: Environment) -> None:
    seen = look(Connections(), environment)
    assert seen.status is Status.PASSED, (told(seen), seen.message)
    assert told(seen)[0].startswith("connections: expected < 80% of 97, got ")
    assert told(seen)[-2] == "idle in a transaction for 1m or longer: expected <= 0, got 0 [yes]"


def test_a_full_server_and_a_full_role_fail(environment: Environment, superuser: Any) -> None:
    assert look(Connections(used="< 1%"), environment).status is Status.FAILED
    superuser(environment, "alter role outsider connection limit 1")
    seen = look(Connections(), environment)
    assert seen.status is Status.FAILED
    assert "connections of role outsider: expected < 90% of 1, got 1 (100%) [no]" in told(seen)


def test_a_session_that_sleeps_in_a_transaction_fails(environment: Environment, server: Any) -> None:
    name = environment.databases["app"].rsplit("/", 1)[1]
    with psycopg.connect(server.dsn(name), application_name="importer") as connection:
        connection.execute("select 1")
        pid = connection.info.backend_pid
        seen = look(Connections(idle_for="1ms"), environment)
        assert seen.status is Status.FAILED
        assert f"expected <= 0, got 1, the longest importer (pid {pid}) for " in told(seen)[-2]
        assert look(Connections(idle_for="1ms", idle_in_transaction=1), environment).status is Status.PASSED
        assert look(Connections(), environment).status is Status.PASSED


def test_who_may_not_look_is_an_error(fresh_database: Any) -> None:
    seen = look(Connections(), fresh_database(user="outsider"))
    assert seen.status is Status.ERROR
    assert "grant pg_monitor to outsider" in seen.message


def test_a_look_that_saw_no_session_cannot_tell(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_releasegate.checks import connections

    monkeypatch.setattr(connections, "_USED", "select 0, 97")
    seen = look(Connections(), environment)
    assert (seen.status, seen.findings[-1].ok) == (Status.INCONCLUSIVE, Ok.CANNOT_TELL)


@pytest.mark.parametrize("wrong", [{"used": "< 80"}, {"idle_in_transaction": -1}, {"idle_for": "0s"}])
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Connections(**wrong)
