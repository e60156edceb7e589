"""`statuspage` against a stand-in that answers as the makers of status pages document it."""

from __future__ import annotations

import socket
from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.statuspage import Statuspage
from pytest_releasegate.model import Environment, Ok, Release, Status
from pytest_releasegate.sources.answers import instant
from pytest_releasegate.sources.statuspages import read
from pytest_releasegate.testing import FakeClock, look
from tests.standin import StandIn, know_no_name, standing_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.execution import Look

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SUMMARY, INDEX, SHORT = "/api/v2/summary.json", "/index.json", "/summary.json"


def component(ident: str, name: str, group: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": ident,
        "name": name,
        "status": "operational",
        "created_at": "2020-01-01T00:00:00.000Z",
        "updated_at": "2026-01-01T00:00:00.000Z",
        "position": 1,
        "description": None,
        "showcase": False,
        "start_date": None,
        "group_id": group,
        "page_id": "p1",
        "group": False,
        "only_show_if_degraded": False,
        **more,
    }


def event(name: str, about: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "id": "e1",
        "name": name,
        "status": "investigating",
        "impact": "minor",
        "created_at": "2026-01-05T08:00:00.000Z",
        "updated_at": "2026-01-05T08:30:00.000Z",
        "started_at": "2026-01-05T08:00:00.000Z",
        "monitoring_at": None,
        "resolved_at": None,
        "shortlink": "https://stspg.io/x",
        "page_id": "p1",
        "incident_updates": [],
        "components": about,
        **more,
    }


US, EU = component("c1", "Storage", "g1"), component("c2", "Storage", "g2")
ATLASSIAN: dict[str, Any] = {
    "page": {
        "id": "p1",
        "name": "Acme",
        "url": "https://status.acme.example",
        "time_zone": "Etc/UTC",
        "updated_at": "2026-01-02T09:00:00.000Z",
    },
    "components": [
        US,
        EU,
        component("c3", "Dashboard"),
        component("g1", "us-east-1", group=None) | {"group": True, "components": ["c1"]},
        component("g2", "eu-west-1", group=None) | {"group": True, "components": ["c2"]},
    ],
    "incidents": [],
    "scheduled_maintenances": [],
    "status": {"indicator": "none", "description": "All Systems Operational"},
}
"""As https://support.atlassian.com/statuspage/docs/what-are-the-different-apis-under-statuspage/ leads to the page's
own `/api`, whose example of `summary.json` this is, shortened."""
BETTERSTACK: dict[str, Any] = {
    "data": {
        "id": "165",
        "type": "status_page",
        "attributes": {
            "company_name": "Acme",
            "company_url": "https://acme.example",
            "timezone": "UTC",
            "aggregate_state": "operational",
            "created_at": "2025-01-15T10:30:00.000Z",
            "updated_at": "2026-01-05T08:59:00.000Z",
        },
    },
    "included": [
        {"id": "7", "type": "status_page_section", "attributes": {"name": "eu-west-1", "position": 0}},
        {
            "id": "70",
            "type": "status_page_resource",
            "attributes": {"status_page_section_id": 7, "public_name": "Mail", "status": "operational"},
        },
        {
            "id": "71",
            "type": "status_page_resource",
            "attributes": {"status_page_section_id": 7, "public_name": "Numbers", "status": "not_monitored"},
        },
        {
            "id": "90",
            "type": "status_report",
            "attributes": {
                "title": "Slow mail",
                "report_type": "manual",
                "starts_at": "2026-01-05T08:00:00.000Z",
                "ends_at": None,
                "aggregate_state": "degraded",
                "affected_resources": [{"status_page_resource_id": "70", "status": "degraded"}],
            },
        },
        {
            "id": "91",
            "type": "status_report",
            "attributes": {
                "title": "Old outage",
                "report_type": "manual",
                "starts_at": "2026-01-01T08:00:00.000Z",
                "ends_at": "2026-01-01T09:00:00.000Z",
                "aggregate_state": "downtime",
                "affected_resources": [],
            },
        },
        {
            "id": "92",
            "type": "status_report",
            "attributes": {
                "title": "New disks",
                "report_type": "maintenance",
                "starts_at": "2026-01-05T20:00:00.000Z",
                "ends_at": "2026-01-05T22:00:00.000Z",
                "aggregate_state": "maintenance",
                "affected_resources": [{"status_page_resource_id": "71", "status": "maintenance"}],
            },
        },
    ],
}
"""https://betterstack.com/docs/uptime/status-pages/subscribing-to-status-updates/subscribing-to-api"""
INSTATUS: dict[str, Any] = {
    "page": {"name": "Acme", "url": "https://instat.us", "status": "HASISSUES"},
    "activeIncidents": [
        {
            "name": "An issue with our API",
            "started": "Sat Jan 03 2026 18:55:50 GMT+0000 (Coordinated Universal Time)",
            "status": "INVESTIGATING",
            "impact": "MAJOROUTAGE",
            "url": "https://acme.instatus.com/incident/x",
        }
    ],
    "activeMaintenances": [
        {
            "name": "Database maintenance",
            "start": "Mon Jan 05 2026 18:55:54 GMT+0000 (Coordinated Universal Time)",
            "status": "NOTSTARTEDYET",
            "duration": "60",
            "url": "https://acme.instatus.com/maintenance/y",
        }
    ],
}
"""https://instatus.com/help/api/public-data"""


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with standing_in() as running:
        yield running


@pytest.fixture
def vendor(server: StandIn) -> StandIn:
    server.routes = {}
    return server


def atlassian(**changes: Any) -> dict[str, Any]:
    return deepcopy(ATLASSIAN) | changes


def run(vendor: StandIn, window: tuple[int, int] | None = None, **fields: Any) -> Look:
    day = datetime(2026, 1, 5, tzinfo=UTC)
    span = (day.replace(hour=window[0]), day.replace(hour=window[1])) if window else None
    release = Release(product="demo", version="1.4.0", environment="test", opened_at=NOW, window=span)
    check = Statuspage(**{"url": vendor.url, **fields})
    return look(check, Environment(name="test"), clock=FakeClock(NOW), release=release)


def said(seen: Look) -> list[str]:
    return [str(finding) for finding in seen.findings if finding.ok is not Ok.YES and not finding.observe]


def test_a_page_where_all_is_well_passes_and_says_how_much_was_looked_at(vendor: StandIn) -> None:
    vendor.routes[SUMMARY] = (200, ATLASSIAN)
    seen = run(vendor, (20, 21))
    assert (seen.status, said(seen)) == (Status.PASSED, [])
    told = [str(finding) for finding in seen.findings]
    assert "Acme: last update: expected any time, got 2026-01-02 09:00 UTC, 3 days ago" in told
    assert "Acme: maintenance: expected none during the release's window or now, got none" in told
    assert told[-1] == "components looked at: expected >= 1, got 3"


@pytest.mark.parametrize(
    ("kind", "found", "components", "incidents", "maintenances"),
    [
        ("statuspage", ATLASSIAN, ["us-east-1 / Storage", "eu-west-1 / Storage", "Dashboard"], [], []),
        (
            "betterstack",
            BETTERSTACK,
            ["eu-west-1 / Mail", "eu-west-1 / Numbers"],
            [("Slow mail", "minor", 8), ("Old outage", "critical", 8)],
            [("New disks", "maintenance", 20)],
        ),
        (
            "instatus",
            INSTATUS,
            ["the whole page"],
            [("An issue with our API", "critical", 18)],
            [("Database maintenance", "unknown", 18)],
        ),
    ],
)
def test_documented_shapes_are_read(
    kind: str, found: Any, components: list[str], incidents: list[Any], maintenances: list[Any]
) -> None:
    page = read(found, "https://status.acme.example")
    assert (page.format, page.name) == (kind, "Acme")
    assert [str(one) for one in page.components] == components
    for events, wanted in ((page.incidents, incidents), (page.maintenances, maintenances)):
        assert [(one.name, one.impact, one.start.hour if one.start else None) for one in events] == wanted


@pytest.mark.parametrize(
    ("fields", "looked", "wanted"),
    [
        ({"components": "storage"}, 2, []),
        ({"components": "c3"}, 1, []),
        ({"components": ["us-east-1", "Dashboard"]}, 2, []),
        ({"region": "eu-west-1"}, 1, ["Acme: component eu-west-1 / Storage: expected operational, got partial_outage"]),
        ({"components": "Storage", "region": "us-east-1"}, 1, []),
        ({"accept": ["operational", "partial_outage"]}, 3, []),
    ],
)
def test_only_what_is_asked_for_is_judged(
    vendor: StandIn, fields: dict[str, Any], looked: int, wanted: list[str]
) -> None:
    broken = atlassian()
    broken["components"][1]["status"] = "partial_outage" if "components" not in fields else "operational"
    vendor.routes[SUMMARY] = (200, broken)
    seen = run(vendor, **fields)
    assert (said(seen), seen.status) == (wanted, Status.FAILED if wanted else Status.PASSED)
    assert str(seen.findings[-1]) == f"components looked at: expected >= 1, got {looked}"


@pytest.mark.parametrize(
    ("fields", "counts"),
    [({}, True), ({"region": "us-east-1"}, True), ({"region": "eu-west-1"}, False), ({"impact": "major"}, False)],
)
def test_an_open_incident_counts_where_it_concerns(vendor: StandIn, fields: dict[str, Any], counts: bool) -> None:
    vendor.routes[SUMMARY] = (200, atlassian(incidents=[event("Slow", [US]), event("Gone", [], status="resolved")]))
    wanted = ["Acme: incident 'Slow': expected resolved, got investigating, impact minor since 2026-01-05 08:00 UTC"]
    seen = run(vendor, **fields)
    assert (said(seen), seen.status) == (wanted if counts else [], Status.FAILED if counts else Status.PASSED)


def test_an_incident_that_names_no_component_may_be_about_all(vendor: StandIn) -> None:
    vendor.routes[SUMMARY] = (200, atlassian(incidents=[event("Slow", [])]))
    assert run(vendor, region="eu-west-1").status is Status.FAILED


@pytest.mark.parametrize(
    ("window", "hours", "fields", "where"),
    [
        ((20, 21), (19, 23), {}, "the release's window"),
        ((20, 21), (8, 10), {}, "now"),
        (None, (8, 10), {}, "now"),
        ((20, 21), (22, 23), {}, ""),
        ((20, 21), (19, 23), {"region": "us-east-1"}, ""),
        ((20, 21), (19, 23), {"maintenance": "observe"}, ""),
        ((20, 21), (19, 23), {"region": "eu-west-1"}, "the release's window"),
    ],
)
def test_maintenance_counts_where_it_overlaps(
    vendor: StandIn, window: tuple[int, int] | None, hours: tuple[int, int], fields: dict[str, Any], where: str
) -> None:
    times = [f"2026-01-05T{hour:02}:00:00.000Z" for hour in hours]
    planned = event("Disks", [EU], status="scheduled", scheduled_for=times[0], scheduled_until=times[1])
    vendor.routes[SUMMARY] = (200, atlassian(scheduled_maintenances=[planned]))
    seen = run(vendor, window, **fields)
    if not where:
        assert (said(seen), seen.status) == ([], Status.PASSED)
        return
    (line,) = said(seen)
    assert line.startswith(f"Acme: maintenance 'Disks': expected not during {where}, got scheduled, from 2026-01-05 ")
    assert line.endswith(f" to 2026-01-05 {hours[1]:02}:00 UTC")


@pytest.mark.parametrize("hours", [(6, 7), (22, 23)])
def test_maintenance_that_goes_on_counts_whatever_was_planned(vendor: StandIn, hours: tuple[int, int]) -> None:
    times = [f"2026-01-05T{hour:02}:00:00.000Z" for hour in hours]
    planned = event("Disks", [EU], status="in_progress", scheduled_for=times[0], scheduled_until=times[1])
    vendor.routes[SUMMARY] = (200, atlassian(scheduled_maintenances=[planned]))
    (line,) = said(run(vendor))
    assert line.startswith("Acme: maintenance 'Disks': expected not during now, got in_progress, from ")


def test_a_page_of_better_stack_is_found_and_judged(vendor: StandIn) -> None:
    vendor.routes[INDEX] = (200, BETTERSTACK)
    seen = run(vendor, (20, 21), components="Mail")
    assert said(seen) == [
        "Acme: incident 'Slow mail': expected resolved, got degraded_performance, impact minor since 2026-01-05"
        " 08:00 UTC"
    ]
    seen = run(vendor, (20, 21), components="Numbers", format="betterstack")
    assert said(seen)[0] == "Acme: component eu-west-1 / Numbers: expected operational, got not_monitored"
    assert said(seen)[1].startswith("Acme: maintenance 'New disks': expected not during the release's window")


def test_a_page_of_instatus_is_found_with_its_components(vendor: StandIn) -> None:
    group = {"id": "g", "name": "EU"}
    listed = {"components": [{"id": "i1", "name": "API", "status": "MINOROUTAGE", "group": group}]}
    vendor.routes |= {SHORT: (200, INSTATUS), "/v3/components.json": (200, listed)}
    seen = run(vendor, (19, 20), components="API", region="EU")
    assert [line.partition(",")[0] for line in said(seen)] == [
        "Acme: component EU / API: expected operational",
        "Acme: incident 'An issue with our API': expected resolved",
        "Acme: maintenance 'Database maintenance': expected not during the release's window",
    ]
    vendor.routes[SHORT] = (200, {"page": {**INSTATUS["page"], "status": "UP"}})
    del vendor.routes["/v3/components.json"]
    assert run(vendor).status is Status.PASSED
    assert run(vendor, max_age="1d").status is Status.INCONCLUSIVE


def test_a_stale_page_is_said(vendor: StandIn) -> None:
    vendor.routes[SUMMARY] = (200, ATLASSIAN)
    seen = run(vendor, max_age="2d")
    assert seen.status is Status.INCONCLUSIVE
    assert said(seen) == [
        "Acme: last update: expected at most 2d ago, got 2026-01-02 09:00 UTC, 3 days ago",
    ]


def test_a_state_that_nobody_knows_cannot_tell(vendor: StandIn) -> None:
    vendor.routes[SUMMARY] = (200, atlassian(components=[component("c9", "Mail", status="napping")]))
    assert run(vendor).status is Status.INCONCLUSIVE


@pytest.mark.parametrize("reply", [503, 429])
def test_a_page_that_cannot_answer_is_inconclusive(vendor: StandIn, reply: int) -> None:
    vendor.routes[SUMMARY] = (reply, {})
    seen = run(vendor)
    assert seen.status is Status.INCONCLUSIVE
    assert said(seen)[0].startswith(f"page {vendor.url}: expected an answer, got {vendor.url}{SUMMARY} answered")


def test_a_page_that_nobody_reaches_is_inconclusive(vendor: StandIn) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        seen = run(vendor, url=f"http://127.0.0.1:{bound.getsockname()[1]}")
    assert seen.status is Status.INCONCLUSIVE
    assert "cannot connect: Connection refused" in said(seen)[0]


@pytest.mark.parametrize(
    ("routes", "fields", "message"),
    [
        ({SUMMARY: ATLASSIAN}, {"components": "Storag"}, "Acme: the page has no component 'Storag'\n    did you mean"),
        ({SUMMARY: ATLASSIAN}, {"region": "eu-west"}, "Acme: no component is of the region 'eu-west'\n    looked at"),
        ({}, {}, "is no status page of a known format: tried api/v2/summary.json (404), index.json (404), summary"),
        ({SUMMARY: b"<html>"}, {"format": "statuspage"}, "answered 6 bytes of text/html that are not JSON"),
        ({SUMMARY: b"<html>"}, {}, "is no status page of a known format: tried api/v2/summary.json (200), index.json"),
        ({"/s.json": {"ok": 1}}, {"url": "/s.json"}, "is no status page of a known format: its keys are ok"),
        ({SUMMARY: ATLASSIAN | {"page": {"name": "A"}}}, {}, "pages of statuspage are: KeyError 'updated_at'"),
        ({SUMMARY: ATLASSIAN | {"incidents": 5}}, {}, "is not as pages of statuspage are: TypeError"),
    ],
)
def test_what_is_no_page_or_no_part_of_it_is_an_error(
    vendor: StandIn, routes: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    vendor.routes = {path: (200, found) for path, found in routes.items()}
    if "url" in fields:
        fields = {"url": vendor.url + fields["url"]}
    seen = run(vendor, **fields)
    assert seen.status is Status.ERROR
    assert message in seen.message


def test_a_page_without_components_is_never_green(vendor: StandIn) -> None:
    vendor.routes[SUMMARY] = (200, atlassian(components=[]))
    assert run(vendor).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-01-05T09:00:00.000-06:00", 15),
        ("Mon Jan 05 2026 18:55:54 GMT+0200 (Eastern European Time)", 16),
        ("Mon, 05 Jan 2026 18:55:54 GMT", 18),
        ("2026-01-05T09:00:00", 9),
    ],
)
def test_instants_are_read_as_services_write_them(text: str, hour: int) -> None:
    found = instant(text)
    assert found is not None
    assert (found.hour, found.tzinfo) == (hour, UTC)


@pytest.mark.parametrize("text", ["soon", "", None, 5])
def test_what_is_no_instant_is_none(text: Any) -> None:
    assert instant(text) is None


GONE = [{"id": "c-gone", "name": "Archive"}]
NEVER_GREEN = (Status.FAILED, Status.INCONCLUSIVE, Status.ERROR)


def test_a_named_component_that_is_not_of_the_region_is_not_passed_over(vendor: StandIn) -> None:
    vendor.routes[SUMMARY] = (200, atlassian())
    seen = run(vendor, components=["Storage", "Dashboard"], region="us-east-1")
    assert seen.status is Status.ERROR
    assert "Acme: nothing of 'Dashboard' is of the region 'us-east-1'" in seen.message


@pytest.mark.parametrize(
    ("about", "fields", "counts"),
    [
        (GONE, {}, True),
        (GONE, {"region": "eu-west-1"}, True),
        ([{"id": "g2", "name": "eu-west-1"}], {}, True),
        ([{"id": "g2", "name": "eu-west-1"}], {"region": "eu-west-1"}, True),
        ([{"id": "g2", "name": "eu-west-1"}], {"region": "us-east-1"}, False),
        ([US, *GONE], {"region": "eu-west-1"}, True),
    ],
)
def test_an_incident_about_what_the_page_does_not_list_may_be_about_all(
    vendor: StandIn, about: list[dict[str, Any]], fields: dict[str, Any], counts: bool
) -> None:
    vendor.routes[SUMMARY] = (200, atlassian(incidents=[event("Slow", about)]))
    assert run(vendor, **fields).status is (Status.FAILED if counts else Status.PASSED)


@pytest.mark.parametrize("impact", [None, "", "catastrophic"])
def test_an_incident_of_unknown_impact_counts_as_the_worst(vendor: StandIn, impact: str | None) -> None:
    vendor.routes[SUMMARY] = (200, atlassian(incidents=[event("Slow", [], impact=impact)]))
    assert run(vendor, impact="critical").status is Status.FAILED
    page = deepcopy(INSTATUS)
    page["activeIncidents"][0]["impact"] = impact
    vendor.routes = {SHORT: (200, page)}
    assert any("incident" in line for line in said(run(vendor, impact="critical")))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (SUMMARY, atlassian(status={"indicator": "critical", "description": "Major Service Outage"})),
        (SUMMARY, atlassian(status={"indicator": "purple", "description": "?"})),
        (INDEX, {**BETTERSTACK, "included": [deepcopy(BETTERSTACK["included"][1])]}),
        (SHORT, {"page": INSTATUS["page"]}),
    ],
)
def test_a_page_that_says_it_has_trouble_and_not_where_cannot_tell(vendor: StandIn, path: str, found: Any) -> None:
    found = deepcopy(found)
    if path == INDEX:
        found["data"]["attributes"]["aggregate_state"] = "downtime"
    listed = {"components": [{"id": "i1", "name": "Mail", "status": "OPERATIONAL"}]}
    vendor.routes |= {path: (200, found), "/v3/components.json": (200, listed)}
    name = "Dashboard" if path == SUMMARY else "Mail"
    seen = run(vendor, components=name)
    assert seen.status is Status.INCONCLUSIVE
    (line,) = said(seen)
    assert line.startswith("Acme: the page as a whole: expected ")
    assert line.endswith(", and nothing on it says why")


def test_trouble_of_the_whole_page_that_another_component_explains_is_no_trouble_of_this_one(vendor: StandIn) -> None:
    broken = atlassian(status={"indicator": "major", "description": "Partial Outage"})
    broken["components"][1]["status"] = "major_outage"
    vendor.routes[SUMMARY] = (200, broken)
    assert run(vendor, components="Dashboard").status is Status.PASSED


@pytest.mark.parametrize(
    ("updated", "status"),
    [
        ("2021-03-01T00:00:00Z", Status.INCONCLUSIVE),
        ("2025-01-04T09:00:00Z", Status.INCONCLUSIVE),
        ("2025-01-06T09:00:00Z", Status.PASSED),
        ("2026-01-05T10:00:00Z", Status.PASSED),
        ("2099-01-01T00:00:00Z", Status.INCONCLUSIVE),
    ],
)
def test_a_page_that_was_left_alone_cannot_tell(vendor: StandIn, updated: str, status: Status) -> None:
    vendor.routes[SUMMARY] = (200, atlassian(page={**ATLASSIAN["page"], "updated_at": updated}))
    assert run(vendor).status is status
    assert run(vendor, max_age="4000d").status is (Status.INCONCLUSIVE if "2099" in updated else Status.PASSED)


def test_a_page_whose_name_is_not_known_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    know_no_name(monkeypatch)
    check = Statuspage(url="https://status.no-such-host.invalid")
    seen = look(check, Environment(name="test"), clock=FakeClock(NOW))
    assert seen.status is Status.INCONCLUSIVE
    assert "status.no-such-host.invalid" in said(seen)[0]


def test_a_page_that_moved_says_where_to(vendor: StandIn) -> None:
    vendor.headers = {"Location": "https://acme.example/products?from=status"}
    vendor.routes = dict.fromkeys((SUMMARY, INDEX, SHORT), (301, b"moved"))
    seen = run(vendor)
    vendor.headers = {}
    assert seen.status is Status.ERROR
    assert "api/v2/summary.json (301 to https://acme.example/products)" in seen.message


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (INDEX, {"data": BETTERSTACK["data"]}),
        (SUMMARY, {key: value for key, value in ATLASSIAN.items() if key != "incidents"}),
        (SUMMARY, atlassian(incidents=[{"name": "Slow", "status": "new_word"}])),
        (SUMMARY, atlassian(incidents=[event("Slow", [], status="new_word", impact="none")])),
        (SHORT, {"page": {"name": "Acme", "status": "NEWWORD"}}),
    ],
)
def test_a_page_whose_shape_changed_is_never_green(vendor: StandIn, path: str, found: Any) -> None:
    vendor.routes = {path: (200, found)}
    assert run(vendor).status in NEVER_GREEN


def test_words_of_a_page_move_no_cursor(vendor: StandIn) -> None:
    forged = "\x1b[2Jwell\nAcme: open incidents: expected none, got none\r\u202e"
    page = {**ATLASSIAN["page"], "name": f"Acme{forged}"}
    parts = [component("c1", forged, status="major_outage"), component("c2", "API", status=forged)]
    found = atlassian(page=page, components=parts, incidents=[event(forged, [], status=forged, impact=forged)])
    vendor.routes[SUMMARY] = (200, found)
    seen = run(vendor)
    assert seen.status is Status.FAILED
    assert all(text.isprintable() for finding in seen.findings for text in (finding.name, finding.actual))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (SUMMARY, atlassian(page={**ATLASSIAN["page"], "updated_at": "9999-12-31T23:59:59-23:00"})),
        (SUMMARY, atlassian(components=[component("c1", "API") | {"name": 5}])),
        (SHORT, {**INSTATUS, "activeMaintenances": [{**INSTATUS["activeMaintenances"][0], "duration": "1e300"}]}),
    ],
)
def test_values_that_no_page_has_are_said_to_be_none(vendor: StandIn, path: str, found: Any) -> None:
    vendor.routes = {path: (200, found)}
    seen = run(vendor)
    assert seen.status is Status.ERROR
    assert "is not as pages of" in seen.message


def test_a_page_without_a_scheme_is_refused_before_a_release() -> None:
    with pytest.raises(ValidationError, match=r"write it as https://status\.acme\.example"):
        Statuspage(url="status.acme.example")
    assert Statuspage(url="/status").url == "/status"


def test_white_space_in_names_is_no_difference(vendor: StandIn) -> None:
    vendor.routes[SUMMARY] = (200, atlassian(components=[component("c1", " Edge  Functions\u00a0")]))
    assert run(vendor, components="edge functions").status is Status.PASSED


@pytest.mark.parametrize("end", ["/", "/#", "/#past-incidents", "?from=mail"])
def test_the_address_of_a_page_is_taken_as_browsers_show_it(vendor: StandIn, end: str) -> None:
    vendor.routes[SUMMARY] = (200, ATLASSIAN)
    assert run(vendor, url=vendor.url + end).status is Status.PASSED


def test_a_group_that_shows_none_of_its_parts_is_a_part_itself(vendor: StandIn) -> None:
    lone = component("g9", "Telephony", status="major_outage") | {"group": True}
    vendor.routes[SUMMARY] = (200, atlassian(components=[component("c1", "API"), lone]))
    seen = run(vendor)
    assert said(seen) == ["Acme: component Telephony: expected operational, got major_outage"]
    assert run(vendor, components="Telephony").status is Status.FAILED


@pytest.mark.parametrize(
    ("indicator", "state", "status"),
    [
        ("critical", "scheduled", Status.INCONCLUSIVE),
        ("minor", "in_progress", Status.PASSED),
        ("maintenance", "in_progress", Status.PASSED),
    ],
)
def test_maintenance_to_come_explains_no_trouble_of_today(
    vendor: StandIn, indicator: str, state: str, status: Status
) -> None:
    times = {"scheduled_for": "2026-01-09T08:00:00.000Z", "scheduled_until": "2026-01-09T10:00:00.000Z"}
    planned = event("Disks", [EU], status=state, **times)
    vendor.routes[SUMMARY] = (200, atlassian(scheduled_maintenances=[planned], status={"indicator": indicator}))
    assert run(vendor, region="us-east-1").status is status
