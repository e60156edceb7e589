"""Gates that only wait on a network look together: those that follow are begun before pytest reaches them."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_releasegate.execution import Look, broken, look
from pytest_releasegate.hooks import blocks
from pytest_releasegate.hooks.session import KEY
from pytest_releasegate.hooks.together import forget, shared_by, step_of
from pytest_releasegate.lifecycle.arrival import sees_arrival
from pytest_releasegate.model import ASKS_PEOPLE
from pytest_releasegate.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from pytest_releasegate.hooks.collect import GateItem
    from pytest_releasegate.hooks.session import GateSession

__all__ = ["NAME", "Ahead", "ahead_of"]

NAME = "releasegate-ahead"
_SKIPS = ("skip", "skipif", "xfail")


class _Begun:
    """A look in a thread of its own."""

    def __init__(self, item: GateItem, session: GateSession) -> None:
        self.check: Any = item.declaration.check
        self.timeout = item.declaration.timeout
        self.context = session.context()
        self.context.shared = shared_by(item)
        self.over = Event()
        self.seen: Look | None = None

    def run(self) -> None:
        """Look; what ends the look, however it does, is the gate's error."""
        try:
            self.seen = look(self.check, self.context, timeout=self.timeout)
        except BaseException as error:  # in a thread it would reach nobody
            self.seen = broken(self.check, self.context, error)
        self.over.set()

    def wait(self) -> Look:
        """What the look gave."""
        self.over.wait()
        assert self.seen is not None  # noqa: S101  `run` leaves one
        return self.seen


class Ahead:
    """The looks of this process that were begun before their items were reached."""

    def __init__(self, session: GateSession) -> None:
        self.checklist = session.checklist
        self.turns = Turns()
        self.begun: dict[pytest.Item, _Begun] = {}
        self.looks: dict[pytest.Item, Look] = {}
        self.order: _Order | None = None
        self.nextitem: pytest.Item | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, nextitem: pytest.Item | None) -> Generator[None, object, object]:
        """Keep which item is next: under xdist that tells whether a block came whole."""
        self.nextitem = nextitem
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """The time of a look is its own, and not for how long pytest has waited for it."""
        report = yield
        seen = self.looks.pop(item, None) if call.when == "call" else None
        if seen:
            report.start, report.duration = seen.started_at.timestamp(), seen.seconds
            report.stop = report.start + report.duration
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Let go of what nobody asks for any more."""
        self.turns.close()
        self.begun.clear()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker whether blocks come whole."""
        node.workerinput["releasegate_blocks"] = blocks.whole(node.config)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> object | None:
        """Hand out blocks whole."""
        return blocks.scheduler(config, log, self.checklist) if blocks.whole(config) else None

    def reach(self, item: GateItem, may: Callable[[GateItem, GateSession], bool]) -> None:
        """Begin the item that pytest has come to, and what follows, as far as they may look together."""
        if self.order is None:
            self.order = _Order(item, self.checklist)
        if item not in self.order.places:
            return
        for one in self.order.ready(item, self.nextitem):
            session = one.stash[KEY]
            if not any(next(one.iter_markers(name), None) for name in _SKIPS) and may(one, session):
                self._begin(one, session)

    def take(self, item: GateItem) -> Look | None:
        """What the look gave, where it was begun; a second time the item looks anew."""
        begun = self.begun.get(item)
        if begun is None:
            return None
        try:
            self.looks[item] = begun.wait()
        finally:
            del self.begun[item]
        return self.looks[item]

    def look(self, item: GateItem, session: GateSession) -> Look:
        """Look now: alone, or where it may among those that were begun, as the next of them."""
        if blocks.joins(item.declaration):
            self._begin(item, session, first=True)
            seen = self.take(item)
            assert seen is not None  # noqa: S101  it was begun
            return seen
        context = session.context()
        if item.declaration.gate.writes:
            forget(item)
        context.shared = shared_by(item)
        check: Any = item.declaration.check
        seen = look(check, context, timeout=item.declaration.timeout)
        if item.declaration.gate.writes:
            # what it saw itself may be of before it wrote
            forget(item)
        return seen

    def _begin(self, item: GateItem, session: GateSession, *, first: bool = False) -> None:
        begun = _Begun(item, session)
        self.turns.add(begun.context.clock, begun.run, first=first)
        self.begun[item] = begun


class _Order:
    """The items as pytest runs them, and which of them may be begun when one is reached."""

    def __init__(self, item: GateItem, checklist: Any) -> None:
        from pytest_releasegate.hooks.collect import GATE

        self.items = item.session.items
        self.places = {one: place for place, one in enumerate(self.items)}
        gates = ((one, place) for one, place in self.places.items() if GATE in one.stash)
        self.last = {(id(one.stash[KEY]), one.stash[GATE].id): place for one, place in gates}
        self.until = 0
        """What lies before has been begun or put off."""
        self.later: list[int] = []
        self.blocks: list[int] = []
        self.whole = True
        if (sent := getattr(item.config, "workerinput", None)) is not None:
            self.whole = bool(sent.get("releasegate_blocks"))
            self.blocks = blocks.numbers(checklist, (one.nodeid for one in self.items))

    def ready(self, item: GateItem, nextitem: pytest.Item | None) -> Iterator[GateItem]:
        """The items that may be begun now, in their order."""
        place = self.places[item]
        if place >= self.until:
            self.later = []
            self.until = place + 1
            self.later = [*self._stretch(place, nextitem)] if blocks.joins(item.declaration) else []
            self.until = max([self.until, *(one + 1 for one in self.later)])
        waiting = [one for one in self.later if one >= place]
        self.later = [one for one in waiting if not self._has_its_needs(one, place)]
        for one in waiting:
            if one not in self.later:
                yield self._item(one)

    def _has_its_needs(self, place: int, reached: int) -> bool:
        """Whether all that it needs was looked at, and is in the record, or is not of this run."""
        item = self._item(place)
        needs = item.declaration.gate.needs
        if self.blocks:
            return not needs  # other workers may be looking at them
        return all(self.last.get((id(item.stash[KEY]), need), -1) < reached for need in needs)

    def _item(self, place: int) -> GateItem:
        return cast("GateItem", self.items[place])

    def _stretch(self, place: int, nextitem: pytest.Item | None) -> Iterator[int]:
        """The places that may be looked at together from here on: under xdist a block that came whole."""
        if self.blocks:
            yield place
            first = place == 0 or self.blocks[place - 1] != self.blocks[place]
            if not (self.whole and first and nextitem and self.places[nextitem] == place + 1):
                return
            yield from (one for one in range(place + 1, len(self.items)) if self.blocks[one] == self.blocks[place])
            return
        yield from self._following(place)

    def _following(self, place: int) -> Iterator[int]:
        """Up to the next step, what waits for a gate to see the deployment, and what may write or stands alone."""
        from pytest_releasegate.hooks.collect import GATE, GateItem

        own = step_of(self.items[place]), sees_arrival(self._item(place).declaration.gate)
        for number in range(place, len(self.items)):
            one = self.items[number]
            if GATE not in one.stash:
                continue
            gate = one.stash[GATE]
            if gate.writes or (step_of(one), sees_arrival(gate)) != own:
                return
            if isinstance(one, GateItem) and gate.kind not in ASKS_PEOPLE:
                if not blocks.joins(one.declaration):
                    return
                yield number


def ahead_of(item: pytest.Item) -> Ahead:
    """The looks that were begun in the item's process."""
    found = item.config.pluginmanager.get_plugin(NAME)
    assert isinstance(found, Ahead)  # noqa: S101  the set-up registers it, or ends the run
    return found
