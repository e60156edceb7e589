"""`feature_flags` against a server, a database and a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.feature_flags import FeatureFlags
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.testing import look
from tests.standin import StandIn, standing_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_releasegate.execution import Look

FLAGS = {"care_plans": True, "booking": False, "theme": "dark", "share": 0.5}
OBJECTS = {name: {"enabled": state, "owner": "Ann Lee"} for name, state in FLAGS.items()}
LIST = [{"name": name, "enabled": state} for name, state in FLAGS.items()]
TABLE = """
create table feature_flags (name text, enabled boolean);
insert into feature_flags values ('care_plans', true), ('booking', false);
"""
QUERY = "select name, enabled from feature_flags order by name"


@pytest.fixture(scope="module")
def site() -> Iterator[StandIn]:
    with standing_in() as running:
        yield running


@pytest.fixture
def app(site: StandIn) -> StandIn:
    site.routes = {"/flags": (200, FLAGS)}
    site.asked.clear()
    return site


def run(app: StandIn, flags: dict[str, Any] | None = None, **fields: Any) -> Look:
    check = FeatureFlags(**{"flags": flags or FLAGS, "url": "/flags", **fields})
    return look(check, Environment(name="test", base_url=app.url), variables={"TOKEN": "t0ken-t0ken"})


def said(seen: Look) -> list[str]:
    return [str(finding) for finding in seen.findings if finding.ok is not Ok.YES and not finding.observe]


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        (FLAGS, {}),
        (OBJECTS, {}),
        (LIST, {}),
        ({"data": {"toggles": LIST}}, {"at": "data.toggles"}),
        ([{"key": name, "value": state} for name, state in FLAGS.items()], {"name": "key", "state": "value"}),
    ],
)
def test_flags_as_declared_pass_in_each_shape(app: StandIn, answer: Any, fields: dict[str, Any]) -> None:
    app.routes["/flags"] = (200, answer)
    seen = run(app, headers={"Authorization": "Bearer ${env:TOKEN}"}, **fields)
    assert (seen.status, said(seen)) == (Status.PASSED, [])
    assert str(seen.findings[-1]) == "flags looked at: expected >= 4, got 4"
    assert app.asked[0].headers["Authorization"] == "Bearer t0ken-t0ken"
    assert "Ann Lee" not in repr(seen)


@pytest.mark.parametrize(
    ("flags", "fields", "lines"),
    [
        (FLAGS | {"booking": True}, {}, ["flag booking: expected true, got false"]),
        (FLAGS | {"theme": "light"}, {}, ['flag theme: expected "light", got "dark"']),
        (FLAGS | {"care_plans": 1}, {}, ["flag care_plans: expected 1, got true"]),
        (
            FLAGS | {"care_plan": True},
            {},
            [
                "flag care_plan: expected true, got no such flag (did you mean 'care_plans'? "
                "known: booking, care_plans, share, theme)",
                "flags looked at: expected >= 5, got 4",
            ],
        ),
        (
            {"booking": False, "theme": "dark", "share": 0.5},
            {},
            ["flag care_plans: expected declared, got true, not declared"],
        ),
        ({"booking": True}, {"undeclared": "observe"}, ["flag booking: expected true, got false"]),
    ],
)
def test_a_flag_of_another_state_unknown_or_drifted_in_fails(
    app: StandIn, flags: dict[str, Any], fields: dict[str, str], lines: list[str]
) -> None:
    seen = run(app, flags, **fields)
    assert (seen.status, said(seen)) == (Status.FAILED, lines)


def test_flags_of_a_table(new_database: Any) -> None:
    environment = new_database(TABLE)
    seen = look(FeatureFlags(query=QUERY, flags={"care_plans": True, "booking": False}), environment)
    assert (seen.status, said(seen)) == (Status.PASSED, [])
    seen = look(FeatureFlags(query=QUERY, flags={"care_plans": False, "booking": False}), environment)
    assert (seen.status, said(seen)) == (Status.FAILED, ["flag care_plans: expected false, got true"])
    for query, message in (
        ("select name from feature_flags", "the query gave 2 rows\n    select two columns"),
        ("select 'a', enabled from feature_flags", "the query: the flag 'a' is there twice"),
    ):
        seen = look(FeatureFlags(query=query, flags={"a": True}), environment)
        assert seen.status is Status.ERROR
        assert message in seen.message


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        (json.dumps(FLAGS), Status.PASSED, ""),
        ("{", Status.ERROR, "flags.json is no JSON: Expecting"),
        (None, Status.ERROR, "flags.json: cannot read it: No such file or directory"),
    ],
)
def test_flags_of_a_file(tmp_path: Path, text: str | None, status: Status, message: str) -> None:
    if text is not None:
        (tmp_path / "flags.json").write_text(text)
    seen = look(FeatureFlags(file="flags.json", flags=FLAGS), root=tmp_path)
    assert seen.status is status
    assert message in seen.message


def test_a_service_that_cannot_answer_now_is_inconclusive(app: StandIn) -> None:
    app.routes["/flags"] = (503, {})
    seen = run(app)
    assert seen.status is Status.INCONCLUSIVE
    assert said(seen) == [f"flags: expected an answer, got {app.url}/flags answered 503 Service Unavailable"]


@pytest.mark.parametrize(
    ("answer", "fields", "message"),
    [
        ((401, {}), {}, "/flags answered 401 Unauthorized\n    its token is wrong, or may not read this"),
        ((200, b"<html>"), {}, "/flags answered 6 bytes of text/html that are not JSON"),
        ((200, FLAGS), {"at": "dat"}, "/flags: nothing at 'dat'\n    known: booking, care_plans"),
        ((200, OBJECTS), {"state": "on"}, "/flags: care_plans has no 'on'\n    set `state`; known: enabled, owner"),
        ((200, [1]), {}, "/flags: expected flags by name, or a list of objects with `name`, got list"),
        ((200, LIST + LIST), {}, "/flags: the flag 'care_plans' is there twice"),
        (
            (200, FLAGS),
            {"url": "http://flags.example/", "headers": {"X-Key": "${env:TOKEN}"}},
            "a header would be sent in the clear",
        ),
    ],
)
def test_what_is_no_list_of_flags_is_an_error(app: StandIn, answer: Any, fields: dict[str, Any], message: str) -> None:
    app.routes["/flags"] = answer
    seen = run(app, **fields)
    assert seen.status is Status.ERROR
    assert message in seen.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flags": {}, "url": "/f"}, "at least 1 item"),
        ({"flags": FLAGS}, "expected one of url, query, file, got none"),
        ({"flags": FLAGS, "url": "/f", "file": "f"}, "expected one of url, query, file, got url and file"),
        ({"flags": FLAGS, "query": "select 1; select 2"}, "one statement"),
    ],
)
def test_wrong_parameters_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeatureFlags(**fields)
