"""`session` against an application that people sign in to, and one with its faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.session import Session
from pytest_releasegate.model import Ok, Status
from pytest_releasegate.testing import look
from tests.checks.clinic import COOKIE, FLAGS, PASSWORD, Clinic, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.execution import Look

ASKED = {
    "login": {"url": "/auth", "csrf": "csrf_token"},
    "fields": {"user": "clinician", "password": "${env:PW}"},
    "cookie": COOKIE,
    "page": "/home",
    "logout": "POST /logout",
    "secure": False,
}


@pytest.fixture(scope="module")
def running() -> Iterator[Clinic]:
    with serving() as clinic:
        yield clinic


@pytest.fixture
def clinic(running: Clinic) -> Clinic:
    return running.mend()


def run(clinic: Clinic, *, password: str = PASSWORD, protected: bool = False, **fields: Any) -> Look:
    check = Session.model_validate({**ASKED, **fields})
    environment = clinic.environment(protected=protected)
    return look(check, environment, variables={"PW": password}, clock=clinic.clock)


def said(result: Look) -> list[str]:
    return [str(finding) for finding in result.findings if finding.ok is not Ok.YES]


@pytest.mark.parametrize("fault", ["", "late"])
def test_a_session_that_begins_and_ends(clinic: Clinic, fault: str) -> None:
    clinic.faults = {fault}
    forms = {} if fault else {"csrf": True}
    clinic.faults |= {"forgeable"} if fault else set()
    result = run(clinic, lifetime="1h", idle="11m", **forms)
    assert (result.status, said(result)) == (Status.PASSED, [])
    assert str(result.findings[-1]) == f"rules looked at: expected >= 1, got {10 if fault else 11}"
    assert [key for key in clinic.sessions if key in repr(result)] == []


@pytest.mark.parametrize(
    ("fault", "fields", "message"),
    [
        ("open", {}, "page before the login: expected 401 or 403 or the login, got 200 OK"),
        ("fixed", {}, "session id at the login: expected another than before, got the same; who planted it "),
        ("fixed late", {}, "session id at the login: expected another than before, got the same; who planted it "),
        ("fixed adopted", {}, "session id at the login: expected another than before, got the same; who planted it "),
        ("kept", {}, "page with the session id from before the login: expected 401 or 403 or the login, got 200 OK"),
        ("undead", {}, "page with the old cookie after the logout: expected 401 or 403 or the login, got 200 OK"),
        ("", {"logout": "GET /nowhere"}, "logout: expected 2xx or 3xx, got 404 Not Found"),
        ("endless", {"idle": "11m"}, "page after 11m without a request: expected 401 or 403 or the login, got 200 OK"),
        ("forgeable", {"csrf": True}, "login without the form's token: expected refused, got signed in"),
        ("", {"lifetime": "10m"}, "cookie clinic: lifetime: expected <= 10m, got 30m"),
        ("", {"secure": True}, "cookie clinic: Secure: expected set, got not set"),
        ("", {"same_site": "Strict"}, "cookie clinic: SameSite: expected Strict, got Lax"),
        ("", {"page": "/closed"}, "page after the login: expected let in (2xx), got 403 Forbidden"),
        ("", {"cookie": "sid"}, "cookie sid: expected set at the login, got cookies: clinic"),
    ],
)
def test_faults_are_found(clinic: Clinic, fault: str, fields: dict[str, Any], message: str) -> None:
    clinic.faults = {*fault.split(), *(["forgeable"] if "late" in fault else [])}
    result = run(clinic, **fields)
    assert (result.status, any(line.startswith(message) for line in said(result))) == (Status.FAILED, True), said(
        result
    )


def test_a_login_that_breaks_without_the_token_has_not_refused_it(clinic: Clinic) -> None:
    clinic.faults = {"crashing"}
    result = run(clinic, csrf=True)
    assert (result.status, said(result)) == (
        Status.INCONCLUSIVE,
        ["login without the form's token: expected refused, got got 500 Internal Server Error"],
    )


def test_a_cookie_without_its_flags(clinic: Clinic) -> None:
    clinic.flags = "; Path=/"
    assert said(run(clinic)) == [
        "cookie clinic: HttpOnly: expected set, got not set",
        "cookie clinic: SameSite: expected Strict or Lax, got not set",
    ]


def test_a_lifetime_that_is_not_told_cannot_be_judged(clinic: Clinic) -> None:
    clinic.flags = FLAGS.partition("; Max-Age")[0]
    result = run(clinic, lifetime="1h")
    assert (result.status, "none told" in said(result)[0]) == (Status.INCONCLUSIVE, True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"password": "wrong-horse-battery"}, "the test account cannot sign in at"),
        ({"protected": True}, "signing in needs `writes_through_app`"),
        ({"login": {"url": "/auth"}, "csrf": True}, "`csrf` needs the name of the form's token"),
    ],
)
def test_what_keeps_it_from_looking(clinic: Clinic, fields: dict[str, Any], message: str) -> None:
    result = run(clinic, **fields)
    assert (result.status, message in result.message) == (Status.ERROR, True), result.message


def test_a_secret_stands_in_no_gate_file() -> None:
    with pytest.raises(ValidationError, match="'password': a secret stands in no gate file"):
        Session.model_validate({**ASKED, "fields": {"user": "ann", "password": PASSWORD}})


def test_a_bearer_must_end_with_the_logout_too(clinic: Clinic) -> None:
    clinic.faults = {"bearer", "forgeable"}
    way = {"url": "/api/login", "encoding": "json", "token": "data.token"}
    result = run(clinic, login=way)
    assert result.status is Status.FAILED
    assert said(result)[-1].startswith("page with the old cookie and bearer after the logout: expected 401 or")
