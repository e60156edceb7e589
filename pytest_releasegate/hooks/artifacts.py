"""What Playwright kept of a test becomes evidence of its gate: pictures, films, and traces without what is secret."""

from __future__ import annotations

import os
import shlex
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.hooks.flow import FLOW
from pytest_releasegate.hooks.keeping import MOST_BYTES, Keeper
from pytest_releasegate.hooks.looking import PROBE
from pytest_releasegate.sources.traces import NotRedacted, redacted

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_releasegate.hooks.probe import Probe

__all__ = ["Artifacts"]

_PREFIX = "playwright_"
_MEDIA = {"screenshot": "image/png", "video": "video/webm"}


class Artifacts:
    """Takes what pytest-playwright kept of a test, as soon as it is there; comes before the result is made."""

    def __init__(self, config: pytest.Config, *, recorded: bool) -> None:
        self.config = config
        self.recorded = recorded
        self.ours = _names_artifacts(config) and not _is_said(config, "--tracing")
        """Whether traces are kept only because we want them, so that nobody misses the unredacted file."""
        if self.ours:
            config.option.tracing = "retain-on-failure"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Delete what earlier runs left in Playwright's output folder, once, before any worker runs a test."""
        if not hasattr(self.config, "workerinput") and not self.config.getoption("collectonly"):
            shutil.rmtree(self.config.getoption("--output"), ignore_errors=True)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Remove the folder where nothing is left in it; no worker needs it any more."""
        if not hasattr(self.config, "workerinput"):
            with suppress(OSError):
                Path(self.config.getoption("--output")).rmdir()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Take what the report of the teardown names."""
        report = yield
        if call.when == "teardown":
            self._take(item, report)
        return report

    def _take(self, item: pytest.Item, report: pytest.TestReport) -> None:
        named = [(str(name), str(path)) for name, path in report.user_properties if str(name).startswith(_PREFIX)]
        probe, flow = item.stash.get(PROBE, None), item.stash.get(FLOW, None)
        keeper = flow.keeper if flow else Keeper(probe.context) if probe else None
        for name, path in named:
            file, kind = self.config.invocation_params.dir / path, name.removeprefix(_PREFIX)
            if keeper and probe:
                private, pages = (flow.private, not flow.hides) if flow else ({}, True)
                self._keep(keeper, kind, file, probe, private, pages=pages)
            if kind == "trace" and self.ours and (self.recorded or keeper is None):
                report.user_properties.remove((name, path))
                _remove(file)
        if keeper and probe:
            probe.findings += keeper.findings()

    def _keep(
        self, keeper: Keeper, kind: str, file: Path, probe: Probe, private: dict[str, str], *, pages: bool
    ) -> None:
        try:
            if kind == "trace":
                body, media = redacted(file, probe.context.secrets, private, pages=pages), "application/zip"
                if self.ours:  # in a rehearsal it stays there, for whoever wants to see
                    file.write_bytes(body)
            elif file.stat().st_size > MOST_BYTES:
                return keeper.leave_out(file.name, "too large")
            else:
                body, media = file.read_bytes(), _MEDIA.get(kind, "application/octet-stream")
        except (OSError, NotRedacted) as wrong:
            if kind == "trace" and self.ours:
                _remove(file)
            return keeper.leave_out(file.name, getattr(wrong, "strerror", None) or str(wrong))
        return keeper.keep(file.name, media, body, needed=True)


def _names_artifacts(config: pytest.Config) -> bool:
    """Whether this pytest-playwright says what it kept; an older one would leave raw traces that nobody asked for."""
    return hasattr(config.pluginmanager.getplugin("playwright"), "_attach_artifacts_to_report")


def _is_said(config: pytest.Config, option: str) -> bool:
    """Whether the command, the configuration or PYTEST_ADDOPTS names the option."""
    words = [*config.invocation_params.args, *config.getini("addopts")]
    words += shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    return any(str(word).partition("=")[0] == option for word in words)


def _remove(file: Path) -> None:
    """Remove a file, and its folder where that is empty then; the one above may be about to get another worker's."""
    with suppress(OSError):
        file.unlink()
        file.parent.rmdir()
