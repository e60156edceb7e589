"""Gates in Allure's results: how each looks there, and no fewer than the scope; imported only with `--alluredir`.

The format is that of Allure 2's result files, which Allure 3 reads too.
"""

from __future__ import annotations

import json
import mimetypes
import time
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import pytest
from allure_commons import hookimpl, plugin_manager
from allure_commons.model2 import Attachment, Label, Parameter, StatusDetails, TestResult, TestStepResult

from pytest_releasegate.checklist.python_gates import case_of
from pytest_releasegate.hooks.allure_files import categories, described, environment, executor
from pytest_releasegate.hooks.collect import CASE, GATE
from pytest_releasegate.hooks.looking import LOOKED, told
from pytest_releasegate.hooks.session import KEY
from pytest_releasegate.lifecycle.standings import standings_of
from pytest_releasegate.model import ASKS_PEOPLE, Claims, Ok, Phase, Severity, Status
from pytest_releasegate.verdict import stand

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from pytest_releasegate.hooks.recorder import Recorder
    from pytest_releasegate.hooks.session import GateSession
    from pytest_releasegate.model import Finding, Gate, Result
    from pytest_releasegate.verdict import Standing

__all__ = ["Allure", "join"]

_STATUS = {
    Status.PASSED: "passed",
    Status.ATTESTED: "passed",
    Status.FAILED: "failed",
    Status.ERROR: "broken",
    Status.INCONCLUSIVE: "broken",
    Status.MISSING: "broken",
    Status.PENDING: "skipped",
    Status.NOT_DUE: "skipped",
    Status.NOT_APPLICABLE: "skipped",
    Status.WAIVED: "skipped",
}
_SEVERITY = {
    Severity.CRITICAL: "blocker",
    Severity.HIGH: "critical",
    Severity.MEDIUM: "normal",
    Severity.LOW: "minor",
}
_STEP = {Ok.YES: "passed", Ok.NO: "failed", Ok.CANNOT_TELL: "broken"}
_NOTABLE = {Status.ATTESTED, Status.WAIVED}
_OWN_LABELS = {"epic", "feature", "story", "severity", "parentSuite", "suite", "subSuite"}
_RUN_LABEL = "releasegate-run"

_F = TypeVar("_F", bound="Callable[..., Any]")
_before_writing: Callable[[_F], _F] = hookimpl(tryfirst=True)


def join(config: pytest.Config, session: GateSession, recorder: Recorder | None) -> None:
    """Register what decorates Allure's results; with xdist only the controller cleans the folder, and only once."""
    if config.getoption("collectonly"):
        return
    sent = getattr(config, "workerinput", None)
    if sent is not None:
        # every worker, and each that replaces a crashed one, would delete what the others have written
        config.option.clean_alluredir = False
    mark = str(sent[f"releasegate_allure{session.suffix}"]) if sent else f"{session.run}-{uuid4().hex[:12]}"
    plugin = Allure(session, Path(str(config.getoption("allure_report_dir"))).absolute(), mark, recorder)
    config.pluginmanager.register(plugin, f"releasegate-allure{session.suffix}")
    plugin_manager.register(plugin)
    config.add_cleanup(lambda: plugin_manager.unregister(plugin))


@dataclass(frozen=True)
class _Row:
    """One gate, or one case of it, as Allure is to show it; without a status it is as pytest reported it."""

    gate: Gate
    case: str
    status: Status | None = None
    message: str = ""
    result: Result | None = None
    bodies: Mapping[str, bytes] = field(default_factory=dict)
    note: str = ""


class Allure:
    """Decorates each gate's result before it is written, and on the controller writes what no worker has written."""

    def __init__(self, session: GateSession, folder: Path, mark: str, recorder: Recorder | None) -> None:
        self.session = session
        self.folder = folder
        self.mark = mark
        self.recorder = recorder
        self.item: pytest.Item | None = None
        # at the end of the run the steps that it has closed would have left the scope
        self.scope = session.scope() if recorder else []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Remember whose result Allure is about to write, where it is of this target."""
        self.item = item if item.stash.get(KEY, None) is self.session else None
        return (yield)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker by which label this run's results are known."""
        node.workerinput[f"releasegate_allure{self.session.suffix}"] = self.mark

    @_before_writing
    def report_result(self, result: TestResult) -> None:
        """Make a gate's result say what the gate says, and strike secrets out of every test's."""
        if self.item is not None and GATE in self.item.stash:
            self._describe(result, self._row(self.item))
        self._clean(result)

    @_before_writing
    def report_container(self, container: Any) -> None:
        """Strike secrets out of what fixtures said."""
        for part in (*container.befores, *container.afters):
            self._clean(part)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """On the controller, once all is decided: the files beside the results, and the gates that have none."""
        self.item = None
        done = yield
        if self.recorder:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write_lost(self.recorder)
            self._write_beside(self.recorder)
        return done

    def _row(self, item: pytest.Item) -> _Row:
        gate, case = item.stash[GATE], item.stash[CASE]
        looked = item.stash.get(LOOKED, None)
        if looked and looked.result.status is Status.FAILED and (accepted := self.session.waived(gate)):
            told_so = f"waived: {accepted}\n{told(looked.result)}"
            return _Row(gate, case, Status.WAIVED, told_so, looked.result, looked.bodies)
        if looked:
            return _Row(gate, case, looked.result.status, told(looked.result), looked.result, looked.bodies)
        if gate.kind in ASKS_PEOPLE:
            standing = self._attested(gate)
            return _Row(gate, case, standing.status, _said(standing), note=_word(standing))
        return _Row(gate, case)

    def _attested(self, gate: Gate) -> Standing:
        own = self.session
        if not (own.store and own.release.id):
            return stand(own.plan, [], Claims(), own.release, own.clock.now())[gate.id]
        return standings_of(own.store, own.release, own.plan, own.clock.now())[gate.id]

    def _describe(self, result: TestResult, row: _Row) -> None:
        gate, own = row.gate, self.session
        planned = own.plan.by_id().get(gate.id)
        many = planned is not None and len(planned.cases) > 1
        result.name = f"{gate.id} {gate.title}" + (f": {row.case}" if many else "")
        result.testCaseId = _digest(own.release.product, gate.id, row.case)
        result.historyId = _digest(result.testCaseId, own.release.environment)
        for parameter in result.parameters:
            parameter.excluded = True  # the case says it already; a lost case has no parameters and is the same test
        result.parameters.append(Parameter(name="environment", value=own.release.environment))
        result.parameters.append(Parameter(name="release", value=own.release.version, excluded=True))
        result.labels = self._labels(result.labels, row)
        result.description = "\n\n".join(filter(None, [described(gate), result.description]))
        _set_status(result, row)
        self._add_steps(result, row)
        self._attach(result, row)

    def _labels(self, present: list[Label], row: _Row) -> list[Label]:
        gate = row.gate
        item = f"{gate.item.id} {gate.item.title}"
        own = [
            ("epic", self.session.release.product),
            ("feature", f"{gate.phase.value}: {gate.step}" if gate.step else gate.phase.value),
            ("story", item),
            ("severity", _SEVERITY[gate.severity]),
            ("parentSuite", f"{self.session.release.product} {self.session.release.name}"),
            ("suite", f"{list(Phase).index(gate.phase) + 1} {gate.phase.value}"),
            ("subSuite", item),
            (_RUN_LABEL, self.mark),
            *(("tag", topic) for topic in gate.topics),
            *([("owner", gate.owner)] if gate.owner else []),
            *([("tag", row.status.value)] if row.status in _NOTABLE else []),
        ]
        gone = _OWN_LABELS | ({"owner"} if gate.owner else set())
        kept = [
            label
            for label in present
            if label.name not in gone and not (label.name == "tag" and label.value in gate.markers)
        ]
        return kept + [Label(name=name, value=value) for name, value in own]

    def _add_steps(self, result: TestResult, row: _Row) -> None:
        at = result.stop or _milliseconds()
        if row.note:
            result.steps.append(TestStepResult(name=row.note, status=result.status, start=at, stop=at))
        for finding in row.result.findings if row.result else ():
            result.steps.append(_step(finding, at))

    def _attach(self, result: TestResult, row: _Row) -> None:
        for evidence in row.result.evidence if row.result else ():
            body = row.bodies.get(evidence.sha256)
            if body is not None:
                name = f"{uuid4()}-attachment{_suffix(evidence.name, evidence.media_type)}"
                plugin_manager.hook.report_attached_data(body=body, file_name=name)
                result.attachments.append(Attachment(name=evidence.name, source=name, type=evidence.media_type))

    def _clean(self, part: Any) -> None:
        """Strike secrets out of a result or step, what is in it, and the text files that belong to it."""
        scrub = self.session.secrets.scrub
        part.name, part.description = scrub(part.name or ""), scrub(part.description or "")
        if part.statusDetails is not None:
            part.statusDetails.message = scrub(part.statusDetails.message or "")
            part.statusDetails.trace = scrub(part.statusDetails.trace or "")
        for parameter in part.parameters:
            parameter.value = scrub(str(parameter.value))
        for attachment in part.attachments:
            attachment.name = scrub(attachment.name or "")
            self._clean_file(self.folder / attachment.source, str(attachment.type or ""))
        for step in part.steps:
            self._clean(step)

    def _clean_file(self, path: Path, media_type: str) -> None:
        if media_type.startswith("text/") or any(word in media_type for word in ("json", "xml", "yaml", "x-har")):
            body = path.read_bytes() if path.is_file() else b""
            clean = self.session.secrets.scrub_bytes(body)
            if clean != body:
                path.write_bytes(clean)

    def _write_lost(self, recorder: Recorder) -> None:
        """A result for each gate that was to be looked at and that no process has written one for."""
        own, written = self.session, self._written()
        empty = stand(own.plan, [], Claims(), own.release, own.clock.now())
        standings = recorder.view.standings if recorder.view else empty
        for name, case in dict.fromkeys(self._expected(recorder)):
            if _digest(own.release.product, name, case) in written:
                continue
            gate, at = standings[name].gate, _milliseconds()
            result = TestResult(uuid=str(uuid4()), start=at, stop=at, fullName=f"{gate.place.file}#{name}")
            self._describe(result, self._recorded(standings[name], case))
            plugin_manager.hook.report_result(result=result)

    def _write_beside(self, recorder: Recorder) -> None:
        own, decision = self.session, recorder.verdict.decision if recorder.verdict else None
        texts = {
            "environment.properties": environment(own, decision, self.folder / "environment.properties"),
            "executor.json": executor(own),
            "categories.json": categories(self.folder / "categories.json"),
        }
        for name, text in texts.items():
            (self.folder / name).write_text(own.secrets.scrub(text), encoding="utf-8")

    def _expected(self, recorder: Recorder) -> Iterator[tuple[str, str]]:
        """Each gate and case of the scope, and what was collected; a run by path has no scope."""
        plan = self.session.plan.by_id()
        for gate in self.scope:
            yield from ((gate.id, case) for case in plan[gate.id].cases)
        for node_id, name in recorder.wanted.items():
            yield name, case_of(node_id) if plan[name].gate.kind == "test" else ""

    def _written(self) -> set[str]:
        """The test case ids of the results that this run has written into the folder."""
        found = set()
        for path in self.folder.glob("*-result.json"):
            body = path.read_bytes()
            if self.mark.encode() in body:
                found.add(str(json.loads(body).get("testCaseId")))
        return found

    def _recorded(self, standing: Standing, case: str) -> _Row:
        """What the record says of a gate that has no result of this run."""
        result = next((row for row in standing.results if row.case == case), None)
        if result and standing.status is not Status.MISSING and result.status is not Status.ERROR:
            note = f"not looked at in this run; the record's word is of {result.started_at:%Y-%m-%d %H:%M} UTC"
            message = f"{told(result)}\n{note}"
            return _Row(standing.gate, case, result.status, message, result, self._bodies(result), note)
        if result and result.status is Status.ERROR:
            return _Row(standing.gate, case, Status.ERROR, f"missing: {result.message}", result)
        if standing.results or standing.status is Status.MISSING:
            reason = standing.reason if standing.status is Status.MISSING else "not looked at"
            return _Row(standing.gate, case, Status.MISSING, f"missing: {reason}")
        return _Row(standing.gate, case, standing.status, _said(standing), note=_word(standing))

    def _bodies(self, result: Result) -> dict[str, bytes]:
        store = self.session.store
        found = {each.sha256: store.evidence_body(each.sha256) for each in result.evidence} if store else {}
        return {digest: body for digest, body in found.items() if body is not None}


def _set_status(result: TestResult, row: _Row) -> None:
    details = result.statusDetails or StatusDetails()
    if row.status is None or (row.status is Status.PASSED and result.status not in {None, "passed"}):
        details.message = _plain(details.message or "", result.status)
    else:
        result.status = _STATUS[row.status]
        details.message = "" if row.status is Status.PASSED and not row.note else row.message
    if row.gate.kind != "test":
        details.trace = "" if result.status == "passed" else str(row.gate.place)
    result.statusDetails = details if details.message or details.trace else None


def _plain(message: str, status: str | None) -> str:
    """Pytest's message without the name of our exceptions; what breaks a gate is an error."""
    message = message.removeprefix("Skipped: ").removeprefix("pytest_releasegate.hooks.looking.GateNotGreen: ")
    return f"error: {message}" if status == "broken" and not message.startswith("error: ") else message


def _said(standing: Standing) -> str:
    return f"{standing.status.value.replace('_', ' ')}: {standing.reason}"


def _word(standing: Standing) -> str:
    """A person's word with its note and evidence; empty where nobody has spoken."""
    word = standing.attestation
    return ": ".join(filter(None, [_said(standing), word.note, word.evidence])) if word else ""


def _step(finding: Finding, at: int) -> TestStepResult:
    status = _STEP[finding.ok]
    if not finding.observe:
        return TestStepResult(name=str(finding), status=status, start=at, stop=at)
    shown = "passed" if status == "passed" else "skipped"  # observed only, never judged
    return TestStepResult(name=f"(observed) {finding}", status=shown, start=at, stop=at)


def _suffix(name: str, media_type: str) -> str:
    return mimetypes.guess_extension(media_type.split(";")[0]) or Path(name).suffix or ".attach"


def _digest(*parts: str) -> str:
    return md5("\0".join(parts).encode(), usedforsecurity=False).hexdigest()


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
