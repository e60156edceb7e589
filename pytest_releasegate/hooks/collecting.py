"""In the process that only collects: writes down which tests bear which gates."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.marks import borne
from pytest_releasegate.checklist.python_gates import BROWSERS_VARIABLE, PythonGates, case_of
from pytest_releasegate.hooks import asking

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

__all__ = ["CaseWriter", "as_asked"]


def as_asked(config: pytest.Config) -> None:
    """Collect for the browsers that the run was asked for, instead of those of the configuration."""
    browsers = os.environ.get(BROWSERS_VARIABLE, "").split()
    if browsers and config.pluginmanager.hasplugin("playwright"):
        config.option.browser = browsers


class CaseWriter:
    """Writes the gates of the collected tests, and the modules that could not be imported, into a file."""

    def __init__(self, answer: Path) -> None:
        self.answer = answer
        self.found = PythonGates()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a module that cannot be imported."""
        if report.failed:
            lines = [line for line in str(report.longrepr).splitlines() if line.startswith("E ")]
            self.found.broken[report.nodeid] = lines[-1][1:].strip() if lines else "it could not be collected"

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note what a marked test bears, before anything can deselect it."""
        found = borne(item, asking.paths(item.config))
        if found:
            file, line = item.nodeid.partition("::")[0], (item.reportinfo()[1] or 0) + 1
            self.found.add(found[0], file, case_of(item.nodeid), line, found[1])

    def pytest_sessionfinish(self) -> None:
        """Write the answer."""
        self.answer.write_text(json.dumps(asdict(self.found), default=str), encoding="utf-8")
