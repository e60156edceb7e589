"""The controller's side: results into the record as they come, lost tests noticed, the verdict at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checklist.python_gates import case_of
from pytest_releasegate.errors import ExitCode, RecordError
from pytest_releasegate.hooks import asking
from pytest_releasegate.hooks.blocks import joins
from pytest_releasegate.lifecycle.arrival import arrival
from pytest_releasegate.model import Decision, Result, Status, StepEvent
from pytest_releasegate.report.view import view
from pytest_releasegate.verdict import Reason, Verdict, closable, decide

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_releasegate.hooks.session import GateSession
    from pytest_releasegate.model import PlannedGate
    from pytest_releasegate.report.view import ReleaseView
    from pytest_releasegate.verdict import Standing

__all__ = ["Recorder"]

_PYTEST_OWN = {ExitCode.INTERRUPTED, ExitCode.INTERNAL_ERROR, ExitCode.USAGE}
_MOST_NAMED = 7


class Recorder:
    """Writes results into the record, compares what was to run with what reported, and ends with the verdict."""

    def __init__(self, session: GateSession, *, by_phase: bool = False) -> None:
        self.session = session
        self.by_phase = by_phase
        self.wanted: dict[str, str] = {}
        self.reported: set[str] = set()
        self.others_failed = False
        self.failed: set[str] = set()
        self.unkept: dict[str, list[str]] = {}
        self.said: list[str] = []
        self.told: list[str] = []
        """What else a person must read, in lines."""
        self.view: ReleaseView | None = None
        self.verdict: Verdict | None = None
        self.ran: dict[str, float] = {}
        self.ended = False
        self.stored: set[str] = set()
        self.texts: set[str] = set()
        self.skipped: set[str] = set()
        self.pytest_session: pytest.Session | None = None
        self.looked = False
        self.code = ExitCode.HOLD

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Keep the session, so that nobody can end it as a success behind our back."""
        self.pytest_session = session

    @property
    def trouble(self) -> list[str]:
        """What kept the run from being recorded whole, one sentence for all gates that it befell."""
        return [*(f"{_some(gates)}: {what}" for what, gates in self.unkept.items()), *self.said]

    def ensure(self) -> None:
        """At the very end: an exit code of 0 only where the verdict gives it."""
        session = self.pytest_session
        if session is None or not self.session.recorded or int(session.exitstatus) != ExitCode.GO:
            return
        if self.others_failed or self.code is not ExitCode.GO:
            session.exitstatus = ExitCode.NO_GO if self.others_failed else self.code

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what is going to run, without xdist."""
        self.want(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:  # noqa: ARG002
        """Note what is going to run, with xdist."""
        self.want(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker which run it belongs to."""
        node.workerinput["releasegate"] = self.session.to_worker()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Store the result that a report brings."""
        gate = getattr(report, "releasegate_gate", "") or self.gate_of(report.nodeid)
        self.looked = self.looked or (bool(gate) and report.when == "call" and not report.skipped)
        if report.failed:
            self.others_failed = self.others_failed or not gate
            self.failed.add(gate)
        when = str(report.when)  # xdist says "???" for a test whose worker died
        if when in {"teardown", "???"}:
            self.reported.add(report.nodeid)
        if gate and report.skipped:
            self.skipped.add(gate)
        if lost := getattr(report, "releasegate_lost", ""):
            self._unkept(gate, lost)
        for earlier in getattr(report, "releasegate_earlier", ()):
            self._store(earlier)
        text = getattr(report, "releasegate_result", "")
        if text:
            self.stored.add(report.nodeid)
            self._store(text)
        elif gate and when == "???":
            declaration = self.session.checklist.by_id.get(gate)
            beside = " at it, or at a gate beside it" if declaration and joins(declaration) else ""
            self._lost(report.nodeid, f"the worker crashed while looking{beside}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that cannot be imported makes its own gates errors, and nothing else."""
        if not report.failed:
            return
        lines = [line for line in str(report.longrepr).splitlines() if line.startswith("E ")]
        reason = lines[-1][1:].strip() if lines else "it could not be collected"
        gates = [planned for planned in self.session.plan.gates if planned.gate.parameters.get("file") == report.nodeid]
        self.others_failed = self.others_failed or not gates
        for planned in gates:
            for case in planned.cases:
                self._error(planned, case, f"{report.nodeid} cannot be imported: {reason}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Decide and set the exit code, before the terminal's summary shows it."""
        if self.session.recorded:
            self._finish(session, int(exitstatus))
        elif session.config.getoption("collectonly"):
            return
        elif exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            whole = self.looked and not self.skipped and self.wanted.keys() <= self.reported
            session.exitstatus = exitstatus if whole else ExitCode.HOLD

    def want(self, ids: Iterable[str]) -> None:
        """Note what is going to run."""
        self.wanted.update({node_id: gate for node_id in ids if (gate := self.gate_of(node_id))})

    def gate_of(self, node_id: str) -> str:
        """The gate that a node id stands for; empty for an ordinary test."""
        file, _, name = node_id.partition("::")
        declared = self.session.checklist.by_id.get(name)
        if declared and declared.gate.place.file == file:
            return name
        case = case_of(node_id)
        for planned in self.session.plan.gates:
            if planned.gate.parameters.get("file") == file and case in planned.cases:
                return planned.gate.id
        return ""

    def _store(self, text: str) -> None:
        from pytest_releasegate.store.journal import from_json

        if text in self.texts:
            return
        self.texts.add(text)
        result = from_json(text)
        self.ran[result.gate] = self.ran.get(result.gate, 0.0) + result.seconds
        self._add(result)

    def _add(self, result: Result) -> None:
        session = self.session
        if session.store is None:
            return
        try:
            self._arrived(result)
            session.store.add_result(session.release.id, session.run, result, session.bodies(result))
        except RecordError as wrong:
            self._unkept(result.gate, f"not recorded: {wrong}")

    def _arrived(self, result: Result) -> None:
        """Note that the release was seen to run, where this look is the first that shows it.

        Workers wait for the result, so the deployment is in the record before it.
        """
        own = self.session
        seen = arrival(own.store, own.release, own.plan, result, own.clock.now()) if own.store else None
        if seen:
            own.release = seen.release
            self.told.append(seen.line)

    def _unkept(self, gate: str, what: str) -> None:
        self.unkept.setdefault(what, []).append(gate)

    def _lost(self, node_id: str, message: str) -> None:
        planned = self.session.plan.by_id().get(self.gate_of(node_id))
        if planned:
            file = str(planned.gate.parameters.get("file", ""))
            self._error(planned, case_of(node_id) if file and planned.gate.kind == "test" else "", message)

    def _error(self, planned: PlannedGate, case: str, message: str) -> None:
        result = Result(
            gate=planned.gate.id,
            case=case,
            status=Status.ERROR,
            started_at=self.session.clock.now(),
            target=self.session.identity.environment.name,
            gate_digest=planned.digest,
            message=message,
        )
        self.ran.setdefault(planned.gate.id, 0.0)
        self._add(result)

    def _finish(self, session: pytest.Session, status: int) -> None:
        for node_id in sorted(self.wanted.keys() - self.reported):
            if status not in _PYTEST_OWN and not session.shouldfail and not session.shouldstop:
                self._lost(node_id, "collected, and never reported: the test was lost")
        if (session.shouldfail or session.shouldstop) and (left := self.wanted.keys() - self.reported):
            self.said.append(f"the run was stopped before {len(left)} of its gates were looked at")
        verdict = self._judge()
        if status not in _PYTEST_OWN:
            self.code = self._exit_code(verdict)
            session.exitstatus = ExitCode.NO_GO if self.others_failed else self.code
        self._end(verdict, int(session.exitstatus))

    def _exit_code(self, verdict: Verdict) -> ExitCode:
        """The scope's, or with `--verdict phase` that of the worst phase that the scope touches."""
        words = [verdict]
        if self.view and self.by_phase:
            words += [self.view.phases[phase] for phase in {row.gate.phase for row in verdict.standings}]
        return max(words, key=lambda word: word.decision.rank).exit_code

    def _judge(self) -> Verdict:
        own, store = self.session, self.session.store
        assert store is not None  # noqa: S101  a recorded session has one
        try:
            own.release = store.release(own.release.id)
            standings = view(store, own.release, own.clock.now()).standings
            self._silent(standings)
            self._left_out(standings)
            known = view(store, own.release, own.clock.now())
            for phase, step in closable(known.standings, known.closed, known.release):
                event = StepEvent(phase=phase, step=step, event="closed", at=own.clock.now(), run=own.run)
                store.add_step_event(own.release.id, event)
            self.view = view(store, own.release, own.clock.now())
        except RecordError as wrong:
            self.said.append(str(wrong))
            self.verdict = Verdict(Decision.HOLD, (Reason(Decision.HOLD, f"the record cannot be read: {wrong}"),))
            return self.verdict
        scope = self._scope()
        self.said += self._contradictions(self.view.standings)
        self.verdict = self._with_trouble(decide(row for name, row in self.view.standings.items() if name in scope))
        return self.verdict

    def _scope(self) -> frozenset[str]:
        store = self.session.store
        assert store is not None  # noqa: S101  a recorded session has one
        run = next(run for run in store.runs(self.session.release.id) if run.id == self.session.run)
        return frozenset(run.scope)

    def _silent(self, standings: Mapping[str, Standing]) -> None:
        """Gates that reported without a result, while an earlier pass stands: they were not looked at now."""
        for node_id in sorted(self.reported & self.wanted.keys() - self.stored):
            if standings[self.wanted[node_id]].status is Status.PASSED:
                self._lost(node_id, "reported, and left no result: something kept it from looking")

    def _left_out(self, standings: Mapping[str, Standing]) -> None:
        """Gates of the scope that were not collected, while an earlier pass stands, and no option left them out."""
        if self.pytest_session is None or self.narrowed(self.pytest_session.config):
            return
        files = {gate: planned.gate.kind == "test" for gate, planned in self.session.plan.by_id().items()}
        came = {(gate, case_of(node_id) if files[gate] else "") for node_id, gate in self.wanted.items()}
        for name in sorted(self._scope() & standings.keys()):
            planned, passed = standings[name].planned, standings[name].status is Status.PASSED
            absent = any((name, case) not in came for case in planned.cases)
            if passed and absent and self.session.runs(planned.gate):
                self._unkept(name, "asked for, passed earlier, and not collected now: something left it out")

    def narrowed(self, config: pytest.Config) -> bool:
        """Whether the command left out some of the scope, so that the record speaks for the rest."""
        known = {marker for planned in self.session.plan.gates for marker in planned.gate.markers}
        return asking.narrowed(config, known)

    def _contradictions(self, standings: Mapping[str, Standing]) -> Iterator[str]:
        """Gates that failed in this run while the record stands by an earlier pass: never green in silence."""
        stands = (Status.PASSED, Status.ATTESTED)
        names = [name for name, row in standings.items() if name in self.failed and row.status in stands]
        if names:
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            told = ", ".join(names[:_MOST_NAMED]) + more
            yield f"{told}: failed in this run, and the record stands by an earlier look"

    def _with_trouble(self, verdict: Verdict) -> Verdict:
        if not self.trouble:
            return verdict
        reasons = [*verdict.reasons, *(Reason(Decision.HOLD, line) for line in self.trouble)]
        worst = max((reason.decision for reason in reasons), key=lambda decision: decision.rank)
        return Verdict(worst, tuple(reasons), verdict.standings)

    def _end(self, verdict: Verdict, code: int) -> None:
        own = self.session
        if own.store is None or self.ended:
            return
        self.ended = True
        try:
            own.store.end_run(own.run, at=own.clock.now(), decision=verdict.decision.value, exit_code=code)
            if not self.trouble:
                own.discard_journal()
        except RecordError as wrong:
            self.said.append(str(wrong))


def _some(gates: list[str], most: int = 5) -> str:
    rest = f", … and {len(gates) - most} more" if len(gates) > most else ""
    return ", ".join(gates[:most]) + rest
