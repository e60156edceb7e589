"""Several targets beside each other: a line for each, and the worst of them for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.model import Decision
from pytest_releasegate.report.text import Paint, count, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_releasegate.report.view import ReleaseView
    from pytest_releasegate.verdict import Verdict

__all__ = ["Word", "fleet_lines", "scope_word"]

_STYLES = {Decision.GO: "good", Decision.HOLD: "open", Decision.NO_GO: "bad", Decision.ROLLBACK: "alarm"}


@dataclass(frozen=True, slots=True)
class Word:
    """What is said of one target: its decision, and the text that stands beside its name."""

    target: str
    decision: Decision
    text: str


def scope_word(verdict: Verdict, view: ReleaseView | None) -> str:
    """A scope's word and those of its phases, in one line."""
    phases = dict.fromkeys(row.gate.phase for row in verdict.standings)
    words = [f"scope {_ok(verdict.decision)}: {count(len(verdict.standings), 'gate')}"]
    words += [f"phase {phase}: {view.phases[phase].label}" for phase in phases if view and phase in view.phases]
    return "; ".join(words)


def fleet_lines(words: Sequence[Word], *, width: int, color: bool) -> list[str]:
    """A line for each target, then the word for all of them, which is the worst."""
    paint = Paint(color)
    room = max(len(word.target) for word in words)
    lines = []
    for word in words:
        first, *more = wrap(word.text, width - room - 2)
        lines += [f"{word.target:<{room}}  {paint(first, _STYLES[word.decision])}"]
        lines += [f"{'':<{room}}  {line}" for line in more]
    worst = max((word.decision for word in words), key=lambda decision: decision.rank)
    good = sum(word.decision is Decision.GO for word in words)
    return [*lines, paint(f"in all {_ok(worst)}: {good} of {count(len(words), 'target')} ok", _STYLES[worst])]


def _ok(decision: Decision) -> str:
    """The decision of what is no phase: GO is a phase's word."""
    return "ok" if decision is Decision.GO else decision.value
