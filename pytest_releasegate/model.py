"""The nouns: frozen, without behaviour beyond their own meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from pytest_releasegate.claims import Attestation, Claims, Revocation, SignOff, Waiver
from pytest_releasegate.phases import NEEDS_DEPLOYMENT, PREDECESSORS, STEPS, Phase, is_after_deployment
from pytest_releasegate.statuses import Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from pytest_releasegate.policy import Rules

__all__ = [
    "ASKS_PEOPLE",
    "NEEDS_DEPLOYMENT",
    "PREDECESSORS",
    "STEPS",
    "Attestation",
    "Claims",
    "Decision",
    "Environment",
    "Evidence",
    "Finding",
    "Gate",
    "Item",
    "Kept",
    "Ok",
    "Phase",
    "Place",
    "Plan",
    "PlannedGate",
    "Release",
    "Result",
    "Revocation",
    "Run",
    "Severity",
    "SignOff",
    "Start",
    "Status",
    "StepEvent",
    "Waiver",
    "by_gate",
    "is_after_deployment",
]


ASKS_PEOPLE = frozenset({"attest", "sign_off"})
"""The kinds of check that a person answers."""
_BY_GATE = "gate "


def by_gate(who: str) -> bool:
    """Whether it was a gate that said it, as `gate 8.1.4`; no account has a blank in its name."""
    return who.startswith(_BY_GATE)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something was declared: a file relative to the root, line and column from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Severity(StrEnum):
    """How bad it is when a gate fails."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Ok(StrEnum):
    """Whether a finding is as expected."""

    YES = "yes"
    NO = "no"
    CANNOT_TELL = "cannot tell"


class Decision(StrEnum):
    """The word of a phase, from best to worst."""

    GO = "GO"
    HOLD = "HOLD"
    NO_GO = "NO-GO"
    ROLLBACK = "ROLLBACK"

    @property
    def rank(self) -> int:
        """Position in the order GO < HOLD < NO-GO < ROLLBACK."""
        return list(Decision).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `observe` findings are shown and never judged."""

    name: str
    expected: str
    actual: str
    ok: Ok
    observe: bool = False

    def __str__(self) -> str:
        return f"{self.name}: expected {self.expected}, got {self.actual}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Bytes that show a finding, by their digest; size in bytes."""

    name: str
    media_type: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Item:
    """One checkbox of the checklist."""

    id: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One verifiable line of the checklist, as declared."""

    id: str
    title: str
    item: Item
    phase: Phase
    step: str = ""
    severity: Severity
    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    topics: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    when: str = ""
    valid_for: timedelta | None = None
    due: timedelta | None = None
    """How long after `deployed_at` the gate falls due."""
    trigger: bool = False
    """A failure asks for a rollback."""
    observe: bool = False
    """Looked at and shown, never decisive."""
    alternatives: str = ""
    """The name that it shares with those of which one must hold."""
    writes: bool = False
    """It changes something for good, and runs once."""
    owner: str = ""
    place: Place

    @property
    def markers(self) -> frozenset[str]:
        """The pytest markers that the gate's items bear."""
        names = {"gate", self.phase.value, self.kind, self.severity.value, *self.topics}
        return frozenset(names | {self.step}) - {""}


@dataclass(frozen=True, slots=True)
class PlannedGate:
    """A gate in a frozen plan, with its digest and the cases that must be in the record."""

    gate: Gate
    digest: str
    cases: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True)
class Plan:
    """The frozen list of gates of one release, and the environment that they look at."""

    gates: tuple[PlannedGate, ...]
    digest: str
    target: str = ""
    """The digest of the environment as declared, references and all; part of `digest`."""
    rules: Rules | None = None
    """The policy, the roles and their keys, as they were when it was frozen; part of `digest`."""

    def by_id(self) -> dict[str, PlannedGate]:
        """The planned gates by their ids."""
        return {planned.gate.id: planned for planned in self.gates}


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A named target; values may hold references such as `${env:NAME}`, which resolve when a gate starts."""

    name: str
    base_url: str = ""
    databases: Mapping[str, str] = field(default_factory=dict, repr=False)
    metrics: str = ""
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    protected: bool = False
    allow: frozenset[str] = frozenset()
    watch: timedelta | None = None
    connections: int = 2
    """How many connections to one database gates may hold at once, all workers of a machine together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One attempt to bring a version of a product into an environment."""

    product: str
    version: str
    environment: str
    attempt: int = 1
    id: int = 0
    git_commit: str = ""
    git_branch: str = ""
    opened_at: datetime
    deployed_at: datetime | None = None
    deployed_by: str = ""
    """Who said when it was deployed: a person, or `gate 8.1.4`, which saw it; empty in older records."""
    rolled_back_at: datetime | None = None
    rollback_reason: str = ""
    window: tuple[datetime, datetime] | None = None
    """Between which instants it is to be deployed."""
    facts: Mapping[str, bool] = field(default_factory=dict)
    derived: Mapping[str, str] = field(default_factory=dict)
    """Facts derived from what changed: the path that makes each true, empty where it is false."""
    plan_digest: str = ""
    profile: str = ""
    """The profile of the policy that it was opened under, such as `hotfix`."""
    authors: tuple[str, ...] = ()
    """Who wrote the commits that it brings, by their e-mail addresses."""

    @property
    def known_facts(self) -> Mapping[str, bool]:
        """The facts as they were declared, else as they were derived."""
        return {**{name: bool(path) for name, path in self.derived.items()}, **self.facts}

    @property
    def seen_by(self) -> str:
        """The gate that saw the deployment first; empty where a person said when it was."""
        return self.deployed_by.removeprefix(_BY_GATE) if by_gate(self.deployed_by) else ""

    @property
    def deployment(self) -> str:
        """Where the instant of the deployment comes from, such as `seen by gate 8.1.4`; empty where nobody knows."""
        return f"{'seen' if self.seen_by else 'said'} by {self.deployed_by}" if self.deployed_by else ""

    @property
    def name(self) -> str:
        """Version and environment as people say them, such as `1.4.0/prod`."""
        suffix = f" attempt {self.attempt}" if self.attempt > 1 else ""
        return f"{self.version}/{self.environment}{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one look at one case of a gate gave; never overwritten."""

    gate: str
    status: Status
    started_at: datetime
    case: str = ""
    target: str = ""
    findings: tuple[Finding, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    kept: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    seconds: float = 0.0
    attempts: int = 1
    gate_digest: str = ""
    code: str = ""
    """The git blob id of the test's file, for a Python gate."""
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A measurement that a gate left in the record for later gates and releases to compare with."""

    name: str
    value: Any
    gate: str
    version: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One pytest session that looked at gates of a release."""

    started_at: datetime
    expression: str
    scope: tuple[str, ...]
    """The ids of the gates that the run set out to look at."""
    host: str
    pid: int
    ended_at: datetime | None = None
    decision: str = ""
    exit_code: int | None = None
    tool_version: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A gate that writes was begun; written before it starts, so that nothing begins it twice."""

    gate: str
    case: str
    at: datetime
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent:
    """A step of a phase was closed or reopened."""

    phase: Phase
    step: str
    event: Literal["closed", "reopened"]
    at: datetime
    reason: str = ""
    run: int = 0
