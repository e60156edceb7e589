"""The pytest plugin: options, and what to register; a run that asks for no gates imports nothing more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.hooks import asking

if TYPE_CHECKING:
    from pytest_releasegate.check import Clock

_OPTIONS = (
    ("--release", "releasegate_release", "VERSION", "the release that is looked at"),
    ("--env", "releasegate_env", "NAME", "the environment of gates/environments.yaml that is looked at"),
    ("--record", "releasegate_record", "URL", "where the record lies: a file, or a postgresql:// URL"),
)
_INI = (
    ("releasegate_release", "the release that is looked at"),
    ("releasegate_env", "the environment that is looked at"),
    ("releasegate_record", "where the record lies; .releasegate/record.db by default"),
    ("releasegate_zone", "the zone of instants that people write without offset, such as Europe/Berlin"),
    ("releasegate_chromium", "the Chromium to drive: `auto` or a path"),
    ("releasegate_browser_url", "a browser elsewhere: ws:// of a Playwright server, or http:// of Chromium's CDP"),
    ("releasegate_axe", "what axe finds in flows: `observe`, `off`, or from which impact on it fails, as `serious`"),
    ("releasegate_axe_script", "the axe.min.js to look with; else that of axe-playwright-python"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and ini values; `--base-url` belongs to pytest-base-url."""
    group = parser.getgroup("releasegate", "release gates")
    for name, dest, metavar, text in _OPTIONS:
        group.addoption(name, dest=dest, metavar=metavar, default=None, help=text)
    group.addoption(
        "--fact",
        dest="releasegate_fact",
        metavar="NAME=BOOL",
        action="append",
        help="a fact of a release that is opened",
    )
    group.addoption(
        "--must-exist",
        dest="releasegate_must_exist",
        action="store_true",
        help="stop when the record does not know the release",
    )
    group.addoption(
        "--verdict",
        dest="releasegate_verdict",
        choices=["scope", "phase"],
        default="scope",
        help="what the exit code follows: the gates asked for, or the worst of their phases",
    )
    group.addoption(
        "--gates",
        dest="releasegate_which",
        choices=["all", "stale"],
        default="all",
        help="`stale` looks again only at what is missing, failed, stale or pending by the record",
    )
    parser.addini("releasegate_gates", "the folder with the gate files", default="gates")
    parser.addini(
        "releasegate_paths", "folders with the tests that bear gates", type="args", default=["gates", "smoke", "load"]
    )
    for name, text in _INI:
        parser.addini(name, text, default="")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Our own hooks."""
    from pytest_releasegate import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and the rest only when gates are asked for."""
    for name, text in asking.MARKERS.items():
        config.addinivalue_line("markers", text if "(" in text.split(":")[0] else f"{name}: {text}")
    if asking.folder(config).is_dir():
        for name in sorted((asking.kinds() | asking.topics(config)) - asking.MARKERS.keys()):
            config.addinivalue_line("markers", f"{name}: gates of that kind or topic")
    _stay(config)
    answer = os.environ.get("RELEASEGATE_CASES_FILE")
    if answer:
        from pytest_releasegate.hooks.collecting import CaseWriter, as_asked

        as_asked(config)
        config.pluginmanager.register(CaseWriter(Path(answer)), "releasegate-collecting")
    elif asking.is_asked(config):
        from pytest_releasegate.hooks.setup import set_up

        set_up(config)
    else:
        config.pluginmanager.register(asking.Bystander(), "releasegate-bystander")


def _stay(config: pytest.Config) -> None:
    """Refuse a root that an option has led pytest to, where gates are asked for that are elsewhere."""
    if hasattr(config, "workerinput") or not asking.may_ask(config):
        return
    from pytest_releasegate.hooks.root import misled

    if astray := misled(config):
        raise pytest.UsageError(f"releasegate: nothing was executed\n{astray}")


def pytest_releasegate_clock() -> Clock:
    """The machine's clock, where no conftest gives another."""
    from pytest_releasegate.check import SystemClock

    return SystemClock()
