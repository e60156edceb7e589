"""Gates of one step that run in one process look together: each knows which others will, and what one has seen."""

from __future__ import annotations

import pytest

from pytest_releasegate.check import Shared
from pytest_releasegate.hooks.session import KEY

__all__ = ["forget", "shared_by", "step_of"]

_SHARED = pytest.StashKey[tuple[object, Shared]]()


def shared_by(item: pytest.Item) -> Shared:
    """What the gates of the item's step and target share; another step begins anew."""
    from pytest_releasegate.hooks.collect import GateItem

    known = item.session.stash.get(_SHARED, None)
    if known is None or known[0] != step_of(item):
        others = [one for one in item.session.items if isinstance(one, GateItem) and step_of(one) == step_of(item)]
        checks = [one.declaration.check for one in others]
        known = item.session.stash[_SHARED] = (step_of(item), Shared(checks))
    return known[1]


def step_of(item: pytest.Item) -> object:
    """The target, phase and step of a gate's item."""
    from pytest_releasegate.hooks.collect import GATE

    return item.stash[KEY].identity.environment.name, item.stash[GATE].phase, item.stash[GATE].step


def forget(item: pytest.Item) -> None:
    """Let go of what was seen: the item may write."""
    known = item.session.stash.get(_SHARED, None)
    if known is not None:
        known[1].forget()
