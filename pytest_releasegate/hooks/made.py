"""What a flow makes in the product: marked as its own, removed or voided when it is over, swept when it was killed."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pytest_releasegate.model import Ok

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_releasegate.hooks.flow import Flow

__all__ = ["PREFIX", "Forbidden", "Kind", "Made", "Thing"]

PREFIX = "rg-"
"""How every mark begins: to ask for it is to ask for what any flow has made."""
_MARK = re.compile(rf"{PREFIX}[0-9a-f]{{8}} (\d{{4}}-\d\d-\d\d \d\d:\d\d)")
_TIME = "%Y-%m-%d %H:%M"
_STALE = timedelta(minutes=10)
_ROUNDS = 20


class Forbidden(Exception):
    """The product does not let a thing be removed; raised by `remove`, so that it is voided."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing that a flow has made, as the product shows it."""

    key: str
    """Its id or number; it goes into the record, so nobody's name."""
    text: str
    """What stands on it, the mark too."""
    voided: bool = False
    """Whether it is of no effect any more: cancelled, refunded, discharged."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of things that flows make, and how the product finds and removes them."""

    name: str
    find: Callable[[str], Iterable[Thing]]
    """The things whose text holds this; those of all flows where it is `PREFIX`."""
    remove: Callable[[Thing], object] | None = None
    """Removes one, or raises `Forbidden`; None for what goes away with a thing of another kind."""
    void: Callable[[Thing], object] | None = None
    """Takes the effect from one that must not be removed."""


class Made:
    """The things of one flow."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._kinds: dict[str, Kind] = {}

    @property
    def mark(self) -> str:
        """What to write on each thing; the time in it tells later flows what was left behind."""
        return f"{self._flow.run} {self._flow.context.clock.now().astimezone(UTC):{_TIME}}"

    def will_be(self, kind: Kind) -> None:
        """Say, before the first write, what the flow makes; raises `CannotLook` where gates may not write.

        What killed flows have left of that kind is removed now, what this one makes at its end.
        """
        if kind.name in self._kinds:
            return
        self._flow.context.require_permission("writes_through_app", "a flow that makes data")
        if not self._kinds:
            self._flow.later(self._count)
        self._kinds[kind.name] = kind
        if kind.remove is not None:
            self._sweep(kind)
            self._flow.later(lambda: self._remove(kind))

    def _remove(self, kind: Kind) -> None:
        for thing in self._own(kind):
            if not thing.voided:
                _away(kind, thing)

    def _own(self, kind: Kind) -> Iterator[Thing]:
        return (thing for thing in list(kind.find(self._flow.run)) if self._flow.run in thing.text)

    def _sweep(self, kind: Kind) -> None:
        swept = 0
        for _ in range(_ROUNDS):
            stale = [thing for thing in kind.find(PREFIX) if not thing.voided and self._is_stale(thing.text)]
            for thing in stale:
                _away(kind, thing)
            swept += len(stale)
            if not stale:
                break
        name = f"{kind.name} of killed runs, removed"
        self._flow.finding(name, expected="any", actual=swept, ok=True, observe=True)

    def _is_stale(self, text: str) -> bool:
        mark = _MARK.search(text)
        made = mark and datetime.strptime(mark[1], _TIME).replace(tzinfo=UTC)
        return bool(made and self._flow.context.clock.now() - made > _STALE)

    def _count(self) -> None:
        """Look again when all is removed: what is left, and what had to be voided."""
        found = [(kind.name, thing) for kind in self._kinds.values() for thing in self._own(kind)]
        left = Counter(name for name, thing in found if not thing.voided)
        told = ", ".join(f"{count} {name}" for name, count in sorted(left.items()))
        actual = f"{left.total()}: {told}" if left else "0"
        self._flow.finding("left behind", expected=0, actual=actual, ok=Ok.NO if left else Ok.YES)
        voided = [{"kind": name, "key": thing.key} for name, thing in found if thing.voided]
        if voided:
            names = ", ".join(f"{one['kind']} {one['key']}" for one in voided)
            actual = f"{len(voided)}: {names}"
            self._flow.finding("voided, not removed", expected="any", actual=actual, ok=True, observe=True)
        self._flow.keep("made.json", {"run": self._flow.run, "left": dict(left), "voided": voided})


def _away(kind: Kind, thing: Thing) -> None:
    try:
        if kind.remove is not None:
            kind.remove(thing)
    except Forbidden:
        if kind.void is None:
            raise
        kind.void(thing)
