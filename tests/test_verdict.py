"""The verdict: every status, severity, trigger and observation; phases; validity; and what no result can do."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_releasegate.model import (
    NEEDS_DEPLOYMENT,
    PREDECESSORS,
    STEPS,
    Attestation,
    Claims,
    Decision,
    Finding,
    Gate,
    Item,
    Ok,
    Phase,
    Place,
    Plan,
    PlannedGate,
    Release,
    Result,
    Severity,
    Status,
    StepEvent,
)
from pytest_releasegate.verdict import (
    EXIT_CODES,
    PRECEDENCE,
    UNDEPLOYED,
    Standing,
    closable,
    closed_steps,
    decide,
    due_steps,
    is_final,
    phase_verdict,
    stand,
)

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOLDING = (Status.ERROR, Status.INCONCLUSIVE, Status.MISSING, Status.PENDING)
GOOD = (Status.PASSED, Status.ATTESTED)
NEUTRAL = (Status.WAIVED, Status.NOT_DUE, Status.NOT_APPLICABLE)


def planned(gate: str = "1", cases: tuple[str, ...] = ("",), **changes: Any) -> PlannedGate:
    whole: dict[str, Any] = {
        "title": "t",
        "item": Item("1", "T"),
        "phase": Phase.PREDEPLOY,
        "severity": Severity.CRITICAL,
        "kind": "http",
        "place": Place("gates/a.yaml"),
    }
    return PlannedGate(Gate(id=gate, **whole | changes), f"digest of {gate}", cases)


def plan_of(*gates: PlannedGate) -> Plan:
    return Plan(gates, "digest")


def release(**changes: Any) -> Release:
    whole: dict[str, Any] = {"product": "shop", "version": "1.4.0", "environment": "prod", "opened_at": NOW - HOUR}
    return Release(**whole | changes)


SHIPPED = release(deployed_at=NOW - HOUR)


def result(status: Status = Status.PASSED, gate: str = "1", **changes: Any) -> Result:
    whole: dict[str, Any] = {"started_at": NOW, "gate_digest": f"digest of {gate}"}
    return Result(gate=gate, status=status, **whole | changes)


def word(status: Status = Status.PASSED, gate: str = "1", **changes: Any) -> Attestation:
    whole: dict[str, Any] = {"person": "ann@example.com", "role": "lead", "at": NOW, "gate_digest": f"digest of {gate}"}
    return Attestation(gate=gate, status=status, **whole | changes)


def stood(gate: PlannedGate, *results: Result, words: Any = (), now: datetime = NOW, **facts: Any) -> Standing:
    return stand(plan_of(gate), results, Claims.of(words), release(**facts), now)["1"]


def row(status: Status, **changes: Any) -> Standing:
    return Standing(planned=planned(**changes), status=status, raw=status)


def weighed(status: Status, severity: Severity, *, trigger: bool, observe: bool) -> Decision:
    """The table of the design, written out on its own."""
    if observe:
        return Decision.GO
    if status is Status.FAILED and trigger and severity is not Severity.LOW:
        return Decision.ROLLBACK
    if status is Status.FAILED:
        return Decision.NO_GO if severity in {Severity.CRITICAL, Severity.HIGH} else Decision.HOLD
    return Decision.HOLD if status in HOLDING else Decision.GO


@pytest.mark.parametrize(
    ("status", "severity", "trigger", "observe"),
    list(itertools.product(Status, Severity, [True, False], [True, False])),
)
def test_every_row_beside_one_that_passed(status: Status, severity: Severity, trigger: bool, observe: bool) -> None:
    rows = [row(Status.PASSED, gate="0"), row(status, severity=severity, trigger=trigger, observe=observe)]
    verdict = decide(rows)
    expected = weighed(status, severity, trigger=trigger, observe=observe)
    assert verdict.decision is expected
    assert [reason.gate for reason in verdict.reasons] == ([] if expected is Decision.GO else ["1"])
    assert all(reason.text and reason.decision is expected for reason in verdict.reasons)
    assert verdict.exit_code == EXIT_CODES[expected]


@pytest.mark.parametrize("status", NEUTRAL)
def test_go_needs_one_that_passed_or_was_attested(status: Status) -> None:
    alone = decide([row(status)])
    assert alone.decision is Decision.HOLD
    assert [reason.text for reason in alone.reasons] == ["nothing was looked at: no gate passed and none was attested"]
    for good in GOOD:
        assert decide([row(status), row(good)]).decision is Decision.GO


@pytest.mark.parametrize("other", Status)
def test_one_of_the_alternatives_must_hold(other: Status) -> None:
    beside = row(Status.PASSED, gate="0")
    pair = [row(Status.FAILED, gate="1", alternatives="way"), row(other, gate="2", alternatives="way")]
    held = other in GOOD
    verdict = decide([beside, *pair])
    mildest = Decision.GO if held else Decision.NO_GO if other is Status.FAILED else Decision.HOLD
    if other in NEUTRAL:  # it neither holds nor is in the way: the other one decides
        mildest = Decision.NO_GO
    assert verdict.decision is mildest
    assert all("no alternative holds: predeploy way" in reason.text for reason in verdict.reasons)
    assert decide([*pair, row(Status.FAILED, gate="3")]).decision is Decision.NO_GO


def test_alternatives_of_another_name_are_no_help() -> None:
    rows = [row(Status.PASSED, gate="1", alternatives="a"), row(Status.FAILED, gate="2", alternatives="b")]
    assert decide(rows).decision is Decision.NO_GO
    rows = [row(Status.PASSED, gate="1", alternatives="a"), row(Status.FAILED, gate="2", alternatives="a")]
    rows[0] = replace(rows[0], planned=planned("1", alternatives="a", phase=Phase.REVIEW))
    assert decide(rows).decision is Decision.NO_GO


def test_no_gates_hold() -> None:
    assert decide([]).decision is Decision.HOLD
    assert all(phase_verdict(phase, {}, SHIPPED).decision is Decision.HOLD for phase in Phase)
    assert stand(Plan((), "d"), [result()], Claims((word(),)), release(), NOW) == {}


@pytest.mark.parametrize("status", Status)
def test_observed_gates_alone_never_go(status: Status) -> None:
    assert decide([row(status, observe=True)]).decision is Decision.HOLD


def test_reasons_come_worst_first() -> None:
    rows = [
        row(Status.MISSING, gate="a"),
        row(Status.FAILED, gate="b"),
        row(Status.FAILED, gate="c", trigger=True),
        row(Status.FAILED, gate="d", severity=Severity.LOW),
        row(Status.PASSED, gate="e"),
    ]
    verdict = decide(rows)
    assert [(reason.gate, reason.decision) for reason in verdict.reasons] == [
        ("c", Decision.ROLLBACK),
        ("b", Decision.NO_GO),
        ("a", Decision.HOLD),
        ("d", Decision.HOLD),
    ]
    assert verdict.decision is Decision.ROLLBACK


def test_gate_without_a_row_is_missing() -> None:
    standing = stood(planned())
    assert (standing.status, standing.reason, standing.results) == (Status.MISSING, "not looked at", ())


@pytest.mark.parametrize("status", [Status.PASSED, Status.FAILED, Status.ERROR, Status.INCONCLUSIVE])
def test_newest_result_of_a_case_counts(status: Status) -> None:
    older = [result(other, started_at=NOW - HOUR) for other in (Status.PASSED, Status.FAILED, Status.ERROR)]
    standing = stood(planned(), *older, result(status))
    assert (standing.status, standing.raw, standing.results) == (status, status, (result(status),))


def test_all_pairs_of_cases_give_the_worst() -> None:
    seen = [Status.PASSED, Status.FAILED, Status.ERROR, Status.INCONCLUSIVE, Status.PENDING]
    for one, other in itertools.product(seen, repeat=2):
        standing = stood(planned(cases=("a", "b")), result(one, case="a"), result(other, case="b"))
        assert standing.status is min(one, other, key=PRECEDENCE.index)


def test_precedence_holds_every_status_once() -> None:
    assert sorted(PRECEDENCE) == sorted(Status)


def test_absent_case_is_missing() -> None:
    standing = stood(planned(cases=("a", "b")), result(case="a"))
    assert (standing.status, standing.results) == (Status.MISSING, (result(case="a"),))
    assert decide([standing]).decision is Decision.HOLD


def test_case_that_is_not_in_the_plan_can_only_harm() -> None:
    gate = planned(cases=("a",))
    assert stood(gate, result(case="x")).status is Status.MISSING
    assert stood(gate, result(case="a"), result(Status.FAILED, case="x")).status is Status.FAILED
    assert stood(gate, result(case="a"), result(case="x")).status is Status.PASSED


def test_result_of_another_declaration_does_not_count() -> None:
    standing = stood(planned(), result(gate_digest="of yesterday"))
    assert standing.status is Status.MISSING
    assert standing.reason == "looked at, but not as declared now"
    assert stood(planned(), result(Status.FAILED, gate_digest="old"), result()).status is Status.PASSED


def test_pass_holds_as_long_as_it_is_valid() -> None:
    gate = planned(valid_for=HOUR)
    assert stood(gate, result(started_at=NOW - HOUR)).status is Status.PASSED
    stale = stood(gate, result(started_at=NOW - HOUR - timedelta(seconds=1)))
    assert (stale.status, stale.raw) == (Status.MISSING, Status.PASSED)
    assert stale.reason == "stale: passed 2026-01-05 07:59 UTC, valid for 1:00:00"
    assert stood(gate, result(Status.FAILED, started_at=NOW - 9 * HOUR)).status is Status.FAILED
    assert stood(planned(), result(started_at=NOW - 9000 * HOUR)).status is Status.PASSED


def test_validity_before_the_deployment_is_asked_at_the_deployment() -> None:
    gate = planned(valid_for=HOUR)
    assert stood(gate, result(started_at=NOW - 3 * HOUR), deployed_at=NOW - 2 * HOUR).status is Status.PASSED
    assert stood(gate, result(started_at=NOW - 4 * HOUR), deployed_at=NOW - 2 * HOUR).status is Status.MISSING
    after = planned(valid_for=HOUR, phase=Phase.POSTDEPLOY)
    assert stood(after, result(started_at=NOW - 2 * HOUR), deployed_at=NOW - 3 * HOUR).status is Status.MISSING


@pytest.mark.parametrize(
    ("phase", "step", "early", "late"),
    [
        (Phase.PREDEPLOY, "", True, False),
        (Phase.DEPLOY, "before", True, False),
        (Phase.DEPLOY, "migrate", False, True),
        (Phase.DEPLOY, "after", False, True),
        (Phase.POSTDEPLOY, "", False, True),
        (Phase.DAY1, "", False, True),
        (Phase.REVIEW, "", False, True),
        (Phase.COMPLIANCE, "", True, True),
        (Phase.BACKFILL, "before", True, True),
        (Phase.ROLLBACK, "verify", True, True),
    ],
)
def test_looks_on_the_wrong_side_of_the_deployment_do_not_count(
    phase: Phase, step: str, early: bool, late: bool
) -> None:
    gate = planned(phase=phase, step=step)
    second = timedelta(seconds=1)
    for at, counts in ((NOW - second, early), (NOW, True), (NOW + second, late)):
        standing = stood(gate, result(started_at=at), now=NOW + HOUR, deployed_at=NOW)
        assert standing.status is (Status.PASSED if counts else Status.MISSING)
        unknown = stood(gate, result(started_at=at), now=NOW + HOUR).status
        assert unknown is (Status.MISSING if phase in NEEDS_DEPLOYMENT else Status.PASSED)


def test_a_look_from_the_future_does_not_count() -> None:
    for minutes, status in ((-1, Status.PASSED), (5, Status.PASSED), (6, Status.MISSING)):
        seen = result(started_at=NOW + timedelta(minutes=minutes))
        assert stood(planned(valid_for=HOUR), seen).status is status
    said = planned(kind="attest", parameters={"role": "lead"})
    assert stood(said, words=[word(at=NOW + HOUR)]).status is Status.PENDING


def test_a_look_before_it_was_due_does_not_count() -> None:
    gate = planned(phase=Phase.REVIEW, due=48 * HOUR)
    for hours, status in ((1, Status.MISSING), (47, Status.MISSING), (48, Status.PASSED)):
        seen = result(started_at=NOW + hours * HOUR)
        assert stood(gate, seen, now=NOW + 72 * HOUR, deployed_at=NOW).status is status


def test_where_entry_and_clock_disagree_the_worse_look_counts() -> None:
    early_clock = replace(result(Status.FAILED, started_at=NOW - HOUR), id=2)
    fast_clock = replace(result(started_at=NOW), id=1)
    for rows in ((fast_clock, early_clock), (early_clock, fast_clock)):
        assert stood(planned(), *rows).status is Status.FAILED


def test_due() -> None:
    gate = planned(phase=Phase.REVIEW, due=48 * HOUR)
    seen = result(Status.FAILED)
    unknown = stood(gate, seen)
    assert (unknown.status, unknown.reason) == (
        Status.NOT_DUE,
        "counts from the deployment, which is not recorded",
    )
    early = stood(gate, seen, deployed_at=NOW - 47 * HOUR)
    assert (early.status, early.reason) == (Status.NOT_DUE, "due 2026-01-05 10:00 UTC")
    assert stood(gate, seen, deployed_at=NOW - 48 * HOUR).status is Status.FAILED
    assert stood(gate, deployed_at=NOW - 48 * HOUR).status is Status.MISSING


def test_facts() -> None:
    gate = planned(when="maintenance and not hotfix")
    undeclared = stood(gate, result(), facts={"hotfix": False})
    assert (undeclared.status, undeclared.reason) == (
        Status.PENDING,
        "fact `maintenance` is not declared: releasegate fact maintenance=true|false",
    )
    assert stood(gate, result()).reason.startswith("fact `hotfix`, `maintenance` is not declared")
    ruled_out = stood(gate, result(Status.FAILED), facts={"maintenance": True, "hotfix": True})
    assert (ruled_out.status, ruled_out.reason) == (Status.NOT_APPLICABLE, "not `maintenance and not hotfix`")
    assert stood(gate, result(), facts={"maintenance": True, "hotfix": False}).status is Status.PASSED
    assert stood(gate, facts={"maintenance": True, "hotfix": False}).status is Status.MISSING


def test_a_derived_fact_counts_where_none_is_declared_and_contradicts_a_declared_one() -> None:
    gates = plan_of(planned(when="billing"), planned("2"), planned("3", phase=Phase.COMPLIANCE))
    rows = [result(), result(gate="2"), result(gate="3")]

    def verdict(phase: Phase = Phase.PREDEPLOY, **changes: Any) -> Any:
        about = release(**changes)
        return phase_verdict(phase, stand(gates, rows, Claims(), about, NOW), about)

    assert stood(planned(when="billing"), derived={"billing": ""}).status is Status.NOT_APPLICABLE
    assert stood(planned(when="billing"), derived={"billing": "a.py"}).status is Status.MISSING
    assert verdict(derived={"billing": "a.py"}).decision is Decision.GO
    assert verdict(derived={"billing": "a.py"}, facts={"billing": True}).decision is Decision.GO
    wrong = {"derived": {"billing": "a.py"}, "facts": {"billing": False}}
    assert [reason.text for reason in verdict(**wrong).reasons] == [
        "fact `billing` is declared false, and a.py has changed: releasegate fact billing=true"
    ]
    assert verdict(**wrong).decision is Decision.HOLD
    assert verdict(Phase.COMPLIANCE, **wrong).decision is Decision.GO
    assert verdict(derived={"billing": ""}, facts={"billing": True}).decision is Decision.HOLD


def test_undeclared_fact_is_pending_even_where_the_rest_decides() -> None:
    assert stood(planned(when="a and b"), result(), facts={"a": False}).status is Status.PENDING


def attest(**parameters: Any) -> PlannedGate:
    return planned(kind="attest", parameters={"role": "lead"} | parameters)


def test_nobody_has_spoken() -> None:
    standing = stood(attest(), result())
    assert (standing.status, standing.reason) == (
        Status.PENDING,
        "lead must say: releasegate attest 1 --status passed",
    )


@pytest.mark.parametrize(
    ("said", "status", "decision"),
    [
        (Status.PASSED, Status.ATTESTED, Decision.GO),
        (Status.FAILED, Status.FAILED, Decision.NO_GO),
        (Status.NOT_APPLICABLE, Status.NOT_APPLICABLE, Decision.HOLD),
    ],
)
def test_word(said: Status, status: Status, decision: Decision) -> None:
    standing = stood(attest(), words=[word(said)])
    assert (standing.status, standing.raw, standing.attestation) == (status, said, word(said))
    assert standing.reason == "ann@example.com (lead), 2026-01-05 09:00 UTC"
    assert decide([standing]).decision is decision


def test_last_word_counts_and_of_two_at_one_instant_the_worse() -> None:
    words = [word(), word(Status.FAILED, at=NOW - HOUR / 2)]
    assert [stood(attest(), words=words[::step]).status for step in (1, -1)] == [Status.ATTESTED] * 2
    tied = [word(), word(Status.FAILED)]
    assert [stood(attest(), words=tied[::step]).status for step in (1, -1)] == [Status.FAILED] * 2


def test_word_on_another_declaration_does_not_count() -> None:
    assert stood(attest(), words=[word(gate_digest="old")]).status is Status.PENDING


@pytest.mark.parametrize(
    "gate", [attest(valid_for="1h"), replace(attest(), gate=replace(attest().gate, valid_for=HOUR))]
)
def test_word_expires(gate: PlannedGate) -> None:
    assert stood(gate, words=[word(at=NOW - HOUR)]).status is Status.ATTESTED
    expired = stood(gate, words=[word(at=NOW - HOUR - timedelta(seconds=1))])
    assert (expired.status, expired.raw) == (Status.PENDING, Status.PASSED)
    assert expired.reason == "ann@example.com's word of 2026-01-05 has expired"
    assert stood(gate, words=[word(Status.FAILED, at=NOW - 9 * HOUR)]).status is Status.PENDING


def test_word_on_a_gate_that_is_looked_at_does_not_count() -> None:
    assert stood(planned(), words=[word()]).status is Status.MISSING


def test_reason_of_a_result_is_its_message_or_what_was_not_as_expected() -> None:
    findings = (
        Finding("a", "1", "1", Ok.YES),
        Finding("b", "1", "2", Ok.NO),
        Finding("c", "1", "?", Ok.CANNOT_TELL),
        Finding("d", "1", "9", Ok.NO, observe=True),
    )
    assert stood(planned(), result(Status.FAILED, findings=findings)).reason == (
        "b: expected 1, got 2; c: expected 1, got ?"
    )
    assert stood(planned(), result(Status.ERROR, findings=findings, message="one\ntwo")).reason == "one"


def standings(**statuses: Status) -> dict[str, Standing]:
    """One gate for each named phase, with its status."""
    return {name: row(status, gate=name, phase=Phase(name)) for name, status in statuses.items()}


@pytest.mark.parametrize("phase", PREDECESSORS)
def test_go_needs_that_of_the_phases_before(phase: Phase) -> None:
    rows = standings(**{name.value: Status.PASSED for name in Phase})
    assert phase_verdict(phase, rows, SHIPPED).decision is Decision.GO
    for earlier in PREDECESSORS[phase]:
        worse = rows | standings(**{earlier.value: Status.FAILED})
        verdict = phase_verdict(phase, worse, SHIPPED)
        assert verdict.decision is Decision.HOLD
        assert f"phase {earlier} is not GO but NO-GO" in [reason.text for reason in verdict.reasons]


def test_phases_hang_on_each_other_all_the_way() -> None:
    rows = standings(predeploy=Status.MISSING, deploy=Status.PASSED, postdeploy=Status.PASSED, day1=Status.PASSED)
    for phase in (Phase.DEPLOY, Phase.POSTDEPLOY, Phase.DAY1):
        assert phase_verdict(phase, rows, SHIPPED).decision is Decision.HOLD


def test_phase_without_gates_is_not_waited_for() -> None:
    assert phase_verdict(Phase.DEPLOY, standings(deploy=Status.PASSED), SHIPPED).decision is Decision.GO


@pytest.mark.parametrize("others", Status)
def test_rollback_is_never_blocked_by_another_phase(others: Status) -> None:
    rows = standings(**{name.value: others for name in Phase}) | standings(rollback=Status.PASSED)
    assert phase_verdict(Phase.ROLLBACK, rows, SHIPPED).decision is Decision.GO


def test_phase_is_the_worst_of_its_own_and_the_hold_of_others() -> None:
    rows = standings(predeploy=Status.FAILED, deploy=Status.FAILED)
    verdict = phase_verdict(Phase.DEPLOY, rows, SHIPPED)
    assert verdict.decision is Decision.NO_GO
    assert [reason.decision for reason in verdict.reasons] == [Decision.NO_GO, Decision.HOLD]
    assert [standing.gate.id for standing in verdict.standings] == ["deploy"]


def event(phase: Phase, step: str, kind: Any) -> StepEvent:
    return StepEvent(phase=phase, step=step, event=kind, at=NOW)


def test_newest_event_of_a_step_counts() -> None:
    before = event(Phase.DEPLOY, "before", "closed")
    assert closed_steps([before]) == {(Phase.DEPLOY, "before")}
    assert closed_steps([before, event(Phase.DEPLOY, "before", "reopened")]) == frozenset()
    again = [before, event(Phase.DEPLOY, "before", "reopened"), before, event(Phase.ROLLBACK, "decide", "closed")]
    assert closed_steps(again) == {(Phase.DEPLOY, "before"), (Phase.ROLLBACK, "decide")}
    assert closed_steps([]) == frozenset()


def steps_plan(phase: Phase, *steps: str) -> Plan:
    return plan_of(*(planned(f"{phase}-{step}", phase=phase, step=step) for step in steps))


@pytest.mark.parametrize(
    ("phase", "steps", "closed", "due"),
    [
        (Phase.DEPLOY, ("before", "migrate", "after"), (), ("before",)),
        (Phase.DEPLOY, ("before", "migrate", "after"), ("before",), ("migrate", "after")),
        (Phase.DEPLOY, ("before", "migrate", "after"), ("before", "migrate"), ("after",)),
        (Phase.DEPLOY, ("before", "migrate", "after"), ("migrate", "after"), ("before",)),
        (Phase.DEPLOY, ("before", "migrate", "after"), ("before", "migrate", "after"), ()),
        (Phase.DEPLOY, ("after",), (), ("after",)),
        (Phase.DEPLOY, (), (), ()),
        (Phase.ROLLBACK, ("decide", "execute", "verify"), ("decide",), ("execute",)),
        (Phase.BACKFILL, ("before", "during", "after"), ("before", "during"), ("after",)),
        (Phase.PREDEPLOY, ("",), (), ()),
    ],
)
def test_due_steps(phase: Phase, steps: tuple[str, ...], closed: tuple[str, ...], due: tuple[str, ...]) -> None:
    shut = frozenset((phase, step) for step in closed) | {(Phase.BACKFILL, "decide")}
    assert due_steps(steps_plan(phase, *steps), phase, shut) == due


def test_closed_step_is_final_when_others_follow() -> None:
    shut = frozenset((phase, step) for phase, steps in STEPS.items() for step in steps)
    final = {(phase, step) for phase, step in shut if is_final(planned(phase=phase, step=step).gate, shut)}
    assert final == {
        (Phase.DEPLOY, "before"),
        (Phase.ROLLBACK, "decide"),
        (Phase.ROLLBACK, "execute"),
        (Phase.BACKFILL, "before"),
        (Phase.BACKFILL, "during"),
    }
    assert not is_final(planned(phase=Phase.DEPLOY, step="before").gate, frozenset())
    assert not is_final(planned().gate, shut)


@pytest.mark.parametrize("status", Status)
def test_step_is_closable_when_all_its_gates_hold(status: Status) -> None:
    rows = {name: row(Status.PASSED, gate=name, phase=Phase.DEPLOY, step="before") for name in "ab"}
    rows["c"] = row(Status.FAILED, gate="c", phase=Phase.DEPLOY, step="after")
    rows["b"] = replace(rows["b"], status=status)
    can = [] if status in {Status.FAILED, *HOLDING} else [(Phase.DEPLOY, "before")]
    assert closable(rows, frozenset(), release()) == can
    assert closable(rows, frozenset({(Phase.DEPLOY, "before")}), release()) == []


@pytest.mark.parametrize(
    ("phase", "step", "waits"),
    [
        (Phase.PREDEPLOY, "", False),
        (Phase.DEPLOY, "before", False),
        (Phase.DEPLOY, "migrate", False),
        (Phase.DEPLOY, "after", True),
        (Phase.POSTDEPLOY, "", True),
        (Phase.ROLLBACK, "verify", False),
    ],
)
def test_what_speaks_of_the_deployment_waits_for_its_time(phase: Phase, step: str, waits: bool) -> None:
    rows = {"1": row(Status.PASSED, phase=phase, step=step)}
    early = phase_verdict(phase, rows, release())
    assert early.decision is (Decision.HOLD if waits else Decision.GO)
    assert [reason.text for reason in early.reasons] == ([UNDEPLOYED] if waits else [])
    assert phase_verdict(phase, rows, SHIPPED).decision is Decision.GO
    if step:
        assert closable(rows, frozenset(), release()) == ([] if waits else [(phase, step)])
        assert closable(rows, frozenset(), SHIPPED) == [(phase, step)]


def test_exit_codes_are_complete_and_unique() -> None:
    assert set(EXIT_CODES) == set(Decision)
    assert len(set(EXIT_CODES.values())) == len(Decision)
    assert [decision for decision, code in EXIT_CODES.items() if code == 0] == [Decision.GO]


GATES = tuple(
    planned(name, cases=cases, severity=severity, trigger=trigger, valid_for=valid_for)
    for name, cases, severity, trigger, valid_for in (
        ("1", ("",), Severity.CRITICAL, False, None),
        ("2", ("a", "b"), Severity.MEDIUM, True, HOUR),
        ("3", ("",), Severity.LOW, False, HOUR),
    )
)
RESULTS = st.lists(
    st.builds(
        result,
        st.sampled_from([Status.PASSED, Status.PASSED, Status.FAILED, Status.ERROR, Status.INCONCLUSIVE]),
        st.sampled_from("123"),
        case=st.sampled_from(["", "a", "b", "x"]),
        started_at=st.sampled_from([NOW - 2 * HOUR, NOW - HOUR / 2, NOW]),
    ),
    max_size=12,
)


def decided(results: list[Result]) -> Decision:
    return decide(stand(plan_of(*GATES), results, Claims(), release(), NOW).values()).decision


@given(results=RESULTS, gate=st.sampled_from("123"))
def test_removing_all_rows_of_a_gate_never_gives_go(results: list[Result], gate: str) -> None:
    assert decided([each for each in results if each.gate != gate]) is not Decision.GO


@given(results=RESULTS, number=st.integers(0, 11))
def test_removing_a_newest_pass_never_gives_a_better_status_than_before_unless_an_older_row_had_it(
    results: list[Result], number: int
) -> None:
    if number >= len(results) or results[number].status is not Status.PASSED:
        return
    removed = results[number]
    fewer = [each for each in results if each is not removed]
    older = [each for each in results[:number] if (each.gate, each.case) == (removed.gate, removed.case)]
    with_it = stand(plan_of(*GATES), results, Claims(), release(), NOW)[removed.gate]
    without = stand(plan_of(*GATES), fewer, Claims(), release(), NOW)[removed.gate]
    if not any(each.status is Status.PASSED for each in older):
        assert PRECEDENCE.index(without.status) <= PRECEDENCE.index(with_it.status)


@given(results=RESULTS)
def test_go_means_a_valid_newest_pass_in_every_case_of_the_plan(results: list[Result]) -> None:
    newest = {(each.gate, each.case): each for each in results}
    every = [newest.get((gate.gate.id, case)) for gate in GATES for case in gate.cases]
    holds = [
        each is not None and each.status is Status.PASSED and (each.gate == "1" or each.started_at >= NOW - HOUR)
        for each in every
    ]
    extra = [each for each in newest.values() if each.status is not Status.PASSED]
    assert (decided(results) is Decision.GO) is (all(holds) and not extra)


@given(results=RESULTS, stranger=st.sampled_from(Status))
def test_result_of_a_gate_outside_the_plan_changes_nothing(results: list[Result], stranger: Status) -> None:
    extra = [result(stranger, "9"), result(stranger, "")]
    plan = plan_of(*GATES)
    assert stand(plan, [*extra, *results, *extra], Claims(), release(), NOW) == stand(
        plan, results, Claims(), release(), NOW
    )


@given(results=RESULTS, seed=st.randoms())
def test_order_of_results_of_different_gates_and_cases_does_not_matter(results: list[Result], seed: Any) -> None:
    queues = [
        [each for each in results if (each.gate, each.case) == key] for key in {(e.gate, e.case) for e in results}
    ]
    mixed: list[Result] = []
    while any(queues):
        mixed.append(seed.choice([queue for queue in queues if queue]).pop(0))
    plan = plan_of(*GATES)
    one, other = (stand(plan, rows, Claims(), release(), NOW) for rows in (results, mixed))
    assert {name: row.status for name, row in one.items()} == {name: row.status for name, row in other.items()}


@given(results=RESULTS)
def test_adding_a_failure_never_makes_the_decision_better(results: list[Result]) -> None:
    before = decided(results)
    for gate, case in (("1", ""), ("2", "a"), ("3", "")):
        newest = {(each.gate, each.case): each.status for each in results}.get((gate, case))
        after = decided([*results, result(Status.FAILED, gate, case=case)])
        assert after.rank >= before.rank or newest is Status.FAILED
