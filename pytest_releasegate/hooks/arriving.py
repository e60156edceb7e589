"""Gates that see the deployment look first; what speaks of the deployment waits for them, on every worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.hooks.coming import coming, left
from pytest_releasegate.hooks.session import KEY
from pytest_releasegate.lifecycle.arrival import sees_arrival
from pytest_releasegate.model import is_after_deployment

if TYPE_CHECKING:
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

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Before what speaks of the deployment: learn of it from the record, once those that see it have looked."""
        own, gate = item.stash.get(KEY, None), _gate(item)
        if own is None or own.store is None or gate is None:
            return
        if not is_undeployed(own) or not _is_after(gate) or _is_seer(gate):
            return
        awaited = coming(item, _is_seer) if own.worker else frozenset()
        start = own.clock.monotonic()
        while True:
            unseen = left(own, awaited)
            # read after the results, before which it is written
            own.release = own.store.release(own.release.id)
            if not is_undeployed(own) or not unseen or own.clock.monotonic() - start > _PATIENCE:
                return
            own.clock.sleep(_POLL)


def _gate(item: pytest.Item) -> Gate | None:
    from pytest_releasegate.hooks.collect import GATE

    return item.stash.get(GATE, None)


def _is_after(gate: Gate | None) -> bool:
    return gate is not None and is_after_deployment(gate.phase, gate.step)


def _is_seer(gate: Gate) -> bool:
    """Whether others wait for the gate; one that itself waits for others would never be done."""
    return sees_arrival(gate) and not gate.needs
