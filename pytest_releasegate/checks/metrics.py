"""`metrics`: rates, quantiles and gauges of an application's own metrics endpoint."""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from io import StringIO
from math import ceil
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Threshold, format_duration
from pytest_releasegate.sources.gauges import judge_gauge, judge_rate, judge_restarts
from pytest_releasegate.sources.prometheus import Requests, Selector, Window, count_requests, scrape, time_requests
from pytest_releasegate.statistics import (
    QUANTILES,
    Estimate,
    Quantiles,
    RatioLimit,
    ShareLimit,
    bucket_quantile,
    certain,
    failed_ratio,
    failed_share,
    in_percent,
    in_time,
    least_samples,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from typing import Self

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.prometheus import Exposition

__all__ = ["Metrics"]

_ENOUGH = 50
_MOST_EVIDENCE = 64 * 1024


class Metrics(Quantiles):
    """Error rate, response times and gauges of a metrics endpoint over a watch; it counts requests and scrapes.

    ```yaml
    metrics: {watch: 15m, error_rate: "< 5%", p95: "< 500ms", gauges: {db_pool_in_use: "< 8"}}
    ```
    """

    kind: ClassVar[str] = "metrics"
    waits: ClassVar[bool] = True
    shorthand: ClassVar[str] = "error_rate"

    url: str = ""
    """The metrics endpoint; without it, the environment's `metrics`, or `/metrics` under its base URL."""
    window: Literal["watch", "lifetime"] = "watch"
    """`watch` compares scrapes over a time; `lifetime` judges one scrape: everything since the process started."""
    watch: Duration = timedelta(minutes=1)
    """How long to watch, such as `15m`; the environment's `watch` overrides it."""
    every: Duration | None = None
    """The time between scrapes; without it, a quarter of the watch."""
    error_rate: ShareLimit | None = None
    """The share of failed requests, such as `< 5%`, judged by both ends of its 95 % Wilson interval."""
    error_rate_ratio: RatioLimit | None = None
    """How many times the baseline's error rate, or 1 % where that was less, this one may be, such as `<= 2x`."""
    p95_ratio: RatioLimit | None = None
    """How many times the baseline's p95 this p95 may be, such as `< 3x`."""
    against: str = ""
    """The name under which a `metrics` gate of the previous release kept the baseline; without it, `keep`."""
    first_run: Literal["inconclusive", "absolute"] | None = None
    """What `p95_ratio` means without a baseline: it cannot tell, or `p95` alone decides."""
    floor: Duration = timedelta(milliseconds=50)
    """A p95 that grew by no more than this is not slower than its baseline, whatever the ratio."""
    keep: str = ""
    """The name under which to keep what was measured, for gates of later releases to compare with."""
    gauges: dict[str, Threshold] = Field(default_factory=dict)
    """Bounds that every scrape of a gauge must satisfy, such as `db_pool_in_use: "< 8"`."""
    no_restart: bool = Field(default=False, strict=True)
    """Whether the process must have run since the deployment: one that was killed, or fell over, started later."""
    rate: Threshold | None = None
    """How many requests must arrive in a second of the watch, such as `>= 5`; none at all is a failure too."""
    min_requests: int | None = Field(default=None, strict=True, ge=1)
    """The fewest requests that can tell; without it, 50 for `error_rate` and 20, 200, 1000 for `p50`, `p95`, `p99`."""
    requests: str = "http_requests_total"
    """The counter of requests; it may select labels, such as `http_requests_total{service="web"}`."""
    code_label: str = ""
    """The label that holds the HTTP status; without it, the first of `code`, `status`, `status_code` that exists."""
    errors: str = "5.."
    """The regular expression of the statuses that are errors; it matches the whole status."""
    durations: str = "http_request_duration_seconds"
    """The histogram of response times in seconds; it may select labels."""
    exclude: list[str] = Field(default_factory=lambda: ["/healthz", "/metrics", "/version"])
    """Routes that do not count, by the label `route`, `path`, `handler` or `endpoint`."""

    @field_validator("errors")
    @classmethod
    def _is_regex(cls, text: str) -> str:
        try:
            re.compile(text)
        except re.error as wrong:
            raise ValueError(f"expected a regular expression such as '5..', got '{text}': {wrong}") from None
        return text

    @field_validator("requests", "durations")
    @classmethod
    def _is_selector(cls, text: str) -> str:
        return Selector.parse(text).text

    @field_validator("gauges")
    @classmethod
    def _are_selectors(cls, gauges: dict[str, Threshold]) -> dict[str, Threshold]:
        return {Selector.parse(text).text: threshold for text, threshold in gauges.items()}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not (
            self.quantiles
            or self.gauges
            or any((self.keep, self.error_rate, self.p95_ratio, self.rate, self.no_restart))
        ):
            raise ValueError(
                "expected at least one of error_rate, p50, p95, p99, p95_ratio, gauges, rate, no_restart, keep"
            )
        if min(self.watch, self.every or self.watch) <= timedelta(0):
            raise ValueError("expected a watch and every above zero")
        if self.window == "lifetime" and {"watch", "every"} & self.model_fields_set:
            raise ValueError("window: lifetime takes one scrape: leave out watch and every")
        if self.window == "lifetime" and self.rate is not None:
            raise ValueError("rate needs a watch: nobody knows how long a lifetime was")
        self._fits_baseline()
        return self

    def _fits_baseline(self) -> None:
        if self.error_rate_ratio is not None and not (self.error_rate and (self.against or self.keep)):
            raise ValueError("error_rate_ratio needs error_rate, which decides without a baseline, and against")
        if self.p95_ratio is None:
            if self.first_run or (self.against and self.error_rate_ratio is None):
                raise ValueError("first_run needs p95_ratio, such as '< 3x'; against needs it or error_rate_ratio")
            return
        if not (self.against or self.keep):
            raise ValueError("p95_ratio needs against: the name under which the baseline was kept")
        if self.first_run is None:
            raise ValueError("p95_ratio needs first_run: inconclusive, or absolute")
        if self.first_run == "absolute" and self.p95 is None:
            raise ValueError("first_run: absolute needs p95: the bound that decides without a baseline")
        if self.first_run == "inconclusive" and self.keep == (self.against or self.keep):
            raise ValueError(
                "this gate would never keep a first baseline, because only a gate that passes keeps: "
                "let another gate keep it, or say first_run: absolute with p95"
            )

    @property
    def needs_time(self) -> timedelta:
        """How long the watch lasts, which comes on top of the usual time of a gate."""
        return timedelta(0) if self.window == "lifetime" else self.watch

    def look(self, context: Context) -> Iterator[Finding]:
        """Scrape for as long as the watch lasts, then judge what rose and what was held."""
        span = self._span(context)
        if span is not None and span != self.watch:
            yield find(
                "watch", expected=format_duration(self.watch), actual=_changed(self.watch, span), ok=True, observe=True
            )
        window = Window(tuple(self._scrapes(context, span)))
        self._attach_scrapes(context, window)
        if span is not None:
            yield counted("scrapes", len(window.scrapes), 2)
        yield from self._look_at_gauges(window)
        if self.no_restart:
            yield judge_restarts(window, context.release)
        if window.processes > 1:
            got = (
                f"{window.processes} different process start times: restarted, or several processes behind one address"
            )
            yield find("process", expected="the same one in every scrape", actual=got, ok=Ok.CANNOT_TELL)
            return
        counts = yield from self._look_at_requests(context, window, span.total_seconds() if span else 0.0)
        times = yield from self._look_at_times(context, window)
        if self.keep and counts is not None:
            context.keep(f"metrics/{self.keep}", self._kept(counts, times))

    def _span(self, context: Context) -> timedelta | None:
        if self.window == "lifetime":
            return None
        return context.environment.watch or self.watch

    def _scrapes(self, context: Context, span: timedelta | None) -> Iterator[Exposition]:
        url = context.url(context.resolve(self.url or context.environment.metrics or "/metrics"))
        if span is None:
            yield scrape(url, clock=context.clock, limit=context.remaining(10.0))
            return
        whole = span.total_seconds()
        if context.remaining(whole) < whole:
            raise CannotLook(
                f"a watch of {format_duration(span)} does not fit into the gate's time", "raise its `timeout`"
            )
        offsets = _offsets(whole, (self.every or span / 4).total_seconds())
        start = context.clock.monotonic()
        for number, offset in enumerate(offsets, start=1):
            context.clock.sleep(max(0.0, start + offset - context.clock.monotonic()))
            try:
                yield scrape(url, clock=context.clock, limit=context.remaining(10.0))
            except CannotLook as stopped:
                raise CannotLook(f"{stopped.what} (scrape {number} of {len(offsets)})", stopped.hint) from None

    def _look_at_requests(
        self, context: Context, window: Window, watched: float
    ) -> Generator[Finding, None, Requests | None]:
        if self.error_rate is None and self.rate is None and not self.keep:
            return None
        selector = Selector.parse(self.requests)
        counts = count_requests(window, selector, code=self.code_label, errors=self.errors, exclude=self.exclude)
        _attach_rates(context, counts)
        if counts.unknown:
            yield _unknown(self.requests, counts.unknown)
            return None
        yield counted("requests", counts.total, self.min_requests or _ENOUGH)
        if self.rate is not None:
            yield judge_rate(self.rate, counts.total, watched)
        if self.error_rate is not None:
            yield failed_share(self.error_rate, counts.failed, counts.total)
        if self.error_rate_ratio is not None:
            recorded = context.recorded(f"metrics/{self.against or self.keep}", of="previous")
            yield failed_ratio(self.error_rate_ratio, counts.failed, counts.total, recorded)
        return counts

    def _look_at_times(self, context: Context, window: Window) -> Generator[Finding, None, dict[float, float]]:
        judged = self.quantiles or self.p95_ratio
        selector = Selector.parse(self.durations)
        if not judged and not any(scraped.declares(f"{selector.name}_bucket") for scraped in window.scrapes):
            return {}
        histogram, unknown = time_requests(window, selector, exclude=self.exclude)
        if not judged:
            return {} if unknown else histogram
        if unknown:
            yield _unknown(self.durations, unknown)
            return {}
        yield counted("timed requests", _total(histogram), min(map(self._least, self.quantiles or ("p95",))))
        for name, bound in self.quantiles.items():
            yield self._judge_quantile(name, bound, histogram)
        if self.p95_ratio is not None:
            yield from self._judge_ratio(context, self.p95_ratio, histogram)
        return histogram

    def _least(self, name: str) -> int:
        return self.min_requests or least_samples(QUANTILES[name])

    def _estimate(self, name: str, histogram: Mapping[float, float]) -> Estimate | None:
        enough = _total(histogram) >= self._least(name)
        return bucket_quantile(QUANTILES[name], histogram.items()) if enough else None

    def _judge_quantile(self, name: str, bound: Threshold, histogram: Mapping[float, float]) -> Finding:
        number, least = _total(histogram), self._least(name)
        expected = f"{bound} of >= {least} requests" + (" (by min_requests)" if self.min_requests else "")
        estimate = self._estimate(name, histogram)
        if estimate is None:
            return find(name, expected=expected, actual=f"only {number} requests", ok=Ok.CANNOT_TELL)
        ok = certain(bound, *_range(estimate))
        return find(name, expected=expected, actual=f"{_shown(estimate)} of {number} requests", ok=ok)

    def _judge_ratio(self, context: Context, bound: Threshold, histogram: Mapping[float, float]) -> Iterator[Finding]:
        name = f"metrics/{self.against or self.keep}"
        recorded = context.recorded(name, of="previous")
        if recorded is None:
            yield self._judge_first_run(bound, name)
            return
        then, now = recorded.value.get("p95"), self._estimate("p95", histogram)
        expected = f"{bound} the p95 of {recorded.version}"
        if now is None or not then:
            missing = f"only {_total(histogram)} requests" if now is None else f"no p95 in the baseline {name}"
            yield find("p95 ratio", expected=expected, actual=missing, ok=Ok.CANNOT_TELL)
            return
        floor = self.floor.total_seconds()
        low, high = _range(now)
        ok = Ok.YES if high - then <= floor else certain(bound, low / then, high / then)
        grown = f"{'over ' if now.censored else ''}{now.value / then:.3g}x: {_shown(now)} after {in_time(then)}"
        small = f", grown by no more than {format_duration(self.floor)}" if high - then <= floor else ""
        yield find("p95 ratio", expected=expected, actual=grown + small, ok=ok)

    def _judge_first_run(self, bound: Threshold, name: str) -> Finding:
        alone = self.first_run == "absolute"
        actual = f"no baseline {name} of a previous release" + ("; p95 alone decides" if alone else "")
        ok = Ok.YES if alone else Ok.CANNOT_TELL
        return find("p95 ratio", expected=f"{bound} the previous p95", actual=actual, ok=ok, observe=alone)

    def _look_at_gauges(self, window: Window) -> Iterator[Finding]:
        for text, bound in self.gauges.items():
            yield judge_gauge(text, bound, [list(found.values()) for found in window.series(Selector.parse(text))])

    def _kept(self, counts: Requests, histogram: Mapping[float, float]) -> dict[str, object]:
        estimates = {name: self._estimate(name, histogram) for name in QUANTILES} if histogram else {}
        known = {name: found.value for name, found in estimates.items() if found and not found.censored}
        rate = counts.failed / counts.total if counts.total else None
        return {"requests": counts.total, "errors": counts.failed, "error_rate": rate, **known}

    def _attach_scrapes(self, context: Context, window: Window) -> None:
        names = [self.requests, self.durations, *self.gauges, "process_start_time_seconds"]
        wanted = [Selector.parse(text).name for text in names]
        for label, scraped in zip(("first", "last"), (window.scrapes[0], window.scrapes[-1]), strict=True):
            body = scraped.excerpt(wanted).encode()
            cut = b"# cut here: the rest is left out\n" if len(body) > _MOST_EVIDENCE else b""
            context.attach(f"metrics-{label}.txt", "text/plain", body[:_MOST_EVIDENCE] + cut)
            if len(window.scrapes) == 1:
                return


def _offsets(whole: float, every: float) -> list[float]:
    steps = max(1, ceil(round(whole / every, 6)))
    return [min(step * every, whole) for step in range(steps)] + [whole]


def _changed(declared: timedelta, span: timedelta) -> str:
    return f"{'shortened' if span < declared else 'lengthened'} to {format_duration(span)} by the environment"


def _unknown(metric: str, why: str) -> Finding:
    return find(metric, expected="counters that only rise", actual=why, ok=Ok.CANNOT_TELL)


def _total(histogram: Mapping[float, float]) -> int:
    return round(max(histogram.values(), default=0))


def _range(estimate: Estimate) -> tuple[float, float]:
    return (estimate.low, estimate.high) if estimate.censored else (estimate.value, estimate.value)


def _shown(estimate: Estimate) -> str:
    if estimate.censored:
        return f"over the top bucket of {in_time(estimate.value)}"
    return f"{in_time(estimate.value)} (in the bucket {in_time(estimate.low)}..{in_time(estimate.high)})"


def _attach_rates(context: Context, counts: Requests) -> None:
    table = StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["route", "requests", "errors", "error rate"])
    for route, number in sorted(counts.by_route.items(), key=lambda pair: -pair[1])[:200]:
        failed = counts.errors.get(route, 0.0)
        rows.writerow([route or "(all)", f"{number:g}", f"{failed:g}", in_percent(failed / number) if number else ""])
    context.attach("rates.csv", "text/csv", table.getvalue().encode())
