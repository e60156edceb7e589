"""`incidents` against a stand-in that answers as the services that page people document it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.incidents import Incidents
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.testing import FakeClock, look
from tests.standin import Asked, Reply, StandIn, standing_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.execution import Look

FIRE = {
    "id": "PT4KHLK",
    "type": "incident",
    "summary": "[#1234] The server of Ann Lee is on fire.",
    "incident_number": 1234,
    "title": "The server of Ann Lee is on fire.",
    "created_at": "2026-01-05T08:30:42Z",
    "status": "acknowledged",
    "service": {"id": "PIJ90N7", "type": "service_reference", "summary": "My Mail Service"},
    "urgency": "high",
    "priority": {"id": "P53ZZH5", "type": "priority_reference", "summary": "P2"},
}
"""https://developer.pagerduty.com/api-reference/9d0b4b12e36f9-list-incidents"""
OPSGENIE = {
    "id": "70413a06-38d6-4c85-92b8-5ebc900d42e2",
    "tinyId": "1791",
    "message": "Our servers are in danger",
    "status": "open",
    "createdAt": "2026-01-05T07:00:00Z",
    "priority": "P1",
    "impactedServices": ["0df9ebb4-0f5a-4b67-9bc3-1f3ab9d1a0f1"],
}
"""https://docs.opsgenie.com/docs/incident-api"""
SERVICES = [
    {"id": "PIJ90N7", "type": "service", "summary": "My Mail Service", "status": "active"},
    {"id": "PWEB", "type": "service", "summary": "Web", "status": "active"},
]
"""https://developer.pagerduty.com/api-reference/e960cca205c0f-list-services"""
PAGERDUTY = {"of": "pagerduty", "token": "${env:TOKEN}"}
GENIE = {"of": "opsgenie", "token": "${env:TOKEN}"}
PAGE = {
    "page": {"id": "p", "name": "Acme", "url": "https://s.example", "updated_at": "2026-01-02T09:00:00.000Z"},
    "status": {"indicator": "none", "description": "All Systems Operational"},
    "components": [{"id": "c1", "name": "API", "status": "operational", "group": False, "group_id": None}],
    "incidents": [
        {
            "id": "i1",
            "name": "Slow",
            "status": "monitoring",
            "impact": "major",
            "created_at": "2026-01-05T08:00:00.000Z",
            "components": [{"id": "c1", "name": "API"}],
        }
    ],
    "scheduled_maintenances": [],
}


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with standing_in() as running:
        yield running


@pytest.fixture
def vendor(server: StandIn) -> StandIn:
    server.routes = {
        "/incidents": (200, duty()),
        "/services": (200, {"services": SERVICES, "limit": 100, "offset": 0, "total": None, "more": False}),
        "/v1/incidents": (200, {"data": [], "took": 0.1, "requestId": "r"}),
        "/v1/services": (200, {"data": [{"id": OPSGENIE["impactedServices"][0], "name": "Danger"}]}),
    }
    server.asked.clear()
    return server


def duty(*found: dict[str, Any], more: bool = False) -> dict[str, Any]:
    return {"incidents": list(found), "limit": 100, "offset": 0, "total": None, "more": more}


def run(vendor: StandIn, *sources: dict[str, Any], **fields: Any) -> Look:
    placed = [{**source, "url": vendor.url + source.get("url", "")} for source in sources]
    check = Incidents.model_validate({"sources": placed, **fields})
    return look(check, Environment(name="test"), variables={"TOKEN": "t0ken-t0ken"}, clock=FakeClock())


def said(seen: Look) -> list[str]:
    return [str(finding) for finding in seen.findings if finding.ok is not Ok.YES and not finding.observe]


def test_nothing_open_passes_and_says_who_was_asked(vendor: StandIn) -> None:
    seen = run(vendor, PAGERDUTY, GENIE)
    assert (seen.status, said(seen)) == (Status.PASSED, [])
    assert list(map(str, seen.findings)) == [
        "source 1 (pagerduty): expected no open incident, got none (0 listed)",
        "source 2 (opsgenie): expected no open incident, got none (0 listed)",
        "sources looked at: expected >= 2, got 2",
    ]
    first, second = vendor.asked
    assert first.headers["Authorization"] == "Token token=t0ken-t0ken"
    assert "date_range=all" in first.path
    assert "statuses%5B%5D=triggered&statuses%5B%5D=acknowledged" in first.path
    assert second.headers["Authorization"] == "GenieKey t0ken-t0ken"
    assert "query=status%3Aopen" in second.path


@pytest.mark.parametrize(
    ("source", "routes", "line"),
    [
        (
            PAGERDUTY,
            {"/incidents": duty(FIRE)},
            "source 1 (pagerduty): incident #1234: expected none open, got acknowledged, P2/high, of My Mail Serv",
        ),
        (
            GENIE,
            {"/v1/incidents": {"data": [OPSGENIE, OPSGENIE | {"status": "resolved"}]}},
            "source 1 (opsgenie): incident #1791: expected none open, got open, P1, of 0df9ebb4-",
        ),
        (
            {"of": "statuspage", "url": "/s"},
            {"/s/api/v2/summary.json": PAGE},
            "source 1 (statuspage): incident 'Slow': expected none open, got monitoring, major, of API, since 2026",
        ),
        (
            {"of": "json", "url": "/list?state=all", "at": "result.items", "id": "key", "severity": "level"},
            {
                "/list": {
                    "result": {
                        "items": [
                            {"key": "INC-7", "status": "Open", "level": 2, "service": {"name": "web"}},
                            {"key": "INC-6", "status": "Resolved", "level": 1},
                        ]
                    }
                }
            },
            "source 1 (json): incident INC-7: expected none open, got Open, 2, of web",
        ),
    ],
)
def test_what_is_open_fails_without_its_title(
    vendor: StandIn, source: dict[str, Any], routes: dict[str, Any], line: str
) -> None:
    vendor.routes = {path: (200, found) for path, found in routes.items()}
    seen = run(vendor, source)
    assert seen.status is Status.FAILED
    assert [text[: len(line)] for text in said(seen)] == [line]
    assert "Ann Lee" not in repr(seen)


@pytest.mark.parametrize(
    ("services", "severities", "counts"),
    [
        ([], [], True),
        (["my mail service"], ["p2"], True),
        ("PIJ90N7", "high", True),
        (["Web"], [], False),
        ([], ["P1"], False),
    ],
)
def test_only_what_concerns_counts(vendor: StandIn, services: Any, severities: Any, counts: bool) -> None:
    vendor.routes["/incidents"] = (200, duty(FIRE))
    seen = run(vendor, PAGERDUTY | {"services": services}, severities=severities)
    assert seen.status is (Status.FAILED if counts else Status.PASSED)
    aside = "source 1 (pagerduty): expected no open incident, got none (1 open that do not count)"
    assert (aside in map(str, seen.findings)) is not counts


def test_a_service_of_opsgenie_is_known_by_its_name(vendor: StandIn) -> None:
    vendor.routes["/v1/incidents"] = (200, {"data": [OPSGENIE]})
    assert said(run(vendor, GENIE | {"services": "danger"}))[0].startswith(
        "source 1 (opsgenie): incident #1791: expected none open, got open, P1, of Danger, since"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (PAGERDUTY, "pagerduty: no service 'Wob'\n    did you mean 'Web'? known: My Mail Service"),
        (GENIE, "opsgenie: no service 'Wob'\n    known: "),
        ({"of": "statuspage", "url": "/s"}, "statuspage: no service 'Wob'\n    known: API, c1"),
    ],
)
def test_a_service_that_nobody_knows_is_an_error(vendor: StandIn, source: dict[str, Any], message: str) -> None:
    vendor.routes["/s/api/v2/summary.json"] = (200, PAGE)
    seen = run(vendor, source | {"services": ["Wob"]})
    assert seen.status is Status.ERROR
    assert message in seen.message


def test_an_incident_of_no_service_and_no_severity_counts(vendor: StandIn) -> None:
    bare = {key: FIRE[key] for key in ("id", "status")}
    vendor.routes["/incidents"] = (200, duty(bare))
    assert said(run(vendor, PAGERDUTY | {"services": "Web"}, severities="P1")) == [
        "source 1 (pagerduty): incident #PT4KHLK: expected none open, got acknowledged"
    ]


def test_all_pages_are_read(vendor: StandIn) -> None:
    def pages(asked: Asked) -> Reply:
        return 200, duty(FIRE, more="offset=0" in asked.path)

    vendor.routes["/incidents"] = pages
    last = vendor.url + "/v1/incidents?offset=20"
    vendor.routes["/v1/incidents"] = (200, {"data": [], "paging": {"next": last}})
    vendor.routes["/v1/incidents?offset=20"] = (200, {"data": [OPSGENIE]})
    assert len(said(run(vendor, PAGERDUTY, GENIE))) == 3


def test_a_list_without_end_is_an_error(vendor: StandIn) -> None:
    vendor.routes["/incidents"] = (200, duty(FIRE, more=True))
    seen = run(vendor, PAGERDUTY)
    assert seen.status is Status.ERROR
    assert "pagerduty: more than 20 incidents are open" in seen.message


@pytest.mark.parametrize("reply", [(429, {}), (502, b"<html>")])
def test_a_source_that_cannot_answer_is_inconclusive(vendor: StandIn, reply: Reply) -> None:
    vendor.routes["/v1/incidents"] = reply
    seen = run(vendor, PAGERDUTY, GENIE)
    assert seen.status is Status.INCONCLUSIVE
    assert said(seen)[0].startswith(f"source 2 (opsgenie): expected an answer, got {vendor.url}/v1/incidents answered")
    assert said(seen)[1] == "sources looked at: expected >= 2, got 1"


@pytest.mark.parametrize(
    ("source", "reply", "message"),
    [
        (PAGERDUTY, (401, {}), "/incidents answered 401 Unauthorized\n    its token is wrong, or may not read this"),
        (PAGERDUTY, (200, b"<html>"), "/incidents answered 6 bytes of text/html that are not JSON"),
        (PAGERDUTY, (200, {"alerts": []}), "expected a list of objects at 'incidents', got NoneType; its keys: alerts"),
        (PAGERDUTY, (200, {"incidents": []}), "is not as lists of pagerduty are: KeyError 'more'"),
        ({"of": "json", "url": "/incidents"}, (200, {"a": 1}), "expected a list of objects at the top, got dict"),
        ({"of": "json", "url": "/incidents"}, (200, [{"id": 1}]), "is not as lists of json are: KeyError 'status'"),
        ({"of": "json", "url": "/nowhere"}, (200, []), "/nowhere answered 404 Not Found\n    is the URL right?"),
    ],
)
def test_what_is_no_list_is_an_error(vendor: StandIn, source: dict[str, Any], reply: Reply, message: str) -> None:
    vendor.routes["/incidents"] = reply
    seen = run(vendor, source)
    assert seen.status is Status.ERROR
    assert message in seen.message


def test_the_token_goes_to_no_other_host(vendor: StandIn) -> None:
    vendor.routes["/v1/incidents"] = (200, {"data": [], "paging": {"next": "https://other.example/v1/incidents"}})
    seen = run(vendor, GENIE)
    assert seen.status is Status.ERROR
    assert "its next page is on another host" in seen.message
    check = Incidents.model_validate({"sources": [{**GENIE, "url": "http://genie.example"}]})
    seen = look(check, Environment(name="test"), variables={"TOKEN": "t0ken-t0ken"})
    assert "the token would be sent in the clear" in seen.message


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "at least 1 item"),
        ([{"of": "pagerduty"}], "`pagerduty` needs a `token`"),
        ([{"of": "json"}], "`json` needs a `url`"),
        ([{"of": "pagerduty", "token": "t0ken"}], "got the secret itself"),
    ],
)
def test_sources_that_cannot_be_asked_are_refused(sources: list[Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Incidents.model_validate({"sources": sources})
