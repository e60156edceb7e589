"""What the terminal shows: a short header, our own words for statuses, and the summary with the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.model import Status
from pytest_releasegate.params import format_duration
from pytest_releasegate.report.terminal import scope_lines
from pytest_releasegate.report.text import wrap

if TYPE_CHECKING:
    from pytest_releasegate.hooks.recorder import Recorder
    from pytest_releasegate.hooks.session import GateSession

__all__ = ["Terminal"]

_WORDS = {
    Status.FAILED: ("failed", "F", "FAILED"),
    Status.ERROR: ("failed", "E", "ERROR"),
    Status.WAIVED: ("xfailed", "w", "WAIVED"),
    Status.INCONCLUSIVE: ("failed", "I", "INCONCLUSIVE"),
}


class Terminal:
    """Header, progress words and summary of a run over gates."""

    def __init__(self, session: GateSession, recorder: Recorder) -> None:
        self.session = session
        self.recorder = recorder
        self.title = f"release gate: {session.identity.environment.name}" if session.fleet else "release gate"

    def pytest_report_header(self) -> list[str]:
        """The release, the environment, the plan, the record, and what a person should know."""
        own, identity = self.session, self.session.identity
        url = identity.base_url or f"{identity.environment.base_url} (not set)"
        lines = [
            f"releasegate: {own.release.product} {own.release.name} at {url}",
            f"  version from {identity.version_from}; environment from {identity.environment_from}",
            f"  plan: {len(own.plan.gates)} gates, digest {own.plan.digest[:12]}",
        ]
        if own.store and own.recorded:
            lines.append(f"  record: {own.store.shown_url}")
        if identity.environment.watch:
            lines.append(f"  watch: {format_duration(identity.environment.watch)}, whatever a gate declares")
        return lines + [f"  {line}" for note in own.notes for line in note.splitlines()]

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Our own words for what failed; pytest's own categories, so that its sections stay."""
        status = getattr(report, "releasegate_status", "")
        accepted = status == Status.WAIVED and hasattr(report, "wasxfail")
        if report.when != "call" or not status or not (report.failed or accepted):
            return None
        return _WORDS.get(Status(status))

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """The table by item, the word for the scope, and the word of each phase in question."""
        view, verdict = self.recorder.view, self.recorder.verdict
        for line in self.recorder.trouble:
            terminalreporter.write_line(f"releasegate{self.session.suffix}: {line}", red=True)
        width = config.get_terminal_writer().fullwidth
        for line in (part for told in self.recorder.told for part in wrap(f"releasegate: {told}", width)):
            terminalreporter.write_line(line, yellow=True, bold=True)
        if view is None or verdict is None:
            return
        phases = list(dict.fromkeys(row.gate.phase for row in verdict.standings))
        terminalreporter.section(self.title)
        lines = scope_lines(
            view,
            verdict,
            phases,
            width=width,
            color=terminalreporter.hasmarkup,
            verbose=config.getoption("verbose") > 0,
            ran=self.recorder.ran,
        )
        for line in lines:
            terminalreporter.write_line(line)
