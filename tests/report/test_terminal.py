"""Terminal reports: exact text, aligned within the width, every trouble told and none flooding the screen."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.model import Finding, Ok, Phase, Severity, Status
from pytest_releasegate.report.terminal import gate_lines, scope_lines, status_lines
from pytest_releasegate.report.text import cut, fill, human_size, plain, span, width, wrap
from pytest_releasegate.verdict import decide

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Builder
    from pytest_releasegate.report.view import ReleaseView

RAN = {"2.2.1": 0.04, "2.2.2": 12.4}
ANSI = re.compile(r"\x1b\[[0-9;]*m")

SCOPE = """\
2.1  All code changes peer-reviewed   2 missing
2.2  Automated tests passing          1 failed, 1 passed
  passed          2.2.1  Unit tests: 100% pass rate                   0.04s
  failed          2.2.2  Integration tests: 100% pass rate              12s
                         tests passed: expected 318 of 318, got 317 of 318
3.1  Database backup verified         1 error, 1 passed
  passed          3.1.1  Full backup completed within last 24 hours  record
  error           3.1.2  Backup restoration tested                   record
                         cannot connect to db.internal:5432: connection refused
5.1  Monitoring dashboards prepared   1 failed (observed), 1 inconclusive
  inconclusive    5.1.1  Error rate under 1% over the last hour      record
                         requests in 1h: expected >= 1000, got 212
  failed          5.1.2  Heap usage (observed)                       record
                         heap used: expected < 70%, got 81%
6.3  Access control                   1 pending, 1 attested, 1 not applicable
  attested        6.3.1  Access controls reviewed                    record
                         Ada Weber (security_lead), 2026-01-05 09:30 UTC
  pending         6.3.2  Break-glass accounts reviewed                    -
                         security_lead must say: releasegate attest 6.3.2
                         --status passed
  not applicable  6.3.3  Banner shown in the app                          -
                         not `maintenance`
7.1  Known issues                     1 pending, 1 waived
  waived          7.1.1  Known low finding accepted                  record
                         accepted until 2026-02-01 by the product owner
  pending         7.1.2  Billing reconciled                               -
                         fact `billing_changes` is not declared: releasegate
                         fact billing_changes=true|false

scope NO-GO: 13 of 13 gates
  1 failed, 1 failed (observed), 1 error, 1 inconclusive, 2 missing, 2 pending,
  1 waived, 1 attested, 2 passed, 1 not applicable
  1 of them passed in an earlier run, not looked at now
phase predeploy: NO-GO
  NO-GO     failed: 2.2.2 tests passed: expected 318 of 318, got 317 of 318
  HOLD      error: 3.1.2 cannot connect to db.internal:5432: connection refused
  HOLD      inconclusive: 5.1.1 requests in 1h: expected >= 1000, got 212
  HOLD      missing: 2 gates not looked at: 2.1.1, 2.1.2
  HOLD      pending: 6.3.2 security_lead must say
  HOLD      pending: 7.1.2 fact `billing_changes` is not declared

next
  repair   releasegate show 2.2.2 (and 1 more), then look again
  look     pytest -m predeploy --release 1.4.0 --env prod
  attest   releasegate attest 6.3.2 --status passed
  declare  releasegate fact billing_changes=true|false"""

STATUS = """\
carebase 1.4.0/prod
  commit    4f2c9a17d0b3e5a86c1f9d2478be03a5516c7e90 on release/1.4
  opened    2026-01-04 16:12 UTC
  deployed  not recorded
  facts     maintenance: false
  plan      15 gates, digest 64879f7d6b960a01
  record    sqlite:///releases/carebase.db

phase predeploy: NO-GO
  13 gates: 1 failed, 1 failed (observed), 1 error, 1 inconclusive, 2 missing, 2
  pending, 1 waived, 1 attested, 2 passed, 1 not applicable
  NO-GO     failed: 2.2.2 tests passed: expected 318 of 318, got 317 of 318
  HOLD      error: 3.1.2 cannot connect to db.internal:5432: connection refused
  HOLD      inconclusive: 5.1.1 requests in 1h: expected >= 1000, got 212
  HOLD      missing: 2 gates not looked at: 2.1.1, 2.1.2
  HOLD      pending: 6.3.2 security_lead must say
  HOLD      pending: 7.1.2 fact `billing_changes` is not declared

phase deploy: HOLD, not begun
  1 gate: 1 missing

phase day1: HOLD, not begun
  1 gate: 1 not due

next
  repair   releasegate show 2.2.2 (and 1 more), then look again
  look     pytest -m 'predeploy or deploy' --release 1.4.0 --env prod
  attest   releasegate attest 6.3.2 --status passed
  declare  releasegate fact billing_changes=true|false"""

GATE = """\
2.2.2 Integration tests: 100% pass rate
  item        2.2 Automated tests passing
  phase       predeploy
  severity    critical
  place       gates/release.yaml:13:9
  check       junit
                url: /healthz
                status: 200
  digest      485eaf17abdd10439d5acfb5330d1217efc057498973b17c8fbf01d5849377df
  status      failed
  raw         failed
  reason      tests passed: expected 318 of 318, got 317 of 318

attempts: 2
  2026-01-05 08:30:00 UTC, error, 0.25s, not judged
    report.xml: no such file
    hint: run the suite
  2026-01-05 09:30:00 UTC, failed, 12s, judged
    not ok: tests passed: expected 318 of 318, got 317 of 318
    ok: tests looked at: expected > 0, got 318
    evidence: screenshot.png, image/png, 1.6 KiB, sha256 5a15a7503ad3
    evidence: junit.txt, text/plain, 36.9 KiB, sha256 a5e77ab03651"""


def scope(
    view: ReleaseView, phase: Phase = Phase.PREDEPLOY, *, columns: int = 80, color: bool = False, verbose: bool = False
) -> list[str]:
    """The scope of one whole phase."""
    rows = [row for row in view.standings.values() if row.gate.phase is phase]
    return scope_lines(view, decide(rows), [phase], width=columns, color=color, verbose=verbose, ran=RAN)


def every_report(view: ReleaseView, columns: int, *, color: bool = False) -> list[str]:
    """The lines of all reports, short and verbose."""
    lines: list[str] = []
    for verbose in (False, True):
        lines += scope(view, columns=columns, color=color, verbose=verbose)
        lines += status_lines(view, width=columns, color=color, verbose=verbose)
    for gate in view.standings:
        lines += gate_lines(view, gate, width=columns, color=color)
    return lines


def test_scope_of_a_mixed_release(mixed: ReleaseView) -> None:
    assert "\n".join(scope(mixed)) == SCOPE


def test_status_of_a_mixed_release(mixed: ReleaseView) -> None:
    assert "\n".join(status_lines(mixed, width=80, color=False, verbose=False)) == STATUS


def test_one_gate_with_all_its_attempts(mixed: ReleaseView) -> None:
    assert "\n".join(gate_lines(mixed, "2.2.2", width=80, color=False)) == GATE


def test_an_unknown_gate_names_the_nearest(mixed: ReleaseView) -> None:
    with pytest.raises(UsageProblem, match=r"has no gate '2.2.9'\n    did you mean '2.2.\d'"):
        gate_lines(mixed, "2.2.9", width=80, color=False)


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("name", ["good", "mixed", "hostile", "untouched"])
def test_no_line_is_wider_than_the_terminal(name: str, columns: int, request: pytest.FixtureRequest) -> None:
    lines = every_report(request.getfixturevalue(name), columns)
    assert len(lines) > 20
    assert [line for line in lines if width(line) > columns] == []


@pytest.mark.parametrize("name", ["mixed", "hostile"])
def test_colour_changes_nothing_but_colour(name: str, request: pytest.FixtureRequest) -> None:
    view = request.getfixturevalue(name)
    plain_lines, coloured = every_report(view, 100), every_report(view, 100, color=True)
    assert "\x1b[1;3" in "".join(coloured)
    assert "\x1b" not in "".join(plain_lines)
    assert [ANSI.sub("", line) for line in coloured] == plain_lines


def test_more_columns_cut_less(hostile: ReleaseView) -> None:
    def cuts(columns: int) -> int:
        return sum("…" in line for line in scope(hostile, columns=columns))

    assert cuts(80) > cuts(200)


def test_a_text_of_the_record_cannot_steer_the_terminal(hostile: ReleaseView) -> None:
    text = "\n".join(every_report(hostile, 80))
    assert not set(text) & {"\x1b", "\u202e", "\x00", "\ud800", "\r"}
    assert r"\x1b[2J\u202egnp.exe" in text


def test_a_scope_never_says_go(good: ReleaseView) -> None:
    lines = scope(good)
    assert "scope ok: 2 of 2 gates" in lines
    assert [line for line in lines if re.search(r"\bGO\b", line)] == ["phase predeploy: GO"]


def test_a_scope_counts_against_its_phase(good: ReleaseView) -> None:
    rows = [good.standings["2.2.1"]]
    lines = scope_lines(good, decide(rows), [Phase.PREDEPLOY], width=80, color=False, verbose=False, ran={})
    assert "scope ok: 1 of 2 gates" in lines


def test_an_empty_scope_is_not_ok(good: ReleaseView) -> None:
    lines = scope_lines(good, decide([]), [], width=80, color=False, verbose=False, ran={})
    assert lines[0] == "scope HOLD: 0 of 4 gates"
    assert lines[1] == "  nothing was looked at: no gate passed and none was attested"


def test_missing_gates_do_not_flood(untouched: ReleaseView) -> None:
    lines = scope(untouched)
    assert len(lines) < 62
    assert "  HOLD      missing: 200 gates not looked at: 2.0.0, 2.0.1, … and 198 more" in lines
    assert "2.49  Item 49   4 missing" in lines


def test_verbose_names_every_missing_gate(untouched: ReleaseView) -> None:
    text = "\n".join(scope(untouched, verbose=True))
    assert all(text.count(f" {gate} ") or f" {gate}," in text for gate in untouched.standings)
    assert "more" not in text


def test_different_reasons_do_not_flood_either(build: Callable[[], Builder]) -> None:
    built = build()
    for number in range(40):
        gate = built.gate(f"1.{number}.1", f"Gate {number}", "Item")
        built.looked(gate, Status.FAILED, Finding("rows", "3", str(number), Ok.NO))
    lines = scope(built.view())
    assert "  and 28 more reasons: releasegate status --verbose" in lines


def test_verbose_shows_each_finding_and_absent_cases(build: Callable[[], Builder]) -> None:
    built = build()
    gate = built.gate("1.1.1", "Works in browsers", "Smoke", cases=("chromium", "firefox"))
    built.looked(gate, Status.PASSED, Finding("title", "Home", "Home", Ok.YES), case="chromium")
    lines = [line.strip() for line in scope(built.view(), verbose=True)]
    assert "case chromium: passed" in lines
    assert "ok: title: expected Home, got Home" in lines
    assert "case firefox: missing" in lines


def test_a_fired_trigger_says_what_to_do(build: Callable[[], Builder]) -> None:
    built = build()
    gate = built.gate("12.1.1", "Error rate over 5%", "Triggers", Phase.ROLLBACK, step="decide", trigger=True)
    built.looked(gate, Status.FAILED, Finding("error rate", "< 5%", "9%", Ok.NO))
    lines = scope(built.view(), Phase.ROLLBACK)
    assert lines[-4:-2] == ["next", "  roll back  pytest -m rollback --release 1.4.0 --env prod"]
    assert "phase rollback: ROLLBACK" in lines
    assert "  ROLLBACK  failed: 12.1.1 error rate: expected < 5%, got 9%" in lines


def test_nobody_is_sent_to_a_rollback_that_nothing_asks_for(build: Callable[[], Builder]) -> None:
    built = build()
    built.looked(built.gate("1.1.1", "Healthy", "Health"), Status.PASSED, Finding("status", "200", "200", Ok.YES))
    gate = built.gate("RB1.1.1", "Restored", "Rollback", Phase.ROLLBACK, step="verify")
    assert "next" not in status_lines(built.view(), width=80, color=False, verbose=False)
    built.looked(gate, Status.FAILED, Finding("version", "1.3.0", "1.4.0", Ok.NO))
    lines = status_lines(built.view(), width=80, color=False, verbose=False)
    assert "  look    pytest -m rollback --release 1.4.0 --env prod" in lines


def test_a_predecessor_in_the_way_is_named(mixed: ReleaseView) -> None:
    lines = scope(mixed, Phase.DEPLOY)
    assert "  HOLD      phase predeploy is not GO but NO-GO" in lines
    assert "  before  pytest -m predeploy --release 1.4.0 --env prod" in lines


def test_steps_and_the_deployment_are_told(build: Callable[[], Builder]) -> None:
    built = build()
    built.gate("8.1.1", "Snapshot taken", "Before", Phase.DEPLOY, step="before", valid_for=timedelta(hours=1))
    built.gate("9.1.1", "Migrated", "Migrate", Phase.DEPLOY, step="migrate", severity=Severity.HIGH)
    assert "  steps: before open, migrate open" in status_lines(built.view(), width=80, color=False, verbose=True)


def test_derived_facts_and_a_rollback_are_told(build: Callable[[], Builder]) -> None:
    built = build()
    derived = {"billing": "billing/a.py", "schema": "", "maintenance": "x"}
    at = built.release.opened_at + timedelta(hours=1)
    built.release = replace(built.release, derived=derived, rolled_back_at=at, rollback_reason="too many\nerrors")
    lines = status_lines(built.view(), width=120, color=False, verbose=True)
    assert "            rolled back 2026-01-04 17:12 UTC: too many errors" in lines
    facts = "billing: true (billing/a.py changed), maintenance: false, schema: false (nothing of it changed)"
    assert f"  facts     {facts}" in lines


def test_stale_gates_are_one_reason(build: Callable[[], Builder]) -> None:
    built = build()
    for number in range(3):
        gate = built.gate(f"1.1.{number}", "Backup", "Backups", valid_for=timedelta(minutes=number + 1))
        built.looked(gate, Status.PASSED, Finding("age", "< 24h", "7h", Ok.YES))
    assert "  HOLD      missing: 3 gates stale: 1.1.0, 1.1.1, 1.1.2" in scope(built.view())


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 4, "abc…"),
        ("漢字かな", 5, "漢字…"),
        ("漢字かな", 4, "漢…"),
        ("ab", 1, "…"),
        ("e\u0301ab", 3, "e\u0301ab"),
    ],
)
def test_texts_are_cut_by_columns(text: str, columns: int, expected: str) -> None:
    assert cut(text, columns) == expected
    assert width(fill(text, columns)) == columns


def test_long_words_are_broken() -> None:
    assert wrap("a bb cccccc d", 4) == ["a bb", "cccc", "cc d"]
    assert wrap("", 4) == []


def test_plain_keeps_what_is_harmless() -> None:
    assert plain("naïve · 漢字\n") == "naïve · 漢字\n"
    assert plain("a\x07b\u2066c\ud83d", keep="") == r"a\x07b\u2066c\ud83d"


@pytest.mark.parametrize(("seconds", "expected"), [(0.04, "0.04s"), (1.25, "1.2s"), (75, "75s"), (725.4, "12m05s")])
def test_spans(seconds: float, expected: str) -> None:
    assert span(seconds) == expected


@pytest.mark.parametrize(("size", "expected"), [(812, "812 bytes"), (20480, "20.0 KiB"), (1363149, "1.3 MiB")])
def test_sizes(size: int, expected: str) -> None:
    assert human_size(size) == expected


def test_what_had_to_hold_before_the_deployment_is_not_looked_at_again(build: Callable[[], Builder]) -> None:
    built = build()
    gate = built.gate("1.1.1", "Healthy", "Health")
    built.looked(gate, Status.PASSED, Finding("status", "200", "200", Ok.YES))
    built.release = replace(built.release, deployed_at=built.results[0].started_at - timedelta(hours=1))
    text = "\n".join(status_lines(built.view(), width=200, color=False, verbose=True))
    assert "looked at only after the deployment, before which it had to hold" in text
    assert "too late  1.1.1 had to hold before the deployment: the next release, or" in text
    assert "pytest -m predeploy" not in text


def test_a_gate_that_writes_is_reopened_to_look_again(build: Callable[[], Builder]) -> None:
    built = build()
    gate = built.gate("9.1.1", "Migrated", "Migrate", Phase.DEPLOY, step="migrate", writes=True)
    built.looked(gate, Status.FAILED, Finding("version", "2", "1", Ok.NO))
    lines = status_lines(built.view(), width=120, color=False, verbose=False)
    assert "  reopen  releasegate reopen deploy/migrate --reason ..., for 9.1.1 writes, and runs once" in lines
