"""Ways in which a run could end green without a look; each was open once, or is open elsewhere."""

from __future__ import annotations

import pytest

GOOD = "id: 6.1.1, title: Release notes there, document: NOTES.md"
TEST = "id: t, title: T, test: smoke/test_a.py"


def mark(body: str, gate: str = "t") -> str:
    """A test file with one gate."""
    return f'import os\nimport pytest\n\n@pytest.mark.gate("{gate}")\n{body}\n'


def test_a_python_gate_waits_for_the_deployment_too(product):
    product.gates("postdeploy", TEST)
    product.write("smoke/test_a.py", mark("def test_a():\n    pass"))
    ran = product.pytest("-m", "postdeploy")
    assert (ran.code, ran.has("the record does not know when the deployment was")) == (10, True)


def test_a_python_gate_needs_what_it_needs(product):
    product.gates("predeploy", "id: doc, title: D, document: gone.md", f"{TEST}, needs: [doc]")
    product.write("smoke/test_a.py", mark("def test_a():\n    pass"))
    product.pytest("-m", "predeploy")
    assert product.statuses() == {"doc": "failed", "t test_a": "error"}


def test_a_python_gate_that_is_not_due_is_not_looked_at(product):
    product.gates("review", f"{TEST}, due: 48h")
    product.write("smoke/test_a.py", mark("def test_a():\n    pass"))
    product.releasegate("open", "1.4.0")
    product.releasegate("deployed")
    assert (product.pytest("-m", "review").code, product.statuses()) == (10, {})


def test_a_word_from_before_the_deployment_says_nothing_after_it(product):
    product.gates("postdeploy", "id: w, title: W, attest: {role: boss}")
    product.releasegate("open", "1.4.0")
    product.releasegate("attest", "w", "--status", "passed")
    assert product.pytest("-m", "postdeploy").code == 10
    product.releasegate("deployed")
    assert product.pytest("-m", "postdeploy").code == 10
    product.releasegate("attest", "w", "--status", "passed")
    assert product.pytest("-m", "postdeploy").code == 0


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a": mark('@pytest.mark.parametrize("t", ["a::b", "a.b"])\ndef test_a(t):\n    pass')}, "same case"),
        ({"a": mark("def test_a():\n    pass"), "b": mark("def test_a():\n    pass")}, "in smoke/test_a.py alone"),
    ],
)
def test_two_cases_that_look_the_same_are_a_broken_plan(product, files, said):
    product.gates("predeploy", TEST)
    for name, text in files.items():
        product.write(f"smoke/test_{name}.py", text)
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has(said)) == (4, True), ran.out


def test_what_addopts_deselect_stays_in_the_plan(product):
    product.gates("predeploy", TEST)
    product.write(
        "smoke/test_a.py",
        mark('@pytest.mark.parametrize("t", ["good", "bad"])\ndef test_a(t):\n    assert t == "good"'),
    )
    product.write(
        "pytest.ini", "[pytest]\nreleasegate_release = 1.4.0\naddopts = --deselect smoke/test_a.py::test_a[bad]\n"
    )
    assert product.pytest("-m", "predeploy").code == 10


@pytest.mark.parametrize("how", ["skip", "plan"])
def test_an_earlier_pass_does_not_cover_a_gate_that_was_kept_from_looking(product, how):
    product.gates("predeploy", GOOD)
    assert product.pytest("-m", "predeploy").code == 0
    (product.root / "NOTES.md").unlink()
    if how == "skip":
        product.write(
            "conftest.py", "import pytest\n\ndef pytest_runtest_setup(item):\n    pytest.skip('maintenance')\n"
        )
        assert product.pytest("-m", "predeploy").code == 10
    else:
        assert product.pytest("-m", "predeploy", "--setup-plan").code == 10


def test_returning_false_is_no_pass(product):
    product.gates("predeploy", TEST)
    product.write("smoke/test_a.py", mark("def test_a():\n    return False"))
    assert product.pytest("-m", "predeploy").code == 1


@pytest.mark.parametrize("ok", ["'no'", "'cannot tell'", "'perhaps'", "None"])
def test_a_finding_is_taken_by_its_word(product, ok):
    product.gates("predeploy", TEST)
    product.write("smoke/test_a.py", mark(f"def test_a(finding):\n    finding('n', expected=1, actual=2, ok={ok})"))
    assert product.pytest("-m", "predeploy").code in {1, 10}


def test_a_test_whose_body_never_ran_was_not_looked_at(product):
    product.gates("predeploy", TEST)
    fixture = "@pytest.fixture\ndef seen(finding):\n    finding('n', expected=1, actual=1, ok=True)\n"
    body = f'import pytest\n\n{fixture}\n@pytest.mark.gate("t")\ndef test_a(seen):\n    assert 0\n'
    product.write("smoke/test_a.py", body)
    assert product.pytest("-m", "predeploy", "--setup-only").code == 10


@pytest.mark.parametrize(
    "conftest",
    [
        "import pytest\n\ndef pytest_sessionstart(session):\n    pytest.exit('target down', returncode=0)\n",
        "import pytest\n\ndef pytest_sessionfinish(session):\n    pytest.exit('bye', returncode=0)\n",
        "import pytest\n\n@pytest.hookimpl(wrapper=True, tryfirst=True)\ndef pytest_sessionfinish(session):\n"
        "    yield\n    session.exitstatus = 0\n",
        "import pytest\n\n@pytest.hookimpl(wrapper=True)\ndef pytest_runtest_makereport(item, call):\n"
        "    report = yield\n    report.outcome = 'passed'\n    return report\n",
    ],
)
def test_nobody_ends_a_red_run_as_a_success(product, conftest):
    product.gates("predeploy", TEST)
    product.write("smoke/test_a.py", mark("def test_a():\n    assert 0"))
    product.write("conftest.py", conftest)
    assert product.pytest("-m", "predeploy").code in {1, 4, 10}


def test_a_url_of_somewhere_else_is_a_rehearsal(product):
    product.gates("predeploy", GOOD)
    ran = product.pytest("-m", "predeploy", "--env", "demo", "--base-url", "http://127.0.0.1:10")
    assert ran.has("another URL than the environment's own was named, nothing is recorded")
    assert not (product.root / ".releasegate" / "record.db").exists()


def test_gates_where_nobody_looks_are_told(product):
    product.gates("predeploy", GOOD)
    product.write("gates/more/y.yaml", "phase: predeploy\nitems: []\n")
    product.write("gates/policy.yaml", "phase: predeploy\nitems: []\n")
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has("a gate file in a subfolder", "gates in policy.yaml")) == (4, True)


def test_a_span_of_nothing_is_no_span(product):
    product.gates("predeploy", f"{GOOD}, valid_for: 0s")
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has("expected a duration above zero")) == (4, True)


def test_a_rehearsal_with_a_gate_that_was_skipped_is_on_hold(product):
    product.gates("predeploy", GOOD, TEST)
    product.write("smoke/test_a.py", mark("def test_a():\n    pytest.skip('later')"))
    assert product.pytest("gates", "smoke").code == 10


def test_the_recorder_cannot_be_switched_off(product):
    product.gates("predeploy", GOOD)
    assert product.pytest("-m", "predeploy", "-p", "no:releasegate-recorder").code == 4


BODIES = {
    "a returned value": "@pytest.mark.gate('1.1')\ndef test_a():\n    return False\n",
    "a coroutine in a test case": (
        "import unittest\n\nclass T(unittest.TestCase):\n    @pytest.mark.gate('1.1')\n"
        "    async def test_a(self):\n        assert False\n"
    ),
    "a generator in a test case": (
        "import unittest\n\nclass T(unittest.TestCase):\n    @pytest.mark.gate('1.1')\n"
        "    def test_a(self):\n        self.fail('x')\n        yield\n"
    ),
    "a value in a test case": (
        "import unittest\n\nclass T(unittest.TestCase):\n    @pytest.mark.gate('1.1')\n"
        "    def test_a(self):\n        return False\n"
    ),
}


@pytest.mark.parametrize("words", [(), ("-p", "no:warnings"), ("-n", "2")])
@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_asserted_nothing_is_no_pass(product, name, words):
    product.gates("predeploy", "id: '1.1', title: A, test: smoke/test_a.py")
    head = "import pytest\n\npytestmark = pytest.mark.filterwarnings('ignore')\n\n"
    product.write("smoke/test_a.py", head + BODIES[name])
    ran = product.pytest("-m", "predeploy", *words)
    assert ran.code in {1, 10}, ran.out
    assert set(product.statuses().values()) & {"failed", "error"}


SWALLOWS = {
    "call": (
        "@pytest.hookimpl(wrapper=True)\ndef pytest_runtest_call(item):\n"
        "    try:\n        return (yield)\n    except BaseException:\n        return None\n"
    ),
    "function": "@pytest.hookimpl(tryfirst=True)\ndef pytest_pyfunc_call(pyfuncitem):\n    return True\n",
}


@pytest.mark.parametrize("name", SWALLOWS)
def test_a_conftest_that_swallows_what_a_test_says_makes_no_pass(product, name):
    product.gates("predeploy", "id: '1.1', title: A, test: smoke/test_a.py")
    product.write("smoke/test_a.py", "import pytest\n\n@pytest.mark.gate('1.1')\ndef test_a():\n    assert 0\n")
    product.write("conftest.py", f"import pytest\n\n{SWALLOWS[name]}")
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, list(product.statuses().values())) == (1, ["failed"]), ran.out


def test_a_body_that_is_awaited_or_inherited_passes(product):
    product.gates("predeploy", *[f"id: '1.{n}', title: A, test: smoke/test_a.py" for n in (1, 2, 3)])
    text = (
        "import unittest\nimport pytest\n\n"
        "class T(unittest.IsolatedAsyncioTestCase):\n    @pytest.mark.gate('1.1')\n"
        "    async def test_a(self):\n        self.assertTrue(True)\n\n"
        "class TestB:\n    @pytest.mark.gate('1.2')\n    def test_b(self, tmp_path):\n        assert tmp_path\n\n"
        "@pytest.mark.parametrize('n', [1, 2])\n@pytest.mark.gate('1.3')\ndef test_c(n):\n    assert n\n"
    )
    product.write("smoke/test_a.py", text)
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, set(product.statuses().values())) == (0, {"passed"}), ran.out


def test_ids_that_differ_by_blanks_are_the_same(product):
    product.gates("predeploy", "id: '1.1 ', title: A, attest: {role: boss}", "id: '1.1', title: B, document: NOTES.md")
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has("gate id '1.1' is given twice")) == (4, True), ran.out


def test_a_python_without_assertions_is_refused(product):
    product.gates("predeploy", "id: '1.1', title: A, document: NOTES.md")
    ran = product.pytest("-m", "predeploy", PYTHONOPTIMIZE="1")
    assert (ran.code, ran.has("leaves out `assert`")) == (4, True), ran.out


def test_a_run_that_was_stopped_early_is_not_green(product):
    product.gates("predeploy", "id: '1.2', title: B, document: NOTES.md")
    product.pytest("-m", "predeploy")
    product.gates("predeploy", "id: '1.1', title: A, observe: true, document: gone.md", name="a")
    product.pytest("-m", "predeploy")
    ran = product.pytest("-m", "predeploy", "-x")
    assert (ran.code, ran.has("stopped before 1 of its gates were looked at")) == (10, True), ran.out


def test_secrets_in_skips_and_in_what_is_kept_are_struck_out(product):
    product.gates(
        "predeploy", "id: '1.1', title: A, test: smoke/test_a.py", "id: '1.2', title: B, test: smoke/test_a.py"
    )
    text = (
        "import pytest\n\n@pytest.mark.gate('1.1')\ndef test_a(gate_context):\n"
        "    pytest.skip('with ' + gate_context.resolve('${env:HUSH}'))\n\n"
        "@pytest.mark.gate('1.2')\ndef test_b(gate_context):\n"
        "    gate_context.keep('k', {'p': gate_context.resolve('${env:HUSH}')})\n"
    )
    product.write("smoke/test_a.py", text)
    ran = product.pytest("-m", "predeploy", "-rs", "-v", HUSH="very-hush-hush")
    assert "very-hush-hush" not in ran.out
    assert b"very-hush-hush" not in (product.root / ".releasegate" / "record.db").read_bytes()


@pytest.mark.parametrize("how", ["item", "case", "module"])
def test_an_earlier_pass_does_not_cover_a_gate_that_was_left_out(product, how):
    product.gates("predeploy", TEST, GOOD)
    whole = mark("@pytest.mark.parametrize('t', [1, 2])\ndef test_a(t):\n    assert t")
    product.write("smoke/test_a.py", whole)
    assert product.pytest("-m", "predeploy").code == 0
    drop = "def pytest_collection_modifyitems(items):\n    items[:] = [i for i in items if {}]\n"
    skip = "import os, pytest\n\nif 'RG_OFF' in os.environ:\n    pytest.skip(allow_module_level=True)\n"
    path, text = {
        "item": ("conftest.py", drop.format("i.name != '6.1.1'")),
        "case": ("conftest.py", drop.format("'test_a[2]' not in i.name")),
        "module": ("smoke/test_a.py", skip + whole),
    }[how]
    product.write(path, text)
    ran = product.pytest("-m", "predeploy", RG_OFF="1")
    assert (ran.code, ran.has("left it out")) == (10, True), ran.out


def test_a_run_that_leaves_gates_out_says_how_many_it_looked_at(product):
    product.gates("predeploy", TEST, GOOD)
    product.write("smoke/test_a.py", mark("def test_a():\n    assert 1"))
    assert product.pytest("-m", "predeploy").has("scope ok: 2 of 2 gates\n")
    ran = product.pytest("-m", "predeploy", "-k", "6.1.1")
    told = "scope ok: 2 of 2 gates 2 passed 1 of them passed in an earlier run, not looked at now"
    assert (ran.code, ran.has(told)) == (0, True), ran.out


WRITES = "id: t, title: T, test: smoke/test_a.py, writes: true"
COUNTING = mark(
    "def test_a():\n    with open('runs.txt', 'a') as file:\n        file.write('x')\n"
    "    if 'RG_DIE' in os.environ:\n        os._exit(1)\n    assert 'RG_BAD' not in os.environ"
)


def test_a_gate_that_writes_runs_once_until_its_step_is_reopened(product):
    product.gates("deploy", WRITES, head="step: after")
    product.write("smoke/test_a.py", COUNTING)
    by_path = product.pytest("smoke/test_a.py")
    assert (by_path.code, by_path.has("t writes, and a rehearsal leaves no row")) == (1, True), by_path.out
    assert product.pytest("-m", "deploy", RG_BAD="1").code == 1
    assert product.pytest("-m", "deploy").code == 1
    assert (product.root / "runs.txt").read_text() == "x"
    assert product.releasegate("reopen", "deploy/after", "--reason", "mended").code == 0
    assert product.pytest("-m", "deploy", "-n", "1").code == 0
    assert product.pytest("-m", "deploy", "-n", "1").code == 0
    assert (product.root / "runs.txt").read_text() == "xx"


def test_a_gate_that_writes_and_was_killed_is_not_begun_again(product):
    product.gates("predeploy", WRITES)
    product.write("smoke/test_a.py", COUNTING)
    product.pytest("-m", "predeploy", RG_DIE="1")
    ran = product.pytest("-m", "predeploy")
    told = ("t writes, and was begun", "see what it has done, then releasegate reopen predeploy --reason")
    assert (ran.code, ran.has(*told), (product.root / "runs.txt").read_text()) == (10, True, "x"), ran.out
    assert product.releasegate("reopen", "predeploy", "--reason", "nothing had happened").code == 0
    assert product.pytest("-m", "predeploy").code == 0
    assert product.releasegate("verify").code == 0
