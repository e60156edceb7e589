"""`load`: a load test run by locust, and its comparison with the previous release's."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Finding, Ok
from pytest_releasegate.params import Duration, Parameters, Threshold, format_duration
from pytest_releasegate.sources.locust import Order, Outcome, half_step
from pytest_releasegate.sources.locust import run as run_locust
from pytest_releasegate.statistics import (
    QUANTILES,
    CountLimit,
    Quantiles,
    ShareLimit,
    TimeLimit,
    certain,
    failed_share,
    grown_little,
    in_time,
    least_samples,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Kept

__all__ = ["Baseline", "Comparison", "Expected", "Load", "Run"]

_SPARE, _SLOW_START = 0.1, 2.5
_MOST_EVIDENCE = 64 * 1024
_SAME = ("users", "run_time", "scenario")

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Expected(Quantiles):
    """The bounds of a load run."""

    error_rate: ShareLimit = Threshold.parse("< 1%")
    """The share of failed requests, judged by both ends of its 95 % Wilson interval; quick failures are no speed."""
    rps: CountLimit | None = None
    """Requests a second, such as `>= 20`."""


class Run(Parameters):
    """A load to put on the target."""

    locustfile: str = "load/locustfile.py"
    """The locustfile, relative to the root."""
    scenario: str | list[str] = Field(default_factory=list)
    """The user class, or a list of them; without it, all."""
    tags: list[str] = Field(default_factory=list)
    """The tags of the tasks to run; without it, all."""
    users: int = Field(strict=True, ge=1)
    """How many users at once."""
    spawn_rate: float = Field(default=0.0, strict=True, ge=0)
    """How many users start a second; without it, all within the first second."""
    run_time: Duration
    """How long, in whole seconds, such as `60s`."""
    host: str = ""
    """The target's URL; without it, the environment's base URL."""
    expect: Expected = Expected()
    """The bounds that what was measured must satisfy."""
    least_requests: int | None = Field(default=None, strict=True, ge=1)
    """The fewest requests that can tell; without it, 20 for `p50`, 200 for `p95`, 1000 for `p99`."""
    name: str = ""
    """The name under which to keep what was measured; without it, the scenario's."""
    pass_env: list[VariableName] = Field(default_factory=list)
    """Environment variables, such as credentials, that the locustfile may see; it sees no others of ours."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        seconds = self.run_time.total_seconds()
        if seconds < 1 or seconds % 1:
            raise ValueError(f"expected a run_time of whole seconds, got {format_duration(self.run_time)}")
        if self.spawn_rate and self.users / self.spawn_rate >= seconds:
            raise ValueError("the users would still be starting at the end: raise spawn_rate or run_time")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """The user classes, if any are named."""
        return (self.scenario,) if isinstance(self.scenario, str) else tuple(self.scenario)

    @property
    def label(self) -> str:
        """What the measurement is called."""
        return self.name or "+".join([*self.classes, *self.tags]) or "all"

    def least(self, name: str) -> int:
        """How many requests the quantile of that name needs."""
        return self.least_requests or least_samples(QUANTILES[name])


class Comparison(Parameters):
    """A comparison of this release's run with the previous release's, without running again."""

    name: str
    """The name under which the runs were kept."""
    regression: ShareLimit
    """How much p95 may grow, such as `<= 50%`."""
    floor: Duration = timedelta(milliseconds=50)
    """A p95 that grew by no more than this has not regressed, whatever the percentage."""
    first_run: Literal["inconclusive", "absolute"]
    """What to say without a previous run: it cannot tell, or `p95` alone decides."""
    p95: TimeLimit | None = None
    """A bound of this release's p95 that holds besides, such as `< 500ms`."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.first_run == "absolute" and self.p95 is None:
            raise ValueError("first_run: absolute needs p95: the bound that decides without a previous run")
        return self


class Baseline(Parameters):
    """The question whether there is a run to compare with, of the same scenario, users and time."""

    name: str
    """The name under which the runs were kept."""
    first_run: Literal["inconclusive", "absolute"]
    """What to say without a previous run: it cannot tell, or this release's run is the first baseline."""


class Load(Parameters):
    """A load test, or one question about it: `run`, `compare` or `baseline`; its denominator is requests.

    locust's users wait while the target stalls, so a stall counts less than open traffic would feel it.

    ```yaml
    load:
      run: {scenario: Visitor, users: 10, run_time: 60s, expect: {p95: "< 500ms", error_rate: "< 1%"}}
    ```
    """

    kind: ClassVar[str] = "load"
    shorthand: ClassVar[str] = "run"

    run: Run | None = None
    """Put the load on the target, judge it, and keep what was measured."""
    compare: Comparison | None = None
    """Compare this release's run with the previous release's."""
    baseline: Baseline | None = None
    """Ask whether a comparable run of a previous release exists."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [name for name in ("run", "compare", "baseline") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of run, compare, baseline; got {', '.join(given) or 'none'}")
        return self

    @property
    def needs_time(self) -> timedelta:
        """How long the load lasts, which comes on top of the usual time of a gate."""
        return self.run.run_time if self.run else timedelta(0)

    def look(self, context: Context) -> Iterator[Finding]:
        """Run and judge, or compare what was kept."""
        if self.run is not None:
            yield from _run(self.run, context)
        if self.compare is not None:
            yield from _compare(self.compare, context)
        if self.baseline is not None:
            yield from _look_for_baseline(self.baseline, context)


def _run(run: Run, context: Context) -> Iterator[Finding]:
    file = context.root / run.locustfile
    if not file.is_file():
        raise CannotLook(f"there is no locustfile {run.locustfile}", "set locustfile, relative to the root")
    context.shared.forget()
    outcome = run_locust(_order(run, context), context.root, context.remaining)
    _attach(context, outcome)
    yield from judge_run(run, outcome)
    if outcome.requests:
        value = _measurement(run, outcome)
        context.keep(f"load/{run.label}", {**value, "locustfile": sha256(file.read_bytes()).hexdigest()})


def _order(run: Run, context: Context) -> Order:
    return Order(
        locustfile=context.root / run.locustfile,
        classes=run.classes,
        tags=tuple(run.tags),
        users=run.users,
        spawn_rate=run.spawn_rate or float(run.users),
        seconds=int(run.run_time.total_seconds()),
        host=context.url(run.host).rstrip("/"),
        variables={name: context.resolve(f"${{env:{name}}}") for name in run.pass_env},
    )


def judge_run(run: Run, outcome: Outcome) -> Iterator[Finding]:
    """What a finished run shows: whether it was the load that was asked for, then its bounds."""
    least = max((run.least(name) for name in run.expect.quantiles), default=run.least_requests or 1)
    yield counted("requests", outcome.requests, least)
    if not outcome.requests:
        return
    yield from _judge_validity(run, outcome)
    yield failed_share(run.expect.error_rate, outcome.failures, outcome.requests)
    for name, bound in run.expect.quantiles.items():
        yield _judge_quantile(run, name, bound, outcome)
    if run.expect.rps is not None:
        fast = run.expect.rps.holds(outcome.rate)
        yield find("requests a second", expected=run.expect.rps, actual=f"{outcome.rate:.3g}", ok=fast)


def _judge_validity(run: Run, outcome: Outcome) -> Iterator[Finding]:
    planned = run.run_time.total_seconds()  # the first answer comes later, and people pause before the end
    least = planned - min(max(_SPARE * planned, _SLOW_START), planned / 2)
    yield _or_unsure("time under load", f">= {least:g}s", f"{outcome.seconds:.3g}s", outcome.seconds >= least)
    yield _or_unsure("users reached", str(run.users), str(outcome.spawned), outcome.spawned == run.users)
    yield _or_unsure("exceptions in the locustfile", "0", str(outcome.exceptions), outcome.exceptions == 0)
    if outcome.throttled:
        yield _or_unsure("load generator", "processor time to spare", "locust's processor was over 90 % busy", False)


def _or_unsure(name: str, expected: str, actual: str, fine: bool) -> Finding:
    return find(name, expected=expected, actual=actual, ok=Ok.YES if fine else Ok.CANNOT_TELL)


def _judge_quantile(run: Run, name: str, bound: Threshold, outcome: Outcome) -> Finding:
    number, least = sum(outcome.times.values()), run.least(name)
    expected = f"{bound} of >= {least} requests" + (" (by least_requests)" if run.least_requests else "")
    if number < least:
        return find(name, expected=expected, actual=f"only {number} requests", ok=Ok.CANNOT_TELL)
    return _judge_time(name, bound, outcome.quantile(QUANTILES[name]), expected, f" of {number} requests")


def _judge_time(name: str, bound: Threshold, value: float, expected: str, of: str) -> Finding:
    half = half_step(value)
    ok = certain(bound, value - half, value + half)
    near = f"; rounded by locust, {in_time(value - half)}..{in_time(value + half)}" if ok is Ok.CANNOT_TELL else ""
    return find(name, expected=expected, actual=f"{in_time(value)}{of}{near}", ok=ok)


def _measurement(run: Run, outcome: Outcome) -> dict[str, Any]:
    number = sum(outcome.times.values())
    return {
        **{name: outcome.quantile(q) for name, q in QUANTILES.items() if number >= run.least(name)},
        "requests": outcome.requests,
        "failures": outcome.failures,
        "rps": round(outcome.rate, 3),
        "users": run.users,
        "run_time": run.run_time.total_seconds(),
        "scenario": [*run.classes, *run.tags],
        "endpoints": {
            f"{seen.method} {seen.name}".strip(): {"requests": seen.requests, "failures": seen.failures}
            for seen in outcome.endpoints[:200]
        },
    }


def _attach(context: Context, outcome: Outcome) -> None:
    context.attach("locust.json", "application/json", outcome.summary(_MOST_EVIDENCE).encode())
    context.attach("endpoints.csv", "text/csv", outcome.table().encode())
    if outcome.exceptions:
        context.attach("locust.log", "text/plain", outcome.log[: _MOST_EVIDENCE // 4].encode())


def _this(name: str, context: Context) -> Kept | Finding:
    missing = "none in the record: it has not run, or did not pass"
    return context.recorded(f"load/{name}") or _or_unsure(f"load/{name}", "a run of this release", missing, False)


def _compare(wanted: Comparison, context: Context) -> Iterator[Finding]:
    this = _this(wanted.name, context)
    if isinstance(this, Finding):
        yield this
        return
    yield counted("requests", this.value["requests"])
    p95 = this.value.get("p95")
    if p95 is None:
        yield find("p95", expected="a p95 of this release", actual="too few requests for one", ok=Ok.CANNOT_TELL)
        return
    if wanted.p95 is not None:
        yield _judge_time("p95", wanted.p95, p95, str(wanted.p95), f" of {this.value['requests']} requests")
    previous = context.recorded(f"load/{wanted.name}", of="previous")
    if previous is None:
        yield _no_previous(wanted.name, wanted.first_run, "p95 alone decides")
    elif "p95" not in previous.value:
        yield find("p95 growth", expected=wanted.regression, actual="the previous run has no p95", ok=Ok.CANNOT_TELL)
    elif (unlike := _unlike(this, previous)) is not None:
        yield unlike
    else:
        yield from _judge_growth(wanted, this, previous)


def _judge_growth(wanted: Comparison, this: Kept, previous: Kept) -> Iterator[Finding]:
    now, then, floor = this.value["p95"], previous.value["p95"], wanted.floor.total_seconds()
    best, worst = (
        grown_little(wanted.regression, floor, now + sign * half_step(now), then - sign * half_step(then))
        for sign in (-1, 1)
    )
    ok = Ok.CANNOT_TELL if best != worst else Ok.YES if best else Ok.NO
    change = f"{(now - then) / then * 100:+.3g} %" if then else "from 0"
    actual = f"{change}: {in_time(then)} in {previous.version}, now {in_time(now)}"
    near = "; locust rounds both, too near to tell" if ok is Ok.CANNOT_TELL else ""
    expected = f"{wanted.regression}, or by no more than {format_duration(wanted.floor)}"
    yield find("p95 growth", expected=expected, actual=actual + near, ok=ok)
    thin = f"1 run, of {previous.version}: no confidence interval"
    yield find("baseline", expected="several runs", actual=thin, ok=Ok.CANNOT_TELL, observe=True)
    if this.value.get("locustfile") != previous.value.get("locustfile"):
        changed = f"changed since {previous.version}"
        yield find("locustfile", expected="the baseline's", actual=changed, ok=Ok.CANNOT_TELL, observe=True)


def _look_for_baseline(wanted: Baseline, context: Context) -> Iterator[Finding]:
    this = _this(wanted.name, context)
    if isinstance(this, Finding):
        yield this
        return
    previous = context.recorded(f"load/{wanted.name}", of="previous")
    if previous is None:
        yield counted("requests", this.value["requests"])
        yield _no_previous(wanted.name, wanted.first_run, "this release's run is the first baseline")
        return
    yield counted("requests of the baseline", previous.value["requests"])
    same = f"{_shape(previous)}, in {previous.version}"
    yield _unlike(this, previous) or find("baseline", expected=_shape(this), actual=same, ok=True)


def _no_previous(name: str, first_run: str, instead: str) -> Finding:
    absolute = first_run == "absolute"
    actual = f"none in the record{f'; {instead}' if absolute else ''}"
    name, expected = f"baseline load/{name}", "a run of a previous release"
    return find(name, expected=expected, actual=actual, ok=Ok.CANNOT_TELL, observe=absolute)


def _unlike(this: Kept, previous: Kept) -> Finding | None:
    if all(this.value.get(key) == previous.value.get(key) for key in _SAME):
        return None
    actual = f"{_shape(previous)}, in {previous.version}: not comparable"
    return _or_unsure("baseline", _shape(this), actual, False)


def _shape(kept: Kept) -> str:
    scenario = "+".join(kept.value.get("scenario") or ["all"])
    return f"{scenario} with {kept.value.get('users')} users for {kept.value.get('run_time'):g}s"
