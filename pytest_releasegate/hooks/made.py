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
_MARK = re.compile(rf"\b{PREFIX}[0-9a-f]{{8}} (\d{{4}}-\d\d-\d\d \d\d:\d\d)")
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
        problems = _all_away(kind, [thing for thing in self._own(kind) if not thing.voided])
        if problems:
            raise problems[0]

    def _own(self, kind: Kind) -> Iterator[Thing]:
        return (thing for thing in list(kind.find(self._flow.run)) if self._flow.run in thing.text)

    def _sweep(self, kind: Kind) -> None:
        swept, stuck = 0, []
        for _ in range(_ROUNDS):
            stale = [thing for thing in kind.find(PREFIX) if not thing.voided and self._is_stale(thing.text)]
            stuck = _all_away(kind, stale)
            swept += len(stale) - len(stuck)
            if len(stale) == len(stuck):
                break
        name = f"{kind.name} of killed runs"
        self._flow.finding(f"{name}, removed", expected="any", actual=swept, ok=True, observe=True)
        if stuck:
            actual = f"{len(stuck)}: {str(stuck[0]) or type(stuck[0]).__name__}"
            self._flow.finding(f"{name}, not removed", expected=0, actual=actual, ok=False, observe=True)

    def _is_stale(self, text: str) -> bool:
        """Whether each mark on it is old: one that quotes an older mark may be of a run that is at work."""
        times = [_time(mark) for mark in _MARK.findall(text)]
        now = self._flow.context.clock.now()
        return bool(times) and all(made is not None and now - made > _STALE for made in times)

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


def _time(mark: str) -> datetime | None:
    try:
        return datetime.strptime(mark, _TIME).replace(tzinfo=UTC)
    except ValueError:  # somebody wrote it who is no flow
        return None


def _all_away(kind: Kind, things: Iterable[Thing]) -> list[Exception]:
    """Remove each, whatever becomes of the others; what was raised."""
    problems: list[Exception] = []
    for thing in things:
        try:
            _away(kind, thing)
        except Exception as problem:  # the others still have to go
            problems.append(problem)
    return problems


def _away(kind: Kind, thing: Thing) -> None:
    try:
        if kind.remove is not None:
            kind.remove(thing)
    except Forbidden:
        if kind.void is None:
            raise
        kind.void(thing)
