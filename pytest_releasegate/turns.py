"""Whose turn it is: how many looks go on at once in a process, and how many of them may ask one host."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from sys import getswitchinterval, setswitchinterval
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_releasegate.check import Clock

__all__ = ["AT_ONCE", "PER_HOST", "Dropped", "Lane", "Turns", "at_once", "late", "queued", "turn"]

One = TypeVar("One")
Other = TypeVar("Other")

AT_ONCE = 32
PER_HOST = 8
_MOST_THREADS = 256
"""Looks that wait for a host's turn hold a thread and no place; beyond so many, no further one begins."""

_SWITCH = 0.0005
"""Seconds after which a thread lets another one go on: an answer that has come shall not wait for a report."""


class Dropped(BaseException):
    """The run is over, and what still waits for its turn ends here."""


@dataclass
class Lane:
    """One look among those that go on together, and how long it has waited for its turns."""

    turns: Turns
    clock: Clock
    queued: float = 0.0
    late: float = 0.0
    """What it has waited before its first turn: so much later it has begun."""
    begun: bool = False
    placed: bool = True
    asking: int = 0
    waiting: int = 0
    since: float = 0.0


@dataclass(eq=False)
class _Waiter:
    lane: Lane
    host: str
    granted: Event = field(default_factory=Event)


_LANE: ContextVar[Lane | None] = ContextVar("releasegate_lane", default=None)
_ASKING: ContextVar[bool] = ContextVar("releasegate_asking", default=False)


def queued() -> float:
    """Seconds that the look of this thread has waited for its turns, which are not its own."""
    lane = _LANE.get()
    return lane.queued if lane else 0.0


def late() -> float:
    """Seconds that the look of this thread has waited before it first asked."""
    lane = _LANE.get()
    return lane.late if lane else 0.0


@contextmanager
def turn(host: str) -> Iterator[None]:
    """Ask the host while its turn lasts; whoever has a turn already, or looks alone, does not wait."""
    lane = _LANE.get()
    if lane is None or _ASKING.get():
        yield
        return
    name = host.lower()
    lane.turns.enter(lane, name)
    token = _ASKING.set(True)
    try:
        yield
    finally:
        _ASKING.reset(token)
        lane.turns.leave(lane, name)


def at_once(function: Callable[[One], Other], items: Sequence[One], most: int) -> list[Other]:
    """What the function gives for each item, in their order, so many at a time; raises the first failure."""
    if len(items) == 1:
        return [function(items[0])]
    left = deque(enumerate(items))
    found: dict[int, Other] = {}
    failed: dict[int, BaseException] = {}

    def work() -> None:
        with suppress(IndexError):
            while True:
                _one(function, *left.popleft(), found, failed)

    # daemons: what hangs must not keep the process from ending
    threads = [
        Thread(target=copy_context().run, args=(work,), name="releasegate-at-once", daemon=True)
        for _ in range(min(most, len(items)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[min(failed)]
    return [found[number] for number in range(len(items))]


def _one(
    function: Callable[[One], Other], number: int, item: One, found: dict[int, Other], failed: dict[int, BaseException]
) -> None:
    try:
        found[number] = function(item)
    except BaseException as error:  # every kind: it is raised in the caller's thread
        failed[number] = error


class Turns:
    """Runs looks in threads, in the order given: so many at once, so many of them on one host.

    A look that waits for a host gives up its place meanwhile, so that a slow host keeps no other one waiting.
    """

    def __init__(self, most: int = AT_ONCE, per_host: int = PER_HOST) -> None:
        self._most, self._per_host = most, per_host
        self._lock = Lock()
        self._places = most
        self._asking = 0
        self._hosts: Counter[str] = Counter()
        self._waiters: list[_Waiter] = []
        self._jobs: deque[tuple[Clock, Callable[[], None]]] = deque()
        self._threads = 0
        self._closed = False
        self._interval = getswitchinterval()

    def add(self, clock: Clock, job: Callable[[], None], *, first: bool = False) -> None:
        """Run the job when there is a place; it must not raise."""
        with self._lock:
            if not self._closed:
                (self._jobs.appendleft if first else self._jobs.append)((clock, job))
                self._advance()

    def close(self) -> None:
        """Begin nothing more; whoever waits for a turn is dropped, and nobody is waited for."""
        with self._lock:
            self._closed = True
            self._jobs.clear()
            for waiter in self._waiters:
                waiter.granted.set()
            self._waiters.clear()
            if self._threads:
                setswitchinterval(self._interval)

    def enter(self, lane: Lane, host: str) -> None:
        """Wait for a turn at the host; raises `Dropped` when the run is over."""
        waiter = _Waiter(lane, host)
        with self._lock:
            if self._closed:
                raise Dropped
            lane.waiting += 1
            if not lane.asking and lane.waiting == 1:
                lane.since = lane.clock.monotonic()
            if not self._fits(waiter):
                self._waiters.append(waiter)
                self._park(lane)
                self._advance()
            else:
                self._grant(waiter)
        waiter.granted.wait()
        if self._closed:
            raise Dropped

    def leave(self, lane: Lane, host: str) -> None:
        """Give the turn to whoever is next."""
        with self._lock:
            self._asking -= 1
            self._hosts[host] -= 1
            lane.asking -= 1
            if not lane.asking and lane.waiting:
                lane.since = lane.clock.monotonic()
                self._park(lane)
            self._advance()

    def _fits(self, waiter: _Waiter) -> bool:
        free = self._hosts[waiter.host] < self._per_host and self._asking < self._most
        return free and (waiter.lane.placed or self._places > 0)

    def _park(self, lane: Lane) -> None:
        if lane.placed and not lane.asking:
            lane.placed = False
            self._places += 1

    def _grant(self, waiter: _Waiter) -> None:
        lane = waiter.lane
        self._asking += 1
        self._hosts[waiter.host] += 1
        if not lane.asking:
            waited = lane.clock.monotonic() - lane.since
            lane.queued += waited
            lane.late += 0.0 if lane.begun else waited
        if not lane.placed:
            lane.placed = True
            self._places -= 1
        lane.begun = True
        lane.waiting -= 1
        lane.asking += 1
        waiter.granted.set()

    def _advance(self) -> None:
        """Serve who waits, the longest first, then begin further looks."""
        self._serve()
        while self._places > 0 and self._jobs and self._threads < _MOST_THREADS:
            self._count(1)
            try:
                Thread(target=self._work, args=self._jobs[0], name="releasegate-look", daemon=True).start()
            except RuntimeError:  # the machine gives no more threads: one that is there takes the job
                self._count(-1)
                if not self._threads:
                    raise
                return
            self._jobs.popleft()
            self._places -= 1

    def _serve(self) -> None:
        for waiter in [*self._waiters]:
            if self._fits(waiter):
                self._waiters.remove(waiter)
                self._grant(waiter)

    def _work(self, clock: Clock, job: Callable[[], None]) -> None:
        following: tuple[Clock, Callable[[], None]] | None = (clock, job)
        while following is not None:
            lane = Lane(self, following[0])
            token = _LANE.set(lane)
            following[1]()
            _LANE.reset(token)
            following = self._following(lane)

    def _following(self, lane: Lane) -> tuple[Clock, Callable[[], None]] | None:
        """The next look of this thread, which takes the place of the last one."""
        with self._lock:
            self._places += lane.placed
            self._serve()
            if self._places > 0 and self._jobs:
                self._places -= 1
                return self._jobs.popleft()
            self._count(-1)
            return None

    def _count(self, more: int) -> None:
        """Note a thread that begins or ends; while there are some, Python changes between threads more often."""
        if not self._threads:
            self._interval = getswitchinterval()
            setswitchinterval(min(_SWITCH, self._interval))
        self._threads += more
        if not self._threads:
            setswitchinterval(self._interval)
