"""The release as one page that needs nothing else: to decide by, to sign, and to audit a year later."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_releasegate.claims import Attestation, Revocation, SignOff, kind_of
from pytest_releasegate.model import STEPS, Decision, Finding, Ok, Phase, Status
from pytest_releasegate.report.exhibits import Exhibits
from pytest_releasegate.report.onegate import declared, parameter_lines
from pytest_releasegate.report.reasons import (
    TROUBLE,
    absent,
    by_item,
    deployment,
    facts,
    grouped,
    next_steps,
    tally,
    word,
)
from pytest_releasegate.report.text import count, human_size, instant, plain, span
from pytest_releasegate.verdict import closed_steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from jinja2 import Environment

    from pytest_releasegate.claims import Claim
    from pytest_releasegate.model import Result, Run
    from pytest_releasegate.report.view import ReleaseView
    from pytest_releasegate.verdict import Standing

__all__ = ["render"]

_TEMPLATES = Path(__file__).parent / "templates"
_LONGEST = 2000
"""Characters of one text on the page."""
_LONGEST_LINE = 300
"""Characters of a title or a reason; what it was made from stands under the gate."""
_SIGNERS = ("Release Manager", "Engineering Lead", "Database Administrator", "Security Lead", "Product Owner")
"""Who signs by hand where the plan asks nobody for a signature."""
_MEANING = {
    Decision.GO: "every gate of the phase holds, and so do the phases before it",
    Decision.HOLD: "someone must act",
    Decision.NO_GO: "a critical or high gate failed",
    Decision.ROLLBACK: "a rollback trigger fired",
}
_STATUS_MEANING = {
    Status.PASSED: "looked at, and as expected",
    Status.ATTESTED: "a named person has said so, and the word is still valid",
    Status.WAIVED: "failed, and the risk is accepted",
    Status.FAILED: "looked at, and not as expected",
    Status.ERROR: "could not look",
    Status.INCONCLUSIVE: "looked, too little to tell",
    Status.PENDING: "a person must speak",
    Status.MISSING: "no valid row in the record",
    Status.NOT_DUE: "its time has not come",
    Status.NOT_APPLICABLE: "the release's facts rule it out",
}
_MARKS = {Ok.YES: "as expected", Ok.NO: "not as expected", Ok.CANNOT_TELL: "cannot tell"}


@dataclass(frozen=True, slots=True)
class _Moment:
    """One line of the timeline."""

    at: datetime
    what: str
    detail: str = ""


def render(view: ReleaseView) -> str:
    """One self-contained HTML page of the release; it loads nothing and is readable without its script."""
    template = _environment().get_template("release.html.j2")
    style, script = _part("release.css"), _part("release.js")
    return template.render(
        view=view,
        release=view.release,
        style=style,
        script=script,
        policy=_policy(style, script),
        exhibits=Exhibits(view.body),
        facts=list(_facts(view)),
        attempts=_by_gate(view),
        words=_words(view),
        moments=sorted(_moments(view), key=lambda moment: moment.at),
        steps=next_steps(view, view.ahead),
        signers=_SIGNERS,
        sign_offs=[row for row in view.standings.values() if row.gate.kind == "sign_off"],
        decisions=_MEANING,
        statuses=_STATUS_MEANING,
    )


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        instant=instant, span=span, size=human_size, word=word, tally=tally, grouped=grouped, whole=_whole, brief=_brief
    )
    made.globals.update(
        by_item=by_item,
        absent=absent,
        declared=declared,
        parameter_lines=parameter_lines,
        trouble=TROUBLE,
        mark=_mark,
        count=count,
        steps_of=_steps_of,
    )
    return made


def _finalize(value: Any) -> Any:
    """Each text on the page passes here: harmless, and cut when huge; the page's own markup is let through."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    text = str(value)
    rest = len(text) - _LONGEST
    return plain(text if rest <= 0 else f"{text[:_LONGEST]}… ({rest} more characters in the record)")


def _brief(text: str) -> str:
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"


def _whole(text: str) -> Any:
    """A text that may be longer than others, harmless and escaped."""
    from markupsafe import escape

    return escape(plain(text))


def _part(name: str) -> Any:
    from markupsafe import Markup

    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704  our own file, nothing from a record


def _policy(style: str, script: str) -> str:
    """The page's own content policy: nothing is loaded, and nothing runs but the page's style and script."""

    def digest(text: str) -> str:
        return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    parts = (f"style-src {digest(style)}", f"script-src {digest(script)}", "img-src data:", "base-uri 'none'")
    return "; ".join(("default-src 'none'", *parts, "form-action 'none'"))


def _facts(view: ReleaseView) -> Iterator[tuple[str, str]]:
    release = view.release
    yield "Product", release.product
    yield "Version", release.version
    yield "Environment", release.environment
    yield "Attempt", str(release.attempt)
    yield "Commit", release.git_commit or "not recorded"
    yield "Branch", release.git_branch or "not recorded"
    yield "Opened", instant(release.opened_at, exact=True)
    if release.window:
        yield "Window", " to ".join(instant(at, exact=True) for at in release.window)
    yield "Deployed", deployment(release, exact=True)
    if release.rolled_back_at:
        yield "Rolled back", f"{instant(release.rolled_back_at, exact=True)}: {release.rollback_reason}"
    yield "Facts", facts(release) or "none"
    yield "Plan", f"{count(len(view.plan.gates), 'gate')}, digest {view.plan.digest}"
    yield "Record", view.record
    yield "Told as of", instant(view.now, exact=True)


def _by_gate(view: ReleaseView) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {gate: [] for gate in view.standings}
    for result in view.results:
        found.setdefault(result.gate, []).append(result)
    return found


def _words(view: ReleaseView) -> list[tuple[Standing, Attestation]]:
    return [(row, row.attestation) for row in view.standings.values() if row.attestation]


def _mark(finding: Finding) -> str:
    return f"observed, {_MARKS[finding.ok]}" if finding.observe else _MARKS[finding.ok]


def _steps_of(view: ReleaseView, phase: Phase) -> str:
    planned = {row.gate.step for row in view.phases[phase].standings}
    closed = closed_steps(view.steps)
    told = [f"{step} {'closed' if (phase, step) in closed else 'open'}" for step in STEPS.get(phase, ())]
    return ", ".join(text for text in told if text.partition(" ")[0] in planned)


def _moments(view: ReleaseView) -> Iterator[_Moment]:
    release = view.release
    yield _Moment(release.opened_at, "release opened", f"plan of {count(len(view.plan.gates), 'gate')}")
    if release.deployed_at:
        told = f"{release.version} to {release.environment}"
        yield _Moment(release.deployed_at, "deployed", ", ".join(filter(None, (told, release.deployment))))
    if release.rolled_back_at:
        yield _Moment(release.rolled_back_at, "rolled back", release.rollback_reason)
    for run in view.runs:
        yield from _run(run)
    for event in view.steps:
        yield _Moment(event.at, f"step {event.phase}/{event.step} {event.event}", event.reason)
    for claim in view.claims.all:
        told = f"{claim.person} ({claim.role}){f', signed with {claim.key}' if claim.key else ''}"
        yield _Moment(claim.at, _claimed(claim), told)


def _claimed(claim: Claim) -> str:
    kind = kind_of(claim).replace("_", "-")
    if isinstance(claim, Revocation):
        return f"{kind} of claim {claim.claim[:12]}: {claim.reason}"
    if isinstance(claim, SignOff):
        return f"{kind} of {claim.phase}: {claim.decision}"
    return f"{kind} of {claim.gate}" + (f": {word(claim.status)}" if isinstance(claim, Attestation) else "")


def _run(run: Run) -> Iterator[_Moment]:
    scope = f"{run.expression or 'no marker expression'}; {count(len(run.scope), 'gate')} in scope"
    yield _Moment(run.started_at, f"run {run.id} started", f"{scope}; process {run.pid} on {run.host}")
    if run.ended_at:
        ended = f"decision {run.decision or 'none'}, exit code {'none' if run.exit_code is None else run.exit_code}"
        yield _Moment(run.ended_at, f"run {run.id} ended", f"{ended}; pytest-releasegate {run.tool_version}".rstrip())
    else:
        yield _Moment(run.started_at, f"run {run.id} has no recorded end", "it goes on, or was killed")
