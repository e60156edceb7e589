"""Facts and instants as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.lifecycle.facts import parse_facts, parse_instant


def test_facts() -> None:
    assert parse_facts([]) == {}
    assert parse_facts(["maintenance=true", "hotfix=false", "maintenance=false"]) == {
        "maintenance": False,
        "hotfix": False,
    }


@pytest.mark.parametrize(
    "word", ["", "a", "a=", "a=yes", "a=True", "=true", "a-b=true", "a b=true", "a==true", "1=true"]
)
def test_what_is_no_fact(word: str) -> None:
    with pytest.raises(UsageProblem) as told:
        parse_facts(["good=true", word])
    assert str(told.value) == f"fact '{word}': expected NAME=true or NAME=false\n    such as maintenance=false"


@pytest.mark.parametrize(
    "text", ["2026-03-01T01:00:00Z", "2026-03-01T02:00:00+01:00", "2026-02-28 20:00:00-05:00", "20260301T010000Z"]
)
def test_instant_is_kept_in_utc(text: str) -> None:
    instant = parse_instant(text)
    assert instant == datetime(2026, 3, 1, 1, tzinfo=UTC)
    assert instant.tzinfo is UTC


@pytest.mark.parametrize("text", ["2026-03-01T00:00:00", "2026-03-01", "2026-03-01 00:00"])
def test_naive_instant_is_refused_with_one_that_is_read(text: str) -> None:
    with pytest.raises(UsageProblem) as told:
        parse_instant(text)
    lines = str(told.value).splitlines()
    assert lines == [
        f"instant '{text}' has no offset from UTC",
        "    write 2026-03-01T00:00:00Z or 2026-03-01T00:00:00+01:00",
    ]
    assert parse_instant("2026-03-01T00:00:00Z") == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "now", "1 March", "2026-13-01T00:00:00Z", "2026-03-01T25:00:00Z"])
def test_what_is_no_instant(text: str) -> None:
    with pytest.raises(UsageProblem) as told:
        parse_instant(text)
    assert str(told.value) == f"instant '{text}': expected ISO 8601\n    such as 2026-03-01T02:00:00Z"


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_instant_that_utc_cannot_hold(text: str) -> None:
    with pytest.raises(UsageProblem, match="expected ISO 8601"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("2026-03-01T02:00", "Europe/Berlin", "2026-03-01T01:00:00+00:00"),
        ("2026-07-01T02:00", "Europe/Berlin", "2026-07-01T00:00:00+00:00"),
        ("2026-03-01T02:00Z", "Europe/Berlin", "2026-03-01T02:00:00+00:00"),
        ("2026-03-01", "UTC", "2026-03-01T00:00:00+00:00"),
    ],
)
def test_an_instant_without_offset_is_of_the_configured_zone(text: str, zone: str, utc: str) -> None:
    assert parse_instant(text, zone).isoformat() == utc


@pytest.mark.parametrize(
    ("text", "zone", "said"),
    [
        ("2026-10-25T02:30", "Europe/Berlin", "show it twice, or never"),
        ("2026-03-29T02:30", "Europe/Berlin", "show it twice, or never"),
        ("2026-03-01T02:00", "Europe/Bonn", "'Europe/Bonn' is not known here"),
        ("2026-03-01T02:00", "../x", "'../x' is not known here"),
        ("2026-03-01T02:00", "Europe", "'Europe' is not known here"),
    ],
)
def test_an_instant_that_no_zone_tells_is_refused(text: str, zone: str, said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        parse_instant(text, zone)
