"""Gates that a Python test declares itself."""

from __future__ import annotations

import pytest

GOOD = "id: 6.1.1, title: Release notes there, document: NOTES.md"
KEYS = 'title="Invoices add up", phase="deploy", step="after", severity="medium", topics=["billing"]'
DECLARED = f'''"""Billing after the release."""
import pytest


@pytest.mark.gate("10.9.1", {KEYS})
@pytest.mark.parametrize("month", [1, 2])
def test_invoices(month):
    assert month != 2, "off by a cent"
'''
BARE = '''"""Night jobs."""
import pytest

pytestmark = [pytest.mark.predeploy, pytest.mark.critical, pytest.mark.smoke]


class TestQueue:
    def test_is_empty(self):
        """The queue is empty."""


def test_workers_run():
    assert True
'''


def test_a_test_declares_its_gate_by_keywords(product):
    product.gates("predeploy", GOOD)
    product.write("smoke/test_billing.py", DECLARED)
    ran = product.pytest("-m", "deploy and billing")
    assert (ran.code, ran.has("10.9 Billing after the release", "off by a cent")) == (10, True), ran.out
    assert product.statuses() == {"10.9.1 test_invoices[1]": "passed", "10.9.1 test_invoices[2]": "failed"}
    listed = product.releasegate("gates", "-m", "deploy")
    assert listed.has("deploy after", "10.9.1 medium Invoices add up test smoke/test_billing.py, 2 cases"), listed.out


def test_a_bare_marker_of_a_phase_makes_gates_of_tests_in_the_folders_of_gates(product):
    product.gates("predeploy", GOOD)
    product.write("smoke/test_jobs.py", BARE)
    product.write("tests/test_other.py", BARE)
    ran = product.pytest("-m", "predeploy", "-n", "1")
    assert (ran.code, ran.has("scope ok: 3 of 3 gates", "smoke.test_jobs Night jobs 2 passed")) == (0, True), ran.out
    assert product.statuses() == {
        "6.1.1": "passed",
        "smoke.test_jobs.TestQueue.test_is_empty TestQueue.test_is_empty": "passed",
        "smoke.test_jobs.test_workers_run test_workers_run": "passed",
    }
    listed = product.releasegate("gates", "-m", "smoke and critical")
    assert listed.has("The queue is empty", "Workers run", "2 gates: 2 looked at")


def test_a_plain_run_leaves_them_alone(product):
    product.gates("predeploy", GOOD)
    product.write("smoke/test_jobs.py", BARE)
    product.write("tests/test_other.py", "def test_other():\n    assert True\n")
    ran = product.pytest()
    assert (ran.code, ran.has("1 passed, 2 deselected")) == (0, True), ran.out


def test_a_suite_without_a_gates_folder_is_left_as_it_is(product):
    product.write("smoke/test_jobs.py", BARE)
    product.write("smoke/test_billing.py", DECLARED)
    (product.root / "gates" / "environments.yaml").unlink()
    (product.root / "gates").rmdir()
    product.write("pytest.ini", "[pytest]\n")
    ran = product.pytest()
    assert (ran.code, ran.has("1 failed, 3 passed")) == (1, True), ran.out


def test_gates_of_tests_alone_are_a_plan(product):
    product.write("smoke/test_jobs.py", BARE)
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has("phase predeploy: GO")) == (0, True), ran.out


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ('title="T"', "missing key 'phase'"),
        ('title="T", phase="deploy"', "missing key 'step' of phase deploy"),
        ('title="T", phase="predeploy", sverity="high"', "unknown key 'sverity' did you mean 'severity'"),
        ('title="T", phase="predeploy", severity="urgent"', "expected critical, high, medium or low"),
        ('title="T", phase="predeploy", needs=["9"]', "gate 1.1 needs '9', which is no gate"),
    ],
)
def test_what_is_wrong_with_a_declaration_is_told_with_its_place(product, keywords, said):
    product.gates("predeploy", GOOD)
    body = f'import pytest\n\n@pytest.mark.gate("1.1", {keywords})\ndef test_a(): ...\n'
    product.write("smoke/test_a.py", body)
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has("smoke/test_a.py:3", said)) == (4, True), ran.out


def test_a_gate_is_declared_in_one_place(product):
    product.gates("predeploy", GOOD)
    one = '@pytest.mark.gate("{}", title="T", phase="predeploy", severity="{}")\ndef test_{}():\n    pass\n\n\n'
    product.write("smoke/test_a.py", "import pytest\n\n" + one.format("6.1.1", "low", "a"))
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has("gate id '6.1.1' is given twice", "first at gates/predeploy.yaml")) == (4, True), ran.out
    product.write("smoke/test_a.py", "import pytest\n\n" + one.format("1", "low", "a") + one.format("1", "high", "b"))
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has("smoke/test_a.py:8", "gate 1 is declared otherwise")) == (4, True), ran.out


def test_a_deleted_test_is_noticed(product):
    product.gates("predeploy", GOOD)
    product.write("smoke/test_jobs.py", BARE)
    assert product.pytest("-m", "predeploy", "--env", "prod").code == 0
    (product.root / "smoke" / "test_jobs.py").unlink()
    ran = product.pytest("-m", "predeploy", "--env", "prod")
    assert (ran.code, ran.has("is frozen", "- smoke.test_jobs.test_workers_run Workers run")) == (4, True), ran.out


def test_a_module_that_may_declare_gates_and_cannot_be_imported_stops_the_plan(product):
    product.gates("predeploy", GOOD)
    product.write("smoke/test_jobs.py", BARE + "\nimport nothing_of_this_name\n")
    ran = product.pytest("-m", "predeploy")
    said = "smoke/test_jobs.py:1:1: cannot be imported, so that nobody knows which gates it declares"
    assert (ran.code, ran.has(said, "nothing_of_this_name")) == (4, True), ran.out
    product.write("smoke/test_jobs.py", "import nothing_of_this_name\n")
    assert product.pytest("-m", "predeploy").code == 1  # an ordinary module that is broken
