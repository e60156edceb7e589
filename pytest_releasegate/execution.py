"""Runs one check: deadline, retry until it holds, and every way of failing turned into a status."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pytest_releasegate.check import judge, seconds
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok, Status
from pytest_releasegate.turns import late, queued

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pytest_releasegate.check import Check, Context
    from pytest_releasegate.model import Evidence, Finding

__all__ = ["Look", "broken", "look"]

DEFAULT_TIMEOUT = timedelta(seconds=120)
_PAUSE = 0.5
_MOST_LINES = 100
_LONGEST_LINE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What looking gave: status, findings, evidence with its bytes, measurements kept, and the time it took."""

    status: Status
    findings: tuple[Finding, ...]
    attached: tuple[tuple[Evidence, bytes], ...]
    kept: Mapping[str, Any]
    message: str
    started_at: datetime
    seconds: float
    attempts: int


def look(check: Check, context: Context, *, timeout: timedelta | None = None) -> Look:
    """Look until it holds, or once where the check declares no `retry_for`; never raises for a check's failure."""
    started_at, start = context.clock.now(), _own(context)
    patience = seconds(getattr(check, "retry_for", None), 0.0)
    context.deadline = start + seconds(timeout, _default_timeout(check))
    attempts = 0
    tried: list[str] = []
    while True:
        attempts += 1
        mark = len(context.attached)
        context.kept.clear()
        status, findings, message = _attempt(check, context)
        now = _own(context)
        tried.append(_tried(now - start, status, findings, message))
        if status is Status.PASSED or now + _PAUSE > min(start + patience, context.deadline):
            break
        del context.attached[mark:]
        context.shared.forget()
        context.clock.sleep(_PAUSE)
    if attempts > 1:
        context.attach("attempts.txt", "text/plain", _listed(tried).encode())
    return Look(
        status=status,
        findings=findings,
        attached=tuple(context.attached),
        kept=context.secrets.scrub_value(dict(context.kept)) if status is Status.PASSED else {},
        message=message,
        started_at=started_at + timedelta(seconds=late()),
        seconds=now - start,
        attempts=attempts,
    )


def broken(check: Check, context: Context, error: BaseException) -> Look:
    """What a look gave that ended its thread."""
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    message = context.secrets.scrub(f"the check '{check.kind}' broke: {text}")
    return Look(
        status=Status.ERROR,
        findings=(),
        attached=tuple(context.attached),
        kept={},
        message=message,
        started_at=context.clock.now(),
        seconds=0.0,
        attempts=1,
    )


def _own(context: Context) -> float:
    """The monotonic clock less what was waited in the queue, which is not the gate's own time."""
    return context.clock.monotonic() - queued()


def _tried(after: float, status: Status, findings: tuple[Finding, ...], message: str) -> str:
    """One attempt in one line: when it ended, how, and what was not as expected."""
    wrong = [str(finding) for finding in findings if finding.ok is not Ok.YES]
    why = "; ".join([*message.splitlines()[:1], *wrong])
    return f"{after:.1f}s {status}" + f": {why[:_LONGEST_LINE]}" * bool(why)


def _listed(tried: list[str]) -> str:
    """The attempts line by line; of very many, the first and the last."""
    left_out = len(tried) - 2 * _MOST_LINES
    if left_out > 0:
        tried = [*tried[:_MOST_LINES], f"[{left_out} more attempts]", *tried[-_MOST_LINES:]]
    return "\n".join(tried) + "\n"


def _default_timeout(check: Check) -> float:
    """Two minutes, beside what the check says that it must wait for (`needs_time`, `retry_for`)."""
    waits = (seconds(getattr(check, name, None), 0.0) for name in ("needs_time", "retry_for"))
    return DEFAULT_TIMEOUT.total_seconds() + sum(waits)


def _attempt(check: Check, context: Context) -> tuple[Status, tuple[Finding, ...], str]:
    findings: list[Finding] = []
    try:
        for finding in check.look(context):
            findings.append(context.secrets.scrub_finding(finding))  # noqa: PERF401  what was found before a failure is kept
    except CannotLook as stopped:
        return Status.ERROR, tuple(findings), context.secrets.scrub(str(stopped))
    except Exception as defect:  # a defect of a check is an error of its gate, never of the run
        context.attach("traceback.txt", "text/plain", traceback.format_exc().encode())
        text = f"{type(defect).__name__}: {defect}"
        return Status.ERROR, tuple(findings), context.secrets.scrub(f"the check '{check.kind}' broke: {text}")
    status = judge(findings)
    return status, tuple(findings), "the check found nothing to look at" if status is Status.ERROR else ""
