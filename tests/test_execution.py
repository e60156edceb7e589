"""One look: deadline, retries on a clock of its own, and every way of failing turned into a status."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from pytest_releasegate.check import Context, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Environment, Finding, Ok, Status
from pytest_releasegate.testing import FakeClock, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOOD = find("n", expected=1, actual=1, ok=True)
BAD = find("n", expected=1, actual=2, ok=False)
VARIABLES = {"TOKEN": "hunter22"}


@dataclass
class Sample:
    """A check that does what its steps say, one step for each attempt, the last one again and again."""

    kind: ClassVar[str] = "sample"
    steps: list[Callable[[Context], Iterator[Finding]]]
    retry_for: timedelta | None = None
    needs_time: timedelta | None = None
    times: list[float] = field(default_factory=list)

    def look(self, context: Context) -> Iterator[Finding]:
        """The step of this attempt."""
        self.times.append(context.clock.monotonic())
        step = self.steps[min(len(self.times), len(self.steps)) - 1]
        return step(context)


def yielding(*findings: Any, takes: float = 0.0) -> Callable[[Context], Iterator[Finding]]:
    def step(context: Context) -> Iterator[Finding]:
        context.clock.sleep(takes)
        yield from findings

    return step


def raising(error: BaseException, *findings: Finding) -> Callable[[Context], Iterator[Finding]]:
    def step(context: Context) -> Iterator[Finding]:
        context.resolve("${env:TOKEN}")
        yield from findings
        raise error

    return step


def keeping(name: str, value: Any, finding: Finding) -> Callable[[Context], Iterator[Finding]]:
    def step(context: Context) -> Iterator[Finding]:
        context.resolve("${env:TOKEN}")
        context.keep(name, value)
        context.attach(name, "text/plain", name.encode())
        yield finding

    return step


def looked(*steps: Any, **changes: Any) -> tuple[Any, Sample]:
    timeout = changes.pop("timeout", None)
    check = Sample(list(steps), **changes)
    return look(check, clock=FakeClock(), variables=VARIABLES, timeout=timeout), check


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([GOOD], Status.PASSED),
        ([GOOD, BAD], Status.FAILED),
        ([GOOD, find("n", expected=1, actual="?", ok=Ok.CANNOT_TELL)], Status.INCONCLUSIVE),
    ],
)
def test_findings_are_judged(findings: list[Finding], status: Status) -> None:
    result, _ = looked(yielding(*findings, takes=1.5))
    assert (result.status, result.findings, result.message) == (status, tuple(findings), "")
    assert (result.seconds, result.attempts, result.started_at) == (1.5, 1, FakeClock().now())


@pytest.mark.parametrize("findings", [[], [find("n", expected=1, actual=1, ok=True, observe=True)]])
def test_nothing_that_can_be_judged_is_an_error_that_says_so(findings: list[Finding]) -> None:
    result, _ = looked(yielding(*findings))
    assert (result.status, result.message) == (Status.ERROR, "the check found nothing to look at")


def test_without_retry_it_looks_once() -> None:
    result, check = looked(yielding(BAD), yielding(GOOD))
    assert (result.status, check.times) == (Status.FAILED, [0.0])


def test_it_looks_again_until_it_holds() -> None:
    result, check = looked(
        yielding(BAD), raising(CannotLook("refused")), yielding(), yielding(GOOD), retry_for=timedelta(seconds=30)
    )
    assert (result.status, result.message, result.attempts) == (Status.PASSED, "", 4)
    assert check.times == [0.0, 0.5, 1.0, 1.5]
    assert result.seconds == 1.5


def test_retry_ends_when_its_time_is_over() -> None:
    result, check = looked(yielding(BAD), retry_for=timedelta(seconds=2))
    assert (result.status, result.attempts) == (Status.FAILED, 5)
    assert check.times == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_retry_ends_at_the_deadline() -> None:
    result, _ = looked(yielding(BAD, takes=3), retry_for=timedelta(minutes=5), timeout=timedelta(seconds=10))
    assert (result.status, result.attempts) == (Status.FAILED, 3)
    assert result.seconds == 10.0


def test_retry_longer_than_the_usual_timeout_is_kept() -> None:
    result, _ = looked(yielding(BAD, takes=30), retry_for=timedelta(minutes=5))
    assert 270 <= result.seconds <= 330


@pytest.mark.parametrize(
    ("changes", "deadline"),
    [
        ({}, 120.0),
        ({"needs_time": timedelta(seconds=60)}, 180.0),
        ({"retry_for": timedelta(seconds=30)}, 150.0),
        ({"timeout": timedelta(seconds=5)}, 5.0),
        ({"timeout": timedelta(seconds=5), "needs_time": timedelta(hours=1)}, 5.0),
    ],
)
def test_deadline(changes: dict[str, Any], deadline: float) -> None:
    seen: list[float | None] = []

    def step(context: Context) -> Iterator[Finding]:
        seen.append(context.deadline)
        yield GOOD

    looked(step, **changes)
    assert seen == [deadline]


def test_used_up_time_is_an_error() -> None:
    def step(context: Context) -> Iterator[Finding]:
        yield GOOD
        context.clock.sleep(6)
        context.remaining()
        yield GOOD

    result, _ = looked(step, timeout=timedelta(seconds=5))
    assert (result.status, result.findings) == (Status.ERROR, (GOOD,))
    assert result.message == "the gate's time is used up\n    raise its `timeout`"


def test_what_was_found_before_it_could_not_look_is_kept() -> None:
    result, _ = looked(raising(CannotLook("refused with hunter22", "try hunter22"), GOOD))
    assert (result.status, result.findings, result.attached) == (Status.ERROR, (GOOD,), ())
    assert result.message == "refused with ${env:TOKEN}\n    try ${env:TOKEN}"


def test_defect_is_an_error_with_its_traceback() -> None:
    result, _ = looked(raising(KeyError("hunter22"), BAD))
    assert (result.status, result.findings) == (Status.ERROR, (BAD,))
    assert result.message == "the check 'sample' broke: KeyError: '${env:TOKEN}'"
    ((evidence, body),) = result.attached
    assert (evidence.name, evidence.media_type) == ("traceback.txt", "text/plain")
    assert b"KeyError: '${env:TOKEN}'" in body
    assert b"hunter22" not in body


@pytest.mark.parametrize("garbage", [None, "passed", {"ok": True}])
def test_what_is_no_finding_is_an_error(garbage: Any) -> None:
    result, _ = looked(yielding(GOOD, garbage))
    assert result.status is Status.ERROR
    assert "the check 'sample' broke: " in result.message


def test_check_that_gives_nothing_at_all_is_an_error() -> None:
    result, _ = looked(lambda context: None)
    assert (result.status, result.message) == (
        Status.ERROR,
        "the check 'sample' broke: TypeError: 'NoneType' object is not iterable",
    )


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_person_who_interrupts_is_obeyed(stop: type[BaseException]) -> None:
    with pytest.raises(stop):
        looked(raising(stop()))


def test_findings_are_scrubbed() -> None:
    def step(context: Context) -> Iterator[Finding]:
        token = context.resolve("${env:TOKEN}")
        yield find(f"a {token}", expected=token, actual=f"{token}!", ok=True)

    result, _ = looked(step)
    assert result.findings == (Finding("a ${env:TOKEN}", "${env:TOKEN}", "${env:TOKEN}!", Ok.YES),)


def test_measurements_are_kept_only_when_it_passed() -> None:
    assert looked(keeping("rows", 3, GOOD))[0].kept == {"rows": 3}
    assert looked(keeping("rows", 3, BAD))[0].kept == {}


def test_measurements_are_scrubbed() -> None:
    assert looked(keeping("x", ["hunter22"], GOOD))[0].kept == {"x": ["${env:TOKEN}"]}


def test_failed_attempts_leave_neither_evidence_nor_measurements() -> None:
    result, _ = looked(keeping("first", 1, BAD), keeping("second", 2, GOOD), retry_for=timedelta(seconds=5))
    assert result.kept == {"second": 2}
    assert [evidence.name for evidence, _ in result.attached] == ["second", "attempts.txt"]


def test_last_attempt_shows_why_it_failed() -> None:
    result, _ = looked(keeping("first", 1, BAD), keeping("last", 2, BAD), retry_for=timedelta(seconds=0.7))
    assert [evidence.name for evidence, _ in result.attached] == ["last", "attempts.txt"]


def test_attempts_are_kept_one_by_one_with_what_was_wrong_each_time() -> None:
    steps = raising(CannotLook("no hunter22", "try"), BAD), yielding(BAD, GOOD, takes=1), yielding(GOOD)
    result, _ = looked(*steps, retry_for=timedelta(seconds=5))
    assert (result.status, result.attempts) == (Status.PASSED, 3)
    assert result.attached[-1][1].decode().splitlines() == [
        "0.0s error: no ${env:TOKEN}; n: expected 1, got 2",
        "1.5s failed: n: expected 1, got 2",
        "2.0s passed",
    ]


def test_of_very_many_attempts_the_first_and_the_last_are_kept() -> None:
    result, _ = looked(yielding(BAD), retry_for=timedelta(seconds=300))
    lines = result.attached[-1][1].decode().splitlines()
    assert (result.attempts, len(lines), lines[100]) == (601, 201, "[401 more attempts]")
    assert (lines[0][:4], lines[-1][:6]) == ("0.0s", "300.0s")


def test_a_single_attempt_is_no_list() -> None:
    assert looked(yielding(GOOD), retry_for=timedelta(seconds=5))[0].attached == ()


def test_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock()
    start = clock.now()
    clock.sleep(90)
    assert (clock.now() - start, clock.monotonic()) == (timedelta(seconds=90), 90)


def test_environment_of_a_look() -> None:
    seen: list[str] = []

    def step(context: Context) -> Iterator[Finding]:
        seen.extend([context.environment.name, context.release.environment, context.release.version])
        yield GOOD

    look(Sample([step]), Environment(name="staging"))
    assert seen == ["staging", "staging", "1.4.0"]
