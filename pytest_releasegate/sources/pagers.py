"""Incidents that are open, as the services that page people list them, read into one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlencode, urljoin, urlsplit

from pydantic import Field, model_validator

from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.answers import (
    Away,
    absolute,
    answered,
    document,
    instant,
    list_at,
    private_url,
    require_ok,
)
from pytest_releasegate.sources.httpfaults import bare_url
from pytest_releasegate.sources.jsonpaths import under
from pytest_releasegate.sources.paging import require_whole
from pytest_releasegate.sources.statuspages import IMPACTS, page
from pytest_releasegate.sources.text import OneOrMore, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.statuspages import Event

__all__ = ["SEVERITIES", "URGENCIES", "Incident", "Source", "listed"]

_MOST_PAGES = 20
_PAGE = 100
SEVERITIES = {"opsgenie": ("P1", "P2", "P3", "P4", "P5"), "statuspage": IMPACTS}
"""The severities of sources whose words are all known."""
URGENCIES = ("high", "low")
"""What PagerDuty gives each incident, ranked by a person or not."""
_OVER = ("resolved", "closed")
_OWN = {"pagerduty": "https://api.pagerduty.com", "opsgenie": "https://api.opsgenie.com"}


class Source(Parameters):
    """A service that knows of incidents, and how to read a list of another one's."""

    of: Literal["pagerduty", "opsgenie", "statuspage", "json"]
    """Whose list it is; `statuspage` is the page of any maker that the kind `statuspage` reads."""
    url: str = ""
    """The page or the list; of PagerDuty and Opsgenie only where it is not the usual one; may hold references."""
    token: str = Field(default="", repr=False)
    """The token to read with, by reference."""
    services: Annotated[tuple[str, ...], OneOrMore] = ()
    """Names or ids of services whose incidents count; by default all. Incidents of no service always count."""
    at: str = ""
    """The dotted path of a JSON list in its answer; by default the answer is the list."""
    id: str = "id"
    """The field of a JSON list's item that names the incident; dots lead into it, as of the fields below."""
    status: str = "status"
    """The field with its status."""
    closed: Annotated[tuple[str, ...], OneOrMore] = ("resolved", "closed", "completed", "postmortem")
    """The statuses of a JSON list that mean it is over; any other means that it is open."""
    severity: str = "severity"
    """The field with its severity."""
    service: str = "service"
    """The field with its service, a name or an object with a `name`."""

    @model_validator(mode="after")
    def _complete(self) -> Source:
        if self.of in _OWN and not self.token:
            raise ValueError(f"`{self.of}` needs a `token`, by reference")
        if self.of not in _OWN and not self.url:
            raise ValueError(f"`{self.of}` needs a `url`")
        if self.url and self.of != "json":
            absolute(self.url)
        if self.token and "${" not in self.token:
            raise ValueError("token: expected a reference such as ${env:NAME}, got the secret itself")
        return self


@dataclass(frozen=True, slots=True)
class Incident:
    """One that is open; its title stays where it is, for people write names there."""

    id: str
    status: str
    severities: tuple[str, ...]
    services: tuple[str, ...]
    """Names and ids."""
    since: datetime | None = None
    unranked: bool = False
    """Whether nobody has said yet how bad it is, where somebody should."""

    def __str__(self) -> str:
        severity = f", {'/'.join(self.severities)}" if self.severities else ""
        service = f", of {self.services[0]}" if self.services else ""
        since = f", since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        return visible(f"{self.status}{severity}{service}{since}")


def listed(source: Source, context: Context) -> tuple[int, list[Incident]]:
    """How many items were read, and the open incidents among them; raises `CannotLook` or `Away`."""
    url = context.url(source.url) if source.url else _OWN[source.of]
    token = context.resolve(source.token)
    if token:
        private_url(url, "the token")
    try:
        return _READERS[source.of](source, url.rstrip("/"), token, context)
    except (KeyError, TypeError, AttributeError) as wrong:
        what = f"{bare_url(url)} is not as lists of {source.of} are: {type(wrong).__name__} {wrong}"
        raise CannotLook(what[:300], "is the URL right?") from None


def _pagerduty(source: Source, url: str, token: str, context: Context) -> tuple[int, list[Incident]]:
    headers = {"Authorization": f"Token token={token}", "Accept": "application/vnd.pagerduty+json;version=2"}
    # without `all` it leaves out what is open for longer than a month
    _known(source, f"{url}/services", "services", headers, "summary", context)
    asked: list[tuple[str, str]] = [("date_range", "all"), ("limit", str(_PAGE))]
    asked += [("statuses[]", "triggered"), ("statuses[]", "acknowledged")]
    found: list[dict[str, Any]] = []
    for _ in range(_MOST_PAGES):
        place = f"{url}/incidents?{urlencode([*asked, ('offset', str(len(found)))])}"
        read = document(require_ok(answered(context, place, headers)))
        found += list_at(read, "incidents", place)
        if not read["more"]:
            return len(found), [_of_pagerduty(one) for one in found if one["status"] != "resolved"]
    raise CannotLook(f"pagerduty: more than {len(found)} incidents are open", "name `services`, or close some")


def _known(source: Source, url: str, at: str, headers: dict[str, str], name: str, context: Context) -> dict[str, str]:
    """The names of services by id, where some are named: one that is not known would count nothing."""
    found: list[dict[str, Any]] = []
    for _ in range(_MOST_PAGES if source.services else 0):
        place = f"{url}?{urlencode({'limit': _PAGE, 'offset': len(found)})}"
        read = document(require_ok(answered(context, place, headers)))
        part = list_at(read, at, place)
        found += part
        if not part or not (read.get("more") or (read.get("paging") or {}).get("next")):
            break
    names = {str(one["id"]): str(one[name]) for one in found}
    _require(source, {*names, *names.values()})
    wanted = {word.lower() for word in source.services}
    for one in found:
        if one.get("status") == "disabled" and not wanted.isdisjoint({str(one["id"]).lower(), str(one[name]).lower()}):
            what = f"{source.of}: the service '{visible(str(one[name]))}' is disabled"
            raise CannotLook(f"{what}, so no incident of it is ever opened", "enable it, or leave it out")
    return names


def _require(source: Source, known: set[str]) -> None:
    """Raise `CannotLook` for a service that nobody knows."""
    words = {word.lower() for word in known}
    for wanted in source.services:
        if wanted.lower() not in words:
            raise CannotLook(f"{source.of}: no service '{wanted}'", nearest(wanted, sorted(known)))


def _of_pagerduty(one: dict[str, Any]) -> Incident:
    rank, urgency = _words((one.get("priority") or {}).get("summary")), _words(one.get("urgency"))
    service = one.get("service") or {}
    return Incident(
        id=f"#{one.get('incident_number') or one['id']}",
        status=str(one["status"]),
        severities=(*rank, *urgency),
        services=(*_words(service.get("summary")), *_words(service.get("id"))),
        since=instant(one.get("created_at")),
        unranked=not rank,
    )


def _opsgenie(source: Source, url: str, token: str, context: Context) -> tuple[int, list[Incident]]:
    headers = {"Authorization": f"GenieKey {token}"}
    names = _known(source, f"{url}/v1/services", "data", headers, "name", context)
    place = f"{url}/v1/incidents?{urlencode({'query': 'status:open', 'limit': _PAGE, 'order': 'desc'})}"
    found: list[dict[str, Any]] = []
    for _ in range(_MOST_PAGES):
        read = document(require_ok(answered(context, place, headers)))
        found += list_at(read, "data", place)
        following = (read.get("paging") or {}).get("next")
        if not following:
            return len(found), [_of_opsgenie(one, names) for one in found if one["status"] not in _OVER]
        place = _same_host(place, following)
    raise CannotLook(f"opsgenie: more than {len(found)} incidents are open", "close some")


def _same_host(place: str, following: str) -> str:
    """Where the next page is: the token goes to no other host."""
    joined = urljoin(place, following)
    if urlsplit(joined)[:2] != urlsplit(place)[:2]:
        raise CannotLook(f"{bare_url(place)}: its next page is on another host", "is `url` right?")
    return joined


def _of_opsgenie(one: dict[str, Any], names: dict[str, str]) -> Incident:
    return Incident(
        id=f"#{one.get('tinyId') or one['id']}",
        status=str(one["status"]),
        severities=_words(one.get("priority")),
        services=tuple(word for part in one.get("impactedServices") or () for word in (names.get(part), part) if word),
        since=instant(one.get("createdAt")),
    )


def _page(source: Source, url: str, token: str, context: Context) -> tuple[int, list[Incident]]:  # noqa: ARG001
    read = page(context, url)
    names = {one.id: (str(one), one.name, one.id, one.group) for one in read.components}
    _require(source, {name for words in names.values() for name in words if name})
    now = context.clock.now()
    found = [_of_page(event, names) for event in read.incidents if event.end is None or event.end > now]
    if read.unexplained and not found:
        raise Away(f"{read.name} says '{read.unexplained}' of the whole, and names no incident")
    return len(found), found


def _of_page(event: Event, names: Mapping[str, tuple[str, ...]]) -> Incident:
    known = event.components <= names.keys()  # what the page does not list may be anything
    return Incident(
        id=f"'{event.name}'",
        status=event.state,
        severities=(event.impact,) if event.impact in IMPACTS else (),
        services=tuple(name for part in sorted(event.components) for name in names[part] if name) if known else (),
        since=event.start,
    )


def _json(source: Source, url: str, token: str, context: Context) -> tuple[int, list[Incident]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = require_ok(answered(context, url, headers))
    read = document(answer)
    items = list_at(read, source.at, url)
    require_whole(answer, read, source.at, len(items))
    over = {word.lower() for word in source.closed}
    found = [_of_json(source, one, url) for one in items]
    return len(items), [one for one in found if one.status.lower() not in over]


def _of_json(source: Source, one: dict[str, Any], url: str) -> Incident:
    for name, field in (("id", source.id), ("status", source.status)):
        if _at(one, field) is None:
            raise CannotLook(
                f"{bare_url(url)}: an item has no '{field}'", f"set `{name}`; {nearest(field, sorted(one))}"
            )
    status = _words(_at(one, source.status))
    return Incident(
        id=visible(str(_at(one, source.id))),
        status=status[0] if status else "of an unknown status",
        severities=_words(_at(one, source.severity)),
        services=_words(_at(one, source.service)),
    )


def _at(one: Any, path: str) -> Any:
    if isinstance(one, dict) and path in one:
        return one[path]
    return under(one, path)


def _words(value: Any) -> tuple[str, ...]:
    """The words of a text, a number, an object with a name, or a list of those; none where one of them is unknown."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("name", "summary", "value", "key", "id") if value.get(key)), None)
    if isinstance(value, list):
        found = [_words(part) for part in value]
        return tuple(word for words in found for word in words) if all(found) else ()
    return (str(value),) if isinstance(value, str | int | float) and value != "" else ()


_READERS: dict[str, Callable[[Source, str, str, Context], tuple[int, list[Incident]]]] = {
    "pagerduty": _pagerduty,
    "opsgenie": _opsgenie,
    "statuspage": _page,
    "json": _json,
}
