"""Durations and thresholds: read, written, compared; and what cannot be read is said."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pytest_releasegate.params import Duration, Parameters, Threshold, format_duration, parse_duration

NO_DURATION = "expected a duration such as 500ms, 30s, 15m, 24h or 90d, got"
NO_THRESHOLD = "expected a threshold such as '< 5%', '<= 500ms' or '>= 3', got"


class Sample(Parameters):
    """Parameters of a check."""

    wait: Duration | None = None
    """How long."""
    limit: Threshold | None = None
    """How much."""


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("0s", timedelta()),
        ("1.5s", timedelta(seconds=1.5)),
        (" 30s ", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("24h", timedelta(hours=24)),
        ("90d", timedelta(days=90)),
        ("2w", timedelta(weeks=2)),
        ("1h30m", timedelta(minutes=90)),
        ("1d12h", timedelta(hours=36)),
        ("36525d", timedelta(days=36525)),
    ],
)
def test_duration(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span
    assert parse_duration(span) is span


@pytest.mark.parametrize("text", ["", "5", 5, "s", "5 s", "-5s", "1e3s", "5y", "5s!", "1h 30m", None, True, [], "nans"])
def test_no_duration(text: Any) -> None:
    with pytest.raises(ValueError) as wrong:
        parse_duration(text)
    assert str(wrong.value) == f"{NO_DURATION} '{str(text).strip()}'"


@pytest.mark.parametrize("text", ["36526d", "99999999999999d", "9" * 400 + "s"])
def test_duration_that_no_calendar_holds(text: str) -> None:
    with pytest.raises(ValueError, match="expected at most 36525d, got"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(), "0ms"),
        (timedelta(milliseconds=1.5), "1.5ms"),
        (timedelta(seconds=90), "90s"),
        (timedelta(minutes=90), "90m"),
        (timedelta(hours=24), "1d"),
        (timedelta(days=14), "2w"),
        (timedelta(days=10), "10d"),
        (timedelta(seconds=1.25), "1.25s"),
        (timedelta(seconds=1234567.5), "1234567.5s"),
        (timedelta(days=300, microseconds=1), "25920000.000001s"),
    ],
)
def test_format_duration(span: timedelta, text: str) -> None:
    assert format_duration(span) == text


@given(span=st.timedeltas(timedelta(), timedelta(days=36525)))
def test_duration_is_read_back_as_written(span: timedelta) -> None:
    assert abs(parse_duration(format_duration(span)) - span) <= timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "sign", "limit"),
    [
        ("< 5%", "<", 0.05),
        ("<=500ms", "<=", 0.5),
        (">= 3", ">=", 3.0),
        ("== 35%", "==", 0.35),
        ("!= -1.5", "!=", -1.5),
        ("> 2x", ">", 2.0),
        (" >  2m ", ">", 120.0),
        ("< 1h", "<", 3600.0),
        ("< 35ms", "<", 0.035),
    ],
)
def test_threshold(text: str, sign: str, limit: float) -> None:
    threshold = Threshold.parse(text)
    assert (threshold.sign, threshold.limit) == (sign, limit)
    assert str(threshold) == " ".join(text.split())
    assert Threshold.parse(threshold) is threshold
    assert Threshold.parse(str(threshold)) == threshold


@pytest.mark.parametrize(
    "text", ["", "5", "< ", "=> 5", "= 5", "< 5 apples", "< 1e3", "< nan", "< inf", "5 <", 5, None]
)
def test_no_threshold(text: Any) -> None:
    with pytest.raises(ValueError) as wrong:
        Threshold.parse(text)
    assert str(wrong.value) == f"{NO_THRESHOLD} '{text}'"


@pytest.mark.parametrize(
    ("sign", "holding"),
    [("<", {1}), ("<=", {1, 2}), ("==", {2}), ("!=", {1, 3}), (">=", {2, 3}), (">", {3})],
)
def test_threshold_holds(sign: str, holding: set[int]) -> None:
    threshold = Threshold.parse(f"{sign} 2")
    assert {value for value in (1, 2, 3) if threshold.holds(value)} == holding
    assert not threshold.holds(math.nan)


@pytest.mark.parametrize("percent", range(101))
def test_percent_is_the_share_that_people_mean(percent: int) -> None:
    assert Threshold.parse(f">= {percent}%").holds(percent / 100)
    assert Threshold.parse(f"<= {percent}%").holds(percent / 100)


def test_parameters_are_frozen_closed_and_read_back() -> None:
    sample = Sample.model_validate_json('{"wait": "90s", "limit": "<  5%"}', strict=True)
    assert sample.model_dump(mode="json") == {"wait": "90s", "limit": "< 5%"}
    assert Sample.model_validate_json(sample.model_dump_json(), strict=True) == sample
    with pytest.raises(ValidationError, match="frozen"):
        sample.wait = None  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Sample.model_validate({"waits": "1s"})


def test_schema_says_what_is_read() -> None:
    schema = Sample.model_json_schema()["properties"]
    assert schema["wait"]["description"] == "How long."
    assert {part.get("pattern") for part in schema["wait"]["anyOf"]} == {r"^(\d+(\.\d+)?(ms|s|m|h|d|w))+$", None}
    assert {part.get("type") for part in schema["limit"]["anyOf"]} == {"string", "null"}
