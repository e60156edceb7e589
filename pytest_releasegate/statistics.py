"""What a sample can tell: intervals of shares, quantiles, and thresholds judged by an interval."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf, isnan, nextafter, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from pytest_releasegate.check import find
from pytest_releasegate.model import Finding, Ok
from pytest_releasegate.params import Parameters, Threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_releasegate.model import Kept

__all__ = [
    "QUANTILES",
    "CountLimit",
    "Estimate",
    "Quantiles",
    "RatioLimit",
    "ShareLimit",
    "TimeLimit",
    "bucket_quantile",
    "certain",
    "failed_ratio",
    "failed_share",
    "grown_little",
    "in_percent",
    "in_time",
    "least_samples",
    "nearest_rank",
    "wilson",
]

_UNIT = re.compile(r"(%|ms|s|m|h|d|x|)$")
_LEAST_BASE = 0.01
_ONE_SIDED = ("<", "<=", ">", ">=")


def _measured_in(what: str, example: str, units: tuple[str, ...]) -> Callable[[Threshold], Threshold]:
    def validate(threshold: Threshold) -> Threshold:
        unit = _UNIT.search(threshold.text)
        if threshold.sign not in _ONE_SIDED or unit is None or unit[1] not in units:
            raise ValueError(f"expected a bound of {what} such as '{example}', got '{threshold}'")
        return threshold

    return validate


ShareLimit = Annotated[Threshold, AfterValidator(_measured_in("a share in percent", "< 5%", ("%",)))]
"""A bound of a share; the percent sign is demanded, because `< 5` would mean 500 %."""
TimeLimit = Annotated[Threshold, AfterValidator(_measured_in("a time with its unit", "< 500ms", ("ms", "s", "m", "h")))]
"""A bound of a time; the unit is demanded, because `< 500` would mean 500 seconds."""
RatioLimit = Annotated[Threshold, AfterValidator(_measured_in("a ratio", "< 3x", ("x",)))]
"""A bound of a multiple, such as `< 3x`."""
CountLimit = Annotated[Threshold, AfterValidator(_measured_in("a plain number", ">= 20", ("",)))]
"""A bound of a number without a unit."""

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
"""The quantiles that checks judge, by their names."""


class Quantiles(Parameters):
    """Bounds of response times, shared by the checks that judge them."""

    p50: TimeLimit | None = None
    """The median response time, such as `< 200ms`."""
    p95: TimeLimit | None = None
    """The response time that 95 % of the requests stay under, such as `< 500ms`."""
    p99: TimeLimit | None = None
    """The response time that 99 % of the requests stay under, such as `< 2s`."""

    @property
    def quantiles(self) -> dict[str, Threshold]:
        """The bounds that are set, by the names of their quantiles."""
        bounds = {"p50": self.p50, "p95": self.p95, "p99": self.p99}
        return {name: bound for name, bound in bounds.items() if bound is not None}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantile and the bounds of its bucket; `high` is infinite where it is censored."""

    value: float
    low: float
    high: float

    @property
    def censored(self) -> bool:
        """Whether only a lower bound is known."""
        return self.high == inf


def wilson(events: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval (1927) of a share, without continuity correction; (0, 1) without trials."""
    if not 0 <= events <= trials:
        raise ValueError(f"expected 0 <= events <= trials, got {events} of {trials}")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = events / trials, z * z / trials
    middle = share + spread / 2
    half = z * sqrt(share * (1 - share) / trials + spread / (4 * trials))
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return (0.0 if events == 0 else low), (1.0 if events == trials else high)


def certain(threshold: Threshold, low: float, high: float) -> Ok:
    """Whether a value somewhere in [low, high] satisfies a one-sided threshold; ends that disagree cannot tell."""
    if isnan(low) or isnan(high):
        return Ok.CANNOT_TELL
    ends = {threshold.holds(low), threshold.holds(high)}
    if len(ends) > 1:
        return Ok.CANNOT_TELL
    return Ok.YES if ends.pop() else Ok.NO


def failed_share(bound: Threshold, failed: int, requests: int) -> Finding:
    """The finding on an error rate, judged by both ends of its 95 % Wilson interval."""
    if not requests:
        return find("error rate", expected=bound, actual="no requests", ok=Ok.CANNOT_TELL)
    low, high = wilson(failed, requests)
    ok = certain(bound, low, high)
    seen = f"{failed} of {requests} requests failed: {in_percent(failed / requests)}"
    few = f"; too few to tell against {bound}" if ok is Ok.CANNOT_TELL else ""
    interval = f"95 % interval {in_percent(low)}..{in_percent(high)}"
    return find("error rate", expected=bound, actual=f"{seen}, {interval}{few}", ok=ok)


def failed_ratio(bound: Threshold, failed: int, requests: int, then: Kept | None) -> Finding:
    """The finding on an error rate beside that of an earlier release, judged by both ends of its 95 % Wilson interval.

    An earlier rate under 1 % counts as 1 %: where nearly nothing failed, one failure more is no rise.
    """
    if then is None or then.value.get("error_rate") is None:
        actual = "no error rate of a previous release; error_rate alone decides"
        return find("error rate ratio", expected=f"{bound} the previous one", actual=actual, ok=True, observe=True)
    base = max(then.value["error_rate"], _LEAST_BASE)
    low, high = wilson(failed, requests)
    seen = f"{in_percent(failed / requests if requests else 0)} after {in_percent(then.value['error_rate'])}"
    actual = f"{seen}, 95 % interval {low / base:.3g}x..{high / base:.3g}x"
    expected = f"{bound} the error rate of {then.version}, or 1 %"
    return find("error rate ratio", expected=expected, actual=actual, ok=certain(bound, low / base, high / base))


def least_samples(q: float) -> int:
    """How many samples a q-quantile needs so that ten of them lie beyond it: 10 / (1 - q)."""
    return ceil(round(10 / (1 - q), 6))


def nearest_rank(q: float, counts: Mapping[float, int]) -> float:
    """The smallest value that the share q of all counted values does not exceed; not a number without values."""
    rank = ceil(round(q * sum(counts.values()), 6))
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen and seen >= rank:
            return value
    return float("nan")


def bucket_quantile(q: float, buckets: Iterable[tuple[float, float]]) -> Estimate | None:
    """The q-quantile of cumulative (upper bound, count) buckets, as Prometheus' `histogram_quantile` estimates it.

    It is linear within its bucket. A quantile in the `+Inf` bucket is censored: above the highest finite bound, and no
    more is known. None without observations; raises `ValueError` when counts fall or `+Inf` is absent.
    """
    ordered = sorted(buckets)
    if len(ordered) < 2 or ordered[-1][0] != inf:
        raise ValueError('expected a finite bucket and one with le="+Inf"')
    if any(after < before for (_, before), (_, after) in pairwise(ordered)):
        raise ValueError("expected cumulative bucket counts that never fall")
    total = ordered[-1][1]
    if total <= 0:
        return None
    lower, below = (0.0, 0.0) if ordered[0][0] > 0 else ordered[0]
    for upper, count in ordered:
        if count >= q * total:
            return _within(lower, upper, q * total - below, count - below)
        lower, below = upper, count
    raise AssertionError("the last bucket holds everything")


def _within(lower: float, upper: float, rank: float, count: float) -> Estimate:
    if upper == inf:
        return Estimate(lower, nextafter(lower, inf), inf)
    value = lower + (upper - lower) * (rank / count) if count > 0 else upper
    return Estimate(value, lower, upper)


def in_percent(share: float) -> str:
    """A share as people read it, such as `7.5 %`."""
    return f"{share * 100:.3g} %"


def in_time(seconds: float) -> str:
    """Seconds as people read them, such as `420 ms` or `1.53 s`."""
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def grown_little(bound: Threshold, floor: float, now: float, then: float) -> bool:
    """Whether a value grew by no more than the floor, or by a share that the bound allows."""
    return now - then <= floor or (then > 0 and bound.holds((now - then) / then))
