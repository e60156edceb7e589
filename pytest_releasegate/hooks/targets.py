"""Several targets in one run: every gate becomes an item for each, in its own release, at its own base URL."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checklist.marks import borne
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.hooks import asking
from pytest_releasegate.hooks.collect import GATE, Collector, GateFile, GateItem
from pytest_releasegate.hooks.looking import Looker
from pytest_releasegate.hooks.session import KEY

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from pytest_releasegate.hooks.session import GateSession

__all__ = ["FleetCollector", "FleetLooker", "Targets"]

_PARAMETER = "releasegate_target"


class Targets:
    """Python tests of gate files once for each target, and nothing that one target's tests hold left for the next."""

    def __init__(self, sessions: Sequence[GateSession]) -> None:
        self.urls = {session.identity.environment.name: session.identity.base_url for session in sessions}
        declared = sessions[0].checklist.declarations
        self.files = {str(one.gate.parameters.get("file")) for one in declared if one.gate.kind == "test"}
        self._target = ""
        self._held: list[tuple[pytest.FixtureDef[Any], Any]] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> Generator[None, object, object]:
        """The target is the last parameter, whatever others parametrise."""
        done = yield
        if metafunc.definition.nodeid.partition("::")[0] in self.files:
            names = list(self.urls)
            metafunc.parametrize(_PARAMETER, names, ids=names, indirect=True, scope="session")
        return done

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: Any) -> Generator[None, object, object]:
        """Note what outlives a test."""
        if fixturedef.scope != "function":
            self._held.append((fixturedef, request))
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Before the first item of another target: a session that is signed in to the last one must not be used."""
        target = _target(item)
        if target != self._target:
            self._target = target
            with ExitStack() as ending:  # all of them, also where one raises
                for fixturedef, request in self._held:
                    ending.callback(fixturedef.finish, request)
                self._held = []


class FleetCollector:
    """Collects for each target; each selects by its own record, and one comes after the other."""

    def __init__(self, sessions: Sequence[GateSession]) -> None:
        self.sessions = tuple(sessions)
        self.collectors = {session.identity.environment.name: Collector(session) for session in sessions}

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> GateFile | None:
        """A gate file, for all targets."""
        file = next(iter(self.collectors.values())).pytest_collect_file(file_path, parent)
        if file:
            file.sessions = self.sessions
        return file

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Join a Python test to the gate of its target."""
        if not isinstance(item, GateItem) and (collector := self.collectors.get(_target(item))):
            collector.pytest_itemcollected(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, object, object]:
        """Keep what each target asks for, in the plan's order, also after pytest has put equal parameters together."""
        self._select(config, items)
        places = {item: place for place, item in enumerate(items)}
        done = yield
        items.sort(key=lambda item: places.get(item, len(places)))
        return done

    def _select(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """What bears a gate and cannot be made once for each target becomes an error in each."""
        for item in [one for one in items if KEY not in one.stash and borne(one, asking.paths(config))]:
            items.remove(item)
            items += self._stand_ins(item)
        kept = []
        for session, collector in zip(self.sessions, self.collectors.values(), strict=True):
            own = [item for item in items if item.stash.get(KEY, None) is session]
            collector.pytest_collection_modifyitems(config, own)
            kept += own
        others = [item for item in items if KEY not in item.stash]
        next(iter(self.collectors.values())).pytest_collection_modifyitems(config, others)
        items[:] = kept + others

    def _stand_ins(self, item: pytest.Item) -> Iterator[pytest.Item]:
        parent = item.parent
        assert isinstance(parent, pytest.Collector)  # noqa: S101  whatever is collected has one
        for session, collector in zip(self.sessions, self.collectors.values(), strict=True):
            name = f"{item.name}{session.suffix}"
            stand_in: _Undivided = _Undivided.from_parent(parent, name=name)
            stand_in.own_markers.extend(item.own_markers)
            collector.pytest_itemcollected(stand_in)
            yield stand_in


class _Undivided(pytest.Item):
    """Stands, in one target, for a test that takes no parameters: it was not looked at."""

    def runtest(self) -> None:
        """Say so."""
        what = f"{self.name.partition('[')[0]} takes no parameters, so it cannot be made once for each target"
        raise CannotLook(what, "write it as a function or a plain class, or look at one target at a time")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:  # noqa: ARG002
        """The sentence without a traceback."""
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """The file alone."""
        return self.path, None, self.name


class FleetLooker:
    """Hands each item to the looker of its target."""

    def __init__(self, sessions: Sequence[GateSession]) -> None:
        self.first = Looker(sessions[0])
        self.lookers = {session.identity.environment.name: Looker(session) for session in sessions}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """As with one target."""
        self._of(item).pytest_runtest_setup(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """As with one target."""
        self._of(item).pytest_runtest_call(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """As with one target; the report says which."""
        report = yield from self._of(item).pytest_runtest_makereport(item, call)
        if GATE in item.stash:
            report.releasegate_target = item.stash[KEY].identity.environment.name  # type: ignore[attr-defined]
        return report

    def _of(self, item: pytest.Item) -> Looker:
        own = item.stash.get(KEY, None)
        return self.lookers[own.identity.environment.name] if own else self.first


def _target(item: pytest.Item) -> str:
    """The name of the target that an item looks at; a Python test is parametrised with it."""
    if own := item.stash.get(KEY, None):
        return own.identity.environment.name
    called = getattr(item, "callspec", None)
    return str(called.params.get(_PARAMETER, "")) if called else ""
