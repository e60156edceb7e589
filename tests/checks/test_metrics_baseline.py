from __future__ import annotations

from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checks.metrics import Metrics
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import Remembered, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.execution import Look
    from pytest_releasegate.model import Finding


@dataclass
class App:
    """An application that has answered 400 requests, all as slowly as it is told."""

    url: str
    seconds: float = 0.05

    def text(self) -> str:
        bounds = ("0.1", "0.25", "0.5", "1", "2.5", "+Inf")
        reached = [(bound, 400 * (self.seconds <= float(bound))) for bound in bounds]
        times = [f'http_request_duration_seconds_bucket{{le="{bound}"}} {number}' for bound, number in reached]
        return "\n".join(['http_requests_total{code="200"} 400', *times, ""])


@pytest.fixture
def app() -> Iterator[App]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = state.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = App(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def measured(app: App, seconds: float, memory: Remembered | None = None, **given: Any) -> Look:
    app.seconds = seconds
    check = Metrics.model_validate({"window": "lifetime"} | given)
    return look(check, Environment(name="test", base_url=app.url), memory=memory)


def named(seen: Look, name: str) -> Finding:
    found = [finding for finding in seen.findings if finding.name == name]
    assert len(found) == 1, [str(finding) for finding in seen.findings]
    return found[0]


def ratio(app: App, seconds: float, memory: Remembered, **given: Any) -> Look:
    wanted = {"p95_ratio": "< 3x", "against": "api", "first_run": "inconclusive"} | given
    return measured(app, seconds, memory, **wanted)


def test_three_times_the_baseline_fails(app: App) -> None:
    memory = Remembered(previous={"metrics/api": {"p95": 0.1}})
    seen = ratio(app, 0.9, memory)
    assert seen.status is Status.FAILED
    assert str(named(seen, "p95 ratio")) == (
        "p95 ratio: expected < 3x the p95 of 1.3.0, got 9.75x: 975 ms (in the bucket 500 ms..1 s) after 100 ms"
    )


def test_less_than_three_times_the_baseline_passes(app: App) -> None:
    seen = ratio(app, 0.2, Remembered(previous={"metrics/api": {"p95": 0.2}}))
    assert seen.status is Status.PASSED
    assert named(seen, "p95 ratio").actual.startswith("1.21x: 242 ms")


def test_a_little_growth_of_a_tiny_baseline_passes(app: App) -> None:
    memory = Remembered(previous={"metrics/api": {"p95": 0.01}})
    seen = ratio(app, 0.05, memory, floor="100ms")
    assert seen.status is Status.PASSED
    assert "grown by no more than 100ms" in named(seen, "p95 ratio").actual
    assert ratio(app, 0.05, memory, floor="10ms").status is Status.FAILED


def test_a_censored_p95_is_judged_by_its_lower_bound(app: App) -> None:
    assert ratio(app, 9, Remembered(previous={"metrics/api": {"p95": 0.5}})).status is Status.FAILED
    seen = ratio(app, 9, Remembered(previous={"metrics/api": {"p95": 2.0}}))
    assert seen.status is Status.INCONCLUSIVE
    assert named(seen, "p95 ratio").actual.startswith("over 1.25x: over the top bucket of 2.5 s")


@pytest.mark.parametrize("previous", [{}, {"metrics/api": {"requests": 12}}])
def test_without_a_baseline_it_cannot_tell(app: App, previous: dict[str, Any]) -> None:
    seen = ratio(app, 0.05, Remembered(previous=previous))
    assert seen.status is Status.INCONCLUSIVE
    assert "baseline" in named(seen, "p95 ratio").actual


@pytest.mark.parametrize(("seconds", "status"), [(0.05, Status.PASSED), (0.9, Status.FAILED)])
def test_on_an_absolute_first_run_p95_decides(app: App, seconds: float, status: Status) -> None:
    seen = ratio(app, seconds, Remembered(), first_run="absolute", p95="< 500ms", keep="api")
    assert seen.status is status
    assert named(seen, "p95 ratio").observe
    assert ("metrics/api" in seen.kept) is (status is Status.PASSED)


def test_what_is_kept_can_be_compared_with(app: App) -> None:
    seen = measured(app, 0.05, error_rate="< 5%", keep="api")
    assert seen.kept["metrics/api"] == {
        "requests": 400,
        "errors": 0,
        "error_rate": 0.0,
        "p50": pytest.approx(0.05),
        "p95": pytest.approx(0.095),
    }
    assert ratio(app, 0.05, Remembered(previous=dict(seen.kept))).status is Status.PASSED
