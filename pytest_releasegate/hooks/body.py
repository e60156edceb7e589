"""What became of the function of a Python gate, whatever conftests and plugins make of its report."""

from __future__ import annotations

import functools
import inspect
import subprocess
from dataclasses import dataclass
from typing import Any
from unittest import IsolatedAsyncioTestCase, TestCase

import pytest

__all__ = ["Body", "blob_of", "first_line"]


@dataclass
class Body:
    """What became of the function of a Python gate, whatever others make of its report."""

    watched: bool = False
    entered: bool = False
    raised: str = ""
    returned: str = ""

    def watch(self, item: pytest.Item) -> None:
        """Stand between pytest and the function; coroutines are left to the plugin that awaits them."""
        function = getattr(item, "obj", None)
        if not callable(function) or not isinstance(item, pytest.Function):
            return
        if inspect.iscoroutinefunction(function):
            self.returned = _unawaited(item)
            return

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            self.entered, self.raised = True, ""
            try:
                value = function(*args, **kwargs)
            except BaseException as error:
                self.raised = type(error).__name__
                raise
            self.returned = "" if value is None else f"it returned {type(value).__name__} instead of asserting"
            return value

        self.watched = True
        item.obj = run

    def wrong(self) -> str:
        """Why a report that says passed is not to be believed; empty where nothing speaks against it."""
        if self.watched and not self.entered:
            return "its body never ran"
        if self.raised:
            return f"it raised {self.raised}, which something kept from the report"
        return self.returned


def _unawaited(item: pytest.Function) -> str:
    """Why nobody awaits a coroutine of a test case; pytest itself refuses it in a plain function."""
    case = getattr(item, "cls", None)
    plain = inspect.isclass(case) and issubclass(case, TestCase) and not issubclass(case, IsolatedAsyncioTestCase)
    return "a coroutine that nobody awaits: use unittest.IsolatedAsyncioTestCase" if plain else ""


def blob_of(item: pytest.Item) -> str:
    """The git blob id of the test's file, so that the record says which code has looked."""
    try:
        done = subprocess.run(
            ["git", "hash-object", str(item.path)], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def first_line(report: pytest.TestReport, error: BaseException | None) -> str:
    """The first line of why a test failed or was skipped, with the kind of error where that says more."""
    text = str(error) if error else str(report.longrepr)
    name = type(error).__name__ if error else ""
    first = next((line.strip() for line in text.splitlines() if line.strip()), name or "no reason given")
    return first if name in {"", "AssertionError", "Failed", "Skipped"} else f"{name}: {first}"
