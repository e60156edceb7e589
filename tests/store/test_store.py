"""What is put into the record comes back, on both dialects."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from math import inf, isnan, nan
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.errors import RecordError, UsageProblem
from pytest_releasegate.model import (
    Attestation,
    Finding,
    Kept,
    Ok,
    Phase,
    Revocation,
    SignOff,
    Start,
    Status,
    StepEvent,
    Waiver,
)
from pytest_releasegate.store import open_store
from pytest_releasegate.testing import FakeClock

if TYPE_CHECKING:
    from pytest_releasegate.store import Store


def test_release_is_found_and_equal_in_another_session(store: Store, sample: Any) -> None:
    facts = {"maintenance": False, "billing_changes": True}
    asked = sample.release(git_commit="c0ffee", git_branch="main", facts=facts)
    opened = store.open_release(asked, sample.plan())
    assert opened == replace(asked, id=opened.id, plan_digest="plan-1")
    assert opened.id > 0
    with open_store(store.url, create=False) as other:
        assert other.find_release("shop", "1.4.0", "prod") == opened
        assert other.release(opened.id) == opened
    assert store.find_release("shop", "1.4.0", "stage") is None
    assert store.verify() == []


def test_opening_twice_gives_the_row_that_is_there(store: Store, sample: Any) -> None:
    first = store.open_release(sample.release(git_commit="first"), sample.plan())
    again = store.open_release(sample.release(git_commit="second"), sample.plan(digest="another"))
    assert again == first
    assert len(store.releases()) == 1


def test_latest_attempt_is_the_default(store: Store, sample: Any) -> None:
    for attempt in (1, 3, 2):
        store.open_release(sample.release(attempt=attempt), sample.plan())
    latest, second = store.find_release("shop", "1.4.0", "prod"), store.find_release("shop", "1.4.0", "prod", 2)
    assert latest is not None
    assert second is not None
    assert (latest.attempt, second.attempt) == (3, 2)


def test_releases_are_filtered_and_oldest_first(store: Store, sample: Any) -> None:
    for days, version, environment in ((2, "1.5", "prod"), (0, "1.4", "prod"), (1, "1.4", "stage")):
        opened_at = sample.at + timedelta(days=days)
        store.open_release(sample.release(version=version, environment=environment, opened_at=opened_at), sample.plan())
    assert [each.name for each in store.releases()] == ["1.4/prod", "1.4/stage", "1.5/prod"]
    assert [each.name for each in store.releases("shop", "prod")] == ["1.4/prod", "1.5/prod"]
    assert store.releases("other") == []


def test_plan_comes_back_equal_whatever_its_parameters_hold(store: Store, sample: Any) -> None:
    odd = {
        "t": (1, (2,)),
        "day": date(2026, 1, 1),
        "~": 1,
        3: "x",
        "big": 2**80,
        "not": nan,
        "text": "\x00\ud800\udc00",
    }
    odd.pop("not")
    plan = sample.plan(sample.gate("1.1", parameters=odd), sample.gate("1.2", valid_for=None, trigger=True))
    opened = store.open_release(sample.release(), plan)
    assert store.plan(opened.id) == plan
    assert store.plan(opened.id).by_id()["1.2"].gate.trigger is True


def test_plan_that_cannot_be_kept_is_refused_with_its_place(store: Store, sample: Any) -> None:
    plan = sample.plan(sample.gate("1.1", parameters={"object": object()}))
    with pytest.raises(ValueError, match=r"gates/10.yaml:14:9: gate 1.1"):
        store.open_release(sample.release(), plan)
    assert store.releases() == []


def test_replan_replaces_the_plan(store: Store, sample: Any) -> None:
    opened = store.open_release(sample.release(), sample.plan())
    other = sample.plan(sample.gate("9.9"), digest="plan-2")
    changed = store.replan(opened.id, other, at=sample.at, person="ann", reason="gate added")
    assert (changed.plan_digest, store.plan(opened.id)) == ("plan-2", other)
    assert store.verify() == []


def test_deployed_is_said_once(store: Store, sample: Any) -> None:
    opened = store.open_release(sample.release(), sample.plan())
    at = datetime(2026, 3, 28, 23, 30, tzinfo=timezone(timedelta(hours=1)))
    first = store.set_deployed(opened.id, at, "ann")
    assert first.deployed_at == datetime(2026, 3, 28, 22, 30, tzinfo=UTC)
    assert first.deployed_at.utcoffset() == timedelta(0)
    entries = store.head()[0]
    assert store.set_deployed(opened.id, at.astimezone(UTC), "bob") == first
    assert store.head()[0] == entries
    with pytest.raises(UsageProblem, match="2026-03-28 22:30:00"):
        store.set_deployed(opened.id, at + timedelta(minutes=1), "ann")


def test_a_rollback_is_said_once_after_the_deployment_with_its_line_in_the_audit_log(store: Store, sample: Any) -> None:
    opened = store.open_release(sample.release(), sample.plan())
    at, who = sample.at + timedelta(hours=2), {"reason": "errors\x00", "person": "ann"}
    with pytest.raises(UsageProblem, match="was not deployed by the record"):
        store.roll_back(opened.id, at, **who)
    deployed = store.set_deployed(opened.id, sample.at, "ann")
    back = store.roll_back(opened.id, at, **who)
    assert back == replace(deployed, rolled_back_at=at, rollback_reason="errors\u2400")
    entries = store.head()[0]
    assert store.roll_back(opened.id, at.astimezone(timezone(timedelta(hours=1))), **who) == back
    for other in ({"at": at, "reason": "else"}, {"at": at + timedelta(seconds=1), "reason": "errors\x00"}):
        with pytest.raises(UsageProblem, match="was rolled back 2026-01-05 11:00:00 UTC: errors"):
            store.roll_back(opened.id, person="ann", **other)
    assert store.head()[0] == entries
    (line,) = store.audit(opened.id)
    assert (line.user_id, line.action_type, line.resource_type, line.severity, line.at) == (
        "ann",
        "configuration_change",
        "settings",
        "critical",
        at,
    )
    assert line.action_description == "Rollback initiated for release 1.4.0/prod: errors\u2400"
    assert store.verify() == []


def test_what_a_rolled_back_release_kept_is_no_baseline(store: Store, sample: Any) -> None:
    kept = {}
    for days, version in enumerate(("1.3", "1.4", "1.5")):
        at = sample.at + timedelta(days=days)
        kept[version], run_id = sample.started(store, version=version, opened_at=at)
        store.add_result(kept[version].id, run_id, sample.result(kept={"p95": days}), {})
        store.set_deployed(kept[version].id, at, "ann")
    before = store.recorded(kept["1.5"], "p95", of="previous")
    store.roll_back(kept["1.4"].id, sample.at + timedelta(days=2), reason="errors", person="ann")
    after, own = store.recorded(kept["1.5"], "p95", of="previous"), store.recorded(kept["1.4"], "p95", of="this")
    assert [found and found.version for found in (before, after, own)] == ["1.4", "1.3", "1.4"]


def test_instant_without_offset_is_refused(store: Store, sample: Any) -> None:
    opened = store.open_release(sample.release(), sample.plan())
    with pytest.raises(ValueError, match="expected an offset from UTC"):
        store.set_deployed(opened.id, datetime(2026, 1, 5), "ann")
    assert store.release(opened.id).deployed_at is None


def test_facts_are_added(store: Store, sample: Any) -> None:
    opened = store.open_release(sample.release(facts={"a": False, "b": True}), sample.plan())
    assert store.set_facts(opened.id, {"a": True, "c": False}, "ann", sample.at).facts == {
        "a": True,
        "b": True,
        "c": False,
    }


def test_run_is_started_and_ended_once(store: Store, sample: Any) -> None:
    opened, run_id = sample.started(store)
    (going,) = store.runs(opened.id)
    assert going == replace(sample.run(), id=run_id)
    end = sample.at + timedelta(minutes=3)
    store.end_run(run_id, at=end, decision="HOLD", exit_code=10)
    store.end_run(run_id, at=end, decision="HOLD", exit_code=10)
    (ended,) = store.runs(opened.id)
    assert ended == replace(going, ended_at=end, decision="HOLD", exit_code=10)
    with pytest.raises(RecordError, match="ended at"):
        store.end_run(run_id, at=end, decision="GO", exit_code=0)
    with pytest.raises(RecordError, match="there is no run 99"):
        store.end_run(99, at=end, decision="GO", exit_code=0)


def test_results_come_back_whole_and_oldest_first(store: Store, sample: Any) -> None:
    opened, run_id = sample.started(store)
    piece, bodies = sample.evidence(b"\x00 answer \xff")
    late = sample.result(
        9, evidence=(piece,), kept={"p95": 0.125, "rows": {"a": [1, None]}}, message="slow", attempts=3
    )
    early = sample.result(1, status=Status.FAILED, case="chromium", target="eu", code="blob", seconds=2.0)
    ids = [store.add_result(opened.id, run_id, late, bodies), store.add_result(opened.id, run_id, early, {})]
    assert store.results(opened.id) == [replace(early, id=ids[1]), replace(late, id=ids[0])]
    assert store.evidence_body(piece.sha256) == b"\x00 answer \xff"
    assert store.evidence_body("0" * 64) is None
    assert store.verify() == []


def test_same_result_twice_is_one_row(store: Store, sample: Any) -> None:
    opened, run_id = sample.started(store)
    first = store.add_result(opened.id, run_id, sample.result(1), {})
    entries = store.head()
    assert store.add_result(opened.id, run_id, sample.result(1, message="other"), {}) == first
    assert store.head() == entries
    assert store.add_result(opened.id, run_id, sample.result(1, case="b"), {}) != first
    other_run = store.start_run(opened.id, sample.run())
    assert store.add_result(opened.id, other_run, sample.result(1), {}) != first


def test_same_bytes_are_kept_once(store: Store, sample: Any) -> None:
    opened, run_id = sample.started(store)
    piece, bodies = sample.evidence(b"same")
    for number in range(2):
        store.add_result(opened.id, run_id, sample.result(number, evidence=(piece,)), bodies)
    assert [each.evidence for each in store.results(opened.id)] == [(piece,), (piece,)]


def test_evidence_that_does_not_fit_is_refused(store: Store, sample: Any) -> None:
    opened, run_id = sample.started(store)
    with pytest.raises(RecordError, match="its bytes have the digest"):
        store.add_result(opened.id, run_id, sample.result(), {"0" * 64: b"forged"})
    assert store.results(opened.id) == []


def test_result_of_a_run_of_another_release_is_refused(store: Store, sample: Any) -> None:
    opened, _ = sample.started(store)
    other, other_run = sample.started(store, version="2.0")
    with pytest.raises(RecordError, match=f"is of release {other.id}"):
        store.add_result(opened.id, other_run, sample.result(), {})
    with pytest.raises(RecordError, match="run 99 is not known"):
        store.add_result(opened.id, 99, sample.result(), {})
    assert store.results(opened.id) == []


def test_odd_values_lose_no_result(store: Store, sample: Any) -> None:
    opened, run_id = sample.started(store)
    nasty = "a\x00b\ud83dc\udc80"
    shown = "a\u2400b\\ud83dc\\udc80"
    result = sample.result(
        gate=nasty,
        case=nasty * 3000,
        message=nasty,
        seconds=nan,
        findings=(Finding(nasty, nasty, nasty, Ok.NO),),
        kept={"n": nan, "i": [inf, -inf], "t": {nasty: nasty}, "big": 2**70, "o": (1, b"x")},
    )
    row = store.add_result(opened.id, run_id, result, {})
    assert store.add_result(opened.id, run_id, result, {}) == row
    (read,) = store.results(opened.id)
    assert (read.gate, read.case, read.message) == (shown, shown * 3000, shown)
    assert read.findings == (Finding(shown, shown, shown, Ok.NO),)
    assert isnan(read.seconds)
    assert isnan(read.kept["n"])
    assert read.kept["i"] == [inf, -inf]
    assert read.kept["t"] == {shown: shown}
    assert (read.kept["big"], read.kept["o"]) == (2**70, (1, b"x"))
    assert store.verify() == []


def test_recorded_of_this_is_the_newest(store: Store, sample: Any) -> None:
    opened, run_id = sample.started(store)
    for number, value in ((5, 50), (2, 20)):
        store.add_result(opened.id, run_id, sample.result(number, kept={"p95": value}), {})
    at = sample.at + timedelta(seconds=5)
    expected = Kept(name="p95", value=50, gate="1.1", version="1.4.0", at=at)
    assert store.recorded(opened, "p95", of="this") == expected
    assert store.recorded(opened, "p50", of="this") is None
    assert store.recorded(opened, "p95", of="previous") is None


def test_recorded_of_first_is_the_oldest_since_a_step_was_reopened(store: Store, sample: Any) -> None:
    opened, run_id = sample.started(store)
    for number in (5, 2, 8):
        store.add_result(opened.id, run_id, sample.result(number, kept={"rows": number}), {})
    event = StepEvent(phase=Phase.DEPLOY, step="before", event="closed", at=sample.at + timedelta(seconds=6))
    store.add_step_event(opened.id, event)
    first = store.recorded(opened, "rows", of="first")
    assert first is not None
    assert first.value == 2
    store.add_step_event(opened.id, replace(event, event="reopened", reason="again"))
    first = store.recorded(opened, "rows", of="first")
    assert first is not None
    assert first.value == 8
    store.add_step_event(opened.id, replace(event, event="reopened", reason="again", at=event.at + timedelta(hours=1)))
    assert store.recorded(opened, "rows", of="first") is None


def test_a_gate_begins_once_a_case_until_its_step_is_reopened(store: Store, sample: Any) -> None:
    opened, run_id = sample.started(store)
    gate = replace(sample.plan().gates[0].gate, writes=True)
    first = Start(gate=gate.id, case="a", at=sample.at, run=run_id)
    assert store.begin(opened.id, gate, first) is None
    assert store.begin(opened.id, gate, replace(first, at=sample.at + timedelta(hours=1))) == first
    assert store.begin(opened.id, gate, replace(first, case="b")) is None
    assert [start.case for start in store.starts(opened.id, gate)] == ["a", "b"]
    later = sample.at + timedelta(hours=2)
    event = StepEvent(phase=gate.phase, step=gate.step, event="reopened", at=later, reason="again")
    store.add_step_event(opened.id, event)
    assert store.starts(opened.id, gate) == []
    assert store.begin(opened.id, gate, replace(first, at=later)) is None
    assert store.verify() == []


def test_recorded_of_previous_skips_what_did_not_keep_it(store: Store, sample: Any) -> None:
    releases = {}
    places = [("1.0", "prod"), ("1.1", "prod"), ("1.2", "stage"), ("1.3", "prod"), ("1.4", "prod")]
    for number, (version, environment) in enumerate(places):
        release = sample.release(version=version, environment=environment, opened_at=sample.at + timedelta(days=number))
        releases[version] = store.open_release(release, sample.plan())
    for version, kept in (
        ("1.0", {"x": 0}),
        ("1.1", {"x": 1}),
        ("1.2", {"x": 2}),
        ("1.3", {"y": 3}),
        ("1.4", {"x": 4}),
    ):
        run_id = store.start_run(releases[version].id, sample.run())
        store.add_result(releases[version].id, run_id, sample.result(kept=kept), {})
    found = store.recorded(releases["1.3"], "x", of="previous")
    assert found is not None
    assert (found.version, found.value) == ("1.1", 1)
    assert store.recorded(releases["1.0"], "x", of="previous") is None


def test_recorded_of_previous_is_of_the_same_product(store: Store, sample: Any) -> None:
    other, run_id = sample.started(store, product="other", version="1.3")
    store.add_result(other.id, run_id, sample.result(kept={"x": 1}), {})
    release = store.open_release(sample.release(opened_at=sample.at + timedelta(days=1)), sample.plan())
    assert store.recorded(release, "x", of="previous") is None


def test_recorded_of_previous_counts_an_earlier_attempt(store: Store, sample: Any) -> None:
    first, run_id = sample.started(store)
    store.add_result(first.id, run_id, sample.result(kept={"x": 1}), {})
    second = store.open_release(sample.release(attempt=2), sample.plan())
    found = store.recorded(second, "x", of="previous")
    assert found is not None
    assert found.value == 1


def test_recorded_of_previous_tells_releases_opened_at_the_same_instant_apart(store: Store, sample: Any) -> None:
    first, _ = sample.started(store, version="1")
    second, run_id = sample.started(store, version="2")
    store.add_result(second.id, run_id, sample.result(kept={"x": 2}), {})
    assert store.recorded(first, "x", of="previous") is None


def test_claims_of_every_kind_come_back(store: Store, sample: Any) -> None:
    opened, _ = sample.started(store)
    who = {"person": "ann", "role": "security_lead", "at": sample.at}
    later = sample.at + timedelta(days=3)
    said = (
        Attestation(gate="6.3.4", status=Status.PASSED, note="\u00fc", evidence="x.pdf", expires_at=later, **who),
        Attestation(gate="6.3.4", status=Status.FAILED, **who),
        Waiver(gate="1", reason="r", mitigation="m", risk="low", expires_at=later, gate_digest="d", **who),
        SignOff(
            phase=Phase.PREDEPLOY, decision="GO", plan_digest="p", policy_digest="q", subject={"1": ("passed",)}, **who
        ),
        Revocation(claim="c", reason="r", **who),
    )
    rows = store.add_claims(opened.id, [(claim, None, None) for claim in said])
    assert store.add_claims(opened.id, [(claim, b"e", b"f") for claim in said]) == rows
    found = store.claims(opened.id)
    assert [replace(claim, identity="") for claim in found.all] == [
        replace(claim, id=row) for claim, row in zip(said, rows, strict=True)
    ]
    assert len({claim.identity for claim in found.all}) == len(said)
    assert store.claim_files(opened.id) == {}
    assert store.verify() == []


def test_a_signed_file_is_kept_under_its_claim(store: Store, sample: Any) -> None:
    opened, _ = sample.started(store)
    said = Revocation(claim="c", reason="r", person="ann", role="lead", at=sample.at)
    store.add_claim(opened.id, said, file=b"signed")
    (kept,) = store.claims(opened.id).revocations
    assert store.claim_files(opened.id) == {kept.identity: b"signed"}


def test_a_waiver_of_a_commit_counts_in_every_release_of_it_and_in_no_other_product(store: Store, sample: Any) -> None:
    first, _ = sample.started(store)
    waiver = Waiver(
        gate="1", reason="r", expires_at=sample.at, git_commit="abc", person="ann", role="lead", at=sample.at
    )
    store.add_claim(first.id, waiver)
    plan = store.plan(first.id)
    names = {"same": {"environment": "other"}, "product": {"product": "other"}, "commit": {"version": "9"}}
    seen = {}
    for name, changes in names.items():
        commit = "xyz" if name == "commit" else "abc"
        other = store.open_release(replace(first, git_commit=commit, **changes), plan)
        seen[name] = len(store.claims(other.id).waivers)
    assert seen == {"same": 1, "product": 0, "commit": 0}
    assert store.verify() == []


def test_a_waiver_of_a_commit_is_taken_back_in_every_release_of_it(store: Store, sample: Any) -> None:
    first, _ = sample.started(store)
    who = {"person": "ann", "role": "lead", "at": sample.at}
    store.add_claim(first.id, Waiver(gate="1", reason="r", expires_at=sample.at, git_commit="abc", **who))
    store.add_claim(first.id, Attestation(gate="2", status=Status.PASSED, **who))
    said = store.claims(first.id)
    for claim in (*said.waivers, *said.attestations):
        store.add_claim(first.id, Revocation(claim=claim.identity, reason="r", **who))
    other = store.open_release(replace(first, git_commit="abc", environment="other"), store.plan(first.id))
    product = store.open_release(replace(first, git_commit="abc", product="other"), store.plan(first.id))
    assert [one.claim for one in store.claims(other.id).revocations] == [said.waivers[0].identity]
    assert store.claims(product.id).revocations == ()


def test_step_events_come_back(store: Store, sample: Any) -> None:
    opened, run_id = sample.started(store)
    closed = StepEvent(phase=Phase.DEPLOY, step="before", event="closed", at=sample.at, run=run_id)
    reopened = replace(closed, event="reopened", reason="again", run=0)
    store.add_step_event(opened.id, closed)
    store.add_step_event(opened.id, reopened)
    assert store.step_events(opened.id) == [closed, reopened]


def test_stakeholders_are_replaced_by_role(store: Store, sample: Any) -> None:
    opened, _ = sample.started(store)
    store.set_stakeholders(opened.id, {"qa_lead": ("Ann", "ann@example.org"), "dba": ("Bo", "bo@example.org")})
    store.set_stakeholders(opened.id, {"dba": ("Cy", "cy@example.org")})
    assert store.stakeholders(opened.id) == {"qa_lead": ("Ann", "ann@example.org"), "dba": ("Cy", "cy@example.org")}
    assert store.verify() == []


def test_audit_log_is_of_its_release(store: Store, sample: Any) -> None:
    opened, _ = sample.started(store)
    line = {"at": sample.at, "user_id": "ann", "action_type": "configuration_change", "resource_type": "settings"}
    store.add_audit(**line, release_id=opened.id, action_description="rollback", severity="critical")
    store.add_audit(**line, release_id=None, action_description="other", severity="info")
    (found,) = store.audit(opened.id)
    assert (found.at, found.user_id, found.action_description, found.severity) == (
        sample.at,
        "ann",
        "rollback",
        "critical",
    )
    assert store.verify() == []


def test_unknown_release_is_a_record_error(store: Store, sample: Any) -> None:
    with pytest.raises(RecordError, match="there is no release 7"):
        store.release(7)
    with pytest.raises(RecordError, match="there is no release 7"):
        store.start_run(7, sample.run())
    assert store.head()[0] == 0


def test_entries_bear_the_instant_of_the_injected_clock(url: str, sample: Any) -> None:
    with open_store(url, clock=FakeClock()) as store:
        store.open_release(sample.release(), sample.plan())
        with store._engine.connect() as connection:
            from pytest_releasegate.store.schema import entries

            (row,) = connection.execute(entries.select())
    assert (row.seq, row.kind, row.at) == (1, "release opened", "2026-01-05T09:00:00.000000+00:00")
    assert row.previous == "0" * 64


def test_threads_read_what_was_kept_while_another_one_writes(store, sample):
    release, run = sample.started(store)
    store.add_result(release.id, run, sample.result(kept={"size": 7}), {})
    with ThreadPoolExecutor(32) as pool:
        read = [pool.submit(store.recorded, release, "size", of="this") for _ in range(100)]
        for number in range(1, 20):
            store.add_result(release.id, run, sample.result(number), {})
    assert [one.result().value for one in read] == [7] * 100
