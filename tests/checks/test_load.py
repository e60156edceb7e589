from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import ValidationError

from pytest_releasegate.check import judge
from pytest_releasegate.checks.load import Load, Run, judge_run
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.sources import locust
from pytest_releasegate.sources.locust import Outcome, half_step, read
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.model import Finding

SPAWNED = '[t] vm/INFO/locust.runners: All users spawned: {"Visitor": 5} (5 total users)\n'
LOCUSTFILE = """
import os
from locust import FastHttpUser, constant, tag, task
class Visitor(FastHttpUser):
    wait_time = constant(0.02)
    @task
    def read(self):
        seen = {"X-Login": os.environ["LOAD_LOGIN"], "X-Other": os.environ.get("LOAD_OTHER", "unseen")}
        self.client.get("/page", headers=seen)
class Other(FastHttpUser):
    @task
    def read(self): self.client.get("/never")
"""


def row(name: str = "/page", failures: int = 0, seconds: float = 9.8, **times: int) -> dict[str, Any]:
    """One endpoint of locust's JSON; `ms120=300` are 300 requests of 120 ms."""
    counts = {key.removeprefix("ms"): count for key, count in times.items()}
    return {
        "name": name,
        "method": "GET",
        "last_request_timestamp": 1000.0 + seconds,
        "start_time": 1000.0,
        "num_requests": sum(counts.values()),
        "num_none_requests": 0,
        "num_failures": failures,
        "total_response_time": 1.0,
        "max_response_time": max(map(float, counts), default=0),
        "min_response_time": 1,
        "total_content_length": 1,
        "response_times": counts,
        "num_reqs_per_sec": {"1000": 3},
        "num_fail_per_sec": {},
    }


def finished(*rows: dict[str, Any], log: str = SPAWNED) -> Outcome:
    text = json.dumps(rows)
    return Outcome(endpoints=read(text), text=text, log=log)


def judged(outcome: Outcome, expect: dict[str, Any] | None = None, **given: Any) -> dict[str, Finding]:
    run = Run.model_validate({"users": 5, "run_time": "10s", "expect": expect or {}} | given)
    return {finding.name: finding for finding in judge_run(run, outcome)}


def status(findings: dict[str, Finding]) -> Status:
    return judge(findings.values())


def test_a_run_within_its_bounds_passes() -> None:
    found = judged(finished(row(ms120=900, ms300=40)), {"p95": "< 500ms", "error_rate": "< 1%", "rps": ">= 20"})
    assert status(found) is Status.PASSED
    assert str(found["requests looked at"]) == "requests looked at: expected >= 200, got 940"
    assert str(found["p95"]) == "p95: expected < 500ms of >= 200 requests, got 120 ms of 940 requests"
    assert str(found["requests a second"]) == "requests a second: expected >= 20, got 95.9"
    assert str(found["users reached"]) == "users reached: expected 5, got 5"


@pytest.mark.parametrize(
    ("outcome", "expect", "name", "actual"),
    [
        (finished(row(ms120=900, ms700=100)), {"p95": "< 500ms"}, "p95", "700 ms of 1000 requests"),
        (finished(row(ms120=100)), {"rps": ">= 20"}, "requests a second", "10.2"),
        (
            finished(row(ms1=600, failures=50), row("/b", ms1=400)),
            {"error_rate": "< 1%"},
            "error rate",
            "50 of 1000 requests failed: 5 %, 95 % interval 3.81 %..6.53 %",
        ),
    ],
)
def test_a_broken_bound_fails(outcome: Outcome, expect: dict[str, Any], name: str, actual: str) -> None:
    found = judged(outcome, expect)
    assert status(found) is Status.FAILED
    assert found[name].ok is Ok.NO
    assert found[name].actual == actual


def test_quick_failures_are_no_speed() -> None:
    found = judged(finished(row(ms0=5000, failures=5000)), {"p95": "< 500ms"})
    assert found["p95"].ok is Ok.YES
    assert status(found) is Status.FAILED


def test_few_requests_cannot_tell_a_p95() -> None:
    found = judged(finished(row(ms120=150)), {"p95": "< 500ms", "error_rate": "< 10%"})
    assert status(found) is Status.INCONCLUSIVE
    assert found["p95"].actual == "only 150 requests"
    told = judged(finished(row(ms120=150)), {"p95": "< 500ms", "error_rate": "< 10%"}, least_requests=100)
    assert status(told) is Status.PASSED
    assert told["p95"].expected == "< 500ms of >= 100 requests (by least_requests)"


def test_few_requests_cannot_tell_an_error_rate() -> None:
    found = judged(finished(row(ms120=300)), {"error_rate": "< 1%"})
    assert status(found) is Status.INCONCLUSIVE
    assert found["error rate"].actual.endswith("95 % interval 0 %..1.26 %; too few to tell against < 1%")


def test_a_value_that_locust_rounds_onto_the_bound_cannot_tell() -> None:
    found = judged(finished(row(ms500=1000)), {"p95": "< 500ms"})
    assert found["p95"].ok is Ok.CANNOT_TELL
    assert found["p95"].actual == "500 ms of 1000 requests; rounded by locust, 495 ms..505 ms"
    assert [half_step(value) for value in (0.05, 0.12, 4.2, 12)] == [0.0005, 0.005, 0.05, 0.5]


def test_no_requests_cannot_tell() -> None:
    found = judged(finished(), {"p95": "< 500ms"})
    assert status(found) is Status.INCONCLUSIVE
    assert list(found) == ["requests looked at"]


@pytest.mark.parametrize(
    ("outcome", "name", "actual"),
    [
        (finished(row(ms120=1000, seconds=4.2)), "time under load", "4.2s"),
        (finished(row(ms120=1000), log=""), "users reached", "0"),
        (finished(row(ms120=1000), log=SPAWNED.replace("5", "3")), "users reached", "3"),
        (
            finished(row(ms120=1000), log=SPAWNED + "x\nTraceback (most recent call last):\n  KeyError\n"),
            "exceptions in the locustfile",
            "1",
        ),
        (
            finished(row(ms120=1000), log=SPAWNED + "vm/WARNING/root: CPU usage above 90%! This may\n"),
            "load generator",
            "locust's processor was over 90 % busy",
        ),
    ],
)
def test_a_load_that_was_not_the_one_asked_for_cannot_tell(outcome: Outcome, name: str, actual: str) -> None:
    found = judged(outcome, {"p95": "< 500ms"})
    assert status(found) is Status.INCONCLUSIVE
    assert found[name].actual == actual


@pytest.mark.parametrize("text", ["", "{}x", '{"a": 1}', '[{"name": "/"}]', "[1]"])
def test_unreadable_statistics_cannot_be_looked_at(text: str) -> None:
    with pytest.raises(CannotLook, match="no readable statistics"):
        read(text)


def test_the_summary_is_bounded_and_counts_what_it_leaves_out() -> None:
    outcome = finished(*(row(f"/{number}", ms120=10) for number in range(50)))
    kept = json.loads(outcome.summary(4000))
    assert len(json.dumps(kept)) <= 4000
    assert kept[-1] == {"left_out": 50 - (len(kept) - 1)}
    assert "num_reqs_per_sec" not in kept[0]


@pytest.fixture
def site() -> Iterator[tuple[str, Counter[tuple[str, str | None, str | None]]]]:
    seen: Counter[tuple[str, str | None, str | None]] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            seen[self.path, self.headers["X-Login"], self.headers["X-Other"]] += 1
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()
    thread.join()


def test_locust_really_runs_and_sees_only_the_variables_it_is_given(
    site: tuple[str, Counter[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, seen = site
    monkeypatch.setenv("LOAD_OTHER", "hunter22")
    (tmp_path / "load").mkdir()
    (tmp_path / "load/locustfile.py").write_text(LOCUSTFILE)
    run = {"scenario": "Visitor", "users": 2, "run_time": "2s", "pass_env": ["LOAD_LOGIN"], "least_requests": 20}
    check = Load.model_validate({"run": run | {"expect": {"p95": "< 2s", "error_rate": "< 20%"}}})
    environment, variables = Environment(name="t", base_url=url), {"LOAD_LOGIN": "anna-secret"}
    for _ in range(3):
        seen.clear()
        result = look(check, environment, root=tmp_path, variables=variables)
        if result.status is not Status.INCONCLUSIVE:  # on a busy machine two seconds may rightly be too little to tell
            break
    assert result.status is Status.PASSED, [*map(str, result.findings), result.message]
    assert set(seen) == {("/page", "anna-secret", "unseen")}
    kept = result.kept["load/Visitor"]
    assert kept["requests"] == seen.total() >= 20
    assert (kept["users"], kept["run_time"], kept["scenario"], kept["failures"]) == (2, 2.0, ["Visitor"], 0)
    assert kept["endpoints"] == {"GET /page": {"requests": seen.total(), "failures": 0}}
    assert [evidence.name for evidence, _ in result.attached] == ["locust.json", "endpoints.csv"]
    assert "locust.main" not in sys.modules


def test_a_locustfile_that_gives_up_is_an_error(site: tuple[str, Counter[Any]], tmp_path: Path) -> None:
    locustfile = Path(__file__).parents[2] / "load/locustfile.py"
    names = ("RELEASEGATE_DEMO_CLINICIAN_EMAIL", "RELEASEGATE_DEMO_CLINICIAN_PASSWORD")
    run = {
        "locustfile": str(locustfile),
        "scenario": ["Clinician"],
        "users": 1,
        "run_time": "5s",
        "pass_env": list(names),
    }
    environment = Environment(name="t", base_url=site[0])
    result = look(
        Load.model_validate({"run": run}), environment, root=tmp_path, variables=dict.fromkeys(names, "hunter22")
    )
    assert result.status is Status.ERROR
    assert result.message.startswith(
        "locust ended with code 3: the clinician cannot work: the login page has no csrf_token"
    )


def test_an_unset_variable_or_absent_locustfile_is_an_error(tmp_path: Path) -> None:
    absent = look(Load.model_validate({"run": {"users": 1, "run_time": "2s"}}), root=tmp_path)
    assert absent.status is Status.ERROR
    assert absent.message.startswith("there is no locustfile load/locustfile.py")
    (tmp_path / "l.py").write_text("")
    check = Load.model_validate({"run": {"locustfile": "l.py", "users": 1, "run_time": "2s", "pass_env": ["LOGIN"]}})
    assert "has no base_url" in look(check, root=tmp_path, variables={"LOGIN": "x"}).message
    environment = Environment(name="t", base_url="http://127.0.0.1:9")
    assert "LOGIN is not set" in look(check, environment, root=tmp_path, variables={}).message


def test_without_locust_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "locust", None)
    (tmp_path / "l.py").write_text("")
    check = Load.model_validate({"run": {"locustfile": "l.py", "users": 1, "run_time": "2s"}})
    seen = look(check, Environment(name="t", base_url="http://127.0.0.1:9"), root=tmp_path)
    assert seen.status is Status.ERROR
    assert seen.message == "locust is not installed\n    pip install 'pytest-releasegate[load]'"


def test_a_load_longer_than_the_gates_time_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "l.py").write_text("")
    check = Load.model_validate({"run": {"locustfile": "l.py", "users": 1, "run_time": "10m"}})
    environment = Environment(name="t", base_url="http://127.0.0.1:9")
    seen = look(check, environment, root=tmp_path, timeout=timedelta(seconds=60))
    assert seen.status is Status.ERROR
    assert "the load needs up to 630s" in seen.message


def test_what_does_not_end_is_stopped_with_its_children(tmp_path: Path) -> None:
    child = "[sys.executable, '-c', 'import time; time.sleep(60)']"
    parent = "import subprocess, sys; c = subprocess.Popen(CHILD); print(c.pid, file=sys.stderr, flush=True); c.wait()"
    log = tmp_path / "log"
    with pytest.raises(CannotLook, match=r"did not end within 1\.5s and was stopped"):
        locust._execute([sys.executable, "-c", parent.replace("CHILD", child)], tmp_path, dict(os.environ), log, 1.5)
    assert gone(int(log.read_text()))


def gone(pid: int) -> bool:
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


def test_the_example_of_the_docstring_is_a_run() -> None:
    text = (Load.__doc__ or "").split("```yaml\n")[1].split("```")[0]
    check = Load.model_validate(yaml.safe_load(text)["load"])
    assert check.run is not None
    assert check.run.label == "Visitor"


RUN = {"users": 5, "run_time": "10s"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "exactly one of run, compare, baseline; got none"),
        ({"run": RUN, "baseline": {"name": "v", "first_run": "absolute"}}, "got run, baseline"),
        ({"run": RUN | {"users": "5"}}, "valid integer"),
        ({"run": RUN | {"run_time": "1500ms"}}, "whole seconds"),
        ({"run": RUN | {"spawn_rate": 0.5}}, "still be starting"),
        ({"run": RUN | {"pass_env": ["A-B"]}}, "match pattern"),
        ({"run": RUN | {"expect": {"p95": "< 500"}}}, "a time with its unit"),
        ({"run": RUN | {"expect": {"rps": ">= 20%"}}}, "a plain number"),
        ({"run": RUN | {"expect": {"p96": "< 500ms"}}}, "Extra inputs"),
        ({"compare": {"name": "v", "regression": "<= 1.5", "first_run": "inconclusive"}}, "in percent"),
        ({"compare": {"name": "v", "regression": "<= 50%"}}, "Field required"),
        ({"compare": {"name": "v", "regression": "<= 50%", "first_run": "absolute"}}, "needs p95"),
    ],
)
def test_mistakes_are_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Load.model_validate(given)
