"""What a watch of metrics says beside rates and times: gauges, restarts, and how much arrives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isnan
from typing import TYPE_CHECKING

from pytest_releasegate.check import find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok

if TYPE_CHECKING:
    from pytest_releasegate.model import Finding, Release
    from pytest_releasegate.params import Threshold
    from pytest_releasegate.sources.prometheus import Window

__all__ = ["judge_gauge", "judge_rate", "judge_restarts"]

_STARTED = "process_start_time_seconds"
_CLOCKS = timedelta(seconds=5)
"""By how much the target's clock may go wrong."""


def judge_gauge(text: str, bound: Threshold, scrapes: list[list[float]]) -> Finding:
    """Whether every series of a gauge satisfies its bound in every scrape."""
    values = [value for found in scrapes for value in found]
    broken = [value for value in values if not isnan(value) and not bound.holds(value)]
    if broken:
        worst = min(broken) if bound.sign.startswith(">") else max(broken)
        return find(text, expected=bound, actual=f"{worst:g}", ok=False)
    missing = sum(not found for found in scrapes)
    if missing or any(map(isnan, values)):
        got = f"no series in {missing} of {len(scrapes)} scrapes" if missing else "NaN"
        return find(text, expected=bound, actual=got, ok=Ok.CANNOT_TELL)
    return find(text, expected=bound, actual=f"{min(values):g}..{max(values):g} in {len(scrapes)} scrapes", ok=True)


def judge_restarts(window: Window, release: Release) -> Finding:
    """Whether the process has run since the deployment: one that was killed or fell over started later."""
    deployed = release.deployed_at
    if deployed is None:
        raise CannotLook(f"release {release.name} has no deployed_at yet", "say when: releasegate deployed")
    expected = f"started by the deployment, {deployed.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    seen = [value for scraped in window.scrapes if (value := scraped.value(_STARTED)) is not None]
    if not seen:
        return find("process", expected=expected, actual=f"no {_STARTED}", ok=Ok.CANNOT_TELL)
    started = datetime.fromtimestamp(max(seen), UTC)
    actual = f"started {started:%Y-%m-%d %H:%M:%S} UTC"
    late = started > deployed + _CLOCKS
    return find("process", expected=expected, actual=actual + ", restarted since" * late, ok=not late)


def judge_rate(bound: Threshold, requests: float, seconds: float) -> Finding:
    """Whether as many requests arrive in a second as should."""
    rate = requests / seconds if seconds else 0.0
    actual = f"{rate:.3g} ({requests:g} in {seconds:.3g}s)"
    return find("requests a second", expected=bound, actual=actual, ok=bound.holds(rate))
