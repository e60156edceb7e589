from __future__ import annotations

from math import inf, isnan

import pytest
from pydantic import BaseModel, ValidationError

from pytest_releasegate.model import Ok
from pytest_releasegate.params import Threshold
from pytest_releasegate.statistics import (
    RatioLimit,
    ShareLimit,
    TimeLimit,
    bucket_quantile,
    certain,
    failed_share,
    in_percent,
    in_time,
    least_samples,
    nearest_rank,
    wilson,
)


class Limits(BaseModel):
    share: ShareLimit = Threshold.parse("< 5%")
    time: TimeLimit = Threshold.parse("< 1s")
    ratio: RatioLimit = Threshold.parse("< 3x")


# R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I,
# method 3 (Wilson score without continuity correction), 95 %.
@pytest.mark.parametrize(
    ("events", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_the_published_intervals(events: int, trials: int, low: float, high: float) -> None:
    assert wilson(events, trials) == pytest.approx((low, high), abs=0.00005)


def test_wilson_is_symmetric_and_knows_its_ends() -> None:
    low, high = wilson(3, 40)
    assert wilson(37, 40) == pytest.approx((1 - high, 1 - low))
    assert wilson(0, 72)[1] > 0.05 > wilson(0, 73)[1]
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(7, 7)[1] == 1.0


def test_wilson_is_narrower_with_less_confidence() -> None:
    assert wilson(5, 50, 0.8)[0] > wilson(5, 50, 0.95)[0]


@pytest.mark.parametrize(("events", "trials"), [(-1, 10), (11, 10)])
def test_wilson_refuses_impossible_counts(events: int, trials: int) -> None:
    with pytest.raises(ValueError, match="0 <= events <= trials"):
        wilson(events, trials)


@pytest.mark.parametrize(
    ("threshold", "low", "high", "ok"),
    [
        ("< 5%", 0.0, 0.049, Ok.YES),
        ("< 5%", 0.05, 0.2, Ok.NO),
        ("< 5%", 0.01, 0.2, Ok.CANNOT_TELL),
        (">= 20", 20, 25, Ok.YES),
        (">= 20", 10, 25, Ok.CANNOT_TELL),
        (">= 20", 10, 19, Ok.NO),
        ("< 5%", float("nan"), 0.2, Ok.CANNOT_TELL),
    ],
)
def test_a_threshold_is_judged_by_both_ends(threshold: str, low: float, high: float, ok: Ok) -> None:
    assert certain(Threshold.parse(threshold), low, high) is ok


@pytest.mark.parametrize(
    ("failed", "requests", "ok", "actual"),
    [
        (0, 0, Ok.CANNOT_TELL, "no requests"),
        (0, 73, Ok.YES, "0 of 73 requests failed: 0 %, 95 % interval 0 %..5 %"),
        (
            3,
            40,
            Ok.CANNOT_TELL,
            "3 of 40 requests failed: 7.5 %, 95 % interval 2.58 %..19.9 %; too few to tell against < 5%",
        ),
        (30, 100, Ok.NO, "30 of 100 requests failed: 30 %, 95 % interval 21.9 %..39.6 %"),
    ],
)
def test_an_error_rate_is_judged_by_its_interval(failed: int, requests: int, ok: Ok, actual: str) -> None:
    found = failed_share(Threshold.parse("< 5%"), failed, requests)
    assert (found.ok, found.actual) == (ok, actual)


def test_ten_samples_lie_beyond_a_quantile() -> None:
    assert [least_samples(q) for q in (0.5, 0.9, 0.95, 0.99, 0.999)] == [20, 100, 200, 1000, 10000]


@pytest.mark.parametrize(("q", "value"), [(0.05, 15), (0.30, 20), (0.40, 20), (0.50, 35), (1.0, 50)])
def test_nearest_rank_of_five_values(q: float, value: float) -> None:
    assert nearest_rank(q, dict.fromkeys([15, 20, 35, 40, 50], 1)) == value


def test_nearest_rank_counts_repeated_values() -> None:
    assert nearest_rank(0.95, {10: 95, 500: 5}) == 10
    assert nearest_rank(0.95, {10: 94, 500: 6}) == 500
    assert isnan(nearest_rank(0.95, {}))
    assert isnan(nearest_rank(0.95, {10: 0}))


def test_a_bucket_quantile_is_linear_within_its_bucket() -> None:
    found = bucket_quantile(0.95, [(0.1, 90), (0.5, 100), (inf, 100)])
    assert found is not None
    assert found.value == pytest.approx(0.3)
    assert (found.low, found.high) == (0.1, 0.5)
    assert not found.censored


def test_the_first_bucket_starts_at_zero() -> None:
    found = bucket_quantile(0.5, [(0.1, 100), (inf, 100)])
    assert found is not None
    assert found.value == pytest.approx(0.05)


def test_a_first_bucket_below_zero_gives_its_bound() -> None:
    found = bucket_quantile(0.5, [(-1, 10), (1, 12), (inf, 12)])
    assert found is not None
    assert found.value == -1


def test_empty_buckets_are_passed_over() -> None:
    found = bucket_quantile(0.5, [(0.1, 0), (0.2, 0), (0.4, 10), (inf, 10)])
    assert found is not None
    assert found.value == pytest.approx(0.3)


def test_a_quantile_over_the_top_bucket_is_censored() -> None:
    found = bucket_quantile(0.95, [(1, 5), (2.5, 10), (inf, 100)])
    assert found is not None
    assert found.censored
    assert found.value == 2.5
    assert certain(Threshold.parse("< 3s"), found.low, found.high) is Ok.CANNOT_TELL
    assert certain(Threshold.parse("<= 2500ms"), found.low, found.high) is Ok.NO
    assert certain(Threshold.parse("> 1s"), found.low, found.high) is Ok.YES


def test_no_observations_have_no_quantile() -> None:
    assert bucket_quantile(0.95, [(1, 0), (inf, 0)]) is None


@pytest.mark.parametrize("buckets", [[(1.0, 5.0)], [(inf, 5.0)], [(1.0, 5.0), (2.0, 4.0), (inf, 6.0)]])
def test_broken_buckets_are_refused(buckets: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="expected"):
        bucket_quantile(0.5, buckets)


@pytest.mark.parametrize(
    ("field", "text"),
    [("share", "< 5"), ("share", "== 0%"), ("time", "< 500"), ("time", "< 5%"), ("ratio", "< 3"), ("ratio", "!= 3x")],
)
def test_a_limit_demands_its_unit_and_a_side(field: str, text: str) -> None:
    with pytest.raises(ValidationError, match="such as"):
        Limits.model_validate({field: text})


def test_limits_read_their_units() -> None:
    limits = Limits.model_validate({"share": "< 7.5%", "time": "<= 500ms", "ratio": "< 3x"})
    assert (limits.share.limit, limits.time.limit, limits.ratio.limit) == (0.075, 0.5, 3)


def test_numbers_are_written_for_people() -> None:
    assert [in_percent(0.075), in_percent(0.0), in_percent(1.0)] == ["7.5 %", "0 %", "100 %"]
    assert [in_time(0.42), in_time(1.5293), in_time(0.9999)] == ["420 ms", "1.53 s", "1 s"]
