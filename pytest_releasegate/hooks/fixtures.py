"""Fixtures for Python gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.check import find
from pytest_releasegate.hooks.looking import PROBE
from pytest_releasegate.hooks.probe import Probe
from pytest_releasegate.hooks.session import KEY

if TYPE_CHECKING:
    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Ok

__all__ = ["finding", "gate_context"]


@pytest.fixture
def gate_context(request: pytest.FixtureRequest) -> Context:
    """The context of this gate: environment, release, clock, references, evidence and the record's memory."""
    return _probe(request).context


@pytest.fixture
def finding(request: pytest.FixtureRequest) -> Finder:
    """A function `finding(name, expected=..., actual=..., ok=...)` that adds one thing looked at to this gate."""
    return Finder(_probe(request))


class Finder:
    """Adds findings to a Python gate, beside the one that the test itself is."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def __call__(self, name: str, *, expected: object, actual: object, ok: bool | Ok, observe: bool = False) -> None:
        """Add one thing looked at; a `no` or `cannot tell` makes the gate fail or be inconclusive."""
        self._probe.findings.append(find(name, expected=expected, actual=actual, ok=ok, observe=observe))


def _probe(request: pytest.FixtureRequest) -> Probe:
    """What the looker collects for this test; made here when the fixture comes before the first report."""
    if not request.config.pluginmanager.hasplugin("releasegate-looker"):
        pytest.fail("gates were not asked for in this run", pytrace=False)
    item = request.node
    if item.get_closest_marker("gate") is None:
        pytest.fail("the test bears no gate: what it finds would be lost; @pytest.mark.gate(ID)", pytrace=False)
    if PROBE not in item.stash:
        session = item.stash[KEY]
        item.stash[PROBE] = Probe(session.context(), session.clock.now())
    probe: Probe = item.stash[PROBE]
    return probe
