"""Runs one check: deadline, retry until it holds, and every way of failing turned into a status."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pytest_releasegate.check import judge, seconds
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pytest_releasegate.check import Check, Context
    from pytest_releasegate.model import Evidence, Finding

__all__ = ["Look", "look"]

DEFAULT_TIMEOUT = timedelta(seconds=120)
_PAUSE = 0.5


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
    started_at, start = context.clock.now(), context.clock.monotonic()
    patience = seconds(getattr(check, "retry_for", None), 0.0)
    context.deadline = start + seconds(timeout, _default_timeout(check))
    attempts = 0
    while True:
        attempts += 1
        mark = len(context.attached)
        context.kept.clear()
        status, findings, message = _attempt(check, context)
        now = context.clock.monotonic()
        if status is Status.PASSED or now + _PAUSE > min(start + patience, context.deadline):
            break
        del context.attached[mark:]
        context.shared.forget()
        context.clock.sleep(_PAUSE)
    return Look(
        status=status,
        findings=findings,
        attached=tuple(context.attached),
        kept=context.secrets.scrub_value(dict(context.kept)) if status is Status.PASSED else {},
        message=message,
        started_at=started_at,
        seconds=now - start,
        attempts=attempts,
    )


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
