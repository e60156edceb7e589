from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import ValidationError

from pytest_releasegate.checks.metrics import Metrics
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.testing import FakeClock, Remembered, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_releasegate.execution import Look
    from pytest_releasegate.model import Finding

BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass
class App:
    """An application that counts the requests it is said to have had, and exposes the counters over HTTP."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    buckets: Counter[float] = field(default_factory=Counter)
    pool: str = "4"
    started: float = 1000.0
    healthy: bool = True
    url: str = ""

    def serve(self, number: int, seconds: float = 0.05, code: int = 200, route: str = "/clients") -> None:
        self.counts[route, str(code)] += number
        for bound in (*BOUNDS, float("inf")):
            self.buckets[bound] += number if seconds <= bound else 0

    def text(self) -> str:
        requests = [f'http_requests_total{{route="{r}",code="{c}"}} {n}' for (r, c), n in self.counts.items()]
        times = [
            f'http_request_duration_seconds_bucket{{le="{str(b).replace("inf", "+Inf")}"}} {n}'
            for b, n in self.buckets.items()
        ]
        pool = [f"db_pool_in_use {self.pool}"] if self.pool else []
        head = [
            "# TYPE http_requests_total counter",
            "# TYPE http_request_duration_seconds histogram",
            "# TYPE db_pool_in_use gauge",
        ]
        return "\n".join([*head, *requests, *times, *pool, f"process_start_time_seconds {self.started}", ""])


class Passing(FakeClock):
    """A clock on which something happens whenever time passes: with the number of the pause, from 1."""

    def __init__(self, happens: Callable[[int], None]) -> None:
        super().__init__()
        self.happens = happens
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if seconds:
            self.pauses.append(seconds)
            self.happens(len(self.pauses))


@pytest.fixture
def app() -> Iterator[App]:
    state = App()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/metrics" and state.healthy
            body = state.text().encode()
            self.send_response(200 if found else 503)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def watched(app: App, happens: Callable[[int], None], memory: Remembered | None = None, **given: Any) -> Look:
    check = Metrics.model_validate(given)
    environment = Environment(name="test", base_url=app.url)
    return look(check, environment, clock=Passing(happens), memory=memory, timeout=timedelta(hours=1))


def named(seen: Look, name: str) -> Finding:
    found = [finding for finding in seen.findings if finding.name == name]
    assert len(found) == 1, [str(finding) for finding in seen.findings]
    return found[0]


def test_the_example_of_the_docstring_passes(app: App) -> None:
    text = (Metrics.__doc__ or "").split("```yaml\n")[1].split("```")[0]
    seen = watched(app, lambda pause: app.serve(200), **yaml.safe_load(text)["metrics"])
    assert seen.status is Status.PASSED, seen
    assert named(seen, "requests looked at").actual == "800"
    assert named(seen, "scrapes looked at").actual == "5"
    assert named(seen, "error rate").actual == "0 of 800 requests failed: 0 %, 95 % interval 0 %..0.478 %"
    assert named(seen, "p95").actual == "95 ms (in the bucket 0 ms..100 ms) of 800 requests"
    assert named(seen, "db_pool_in_use").actual == "4..4 in 5 scrapes"


def test_requests_before_the_watch_do_not_count(app: App) -> None:
    app.serve(10_000, code=500)
    seen = watched(app, lambda pause: app.serve(100), error_rate="< 5%")
    assert seen.status is Status.PASSED
    assert "0 of 400" in named(seen, "error rate").actual


def test_many_errors_fail(app: App) -> None:
    def happens(pause: int) -> None:
        app.serve(90)
        app.serve(10, code=503)

    seen = watched(app, happens, error_rate="< 5%")
    assert seen.status is Status.FAILED
    assert str(named(seen, "error rate")) == (
        "error rate: expected < 5%, got 40 of 400 requests failed: 10 %, 95 % interval 7.43 %..13.3 %"
    )


def test_a_total_outage_fails_though_the_requests_are_few(app: App) -> None:
    seen = watched(app, lambda pause: app.serve(4, code=500), error_rate="< 5%")
    assert seen.status is Status.FAILED
    assert named(seen, "requests looked at").ok is Ok.CANNOT_TELL


def test_few_requests_cannot_tell(app: App) -> None:
    def happens(pause: int) -> None:
        app.serve(10)
        app.serve(1 if pause < 4 else 0, code=500)

    seen = watched(app, happens, error_rate="< 5%", min_requests=40)
    assert seen.status is Status.INCONCLUSIVE
    assert named(seen, "error rate").actual == (
        "3 of 43 requests failed: 6.98 %, 95 % interval 2.4 %..18.6 %; too few to tell against < 5%"
    )


def test_no_errors_among_few_requests_cannot_tell_either(app: App) -> None:
    seen = watched(app, lambda pause: app.serve(15), error_rate="< 5%")
    assert seen.status is Status.INCONCLUSIVE
    assert "0 of 60" in named(seen, "error rate").actual


def test_no_traffic_cannot_tell(app: App) -> None:
    app.serve(1000)
    seen = watched(app, lambda pause: None, error_rate="< 5%", p95="< 500ms")
    assert seen.status is Status.INCONCLUSIVE
    assert named(seen, "error rate").actual == "no requests"
    assert named(seen, "p95").actual == "only 0 requests"
    assert str(named(seen, "requests looked at")) == "requests looked at: expected >= 50, got 0"


def test_a_fresh_process_without_any_series_is_no_traffic(app: App) -> None:
    seen = watched(app, lambda pause: None, error_rate="< 5%", p95="< 500ms")
    assert seen.status is Status.INCONCLUSIVE


def test_health_checks_are_no_traffic(app: App) -> None:
    seen = watched(app, lambda pause: app.serve(500, route="/healthz"), error_rate="< 5%")
    assert seen.status is Status.INCONCLUSIVE
    counting = watched(app, lambda pause: app.serve(500, route="/healthz"), error_rate="< 5%", exclude=[])
    assert counting.status is Status.PASSED


def test_slow_answers_fail(app: App) -> None:
    seen = watched(app, lambda pause: app.serve(60, seconds=0.8), p95="< 500ms", p50="< 200ms")
    assert seen.status is Status.FAILED
    assert str(named(seen, "p95")) == (
        "p95: expected < 500ms of >= 200 requests, got 975 ms (in the bucket 500 ms..1 s) of 240 requests"
    )
    assert named(seen, "p50").ok is Ok.NO


def test_a_quantile_of_few_requests_cannot_tell_unless_told_to(app: App) -> None:
    seen = watched(app, lambda pause: app.serve(15), p95="< 500ms")
    assert seen.status is Status.INCONCLUSIVE
    assert str(named(seen, "p95")) == "p95: expected < 500ms of >= 200 requests, got only 60 requests"
    told = watched(app, lambda pause: app.serve(15), p95="< 500ms", min_requests=40)
    assert told.status is Status.PASSED
    assert named(told, "p95").expected == "< 500ms of >= 40 requests (by min_requests)"


def test_times_over_the_top_bucket_never_satisfy_a_bound_above_it(app: App) -> None:
    seen = watched(app, lambda pause: app.serve(100, seconds=10), p95="< 3s")
    assert seen.status is Status.INCONCLUSIVE
    assert named(seen, "p95").actual == "over the top bucket of 2.5 s of 400 requests"


def test_times_over_the_top_bucket_certainly_break_a_bound_below_it(app: App) -> None:
    assert watched(app, lambda pause: app.serve(100, seconds=10), p95="< 2s").status is Status.FAILED


def test_one_scrape_over_a_gauge_bound_fails(app: App) -> None:
    def happens(pause: int) -> None:
        app.pool = "9" if pause == 2 else "3"

    seen = watched(app, happens, gauges={"db_pool_in_use": "< 8"})
    assert seen.status is Status.FAILED
    assert str(named(seen, "db_pool_in_use")) == "db_pool_in_use: expected < 8, got 9"


@pytest.mark.parametrize(("value", "says"), [("NaN", "NaN"), ("", "no series in 1 of 5 scrapes")])
def test_a_gauge_without_a_value_cannot_tell(app: App, value: str, says: str) -> None:
    def happens(pause: int) -> None:
        app.pool = value if pause == 3 else "4"

    seen = watched(app, happens, gauges={"db_pool_in_use": "< 8"})
    assert seen.status is Status.INCONCLUSIVE
    assert named(seen, "db_pool_in_use").actual == says


def test_a_restart_cannot_tell(app: App) -> None:
    def happens(pause: int) -> None:
        app.serve(500)
        app.started += 5 if pause == 2 else 0

    seen = watched(app, happens, error_rate="< 5%")
    assert seen.status is Status.INCONCLUSIVE
    assert "2 different process start times: restarted" in named(seen, "process").actual


def test_a_counter_that_falls_cannot_tell(app: App) -> None:
    app.serve(100)

    def happens(pause: int) -> None:
        if pause == 2:
            app.counts.clear()
        app.serve(150)

    seen = watched(app, happens, error_rate="< 5%", keep="errors")
    assert seen.status is Status.INCONCLUSIVE
    assert named(seen, "http_requests_total").actual == "a counter fell from 250 to 150 in scrape 3: it was reset"


def test_a_target_that_goes_away_is_an_error(app: App) -> None:
    def happens(pause: int) -> None:
        app.healthy = pause < 2

    seen = watched(app, happens, error_rate="< 5%")
    assert seen.status is Status.ERROR
    assert "answered 503 instead of an exposition (scrape 3 of 5)" in seen.message


def test_an_unknown_metric_or_label_is_an_error(app: App) -> None:
    app.serve(100)
    unknown = watched(app, lambda pause: None, error_rate="< 5%", requests="http_request_total")
    assert unknown.status is Status.ERROR
    assert "did you mean 'http_requests_total'" in unknown.message
    label = watched(app, lambda pause: None, error_rate="< 5%", code_label="status_class")
    assert label.status is Status.ERROR
    assert "its labels: code, route" in label.message


def test_a_watch_longer_than_the_gates_time_is_an_error_at_once(app: App) -> None:
    check = Metrics.model_validate({"watch": "15m", "error_rate": "< 5%"})
    seen = look(check, Environment(name="t", base_url=app.url), timeout=timedelta(minutes=2))
    assert seen.status is Status.ERROR
    assert "a watch of 15m does not fit into the gate's time\n    raise its `timeout`" in seen.message


def test_without_a_base_url_it_is_an_error() -> None:
    seen = look(Metrics.model_validate({"error_rate": "< 5%"}))
    assert seen.status is Status.ERROR
    assert "has no base_url" in seen.message


def test_the_environment_names_the_url_and_its_secret_stays_inside(app: App) -> None:
    address = app.url.replace("//", "//scraper:${env:SCRAPER_PASSWORD}@") + "/metrics"
    check = Metrics.model_validate({"window": "lifetime", "gauges": {"db_pool_in_use": "< 8"}})
    environment = Environment(name="t", metrics=address)
    seen = look(check, environment, variables={"SCRAPER_PASSWORD": "hunter22"})
    assert seen.status is Status.PASSED
    app.healthy = False
    down = look(check, environment, variables={"SCRAPER_PASSWORD": "hunter22"})
    assert down.status is Status.ERROR
    assert "hunter22" not in repr(down)
    assert "SCRAPER_PASSWORD is not set" in look(check, environment, variables={}).message


def test_the_environment_shortens_the_watch_and_says_so(app: App) -> None:
    clock = Passing(lambda pause: app.serve(100))
    check = Metrics.model_validate({"watch": "15m", "error_rate": "< 5%"})
    environment = Environment(name="t", base_url=app.url, watch=timedelta(seconds=15))
    seen = look(check, environment, clock=clock)
    assert seen.status is Status.PASSED
    note = named(seen, "watch")
    assert note.observe
    assert str(note) == "watch: expected 15m, got shortened to 15s by the environment"
    assert sum(clock.pauses) == pytest.approx(15)


@pytest.mark.parametrize(("every", "pauses"), [("20s", [20, 20, 20]), ("25s", [25, 25, 10]), ("5m", [60])])
def test_every_spaces_the_scrapes_and_two_are_always_taken(app: App, every: str, pauses: list[float]) -> None:
    clock = Passing(lambda pause: app.serve(500))
    check = Metrics.model_validate({"watch": "60s", "every": every, "error_rate": "< 5%"})
    assert look(check, Environment(name="t", base_url=app.url), clock=clock).status is Status.PASSED
    assert clock.pauses == pytest.approx(pauses)


def test_lifetime_judges_one_scrape(app: App) -> None:
    app.serve(980)
    app.serve(20, code=500)
    passed = watched(app, lambda pause: pytest.fail("it slept"), window="lifetime", error_rate="< 5%")
    assert passed.status is Status.PASSED
    app.serve(100, code=500)
    failed = watched(app, lambda pause: None, window="lifetime", error_rate="< 5%", p95="< 1s")
    assert failed.status is Status.FAILED
    assert "120 of 1100" in named(failed, "error rate").actual
    assert [evidence.name for evidence, _ in failed.attached] == ["metrics-first.txt", "rates.csv"]


def test_the_evidence_shows_both_scrapes_and_the_routes(app: App) -> None:
    def happens(pause: int) -> None:
        app.serve(50, route="/notes")
        app.serve(5, code=500)

    seen = watched(app, happens, error_rate="< 50%")
    bodies = {evidence.name: body.decode() for evidence, body in seen.attached}
    assert list(bodies) == ["metrics-first.txt", "metrics-last.txt", "rates.csv"]
    assert 'route="/notes",code="200"} 200' in bodies["metrics-last.txt"]
    assert "db_pool" not in bodies["metrics-last.txt"]
    assert bodies["rates.csv"].splitlines()[1:] == ["/notes,200,0,0 %", "/clients,20,20,100 %"]


def test_evidence_is_bounded_and_says_so(app: App) -> None:
    for number in range(2000):
        app.serve(1, route=f"/page/{number}")
    seen = watched(app, lambda pause: None, window="lifetime", error_rate="< 5%")
    body = seen.attached[0][1]
    assert len(body) < 66_000
    assert body.endswith(b"# cut here: the rest is left out\n")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "at least one of error_rate"),
        ({"error_rate": "< 5"}, "a share in percent such as '< 5%'"),
        ({"p95": "< 500"}, "a time with its unit"),
        ({"p95_ratio": "< 3", "against": "x", "first_run": "inconclusive"}, "a ratio such as '< 3x'"),
        ({"p95_ratio": "< 3x", "first_run": "inconclusive"}, "needs against"),
        ({"p95_ratio": "< 3x", "against": "x"}, "needs first_run"),
        ({"p95_ratio": "< 3x", "against": "x", "first_run": "absolute"}, "needs p95"),
        ({"p95_ratio": "< 3x", "keep": "x", "first_run": "inconclusive"}, "never keep a first baseline"),
        ({"error_rate": "< 5%", "against": "x"}, "needs p95_ratio"),
        ({"error_rate": "< 5%", "window": "lifetime", "watch": "5m"}, "leave out watch"),
        ({"error_rate": "< 5%", "watch": "0s"}, "above zero"),
        ({"error_rate": "< 5%", "errors": "5("}, "a regular expression"),
        ({"error_rate": "< 5%", "requests": "http{"}, "a metric such as"),
        ({"gauges": {"db pool": "< 8"}}, "a metric such as"),
        ({"error_rate": "< 5%", "min_requests": "50"}, "valid integer"),
        ({"error_rate": "< 5%", "min_requests": 0}, "greater than or equal to 1"),
        ({"error_rate": "< 5%", "treshold": 1}, "Extra inputs"),
    ],
)
def test_mistakes_are_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says.replace("(", r"\(")):
        Metrics.model_validate(given)


@pytest.mark.parametrize(
    ("then", "errors", "status", "said"),
    [
        (0.02, 10, Status.PASSED, "1 % after 2 %"),
        (0.0, 4, Status.PASSED, "0.4 % after 0 %"),
        (0.0, 40, Status.FAILED, "4 % after 0 %"),
        (0.02, 44, Status.FAILED, "4.4 % after 2 %"),
        (0.02, 30, Status.INCONCLUSIVE, "3 % after 2 %"),
    ],
)
def test_errors_are_compared_with_those_of_the_release_before(
    app: App, then: float, errors: int, status: Status, said: str
) -> None:
    def happens(pause: int) -> None:
        app.serve(1000 - errors if pause < 4 else 0)
        app.serve(errors if pause < 4 else 0, code=500)

    memory = Remembered(previous={"metrics/web": {"error_rate": then}})
    seen = watched(app, happens, memory, error_rate="< 50%", error_rate_ratio="<= 1.5x", against="web", every="15s")
    assert seen.status is status, [str(finding) for finding in seen.findings]
    assert said in named(seen, "error rate ratio").actual


def test_without_an_earlier_error_rate_the_bound_alone_decides(app: App) -> None:
    seen = watched(app, lambda pause: app.serve(200), error_rate="< 5%", error_rate_ratio="<= 2x", against="web")
    assert seen.status is Status.PASSED
    assert named(seen, "error rate ratio").observe


def test_a_ratio_of_error_rates_needs_its_bound() -> None:
    with pytest.raises(ValidationError, match="error_rate_ratio needs error_rate"):
        Metrics.model_validate({"error_rate_ratio": "<= 2x", "against": "web", "p95": "< 1s"})
