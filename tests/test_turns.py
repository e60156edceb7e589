"""Turns: how many look at once and on one host, what waiting costs a gate, and that nothing waits for ever."""

from __future__ import annotations

import warnings
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from sys import getswitchinterval
from threading import Barrier, Event, Lock, Thread
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from pytest_releasegate.check import Context, Secrets, SystemClock, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.execution import Look, look
from pytest_releasegate.model import Environment, Release, Status
from pytest_releasegate.sources.tls import Endpoint, offer
from pytest_releasegate.testing import FakeClock
from pytest_releasegate.turns import Dropped, Lane, Turns, at_once, turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_releasegate.model import Finding

PATIENCE = 20
GOOD = find("n", expected=1, actual=1, ok=True)


class Jobs:
    """Runs functions in turn and keeps what they gave or raised."""

    def __init__(self, turns: Turns, clock: Any = None) -> None:
        self.turns, self.clock = turns, clock or SystemClock()
        self.ends: list[tuple[Event, list[Any]]] = []

    def add(self, function: Callable[[], Any], *, first: bool = False) -> None:
        over, came = Event(), []

        def job() -> None:
            try:
                came.append(function())
            except BaseException as error:
                came.append(error)
            over.set()

        self.ends.append((over, came))
        self.turns.add(self.clock, job, first=first)

    def result(self, number: int) -> Any:
        over, came = self.ends[number]
        assert over.wait(PATIENCE)
        return came[0]

    def results(self) -> list[Any]:
        return [self.result(number) for number in range(len(self.ends))]


class Watched(Turns):
    """Tells when somebody has begun to wait."""

    def __init__(self, most: int, per_host: int) -> None:
        super().__init__(most, per_host)
        self.parked = Event()

    def _park(self, lane: Lane) -> None:
        super()._park(lane)
        self.parked.set()


class Most:
    """Counts who is inside at once."""

    def __init__(self) -> None:
        self.lock, self.now, self.most = Lock(), 0, 0

    def __enter__(self) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.now -= 1


def asking(host: str, inside: Most, barrier: Barrier) -> Callable[[], None]:
    def ask() -> None:
        with turn(host), inside:
            barrier.wait(PATIENCE)

    return ask


def test_a_busy_host_keeps_no_other_from_its_turn():
    turns = Turns(4, 2)
    jobs, inside, both = Jobs(turns), Most(), Barrier(4)
    for host in ["a"] * 10 + ["b"] * 10:
        jobs.add(asking(host, inside, both))
    assert jobs.results() == [None] * 20
    assert inside.most == 4


def test_python_changes_between_threads_more_often_only_while_they_look():
    before = getswitchinterval()
    turns, go = Turns(4, 2), Event()
    jobs = Jobs(turns)
    jobs.add(lambda: (getswitchinterval(), go.wait(PATIENCE))[0])
    jobs.add(lambda: getswitchinterval())
    assert jobs.result(1) < before
    turns.close()
    assert getswitchinterval() == before
    go.set()
    assert jobs.result(0) < before


def test_looks_that_ask_nobody_are_bounded_too():
    turns, inside, together = Turns(3, 2), Most(), Barrier(3)

    def sit() -> None:
        with inside:
            together.wait(PATIENCE)

    jobs = Jobs(turns)
    for _ in range(9):
        jobs.add(sit)
    jobs.results()
    assert inside.most == 3


def test_who_gave_up_a_place_looks_on_only_when_there_is_one():
    turns, there, sits, go = Turns(2, 1), Event(), Event(), Event()

    def hold() -> int:
        with turn("a"):
            there.set()
            assert sits.wait(PATIENCE)
        return len(turns._waiters)  # the host is free, and both places are taken

    def ask() -> None:
        with turn("a"):
            pass

    jobs = Jobs(turns)
    jobs.add(hold)
    assert there.wait(PATIENCE)
    jobs.add(ask)
    jobs.add(lambda: (sits.set(), go.wait(PATIENCE)))
    assert jobs.result(0) == 1
    assert jobs.result(1) is None
    go.set()


def test_several_requests_of_one_gate_take_turns_too():
    turns, inside = Turns(8, 2), Most()

    def ask(host: str) -> str:
        with turn(host), inside:
            return host

    jobs = Jobs(turns)
    for _ in range(3):
        jobs.add(lambda: at_once(ask, ["a"] * 6, 6))
    assert jobs.results() == [["a"] * 6] * 3
    assert inside.most <= 2


def test_whoever_has_a_turn_does_not_wait_for_another():
    def ask() -> str:
        with turn("a"), turn("b"), turn("A"):
            return "through"

    jobs = Jobs(Turns(2, 1))
    for _ in range(6):
        jobs.add(ask)
    assert jobs.results() == ["through"] * 6


def test_the_first_in_line_may_be_put_there():
    started, go, order = Event(), Event(), []
    jobs = Jobs(Turns(1, 1))
    jobs.add(lambda: (started.set(), go.wait(PATIENCE)))
    assert started.wait(PATIENCE)
    jobs.add(lambda: order.append("second"))
    jobs.add(lambda: order.append("first"), first=True)
    go.set()
    jobs.results()
    assert order == ["first", "second"]


def test_who_waits_is_dropped_when_the_run_is_over():
    turns, there, go = Watched(4, 1), Event(), Event()
    jobs = Jobs(turns)

    def hold() -> None:
        with turn("a"):
            there.set()
            go.wait(PATIENCE)

    def ask() -> None:
        with turn("a"):
            pass

    jobs.add(hold)
    assert there.wait(PATIENCE)
    jobs.add(ask)
    assert turns.parked.wait(PATIENCE)
    turns.close()
    assert isinstance(jobs.result(1), Dropped)
    go.set()
    jobs.add(ask)
    assert jobs.result(0) is None
    assert not jobs.ends[2][0].is_set()


def test_nobody_begins_to_wait_after_the_end():
    turns, there, go = Turns(4, 1), Event(), Event()
    jobs = Jobs(turns)

    def ask() -> None:
        there.set()
        go.wait(PATIENCE)
        with turn("a"):
            pass

    jobs.add(ask)
    assert there.wait(PATIENCE)
    turns.close()
    go.set()
    assert isinstance(jobs.result(0), Dropped)


class Asks:
    """A check that asks a host, and lets the clock run while it has its turn."""

    kind: ClassVar[str] = "asks"

    def __init__(self, takes: float, go: Event | None = None, there: Event | None = None) -> None:
        self.takes, self.go, self.there = takes, go, there

    def look(self, context: Context) -> Iterator[Finding]:
        limit = context.remaining(100)
        with turn("host"):
            if self.go and self.there:
                self.there.set()
                assert self.go.wait(PATIENCE)
            context.clock.sleep(self.takes)
        assert context.remaining(100) == limit - self.takes
        yield GOOD


def context(clock: FakeClock) -> Context:
    release = Release(product="p", version="1", environment="test", opened_at=clock.now())
    return Context(Environment(name="test"), release, Path.cwd(), clock=clock)


def test_waiting_for_a_turn_is_not_the_gates_own_time():
    clock = FakeClock()
    opened, turns = clock.now(), Watched(4, 1)
    go, there = Event(), Event()
    jobs = Jobs(turns, clock)
    jobs.add(lambda: look(Asks(50, go, there), context(clock), timeout=timedelta(seconds=60)))  # type: ignore[arg-type]
    assert there.wait(PATIENCE)
    jobs.add(lambda: look(Asks(20), context(clock), timeout=timedelta(seconds=30)))  # type: ignore[arg-type]
    assert turns.parked.wait(PATIENCE)
    go.set()
    first, second = jobs.results()
    assert isinstance(second, Look), second
    assert (first.status, first.seconds, first.started_at) == (Status.PASSED, 50, opened)
    assert (second.status, second.seconds, second.started_at - opened) == (Status.PASSED, 20, timedelta(seconds=50))


def test_what_goes_on_at_once_keeps_its_order_and_raises_its_first_failure():
    both = Barrier(2)

    def work(number: int) -> int:
        both.wait(PATIENCE)
        if number > 1:
            raise ValueError(f"no {number}")
        return number

    assert at_once(work, [0, 1], 2) == [0, 1]
    with pytest.raises(ValueError, match="no 2"):
        at_once(work, [0, 1, 2, 3], 2)
    assert at_once(work, [], 2) == []


def test_secrets_are_struck_out_while_others_come():
    secrets, stop = Secrets({}), Event()

    def add() -> None:
        for number in range(300):
            secrets.add(f"secret-{number:04}", f"env:S{number}")
        stop.set()

    thread = Thread(target=add)
    thread.start()
    while not stop.is_set():
        assert secrets.scrub("nothing of it") == "nothing of it"
    thread.join()
    assert secrets.scrub("a secret-0299 b") == "a ${env:S299} b"


def test_looking_at_old_protocols_leaves_the_filters_of_a_test_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = [one for one in warnings.filters if one[0] == "error"]
        with suppress(CannotLook):
            offer(Endpoint("127.0.0.1", 9), "TLSv1.1", 1.0)
        assert [one for one in warnings.filters if one[0] == "error"] == before
        with pytest.raises(DeprecationWarning):
            warnings.warn("another", DeprecationWarning, stacklevel=1)
