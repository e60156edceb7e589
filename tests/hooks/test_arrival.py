"""A `version` gate that sees the release for the first time tells the record when it was deployed."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pytest_releasegate.store import open_store

OLD, NEW = "1.3.0", "1.4.0"
TEST = "id: t, title: T, test: smoke/test_t.py"
LATER = "id: p, title: P, document: NOTES.md"


class Handler(BaseHTTPRequestHandler):
    runs: tuple[str, ...] = ()
    """What the target says that it runs, one look after the other, the last for good."""

    def do_GET(self):
        first, *rest = Handler.runs
        Handler.runs = tuple(rest) or (first,)
        body = json.dumps({"version": first}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/version"
    server.shutdown()
    thread.join()
    server.server_close()


def seer(url, name="v", **more):
    """A gate that asks for the version alone, unless `more` says otherwise."""
    given = {"url": url, "commit": None, "asks": 1} | more
    return f"id: {name}, title: It runs, version: {json.dumps(given)}"


@pytest.fixture
def went_before(product):
    """A product of which the record knows that 1.3.0 was deployed."""

    def deployed(*gates, phase="postdeploy", head=""):
        product.gates(phase, *gates, head=head)
        if TEST in gates:
            product.write("smoke/test_t.py", 'import pytest\n\n@pytest.mark.gate("t")\ndef test_t():\n    pass\n')
        assert product.releasegate("open", OLD).code == 0
        assert product.releasegate("deployed", "--release", OLD).code == 0
        return product

    return deployed


def test_the_first_look_that_sees_it_is_the_deployment(url, went_before):
    made = went_before(LATER, TEST, seer(url))
    Handler.runs = (NEW,)
    started = datetime.now(UTC)
    ran = made.pytest("-m", "postdeploy")
    release = made.release()
    assert ran.has(
        "releasegate: DEPLOYED", "UTC, seen by gate v: 1.4.0/demo runs; before it, 1.3.0 ran when 1.3.0/demo"
    )
    assert ran.has("scope ok: 3 of 3 gates")
    assert started <= release.deployed_at <= datetime.now(UTC)
    assert made.statuses() == {"v": "passed", "p": "passed", "t test_t": "passed"}
    assert "DEPLOYED" not in made.pytest("-m", "postdeploy").out
    assert made.release() == release
    shown = made.releasegate("status")
    assert shown.has(f"deployed {release.deployed_at:%Y-%m-%d %H:%M} UTC, seen by gate v")
    again = made.releasegate("deployed")
    assert (again.code, again.has("as the record knows already (seen by gate v)")) == (0, True)
    other = made.releasegate("deployed", "--at", (release.deployed_at - timedelta(microseconds=1)).isoformat())
    assert (other.code, other.has("by the record (seen by gate v)", "cannot be corrected")) == (4, True)


def test_what_looks_at_the_deployment_looks_after_it_was_seen(url, went_before):
    """Also in one process, where gates that only wait for a network may look at the same time."""
    other = f"id: h, title: H, http: {json.dumps({'url': url})}"
    made = went_before(other, seer(url, retry_for="30s"), phase="deploy", head="step: after")
    Handler.runs = (OLD, NEW)
    ran = made.pytest("-m", "deploy")
    assert (ran.code, ran.has("DEPLOYED", "scope ok: 2 of 2 gates", "phase deploy: GO")) == (0, True), ran.out


def test_workers_wait_for_what_sees_it(url, went_before):
    """Gates that looked while another waited for the version would have looked too early."""
    never = f"{seer(url, 'w')}, when: never"  # nothing waits for what does not look
    made = went_before(LATER, TEST, never, seer(url, retry_for="30s"))
    Handler.runs = (OLD, OLD, NEW)
    ran = made.pytest("-m", "postdeploy", "-n2", "--fact", "never=false")
    seen = {result.gate: result for result in made.results()}
    assert (ran.code, ran.out.count("DEPLOYED"), seen["v"].attempts) == (0, 1, 3)
    assert ran.has("scope ok: 4 of 4 gates")
    for later in "pt":
        assert seen["v"].started_at < made.release().deployed_at <= seen[later].started_at


def test_without_proof_that_something_else_ran_a_person_must_say_it(url, product):
    product.gates("postdeploy", LATER, seer(url))
    Handler.runs = (NEW,)
    ran = product.pytest("-m", "postdeploy")
    assert ran.has(
        "releasegate: NOT KNOWN SINCE WHEN: 1.4.0/demo runs by gate v; nothing in the record shows that something",
        "Say it: releasegate deployed --at INSTANT --release 1.4.0 --env demo",
        "the record does not know when the deployment was: releasegate deployed",
    )
    assert (product.release().deployed_at, product.statuses()) == (None, {"v": "passed", "p": "error"})


def test_a_rehearsal_records_nothing(url, went_before):
    made = went_before(seer(url))
    Handler.runs = (NEW,)
    made.releasegate("open", NEW)
    assert made.pytest("gates/postdeploy.yaml").has("a rehearsal", "1 passed")
    assert made.release().deployed_at is None


def test_each_target_has_a_deployment_of_its_own(url, went_before):
    made = went_before(LATER, seer(url))
    Handler.runs = (NEW,)
    ran = made.pytest("-m", "postdeploy", "--base-url=demo,prod")
    assert ran.has("DEPLOYED", "seen by gate v: 1.4.0/demo runs", "NOT KNOWN SINCE WHEN: 1.4.0/prod runs by gate v")
    with open_store(f"sqlite:///{made.root / '.releasegate' / 'record.db'}", create=False) as store:
        assert {each.environment: each.seen_by for each in store.releases() if each.version == NEW} == {
            "demo": "v",
            "prod": "",
        }


@pytest.mark.parametrize("how", ["items.reverse()", "[one.add_marker('skip') for one in items if one.name == 'v']"])
def test_nobody_waits_for_a_look_that_will_not_come(url, went_before, how):
    made = went_before(LATER, seer(url))
    Handler.runs = (NEW,)
    hook = "@pytest.hookimpl(trylast=True)\ndef pytest_collection_modifyitems(items):\n"
    made.write("conftest.py", f"import pytest\n\n{hook}    {how}\n")
    ran = made.pytest("-m", "postdeploy", "-n2")
    assert (ran.code, ran.has("the record does not know when the deployment was")) == (10, True), ran.out


def test_a_deployment_that_a_person_records_meanwhile_is_known_at_once(url, went_before):
    made = went_before(seer(url), LATER)
    Handler.runs = (NEW,)
    made.write(
        "conftest.py",
        "import subprocess, sys\n\nSAY = ['-m', 'pytest_releasegate.cli', 'deployed', '--release', '1.4.0']\n\n"
        "def pytest_runtest_setup(item):\n"
        "    if item.name == 'v':\n        subprocess.run([sys.executable, *SAY], check=True)\n",
    )
    ran = made.pytest("-m", "postdeploy")
    assert (ran.code, made.release().seen_by) == (0, ""), ran.out
