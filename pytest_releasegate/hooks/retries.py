"""Gates that another plugin runs again: each attempt is a look of its own, and that there were several is said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.check import find
from pytest_releasegate.hooks.looking import LOOKED, NOT_ASKED, PROBE
from pytest_releasegate.verdict import HOLDS

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_releasegate.hooks.looking import Looked
    from pytest_releasegate.model import Finding, Status

__all__ = ["Retries"]

_EARLIER = pytest.StashKey[list["Looked"]]()
"""What the earlier attempts gave."""


class Retries:
    """Lets each attempt begin anew, and hands on what the earlier ones gave; comes before the result is made."""

    def __init__(self) -> None:
        self.passed: dict[str, int] = {}
        """The gates that passed on retry, with how many attempts it took."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a report says of earlier attempts."""
        earlier = getattr(report, "releasegate_earlier", ())
        if earlier and report.when == "teardown" and getattr(report, "releasegate_status", "") in HOLDS:
            target, gate = getattr(report, "releasegate_target", ""), getattr(report, "releasegate_gate", "")
            self.passed[f"{target} {gate}".strip()] = len(earlier) + 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which gates passed on retry: they are green, and somebody should know."""
        if self.passed:
            gates = (f"{gate} ({attempts} attempts)" for gate, attempts in sorted(self.passed.items()))
            terminalreporter.write_line(f"passed on retry: {', '.join(gates)}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Put an earlier attempt aside."""
        earlier = item.stash.get(LOOKED, None)
        if earlier:
            item.stash.setdefault(_EARLIER, []).append(earlier)
            for key in (LOOKED, PROBE, NOT_ASKED):
                _drop(item, key)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Say at the end how many attempts there were."""
        report = yield
        earlier = item.stash.get(_EARLIER, [])
        if earlier and (call.when == "teardown" or not report.passed):
            from pytest_releasegate.store.journal import to_json

            report.releasegate_earlier = [to_json(one.result) for one in earlier]  # type: ignore[attr-defined]
        if earlier and call.when == "teardown":
            self._say(item, len(earlier) + 1)
        return report

    def _say(self, item: pytest.Item, attempts: int) -> None:
        looked, probe = item.stash.get(LOOKED, None), item.stash.get(PROBE, None)
        if probe:
            probe.findings.append(_finding(probe.verdict(), attempts))
        elif looked:
            findings = (*looked.result.findings, _finding(looked.result.status, attempts))
            looked.result = replace(looked.result, findings=findings, attempts=attempts)


def _drop(item: pytest.Item, key: pytest.StashKey[Any]) -> None:
    if key in item.stash:
        del item.stash[key]


def _finding(status: Status, attempts: int) -> Finding:
    """That it was tried again, which judges nothing: a pass is a pass, and everybody sees how it came about."""
    name = "passed on retry" if status in HOLDS else "tried again"
    return find(name, expected="1 attempt", actual=f"{attempts} attempts", ok=False, observe=True)
