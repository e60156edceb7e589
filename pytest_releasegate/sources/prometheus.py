"""Prometheus expositions: fetched once, parsed strictly, and compared between two scrapes."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING

from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.sources.http import Query, ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_releasegate.check import Clock

__all__ = [
    "Exposition",
    "Labels",
    "Requests",
    "Selector",
    "Series",
    "Window",
    "buckets",
    "count_requests",
    "growth",
    "parse",
    "scrape",
    "time_requests",
]

Labels = tuple[tuple[str, str], ...]
"""The labels of one series, sorted by name."""
Series = dict[Labels, float]
"""The values of one metric by their labels."""

_MOST_BYTES = 8 * 1024 * 1024
_OPENMETRICS = "application/openmetrics-text"
_ACCEPT = f"{_OPENMETRICS};version=1.0.0,text/plain;version=0.0.4;q=0.5"
_SELECTOR = re.compile(r"\s*(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)\s*(?:\{(?P<matchers>.*)\})?\s*", re.DOTALL)
_MATCHER = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric and what its labels must be, as in PromQL: `name{label="text", other=~"regex"}`."""

    text: str
    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read a selector; raises `ValueError` otherwise."""
        match = _SELECTOR.fullmatch(text)
        if not match:
            raise ValueError(f"expected a metric such as 'name' or 'name{{label=\"text\"}}', got '{text}'")
        return cls(text.strip(), match["name"], tuple(_matchers(match["matchers"] or "", text)))

    def matches(self, labels: Labels) -> bool:
        """Whether all matchers hold; an absent label counts as empty, and regexes match the whole value."""
        present = dict(labels)
        return all(_holds(sign, wanted, present.get(name, "")) for name, sign, wanted in self.matchers)


def _matchers(text: str, whole: str) -> Iterable[tuple[str, str, str]]:
    position = 0
    while text[position:].strip():
        match = _MATCHER.match(text, position)
        if not match:
            raise ValueError(f"expected labels such as {{name=\"text\"}}, got '{whole}'")
        name, sign, value = match.groups()
        if sign.endswith("~"):
            _compile(value, whole)
        yield name, sign, re.sub(r'\\(["\\])', r"\1", value)
        position = match.end()


def _compile(pattern: str, whole: str) -> None:
    try:
        re.compile(pattern)
    except re.error as wrong:
        raise ValueError(f"expected a regular expression in '{whole}', got '{pattern}': {wrong}") from None


def _holds(sign: str, wanted: str, value: str) -> bool:
    same = re.fullmatch(wanted, value) is not None if sign.endswith("~") else wanted == value
    return same != sign.startswith("!")


@dataclass(frozen=True, slots=True)
class Exposition:
    """One scrape: its text, its series by metric name, and the metrics it declares even without a series."""

    text: str
    series: Mapping[str, Series]
    declared: frozenset[str]

    def select(self, selector: Selector) -> Series:
        """The series that match."""
        return {labels: value for labels, value in self._named(selector.name).items() if selector.matches(labels)}

    def declares(self, name: str) -> bool:
        """Whether it has the metric, or says that it would have it."""
        base = re.sub(r"_(bucket|count|sum|total)$", "", name)
        return bool(self._named(name)) or not self.declared.isdisjoint({name, base})

    def value(self, name: str) -> float | None:
        """The only value of a metric without labels, if there is one."""
        found = list(self.series.get(name, {}).values())
        return found[0] if len(found) == 1 else None

    def excerpt(self, names: Iterable[str]) -> str:
        """The lines about metrics whose names start with one of these."""
        wanted = tuple(name.removesuffix("_total") for name in names)
        lines = (line for line in self.text.splitlines() if _subject(line).startswith(wanted))
        return "".join(f"{line}\n" for line in lines)

    def _named(self, name: str) -> Series:
        # the parser names every counter with the suffix that OpenMetrics demands
        return self.series.get(name) or self.series.get(f"{name}_total", {})


@dataclass(frozen=True, slots=True)
class Window:
    """The scrapes of one watch in the order of time, or a single one that stands for the process's lifetime."""

    scrapes: tuple[Exposition, ...]

    def series(self, selector: Selector) -> list[Series]:
        """The matching series of each scrape; raises `CannotLook` when none of them knows the metric."""
        if not any(exposition.declares(selector.name) for exposition in self.scrapes):
            known = sorted(self.scrapes[-1].series)[:100]
            raise CannotLook(f"the exposition has no metric '{selector.name}'", nearest(selector.name, known))
        return [exposition.select(selector) for exposition in self.scrapes]

    def rise(self, selector: Selector) -> tuple[Series, str]:
        """How much each counter rose in this window, and why that cannot be told, if so."""
        taken = self.series(selector)
        return growth(taken if len(taken) > 1 else [{}, *taken])

    @property
    def processes(self) -> int:
        """How many different process start times were seen."""
        return len({exposition.value("process_start_time_seconds") for exposition in self.scrapes} - {None})


def _subject(line: str) -> str:
    parts = line.split(maxsplit=3)
    if line.startswith("#"):
        return parts[2] if len(parts) > 2 else ""
    return line


def parse(text: str, *, openmetrics: bool = False) -> Exposition:
    """Read text format 0.0.4 or OpenMetrics 1.0; raises `ValueError` on what is neither or repeats a series."""
    from prometheus_client import parser
    from prometheus_client.openmetrics import parser as open_parser

    if text and not text.endswith("\n"):
        raise ValueError("the last line does not end: the answer is cut off")
    families = (open_parser if openmetrics else parser).text_string_to_metric_families(text)
    series: dict[str, Series] = defaultdict(dict)
    declared = set()
    for family in families:
        declared.add(family.name)
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            if labels in series[sample.name]:
                raise ValueError(f"the series {sample.name}{dict(labels)} is there twice")
            series[sample.name][labels] = float(sample.value)
    return Exposition(text, dict(series), frozenset(declared))


def scrape(url: str, *, clock: Clock, limit: float) -> Exposition:
    """Fetch and read an exposition within `limit` seconds; raises `CannotLook` when that is impossible."""
    answer = ask(Query(url=url, headers={"Accept": _ACCEPT}, max_size=_MOST_BYTES), clock=clock, limit=limit)
    if answer.status != 200:
        hint = "its credentials are wrong or absent" if answer.status in (401, 403) else "is this the metrics URL?"
        raise CannotLook(f"{answer.url} answered {answer.status} instead of an exposition", hint)
    return _read(answer.body, answer.headers.get("Content-Type", ""), answer.url)


def _read(body: bytes, content_type: str, shown: str) -> Exposition:
    kind = content_type.split(";")[0].strip().lower()
    if kind not in ("text/plain", _OPENMETRICS, ""):
        raise CannotLook(f"{shown} answered {kind} instead of an exposition", "is this the metrics URL?")
    try:
        exposition = parse(body.decode(), openmetrics=kind == _OPENMETRICS)
    except (ValueError, KeyError, IndexError) as wrong:
        raise CannotLook(f"{shown} is no readable exposition: {str(wrong)[:200]}", "is this the metrics URL?") from None
    if not exposition.series:
        raise CannotLook(f"{shown} exposes no metric", "is this the metrics URL?")
    return exposition


def growth(scrapes: Iterable[Series]) -> tuple[Series, str]:
    """How much each counter rose from the first scrape to the last, and why that cannot be told, if so.

    A series that appears later started at zero; one that falls, vanishes or is no number makes the growth unknown.
    """
    taken = list(scrapes)
    for number, (before, after) in enumerate(pairwise(taken), start=2):
        for labels, value in before.items():
            if labels not in after:
                return {}, f"a series of scrape {number - 1} is gone in scrape {number}"
            if after[labels] < value:
                return {}, f"a counter fell from {value:g} to {after[labels]:g} in scrape {number}: it was reset"
    first, last = taken[0], taken[-1]
    risen = {labels: value - first.get(labels, 0.0) for labels, value in last.items()}
    if not all(isfinite(value) for value in risen.values()):
        return {}, "a counter is not a number"
    return risen, ""


def buckets(series: Series) -> dict[float, float]:
    """The cumulative buckets of all series of a histogram added up, by upper bound.

    Raises `ValueError` when the series do not share their bounds.
    """
    summed: dict[float, float] = defaultdict(float)
    bounds: dict[Labels, set[float]] = defaultdict(set)
    for labels, value in series.items():
        bound = float(dict(labels).get("le", "nan"))
        summed[bound] += value
        bounds[tuple(pair for pair in labels if pair[0] != "le")].add(bound)
    if any(found != set(summed) for found in bounds.values()):
        raise ValueError("expected one set of bucket bounds, got series with different ones")
    return dict(summed)


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests and errors by route, or why they are unknown."""

    by_route: Mapping[str, float]
    errors: Mapping[str, float]
    unknown: str = ""

    @property
    def total(self) -> int:
        """All requests that count."""
        return round(sum(self.by_route.values()))

    @property
    def failed(self) -> int:
        """The errors among them."""
        return round(sum(self.errors.values()))


def count_requests(window: Window, selector: Selector, *, code: str, errors: str, exclude: Iterable[str]) -> Requests:
    """Count requests, and errors by the status in the label `code`, or in the first usual one where that is empty."""
    risen, unknown = window.rise(selector)
    counting = {labels: value for labels, value in risen.items() if _route(labels) not in set(exclude)}
    label = code or _label(risen, ("code", "status", "status_code"))
    if risen and not any(label in dict(labels) for labels in risen):
        known = ", ".join(sorted({name for labels in risen for name, _ in labels})) or "none"
        raise CannotLook(f"'{selector.text}' has no label for the status", f"set code_label; its labels: {known}")
    readable = ".+" if code else f"[1-5]([0-9]{{2}}|[xX]{{2}})|{errors}"
    unknown = unknown or _without_status(counting, label, readable)
    requests: dict[str, float] = defaultdict(float)
    failed: dict[str, float] = defaultdict(float)
    for labels, value in counting.items():
        requests[_route(labels)] += value
        failed[_route(labels)] += value if re.fullmatch(errors, dict(labels).get(label, "")) else 0.0
    return Requests(requests, failed, unknown)


def _without_status(counting: Series, label: str, readable: str) -> str:
    """How many requests have a status that is none, so that nobody can tell whether they failed; empty for none."""
    odd = [labels for labels, value in counting.items() if value and not re.fullmatch(readable, _of(labels, label, ""))]
    if not odd:
        return ""
    texts = ", ".join(sorted({_of(labels, label, "none") for labels in odd}))
    return f"{sum(counting[labels] for labels in odd):g} requests have no readable status: {label} {texts}"


def _of(labels: Labels, name: str, default: str) -> str:
    return dict(labels).get(name, default)


def time_requests(window: Window, selector: Selector, *, exclude: Iterable[str]) -> tuple[dict[float, float], str]:
    """The cumulative buckets of the requests' times, by upper bound in seconds, and why they are unknown, if so."""
    risen, unknown = window.rise(Selector(selector.text, f"{selector.name}_bucket", selector.matchers))
    counting = {labels: value for labels, value in risen.items() if _route(labels) not in set(exclude)}
    try:
        return buckets(counting), unknown
    except ValueError as wrong:
        raise CannotLook(f"'{selector.text}': {wrong}", "select one kind of series by its labels") from None


def _label(series: Series, candidates: Iterable[str]) -> str:
    present = {name for labels in series for name, _ in labels}
    return next((name for name in candidates if name in present), "")


def _route(labels: Labels) -> str:
    present = dict(labels)
    return next((present[name] for name in ("route", "path", "handler", "endpoint") if name in present), "")
