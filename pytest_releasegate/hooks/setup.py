"""Sets a run over gates up: everything that can be wrong is found here, before the first test."""

from __future__ import annotations

import sys
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checklist.conditions import parse
from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.hooks import ahead, asking, fixtures
from pytest_releasegate.hooks.ahead import Ahead
from pytest_releasegate.hooks.arriving import Arriving
from pytest_releasegate.hooks.collect import Collector
from pytest_releasegate.hooks.looking import Looker
from pytest_releasegate.hooks.recorder import Recorder
from pytest_releasegate.hooks.retries import Retries
from pytest_releasegate.hooks.session import KEY
from pytest_releasegate.hooks.start import start
from pytest_releasegate.hooks.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_releasegate.hooks.session import GateSession

__all__ = ["set_up"]

_BAD_DIST = {"loadfile", "loadscope", "loadgroup", "each"}


def set_up(config: pytest.Config) -> None:
    """Read and identify everything and register the hooks; raises `pytest.UsageError` with all that is wrong."""
    try:
        _refuse(config)
        sessions = start(config, config.hook.pytest_releasegate_clock(config=config))
    except UsageProblem as wrong:
        raise pytest.UsageError(f"releasegate: nothing was executed\n{wrong}") from None
    session = sessions[0]
    for name in sorted(session.checklist.markers - asking.MARKERS.keys() - asking.kinds() - asking.topics(config)):
        config.addinivalue_line("markers", f"{name}: gates of that kind or topic")
    _point(config, sessions)
    config.option.continue_on_collection_errors = True
    _widen(config)

    def register(plugin: object, name: str) -> None:
        if config.pluginmanager.register(plugin, name) is None:
            raise pytest.UsageError(f"releasegate: -p no:{name} would take the verdict away: leave it out")

    register(fixtures, "releasegate-fixtures")
    register(Retries(), "releasegate-retries")
    for plugin, name in (*_browsers(config, sessions), *_looking(sessions)):
        register(plugin, name)
    register(Arriving(), "releasegate-arriving")
    recorders = [] if hasattr(config, "workerinput") else _record(config, sessions, register)
    if config.getoption("allure_report_dir", None):
        from pytest_releasegate.hooks.allure import join

        for session, recorder in zip_longest(sessions, recorders):
            join(config, session, recorder)
    for session in sessions:
        config.add_cleanup(session.close)


def _point(config: pytest.Config, sessions: list[GateSession]) -> None:
    """Say where to look: the only target's base URL, or none for all, since each test has that of its target."""
    session = sessions[0]
    if session.fleet:
        config.option.base_url = None
        return
    config.stash[KEY] = session
    if session.identity.base_url:
        config.option.base_url = session.identity.base_url


def _browsers(config: pytest.Config, sessions: list[GateSession]) -> list[tuple[object, str]]:
    """What gates in a browser need; before the looker, so that the result has what the browser left."""
    if not config.pluginmanager.hasplugin("playwright"):
        return []
    from pytest_releasegate.hooks import browser

    return browser.set_up(config, sessions)


def _looking(sessions: list[GateSession]) -> Iterator[tuple[object, str]]:
    """What collects the gates and looks at them, with the names to register it by; also in a worker."""
    yield Ahead(sessions[0]), ahead.NAME
    if len(sessions) == 1:
        yield Collector(sessions[0]), "releasegate-collector"
        yield Looker(sessions[0]), "releasegate-looker"
        return
    from pytest_releasegate.hooks import target_fixtures
    from pytest_releasegate.hooks.targets import FleetCollector, FleetLooker, Targets

    yield target_fixtures, "releasegate-target-fixtures"
    yield Targets(sessions), "releasegate-targets"
    yield FleetCollector(sessions), "releasegate-collector"
    yield FleetLooker(sessions), "releasegate-looker"


def _record(
    config: pytest.Config, sessions: list[GateSession], register: Callable[[object, str], None]
) -> list[Recorder]:
    """Register what writes the record of each target, decides and shows it; only in the controller."""
    by_phase = config.getoption("releasegate_verdict") == "phase"
    recorders = [Recorder(session, by_phase=by_phase) for session in sessions]
    terminals = [Terminal(recorder.session, recorder) for recorder in recorders]
    if len(recorders) == 1:
        pair: tuple[Any, object] = recorders[0], terminals[0]
    else:
        from pytest_releasegate.hooks.fleet import FleetRecorder, FleetTerminal

        pair = FleetRecorder(recorders), FleetTerminal(terminals)
    register(pair[0], "releasegate-recorder")
    register(pair[1], "releasegate-terminal")
    config.add_cleanup(pair[0].ensure)
    return recorders


def _refuse(config: pytest.Config) -> None:
    """What cannot be read, what repeats or loses gates after a crash, and a Python that passes over assertions."""
    if sys.flags.optimize:
        raise UsageProblem("this Python leaves out `assert` (-O, PYTHONOPTIMIZE): no test could fail", "run without")
    try:
        if asking.expression(config):
            parse(asking.expression(config))
    except ValueError as wrong:
        raise UsageProblem(f"-m: {wrong}", "such as -m predeploy, or -m 'deploy and not smoke'") from None
    for path in asking.named(config):
        product = asking.product_of(config, path / "here")
        if product not in {None, config.rootpath}:
            what = f"{path} is of the product in {product}, and this run is about {config.rootpath}"
            raise UsageProblem(what, "one product a run: go to its folder, which needs a pytest.ini or the like")
    dist = str(config.getoption("dist", "no") or "no")
    if dist in _BAD_DIST:
        raise UsageProblem(
            f"--dist {dist} repeats or loses gates when a worker crashes", "use --dist load or worksteal"
        )


def _widen(config: pytest.Config) -> None:
    """Collect the folders of gates too, where the command names no path and the configured ones leave them out."""
    if config.args_source is pytest.Config.ArgsSource.ARGS or hasattr(config, "workerinput"):
        return
    if config.rootpath not in (config.invocation_params.dir, *config.invocation_params.dir.parents):
        config.args = [str(config.rootpath)]  # called from elsewhere, where other products may be
    config.args = [*config.args, *(_missing_paths(config))]


def _missing_paths(config: pytest.Config) -> Iterator[str]:
    given = [(config.invocation_params.dir / argument.split("::")[0]).resolve() for argument in config.args]
    for path in asking.paths(config):
        top = (config.rootpath / path).resolve()
        if top.exists() and not any(top == other or other in top.parents for other in given):
            yield str(top)
