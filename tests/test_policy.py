"""The policy: who may say what, what a profile puts off, and when an environment is closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
import rfc8785

from pytest_releasegate.model import Gate, Item, Phase, Place, Severity
from pytest_releasegate.policy import (
    BusinessHours,
    DerivedFact,
    Freeze,
    Grant,
    Person,
    Profile,
    Role,
    Rules,
    Selector,
    closed,
    deferred,
    objection,
    rules_from_document,
    rules_to_document,
)

ROLES = {
    "manager": Role("manager", "Release manager", ("ann@x.example",)),
    "security": Role("security", "", ("bob@x.example", "ann@x.example")),
    "empty": Role("empty"),
}
WORK = BusinessHours(zone="Europe/Berlin", start=time(9), end=time(16), environments=("prod",))
FROZEN = Freeze(
    start=datetime(2026, 12, 20, tzinfo=UTC),
    end=datetime(2027, 1, 4, 6, tzinfo=UTC),
    reason="end of year",
    environments=("prod",),
    except_profiles=("hotfix",),
)
FULL = Rules(
    waive=(Grant(roles=("manager",), severities=("low",), for_at_most=timedelta(days=30)),),
    attest=(Grant(roles=("security",), gates=("6.*",), kinds=("attest",), phases=("predeploy",)),),
    sign=(Grant(roles=("manager",)),),
    declare=(Grant(roles=("manager",), facts=("maintenance",)),),
    signed=frozenset({"waiver", "attestation"}),
    authors_may_sign=False,
    profiles={
        "hotfix": Profile(
            name="hotfix",
            must_hold=(Selector(severities=("critical",)), Selector(gates=("3.1.*",))),
            deferred_until=timedelta(hours=72),
            approved_by=("manager",),
            reason="what cannot wait",
        )
    },
    freezes=(FROZEN,),
    business_hours=(replace(WORK, country="DE", subdivision="BE", dates=(date(2026, 12, 31),)),),
    after={"prod": ("staging",)},
    facts={"billing": DerivedFact(name="billing", changed=("billing/**",), title="Billing")},
    roles=ROLES,
    people={"ann@x.example": Person("ann@x.example", "Ann", "ann@mail.example", "+49 30 1")},
    signers="ann@x.example ssh-ed25519 AAAA\n",
)


def gate(name: str = "6.1.1", **changes: Any) -> Gate:
    whole: dict[str, Any] = {"kind": "http", "severity": Severity.LOW, "phase": Phase.PREDEPLOY}
    return Gate(id=name, title="T", item=Item("6.1", "I"), place=Place("gates/a.yaml"), **whole | changes)


ASKED = gate(kind="attest", parameters={"role": "security"})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize("rules", [Rules(), FULL], ids=["empty", "full"])
def test_rules_come_back_from_json_as_they_were(rules: Rules) -> None:
    document = rules_to_document(rules)
    assert rfc8785.dumps(document)
    assert rules_from_document(document) == rules
    assert rules_from_document(document).digest == rules.digest


@pytest.mark.parametrize(
    "change",
    [
        {"authors_may_sign": True},
        {"signed": frozenset({"waiver"})},
        {"signers": ""},
        {"waive": ()},
        {"roles": {**ROLES, "empty": Role("empty", "", ("eve@x.example",))}},
        {"after": {}},
        {"freezes": (replace(FROZEN, end=FROZEN.end + timedelta(seconds=1)),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_change_of_the_rules_changes_their_digest(change: dict[str, Any]) -> None:
    assert replace(FULL, **change).digest != FULL.digest


@pytest.mark.parametrize(
    ("rules", "action", "person", "role", "asked", "more", "said"),
    [
        (Rules(), "waive", "ann", "manager", gate(), {}, "manager may not waive 6.1.1; who may: nobody"),
        (Rules(), "attest", "ann", "security", ASKED, {}, ""),
        (Rules(), "attest", "ann", "dba", ASKED, {}, "dba may not attest 6.1.1; who may: security"),
        (Rules(), "sign", "ann", "manager", None, {}, ""),
        (Rules(), "declare", "ann", "", None, {"fact": "maintenance"}, ""),
        (FULL, "waive", "ann@x.example", "manager", gate(), {"span": timedelta(days=30)}, ""),
        (
            FULL,
            "waive",
            "ann@x.example",
            "manager",
            gate(),
            {"span": timedelta(days=30, hours=1)},
            "manager may waive 6.1.1 for at most 30d, not for 30d1h",
        ),
        (
            FULL,
            "waive",
            "ann@x.example",
            "manager",
            gate(severity=Severity.HIGH),
            {},
            "manager may not waive 6.1.1; who may: nobody",
        ),
        (FULL, "waive", "bob@x.example", "security", gate(), {}, "security may not waive 6.1.1; who may: manager"),
        (
            FULL,
            "waive",
            "bob@x.example",
            "manager",
            gate(),
            {},
            "bob@x.example does not hold the role manager; who does: ann@x.example",
        ),
        (FULL, "sign", "eve", "boss", None, {}, "no role 'boss' is declared in stakeholders.yaml"),
        (FULL, "sign", "eve", "empty", None, {}, "eve does not hold the role empty; who does: nobody"),
        (FULL, "attest", "bob@x.example", "security", ASKED, {}, ""),
        (
            FULL,
            "attest",
            "ann@x.example",
            "manager",
            ASKED,
            {},
            "manager may not attest 6.1.1; who may: security",
        ),
        (FULL, "declare", "ann@x.example", "manager", None, {"fact": "maintenance"}, ""),
        (
            FULL,
            "declare",
            "bob@x.example",
            "security",
            None,
            {"fact": "maintenance"},
            "security may not declare maintenance; who may: manager",
        ),
        (FULL, "declare", "bob@x.example", "security", None, {"fact": "backfill"}, ""),
    ],
)
def test_who_may_say_what(
    rules: Rules, action: Any, person: str, role: str, asked: Gate | None, more: dict[str, Any], said: str
) -> None:
    assert objection(rules, action, person, role, asked, **more) == said


@pytest.mark.parametrize(
    ("profile", "asked", "waits"),
    [
        ("", gate(), None),
        ("hotfix", gate(), timedelta(hours=72)),
        ("hotfix", gate("3.1.7"), None),
        ("hotfix", gate("3.2.1"), timedelta(hours=72)),
        ("hotfix", gate(severity=Severity.CRITICAL), None),
        ("hotfix", gate(trigger=True), None),
        ("unheard of", gate(), None),
    ],
)
def test_what_a_profile_puts_off(profile: str, asked: Gate, waits: timedelta | None) -> None:
    assert deferred(FULL, profile, asked) == waits


@pytest.mark.parametrize(
    ("start", "end", "frozen"),
    [
        ("2026-12-19T22:00:00Z", "2026-12-20T00:00:00Z", False),
        ("2026-12-19T22:00:00Z", "2026-12-20T00:00:01Z", True),
        ("2026-12-20T00:00:00Z", "2026-12-20T00:00:00Z", True),
        ("2026-12-24T10:00:00Z", "2026-12-24T11:00:00Z", True),
        ("2026-12-01T00:00:00Z", "2027-02-01T00:00:00Z", True),
        ("2027-01-04T05:59:59Z", "2027-01-04T07:00:00Z", True),
        ("2027-01-04T06:00:00Z", "2027-01-04T07:00:00Z", False),
    ],
)
def test_a_freeze_stops_what_overlaps_it_and_not_what_touches_it(start: str, end: str, *, frozen: bool) -> None:
    rules = Rules(freezes=(FROZEN,))
    told = ["frozen from 2026-12-20 00:00 to 2027-01-04 06:00 UTC: end of year"]
    assert closed(rules, "prod", "", at(start), at(end)) == (told if frozen else [])
    assert closed(rules, "staging", "", at(start), at(end)) == []
    assert closed(rules, "prod", "hotfix", at(start), at(end)) == []


OUT = "outside business hours (09:00 to 16:00 Europe/Berlin)"


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        # Friday the clocks of Berlin are an hour ahead, Monday 30 March two
        ("2026-03-27T08:00:00Z", "2026-03-27T15:00:00Z", ""),
        ("2026-03-27T07:59:59Z", "2026-03-27T09:00:00Z", f"is {OUT}; next opening 2026-03-27 08:00 UTC"),
        ("2026-03-27T15:00:00Z", "2026-03-27T15:00:00Z", f"is {OUT}; next opening 2026-03-30 07:00 UTC"),
        ("2026-03-30T07:00:00Z", "2026-03-30T14:00:00Z", ""),
        ("2026-03-30T14:30:00Z", "2026-03-30T14:30:00Z", f"is {OUT}; next opening 2026-03-31 07:00 UTC"),
        ("2026-03-28T10:00:00Z", "2026-03-28T11:00:00Z", "is outside business hours (mon, tue, wed, thu, fri)"),
        ("2026-03-26T14:00:00Z", "2026-03-26T15:00:01Z", "business hours end at 2026-03-26 15:00 UTC, before"),
        # both ends are business hours, and the night between them is none
        ("2026-03-26T14:00:00Z", "2026-03-27T09:00:00Z", "end at 2026-03-26 15:00 UTC, before 2026-03-27 09:00 UTC"),
    ],
)
def test_business_hours_by_the_clock_of_their_zone(start: str, end: str, said: str) -> None:
    found = closed(Rules(business_hours=(WORK,)), "prod", "", at(start), at(end))
    assert (len(found), said in " ".join(found)) == (bool(said), True), found
    assert closed(Rules(business_hours=(WORK,)), "staging", "", at(start), at(end)) == []


@pytest.mark.parametrize(
    ("country", "subdivision", "dates", "day", "said"),
    [
        ("", "", (), "2026-10-05", ""),
        ("DE", "", (), "2026-12-25", "is a holiday (Christmas Day); next opening 2026-12-28 08:00 UTC"),
        ("DE", "BE", (), "2027-03-08", "is a holiday (Women's Day); next opening 2027-03-09 08:00 UTC"),
        ("DE", "BY", (), "2027-03-08", ""),
        ("", "", (date(2026, 12, 31),), "2026-12-31", "is a holiday (declared); next opening 2027-01-01 08:00 UTC"),
        ("DE", "BE", (date(2026, 12, 31),), "2026-12-31", "next opening 2027-01-04 08:00 UTC"),
    ],
)
def test_holidays_are_closed(country: str, subdivision: str, dates: tuple[date, ...], day: str, said: str) -> None:
    hours = replace(WORK, country=country, subdivision=subdivision, dates=dates)
    noon = at(f"{day}T12:00:00+01:00")
    found = closed(Rules(business_hours=(hours,)), "prod", "", noon, noon)
    assert (len(found), said in " ".join(found)) == (bool(said), True), found


@pytest.mark.parametrize(
    ("days", "start", "end", "said"),
    [
        # hours until midnight go on where the next day is open, also on the day of 25 hours
        (("sat", "sun"), "2026-10-24T20:00:00+02:00", "2026-10-26T00:00:00+01:00", ""),
        (("sat", "sun"), "2026-10-24T20:00:00+02:00", "2026-10-26T00:00:01+01:00", "end at 2026-10-25 23:00 UTC"),
        (("sat", "mon"), "2026-10-24T20:00:00+02:00", "2026-10-26T08:00:00+01:00", "end at 2026-10-24 22:00 UTC"),
        ((), "2026-10-24T20:00:00+02:00", "2026-10-24T20:00:00+02:00", "next opening not within 400 days"),
        (("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", ""),
    ],
)
def test_whole_days(days: tuple[str, ...], start: str, end: str, said: str) -> None:
    rules = Rules(business_hours=(BusinessHours(zone="Europe/Berlin", days=days),))
    found = closed(rules, "prod", "", at(start), at(end))
    assert (len(found), said in " ".join(found)) == (bool(said), True), found


def test_an_hour_that_the_clocks_leave_out_opens_when_they_have_moved() -> None:
    hours = BusinessHours(zone="Europe/Berlin", days=("sun",), start=time(2, 30), end=time(5))
    rules = Rules(business_hours=(hours,))
    (said,) = closed(rules, "prod", "", at("2026-03-29T00:00:00Z"), at("2026-03-29T00:00:00Z"))
    assert said.endswith("next opening 2026-03-29 01:30 UTC")
    assert closed(rules, "prod", "", at("2026-03-29T01:30:00Z"), at("2026-03-29T03:00:00Z")) == []
