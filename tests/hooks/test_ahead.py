"""Gates that wait on a network look together: what is at once, what is not, and that no look is lost or done twice."""

from __future__ import annotations

from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import Any

import pytest

from pytest_releasegate.model import Status

PATIENCE = 20


class Counting(ThreadingHTTPServer):
    """A server that knows how many requests it holds, and answers none before so many have come at the same time."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, state: State) -> None:
        super().__init__((host, 0), Handler)
        self.state = state
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}"


class State:
    """What the servers of a test have seen."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.wanted, self.patience, self.each = 1, PATIENCE, False
        self.free: set[str] = set()
        """Paths that are answered at once."""
        self.held: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.came: list[str] = []
        self.log: list[str] = []
        self.stuck = Event()

    def enough(self, host: str) -> bool:
        return self.most[host if self.each else "all"] >= self.wanted

    def hold(self, path: str, host: str) -> bool:
        """Wait until as many are there as are wanted at once, and say whether they came."""
        with self.changed:
            self.came.append(path)
            self.log.append(f"+{path}")
            for name in (host, "all"):
                self.held[name] += 1
                self.most[name] = max(self.most[name], self.held[name])
            self.changed.notify_all()
            there = (
                path in self.free
                or self.changed.wait_for(lambda: self.enough(host), self.patience)
                or self.patience < PATIENCE
            )
        if path == "/stuck":
            self.stuck.wait(PATIENCE)
        with self.changed:
            self.log.append(f"-{path}")
            for name in (host, "all"):
                self.held[name] -= 1
        return there


class Handler(BaseHTTPRequestHandler):
    server: Counting

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        there = self.server.state.hold(path, str(self.server.server_address[0]))
        self.send_response(500 if query == "bad" or not there else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def state():
    made = State()
    yield made
    made.stuck.set()


@pytest.fixture
def hosts(state):
    """Two servers on two hosts that count together."""
    made = [Counting(host, state) for host in ("127.0.0.1", "127.0.0.2")]
    yield [one.url for one in made]
    for one in made:
        one.shutdown()
        one.server_close()


def gate(name: str, url: str, more: str = "") -> str:
    return f'id: {name}, title: Gate {name}{more}, http: {{url: "{url}/{name}"}}'


def many(number: int, *urls: str, more: str = "") -> list[str]:
    return [gate(f"g{each:02}", urls[each % len(urls)], more) for each in range(number)]


def test_gates_look_together_and_are_told_in_their_order(product, state, hosts):
    state.wanted = 12
    product.gates("predeploy", *many(12, *hosts))
    product.write(
        "conftest.py",
        "import os\n\ndef pytest_runtest_logreport(report):\n    if report.when == 'call':\n"
        "        with open('told.txt', 'a') as file:\n"
        "            print(report.nodeid.partition('::')[2], report.duration, file=file)\n",
    )
    ran = product.pytest("-m", "predeploy")
    assert ran.code == 0, ran.out
    results = product.results()
    told = [line.split() for line in (product.root / "told.txt").read_text().splitlines()]
    assert [result.gate for result in results] == [f"g{each:02}" for each in range(12)]
    assert told == [[result.gate, str(result.seconds)] for result in results]
    assert sorted(state.came) == [f"/g{each:02}" for each in range(12)]


def test_a_host_is_asked_by_eight_at_most(product, state, hosts):
    state.wanted = 8
    product.gates("predeploy", *many(24, hosts[0]))
    assert product.pytest("-m", "predeploy").code == 0
    assert (state.most["all"], len(state.came)) == (8, 24)


def test_thirty_two_at_once_however_many_hosts(product, state):
    servers = [Counting(f"127.0.0.{number}", state) for number in range(1, 7)]
    state.wanted = 32
    product.gates("predeploy", *many(60, *(server.url for server in servers)))
    ran = product.pytest("-m", "predeploy")
    for server in servers:
        server.shutdown()
        server.server_close()
    assert (ran.code, state.most["all"], len(state.came)) == (0, 32, 60)


def test_a_gate_that_opts_out_looks_alone_and_the_plan_stays_as_it_is(product, state, hosts):
    state.wanted, state.patience = 2, 0.2  # long enough for another to come meanwhile
    product.gates("predeploy", *many(4, hosts[0]))
    product.releasegate("open", "1.4.0")
    digest = product.release().plan_digest
    product.gates("predeploy", *many(4, hosts[0], more=", together: false"))
    assert product.pytest("-m", "predeploy").code == 0
    assert state.most["all"] == 1
    assert state.came == [f"/g{each:02}" for each in range(4)]
    assert product.release().plan_digest == digest


def test_what_is_needed_is_recorded_before_the_others_look_together(product, state, hosts):
    state.wanted, state.free = 5, {"/first", "/told"}
    first = gate("first", hosts[0])
    product.gates("predeploy", *many(5, *hosts, more=", needs: [first]"), first)
    product.write(
        "conftest.py",
        "import urllib.request\n\ndef pytest_runtest_logreport(report):\n"
        "    if report.when == 'teardown' and report.nodeid.endswith('first'):\n"
        f"        urllib.request.urlopen('{hosts[1]}/told')\n",
    )
    ran = product.pytest("-m", "predeploy")
    assert ran.code == 0, ran.out
    assert state.log[:4] == ["+/first", "-/first", "+/told", "-/told"]


def test_those_that_need_the_same_gate_look_together_after_it(product, state, hosts):
    state.wanted = 6
    product.gates("predeploy", "id: n, title: N, document: NOTES.md", *many(6, *hosts, more=", needs: [n]"))
    assert product.pytest("-m", "predeploy").code == 0
    assert state.most["all"] == 6


def test_nothing_behind_a_gate_that_writes_is_looked_at_before_it(product, state, hosts):
    write = f'id: w, title: W, writes: true, http: {{url: "{hosts[0]}/w", method: POST}}'
    post = f'id: p, title: P, http: {{url: "{hosts[0]}/p", method: POST}}'
    test = "id: t, title: T, writes: true, test: smoke/test_t.py"
    between = [gate(name, hosts[0]) for name in "abcd"]
    product.gates("predeploy", between[0], write, between[1], post, between[2], test, between[3])
    product.write(
        "smoke/test_t.py",
        'import urllib.request\nimport pytest\n\n@pytest.mark.gate("t")\ndef test_t():\n'
        f"    urllib.request.urlopen('{hosts[0]}/t')\n",
    )
    assert product.pytest("-m", "predeploy").code == 0
    assert state.log == [f"{sign}/{name}" for name in "awbpctd" for sign in "+-"]


def test_a_test_in_between_keeps_nobody_waiting(product, state, hosts):
    state.wanted = 2
    product.gates("predeploy", gate("a", hosts[0]), "id: py, title: Py, test: smoke/test_py.py", gate("b", hosts[0]))
    product.write("smoke/test_py.py", 'import pytest\n\n@pytest.mark.gate("py")\ndef test_py():\n    pass\n')
    assert product.pytest("-m", "predeploy").code == 0


def test_a_gate_that_is_not_asked_is_not_looked_at(product, state, hosts):
    product.gates(
        "predeploy",
        gate("a", hosts[0]),
        gate("b", hosts[0], ", when: maintenance"),
        gate("c", hosts[0]),
        gate("d", hosts[0]),
    )
    product.write(
        "conftest.py",
        "import pytest\n\ndef pytest_collection_modifyitems(items):\n"
        "    [item.add_marker(pytest.mark.skip(reason='later')) for item in items if item.name == 'c']\n",
    )
    product.pytest("-m", "predeploy", "--fact", "maintenance=false")
    assert sorted(state.came) == ["/a", "/d"]


STOP = {
    "fail": ("", 1),
    "interrupt": (
        "def pytest_runtest_logreport(report):\n    if report.when == 'teardown':\n        raise KeyboardInterrupt\n",
        2,
    ),
}


@pytest.mark.parametrize("how", STOP)
def test_looks_that_nobody_waits_for_are_dropped(product, state, hosts, how):
    body, code = STOP[how]
    state.wanted = 9
    stuck = [f'id: s{each}, title: S, http: {{url: "{hosts[0]}/stuck"}}' for each in range(20)]
    product.gates("predeploy", f'id: a, title: A, http: {{url: "{hosts[1]}/a?bad"}}', *stuck)
    product.write("conftest.py", body)
    ran = product.pytest("-m", "predeploy", "-x")
    assert not state.stuck.is_set()
    assert ran.code == code, ran.out
    assert product.statuses() == {"a": "failed"}


def test_a_second_run_of_an_item_looks_anew(product, state, hosts):
    product.gates("predeploy", *many(3, *hosts))
    product.write(
        "conftest.py",
        "from _pytest.runner import runtestprotocol\n\ndef pytest_runtest_protocol(item, nextitem):\n"
        "    runtestprotocol(item, nextitem=nextitem, log=False)\n",
    )
    product.pytest("-m", "predeploy")
    assert Counter(state.came) == dict.fromkeys(["/g00", "/g01", "/g02"], 2)


BREAKS = """
import os, sys
from pytest_releasegate.checks.http import Http

look = Http.look

def broken(self, context):
    if "/breaks" in self.url:
        {how}
    yield from look(self, context)

Http.look = broken
"""


def test_what_ends_a_look_is_an_error_of_its_gate_alone(product, hosts):
    product.gates("predeploy", *(gate(name, hosts[0]) for name in ("a", "breaks", "b", "breaks2", "c")))
    how = "sys.exit(3) if 'breaks2' in self.url else exec('raise KeyboardInterrupt')"
    product.write("conftest.py", BREAKS.format(how=how))
    assert product.pytest("-m", "predeploy").code == 10
    assert {result.gate: result.message for result in product.results()} == {
        **dict.fromkeys("abc", ""),
        "breaks": "the check 'http' broke: KeyboardInterrupt",
        "breaks2": "the check 'http' broke: SystemExit: 3",
    }


def test_under_xdist_one_worker_looks_at_all_of_them(product, state, hosts):
    state.wanted = 14
    documents = [f"id: d{each}, title: D, document: NOTES.md" for each in range(6)]
    product.gates("predeploy", *documents[:3], *many(14, *hosts), *documents[3:])
    ran = product.pytest("-m", "predeploy", "-n2")
    assert ran.code == 0, ran.out
    assert sorted(state.came) == [f"/g{each:02}" for each in range(14)]
    assert len(product.results()) == 20


@pytest.mark.parametrize("dist", [["--dist=worksteal"], ["--maxschedchunk=1"]])
def test_no_gate_is_looked_at_twice(product, state, hosts, dist):
    product.gates("predeploy", *many(20, *hosts))
    assert product.pytest("-m", "predeploy", "-n2", *dist).code == 0
    assert sorted(state.came) == [f"/g{each:02}" for each in range(20)]


def test_gates_of_each_target_look_together(product, state, hosts):
    state.wanted, state.each = 4, True
    product.write(
        "gates/environments.yaml",
        "product: ehr\nenvironments:\n" + "".join(f'  e{n}: {{base_url: "{url}"}}\n' for n, url in enumerate(hosts)),
    )
    gates = [f"id: g{n}, title: G, http: /g{n}" for n in range(4)]
    product.gates("predeploy", *gates, "id: n, title: N, needs: [g0, g3], http: /n")
    assert product.pytest("-m", "predeploy", "--env", "e0,e1").code == 0
    assert Counter(state.came) == dict.fromkeys(["/g0", "/g1", "/g2", "/g3", "/n"], 2)
    assert [state.most[host] for host in ("127.0.0.1", "127.0.0.2")] == [4, 4]


def test_a_worker_that_dies_amid_them_loses_no_gate(product, state, hosts):
    gates = many(12, *hosts)
    product.gates("predeploy", *gates[:6], gate("breaks", hosts[0]), *gates[6:])
    product.write("conftest.py", BREAKS.format(how="os._exit(7)"))
    ran = product.pytest("-m", "predeploy", "-n2")
    results = product.results()
    assert Counter(result.gate for result in results) == dict.fromkeys([f"g{n:02}" for n in range(12)] + ["breaks"], 1)
    errors = {result.gate for result in results if result.status is not Status.PASSED}
    assert "breaks" in errors
    assert len(errors) <= 2
    assert ran.has("the worker crashed while looking at it, or at a gate beside it")
    assert ran.code == 10


def test_a_gate_that_is_handed_out_again_begins_no_others(product, state, hosts):
    product.gates("predeploy", gate("breaks", hosts[0]), *many(8, *hosts))
    once = "os.path.exists('once') or (open('once', 'w').close(), os._exit(7))"
    again = "\ndef pytest_handlecrashitem(crashitem, sched):\n    sched.mark_test_pending(crashitem)\n"
    product.write("conftest.py", BREAKS.format(how=once) + again)
    product.pytest("-m", "predeploy", "-n2")
    assert product.statuses() == dict.fromkeys(["breaks", *(f"g{each:02}" for each in range(8))], "passed")
    # once by the worker that died, and once by another
    assert max(Counter(state.came).values()) <= 2
