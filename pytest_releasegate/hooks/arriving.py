"""Gates that see the deployment look first; what speaks of the deployment waits for them, on every worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.hooks.session import KEY
from pytest_releasegate.lifecycle.arrival import sees_arrival
from pytest_releasegate.model import is_after_deployment
from pytest_releasegate.verdict import prior

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_releasegate.hooks.session import GateSession
    from pytest_releasegate.model import Gate

__all__ = ["Arriving", "is_undeployed", "seers_first"]

_POLL = 0.1
_PATIENCE = 600.0


def is_undeployed(session: GateSession) -> bool:
    """Whether the record does not know when the deployment was; what is not recorded need not know it."""
    return session.recorded and session.release.deployed_at is None


def seers_first(session: GateSession, items: list[pytest.Item]) -> list[pytest.Item]:
    """The items with the gates that see the deployment before all that speaks of it, where nobody has recorded it."""
    if not is_undeployed(session):
        return items
    first = [item for item in items if (gate := _gate(item)) and _is_seer(gate)]
    rest = [item for item in items if item not in set(first)]
    place = next((number for number, item in enumerate(rest) if _is_after(_gate(item))), len(rest))
    return [*rest[:place], *first, *rest[place:]]


class Arriving:
    """Lets what speaks of a deployment that nobody has recorded yet learn of it."""

    def __init__(self, sessions: Sequence[GateSession]) -> None:
        self.sessions = sessions
        self.awaited: dict[int, frozenset[str]] = {}
        """By the release, the gates that may see its deployment in this run."""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which gates may see the deployment in this run: those that nothing keeps from looking."""
        for item in session.items:
            own, gate = self._session(item), _gate(item)
            if gate and _is_seer(gate) and not prior(gate, own.release, own.clock.now()):
                self.awaited[own.release.id] = self.awaited.get(own.release.id, frozenset()) | {gate.id}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Before what speaks of the deployment: learn of it from the record, once those that see it have looked."""
        own, gate = self._session(item), _gate(item)
        if not (own.worker and own.store and is_undeployed(own) and _is_after(gate)) or (gate and _is_seer(gate)):
            return
        start = own.clock.monotonic()
        while True:
            unseen = self._unseen(own)
            # read after the results, before which it is written
            own.release = own.store.release(own.release.id)
            if not is_undeployed(own) or not unseen or own.clock.monotonic() - start > _PATIENCE:
                return
            own.clock.sleep(_POLL)

    def _unseen(self, own: GateSession) -> frozenset[str]:
        """The gates that may still see the deployment in this run."""
        awaited = self.awaited.get(own.release.id, frozenset())
        return awaited - own.store.looked_at(own.run) if own.store and awaited else frozenset()

    def _session(self, item: pytest.Item) -> GateSession:
        """What is known of the item's target."""
        return item.stash.get(KEY, self.sessions[0])


def _gate(item: pytest.Item) -> Gate | None:
    from pytest_releasegate.hooks.collect import GATE

    return item.stash.get(GATE, None)


def _is_after(gate: Gate | None) -> bool:
    return gate is not None and is_after_deployment(gate.phase, gate.step)


def _is_seer(gate: Gate) -> bool:
    """Whether others wait for the gate; one that itself waits for others would never be done."""
    return sees_arrival(gate) and not gate.needs
