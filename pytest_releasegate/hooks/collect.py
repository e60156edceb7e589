"""Gates as pytest items: one for each declarative gate, and Python tests joined to theirs by the mark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checklist.loader import gate_files
from pytest_releasegate.checklist.marks import borne
from pytest_releasegate.checklist.python_gates import case_of
from pytest_releasegate.hooks import asking
from pytest_releasegate.hooks.arriving import seers_first
from pytest_releasegate.hooks.looking import GateNotGreen, look_at
from pytest_releasegate.hooks.session import KEY

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_releasegate.checklist.loader import Declaration
    from pytest_releasegate.hooks.session import GateSession
    from pytest_releasegate.model import Gate

__all__ = ["CASE", "GATE", "Collector", "GateFile", "GateItem"]

GATE = pytest.StashKey["Gate"]()
"""The gate that an item bears."""
CASE = pytest.StashKey[str]()
"""The case of its gate that an item is."""


class GateFile(pytest.File):
    """A gate file; collects its gates that no Python test bears."""

    sessions: tuple[GateSession, ...]

    def collect(self) -> Iterable[GateItem]:
        """One item for each declarative gate of this file and each target."""
        file = self.path.relative_to(self.config.rootpath).as_posix()
        for session in self.sessions:
            for declaration in session.checklist.declarations:
                if declaration.gate.place.file == file and declaration.gate.kind != "test":
                    name = f"{declaration.gate.id}{session.suffix}"
                    yield GateItem.from_parent(self, name=name, declaration=declaration, target=session)


class GateItem(pytest.Item):
    """One declarative gate."""

    def __init__(self, *, declaration: Declaration, target: GateSession, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]  # pytest's own arguments, passed through
        self.declaration = declaration
        _join(self, target, declaration.gate, "")

    def runtest(self) -> None:
        """Look; a status that is not green raises or skips."""
        look_at(self, self.stash[KEY], self.declaration)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the gate is declared, and its headline."""
        gate = self.declaration.gate
        return self.path, gate.place.line - 1, f"{gate.id} {gate.title}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """What was found, without a traceback."""
        if isinstance(excinfo.value, GateNotGreen):
            return f"{excinfo.value}\n{self.declaration.gate.place}"
        return str(super().repr_failure(excinfo, style))


class Collector:
    """Collects gate files, joins marked tests, selects what was asked for, and orders it as the plan says."""

    def __init__(self, session: GateSession) -> None:
        self.session = session
        self.files = set(gate_files(session.checklist.folder))

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> GateFile | None:
        """A gate file."""
        if file_path not in self.files:
            return None
        file: GateFile = GateFile.from_parent(parent, path=file_path)
        file.sessions = (self.session,)
        return file

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Give a Python test the markers of the gate it bears."""
        if isinstance(item, GateItem) or self._of_others(item):
            return
        found, mark = borne(item, asking.paths(item.config)), item.get_closest_marker("gate")
        declaration = self.session.checklist.by_id.get(found[0]) if found else None
        if declaration:
            _join(item, self.session, declaration.gate, case_of(self.session.plain(item.nodeid)))
        elif found or mark:
            name = found[0] if found else "without an id"
            raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.gate {name} names no gate of the checklist")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the gates that were asked for, and run them in the plan's order, what is needed first."""
        kept = [item for item in items if self._asked(config, item)]
        gone = [item for item in items if item not in set(kept)]
        if gone:
            config.hook.pytest_deselected(items=gone)
        ranks = self._ranks()
        gates = sorted((item for item in kept if GATE in item.stash), key=lambda item: ranks[item.stash[GATE].id])
        items[:] = seers_first(self.session, gates) + [item for item in kept if GATE not in item.stash]

    def _asked(self, config: pytest.Config, item: pytest.Item) -> bool:
        if GATE not in item.stash:
            if self._of_others(item):
                return False
            return not self.session.expression or item.get_closest_marker("gate") is None
        gate = item.stash[GATE]
        if not self.session.expression:
            return any(path == item.path or path in item.path.parents for path in asking.by_path(config))
        markers = {mark.name for mark in item.iter_markers()}
        wanted = asking.wants(self.session.expression, markers, gate.markers)
        return wanted and gate.id in self._scope() and self.session.runs(gate)

    def _of_others(self, item: pytest.Item) -> bool:
        """Whether a marked test belongs to another product of the repository."""
        if not {mark.name for mark in item.iter_markers()} & asking.MARKERS.keys():
            return False
        return asking.product_of(item.config, item.path) not in {None, item.config.rootpath}

    def _scope(self) -> frozenset[str]:
        if not hasattr(self, "_known"):
            self._known = frozenset(gate.id for gate in self.session.scope())
        return self._known

    def _ranks(self) -> dict[str, int]:
        """The order of looking: the plan's, with what a gate needs before it."""
        by_id = {declaration.gate.id: declaration.gate for declaration in self.session.checklist.declarations}
        ranks: dict[str, int] = {}

        def visit(name: str) -> None:
            if name in by_id and name not in ranks:
                for need in by_id[name].needs:
                    visit(need)
                ranks.setdefault(name, len(ranks))

        for name in by_id:
            visit(name)
        return ranks


def _join(item: pytest.Item, session: GateSession, gate: Gate, case: str) -> None:
    item.stash[KEY] = session
    item.stash[GATE] = gate
    item.stash[CASE] = case
    for name in sorted(gate.markers - {"gate"}):
        item.add_marker(name)
    if case == "":
        item.add_marker(pytest.mark.gate(gate.id))
    else:
        # a test that returns False instead of asserting it would pass
        item.add_marker(pytest.mark.filterwarnings("error::pytest.PytestReturnNotNoneWarning"))
