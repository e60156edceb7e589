"""`role_matrix` against an application that people sign in to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.role_matrix import RoleMatrix
from pytest_releasegate.model import Ok, Status
from pytest_releasegate.sources.login import Persona
from pytest_releasegate.testing import look
from tests.checks.clinic import PASSWORD, Clinic, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.execution import Look

LOGIN = {"url": "/auth", "csrf": "csrf_token"}
PERSONAS = {name: {"fields": {"user": name, "password": "${env:PW}"}} for name in ("clinician", "billing")}
EXPECT: dict[str, Any] = {
    "/home": {"clinician": "allowed", "billing": "allowed", "anonymous": "login"},
    "/clients": {"clinician": "allowed"},
    "/payments": {"clinician": "allowed", "billing": [200]},
}


@pytest.fixture(scope="module")
def running() -> Iterator[Clinic]:
    with serving() as clinic:
        yield clinic


@pytest.fixture
def clinic(running: Clinic) -> Clinic:
    return running.mend()


def run(clinic: Clinic, expect: dict[str, Any] | None = None, *, password: str = PASSWORD, **fields: Any) -> Look:
    given = {"login": LOGIN, "personas": PERSONAS, "expect": expect or EXPECT, **fields}
    check = RoleMatrix.model_validate(given)
    return look(check, clinic.environment("writes_through_app"), variables={"PW": password})


def said(result: Look) -> list[str]:
    return [str(finding) for finding in result.findings if finding.ok is not Ok.YES]


def test_everybody_is_where_they_belong(clinic: Clinic) -> None:
    result = run(clinic)
    assert (result.status, said(result)) == (Status.PASSED, [])
    assert "cells looked at: expected >= 1, got 9" in map(str, result.findings)
    table = result.attached[0][1].decode()
    assert "/clients anonymous=login clinician=allowed billing=403" in table
    assert PASSWORD not in repr(result)


@pytest.mark.parametrize(
    ("fault", "expect", "message"),
    [
        ("open", EXPECT, "/clients as billing: expected denied (401, 403 or the login), got let in (200)"),
        ("open", EXPECT, "/clients as anonymous: expected denied (401, 403 or the login), got let in (200)"),
        ("open", EXPECT, "/home as anonymous: expected login, got let in (200)"),
        ("soft", EXPECT, "/clients as billing: expected denied (401, 403 or the login), got let in (200)"),
        ("", {"/clients": {"billing": "allowed"}}, "/clients as billing: expected allowed, got 403 Forbidden"),
        ("", {"/home": {"anonymous": "allowed"}}, "/home as anonymous: expected allowed, got sent to the login"),
        ("", {"/nowhere": {}}, "/nowhere as billing: expected denied (401, 403 or the login), got 404 Not Found"),
        ("", {"POST /clients": {"clinician": [200]}}, "POST /clients as clinician: expected 200, got let in (201)"),
    ],
)
def test_who_is_where_they_do_not_belong(clinic: Clinic, fault: str, expect: dict[str, Any], message: str) -> None:
    clinic.faults = {fault}
    result = run(clinic, expect)
    assert (result.status, message in said(result)) == (Status.FAILED, True), said(result)


def test_a_page_that_refuses_with_200_lets_nobody_in(clinic: Clinic) -> None:
    clinic.faults = {"soft"}
    result = run(clinic, {"/home": EXPECT["/home"], "/clients": {"billing": "allowed"}}, error_text="Access denied")
    assert "/clients as billing: expected allowed, got 200 OK with a page that refuses" in said(result)


@pytest.mark.parametrize(
    ("fault", "expect", "message"),
    [
        (
            "",
            {**EXPECT, "/nowhere": {}},
            "/nowhere reached: expected somebody let in, got 404 for all 3; is the path right?",
        ),
        ("", {**EXPECT, "/closed": {}}, "/closed reached: expected somebody let in, got nobody of 3 let in"),
        ("", {**EXPECT, "/busy": {}}, "/busy as billing: expected denied (401, 403, 404 or the login), got 503 "),
        ("", {"/clients": {"clinician": "allowed"}}, "session of billing: expected let in by one GET at least"),
        ("dropped", EXPECT, "session of billing: expected let in by one GET at least, and still at the end, got no "),
    ],
)
def test_what_proves_nothing_cannot_tell(clinic: Clinic, fault: str, expect: dict[str, Any], message: str) -> None:
    clinic.faults = {fault}
    expect = {**expect, "/payments": {"clinician": "allowed"}} if fault else expect
    result = run(clinic, expect, denied=[401, 403, 404])
    assert (result.status, any(line.startswith(message) for line in said(result))) == (Status.INCONCLUSIVE, True), said(
        result
    )


@pytest.mark.parametrize("anonymous", [True, False])
def test_a_page_for_everybody_is_no_proof_of_a_session(clinic: Clinic, anonymous: bool) -> None:
    clinic.faults = {"lost login"}
    personas = {"robot": {"headers": {"Authorization": "Bearer ${env:PW}"}}, "billing": PERSONAS["billing"]}
    everybody = {"robot": "allowed", "billing": "allowed", **({"anonymous": "allowed"} if anonymous else {})}
    expect = {"/auth?": everybody, "/clients": {"robot": "allowed"}}
    result = run(clinic, expect, personas=personas, anonymous=anonymous)
    assert (result.status, said(result)) == (
        Status.INCONCLUSIVE,
        [
            "session of billing: expected let in by one GET at least, and still at the end, "
            "got let in nowhere, or only where anybody is"
        ],
    )


def test_two_personas_of_one_account_are_an_error(clinic: Clinic) -> None:
    personas = {name: {"fields": {"user": f"${{env:{name.upper()}}}"}} for name in ("clinician", "billing")}
    check = RoleMatrix.model_validate({"login": LOGIN, "personas": personas, "expect": {"/home": {}}})
    variables = {"CLINICIAN": "ann", "BILLING": "ann"}
    result = look(check, clinic.environment("writes_through_app"), variables=variables)
    assert (result.status, clinic.seen) == (Status.ERROR, [])
    assert result.message.startswith("clinician and billing are the same account, and tell nothing of two roles")


def test_a_redirect_after_a_form_is_reached_and_one_to_the_login_is_not(clinic: Clinic) -> None:
    personas = {"clinician": PERSONAS["clinician"]}
    for path, status, lines in (
        ("/saved", Status.PASSED, []),
        ("/expired", Status.INCONCLUSIVE, ["expected 303, or `login` where that is meant, got sent to the login"]),
    ):
        expect = {"/home": {"clinician": "allowed"}, f"POST {path}": {"clinician": [303]}}
        result = run(clinic, expect, personas=personas, denied=[400, 401, 403])
        assert (result.status, [line.partition(": ")[2] for line in said(result)][: len(lines)]) == (status, lines)


def test_a_redirect_to_what_is_no_address_lets_nobody_in(clinic: Clinic) -> None:
    expect = {**EXPECT, "POST /broken": {"clinician": [303]}}
    found = said(run(clinic, expect, denied=[400, 401, 403]))
    assert found == []
    wrong = said(run(clinic, {**EXPECT, "POST /broken": {"clinician": "login"}}, denied=[400, 401, 403]))
    assert "POST /broken as clinician: expected login, got 303 See Other" in wrong


def test_an_endpoint_that_is_meant_to_be_absent_may_say_so(clinic: Clinic) -> None:
    absent = dict.fromkeys(("clinician", "billing", "anonymous"), 404)
    assert run(clinic, {**EXPECT, "/nowhere": absent}).status is Status.PASSED


def test_changes_carry_the_token_and_need_permission(clinic: Clinic) -> None:
    expect = {**EXPECT, "POST /clients": {"clinician": [201], "anonymous": [403]}}
    assert said(run(clinic, expect)) == []
    check = RoleMatrix.model_validate({"login": LOGIN, "personas": PERSONAS, "expect": expect})
    clinic.seen.clear()
    refused = look(check, clinic.environment(), variables={"PW": PASSWORD})
    assert (refused.status, clinic.seen) == (Status.ERROR, [])
    assert "POST /clients needs `writes_through_app`" in refused.message


def test_protected_environments_are_not_signed_in_to_unasked(clinic: Clinic) -> None:
    check = RoleMatrix.model_validate({"login": LOGIN, "personas": PERSONAS, "expect": EXPECT})
    refused = look(check, clinic.environment(protected=True), variables={"PW": PASSWORD})
    assert (refused.status, clinic.seen) == (Status.ERROR, [])
    assert "signing in needs `writes_through_app`" in refused.message


@pytest.mark.parametrize(
    ("fault", "login", "message"),
    [
        ("", LOGIN, "clinician cannot sign in at URL/auth: got 401 Unauthorized"),
        ("soft login", LOGIN, "clinician cannot sign in at URL/auth: got 200 with the form again"),
        ("", {"url": "/auth"}, "clinician cannot sign in at URL/auth: got 400 Bad Request"),
        ("", {**LOGIN, "csrf": "tokn"}, "URL/auth holds no 'tokn'"),
    ],
)
def test_who_cannot_sign_in_is_denied_nowhere(clinic: Clinic, fault: str, login: dict[str, str], message: str) -> None:
    clinic.faults = {fault}
    result = run(clinic, login=login, password="wrong-horse-battery")
    assert result.status is Status.ERROR
    assert result.message.startswith(message.replace("URL", clinic.url)), result.message


def test_a_bearer_is_sent_by_reference(clinic: Clinic) -> None:
    personas = {"robot": {"headers": {"Authorization": "Bearer ${env:PW}"}}}
    expect = {"/clients": {"robot": "allowed", "anonymous": "login"}}
    check = RoleMatrix.model_validate({"personas": personas, "expect": expect, "login_pages": "/auth"})
    result = look(check, clinic.environment(), variables={"PW": PASSWORD})
    assert (result.status, said(result)) == (Status.PASSED, [])


@pytest.mark.parametrize(
    ("login", "password", "status"),
    [
        ({"token": "data.token"}, PASSWORD, Status.PASSED),
        ({"token": "data.tokn"}, PASSWORD, Status.ERROR),
        ({"token": "data.token"}, "wrong-horse-battery", Status.ERROR),
    ],
)
def test_a_login_by_json_gives_a_bearer(clinic: Clinic, login: dict[str, str], password: str, status: Status) -> None:
    way = {"url": "/api/login", "encoding": "json", **login}
    expect = {"/clients": {"clinician": "allowed", "anonymous": [302]}}
    result = run(clinic, expect, login=way, personas={"clinician": PERSONAS["clinician"]}, password=password)
    assert result.status is status, said(result)
    assert PASSWORD not in repr(result)


def test_the_token_may_go_in_a_header(clinic: Clinic) -> None:
    expect = {**EXPECT, "POST /clients": {"clinician": [201], "anonymous": [403]}}
    assert said(run(clinic, expect, login={**LOGIN, "csrf_header": "X-CSRF-Token"})) == []


def test_what_is_meant_for_one_server_goes_to_no_other(clinic: Clinic) -> None:
    personas = {"robot": {"headers": {"Authorization": "Bearer ${env:PW}"}}}
    with serving() as other:
        expect = {"/clients": {"robot": "allowed"}, f"{other.url}/clients": {"robot": [302], "anonymous": [302]}}
        assert said(run(clinic, expect, personas=personas)) == []
        assert other.seen == ["GET /clients", "GET /clients"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"expect": {"/clients": {"clinican": "allowed"}}}, "there is no persona 'clinican'; did you mean 'clinician'"),
        ({"expect": {"FETCH /clients": {}}}, "expected an endpoint such as /clients"),
        ({"expect": {}}, "at least 1 item"),
        ({"personas": {"anonymous": {"headers": {"X": "y"}}}}, "is the name of who is not signed in"),
        ({"personas": {"a": PERSONAS["billing"], "b": PERSONAS["billing"]}, "expect": {"/": {}}}, "the same account"),
        ({"personas": {"a": {"fields": {"password": "hunter2"}}}}, "'password': a secret stands in no gate file"),
        ({"personas": {"clinician": {}}}, "who sends neither is anonymous"),
        ({"login": None}, "nothing says where; expected `login`"),
        ({"expect": {"/clients": {"anonymous": "denied"}}, "anonymous": False}, "there is no persona 'anonymous'"),
    ],
)
def test_wrong_declarations_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RoleMatrix.model_validate({"login": LOGIN, "personas": PERSONAS, "expect": {"/clients": {}}, **fields})


def test_a_secret_in_a_header_is_refused() -> None:
    with pytest.raises(ValidationError, match="'Authorization': a secret stands in no gate file"):
        Persona(headers={"Authorization": "Bearer abcdef"})
    assert Persona(headers={"Authorization": "Bearer ${env:PW}", "X-Tenant": "a"}).headers["X-Tenant"] == "a"
