"""Under xdist: the same record and verdict, and no lost test is ever green."""

from __future__ import annotations

import pytest

MANY = [f"id: g{number:02}, title: Gate {number}, document: NOTES.md" for number in range(12)]
CRASH = 'import os\nimport pytest\n\n@pytest.mark.gate("crash")\ndef test_crash():\n    os._exit(7)\n'


def _facts(product):
    return sorted(
        (result.gate, result.case, result.status.value, result.findings, [one.sha256 for one in result.evidence])
        for result in product.results()
    )


def test_two_workers_give_the_same_record_and_verdict(product, tmp_path):
    product.gates(
        "predeploy", *MANY, "id: bad, title: Bad, document: gone.md", "id: py, title: Py, test: smoke/test_py.py"
    )
    product.write(
        "smoke/test_py.py",
        'import pytest\n\n@pytest.mark.gate("py")\ndef test_py(gate_context):\n'
        '    gate_context.attach("a.txt", "text/plain", b"a")\n',
    )
    one = product.pytest("-m", "predeploy")
    serial = _facts(product)
    two = product.pytest("-m", "predeploy", "-n2", "--record", "two.db")
    words = [product.releasegate("status", *more).out for more in ([], ["--record", "two.db"])]
    assert words[0].partition("phase")[2] == words[1].partition("phase")[2] != ""
    assert product.releasegate("verify", "--record", "two.db").code == 0
    (product.root / ".releasegate" / "record.db").unlink()
    (product.root / "two.db").rename(product.root / ".releasegate" / "record.db")
    assert (one.code, two.code) == (1, 1)
    assert _facts(product) == serial
    assert not list((product.root / ".releasegate" / "journal").glob("run-*"))


def test_a_worker_that_dies_makes_an_error_and_the_rest_still_runs(product):
    product.gates("predeploy", *MANY, "id: crash, title: Crash, test: smoke/test_crash.py")
    product.write("smoke/test_crash.py", CRASH)
    ran = product.pytest("-m", "predeploy", "-n2")
    statuses = product.statuses()
    assert (ran.code, statuses.pop("crash test_crash")) == (10, "error")
    assert set(statuses.values()) == {"passed"}
    assert ran.has("the worker crashed while looking")


def test_a_rehearsal_of_a_release_that_the_record_does_not_know(product):
    product.gates("predeploy", *MANY[:2])
    product.releasegate("open", "1.3.0")
    ran = product.pytest("gates", "-n2")
    assert (ran.code, ran.has("2 passed", "a rehearsal")) == (0, True), ran.out


def test_lost_tests_are_noticed_when_no_worker_is_replaced(product):
    product.gates("predeploy", "id: crash, title: Crash, test: smoke/test_crash.py", *MANY)
    product.write("smoke/test_crash.py", CRASH.replace("os._exit(7)", "import time; time.sleep(0.5); os._exit(7)"))
    ran = product.pytest("-m", "predeploy", "-n1", "--max-worker-restart=0")
    assert ran.code == 10
    assert len(product.statuses()) == 13
    assert "error" in product.statuses().values()


def test_a_value_that_cannot_be_sent_does_not_turn_a_failure_green(product):
    product.gates("predeploy", "id: odd, title: Odd, test: smoke/test_odd.py")
    body = "    record_property('path', pathlib.Path('/x'))\n    assert False, 'this must stay red \\udcff'\n"
    product.write(
        "smoke/test_odd.py",
        f'import pathlib\nimport pytest\n\n@pytest.mark.gate("odd")\ndef test_odd(record_property):\n{body}',
    )
    ran = product.pytest("-m", "predeploy", "-n2")
    assert ran.code in {1, 10}
    assert product.statuses().get("odd test_odd") in {"failed", "error"}


def test_everything_skipped_is_not_green(product):
    product.gates("predeploy", "id: s, title: S, test: smoke/test_s.py")
    product.write(
        "smoke/test_s.py",
        'import pytest\n\n@pytest.mark.gate("s")\n@pytest.mark.skip(reason="later")\ndef test_s():\n    pass\n',
    )
    assert product.pytest("-m", "predeploy", "-n2").code == 10
    assert product.pytest("-m", "predeploy").code == 10
    assert set(product.statuses().values()) == {"inconclusive"}


@pytest.mark.parametrize("dist", ["loadfile", "loadscope", "loadgroup", "each"])
def test_ways_that_repeat_or_lose_gates_are_refused(product, dist):
    product.gates("predeploy", MANY[0])
    words = ("-n2", "--dist", dist) if dist != "each" else ("--tx", "2*popen", "--dist", "each")
    ran = product.pytest("-m", "predeploy", *words)
    assert (ran.code, ran.has(f"--dist {dist} repeats or loses gates")) == (4, True)


def test_a_gate_waits_for_what_it_needs_on_another_worker(product):
    slow = 'import time\nimport pytest\n\n@pytest.mark.gate("first")\ndef test_first():\n    time.sleep(1.5)\n'
    product.write("smoke/test_first.py", slow)
    needing = [f"id: then{number}, title: Then, needs: [first], document: NOTES.md" for number in range(4)]
    product.gates("predeploy", "id: first, title: First, test: smoke/test_first.py", *needing)
    ran = product.pytest("-m", "predeploy", "-n2")
    assert (ran.code, set(product.statuses().values())) == (0, {"passed"}), ran.out
    ends = {result.gate: result.started_at for result in product.results()}
    assert min(ends[f"then{number}"] for number in range(4)) > ends["first"]


NEEDING = ["id: first, title: First, document: NOTES.md", "id: then, title: Then, needs: [first], document: NOTES.md"]
KEPT = {
    "deselected": ("", ["--deselect", "gates/predeploy.yaml::first"], "needs first, which is missing"),
    "skipped": ("items[0].add_marker(pytest.mark.skip(reason='later'))", [], "needs first, which is inconclusive"),
    "behind": ("items.reverse()", [], "needs first, which is missing"),
    "case": ("del items[1]", [], "needs py, which is missing"),
}


@pytest.mark.parametrize("how", KEPT)
def test_nobody_waits_for_a_gate_that_will_not_come(product, how):
    """It would be for ten minutes; what was not looked at is not green all the same."""
    body, words, said = KEPT[how]
    product.gates("predeploy", *NEEDING)
    if how == "case":
        cases = '@pytest.mark.gate("py")\n@pytest.mark.parametrize("n", [1, 2])\ndef test_py(n):\n    pass\n'
        product.write("smoke/test_py.py", f"import pytest\n\n{cases}")
        product.gates("predeploy", "id: py, title: Py, test: smoke/test_py.py", NEEDING[1].replace("[first]", "[py]"))
    hook = "@pytest.hookimpl(trylast=True)\ndef pytest_collection_modifyitems(items):\n"
    product.write("conftest.py", f"import pytest\n\n{hook}    {body or 'pass'}\n")
    ran = product.pytest("-m", "predeploy", "-n2", *words)
    assert (ran.code, ran.has(said)) == (10, True), ran.out


def test_a_gate_that_something_broke_or_skipped_is_told_with_the_reason(product):
    product.gates("predeploy", *(f"id: {name}, title: T, document: NOTES.md" for name in ("a", "b", "c")))
    product.write(
        "conftest.py",
        "import pytest\n\ndef pytest_runtest_setup(item):\n"
        "    if item.name == 'a':\n        raise OSError('no tunnel')\n"
        "    if item.name == 'b':\n        pytest.skip('later')\n\n"
        "def pytest_runtest_call(item):\n    if item.name == 'c':\n        pytest.fail('took too long')\n",
    )
    product.pytest("-m", "predeploy")
    assert {result.gate: (result.status.value, result.message) for result in product.results()} == {
        "a": ("error", "setup failed: OSError: no tunnel"),
        "b": ("inconclusive", "skipped: later"),
        "c": ("error", "its look failed: took too long"),
    }
