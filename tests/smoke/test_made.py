"""What is swept and what is left alone, in a product that is a dictionary; no browser is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_releasegate.hooks.made import Forbidden, Kind, Made, Thing

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, LIVE = "rg-00000000 2026-02-01 12:00", "rg-11111111 2026-03-01 11:58"
OURS = "rg-22222222"


class Walk:
    """As much of a flow as what is made needs."""

    run = OURS

    def __init__(self) -> None:
        clock = SimpleNamespace(now=lambda: NOW)
        self.context = SimpleNamespace(clock=clock, require_permission=lambda *_: None)
        self.found: dict[str, tuple[Any, Any, bool]] = {}
        self.cleaning: list[Any] = []

    def later(self, call: Any) -> None:
        self.cleaning.append(call)

    def finding(self, name: str, *, expected: object, actual: object, ok: object, observe: bool = False) -> None:
        self.found[name] = (actual, ok, observe)

    def keep(self, name: str, value: object) -> None:
        pass


class Shop:
    """Things by key; those named in `stuck` cannot be removed."""

    def __init__(self, things: dict[str, str], stuck: dict[str, Exception] | None = None) -> None:
        self.things, self.stuck = dict(things), stuck or {}

    def find(self, text: str) -> list[Thing]:
        return [Thing(key, on) for key, on in self.things.items() if text in on]

    def remove(self, thing: Thing) -> None:
        if thing.key in self.stuck:
            raise self.stuck[thing.key]
        del self.things[thing.key]


def walk(shop: Shop) -> Walk:
    walked = Walk()
    Made(cast("Any", walked)).will_be(Kind("orders", shop.find, shop.remove))
    return walked


@pytest.mark.parametrize(
    "text",
    [
        "rg-0000 is the number of my old order",
        LIVE,
        f"{LIVE} answers {OLD}",
        f"{OLD} is quoted by {LIVE}",
        "rg-00000000 2026-02-31 99:99",
        "rg-00000000 2999-01-01 12:00",
        f"mar{OLD}",
    ],
    ids=["no-mark", "live", "quotes-before", "quotes-after", "no-time", "future", "in-a-word"],
)
def test_what_may_be_somebody_elses_is_left_alone(text: str) -> None:
    shop = Shop({"theirs": text, "stale": OLD})
    assert walk(shop).found["orders of killed runs, removed"] == (1, True, True)
    assert shop.things == {"theirs": text}


def test_what_cannot_be_swept_is_told_and_hinders_no_flow() -> None:
    shop = Shop({"stuck": OLD, "stale": OLD}, {"stuck": Forbidden("/orders/7")})
    found = walk(shop).found
    assert found["orders of killed runs, removed"][0] == 1
    assert found["orders of killed runs, not removed"] == ("1: /orders/7", False, True)
    assert shop.things == {"stuck": OLD}


def test_a_thing_that_cannot_be_removed_keeps_no_other_from_it() -> None:
    shop = Shop({}, {"stuck": ValueError("it is locked")})
    walked = walk(shop)
    shop.things = {"stuck": OURS, "loose": OURS}
    with pytest.raises(ValueError, match="it is locked"):
        walked.cleaning.pop()()
    assert shop.things == {"stuck": OURS}
    walked.cleaning.pop()()
    assert walked.found["left behind"][:2] == ("1: 1 orders", "no")
