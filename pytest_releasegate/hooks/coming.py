"""Which gates an item still waits for: those that come before it, and of which this run has no result yet."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from pytest_releasegate.hooks.session import KEY
from pytest_releasegate.model import ASKS_PEOPLE
from pytest_releasegate.verdict import prior

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from pytest_releasegate.hooks.session import GateSession
    from pytest_releasegate.model import Gate

__all__ = ["coming", "left"]


def coming(item: pytest.Item, wanted: Callable[[Gate], bool]) -> frozenset[tuple[str, str]]:
    """Gates of the item's target before it, with their cases, that nothing keeps from looking.

    What comes after it may be of the same worker, which would wait for itself; what is not of this run never comes.
    """
    from pytest_releasegate.hooks.collect import CASE, GATE

    own = item.stash[KEY]
    now = own.clock.now()
    before = takewhile(lambda one: one is not item, item.session.items)
    gates = ((one, one.stash[GATE]) for one in before if GATE in one.stash and one.stash[KEY] is own)
    asked = ((one, gate) for one, gate in gates if wanted(gate) and gate.kind not in ASKS_PEOPLE)
    return frozenset((gate.id, one.stash[CASE]) for one, gate in asked if not prior(gate, own.release, now))


def left(session: GateSession, awaited: frozenset[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Those of which this run has no result yet."""
    return awaited - session.store.reported(session.run) if session.store and awaited else frozenset()
