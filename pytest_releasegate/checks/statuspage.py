"""`statuspage`: what a vendor's public status page says of the parts that the product uses."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, format_duration
from pytest_releasegate.sources.answers import Away, absolute
from pytest_releasegate.sources.httpfaults import bare_url
from pytest_releasegate.sources.statuspages import IMPACTS, STATES, Component, Event, Page, page
from pytest_releasegate.sources.text import OneOrMore, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Statuspage"]

_ABANDONED = timedelta(days=365)
_FUTURE = timedelta(days=1)
State = Literal["operational", "under_maintenance", "degraded_performance", "partial_outage", "major_outage"]


class Statuspage(Parameters):
    """Components, open incidents and planned maintenance of a status page; the denominator is the components judged.

    ```yaml
    statuspage: {url: "https://status.supabase.com", components: [Database, Storage], region: eu-west-1}
    ```
    """

    kind: ClassVar[str] = "statuspage"
    waits: ClassVar[bool] = True
    shorthand: ClassVar[str] = "url"

    url: Annotated[str, Field(min_length=1), AfterValidator(absolute)]
    """The page's address, or that of its JSON; may hold references."""
    format: Literal["auto", "statuspage", "betterstack", "instatus"] = "auto"
    """Whose page it is (`statuspage` is Atlassian's); by default the first whose JSON the page answers."""
    components: Annotated[tuple[str, ...], OneOrMore] = ()
    """Names or ids of components or of their groups, without regard to case; by default all of the page."""
    region: str = ""
    """Only those of these components whose own or whose group's name holds this as a word."""
    accept: Annotated[tuple[State, ...], OneOrMore] = ("operational",)
    """The states of a component that are as expected."""
    impact: Literal["none", "minor", "major", "critical"] = "none"
    """The least impact of an open incident that counts; lesser ones are only shown."""
    maintenance: Literal["fails", "observe"] = "fails"
    """What maintenance during the release's window, or now, means."""
    max_age: Duration | None = None
    """The longest ago that the page may have been updated; quiet pages are old ones, so by default it is a year."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Read the page, and judge what of it is asked for."""
        url = context.url(self.url)
        try:
            found = page(context, url, self.format, self.ca)
        except Away as away:
            yield find(f"page {bare_url(url)}", expected="an answer", actual=str(away), ok=Ok.CANNOT_TELL)
            return
        chosen = self._chosen(found)
        yield self._age(found, context.clock.now())
        for component in chosen:
            yield self._component(found.name, component)
        others = found.others(chosen)
        if found.unexplained:
            actual = f"{found.unexplained}, and nothing on it says why"
            yield find(f"{found.name}: the page as a whole", expected="well", actual=actual, ok=Ok.CANNOT_TELL)
        yield from self._incidents(found, others, context.clock.now())
        yield from self._maintenances(found, others, context)
        yield counted("components", len(chosen))

    def _chosen(self, found: Page) -> list[Component]:
        """The components that are asked for; raises `CannotLook` where the page has one of them not."""
        known = found.components
        for name in self.components:
            if not any(_is(component, name) for component in known):
                names = sorted({*(one.name for one in known), *(one.group for one in known if one.group)})
                raise CannotLook(f"{found.name}: the page has no component '{name}'", nearest(name, names))
        named = [one for one in known if not self.components or any(_is(one, name) for name in self.components)]
        chosen = [one for one in named if _holds(f"{one.group} {one.name}", self.region)]
        texts = shown([str(one) for one in named], 10)
        if self.region and not chosen:
            raise CannotLook(f"{found.name}: no component is of the region '{self.region}'", f"looked at: {texts}")
        for name in self.components:
            if not any(_is(one, name) for one in chosen):
                what = f"{found.name}: nothing of '{name}' is of the region '{self.region}'"
                raise CannotLook(what, f"ask for it in a gate of its own; looked at: {texts}")
        return chosen

    def _age(self, found: Page, now: datetime) -> Finding:
        name, limit = f"{found.name}: last update", self.max_age or _ABANDONED
        expected = f"at most {format_duration(limit)} ago" if self.max_age else "any time"
        if found.updated is None:
            ok = Ok.CANNOT_TELL if self.max_age else Ok.YES
            return find(
                name, expected=expected, actual="unknown: the page does not say", ok=ok, observe=not self.max_age
            )
        age = max(now - found.updated, now - now)
        actual = f"{found.updated:%Y-%m-%d %H:%M} UTC, {age.days} days ago" if age.days else f"{age} ago"
        if found.updated - now > _FUTURE:
            actual = f"{found.updated:%Y-%m-%d %H:%M} UTC, which is to come"
        elif age <= limit:
            return find(name, expected=expected, actual=actual, ok=True, observe=not self.max_age)
        expected = f"at most {format_duration(limit)} ago"
        return find(name, expected=expected, actual=actual, ok=Ok.CANNOT_TELL)

    def _component(self, page_name: str, component: Component) -> Finding:
        ok: bool | Ok = component.status in self.accept
        if component.status not in STATES:
            ok = Ok.CANNOT_TELL
        return find(
            f"{page_name}: component {component}", expected=" or ".join(self.accept), actual=component.status, ok=ok
        )

    def _incidents(self, found: Page, others: frozenset[str], now: datetime) -> Iterator[Finding]:
        concerned = [event for event in _about(found.incidents, others) if event.end is None or event.end > now]
        for event in concerned:
            counts = _rank(event.impact) >= _rank(self.impact)
            since = f" since {event.start:%Y-%m-%d %H:%M} UTC" if event.start else ""
            actual = f"{event.state}, impact {event.impact}{since}"
            yield find(
                f"{found.name}: incident '{event.name}'",
                expected="resolved",
                actual=actual,
                ok=False,
                observe=not counts,
            )
        if not concerned:
            yield find(f"{found.name}: open incidents", expected="none", actual="none", ok=True)

    def _maintenances(self, found: Page, others: frozenset[str], context: Context) -> Iterator[Finding]:
        now = context.clock.now()
        spans = {"now": (now, now)}
        if context.release.window is not None:
            spans = {"the release's window": context.release.window, **spans}
        met = 0
        for event in _about(found.maintenances, others):
            when = [name for name, span in spans.items() if event.overlaps(*span)]
            if event.under_way and not when:
                when = ["now"]  # it takes longer than planned, or began before
            if when:
                met += 1
                yield find(
                    f"{found.name}: maintenance '{event.name}'",
                    expected=f"not during {when[0]}",
                    actual=_span(event),
                    ok=False,
                    observe=self.maintenance == "observe",
                )
        if not met:
            yield find(
                f"{found.name}: maintenance", expected=f"none during {' or '.join(spans)}", actual="none", ok=True
            )


def _is(component: Component, name: str) -> bool:
    names = (component.id, component.name, component.group, component.group_id, str(component))
    return _plain(name) in [_plain(text) for text in names if text]


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _holds(text: str, word: str) -> bool:
    return not word or re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text, re.IGNORECASE) is not None


def _about(events: Sequence[Event], others: frozenset[str]) -> list[Event]:
    """All but those that are about other components alone; who names none, or unknown ones, may be about any."""
    return [event for event in events if not event.components or event.components - others]


def _rank(impact: str) -> int:
    return IMPACTS.index(impact) if impact in IMPACTS else len(IMPACTS)


def _span(event: Event) -> str:
    start = f"{event.start:%Y-%m-%d %H:%M}" if event.start else "an unknown instant"
    return f"{event.state}, from {start} to {f'{event.end:%Y-%m-%d %H:%M} UTC' if event.end else 'no told end'}"
