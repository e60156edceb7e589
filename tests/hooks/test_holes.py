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
