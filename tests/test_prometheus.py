from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from pytest_releasegate.check import SystemClock
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.prometheus import (
    Selector,
    Series,
    Window,
    buckets,
    count_requests,
    growth,
    parse,
    scrape,
    time_requests,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_releasegate.sources.prometheus import Exposition

PLAIN = """\
# HELP http_requests_total Requests answered.
# TYPE http_requests_total counter
http_requests_total{route="/a",code="200"} 90
http_requests_total{route="/a",code="503"} 3
http_requests_total{route="/healthz",code="200"} 700
# TYPE db_pool_in_use gauge
db_pool_in_use 4
# TYPE other_seconds histogram
process_start_time_seconds 1.7e9
"""
OPEN = '# TYPE http_requests counter\nhttp_requests_total{code="200"} 5.0 # {trace="1"} 1.0\n# EOF\n'


@contextmanager
def serving(
    body: bytes, content_type: str = "text/plain; version=0.0.4", code: int = 200, length: int = 0
) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            if content_type:
                self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(length or len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fetched(url: str) -> Exposition:
    return scrape(url, clock=SystemClock(), limit=10)


def test_plain_text_is_fetched_and_read() -> None:
    with serving(PLAIN.encode()) as url:
        found = fetched(url)
    assert found.select(Selector.parse('http_requests_total{code=~"5.."}')) == {(("code", "503"), ("route", "/a")): 3}
    assert found.value("db_pool_in_use") == 4


def test_openmetrics_with_exemplars_is_read() -> None:
    with serving(OPEN.encode(), "application/openmetrics-text; version=1.0.0; charset=utf-8") as url:
        found = fetched(url)
    assert found.select(Selector.parse("http_requests_total")) == {(("code", "200"),): 5}


def test_both_formats_of_the_python_client_read_alike() -> None:
    registry = CollectorRegistry()
    answered = Counter("http_requests", "Requests.", ["route", "code"], registry=registry)
    took = Histogram("took_seconds", "Times.", ["route"], buckets=(0.1, 1), registry=registry)
    answered.labels("/a", "503").inc(3)
    took.labels("/a").observe(0.5)
    write: dict[bool, Callable[[CollectorRegistry], bytes]] = {False: generate_latest, True: generate_openmetrics}
    for openmetrics, text in write.items():
        found = parse(text(registry).decode(), openmetrics=openmetrics)
        assert found.select(Selector.parse("http_requests_total")) == {(("code", "503"), ("route", "/a")): 3}
        assert time_requests(Window((found,)), Selector.parse("took_seconds"), exclude=[]) == (
            {0.1: 0, 1.0: 1, inf: 1},
            "",
        )


@pytest.mark.parametrize(
    ("body", "content_type", "code", "says"),
    [
        (b"<html>login</html>\n", "text/html", 200, "answered text/html instead of an exposition"),
        (b"<html>login</html>\n", "text/plain", 200, "no readable exposition"),
        (b'{"status": "ok"}\n', "text/plain", 200, "no readable exposition"),
        (b"", "text/plain", 200, "exposes no metric"),
        (b"# only a comment\n", "text/plain", 200, "exposes no metric"),
        (b"a 1\nb 2", "text/plain", 200, "cut off"),
        (b"a 1\na 2\n", "text/plain", 200, "there twice"),
        (b"\xff\xfe\n", "text/plain", 200, "no readable exposition"),
        (OPEN.removesuffix("# EOF\n").encode(), "application/openmetrics-text", 200, "Missing # EOF"),
        (b"", "text/plain", 503, "answered 503"),
        (b"", "text/plain", 302, "answered 302"),
        (b"", "text/plain", 401, "credentials"),
    ],
)
def test_what_is_no_exposition_is_refused(body: bytes, content_type: str, code: int, says: str) -> None:
    with serving(body, content_type, code) as url, pytest.raises(CannotLook, match=says):
        fetched(url)


def test_an_answer_that_breaks_off_is_refused() -> None:
    with serving(PLAIN.encode(), length=10_000) as url, pytest.raises(CannotLook, match="broke off"):
        fetched(url)


def test_an_endless_answer_is_refused() -> None:
    with serving(b"a 1\n" * 2_200_000) as url, pytest.raises(CannotLook, match="more than 8388608 bytes"):
        fetched(url)


def test_a_dead_target_is_named_without_its_password() -> None:
    with serving(b"") as url:
        pass
    with pytest.raises(CannotLook, match=r"http://127.0.0.1:\d+/metrics: cannot connect") as stopped:
        fetched(url.replace("//", "//scraper:hunter22@"))
    assert "hunter22" not in str(stopped.value)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("m", True),
        ('m{code="200"}', True),
        ('m{code="20"}', False),
        ('m{code=~"2.."}', True),
        ('m{code=~"2."}', False),
        ('m{code!="200"}', False),
        ('m{code!~"5..", route="/a, b"}', True),
        ('m{absent=""}', True),
        ('m{absent!=""}', False),
        ('m{quoted="say \\"hi\\""}', True),
    ],
)
def test_selectors_match_as_in_promql(text: str, matches: bool) -> None:
    labels = (("code", "200"), ("quoted", 'say "hi"'), ("route", "/a, b"))
    assert Selector.parse(text).matches(labels) is matches


@pytest.mark.parametrize("text", ["", "two words", "m{code=200}", 'm{code=~"("}', "m{", 'm{code="1" route="2"}'])
def test_a_broken_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Selector.parse(text)


def test_growth_adds_up_and_new_series_start_at_zero() -> None:
    first: Series = {(("code", "200"),): 5.0}
    second: Series = {(("code", "200"),): 9.0, (("code", "500"),): 2.0}
    assert growth([first, second]) == ({(("code", "200"),): 4.0, (("code", "500"),): 2.0}, "")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([5, 9, 3], "fell from 9 to 3 in scrape 3"),
        ([5, None, 7], "gone in scrape 2"),
        ([5, float("nan")], "not a number"),
    ],
)
def test_growth_through_a_reset_is_unknown(values: list[float | None], why: str) -> None:
    risen, said = growth([{} if value is None else {(): value} for value in values])
    assert risen == {}
    assert why in said


def test_a_fall_in_the_middle_is_seen_though_the_last_is_higher() -> None:
    assert "it was reset" in growth([{(): 5.0}, {(): 1.0}, {(): 50.0}])[1]


def test_buckets_of_all_series_are_added() -> None:
    series: Series = {
        (("le", bound), ("route", route)): n for route in "ab" for bound, n in (("0.1", 2.0), ("+Inf", 3.0))
    }
    assert buckets(series) == {0.1: 4.0, inf: 6.0}


def test_series_with_different_buckets_are_not_mixed() -> None:
    series: Series = {(("le", "0.1"), ("route", "a")): 2.0, (("le", "0.2"), ("route", "b")): 2.0}
    with pytest.raises(ValueError, match="one set of bucket bounds"):
        buckets(series)


def test_requests_are_counted_by_route_without_the_excluded() -> None:
    counts = count_requests(
        Window((parse(PLAIN),)), Selector.parse("http_requests_total"), code="", errors="5..", exclude=["/healthz"]
    )
    assert (counts.total, counts.failed, dict(counts.by_route)) == (93, 3, {"/a": 93})


def test_a_metric_without_a_status_label_is_refused() -> None:
    with pytest.raises(CannotLook, match="no label for the status\n    set code_label; its labels: kind"):
        count_requests(Window((parse('m{kind="x"} 1\n'),)), Selector.parse("m"), code="", errors="5..", exclude=[])


@pytest.mark.parametrize(
    ("labels", "unknown"),
    [
        ('{code="200"}', ""),
        ('{code="2xx"}', ""),
        ("", "5 requests have no readable status: code none"),
        ('{status="500"}', "5 requests have no readable status: code none"),
        ('{code="ok"}', "5 requests have no readable status: code ok"),
        ('{code=""}', "5 requests have no readable status: code "),
    ],
)
def test_requests_without_a_status_are_no_successes(labels: str, unknown: str) -> None:
    window = Window((parse(f'm{{code="200",route="/a"}} 95\nm{labels} 5\n'),))
    assert count_requests(window, Selector.parse("m"), code="", errors="5..", exclude=[]).unknown == unknown
    if "code" in labels and '""' not in labels:
        assert not count_requests(window, Selector.parse("m"), code="code", errors="5..", exclude=[]).unknown


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(CannotLook, match="did you mean 'http_requests_total'"):
        Window((parse(PLAIN),)).rise(Selector.parse("http_request_total"))


def test_a_declared_metric_without_series_is_no_traffic_rather_than_unknown() -> None:
    assert Window((parse(PLAIN),)).rise(Selector.parse("other_seconds_bucket")) == ({}, "")
    assert time_requests(Window((parse(PLAIN),)), Selector.parse("other_seconds"), exclude=[]) == ({}, "")


def test_two_start_times_are_two_processes() -> None:
    one, other = parse("process_start_time_seconds 1\n"), parse("process_start_time_seconds 2\n")
    assert Window((one, one)).processes == 1
    assert Window((one, other)).processes == 2
    assert Window((parse("a 1\n"),)).processes == 0


def test_the_excerpt_holds_the_wanted_metrics_only() -> None:
    lines = parse(PLAIN).excerpt(["http_requests_total"]).splitlines()
    assert len(lines) == 5
    assert all("http_requests" in line for line in lines)
