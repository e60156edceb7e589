"""What a test that bears a gate, or what keeps a gate from looking, leaves in pytest's reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.check import find, judge
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.hooks.body import Body, first_line
from pytest_releasegate.model import Status

if TYPE_CHECKING:
    from datetime import datetime

    import pytest

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Probe"]


class Probe:
    """What a Python gate collects while it runs: findings, and evidence through its context."""

    def __init__(self, context: Context, started_at: datetime) -> None:
        self.context = context
        self.started_at = started_at
        self.findings: list[Finding] = []
        self.status: Status | None = None
        self.message = ""
        self.seconds = 0.0
        self.called = False
        self.body = Body()

    def see(self, when: str, report: pytest.TestReport, error: BaseException | None) -> None:
        """Take in one of the three reports of the test."""
        self.seconds += report.duration
        expectation = "xfail" if hasattr(report, "wasxfail") else report.outcome
        if when == "call":
            self.called = True
            self._called(expectation, report, error)
        elif report.failed:
            self.status, self.message = Status.ERROR, f"{when} failed: {first_line(report, error)}"
        elif report.skipped:
            self._called("skipped", report, error)

    def _called(self, outcome: str, report: pytest.TestReport, error: BaseException | None) -> None:
        if outcome == "skipped":
            self.status, self.message = Status.INCONCLUSIVE, f"skipped: {first_line(report, error)}"
        elif outcome == "xfail":
            self.status, self.message = Status.FAILED, "the test is marked as expected to fail"
        elif isinstance(error, CannotLook):
            self.status, self.message = Status.ERROR, str(error)
        elif outcome == "failed" or error is not None:
            self.findings.append(find("the test", expected="passes", actual=first_line(report, error), ok=False))
        elif wrong := self.body.wrong():
            self.findings.append(find("the test", expected="passes", actual=wrong, ok=False))
        else:
            self.findings.append(find("the test", expected="passes", actual="passes", ok=True))

    def verdict(self) -> Status:
        """The status of the whole test; one whose body never ran was not looked at."""
        if self.status is None and not self.called:
            return Status.ERROR
        return self.status or judge(self.findings)
