"""One gate for a terminal: declaration, standing, every attempt, and the word given on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_releasegate.model import Status
from pytest_releasegate.params import format_duration
from pytest_releasegate.report.reasons import absent, word
from pytest_releasegate.report.table import STATUS_STYLE, finding_line
from pytest_releasegate.report.text import fill, human_size, instant, one_line, span, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from pytest_releasegate.claims import Claim
    from pytest_releasegate.model import Gate, Result, Waiver
    from pytest_releasegate.report.text import Paint
    from pytest_releasegate.verdict import Standing

__all__ = ["Writer", "attempts", "declaration", "declared", "parameter_lines", "spoken"]

_NAME = 10
_SHORT_DIGEST = 12


@dataclass
class Writer:
    """Collects lines no wider than the terminal."""

    width: int
    paint: Paint
    lines: list[str] = field(default_factory=list)

    def pair(self, name: str, text: str, style: str = "") -> None:
        """A named value; what does not fit on the line goes on under it."""
        for number, line in enumerate(wrap(one_line(text), self.width - _NAME - 4) or ["-"]):
            self.lines.append(f"  {fill(name if number == 0 else '', _NAME)}  {self.paint(line, style)}")

    def text(self, text: str, indent: int, style: str = "") -> None:
        """Running text, indented."""
        lines = wrap(one_line(text), self.width - indent)
        self.lines += [" " * indent + self.paint(line, style) for line in lines]


def declared(gate: Gate) -> Iterator[tuple[str, str]]:
    """What was declared of a gate beside its kind and parameters, by name; what was left out is left out."""
    yield "item", f"{gate.item.id}  {gate.item.title}"
    yield "phase", f"{gate.phase}, step {gate.step}" if gate.step else gate.phase.value
    yield "severity", gate.severity.value
    if gate.when:
        yield "when", gate.when
    if gate.needs:
        yield "needs", ", ".join(gate.needs)
    if gate.valid_for:
        yield "valid for", format_duration(gate.valid_for)
    if gate.due is not None:
        yield "due", f"{format_duration(gate.due)} after the deployment"
    if gate.trigger:
        yield "trigger", "its failure asks for a rollback"
    if gate.observe:
        yield "observe", "shown, never decisive"
    if gate.owner:
        yield "owner", gate.owner
    yield "place", str(gate.place)


def parameter_lines(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The parameters of a check as declared, by name."""
    return [(str(name), _value(value)) for name, value in parameters.items()]


def declaration(out: Writer, row: Standing) -> None:
    """The head of the gate: its title, what was declared, and where it stands."""
    out.text(f"{row.gate.id}  {row.gate.title}", 0, "strong")
    for name, text in declared(row.gate):
        out.pair(name, text)
    out.pair("check", row.gate.kind)
    for name, text in parameter_lines(row.gate.parameters):
        out.text(f"{name}: {text}", _NAME + 6)
    out.pair("digest", row.planned.digest)
    cases = [case for case in row.planned.cases if case]
    if cases:
        out.pair("cases", ", ".join(cases))
    out.pair("status", word(row.status), STATUS_STYLE[row.status])
    out.pair("raw", word(row.raw), STATUS_STYLE[row.raw])
    if row.reason:
        out.pair("reason", row.reason)


def attempts(out: Writer, row: Standing, results: Sequence[Result]) -> None:
    """Every look at the gate, oldest first, with findings and evidence."""
    out.lines += ["", out.paint(f"attempts: {len(results) or 'none'}", "strong")]
    for case in absent(row):
        out.text(f"case {case}: missing", 2, STATUS_STYLE[Status.MISSING])
    for result in results:
        counts = "judged" if result in row.results else "not judged"
        parts = [instant(result.started_at, exact=True), word(result.status), span(result.seconds), counts]
        parts += [f"case {result.case}"] if result.case else []
        parts += [f"target {result.target}"] if result.target else []
        parts += [f"tried {result.attempts} times"] if result.attempts > 1 else []
        out.text(", ".join(parts), 2, STATUS_STYLE[result.status])
        for line in result.message.splitlines():
            out.text(line, 4)
        for finding in result.findings:
            out.text(finding_line(finding), 4)
        for piece in result.evidence:
            short = piece.sha256[:_SHORT_DIGEST]
            out.text(f"evidence: {piece.name}, {piece.media_type}, {human_size(piece.size)}, sha256 {short}", 4)


def spoken(out: Writer, row: Standing) -> None:
    """The claims that the standing rests on, each with the beginning of its identity."""
    for title, claim, lines in _spoken(row):
        out.lines += ["", out.paint(title, "strong")]
        signed = f", signed with {claim.key}" if claim.key else ""
        out.text(f"{instant(claim.at, exact=True)}, {claim.person} ({claim.role}){signed}", 2)
        for line in filter(None, lines):
            out.text(line, 4)
        out.text(f"claim {claim.identity[:_SHORT_DIGEST]}", 4)


def _spoken(row: Standing) -> Iterator[tuple[str, Claim, tuple[str, ...]]]:
    if said := row.attestation:
        yield f"attestation: {word(said.status)}", said, (said.note, f"evidence: {said.evidence}" * bool(said.evidence))
    if waived := row.waiver:
        told = (f"{name}: {text}" * bool(text) for name, text in _accepted(waived))
        yield f"waiver until {instant(waived.expires_at, exact=True)}", waived, tuple(told)
    if signed := row.sign_off:
        yield f"sign-off of {signed.phase}, {signed.decision}", signed, (f"over {len(signed.subject)} gates",)


def _accepted(waiver: Waiver) -> Iterator[tuple[str, str]]:
    yield "reason", waiver.reason
    yield "mitigation", waiver.mitigation
    yield "risk", waiver.risk
    yield "bound to", f"commit {waiver.git_commit}" if waiver.git_commit else "this release"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_value(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_value(part) for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
