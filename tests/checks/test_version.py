"""`version` against instances that say what they run."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.version import Version
from pytest_releasegate.model import Environment, Ok, Release, Status
from pytest_releasegate.testing import FakeClock, Remembered, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.execution import Look

COMMIT = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c"
OLD = {"version": "1.3.0", "commit": "a" * 40}
NEW = {"version": "1.4.0", "commit": COMMIT}
PAGE = '<title>x</title><meta content="v1.4.0" name="App-Version"><p>Release 1.4.0, build 7</p>'


class Instance:
    """One running instance; each answer is the next of its list, the last one for good."""

    url = ""
    answers: tuple[Any, ...] = ()

    def next(self) -> Any:
        """What it answers now."""
        first, *rest = self.answers
        self.answers = tuple(rest) or (first,)
        return first


class Handler(BaseHTTPRequestHandler):
    instance: Instance

    def do_GET(self) -> None:
        answer = self.instance.next()
        status = answer if isinstance(answer, int) else 200
        body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Release", "1.4.0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def running() -> Iterator[list[Instance]]:
    instances = [Instance(), Instance()]
    with ExitStack() as stack:
        for instance in instances:
            server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"instance": instance}))
            instance.url = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            stack.callback(server.server_close)
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield instances


@pytest.fixture
def instances(running: list[Instance]) -> list[Instance]:
    for instance in running:
        instance.answers = (NEW,)
    return running


def run(instances: list[Instance], *, memory: Remembered | None = None, commit: str = COMMIT, **fields: Any) -> Look:
    urls = [f"{instance.url}/version" for instance in instances]
    check = Version.model_validate({"url": urls, **{("commit" if k == "at" else k): v for k, v in fields.items()}})
    at = datetime(2026, 1, 5, tzinfo=UTC)
    release = Release(product="demo", version="1.4.0", environment="staging", git_commit=commit, opened_at=at)
    return look(check, Environment(name="staging"), release=release, memory=memory, clock=FakeClock())


def said(result: Look, instances: list[Instance]) -> list[str]:
    lines = [str(finding) for finding in result.findings if finding.ok is not Ok.YES]
    for number, instance in enumerate(instances, 1):
        lines = [line.replace(f"{instance.url}/version", f"URL{number}") for line in lines]
    return lines


def test_every_instance_runs_the_release(instances: list[Instance]) -> None:
    instances[1].answers = ({"version": "v1.4.0", "commit": COMMIT[:7]},)
    result = run(instances, asks=2)
    assert (result.status, said(result, instances)) == (Status.PASSED, [])
    assert str(result.findings[-1]) == "answers looked at: expected >= 4, got 4"
    assert result.kept == {"version/running": {"version": "1.4.0", "commit": COMMIT}}


@pytest.mark.parametrize("place", ["header X-Release", "meta app-version", r"text Release (\S+),", "version"])
def test_the_version_stands_where_the_plan_says(instances: list[Instance], place: str) -> None:
    instances[0].answers = (NEW if place == "version" else PAGE,)
    assert run(instances[:1], version=place, at=None).status is Status.PASSED
    instances[0].answers = (OLD if place == "version" else PAGE.replace("1.4.0", "1.4.01"),)
    wanted = Status.PASSED if place.startswith("header") else Status.FAILED
    assert run(instances[:1], version=place, at=None).status is wanted


@pytest.mark.parametrize(
    ("answers", "fields", "messages"),
    [
        ((OLD,), {}, ["version at URL2: expected 1.4.0, got 1.3.0", f"commit at URL2: expected {COMMIT}, got aaaa"]),
        ((NEW, OLD), {"asks": 2}, ["version at URL2: expected 1.4.0, got 1.4.0 (1 of 2 answers), 1.3.0 (1 of 2 "]),
        (({**NEW, "commit": COMMIT[:6]},), {}, [f"commit at URL2: expected {COMMIT}, got 1f2e3d"]),
        (({**NEW, "version": "1.4.0-rc1"},), {}, ["version at URL2: expected 1.4.0, got 1.4.0-rc1"]),
        (({"commit": COMMIT},), {}, ["version at URL2: expected 1.4.0, got no text at version"]),
        (({**NEW, "version": ""},), {}, ["version at URL2: expected 1.4.0, got no text at version"]),
        ((PAGE,), {"at": None}, ["version at URL2: expected 1.4.0, got an answer that is not JSON"]),
        ((404,), {"at": None}, ["version at URL2: expected 1.4.0, got 404 Not Found"]),
    ],
)
def test_another_version_is_named(
    instances: list[Instance], answers: tuple[Any, ...], fields: dict[str, Any], messages: list[str]
) -> None:
    instances[1].answers = answers
    result = run(instances, **fields)
    lines = said(result, instances)
    assert result.status is Status.FAILED
    assert [line.startswith(message) for line, message in zip(lines, messages, strict=False)] == [True] * len(messages)
    assert result.kept == {}


def test_one_instance_of_two_behind_an_address_is_found_unasked(instances: list[Instance]) -> None:
    instances[0].answers = (NEW, OLD, NEW)
    result = run(instances[:1], at=None)
    assert (result.status, said(result, instances)) == (
        Status.FAILED,
        ["version at URL1: expected 1.4.0, got 1.4.0 (7 of 8 answers), 1.3.0 (1 of 8 answers)"],
    )


@pytest.mark.parametrize("commit", [f"{COMMIT}-dirty", f"{COMMIT} (main)", f"{COMMIT}{COMMIT}"])
def test_a_commit_with_something_on_it_is_another(instances: list[Instance], commit: str) -> None:
    instances[0].answers = ({**NEW, "commit": commit},)
    result = run(instances[:1])
    assert (result.status, len(said(result, instances))) == (Status.FAILED, 1)


def test_an_answer_that_nests_without_end_says_nothing(instances: list[Instance]) -> None:
    instances[0].answers = ("[" * 100_000,)
    result = run(instances[:1], at=None)
    assert said(result, instances) == ["version at URL1: expected 1.4.0, got an answer that is not JSON"]


@pytest.mark.parametrize(
    ("page", "pattern", "seen"),
    [
        ("Release 1.4.0-rc1", "text Release ([0-9.]+)", "1.4.0-rc1"),
        ("Release 1.4.01", r"text Release (1\.4\.0)", "1.4.01"),
        ("11.4.0", r"text ([0-9]\.[0-9]\.[0-9])", "11.4.0"),
        ("Release 1.4.0+build.5 is here", r"text (\d\.\d\.\d)", "1.4.0+build.5"),
        ("Release 1.4.0. Enjoy", r"text Release (\d\.\d\.\d)", ""),
        ("Release 1.4.0-g1f2e3d4", r"text Release (\d\.\d\.\d)-g", ""),
        ("<b>v1.4.0</b>", r"text v(\d\.\d\.\d)", ""),
    ],
)
def test_a_pattern_that_takes_a_part_of_a_version_sees_the_whole(
    instances: list[Instance], page: str, pattern: str, seen: str
) -> None:
    instances[0].answers = (page,)
    result = run(instances[:1], version=pattern, at=None)
    assert said(result, instances) == [f"version at URL1: expected 1.4.0, got {seen}"] * bool(seen)


def test_a_value_that_is_absent_is_said(instances: list[Instance]) -> None:
    instances[0].answers = (PAGE,)
    result = run(instances[:1], version="meta release", at=None)
    assert said(result, instances) == ["version at URL1: expected 1.4.0, got no meta release"]


def test_a_rollout_is_waited_for(instances: list[Instance]) -> None:
    instances[1].answers = (OLD, NEW)
    result = run(instances, retry_for="10s")
    assert (result.status, result.attempts) == (Status.PASSED, 2)


def test_an_instance_that_asks_to_come_back_cannot_tell(instances: list[Instance]) -> None:
    instances[1].answers = (503,)
    result = run(instances, at=None)
    assert (result.status, said(result, instances)) == (
        Status.INCONCLUSIVE,
        ["version at URL2: expected 1.4.0, got 503 Service Unavailable"],
    )


def test_after_going_back_the_previous_version_runs(instances: list[Instance]) -> None:
    before = Remembered(previous={"version/running": OLD})
    failed = run(instances[:1], expect="previous", memory=before)
    assert (failed.status, said(failed, instances)[0]) == (
        Status.FAILED,
        "version at URL1: expected 1.3.0, got 1.4.0",
    )
    instances[0].answers = (OLD,)
    assert run(instances[:1], expect="previous", memory=before).status is Status.PASSED
    assert run(instances[:1], expect="1.3.0").status is Status.PASSED
    other = Remembered(previous={"metrics/web": [1]})
    assert run(instances[:1], expect="previous", before="metrics/web", memory=other).status is Status.PASSED


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"commit": ""}, "release 1.4.0/staging knows no git_commit"),
        ({"expect": "previous"}, "no release before 1.4.0/staging kept 'version/running'"),
        ({"expect": "1.3.0", "version": None}, "nothing says which commit 1.3.0 is"),
        ({"url": "http://127.0.0.1:1/version"}, "cannot connect"),
    ],
)
def test_what_keeps_it_from_looking(instances: list[Instance], fields: dict[str, Any], message: str) -> None:
    result = run(instances, **fields)
    assert (result.status, message in result.message) == (Status.ERROR, True), result.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": None, "commit": None}, "got neither"),
        ({"version": "text Release .*"}, "a pattern with one group"),
        ({"version": "text Release (.*"}, "unterminated"),
        ({"version": "cookie release"}, "expected a JSON path"),
        ({"version": "$.version"}, "expected a dotted path"),
        ({"expect": "next"}, "should match pattern"),
        ({"asks": 0}, "greater than or equal to 1"),
        ({"url": []}, "at least 1 item"),
        ({"url": ["/version", "/version"]}, "names the same one twice"),
    ],
)
def test_wrong_declarations_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Version.model_validate({"url": "/version", **fields})
