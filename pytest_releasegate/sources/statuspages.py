"""Public status pages of three makers, read into one shape: components, what is open, and what is planned."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.answers import answered, document, instant, require_ok
from pytest_releasegate.sources.httpfaults import bare_url
from pytest_releasegate.sources.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_releasegate.check import Context

__all__ = ["FORMATS", "IMPACTS", "STATES", "Component", "Event", "Page", "page", "read"]

STATES = ("operational", "under_maintenance", "degraded_performance", "partial_outage", "major_outage")
"""How a component can be, in the words of Statuspage; other words stay as they are."""
IMPACTS = ("none", "maintenance", "minor", "major", "critical")
"""How bad an incident is, from least to worst."""

_WORDS = {
    "degraded": "degraded_performance",
    "downtime": "major_outage",
    "maintenance": "under_maintenance",
    "undermaintenance": "under_maintenance",
    "degradedperformance": "degraded_performance",
    "partialoutage": "partial_outage",
    "minoroutage": "partial_outage",
    "majoroutage": "major_outage",
    "up": "operational",
    "hasissues": "degraded_performance",
}
_IMPACT_OF = {"degraded_performance": "minor", "partial_outage": "major", "major_outage": "critical"}
_OVER = {"resolved", "postmortem", "completed"}
_UNDER_WAY = {"in_progress", "verifying", "inprogress"}
_WELL = ("none", "operational")
_WHOLE = "page"
"""What stands for an id of the whole page where a maker lists it beside its components."""
_NO_END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Component:
    """One line of a page."""

    id: str
    name: str
    status: str
    group: str = ""
    group_id: str = ""

    def __post_init__(self) -> None:
        if not all(isinstance(text, str) for text in (self.id, self.name, self.group, self.group_id)):
            raise TypeError("a component's name or id is no text")

    def __str__(self) -> str:
        return visible(f"{self.group} / {self.name}" if self.group else self.name)


@dataclass(frozen=True, slots=True)
class Event:
    """An incident that is open, or a maintenance that is planned or under way."""

    name: str
    state: str
    impact: str
    start: datetime | None
    end: datetime | None
    components: frozenset[str]
    """The ids of the components that it is about; none where the page does not say, so it may be about all."""

    @property
    def under_way(self) -> bool:
        """Whether the page says that it goes on, whatever was planned."""
        return self.state in _UNDER_WAY

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Whether it shares an instant with the span; one without a known beginning may."""
        begins = self.start or datetime.min.replace(tzinfo=UTC)
        return begins <= end and (self.end or _NO_END) >= start


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says."""

    name: str
    format: str
    url: str
    updated: datetime | None
    components: tuple[Component, ...]
    incidents: tuple[Event, ...]
    maintenances: tuple[Event, ...]
    state: str = ""
    """How the page says that all is as a whole, where that is another word than all is well."""

    def others(self, chosen: Iterable[Component]) -> frozenset[str]:
        """The ids of the components and groups that are known, and none of these."""
        own = {ident for one in chosen for ident in (one.id, one.group_id)}
        return frozenset({ident for one in self.components for ident in (one.id, one.group_id)} - own)

    @property
    def unexplained(self) -> str:
        """Its word for the whole, where nothing on it says what is wrong; empty otherwise."""
        parts = (one for one in self.components if one.id != _WHOLE)
        at_work = any(event.under_way or "maintenance" in self.state for event in self.maintenances)
        said = self.incidents or at_work or any(one.status != "operational" for one in parts)
        return "" if said else self.state


def page(context: Context, url: str, kind: str = "auto", ca: str = "") -> Page:
    """Fetch a page, of the named format or of the first that it answers in; raises `CannotLook` or `Away`."""
    if url.partition("?")[0].endswith(".json"):
        return read(document(require_ok(answered(context, url, ca=ca))), url, kind)
    tried = []
    home = re.split("[?#]", url)[0].rstrip("/")
    for name in FORMATS if kind == "auto" else (kind,):
        place = f"{home}/{_PATHS[name]}"
        answer = answered(context, place, ca=ca)
        if kind != "auto" or (answer.status == 200 and answer.body.lstrip().startswith(b"{")):
            found = document(require_ok(answer))
            return _with_components(context, read(found, place, name), home, ca)
        moved = answer.headers.get("Location", "")
        tried.append(f"{_PATHS[name]} ({answer.status}{f' to {bare_url(moved)}'[:200] if moved else ''})")
    hint = f"name its `format`, or the whole URL of its JSON; known: {', '.join(FORMATS)}"
    raise CannotLook(f"{bare_url(url)} is no status page of a known format: tried {', '.join(tried)}", hint)


def read(found: Any, url: str, kind: str = "auto") -> Page:
    """What a page's JSON says; raises `CannotLook` where it is not of the format."""
    name = _detected(found) if kind == "auto" else kind
    if not name:
        keys = ", ".join(sorted(found))[:200] if isinstance(found, dict) else type(found).__name__
        raise CannotLook(
            f"{bare_url(url)} is no status page of a known format: its keys are {keys}", "name its `format`"
        )
    try:
        return FORMATS[name](found, url)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as wrong:
        what = f"{bare_url(url)} is not as pages of {name} are: {type(wrong).__name__} {wrong}"
        raise CannotLook(what[:300], "is the URL right, and the `format`?") from None


def _detected(found: Any) -> str:
    if not isinstance(found, dict):
        return ""
    if isinstance(found.get("components"), list) and "page" in found:
        return "statuspage"
    if isinstance(found.get("data"), dict) and found["data"].get("type") == "status_page":
        return "betterstack"
    return "instatus" if isinstance(found.get("page"), dict) and "status" in found["page"] else ""


def _whole(word: Any) -> str:
    state = _state(word)
    return "" if state in _WELL else state


def _impact(one: dict[str, Any]) -> str:
    """Its impact in Statuspage's words; another word stays as it is, and so counts as worse than any."""
    state = _state(one.get("impact"))
    return _IMPACT_OF.get(state, "none" if state == "operational" else state)


def _state(word: Any) -> str:
    text = visible(str(word or "unknown").lower())
    return _WORDS.get(text, text)


def _statuspage(found: dict[str, Any], url: str) -> Page:
    groups = {one["id"]: one["name"] for one in found["components"] if one.get("group") is True}
    shown = {_id(one) for one in found["components"]}
    components = (
        Component(one["id"], one["name"], _state(one["status"]), groups.get(one.get("group_id"), ""), _id(one))
        for one in found["components"]
        if one["id"] not in groups or one["id"] not in shown
    )
    updated = instant(found["page"]["updated_at"])
    if updated is None:
        raise ValueError("page.updated_at is no instant")
    return Page(
        name=visible(found["page"]["name"]),
        format="statuspage",
        url=url,
        updated=updated,
        components=tuple(components),
        incidents=tuple(_of_statuspage(one) for one in found["incidents"] if one["status"] not in _OVER),
        maintenances=tuple(
            _of_statuspage(one) for one in found["scheduled_maintenances"] if one["status"] not in _OVER
        ),
        state=_whole((found.get("status") or {}).get("indicator", "none")),
    )


def _id(one: dict[str, Any]) -> str:
    return str(one.get("group_id") or "")


def _of_statuspage(one: dict[str, Any]) -> Event:
    return Event(
        name=visible(one["name"]),
        state=visible(one["status"]),
        impact=visible(str(one.get("impact") or "unknown")),
        start=instant(one.get("scheduled_for") or one.get("started_at") or one.get("created_at")),
        end=instant(one.get("scheduled_until")),
        components=frozenset(part["id"] for part in one.get("components") or ()),
    )


def _betterstack(found: dict[str, Any], url: str) -> Page:
    about = found["data"]["attributes"]
    parts = found["included"]
    sections = {str(one["id"]): one["attributes"]["name"] for one in parts if one["type"] == "status_page_section"}
    reports = list(_reports(parts))
    return Page(
        name=visible(about["company_name"]),
        format="betterstack",
        url=url,
        updated=instant(about.get("updated_at")),
        components=tuple(_resource(one, sections) for one in parts if one["type"] == "status_page_resource"),
        incidents=tuple(event for planned, event in reports if not planned),
        maintenances=tuple(event for planned, event in reports if planned),
        state=_whole(about.get("aggregate_state", "operational")),
    )


def _resource(one: dict[str, Any], sections: dict[str, str]) -> Component:
    about = one["attributes"]
    section = str(about.get("status_page_section_id") or "")
    return Component(str(one["id"]), about["public_name"], _state(about["status"]), sections.get(section, ""), section)


def _reports(parts: list[dict[str, Any]]) -> Iterator[tuple[bool, Event]]:
    for one in parts:
        about = one["attributes"]
        if one["type"] != "status_report" or about.get("aggregate_state") == "resolved":
            continue
        planned = about.get("report_type") == "maintenance"
        state = _state(about.get("aggregate_state"))
        yield (
            planned,
            Event(
                name=visible(about["title"]),
                state=state,
                impact="maintenance" if planned else _IMPACT_OF.get(state, state),
                start=instant(about.get("starts_at")),
                end=instant(about.get("ends_at")),
                components=frozenset(
                    str(part["status_page_resource_id"]) for part in about.get("affected_resources") or ()
                ),
            ),
        )


def _instatus(found: dict[str, Any], url: str) -> Page:
    about = found["page"]
    return Page(
        name=visible(about["name"]),
        format="instatus",
        url=url,
        updated=None,
        components=(Component(_WHOLE, "the whole page", _state(about["status"])),),
        incidents=tuple(
            _of_instatus(one) for one in found.get("activeIncidents") or () if one["status"].lower() not in _OVER
        ),
        maintenances=tuple(
            _of_instatus(one) for one in found.get("activeMaintenances") or () if one["status"].lower() not in _OVER
        ),
        state=_whole(about["status"]),
    )


def _of_instatus(one: dict[str, Any]) -> Event:
    start = instant(one.get("started") or one.get("start"))
    minutes = float(one.get("duration") or 0)
    return Event(
        name=visible(one["name"]),
        state=visible(one["status"].lower()),
        impact=_impact(one),
        start=start,
        end=start + timedelta(minutes=minutes) if start and minutes else None,
        components=frozenset(),
    )


def _with_components(context: Context, found: Page, url: str, ca: str) -> Page:
    """The page with its components, which Instatus lists in an answer of their own; without where it lists none."""
    if found.format != "instatus":
        return found
    place = f"{url}/v3/components.json"
    answer = answered(context, place, ca=ca)
    if answer.status != 200:
        return found
    try:
        listed = tuple(_listed(one) for one in document(answer)["components"])
    except (KeyError, TypeError, AttributeError) as wrong:
        raise CannotLook(f"{place} is not as Instatus lists components: {type(wrong).__name__} {wrong}") from None
    whole = found.components
    return replace(found, components=(*whole, *listed))


def _listed(one: dict[str, Any]) -> Component:
    group = one.get("group") or {}
    return Component(one["id"], one["name"], _state(one["status"]), group.get("name", ""), group.get("id", ""))


FORMATS: dict[str, Callable[[dict[str, Any], str], Page]] = {
    "statuspage": _statuspage,
    "betterstack": _betterstack,
    "instatus": _instatus,
}
"""How pages are read, by the name of their format."""
_PATHS = {"statuspage": "api/v2/summary.json", "betterstack": "index.json", "instatus": "summary.json"}
