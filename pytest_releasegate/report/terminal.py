"""What a terminal shows of a release: the end of a session, the state of the record, and one gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.errors import UsageProblem, nearest
from pytest_releasegate.model import STEPS, Decision, Phase, Status
from pytest_releasegate.report.onegate import Writer, attempts, declaration, spoken
from pytest_releasegate.report.reasons import deployment, facts, grouped, next_steps, tally
from pytest_releasegate.report.table import Table
from pytest_releasegate.report.text import Paint, count, cut, instant, one_line, span, width, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_releasegate.model import StepEvent
    from pytest_releasegate.report.reasons import Group
    from pytest_releasegate.report.view import ReleaseView
    from pytest_releasegate.verdict import Standing, Verdict

__all__ = ["gate_lines", "scope_lines", "status_lines"]

_DECISION_STYLE = {
    Decision.GO: "good",
    Decision.HOLD: "open",
    Decision.NO_GO: "bad",
    Decision.ROLLBACK: "alarm",
}
_MOST_GROUPS = 12
_MOST_LINES = 3
"""Lines of one reason, when not verbose."""


def scope_lines(
    view: ReleaseView,
    verdict: Verdict,
    phases: Sequence[Phase],
    *,
    width: int,
    color: bool,
    verbose: bool,
    ran: Mapping[str, float],
) -> list[str]:
    """The end of a session: the scope's gates by item, the scope's word, its phases' words, and what to do next.

    `ran` holds the seconds of the gates looked at in this session; the others are told from the record.
    """
    paint = Paint(color)
    asked = {phase: view.phases[phase] for phase in phases if phase in view.phases}
    table = Table(verdict.standings, width, paint, lambda row: _seconds(row, ran))
    lines = [*table.lines(verbose=verbose), ""] if verdict.standings else []
    old = sum(row.status is Status.PASSED and row.gate.id not in ran for row in verdict.standings)
    lines += _scope(view, verdict, asked, width, paint, old=old)
    for phase, word in asked.items():
        told = "" if len(word.standings) == len(verdict.standings) else _counts(word)
        lines += _phase(phase, word, width, paint, verbose=verbose, counts=told)
    return lines + _next(view, asked, width, paint)


def status_lines(view: ReleaseView, *, width: int, color: bool, verbose: bool) -> list[str]:
    """The release as recorded: its facts, each phase's word, steps and open points, and what to do next."""
    paint = Paint(color)
    lines = _heading(view, width, paint)
    for phase, verdict in view.phases.items():
        if not view.begun(phase) and not verbose:
            lines += ["", paint(f"phase {phase}: {verdict.label}, not begun", _DECISION_STYLE[verdict.decision])]
            lines += [f"  {line}" for line in wrap(_counts(verdict), width - 2)]
            continue
        told, steps = _counts(verdict), _steps(view, phase)
        lines += ["", *_phase(phase, verdict, width, paint, verbose=verbose, counts=told, steps=steps)]
        if verbose:
            lines += ["", *Table(verdict.standings, width, paint, _looked).lines(verbose=True)]
    return lines + _next(view, view.ahead, width, paint)


def gate_lines(view: ReleaseView, gate_id: str, *, width: int, color: bool) -> list[str]:
    """One gate: its declaration, where it stands, and every attempt; raises `UsageProblem` for an unknown id."""
    row = view.standings.get(gate_id)
    if row is None:
        raise UsageProblem(
            f"the plan of {view.release.name} has no gate '{gate_id}'", nearest(gate_id, [*view.standings])
        )
    out = Writer(width, Paint(color))
    declaration(out, row)
    attempts(out, row, [result for result in view.results if result.gate == gate_id])
    spoken(out, row)
    return out.lines


def _seconds(row: Standing, ran: Mapping[str, float]) -> str:
    if row.gate.id in ran:
        return span(ran[row.gate.id])
    return "record" if row.results or row.attestation else "-"


def _counts(verdict: Verdict) -> str:
    return f"{count(len(verdict.standings), 'gate')}: {tally(verdict.standings)}"


def _looked(row: Standing) -> str:
    return span(sum(result.seconds for result in row.results)) if row.results else "-"


def _scope(
    view: ReleaseView, verdict: Verdict, asked: Mapping[Phase, Verdict], columns: int, paint: Paint, *, old: int
) -> Iterator[str]:
    inside = sum(len(word.standings) for word in asked.values()) if asked else len(view.standings)
    word = "ok" if verdict.decision is Decision.GO else verdict.decision.value
    text = f"scope {word}: {len(verdict.standings)} of {count(inside, 'gate')}"
    yield paint(text, _DECISION_STYLE[verdict.decision])
    if verdict.standings:
        yield from (f"  {line}" for line in wrap(tally(verdict.standings), columns - 2))
    if old:
        told = f"{old} of them passed in an earlier run, not looked at now"
        yield from (f"  {line}" for line in wrap(told, columns - 2))
    for reason in verdict.reasons:
        if not reason.gate:
            yield from (f"  {line}" for line in wrap(one_line(reason.text), columns - 2))


def _phase(
    phase: Phase, verdict: Verdict, columns: int, paint: Paint, *, verbose: bool, counts: str = "", steps: str = ""
) -> Iterator[str]:
    yield paint(f"phase {phase}: {verdict.label}", _DECISION_STYLE[verdict.decision])
    for text in (counts, steps):
        yield from (f"  {line}" for line in wrap(text, columns - 2))
    groups = grouped(verdict)
    shown = groups if verbose else groups[:_MOST_GROUPS]
    for group in shown:
        yield from _reason(group, columns, paint, verbose=verbose)
    if len(shown) < len(groups):
        yield cut(f"  and {count(len(groups) - len(shown), 'more reason')}: releasegate status --verbose", columns)


def _reason(group: Group, columns: int, paint: Paint, *, verbose: bool) -> Iterator[str]:
    room = columns - 12
    head = one_line(group.head)
    if len(group.gates) > 1:
        lines = wrap(f"{head}: {', '.join(group.gates)}", room) if verbose else _listed(head, group.gates, room)
    else:
        lines = wrap(head, room) if verbose else _shortened(wrap(head, room), room)
    for number, line in enumerate(lines):
        lead = paint(f"{group.decision:<8}", _DECISION_STYLE[group.decision]) if number == 0 else " " * 8
        yield f"  {lead}  {line}"


def _shortened(lines: list[str], room: int, most: int = _MOST_LINES) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], cut(f"{lines[most - 1]} …", room)]


def _listed(head: str, gates: tuple[str, ...], room: int) -> list[str]:
    """The head, and as many of the gates as one more line takes, with the number of the rest."""
    lines = _shortened(wrap(f"{head}:", room), room, _MOST_LINES - 1)
    start = lines.pop()
    for named in range(len(gates), 0, -1):
        rest = f", … and {len(gates) - named} more" if named < len(gates) else ""
        line = f"{start} {', '.join(gates[:named])}{rest}"
        if width(line) <= room:
            return [*lines, line]
    return [*lines, start, cut(f"{gates[0]}, … and {len(gates) - 1} more", room)]


def _next(view: ReleaseView, verdicts: Mapping[Phase, Verdict], columns: int, paint: Paint) -> list[str]:
    steps = next_steps(view, verdicts)
    verbs = max((len(verb) for verb, _ in steps), default=0)
    lines = ["", paint("next", "strong")] if steps else []
    for verb, command in steps:
        wrapped = wrap(one_line(command), columns - verbs - 4)
        lines += [f"  {'' if number else verb:<{verbs}}  {line}" for number, line in enumerate(wrapped)]
    return lines


def _heading(view: ReleaseView, columns: int, paint: Paint) -> list[str]:
    release, back = view.release, view.release.rolled_back_at
    rows = (
        (
            "commit",
            f"{release.git_commit or 'not recorded'}{f' on {release.git_branch}' if release.git_branch else ''}",
        ),
        ("opened", instant(release.opened_at)),
        *([("window", " to ".join(map(instant, release.window)))] if release.window else []),
        ("deployed", deployment(release)),
        *([("profile", release.profile)] if release.profile else []),
        *([("", f"rolled back {instant(back)}: {release.rollback_reason}")] if back else []),
        ("facts", facts(release)),
        ("plan", f"{count(len(view.plan.gates), 'gate')}, digest {view.plan.digest[:16]}"),
        ("record", view.record),
    )
    lines = [paint(cut(one_line(f"{release.product} {release.name}"), columns), "strong")]
    for name, text in rows:
        wrapped = wrap(one_line(text), columns - 12)
        lines += [f"  {'' if number else name:<8}  {line}" for number, line in enumerate(wrapped)]
    return lines


def _steps(view: ReleaseView, phase: Phase) -> str:
    planned = {row.gate.step for row in view.phases[phase].standings}
    told = [f"{step} {_state(view.steps, phase, step)}" for step in STEPS.get(phase, ()) if step in planned]
    return f"steps: {', '.join(told)}" if told else ""


def _state(events: Iterable[StepEvent], phase: Phase, step: str) -> str:
    last = [event for event in events if (event.phase, event.step) == (phase, step)]
    if not last:
        return "open"
    reason = f" ({one_line(last[-1].reason)})" if last[-1].reason else ""
    return f"{last[-1].event} {instant(last[-1].at)}{reason}"
