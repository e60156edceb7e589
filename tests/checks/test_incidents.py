"""`incidents` against a stand-in that answers as the services that page people document it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.incidents import Incidents
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.testing import FakeClock, look
from tests.standin import Asked, Reply, StandIn, know_no_name, standing_in

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
        ({"of": "json", "url": "/incidents"}, (200, [{"id": 1}]), "/incidents: an item has no 'status'"),
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


UNTRIAGED = FIRE | {"priority": None}
SEVERE = {"id": "7", "status": "open", "severity": "critical", "service": "web"}


@pytest.mark.parametrize(
    ("incident", "severities", "counts"),
    [
        (UNTRIAGED, ["P1", "major"], True),
        (UNTRIAGED | {"urgency": "low"}, ["P1"], True),
        (UNTRIAGED | {"urgency": "low"}, ["P1", "high"], False),
        (UNTRIAGED, ["P1", "high"], True),
        (FIRE, "p-2", True),
        (FIRE, ["P1", "high"], True),
        (FIRE, "P1", False),
    ],
)
def test_an_incident_that_nobody_has_ranked_yet_counts(
    vendor: StandIn, incident: dict[str, Any], severities: Any, counts: bool
) -> None:
    vendor.routes["/incidents"] = (200, duty(incident))
    assert run(vendor, PAGERDUTY, severities=severities).status is (Status.FAILED if counts else Status.PASSED)


@pytest.mark.parametrize(
    "more",
    [
        {"next": "/list?page=2"},
        {"next_page": 2},
        {"nextPageToken": "abc"},
        {"has_more": True},
        {"hasMore": True},
        {"more": True},
        {"paging": {"next": "x"}},
        {"links": {"next": "x"}},
        {"_links": {"next": {"href": "x"}}},
        {"meta": {"next_cursor": "x"}},
        {"pagination": {"total_pages": 3, "page": 1}},
        {"pagination_meta": {"after": "01FCNDV6P870EA6S7TK1DSYDG0", "total_record_count": 9}},
        {"total": 2},
        {"meta": {"total_count": 2}},
        {"meta": {"pagination": {"next_offset": 25, "size": 25, "total_count": 40}}},
    ],
)
def test_a_json_list_of_which_more_pages_are_there_is_not_taken_for_all(vendor: StandIn, more: dict[str, Any]) -> None:
    source = {"of": "json", "url": "/list", "at": "incidents"}
    vendor.routes["/list"] = (200, {"incidents": [SEVERE | {"status": "resolved"}], **more})
    seen = run(vendor, source)
    assert seen.status is Status.ERROR
    assert "/list: more of the list is on other pages" in seen.message


@pytest.mark.parametrize(
    "last",
    [
        {"next": None, "has_more": False, "total": 1},
        {"links": {"next": "", "self": "x"}, "pagination": {"total_pages": 1, "page": 1, "total": 1}},
        {"_links": {"self": {"href": "x"}}, "pagination_meta": {"after": "", "total_record_count": 1}},
        {"paging": {"first": "x", "last": "x"}, "meta": {"next_cursor": None}},
    ],
)
def test_the_last_page_of_a_json_list_is_all_of_it(vendor: StandIn, last: dict[str, Any]) -> None:
    vendor.routes["/list"] = (200, {"incidents": [SEVERE | {"status": "resolved"}], **last})
    assert run(vendor, {"of": "json", "url": "/list", "at": "incidents"}).status is Status.PASSED


def test_a_list_whose_next_page_stands_in_a_header_is_not_taken_for_all(vendor: StandIn) -> None:
    vendor.routes["/list"] = (200, [])
    vendor.headers = {"Link": '<https://api.example/list?page=2>; rel="next", <x>; rel="last"'}
    seen = run(vendor, {"of": "json", "url": "/list"})
    vendor.headers = {"Link": '<https://api.example/list?page=1>; rel="first"'}
    first = run(vendor, {"of": "json", "url": "/list"})
    vendor.headers = {}
    assert (seen.status, first.status) == (Status.ERROR, Status.PASSED)


@pytest.mark.parametrize(
    ("fields", "changes", "counts"),
    [
        ({}, {"severity": {"id": "01", "name": "critical", "rank": 1}}, True),
        ({}, {"severity": {"rank": 1}}, True),
        ({}, {"severity": ["critical", "x"]}, True),
        ({}, {"severity": {"name": "minor"}}, False),
        ({}, {"service": [{"name": "api"}, {"name": "web"}]}, True),
        ({}, {"service": {"ref": 5}}, True),
        ({}, {"service": ["api"]}, False),
        ({}, {"status": {"name": "Live", "category": "active"}}, True),
        ({}, {"status": {"name": "Resolved"}}, False),
        ({"severity": "about.level"}, {"about": {"level": "critical"}}, True),
        ({"severity": "about.level"}, {"about": {"level": "minor"}}, False),
        ({"severity": "severty"}, {}, True),
    ],
)
def test_fields_of_a_json_list_are_read_in_each_shape(
    vendor: StandIn, fields: dict[str, str], changes: dict[str, Any], counts: bool
) -> None:
    vendor.routes["/list"] = (200, [SEVERE | changes])
    source = {"of": "json", "url": "/list", "services": "web", **fields}
    assert run(vendor, source, severities="critical").status is (Status.FAILED if counts else Status.PASSED)


@pytest.mark.parametrize(
    ("source", "severities", "words"),
    [
        (GENIE, ["critical"], "P1, P2, P3, P4, P5"),
        ({"of": "statuspage", "url": "https://s.example"}, ["P1"], "none, maintenance, minor, major, critical"),
    ],
)
def test_severities_of_which_a_source_has_none_are_refused(source: dict[str, Any], severities: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=f"`{source['of']}` knows {words}"):
        Incidents.model_validate({"sources": [source], "severities": severities})


def test_an_incident_about_what_the_page_does_not_list_counts(vendor: StandIn) -> None:
    incident = PAGE["incidents"][0] | {"components": [{"id": "c-gone", "name": "Archive"}]}
    vendor.routes["/s/api/v2/summary.json"] = (200, PAGE | {"incidents": [incident]})
    seen = run(vendor, {"of": "statuspage", "url": "/s", "services": "API"})
    assert seen.status is Status.FAILED


def test_a_page_with_trouble_that_names_no_incident_is_inconclusive(vendor: StandIn) -> None:
    vendor.routes["/s/api/v2/summary.json"] = (200, PAGE | {"incidents": [], "status": {"indicator": "major"}})
    seen = run(vendor, {"of": "statuspage", "url": "/s"})
    assert seen.status is Status.INCONCLUSIVE
    assert "says 'major' of the whole, and names no incident" in said(seen)[0]


def test_a_field_that_a_list_has_not_is_named(vendor: StandIn) -> None:
    vendor.routes["/list"] = (200, [{"key": "INC-1", "state": "open"}])
    seen = run(vendor, {"of": "json", "url": "/list", "id": "key"})
    assert seen.status is Status.ERROR
    assert "/list: an item has no 'status'\n    set `status`; did you mean 'state'? known: key, state" in seen.message


def test_a_source_whose_name_is_not_known_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    know_no_name(monkeypatch)
    check = Incidents.model_validate({"sources": [{"of": "statuspage", "url": "https://s.no-such-host.invalid"}]})
    assert look(check, Environment(name="test")).status is Status.INCONCLUSIVE


def test_an_incident_of_opsgenie_that_is_neither_resolved_nor_closed_is_open(vendor: StandIn) -> None:
    vendor.routes["/v1/incidents"] = (200, {"data": [OPSGENIE | {"status": "reopened"}]})
    assert run(vendor, GENIE).status is Status.FAILED
    vendor.routes["/v1/incidents"] = (200, {"data": [OPSGENIE | {"status": "closed"}]})
    assert run(vendor, GENIE).status is Status.PASSED


@pytest.mark.parametrize("url", ["http://me:s3cr3t-word@genie.example", "https://me:s3cr3t-word@genie.invalid"])
def test_a_password_in_an_address_is_not_said(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    know_no_name(monkeypatch)
    check = Incidents.model_validate({"sources": [{**GENIE, "url": url}]})
    seen = look(check, Environment(name="test"), variables={"TOKEN": "t0ken-t0ken"})
    assert seen.status in (Status.ERROR, Status.INCONCLUSIVE)
    assert "s3cr3t" not in repr(seen)


def test_a_header_that_says_much_of_other_pages_is_read_soon(vendor: StandIn) -> None:
    vendor.routes["/list"] = (200, [])
    vendor.headers = {"Link": "rel=" * 15_000}
    seen = run(vendor, {"of": "json", "url": "/list"})
    vendor.headers = {}
    assert seen.status is Status.PASSED


def test_a_list_that_moved_says_where_to(vendor: StandIn) -> None:
    vendor.routes["/list"] = (308, {})
    vendor.headers = {"Location": "https://new.example/list?token=t"}
    seen = run(vendor, {"of": "json", "url": "/list"})
    vendor.headers = {}
    assert seen.status is Status.ERROR
    assert seen.message.endswith("answered 308 Permanent Redirect\n    it moved to https://new.example/list")


@pytest.mark.parametrize(
    "changes",
    [
        {"urgency": 5},
        {"priority": {"summary": {"a": 1}}, "urgency": []},
        {"service": {"summary": ["x"], "id": 7}},
        {"status": 3},
        {"incident_number": {"n": 1}},
    ],
)
def test_an_incident_of_another_shape_is_open_all_the_same(vendor: StandIn, changes: dict[str, Any]) -> None:
    vendor.routes["/incidents"] = (200, duty(FIRE | changes))
    seen = run(vendor, PAGERDUTY, severities="P1")
    assert "broke" not in seen.message
    assert run(vendor, PAGERDUTY).status is Status.FAILED


def test_a_service_that_is_switched_off_tells_of_no_incident(vendor: StandIn) -> None:
    services = [SERVICES[0], SERVICES[1] | {"status": "disabled"}]
    vendor.routes["/services"] = (200, {"services": services, "more": False})
    seen = run(vendor, PAGERDUTY | {"services": ["My Mail Service", "web"]})
    assert seen.status is Status.ERROR
    assert "pagerduty: the service 'Web' is disabled, so no incident of it is ever opened" in seen.message
    assert run(vendor, PAGERDUTY | {"services": "My Mail Service"}).status is Status.PASSED
