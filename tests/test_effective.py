"""Every status against every waiver, word, fact and age, and the effective status that each must have."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_releasegate.model import (
    Attestation,
    Claims,
    Decision,
    Gate,
    Item,
    Phase,
    Place,
    Plan,
    PlannedGate,
    Release,
    Result,
    Revocation,
    Severity,
    Status,
    Waiver,
)
from pytest_releasegate.policy import Grant, Profile, Rules
from pytest_releasegate.verdict import decide, stand

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = Rules(waive=(Grant(roles=("lead",)),))
FACTS: dict[str, dict[str, bool]] = {"no fact": {}, "true": {"f": True}, "false": {"f": False}, "undeclared": {}}
AGES = {"fresh": NOW, "stale": NOW - 2 * DAY}
RAW = ("nothing", "passed", "failed", "error", "inconclusive")
WAIVERS = ("none", "live", "expired", "of another commit", "revoked", "of another declaration", "by nobody who may")
WORDS = ("none", "passed", "failed", "not applicable", "expired", "revoked")


def gate_of(kind: str, *, when: str = "", **changes: Any) -> PlannedGate:
    whole: dict[str, Any] = {
        "id": "1",
        "title": "t",
        "item": Item("1", "T"),
        "phase": Phase.PREDEPLOY,
        "severity": Severity.CRITICAL,
        "place": Place("gates/a.yaml"),
    }
    return PlannedGate(Gate(kind=kind, when=when, **whole | changes), "digest")


def release(**changes: Any) -> Release:
    whole: dict[str, Any] = {"product": "shop", "version": "1.4.0", "environment": "prod", "opened_at": NOW - 3 * DAY}
    return Release(git_commit="abc", **whole | changes)


def waiver(kind: str, gate: str = "1") -> list[Waiver | Revocation]:
    made = Waiver(
        gate=gate,
        reason="r",
        expires_at=NOW + DAY,
        gate_digest="digest",
        person="ann",
        role="lead",
        at=NOW - DAY,
        identity=f"waiver {gate}",
    )
    changed: dict[str, dict[str, Any]] = {
        "expired": {"expires_at": NOW},
        "of another commit": {"git_commit": "xyz"},
        "of another declaration": {"gate_digest": "other"},
        "by nobody who may": {"role": "intern"},
    }
    if kind == "none":
        return []
    taken = Revocation(claim=made.identity, reason="r", person="ann", role="lead", at=NOW, identity="taken back")
    return [replace(made, **changed.get(kind, {})), *([taken] if kind == "revoked" else [])]


def word(kind: str) -> list[Attestation | Revocation]:
    if kind == "none":
        return []
    said = {"failed": Status.FAILED, "not applicable": Status.NOT_APPLICABLE}.get(kind, Status.PASSED)
    made = Attestation(
        gate="1", status=said, gate_digest="digest", person="bob", role="dba", at=NOW - DAY / 2, identity="word"
    )
    if kind == "expired":
        return [replace(made, expires_at=NOW - DAY / 4)]
    taken = Revocation(claim="word", reason="r", person="bob", role="dba", at=NOW, identity="taken back")
    return [made, *([taken] if kind == "revoked" else [])]


def results(raw: str, age: str) -> list[Result]:
    if raw == "nothing":
        return []
    return [Result(gate="1", status=Status(raw), started_at=AGES[age], gate_digest="digest")]


def effective(planned: PlannedGate, rows: list[Result], claims: list[Any], facts: dict[str, bool]) -> Status:
    plan = Plan((planned,), "plan", rules=RULES)
    return stand(plan, rows, Claims.of(claims), release(facts=facts), NOW)["1"].status


LOOKED = {
    ("nothing", "fresh"): Status.MISSING,
    ("nothing", "stale"): Status.MISSING,
    ("passed", "fresh"): Status.PASSED,
    ("passed", "stale"): Status.MISSING,
    ("failed", "fresh"): Status.FAILED,
    ("failed", "stale"): Status.FAILED,
    ("error", "fresh"): Status.ERROR,
    ("error", "stale"): Status.ERROR,
    ("inconclusive", "fresh"): Status.INCONCLUSIVE,
    ("inconclusive", "stale"): Status.INCONCLUSIVE,
}
"""What a gate that is looked at is without a waiver; a person's word is nothing to it."""
SPOKEN = {
    "none": Status.PENDING,
    "passed": Status.ATTESTED,
    "failed": Status.FAILED,
    "not applicable": Status.NOT_APPLICABLE,
    "expired": Status.PENDING,
    "revoked": Status.PENDING,
}
"""What a gate that a person answers is without a waiver; a look is nothing to it."""
BY_FACT = {"undeclared": Status.PENDING, "false": Status.NOT_APPLICABLE}


def named(*parts: str) -> str:
    return ", ".join(parts)


EVERY = list(itertools.product(RAW, WAIVERS, WORDS))


@pytest.mark.parametrize(("raw", "accepted", "said"), EVERY, ids=[named(*each) for each in EVERY])
@pytest.mark.parametrize("kind", ["http", "attest"])
def test_effective_status_with_every_fact_and_age(kind: str, raw: str, accepted: str, said: str) -> None:
    claims, seen, expected = [*waiver(accepted), *word(said)], {}, {}
    for fact, age in itertools.product(FACTS, AGES):
        planned = gate_of(kind, when="" if fact == "no fact" else "f", valid_for=DAY if kind == "http" else None)
        own = LOOKED[raw, age] if kind == "http" else SPOKEN[said]
        accepts = own is Status.FAILED and accepted == "live"
        expected[fact, age] = BY_FACT.get(fact, Status.WAIVED if accepts else own)
        seen[fact, age] = effective(planned, results(raw, age), claims, FACTS[fact])
    assert seen == expected


@pytest.mark.parametrize("accepted", WAIVERS)
def test_the_raw_status_stays_whatever_is_accepted(accepted: str) -> None:
    plan = Plan((gate_of("http"),), "plan", rules=RULES)
    row = stand(plan, results("failed", "fresh"), Claims.of(waiver(accepted)), release(), NOW)["1"]
    assert row.raw is Status.FAILED
    assert (row.status is Status.WAIVED) is (accepted == "live")


def test_a_waiver_that_does_not_count_is_told_with_the_failure() -> None:
    plan = Plan((gate_of("http"),), "plan", rules=RULES)
    told = {
        kind: stand(plan, results("failed", "fresh"), Claims.of(waiver(kind)), release(), NOW)["1"].reason
        for kind in ("live", "expired", "by nobody who may")
    }
    assert "ann (lead) until 2026-01-06 09:00 UTC: r" in told["live"]
    assert "ann's waiver expired 2026-01-05 09:00 UTC" in told["expired"]
    assert "ann's waiver does not count: " in told["by nobody who may"]


def test_without_a_policy_nobody_may_waive() -> None:
    plan = Plan((gate_of("http"),), "plan")
    rows = stand(plan, results("failed", "fresh"), Claims.of(waiver("live")), release(), NOW)
    assert rows["1"].status is Status.FAILED


def test_a_waiver_before_the_deployment_had_to_hold_then_and_not_for_ever() -> None:
    plan, made = Plan((gate_of("http"),), "plan", rules=RULES), waiver("live")
    failed = results("failed", "fresh")
    shipped = release(deployed_at=NOW + DAY / 2)
    assert stand(plan, failed, Claims.of(made), shipped, NOW + 9 * DAY)["1"].status is Status.WAIVED
    assert stand(plan, failed, Claims.of(made), release(), NOW + 9 * DAY)["1"].status is Status.FAILED
    late = release(deployed_at=NOW + 2 * DAY)
    assert stand(plan, failed, Claims.of(made), late, NOW + 9 * DAY)["1"].status is Status.FAILED


def test_a_word_of_the_future_does_not_count_and_neither_takes_another_back() -> None:
    made, taken = waiver("revoked")
    plan, failed = Plan((gate_of("http"),), "plan", rules=RULES), results("failed", "fresh")
    later = replace(taken, at=NOW + DAY)
    assert stand(plan, failed, Claims.of([made, later]), release(), NOW)["1"].status is Status.WAIVED
    early = replace(made, at=NOW + DAY)
    assert stand(plan, failed, Claims.of([early]), release(), NOW)["1"].status is Status.FAILED


def test_only_its_speaker_or_one_who_may_say_such_a_thing_takes_a_word_back() -> None:
    made, taken = waiver("revoked")
    plan, failed = Plan((gate_of("http"),), "plan", rules=RULES), results("failed", "fresh")
    statuses = {
        (person, role): stand(
            plan, failed, Claims.of([made, replace(taken, person=person, role=role)]), release(), NOW
        )["1"].status
        for person, role in (("ann", "none"), ("eve", "lead"), ("eve", "intern"))
    }
    assert statuses == {
        ("ann", "none"): Status.FAILED,
        ("eve", "lead"): Status.FAILED,
        ("eve", "intern"): Status.WAIVED,
    }


GATES = tuple(
    replace(gate_of(kind, id=name, severity=severity), digest="digest")
    for name, kind, severity in (
        ("1", "http", Severity.CRITICAL),
        ("2", "http", Severity.LOW),
        ("3", "attest", Severity.HIGH),
        ("4", "http", Severity.HIGH),
    )
)
PLAN = Plan(GATES, "plan", rules=RULES)
NAMES = st.sampled_from("1234")
SAID = st.lists(
    st.one_of(
        st.builds(
            Waiver,
            gate=NAMES,
            reason=st.just("r"),
            expires_at=st.sampled_from([NOW - DAY, NOW + DAY]),
            gate_digest=st.just("digest"),
            git_commit=st.sampled_from(["", "abc", "xyz"]),
            person=st.sampled_from(["ann", "eve"]),
            role=st.sampled_from(["lead", "intern"]),
            at=st.sampled_from([NOW - DAY, NOW - DAY / 2]),
        ),
        st.builds(
            Attestation,
            gate=NAMES,
            status=st.sampled_from([Status.PASSED, Status.FAILED, Status.NOT_APPLICABLE]),
            gate_digest=st.just("digest"),
            person=st.sampled_from(["bob", "eve"]),
            role=st.just("dba"),
            at=st.sampled_from([NOW - DAY, NOW - DAY / 2]),
            expires_at=st.sampled_from([None, NOW - DAY / 4]),
        ),
        st.builds(
            Revocation,
            claim=st.integers(0, 7).map(str),
            reason=st.just("r"),
            person=st.sampled_from(["ann", "bob", "eve"]),
            role=st.sampled_from(["lead", "dba", "intern"]),
            at=st.just(NOW),
        ),
    ),
    max_size=8,
)
ROWS = st.lists(
    st.builds(
        Result,
        gate=NAMES,
        status=st.sampled_from([Status.PASSED, Status.PASSED, Status.FAILED, Status.ERROR]),
        started_at=st.just(NOW),
        gate_digest=st.just("digest"),
    ),
    max_size=8,
)


def identified(said: list[Any]) -> list[Any]:
    return [replace(claim, identity=str(number)) for number, claim in enumerate(said)]


def decision(rows: list[Result], said: list[Any], plan: Plan = PLAN) -> Decision:
    return decide(stand(plan, rows, Claims.of(said), release(), NOW).values()).decision


@settings(deadline=None)
@given(rows=ROWS, said=SAID, seed=st.randoms())
def test_no_order_of_claims_changes_a_verdict(rows: list[Result], said: list[Any], seed: Any) -> None:
    known = identified(said)
    mixed = known.copy()
    seed.shuffle(mixed)
    one, other = (stand(PLAN, rows, Claims.of(claims), release(), NOW) for claims in (known, mixed))
    assert one == other


@settings(deadline=None)
@given(rows=ROWS, said=SAID)
def test_a_word_said_twice_is_one_word(rows: list[Result], said: list[Any]) -> None:
    known = identified(said)
    assert decision(rows, known) is decision(rows, [*known, *known])


@settings(deadline=None)
@given(rows=ROWS, said=SAID, gate=NAMES)
def test_no_removed_row_or_word_of_a_gate_gives_go(rows: list[Result], said: list[Any], gate: str) -> None:
    fewer_rows = [row for row in rows if row.gate != gate]
    fewer_words = [claim for claim in identified(said) if getattr(claim, "gate", "") != gate]
    assert decision(fewer_rows, fewer_words) is not Decision.GO


@settings(deadline=None)
@given(rows=ROWS, said=SAID, number=st.integers(0, 7))
def test_no_removed_waiver_makes_a_verdict_better(rows: list[Result], said: list[Any], number: int) -> None:
    known = identified(said)
    if number >= len(known) or not isinstance(known[number], Waiver):
        return
    fewer = [claim for claim in known if claim is not known[number]]
    assert decision(rows, fewer).rank >= decision(rows, known).rank


@settings(deadline=None)
@given(rows=ROWS, said=SAID)
def test_go_rests_on_a_pass_a_word_or_a_live_waiver_for_every_gate(rows: list[Result], said: list[Any]) -> None:
    standings = stand(PLAN, rows, Claims.of(identified(said)), release(), NOW)
    if decide(standings.values()).decision is not Decision.GO:
        return
    for row in standings.values():
        spoken = row.attestation if row.gate.kind == "attest" else None
        waived = row.waiver is not None and row.waiver.expires_at > NOW and row.waiver.role == "lead"
        assert row.status in {Status.PASSED, Status.ATTESTED, Status.WAIVED, Status.NOT_APPLICABLE}
        assert spoken is not None or waived or any(result.status is Status.PASSED for result in row.results)


@pytest.mark.parametrize("other", ["missing", "error", "inconclusive", "passed"])
def test_a_waiver_accepts_the_case_that_failed_and_none_that_nobody_could_tell(other: str) -> None:
    planned = replace(gate_of("test"), cases=("a", "b"))
    states = {"a": Status.FAILED} | ({} if other == "missing" else {"b": Status(other)})
    rows = [
        Result(gate="1", case=case, status=status, started_at=NOW, gate_digest="digest")
        for case, status in states.items()
    ]
    expected = Status.WAIVED if other == "passed" else Status(other)
    assert effective(planned, rows, waiver("live"), {}) is expected


def under_hotfix(planned: PlannedGate, rows: list[Result], claims: list[Any]) -> Status:
    """Where the gate stands under a profile that puts it off."""
    plan = Plan((planned,), "plan", rules=replace(RULES, profiles={"hotfix": Profile(name="hotfix")}))
    return stand(plan, rows, Claims.of(claims), release(profile="hotfix"), NOW)["1"].status


@pytest.mark.parametrize("later", ["error", "inconclusive"])
@pytest.mark.parametrize(("first", "expected"), [("failed", None), ("passed", Status.NOT_DUE)])
def test_a_profile_does_not_put_off_a_failure_that_a_later_look_could_not_tell(
    later: str, first: str, expected: Status | None
) -> None:
    rows = [*results(first, "stale"), *results(later, "fresh")]
    assert under_hotfix(gate_of("http"), rows, []) is (expected or Status(later))


def test_a_profile_does_not_put_off_what_a_person_said_has_failed_once_the_word_expires() -> None:
    asked = gate_of("attest", parameters={"role": "dba"})
    failed = [replace(each, expires_at=NOW - DAY / 4) for each in word("failed") if isinstance(each, Attestation)]
    assert under_hotfix(asked, [], failed) is Status.PENDING
    assert under_hotfix(asked, [], word("expired")) is Status.NOT_DUE


@pytest.mark.parametrize("status", ["not_due", "waived", "attested", "inconclusive", "pending", "missing", "error"])
def test_a_word_of_a_status_that_nobody_can_say_does_not_count(status: str) -> None:
    said = [replace(each, status=Status(status)) for each in word("passed") if isinstance(each, Attestation)]
    assert effective(gate_of("attest", parameters={"role": "dba"}), [], said, {}) is Status.PENDING


@pytest.mark.parametrize(
    ("said", "evidence", "expected"),
    [
        ("passed", "", Status.PENDING),
        ("passed", "  ", Status.PENDING),
        ("passed", "https://tickets.example.com/1", Status.ATTESTED),
        ("not applicable", "", Status.PENDING),
        ("failed", "", Status.FAILED),
    ],
)
def test_a_word_without_the_evidence_that_the_gate_asks_for_does_not_count(
    said: str, evidence: str, expected: Status
) -> None:
    asked = gate_of("attest", parameters={"role": "dba", "evidence": "required"})
    words = [replace(each, evidence=evidence) for each in word(said) if isinstance(each, Attestation)]
    assert effective(asked, [], words, {}) is expected


@pytest.mark.parametrize("reason", ["", " \n"])
def test_a_waiver_without_a_reason_accepts_nothing(reason: str) -> None:
    blank = [replace(each, reason=reason) for each in waiver("live")]
    assert effective(gate_of("http"), results("failed", "fresh"), blank, {}) is Status.FAILED


@pytest.mark.parametrize(
    ("phase", "step", "hours", "expected"),
    [
        (Phase.PREDEPLOY, "", 12, Status.WAIVED),
        (Phase.PREDEPLOY, "", 36, Status.FAILED),
        (Phase.DEPLOY, "before", 36, Status.FAILED),
        (Phase.DEPLOY, "after", 36, Status.WAIVED),
        (Phase.DEPLOY, "after", 12, Status.WAIVED),
        (Phase.COMPLIANCE, "", 12, Status.WAIVED),
    ],
)
def test_a_waiver_after_the_deployment_does_not_accept_what_had_to_hold_before_it(
    phase: Phase, step: str, hours: int, expected: Status
) -> None:
    """It was given 24 hours ago; the deployment was so many hours ago."""
    planned = gate_of("http", phase=phase, step=step)
    at = NOW - timedelta(hours=hours)
    looked = at - DAY if expected is Status.FAILED or phase is Phase.PREDEPLOY else NOW
    rows = [Result(gate="1", status=Status.FAILED, started_at=looked, gate_digest="digest")]
    row = stand(Plan((planned,), "plan", rules=RULES), rows, Claims.of(waiver("live")), release(deployed_at=at), NOW)[
        "1"
    ]
    assert row.status is expected
    assert ("waiver came after the deployment" in row.reason) is (expected is Status.FAILED)


def test_what_must_be_signed_is_taken_back_only_by_a_signature() -> None:
    made, taken = waiver("revoked")
    plan = Plan((gate_of("http"),), "plan", rules=replace(RULES, signed=frozenset({"waiver"})))
    failed, key = results("failed", "fresh"), "SHA256:key"
    statuses = [
        stand(plan, failed, Claims.of([replace(made, key=key), one]), release(), NOW)["1"].status
        for one in (taken, replace(taken, key=key))
    ]
    assert statuses == [Status.WAIVED, Status.FAILED]
