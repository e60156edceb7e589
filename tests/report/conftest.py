"""Releases made by hand: a good one, one with every status, one that nobody looked at, one that means harm."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.model import (
    Attestation,
    Claims,
    Evidence,
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
    Run,
    Severity,
    Status,
    StepEvent,
)
from pytest_releasegate.report.view import ReleaseView
from pytest_releasegate.verdict import phase_verdict, stand

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
LOOKED = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def png(columns: int = 640, rows: int = 400) -> bytes:
    """A picture of a page: white, with a blue bar on top."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    lines = [b"\x00" + (b"\x24\x4b\x8f" if row < rows // 8 else b"\xf7\xf7\xf4") * columns for row in range(rows)]
    head = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(lines))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def finding(name: str, expected: str, actual: str, ok: Ok = Ok.YES, *, observe: bool = False) -> Finding:
    """A finding, as expected unless said otherwise."""
    return Finding(name, expected, actual, ok, observe)


@dataclass
class Builder:
    """Puts a release together gate by gate."""

    release: Release = field(
        default_factory=lambda: Release(
            product="carebase",
            version="1.4.0",
            environment="prod",
            git_commit="4f2c9a17d0b3e5a86c1f9d2478be03a5516c7e90",
            git_branch="release/1.4",
            opened_at=datetime(2026, 1, 4, 16, 12, tzinfo=UTC),
            facts={"maintenance": False},
        )
    )
    gates: list[PlannedGate] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    words: list[Attestation] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    steps: list[StepEvent] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)

    def gate(self, gate_id: str, title: str, item: str, phase: Phase = Phase.PREDEPLOY, **other: Any) -> str:
        """Declare a gate under the item whose id is the start of the gate's."""
        cases = other.pop("cases", ("",))
        declared: dict[str, Any] = {
            "severity": Severity.CRITICAL,
            "kind": "http",
            "parameters": {"url": "/healthz", "status": 200},
            "place": Place("gates/release.yaml", 10 + len(self.gates), 9),
        }
        gate = Gate(
            id=gate_id,
            title=title,
            item=Item(gate_id.rpartition(".")[0], item),
            phase=phase,
            **(declared | other),
        )
        digest = hashlib.sha256(gate_id.encode()).hexdigest()
        self.gates.append(PlannedGate(gate, digest, cases))
        return gate_id

    def looked(self, gate_id: str, status: Status, *findings: Finding, **other: Any) -> None:
        """Record a look at a gate."""
        given: dict[str, Any] = {"started_at": LOOKED, "seconds": 0.25} | other
        digest = next(planned.digest for planned in self.gates if planned.gate.id == gate_id)
        number = len(self.results) + 1
        self.results.append(
            Result(gate=gate_id, status=status, findings=findings, gate_digest=digest, id=number, **given)
        )

    def said(self, gate_id: str, status: Status, **other: Any) -> None:
        """Record a person's word on a gate."""
        digest = next(planned.digest for planned in self.gates if planned.gate.id == gate_id)
        given: dict[str, Any] = {
            "person": "Ada Weber",
            "role": "security_lead",
            "at": LOOKED,
            "note": "roles compared with the staff list",
        }
        self.words.append(Attestation(gate=gate_id, status=status, gate_digest=digest, **(given | other)))

    def evidence(self, name: str, media_type: str, body: bytes) -> Evidence:
        """Keep bytes and give their evidence."""
        digest = hashlib.sha256(body).hexdigest()
        self.bodies[digest] = body
        return Evidence(name, media_type, digest, len(body))

    def screenshot(self) -> Evidence:
        """Keep a picture of 640 x 400 pixels and give its evidence."""
        return self.evidence("screenshot.png", "image/png", png())

    def view(self) -> ReleaseView:
        """The release as the reports are given it."""
        plan = Plan(tuple(self.gates), hashlib.sha256(b"plan").hexdigest())
        release = replace(self.release, plan_digest=plan.digest)
        standings = stand(plan, self.results, Claims.of(self.words), release, NOW)
        planned = {gate.gate.phase for gate in plan.gates}
        return ReleaseView(
            release=release,
            plan=plan,
            standings=standings,
            phases={phase: phase_verdict(phase, standings, release) for phase in Phase if phase in planned},
            results=tuple(self.results),
            runs=tuple(self.runs),
            steps=tuple(self.steps),
            now=NOW,
            record="sqlite:///releases/carebase.db",
            body=self.bodies.get,
        )


def _good() -> Builder:
    built = Builder()
    for number, title in enumerate(("Unit tests: 100% pass rate", "Integration tests: 100% pass rate"), 1):
        gate = built.gate(f"2.2.{number}", title, "Automated tests passing", kind="junit")
        built.looked(gate, Status.PASSED, finding("tests passed", "1204 of 1204", "1204 of 1204"))
    gate = built.gate("6.3.4", "Access controls reviewed", "Access control", Phase.COMPLIANCE, kind="attest")
    built.said(gate, Status.PASSED)
    gate = built.gate(
        "10.1.1", "Health endpoint responding (200 OK)", "Health check passed", Phase.DEPLOY, step="after"
    )
    shot = built.screenshot()
    body = built.evidence("answer.json", "application/json", b'{"status": "ok", "version": "1.4.0"}')
    built.looked(gate, Status.PASSED, finding("status", "200", "200"), evidence=(shot, body))
    built.runs.append(
        Run(
            started_at=LOOKED,
            ended_at=LOOKED + timedelta(seconds=41),
            expression="predeploy or deploy",
            scope=tuple(planned.gate.id for planned in built.gates),
            host="build-7",
            pid=4121,
            decision="GO",
            exit_code=0,
            tool_version="0.1.0",
        )
    )
    return built


def _mixed_gates(built: Builder) -> None:
    for number, (title, kind) in enumerate(
        (
            ("Minimum 2 approvals for critical changes", "reviews"),
            ("Security review for auth/RBAC changes", "reviews"),
        ),
        1,
    ):
        built.gate(f"2.1.{number}", title, "All code changes peer-reviewed", kind=kind)
    for number, title in enumerate(("Unit tests: 100% pass rate", "Integration tests: 100% pass rate"), 1):
        built.gate(f"2.2.{number}", title, "Automated tests passing", kind="junit")
    built.gate("3.1.1", "Full backup completed within last 24 hours", "Database backup verified", kind="backup")
    built.gate("3.1.2", "Backup restoration tested", "Database backup verified", kind="backup")
    built.gate("5.1.1", "Error rate under 1% over the last hour", "Monitoring dashboards prepared", kind="prometheus")
    built.gate("5.1.2", "Heap usage", "Monitoring dashboards prepared", kind="prometheus", observe=True)
    role = {"role": "security_lead", "evidence": "required"}
    built.gate("6.3.1", "Access controls reviewed", "Access control", kind="attest", parameters=role)
    built.gate("6.3.2", "Break-glass accounts reviewed", "Access control", kind="attest", parameters=role)
    built.gate("6.3.3", "Banner shown in the app", "Access control", when="maintenance")
    built.gate("7.1.1", "Known low finding accepted", "Known issues", severity=Severity.LOW)
    built.gate("7.1.2", "Billing reconciled", "Known issues", when="billing_changes")
    built.gate("10.1.1", "Health endpoint responding (200 OK)", "Health check passed", Phase.DEPLOY, step="after")
    built.gate("16.1.1", "No new error signature in 24 hours", "First day", Phase.DAY1, due=timedelta(hours=24))


def _mixed() -> Builder:
    built = Builder()
    _mixed_gates(built)
    built.looked("2.2.1", Status.PASSED, finding("tests passed", "1204 of 1204", "1204 of 1204"), seconds=0.04)
    early = LOOKED - timedelta(hours=1)
    built.looked("2.2.2", Status.ERROR, started_at=early, message="report.xml: no such file\nhint: run the suite")
    shot = built.screenshot()
    log = built.evidence("junit.txt", "text/plain", b"FAILED tests/test_billing.py::test_refund\n" * 900)
    built.looked(
        "2.2.2",
        Status.FAILED,
        finding("tests passed", "318 of 318", "317 of 318", Ok.NO),
        finding("tests looked at", "> 0", "318"),
        seconds=12.4,
        evidence=(shot, log),
    )
    built.looked("3.1.1", Status.PASSED, finding("age of the newest backup", "< 24h", "7h"), seconds=1.3)
    built.looked("3.1.2", Status.ERROR, message="cannot connect to db.internal:5432: connection refused", seconds=5.0)
    built.looked(
        "5.1.1", Status.INCONCLUSIVE, finding("requests in 1h", ">= 1000", "212", Ok.CANNOT_TELL), seconds=0.31
    )
    built.looked("5.1.2", Status.FAILED, finding("heap used", "< 70%", "81%", Ok.NO), seconds=0.12)
    built.said("6.3.1", Status.PASSED, evidence="review.pdf sha256:0123")
    built.looked("7.1.1", Status.WAIVED, message="accepted until 2026-02-01 by the product owner")
    built.steps.append(StepEvent(phase=Phase.DEPLOY, step="before", event="closed", at=LOOKED, reason="all gates hold"))
    built.runs.append(
        Run(started_at=LOOKED, expression="predeploy", scope=("2.2.1", "2.2.2"), host="build-7", pid=4121)
    )
    return built


HOSTILE = "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(2)>\x1b[2J\u202egnp.exe"


def _hostile() -> Builder:
    built = Builder()
    built.release = replace(built.release, product=HOSTILE, git_branch=HOSTILE, facts={HOSTILE: True})
    gate = built.gate("1.1.1", HOSTILE, HOSTILE, parameters={HOSTILE: [HOSTILE, {"deep": HOSTILE}]}, owner=HOSTILE)
    wide = built.gate("1.1.2", "リリース告知をすべての職員に送信したことを確認する" * 3, HOSTILE)
    huge = built.gate("1.1.3", "x" * 5000, HOSTILE, cases=(HOSTILE, "second"))
    text = built.evidence(HOSTILE, "text/html", f"<h1>{HOSTILE}</h1>\x00\ud800".encode("utf-8", "surrogatepass"))
    erased = Evidence("erased.txt", "text/plain", "0" * 64, 12)
    page = built.evidence("page.svg", "image/svg+xml", b'<svg onload="alert(1)"/>')
    built.looked(
        gate,
        Status.FAILED,
        finding(HOSTILE, HOSTILE, HOSTILE + "\ud800", Ok.NO),
        message=HOSTILE,
        target=HOSTILE,
        evidence=(text, erased, page),
    )
    built.looked(wide, Status.ERROR, message="接続できません " * 80)
    built.looked(huge, Status.FAILED, finding("huge", "small", "y" * 300_000, Ok.NO), case=HOSTILE)
    said = built.gate("1.1.4", "Said", HOSTILE, kind="attest")
    built.said(said, Status.FAILED, person=HOSTILE, role=HOSTILE, note=HOSTILE, evidence="https://evil.example/claim")
    built.steps.append(StepEvent(phase=Phase.DEPLOY, step=HOSTILE, event="reopened", at=LOOKED, reason=HOSTILE))
    built.runs.append(Run(started_at=LOOKED, expression=HOSTILE, scope=(), host=HOSTILE, pid=1))
    return built


@pytest.fixture
def good() -> ReleaseView:
    """A release of which every gate holds."""
    return _good().view()


@pytest.fixture
def mixed() -> ReleaseView:
    """A release with every status."""
    return _mixed().view()


@pytest.fixture
def hostile() -> ReleaseView:
    """A release whose every text means harm."""
    return _hostile().view()


@pytest.fixture
def untouched() -> ReleaseView:
    """A release of 200 gates that nobody looked at."""
    built = Builder()
    for number in range(200):
        built.gate(f"2.{number // 4}.{number % 4}", f"Gate {number}", f"Item {number // 4}")
    return built.view()


@pytest.fixture
def build() -> Callable[[], Builder]:
    """A release to put together in the test itself."""
    return Builder


@pytest.fixture
def harm() -> str:
    """The text that the hostile release is full of."""
    return HOSTILE
