"""The controller's side of a run over several targets: a recorder and a verdict for each, the worst of them in all."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.errors import ExitCode
from pytest_releasegate.model import Decision
from pytest_releasegate.report.fleet import Word, fleet_lines, scope_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_releasegate.hooks.recorder import Recorder
    from pytest_releasegate.hooks.terminal import Terminal

__all__ = ["FleetRecorder", "FleetTerminal"]

_RANKS = {ExitCode.GO: 0, ExitCode.HOLD: 1, ExitCode.NO_GO: 2, ExitCode.ROLLBACK: 3}


class FleetRecorder:
    """A recorder for each target: each hears of its own items alone, as if its target were the only one."""

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self.recorders = {recorder.session.identity.environment.name: recorder for recorder in recorders}

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Keep the session."""
        for recorder in self.recorders.values():
            recorder.pytest_sessionstart(session)

    def ensure(self) -> None:
        """At the very end: an exit code of 0 only where every verdict gives it."""
        for recorder in self.recorders.values():
            recorder.ensure()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what is going to run, without xdist."""
        self._want(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:  # noqa: ARG002
        """Note what is going to run, with xdist."""
        self._want(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker which runs it belongs to."""
        sent = {name: recorder.session.to_worker() for name, recorder in self.recorders.items()}
        node.workerinput["releasegate"] = json.dumps({"fleet": sent})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Store the result that a report brings, in the release of its target."""
        owner = self.recorders.get(getattr(report, "releasegate_target", "")) or self._owner(report.nodeid)
        if owner:
            own = copy.copy(report)
            own.nodeid = owner.session.plain(report.nodeid)
            owner.pytest_runtest_logreport(own)
        elif report.failed:
            for recorder in self.recorders.values():
                recorder.others_failed = True

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that cannot be imported makes its own gates errors in every target."""
        for recorder in self.recorders.values():
            recorder.pytest_collectreport(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Decide for each target; the exit code is that of the worst."""
        codes = []
        for recorder in self.recorders.values():
            session.exitstatus = exitstatus
            recorder.pytest_sessionfinish(session, exitstatus)
            codes.append(int(session.exitstatus))
        session.exitstatus = max(codes, key=lambda code: _RANKS.get(code, len(_RANKS)))  # type: ignore[call-overload]

    def _want(self, ids: Iterable[str]) -> None:
        for node_id in ids:
            if owner := self._owner(node_id):
                owner.want([owner.session.plain(node_id)])

    def _owner(self, node_id: str) -> Recorder | None:
        """The recorder of the target in whose plan the item is a gate; names may end alike, plans tell them apart."""
        for recorder in self.recorders.values():
            plain = recorder.session.plain(node_id)
            if plain != node_id and recorder.gate_of(plain):
                return recorder
        return None


class FleetTerminal:
    """Header and summary of each target, and a line for each with the word for all at the end."""

    def __init__(self, terminals: Sequence[Terminal]) -> None:
        self.terminals = tuple(terminals)

    def pytest_report_header(self) -> list[str]:
        """How many targets, and the header of each; what they have in common is said once."""
        names = ", ".join(self._fleet())
        lines = [line for terminal in self.terminals for line in terminal.pytest_report_header()]
        return [f"releasegate: {len(self.terminals)} targets: {names}", *dict.fromkeys(lines), *self._alike()]

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """As with one target."""
        return self.terminals[0].pytest_report_teststatus(report)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """The summary of each, then the words of all."""
        for terminal in self.terminals:
            terminal.pytest_terminal_summary(terminalreporter, config)
        words = list(self._words())
        if words:
            terminalreporter.section("release gate: all targets")
            width, color = config.get_terminal_writer().fullwidth, terminalreporter.hasmarkup
            for line in fleet_lines(words, width=width, color=color):
                terminalreporter.write_line(line)

    def _words(self) -> Iterator[Word]:
        for terminal in self.terminals:
            recorder = terminal.recorder
            if recorder.verdict:
                decision = next(one for one in Decision if ExitCode[one.name] == recorder.code)
                name = recorder.session.identity.environment.name
                yield Word(name, decision, scope_word(recorder.verdict, recorder.view))

    def _fleet(self) -> tuple[str, ...]:
        return self.terminals[0].session.fleet

    def _alike(self) -> list[str]:
        """Targets at one URL, which is more often a copied line than meant."""
        urls: dict[str, list[str]] = {}
        for own in (terminal.session.identity for terminal in self.terminals):
            urls.setdefault(own.base_url, []).append(own.environment.name)
        return [f"  {' and '.join(names)} have the same base URL" for url, names in urls.items() if url and names[1:]]
