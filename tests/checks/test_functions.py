"""`functions` against a server on loopback."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.functions import Functions
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.testing import look
from tests.standin import Asked, Reply, StandIn, standing_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.execution import Look


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with standing_in() as running:
        yield running


@pytest.fixture
def edge(server: StandIn) -> StandIn:
    server.routes = {"/functions/v1/remind": (200, {"ok": True}), "/functions/v1/export": (401, {"code": 401})}
    server.headers = {"X-Version": "1.4.0"}
    server.asked.clear()
    return server


def run(edge: StandIn, functions: Any, *, protected: bool = False, **fields: Any) -> Look:
    check = Functions.model_validate({"base": "/functions/v1", "functions": functions, **fields})
    environment = Environment(name="test", base_url=edge.url, protected=protected)
    return look(check, environment, variables={"TOKEN": "t0ken-t0ken"})


def said(seen: Look) -> list[str]:
    return [str(finding) for finding in seen.findings if finding.ok is not Ok.YES]


def test_functions_that_answer_pass_one_finding_each(edge: StandIn) -> None:
    functions = {"remind": {"method": "POST", "body": {"ok": True}}, "export": {"status": 401}}
    seen = run(edge, functions, version_header={"X-Version": "${release.version}"}, headers={"apikey": "${env:TOKEN}"})
    assert (seen.status, said(seen)) == (Status.PASSED, [])
    assert [str(finding) for finding in seen.findings] == [
        "function remind: expected status 200; header X-Version 1.4.0; body ok true, got 200 OK; 1.4.0; true",
        "function export: expected status 401; header X-Version 1.4.0, got 401 Unauthorized; 1.4.0",
        "functions looked at: expected >= 2, got 2",
    ]
    assert [f"{asked.method} {asked.path.rpartition('/')[2]}" for asked in edge.asked] == [
        "POST remind",
        "GET export",
        "POST releasegate-no-such-function",
        "GET releasegate-no-such-function",
    ]
    assert edge.asked[0].headers["apikey"] == "t0ken-t0ken"


@pytest.mark.parametrize(
    ("functions", "fields", "line"),
    [
        (["remind", "expotr"], {}, "function expotr: expected status 200, got 404 Not Found"),
        (["export"], {}, "function export: expected status 200, got 401 Unauthorized"),
        ({"remind": {"body": {"ok": False}}}, {}, "function remind: expected body ok false, got true"),
        (
            {"remind": {"text": "yes"}},
            {"version_header": {"X-Version": "1.3.0"}},
            "function remind: expected header X-Version 1.3.0; text 'yes' present, got 1.4.0; absent",
        ),
    ],
)
def test_a_function_that_answers_wrongly_fails(
    edge: StandIn, functions: Any, fields: dict[str, Any], line: str
) -> None:
    seen = run(edge, functions, **fields)
    assert (seen.status, said(seen)) == (Status.FAILED, [line])


@pytest.mark.parametrize(
    ("functions", "fields", "actual"),
    [
        ({"remind": {}, "export": {"status": 401}}, {}, "401 Unauthorized, as expected of export; look at a `text`, a"),
        (["export", "notes"], {"status": [401]}, "401 Unauthorized, as expected of export, notes; look at a `text`, a"),
        (["notes"], {"method": "OPTIONS", "status": 401}, "401 Unauthorized, as expected of notes; look at a `text`"),
    ],
)
def test_a_gateway_that_refuses_whatever_is_behind_it_cannot_tell(
    edge: StandIn, functions: Any, fields: dict[str, Any], actual: str
) -> None:
    for name in ("notes", "releasegate-no-such-function"):
        edge.routes[f"/functions/v1/{name}"] = (401, {"message": "Missing authorization header"})
    seen = run(edge, functions, **fields)
    line = f"function releasegate-no-such-function: expected another answer, got {actual}"
    assert (seen.status, [one[: len(line)] for one in said(seen)]) == (Status.INCONCLUSIVE, [line])


def test_what_supabase_answers_passes(edge: StandIn) -> None:
    def export(asked: Asked) -> Reply:
        if asked.method == "OPTIONS":
            return 200, b"ok"
        return 401, {"code": 401, "message": "Missing authorization header"}

    edge.routes["/functions/v1/export"] = export
    edge.routes["/functions/v1/releasegate-no-such-function"] = (
        404,
        {"code": "NOT_FOUND", "message": "Requested function was not found"},
    )
    seen = run(edge, {"remind": {}, "export": {"status": 401}})
    assert (seen.status, said(seen)) == (Status.PASSED, [])
    assert run(edge, {"export": {"method": "OPTIONS"}}).status is Status.PASSED


def test_a_function_that_is_busy_is_inconclusive(edge: StandIn) -> None:
    edge.routes["/functions/v1/remind"] = (429, {})
    seen = run(edge, ["remind"])
    assert seen.status is Status.INCONCLUSIVE
    assert said(seen) == [
        "function remind: expected status 200, got 429 Too Many Requests (the server asks to come back later)"
    ]


def test_a_function_that_starts_late_is_asked_again(edge: StandIn) -> None:
    replies: list[Reply] = [(503, {}), (200, {})]

    def answer(asked: Asked) -> Reply:
        assert asked.method == "GET"
        return replies.pop(0)

    edge.routes["/functions/v1/remind"] = answer
    seen = run(edge, ["remind"], retry_for="10s")
    assert (seen.status, seen.attempts) == (Status.PASSED, 2)


def test_functions_that_nobody_reaches_are_an_error(edge: StandIn) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        seen = run(edge, ["remind"], base=f"http://127.0.0.1:{bound.getsockname()[1]}/")
    assert seen.status is Status.ERROR
    assert "/remind: cannot connect: Connection refused" in seen.message


def test_a_function_that_may_write_needs_permission_in_production(edge: StandIn) -> None:
    seen = run(edge, {"remind": {"method": "POST"}}, protected=True)
    assert seen.status is Status.ERROR
    assert "POST needs `writes_through_app`" in seen.message
    assert edge.asked == []


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ([], "at least 1 item"),
        (["a", "a"], "expected each name once"),
        ({"a": {"verb": "GET"}}, "Extra inputs"),
        ({"a": {"body": {"$.v": 1}}}, "expected a dotted path"),
        ({"a": {"body": {"v": "${release.vresion}"}}}, "did you mean 'version'"),
        ({"a": {"method": "HEAD", "text": "x"}}, "a: the answer to HEAD has no body"),
    ],
)
def test_wrong_parameters_are_refused(functions: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Functions.model_validate({"base": "/f", "functions": functions})
