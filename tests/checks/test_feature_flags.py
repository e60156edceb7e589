"""`feature_flags` against a server, a database and a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.feature_flags import FeatureFlags
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.testing import look
from tests.standin import StandIn, know_no_name, standing_in

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
    seen = look(FeatureFlags(query="select 'share', 0.1::numeric", flags={"share": 0.1}), environment)
    assert seen.status is Status.PASSED
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


def listed(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "care_plans", "enabled": True, **changes}, {"name": "booking", "enabled": False}]


TWO = {"care_plans": True, "booking": False}


@pytest.mark.parametrize(
    ("changes", "status", "line"),
    [
        ({"archived": True}, Status.FAILED, "flag care_plans: expected true, got no such flag: it is archived"),
        ({"archivedAt": "2025-01-01"}, Status.FAILED, "flag care_plans: expected true, got no such flag: it is archi"),
        ({"archived": False, "deleted": None}, Status.PASSED, ""),
        ({"rollout": 10}, Status.INCONCLUSIVE, "flag care_plans: expected true, got true, with rollout 10"),
        ({"rollout_percentage": "25"}, Status.INCONCLUSIVE, "got true, with rollout_percentage 25"),
        ({"percentage": 0}, Status.INCONCLUSIVE, "got true, with percentage 0"),
        ({"rollout": 100}, Status.PASSED, ""),
        ({"rolloutPercentage": None}, Status.PASSED, ""),
    ],
)
def test_a_flag_that_is_on_for_some_or_archived_is_not_on(
    app: StandIn, changes: dict[str, Any], status: Status, line: str
) -> None:
    app.routes["/flags"] = (200, listed(**changes))
    seen = run(app, TWO)
    assert seen.status is status
    assert line in "\n".join(said(seen))


def test_an_archived_flag_has_not_drifted_in(app: StandIn) -> None:
    app.routes["/flags"] = (200, [*listed(), {"name": "old", "enabled": True, "archived": True}])
    assert run(app, TWO).status is Status.PASSED


def test_a_state_may_stand_deep_in_an_item(app: StandIn) -> None:
    flags = [
        {"key": name, "environments": {"production": {"on": state}, "test": {"on": not state}}}
        for name, state in TWO.items()
    ]
    app.routes["/flags"] = (200, {"items": flags})
    assert run(app, TWO, at="items", name="key", state="environments.production.on").status is Status.PASSED
    assert run(app, TWO, at="items", name="key", state="environments.test.on").status is Status.FAILED
    seen = run(app, TWO, at="items", name="key", state="environments.prod.on")
    assert seen.status is Status.ERROR
    assert "/flags: care_plans has no 'environments.prod.on'" in seen.message


def test_flags_of_which_more_pages_are_there_are_not_all(app: StandIn) -> None:
    app.routes["/flags"] = (200, {"items": listed(), "totalCount": 40})
    seen = run(app, TWO, at="items")
    assert seen.status is Status.ERROR
    assert "/flags: more of the list is on other pages" in seen.message
    app.routes["/flags"] = (200, {"next": True, "more": True})
    assert run(app, {"next": True, "more": True}).status is Status.PASSED


def test_a_flag_that_stands_twice_in_an_object_is_an_error(app: StandIn, tmp_path: Path) -> None:
    text = '{"care_plans": false, "booking": false, "care_plans": true}'
    (tmp_path / "flags.json").write_text(text)
    app.routes["/flags"] = (200, text.encode())
    for seen in (look(FeatureFlags(file="flags.json", flags=TWO), root=tmp_path), run(app, TWO)):
        assert seen.status is Status.ERROR
        assert "the name 'care_plans' is there twice" in seen.message


def test_a_file_without_a_bottom_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "flags.json").write_text("[" * 100_000)
    seen = look(FeatureFlags(file="flags.json", flags=TWO), root=tmp_path)
    assert seen.status is Status.ERROR
    assert seen.message.startswith("flags.json is no JSON")


def test_a_service_whose_name_is_not_known_is_inconclusive(app: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    know_no_name(monkeypatch)
    assert run(app, TWO, url="https://flags.no-such-host.invalid/").status is Status.INCONCLUSIVE
