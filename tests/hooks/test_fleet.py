"""Several targets in one run: a release, a verdict and an exit code for each, whatever becomes of the others."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections import defaultdict
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.store import open_store
from tests.conftest import UNUSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Product

FLEET = ("--base-url", "prod-eu,prod-us")
HEALTH = "id: health, title: Healthy, http: /healthz"
NOTES = "id: notes, title: Notes, document: NOTES.md"
PYTHON = "id: py, title: Python, test: smoke/test_py.py"
GREETING = """
import urllib.request
import pytest

@pytest.fixture(scope="session")
def greeting(base_url):
    return urllib.request.urlopen(f"{base_url}/who").read().decode()

@pytest.fixture(scope="session")
def signed_in():
    return {}

@pytest.mark.gate("py")
@pytest.mark.parametrize("who", ["ann", "bob"])
def test_greeting(who, greeting, signed_in, base_url, gate_context, releasegate_target):
    assert gate_context.url("/") == f"{base_url}/"
    assert (greeting, gate_context.environment.name) == (releasegate_target, releasegate_target)
    assert signed_in.setdefault("at", base_url) == base_url
"""


class Site(ThreadingHTTPServer):
    """A target that says its name; a broken one is not healthy."""

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.name, self.broken = name, False


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        site = self.server
        assert isinstance(site, Site)
        body = site.name.encode()
        self.send_response(500 if site.broken and self.path == "/healthz" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Site]]:
    found = {name: Site(name) for name in ("prod-eu", "prod-us")}
    for site in found.values():
        threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True).start()
    yield found
    for site in found.values():
        site.shutdown()
        site.server_close()


@pytest.fixture
def sites(servers: dict[str, Site], product: Product) -> dict[str, Site]:
    """The two targets, healthy, and declared in the product."""
    lines = ["product: ehr", "fleets: {prod: [prod-eu, prod-us]}", "environments:"]
    for name, site in servers.items():
        site.broken = False
        values = f'values: {{region: "{name[5:]}"}}'
        lines.append(f'  {name}: {{base_url: "http://127.0.0.1:{site.server_port}", {values}, protected: true}}')
    product.write("gates/environments.yaml", "\n".join([*lines, ""]))
    return servers


def rows(product: Product, query: str) -> list[tuple[object, ...]]:
    """What the record says, read over a connection of its own."""
    with closing(sqlite3.connect(product.root / ".releasegate" / "record.db")) as connection:
        return connection.execute(query).fetchall()


def statuses(product: Product) -> dict[str, dict[str, str]]:
    """By target, the newest status of each gate and case."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    with open_store(f"sqlite:///{product.root / '.releasegate' / 'record.db'}", create=False) as store:
        for release in store.releases():
            for result in store.results(release.id):
                assert result.target == release.environment
                found[release.environment][f"{result.gate} {result.case}".strip()] = result.status.value
    return dict(found)


ENDED = """
select releases.environment, count(distinct releases.id), count(*), max(decision), max(exit_code)
from releases join runs on runs.release_id = releases.id group by 1 order by 1
"""


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_what_one_target_breaks_leaves_the_other_green(product, sites, workers):
    product.gates("predeploy", HEALTH, NOTES, PYTHON)
    product.write("smoke/test_py.py", GREETING)
    sites["prod-us"].broken = True
    ran = product.pytest("-m", "predeploy", *FLEET, *workers, "--junitxml", "junit.xml", "-v")
    good = {"health": "passed", "notes": "passed", "py test_greeting[ann]": "passed", "py test_greeting[bob]": "passed"}
    assert statuses(product) == {"prod-eu": good, "prod-us": {**good, "health": "failed"}}, ran.out
    assert rows(product, ENDED) == [("prod-eu", 1, 1, "GO", 0), ("prod-us", 1, 1, "NO-GO", 1)]
    assert (ran.code, ran.has("in all NO-GO: 1 of 2 targets ok")) == (1, True)
    assert ran.has("prod-eu scope ok: 3 gates; phase predeploy: GO", "prod-us scope NO-GO: 3 gates; phase predeploy:")
    names = re.findall(r'<testcase [^>]*\bname="([^"]+)"', (product.root / "junit.xml").read_text())
    assert len(set(names)) == len(names) == 8
    assert {"health[prod-eu]", "health[prod-us]", "test_greeting[ann-prod-us]"} <= set(names)
    if not workers:
        places = [ran.out.find(f"[{name}] PASSED") for name in ("ann-prod-eu", "bob-prod-eu", "ann-prod-us")]
        assert -1 < places[0] < places[1] < places[2]


def test_status_tells_each_target_and_ends_with_the_worst(product, sites):
    product.gates("predeploy", HEALTH)
    sites["prod-us"].broken = True
    product.pytest("-m", "predeploy", "--env", "prod")
    both = product.releasegate("status", "--env", "prod-eu,prod-us", "--exit-code")
    assert both.has("ehr 1.4.0/prod-eu", "ehr 1.4.0/prod-us", "in all NO-GO: 1 of 2 targets ok")
    codes = [product.releasegate("status", "--env", name, "--exit-code").code for name in sites]
    assert ([*codes, both.code], product.releasegate("verify", "--env", "prod-eu").code) == ([0, 1, 1], 0)
    shown = product.releasegate("show", "health", "--env", "prod", PYTEST_BASE_URL="prod-eu,prod-us")
    assert shown.has("passed, ", "failed, ", "target prod-eu", "target prod-us")
    unknown = product.releasegate("status", "--env", "prod", "--release", "9")
    assert (unknown.code, unknown.has("does not know 9/prod-eu", "does not know 9/prod-us")) == (4, True)


def test_an_item_that_is_missing_in_one_target_holds_that_one_and_the_worst_counts(product, sites):
    product.gates("predeploy", HEALTH, NOTES)
    sites["prod-eu"].broken = True
    ran = product.pytest("-m", "predeploy", *FLEET, "--deselect", "gates/predeploy.yaml::notes[prod-us]")
    assert (ran.code, statuses(product)["prod-us"]) == (1, {"health": "passed"})
    assert rows(product, ENDED) == [("prod-eu", 1, 1, "NO-GO", 1), ("prod-us", 1, 1, "HOLD", 10)]
    assert ran.has("in all NO-GO: 0 of 2 targets ok")


def test_a_worker_that_dies_in_one_target_is_that_targets_error(product, sites):
    product.gates("predeploy", NOTES, PYTHON)
    dies = "def test_dies(releasegate_target):\n    if releasegate_target == 'prod-us':\n        os._exit(7)\n"
    product.write("smoke/test_py.py", f'import os\nimport pytest\n\n@pytest.mark.gate("py")\n{dies}')
    ran = product.pytest("-m", "predeploy", *FLEET, "-n2")
    assert statuses(product)["prod-eu"] == {"notes": "passed", "py test_dies": "passed"}
    assert statuses(product)["prod-us"] == {"notes": "passed", "py test_dies": "error"}
    assert [row[3:] for row in rows(product, ENDED)] == [("GO", 0), ("HOLD", 10)]
    assert (ran.code, ran.has("the worker crashed while looking")) == (10, True)


KEPT = """
import os
import pytest

@pytest.mark.gate("py")
def test_tells(gate_context):
    password = gate_context.resolve("${env:WORD_" + gate_context.environment.values["region"].upper() + "}")
    gate_context.attach("said.txt", "text/plain", f"{password} {os.environ['WORD_EU']}".encode())
    print("here:", password, os.environ["WORD_EU"])
    assert password.startswith("eu-")
"""
WORDS = {"WORD_EU": "eu-9e1bd23c55a0", "WORD_US": "us-44d0be7712f9"}


def test_facts_needs_waivers_secrets_and_steps_are_of_each_target(product, sites):
    late = "id: late, title: Late, needs: [py], document: NOTES.md"
    product.gates("predeploy", PYTHON, late, "id: only, title: Only, when: maintenance, http: /healthz")
    product.write("gates/policy.yaml", "waive: [{roles: [owner]}]\n")
    product.write("gates/stakeholders.yaml", "roles: {owner: {people: [ann@example.com]}}\n")
    product.write("smoke/test_py.py", KEPT)
    for name, fact in (("prod-eu", "true"), ("prod-us", "false")):
        assert product.releasegate("open", "1.4.0", "--env", name, "--fact", f"maintenance={fact}").code == 0
    ran = product.pytest("-m", "predeploy", *FLEET, **WORDS)
    assert statuses(product) == {
        "prod-eu": {"py test_tells": "passed", "late": "passed", "only": "passed"},
        "prod-us": {"py test_tells": "failed", "late": "error"},
    }
    assert ran.has("needs py, which is failed", "not applicable")
    everything = ran.out + (product.root / ".releasegate" / "record.db").read_bytes().decode("latin-1")
    assert not [word for word in WORDS.values() if word in everything]
    accept = ("waive", "py", "--env", "prod-us", "--person", "ann@example.com", "--reason", "a known one")
    assert product.releasegate(*accept, "--until", "2099-01-01T00:00:00Z").code == 0
    again = product.pytest("-m", "predeploy", *FLEET, "--gates", "stale", "-v", **WORDS)
    assert (again.code, again.has("late[prod-us] PASSED", "in all ok: 2 of 2 targets ok")) == (0, True), again.out
    assert "[prod-eu]" not in again.out.partition("collecting")[2].partition("====")[0]


def test_pytest_does_not_pull_a_gate_before_what_it_needs(product, sites):
    """It puts tests of one parameter together, and the target is one."""
    product.gates(
        "predeploy",
        "id: first, title: First, test: smoke/test_py.py",
        NOTES,
        "id: last, title: Last, needs: [notes], test: smoke/test_py.py",
    )
    tests = [f'@pytest.mark.gate("{name}")\ndef test_{name}():\n    pass\n' for name in ("first", "last")]
    product.write("smoke/test_py.py", "\n".join(["import pytest", *tests]))
    ran = product.pytest("-m", "predeploy", *FLEET)
    assert (ran.code, ran.has("in all ok: 2 of 2 targets ok")) == (0, True), ran.out


CASE = """
import unittest
import pytest

class TestCase(unittest.TestCase):
    @pytest.mark.gate("case")
    def test_it(self):
        self.assertTrue(True)
"""
HELD = """
import pytest

CLOSED = []

@pytest.fixture(scope="session")
def sticky():
    yield
    CLOSED.append(1)
    if len(CLOSED) == 1:
        raise OSError("cannot be closed")

@pytest.fixture(scope="session")
def greeted():
    return []

@pytest.mark.gate("held")
@pytest.mark.parametrize("number", [1, 2])
def test_held(number, greeted, sticky, releasegate_target):
    greeted.append(releasegate_target)
    assert set(greeted) == {releasegate_target}
"""
FIXED = """
import pytest

@pytest.fixture(scope="session")
def base_url():
    return "http://127.0.0.1:PORT/app"

@pytest.mark.gate("fixed")
def test_fixed(base_url):
    assert base_url
"""


def test_what_cannot_be_of_each_target_is_not_green(product, sites):
    names = ("case", "held", "fixed")
    product.gates("predeploy", *(f"id: {name}, title: {name}, test: smoke/test_{name[0]}.py" for name in names))
    product.write("smoke/test_c.py", CASE)
    product.write("smoke/test_h.py", HELD)
    product.write("smoke/test_f.py", FIXED.replace("PORT", str(sites["prod-eu"].server_port)))
    ran = product.pytest("-m", "predeploy", *FLEET)
    held = {"held test_held[1]": "passed", "held test_held[2]": "passed"}
    assert statuses(product) == {
        "prod-eu": {"case TestCase.test_it": "error", **held, "fixed test_fixed": "passed"},
        "prod-us": {"case TestCase.test_it": "error", **held, "fixed test_fixed": "error"},
    }
    assert ran.has("test_it takes no parameters", "the fixture base_url gives another URL than that of prod-us")
    assert ran.has("case setup failed: OSError: cannot be closed")
    assert (ran.code, ran.has("in all HOLD: 0 of 2 targets ok")) == (10, True)


def test_a_target_without_its_address_is_an_error_there(product, sites):
    product.gates("predeploy", HEALTH)
    text = (product.root / "gates/environments.yaml").read_text()
    url = f"http://127.0.0.1:{sites['prod-us'].server_port}"
    product.write("gates/environments.yaml", text.replace(url, "${env:US_URL}"))
    ran = product.pytest("-m", "predeploy", *FLEET)
    assert (ran.code, statuses(product)) == (10, {"prod-eu": {"health": "passed"}, "prod-us": {"health": "error"}})
    same = product.pytest("-m", "predeploy", *FLEET, US_URL=f"http://127.0.0.1:{sites['prod-eu'].server_port}")
    assert (same.code, same.has("prod-eu and prod-us have the same base URL")) == (0, True)


def test_by_path_a_fleet_is_a_rehearsal(product, sites):
    product.gates("predeploy", HEALTH, NOTES, PYTHON)
    product.write("smoke/test_py.py", GREETING)
    sites["prod-us"].broken = True
    ran = product.pytest("gates", "smoke", "--env", "prod", "-v", "-n2")
    assert ran.has("health[prod-eu]", "health[prod-us]", "a rehearsal", "7 passed", "1 failed")
    one = product.pytest("gates/predeploy.yaml::health[prod-eu]", "--env", "prod")
    unnamed = product.pytest("gates", RELEASEGATE_ENV="prod-eu,prod-us")
    assert unnamed.has("'prod-eu' is protected", "'prod-us' is protected", "--env prod-eu,prod-us")
    assert (ran.code, one.code, unnamed.code) == (1, 10, 4), "in prod-us nothing was looked at"
    assert not (product.root / ".releasegate" / "record.db").exists()


def test_nothing_begins_where_one_target_cannot(product, sites):
    product.gates("predeploy", HEALTH)
    wrong = product.pytest("-m", "predeploy", "--base-url", "prod-eu,prod-uk")
    assert (wrong.code, wrong.has("nothing was executed", "unknown environment 'prod-uk'")) == (4, True)
    assert not (product.root / ".releasegate" / "record.db").exists()
    assert product.pytest("-m", "predeploy", "--env", "prod-us").code == 0
    product.gates("predeploy", HEALTH, NOTES)
    frozen = product.pytest("-m", "predeploy", *FLEET)
    assert (frozen.code, frozen.has("the plan of 1.4.0/prod-us is frozen", "+ notes Notes")) == (4, True)
    assert [row[0] for row in rows(product, ENDED)] == ["prod-us"]


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_allure_keeps_targets_apart(product, sites, workers):
    product.gates("predeploy", HEALTH, NOTES)
    sites["prod-us"].broken = True
    words = ("--deselect", "gates/predeploy.yaml::notes[prod-us]", "--alluredir", "out", *workers)
    plugins = [word for name in UNUSED if name != "allure_pytest" for word in ("-p", f"no:{name}")]
    product._run("pytest", *plugins, "-m", "predeploy", *FLEET, *words)
    read = [json.loads(path.read_text("utf-8")) for path in (product.root / "out").glob("*-result.json")]
    shown = {}
    for result in read:
        (target,) = [one["value"] for one in result["parameters"] if one["name"] == "environment"]
        shown[result["name"], target] = result["status"]
    assert shown == {
        ("health Healthy", "prod-eu"): "passed",
        ("health Healthy", "prod-us"): "failed",
        ("notes Notes", "prod-eu"): "passed",
        ("notes Notes", "prod-us"): "broken",  # missing
    }
    assert len({result["historyId"] for result in read}) == len(read) == 4
    properties = (product.root / "out" / "environment.properties").read_text()
    assert re.findall(r"^Decision.*$", properties, re.MULTILINE) == [
        r"Decision\ [prod-eu]=GO",
        r"Decision\ [prod-us]=NO-GO",
    ]


def test_times_steps_and_writes_are_of_each_target(product, sites):
    product.gates("deploy", "id: once, title: Once, writes: true, http: /healthz", head="step: before")
    product.gates("postdeploy", HEALTH)
    product.releasegate("open", "1.4.0", "--env", "prod-us")
    product.pytest("-m", "deploy", "--env", "prod-us")
    assert product.releasegate("deployed", "--env", "prod-us").code == 0
    ran = product.pytest("-m", "postdeploy or deploy", *FLEET)
    told = {"health": "error", "once": "passed"}
    assert statuses(product) == {"prod-eu": told, "prod-us": {"health": "passed", "once": "passed"}}
    assert rows(product, "select count(*) from starts") == [(2,)], "once in each"
    assert ran.code == 10
