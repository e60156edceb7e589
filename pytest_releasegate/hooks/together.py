"""Gates of one step that run in one process look together: each knows which others will, and what one has seen."""

from __future__ import annotations

import pytest

from pytest_releasegate.check import Shared
from pytest_releasegate.hooks.session import KEY

__all__ = ["forget", "shared_by"]

_SHARED = pytest.StashKey[tuple[object, Shared]]()


def shared_by(item: pytest.Item) -> Shared:
    """What the gates of the item's step and target share; another step begins anew."""
    from pytest_releasegate.hooks.collect import GATE, GateItem

    def step(one: pytest.Item) -> object:
        return one.stash[KEY].identity.environment.name, one.stash[GATE].phase, one.stash[GATE].step

    known = item.session.stash.get(_SHARED, None)
    if known is None or known[0] != step(item):
        others = [one for one in item.session.items if isinstance(one, GateItem) and step(one) == step(item)]
        checks = [one.declaration.check for one in others]
        known = item.session.stash[_SHARED] = (step(item), Shared(checks))
    return known[1]


def forget(item: pytest.Item) -> None:
    """Let go of what was seen: the item may write."""
    known = item.session.stash.get(_SHARED, None)
    if known is not None:
        known[1].forget()
