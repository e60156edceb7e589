"""Sign-offs: what they are over, what makes them void, and who may give them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pytest_releasegate.approval import subject
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
    SignOff,
    Status,
    Waiver,
)
from pytest_releasegate.policy import Grant, Person, Profile, Role, Rules
from pytest_releasegate.verdict import phase_verdict, stand

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def planned(name: str, kind: str = "http", severity: Severity = Severity.HIGH, **parameters: Any) -> PlannedGate:
    gate = Gate(
        id=name,
        title=f"gate {name}",
        item=Item("1", "T"),
        phase=Phase.PREDEPLOY,
        severity=severity,
        kind=kind,
        parameters=parameters,
        place=Place("gates/a.yaml"),
    )
    return PlannedGate(gate, f"digest {name}")


ROLES = {
    "manager": Role("manager", "Manager", ("ann", "eve")),
    "lead": Role("lead", "Lead", ("bob", "ann")),
}
RULES = Rules(waive=(Grant(roles=("lead",)),), roles=ROLES)
GATES = (
    planned("1"),
    planned("2"),
    planned("3", "attest", role="lead"),
    planned("S1", "sign_off", role="manager"),
    planned("S2", "sign_off", role="lead"),
)
PLAN = Plan(GATES, "plan", rules=RULES)


def release(**changes: Any) -> Release:
    whole: dict[str, Any] = {"product": "shop", "version": "1.4.0", "environment": "prod", "opened_at": NOW - 9 * HOUR}
    return Release(**whole | changes)


def looked(name: str, status: Status = Status.PASSED, at: datetime = NOW - 3 * HOUR, number: int = 0) -> Result:
    return Result(gate=name, status=status, started_at=at, gate_digest=f"digest {name}", id=number)


WORD = Attestation(
    gate="3", status=Status.PASSED, gate_digest="digest 3", person="bob", role="lead", at=NOW - 3 * HOUR, identity="w1"
)
ROWS = [looked("1"), looked("2")]


def signed(
    role: str, person: str, plan: Plan = PLAN, rows: Any = ROWS, words: Any = (WORD,), **changes: Any
) -> SignOff:
    """What `person` signs when things stand so."""
    standings = stand(plan, rows, Claims.of(words), release(), NOW - 2 * HOUR)
    whole: dict[str, Any] = {
        "phase": Phase.PREDEPLOY,
        "decision": "GO",
        "plan_digest": plan.digest,
        "policy_digest": plan.rules.digest if plan.rules else "",
        "subject": subject(Phase.PREDEPLOY, standings),
        "person": person,
        "role": role,
        "at": NOW - 2 * HOUR,
        "key": "SHA256:key",
        "identity": f"{role} {person}",
    }
    return SignOff(**whole | changes)


BOTH = (signed("manager", "eve"), signed("lead", "bob"))


def stood(
    *said: Any, plan: Plan = PLAN, rows: Any = ROWS, words: Any = (WORD,), now: datetime = NOW, **facts: Any
) -> dict[str, Any]:
    return stand(plan, rows, Claims.of((*words, *said)), release(**facts), now)


def word_of(standings: dict[str, Any]) -> Decision:
    return phase_verdict(Phase.PREDEPLOY, standings, release()).decision


def test_all_roles_signed_is_go_and_each_one_missing_is_hold_with_its_command() -> None:
    assert word_of(stood(*BOTH)) is Decision.GO
    for left in BOTH:
        standings = stood(left)
        (missing,) = [row for row in standings.values() if row.status is Status.PENDING]
        verdict = phase_verdict(Phase.PREDEPLOY, standings, release())
        assert verdict.decision is Decision.HOLD
        role = missing.gate.parameters["role"]
        assert missing.reason == f"{role} must sign: releasegate sign {role}"
        assert [reason.gate for reason in verdict.reasons] == [missing.gate.id]


def test_it_is_over_each_gate_but_the_sign_offs_with_status_and_claims() -> None:
    assert BOTH[0].subject == {"1": ("passed",), "2": ("passed",), "3": ("attested", "w1")}


def test_looking_again_with_the_same_status_voids_nothing() -> None:
    again = [*ROWS, looked("1", at=NOW - HOUR, number=9)]
    assert word_of(stood(*BOTH, rows=again)) is Decision.GO


WAIVER = Waiver(
    gate="2",
    reason="r",
    expires_at=NOW + HOUR,
    gate_digest="digest 2",
    person="bob",
    role="lead",
    at=NOW - HOUR,
    identity="v1",
)
OTHER_WORD = replace(WORD, identity="w2", at=NOW - HOUR)
FAILED = [looked("1"), looked("2", Status.FAILED, at=NOW - HOUR, number=9)]
VOID: dict[str, tuple[dict[str, Any], list[Any], str]] = {
    "a gate failed": ({"rows": FAILED}, [], "2 was passed and is failed"),
    "a gate failed and was waived": ({"rows": FAILED}, [WAIVER], "2 was passed and is waived"),
    "a gate is gone from the record": ({"rows": ROWS[:1]}, [], "2 was passed and is missing"),
    "a word was taken back": (
        {},
        [Revocation(claim="w1", reason="r", person="bob", role="lead", at=NOW, identity="r1")],
        "3 was attested and is pending",
    ),
    "a gate rests on another word": ({}, [OTHER_WORD], "3 rests on another word than it did"),
    "the plan changed": ({"plan": replace(PLAN, digest="plan 2")}, [], "the plan has changed since"),
    "the policy changed": (
        {"plan": replace(PLAN, rules=replace(RULES, attest=(Grant(roles=("lead",)),)))},
        [],
        "the policy has changed since",
    ),
    "a gate came": (
        {"plan": replace(PLAN, gates=(*GATES, planned("9"))), "rows": [*ROWS, looked("9")]},
        [],
        "9 was not in it",
    ),
}


@pytest.mark.parametrize(("changed", "said", "told"), VOID.values(), ids=VOID)
def test_what_gets_worse_voids_it_and_is_named(changed: dict[str, Any], said: list[Any], told: str) -> None:
    standings = stood(*BOTH, *said, **changed)
    assert standings["S1"].status is Status.PENDING
    assert told in standings["S1"].reason
    assert "manager must sign anew: releasegate sign manager" in standings["S1"].reason
    assert word_of(standings) is not Decision.GO


def test_what_gets_better_voids_nothing() -> None:
    failed = [looked("1"), looked("2", Status.FAILED)]
    waived = signed("lead", "bob", rows=failed, words=(WORD, replace(WAIVER, at=NOW - 3 * HOUR)))
    assert waived.subject["2"] == ("waived", "v1")
    rows = stood(waived, replace(WAIVER, at=NOW - 3 * HOUR))
    assert rows["2"].status is Status.PASSED
    assert rows["S2"].status is Status.ATTESTED


REFUSED: dict[str, tuple[SignOff, str]] = {
    "without a key": (replace(BOTH[0], key=""), "it is not signed"),
    "with a wrong signature": (replace(BOTH[0], flaw="its signature is wrong: x"), "its signature is wrong: x"),
    "by no holder of the role": (signed("manager", "mallory"), "mallory"),
    "on a decision that is not GO": (replace(BOTH[0], decision="HOLD"), "it was given on HOLD"),
}


@pytest.mark.parametrize(("signature", "told"), REFUSED.values(), ids=REFUSED)
def test_a_signature_that_does_not_count(signature: SignOff, told: str) -> None:
    row = stood(signature, BOTH[1])["S1"]
    assert row.status is Status.PENDING
    assert told in row.reason


def test_one_person_signs_for_one_role() -> None:
    ann = [replace(signed(role, "ann"), at=NOW - HOUR) for role in ("manager", "lead")]
    standings = stood(*ann)
    assert standings["S1"].status is Status.ATTESTED
    assert standings["S2"].status is Status.PENDING
    assert "ann has signed as manager already" in standings["S2"].reason
    assert stood(*ann, BOTH[1])["S2"].sign_off == BOTH[1]


@pytest.mark.parametrize("may", [True, False])
def test_who_wrote_the_release_signs_it_only_where_the_policy_lets_them(may: bool) -> None:
    plan = replace(PLAN, rules=replace(RULES, authors_may_sign=may))
    said = [signed("manager", "eve", plan), signed("lead", "bob", plan)]
    row = stood(*said, plan=plan, authors=("eve",))["S1"]
    assert row.status is (Status.ATTESTED if may else Status.PENDING)
    assert ("eve wrote part of this release" in row.reason) is not may


@pytest.mark.parametrize(
    ("holder", "person"),
    [("Eve@EHR.example", Person("Eve@EHR.example")), ("eve", Person("eve", email="Eve@ehr.example"))],
)
def test_an_author_is_known_by_any_spelling_and_by_the_mail_address(holder: str, person: Person) -> None:
    roles = {"manager": Role("manager", "Manager", (holder,)), "lead": ROLES["lead"]}
    rules = replace(RULES, roles=roles, people={holder: person}, authors_may_sign=False)
    plan = replace(PLAN, rules=rules)
    said = signed("manager", holder, plan)
    assert stood(said, plan=plan, authors=("eve@ehr.example",))["S1"].status is Status.PENDING
    assert stood(said, plan=plan, authors=("bob@ehr.example",))["S1"].status is Status.ATTESTED


def test_a_person_in_two_spellings_signs_for_one_role() -> None:
    roles = {"manager": Role("manager", "", ("ann@ehr.example",)), "lead": Role("lead", "", ("Ann@ehr.example",))}
    plan = replace(PLAN, rules=replace(RULES, roles=roles))
    word = replace(WORD, person="Ann@ehr.example")
    both = [signed("manager", "ann@ehr.example", plan, words=[word]), signed("lead", word.person, plan, words=[word])]
    rows = stood(*both, plan=plan, words=[word])
    assert [rows["S1"].status, rows["S2"].status] == [Status.ATTESTED, Status.PENDING]


def test_a_revoked_signature_is_gone_and_a_new_one_counts() -> None:
    taken = Revocation(
        claim="manager eve", reason="r", person="eve", role="manager", at=NOW - HOUR, identity="r", key="SHA256:key"
    )
    assert stood(*BOTH, taken)["S1"].status is Status.PENDING
    anew = replace(BOTH[0], at=NOW, identity="anew")
    assert stood(*BOTH, taken, anew)["S1"].sign_off == anew


def test_a_profile_names_its_own_approvers() -> None:
    hotfix = Profile(name="hotfix", approved_by=("lead",))
    plan = replace(PLAN, rules=replace(RULES, profiles={"hotfix": hotfix}))
    standings = stood(signed("lead", "bob", plan), plan=plan, profile="hotfix")
    assert standings["S1"].status is Status.NOT_APPLICABLE
    assert standings["S2"].status is Status.ATTESTED


@pytest.mark.parametrize(
    ("grant", "held"),
    [
        (Grant(gates=("S1",), roles=("manager",)), True),
        (Grant(gates=("S1",), roles=("lead",)), False),
        (Grant(phases=("review",), roles=("other",)), True),
        (Grant(phases=("predeploy",), roles=("manager",)), False),
        (Grant(roles=("manager", "lead")), True),
    ],
)
def test_a_rule_of_sign_narrows_the_sign_offs_that_it_selects_and_no_others(grant: Grant, held: bool) -> None:
    plan = replace(PLAN, rules=replace(RULES, sign=(grant,)))
    both = signed("manager", "eve", plan), signed("lead", "bob", plan)
    assert (word_of(stood(*both, plan=plan)) is Decision.GO) is held
