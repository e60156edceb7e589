"""Runs one gate in pytest and turns the look, or a Python test's reports, into a result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_releasegate.hooks.ahead import ahead_of
from pytest_releasegate.hooks.arriving import is_undeployed
from pytest_releasegate.hooks.body import blob_of
from pytest_releasegate.hooks.coming import coming, left
from pytest_releasegate.hooks.probe import Probe
from pytest_releasegate.hooks.together import forget
from pytest_releasegate.lifecycle.arrival import sees_arrival
from pytest_releasegate.lifecycle.standings import standings_of
from pytest_releasegate.model import ASKS_PEOPLE, NEEDS_DEPLOYMENT, Claims, Result, Status
from pytest_releasegate.report.text import one_line, plain
from pytest_releasegate.verdict import HOLDS, UNDEPLOYED, prior, stand

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from datetime import datetime

    from pytest_releasegate.checklist.loader import Declaration
    from pytest_releasegate.hooks.collect import GateItem
    from pytest_releasegate.hooks.session import GateSession
    from pytest_releasegate.model import Gate
    from pytest_releasegate.verdict import Standing

__all__ = ["LOOKED", "GateNotGreen", "Looked", "Looker", "look_at"]

_POLL = 0.1
_PATIENCE = 600.0


@dataclass
class Looked:
    """What is known of an item's gate while it runs: the result, and the bytes of its evidence."""

    result: Result
    bodies: dict[str, bytes] = field(default_factory=dict)


LOOKED = pytest.StashKey[Looked]()
"""The result of an item, once there is one."""


class GateNotGreen(AssertionError):
    """A gate that failed, could not look, or could not tell; the text says what was found."""


def look_at(item: pytest.Item, session: GateSession, declaration: Declaration) -> None:
    """Look at a declarative gate: raises `GateNotGreen`, skips with the reason, or returns when it passed."""
    ahead, gate_item = ahead_of(item), cast("GateItem", item)
    ahead.reach(gate_item, _may())
    seen = ahead.take(gate_item)
    if seen is None:
        if not _ready(item, session, declaration):
            return
        seen = ahead.look(gate_item, session)
    result = _result(
        session,
        declaration,
        seen.status,
        seen.started_at,
        message=seen.message,
        findings=seen.findings,
        evidence=tuple(evidence for evidence, _ in seen.attached),
        kept=seen.kept,
        seconds=seen.seconds,
        attempts=seen.attempts,
    )
    item.stash[LOOKED] = Looked(result, {evidence.sha256: body for evidence, body in seen.attached})
    if seen.status is not Status.PASSED:
        raise GateNotGreen(told(result))


def _ready(item: pytest.Item, session: GateSession, declaration: Declaration) -> bool:
    """Whether it is the gate's time to look: raises or skips otherwise, or says no where a person has spoken."""
    standing = _before(session, declaration)
    if standing:
        _stop(*standing)
        return False
    if unmet := _unmet(item, session, declaration.gate) or session.begin(declaration.gate):
        item.stash[LOOKED] = Looked(_result(session, declaration, Status.ERROR, session.clock.now(), message=unmet))
        raise GateNotGreen(unmet)
    return True


def _may() -> Callable[[GateItem, GateSession], bool]:
    """Tells whether gates could look now, before their turn has come; the record is read once for all of them."""
    known: dict[int, dict[str, Standing]] = {}

    def read(session: GateSession) -> dict[str, Standing]:
        if id(session) not in known:
            known[id(session)] = _standings(session)
        return known[id(session)]

    def may(item: GateItem, session: GateSession) -> bool:
        gate = item.declaration.gate
        return _before(session, item.declaration) is None and not _unmet(item, session, gate, read)

    return may


def told(result: Result) -> str:
    """A result in lines: its message, then each finding that is not as expected."""
    lines = [f"{result.status}: {plain(result.message)}"] if result.message else [f"{result.status}"]
    lines += [
        f"  {one_line(str(finding))}" for finding in result.findings if finding.ok != "yes" and not finding.observe
    ]
    return "\n".join(lines)


def _before(session: GateSession, declaration: Declaration) -> tuple[Status, str] | None:
    """What keeps a gate from being looked at now: a fact, its time, or that a person must speak."""
    gate = declaration.gate
    known = prior(gate, session.release, session.clock.now())
    if known or gate.kind not in ASKS_PEOPLE:
        return known
    standing = session.said(lambda: _standings(session))[gate.id]
    return standing.status, standing.reason


def _stop(status: Status, reason: str) -> None:
    if status is Status.ATTESTED:
        return
    if status is Status.FAILED:
        raise GateNotGreen(f"failed: {reason}")
    pytest.skip(f"{status.value.replace('_', ' ')}: {reason}")


def _standings(session: GateSession) -> dict[str, Standing]:
    if session.store is None or not session.release.id:
        return stand(session.plan, [], Claims(), session.release, session.clock.now())
    return standings_of(session.store, session.release, session.plan, session.clock.now())


def _unmet(
    item: pytest.Item, session: GateSession, gate: Gate, read: Callable[[GateSession], dict[str, Standing]] = _standings
) -> str:
    """Why the gate cannot look yet; waits for gates that another worker is looking at."""
    if gate.phase in NEEDS_DEPLOYMENT and is_undeployed(session) and not sees_arrival(gate):
        return UNDEPLOYED
    if not gate.needs or not session.recorded:
        return ""
    awaited = coming(item, lambda other: other.id in gate.needs) if session.worker else frozenset()
    start = session.clock.monotonic()
    while left(session, awaited) and session.clock.monotonic() - start < _PATIENCE:
        session.clock.sleep(_POLL)
    standings = read(session)
    unmet = [standings[need] for need in gate.needs if standings[need].status not in HOLDS]
    return "; ".join(f"needs {row.gate.id}, which is {row.status}" for row in unmet)


def _result(
    session: GateSession, declaration: Declaration, status: Status, started_at: datetime, **rest: Any
) -> Result:
    return Result(
        gate=declaration.gate.id,
        status=status,
        started_at=started_at,
        target=session.identity.environment.name,
        gate_digest=declaration.digest,
        **rest,
    )


class Looker:
    """Follows each item through its reports, and hands the result on when the item is over."""

    def __init__(self, session: GateSession) -> None:
        self.session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Before a Python gate: the same conditions as for any other, so that it is not looked at out of its time."""
        from pytest_releasegate.hooks.collect import CASE, GATE, GateItem

        if isinstance(item, GateItem):
            return
        forget(item)
        if GATE not in item.stash:
            return
        gate = item.stash[GATE]
        known = prior(gate, self.session.release, self.session.clock.now())
        if known:
            item.stash[NOT_ASKED] = True
            _stop(*known)
        unmet = _unmet(item, self.session, gate) or self.session.begin(gate, item.stash[CASE])
        if unmet:
            pytest.fail(unmet, pytrace=False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Watch the function of a Python gate itself: a report can be made to say anything."""
        probe = item.stash.get(PROBE, None)
        if probe:
            probe.body.watch(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach the gate's status to the report of the call, and the result to that of the teardown."""
        report = yield
        from pytest_releasegate.hooks.collect import GATE

        if GATE in item.stash:
            self._python(item, call, report)
            self._accept(item, call.when, report)
            self._attach(item, call.when, report)
            _scrub(report, self.session)
        return report

    def _python(self, item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport) -> None:
        from pytest_releasegate.hooks.collect import GateItem

        if NOT_ASKED in item.stash:
            return
        if isinstance(item, GateItem):
            self._kept_from_looking(item, call, report)
            return
        probe = item.stash.get(PROBE, None)
        if probe is None:
            probe = item.stash[PROBE] = Probe(self.session.context(), self.session.clock.now())
        probe.see(str(call.when), report, call.excinfo.value if call.excinfo else None)
        status = probe.verdict()
        if call.when == "call" and report.passed and status is not Status.PASSED:
            report.outcome = "failed"
            report.longrepr = "\n".join(str(finding) for finding in probe.findings if finding.ok != "yes")
        if call.when == "teardown" or (call.when == "setup" and not report.passed):
            item.stash[LOOKED] = self._finished(item, probe)

    def _kept_from_looking(self, item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport) -> None:
        """A declarative gate that something else skipped or broke has a result too: others may wait for it."""
        error = call.excinfo.value if call.excinfo else None
        own = call.when == "call" and (report.skipped or error is None or isinstance(error, GateNotGreen))
        if report.passed or own or call.when == "teardown" or LOOKED in item.stash:
            return
        probe = Probe(self.session.context(), self.session.clock.now())
        probe.see("its look" if call.when == "call" else str(call.when), report, error)
        item.stash[LOOKED] = self._finished(item, probe)

    def _accept(self, item: pytest.Item, when: str, report: pytest.TestReport) -> None:
        """A failure whose risk is accepted is pytest's expected failure, with who accepts it and until when."""
        from pytest_releasegate.hooks.collect import GATE

        looked, probe = item.stash.get(LOOKED, None), item.stash.get(PROBE, None)
        status = looked.result.status if looked else probe.verdict() if probe else None
        if when != "call" or not report.failed or status is not Status.FAILED:
            return
        if accepted := self.session.waived(item.stash[GATE]):
            report.outcome = "skipped"
            report.wasxfail = f"waived: {accepted}"

    def _finished(self, item: pytest.Item, probe: Probe) -> Looked:
        from pytest_releasegate.hooks.collect import CASE, GATE

        declaration = self.session.checklist.by_id[item.stash[GATE].id]
        attached = probe.context.attached
        result = _result(
            self.session,
            declaration,
            probe.verdict(),
            probe.started_at,
            case=item.stash[CASE],
            message=self.session.secrets.scrub(probe.message),
            findings=tuple(self.session.secrets.scrub_finding(finding) for finding in probe.findings),
            evidence=tuple(evidence for evidence, _ in attached),
            kept=self.session.secrets.scrub_value(dict(probe.context.kept)),
            seconds=probe.seconds,
            code=blob_of(item),
        )
        return Looked(result, {evidence.sha256: body for evidence, body in attached})

    def _attach(self, item: pytest.Item, when: str, report: pytest.TestReport) -> None:
        from pytest_releasegate.hooks.collect import GATE
        from pytest_releasegate.store.journal import to_json

        looked = item.stash.get(LOOKED, None)
        report.releasegate_gate = item.stash[GATE].id  # type: ignore[attr-defined]  # travels to xdist's controller
        if looked:
            shown = Status.WAIVED if hasattr(report, "wasxfail") else looked.result.status
            report.releasegate_status = shown.value  # type: ignore[attr-defined]
        if looked and when == "teardown" and self.session.recorded:
            try:
                self.session.spool(looked)
            except OSError as wrong:  # the record may still take it; the run is no longer green
                report.releasegate_lost = f"not in the journal: {wrong.strerror}"  # type: ignore[attr-defined]
            report.releasegate_result = to_json(looked.result)  # type: ignore[attr-defined]


PROBE = pytest.StashKey[Probe]()
"""What a Python gate has collected so far."""
NOT_ASKED = pytest.StashKey[bool]()
"""Set where a fact or the time keeps a Python gate from being looked at."""


def _scrub(report: pytest.TestReport, session: GateSession) -> None:
    """Strike secrets out of what pytest prints of a failure."""
    if isinstance(report.longrepr, tuple):
        file, line, reason = report.longrepr
        report.longrepr = (file, line, session.secrets.scrub(str(reason)))
    elif report.longrepr is not None:
        text = str(report.longrepr)
        clean = session.secrets.scrub(text)
        if clean != text:
            report.longrepr = clean
    report.sections = [(name, session.secrets.scrub(text)) for name, text in report.sections]
