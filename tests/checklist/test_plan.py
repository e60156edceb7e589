"""The plan: gates and Python tests match both ways, or nothing is frozen; differences and digests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_releasegate.checklist.plan import differences, freeze
from pytest_releasegate.checklist.python_gates import PythonGates
from pytest_releasegate.errors import BrokenPlan
from pytest_releasegate.model import Plan

GATES = """
phase: predeploy
items:
  - item: "1"
    title: T
    gates:
      - {id: "1.1", title: Looked at by a test, test: smoke/test_a.py}
      - {id: "1.2", title: Looked at by a check, http: /x}
"""


@pytest.fixture
def checklist(product: Any) -> Any:
    """One gate with a test and one without."""
    product.write("smoke/test_a.py", "")
    return product.load(GATES)


def bearing(*rows: tuple[str, str, str, int]) -> PythonGates:
    found = PythonGates()
    for gate, file, case, line in rows:
        found.add(gate, file, case, line)
    return found


ONE = ("1.1", "smoke/test_a.py", "test_it", 3)


def told(checklist: Any, python: PythonGates) -> list[str]:
    with pytest.raises(BrokenPlan) as broken:
        freeze(checklist, python)
    return str(broken.value).splitlines()


def test_plan_holds_every_gate_with_its_cases(checklist: Any) -> None:
    plan = freeze(checklist, bearing(ONE, ("1.1", "smoke/test_a.py", "test_it[b]", 3)))
    assert [(planned.gate.id, planned.cases) for planned in plan.gates] == [
        ("1.1", ("test_it", "test_it[b]")),
        ("1.2", ("",)),
    ]
    assert [planned.digest for planned in plan.gates] == [declared.digest for declared in checklist.declarations]
    assert set(plan.by_id()) == {"1.1", "1.2"}


def test_gate_that_no_test_bears(checklist: Any) -> None:
    assert told(checklist, bearing()) == [
        "gates/a.yaml:6:9: gate 1.1: no test in smoke/test_a.py bears it",
        '    mark one: @pytest.mark.gate("1.1")',
    ]


def test_gate_whose_test_stands_elsewhere(checklist: Any) -> None:
    assert told(checklist, bearing(("1.1", "smoke/test_b.py", "test_it", 3))) == [
        "gates/a.yaml:6:9: gate 1.1: expected its tests in smoke/test_a.py alone, got smoke/test_b.py"
    ]


def test_test_whose_mark_names_nothing(checklist: Any) -> None:
    assert told(checklist, bearing(ONE, ("1.11", "smoke/test_a.py", "test_no", 7))) == [
        'smoke/test_a.py:7:1: @pytest.mark.gate("1.11") names no `test:` gate',
        "    did you mean '1.1'? known: 1.1",
    ]


def test_test_whose_mark_names_a_gate_of_another_kind(checklist: Any) -> None:
    assert told(checklist, bearing(ONE, ("1.2", "smoke/test_a.py", "test_no", 7))) == [
        'smoke/test_a.py:7:1: @pytest.mark.gate("1.2") names no `test:` gate',
        "    1.2 is looked at by `http` (gates/a.yaml:7:9)",
    ]


def test_all_mismatches_are_told_in_the_order_of_their_places(checklist: Any) -> None:
    python = bearing(("9", "smoke/b.py", "x", 2), ("9", "smoke/a.py", "x", 4), ("8", "smoke/a.py", "y", 9))
    heads = [line.partition(" ")[0] for line in told(checklist, python) if not line.startswith(" ")]
    assert heads == ["gates/a.yaml:6:9:", "smoke/a.py:4:1:", "smoke/a.py:9:1:", "smoke/b.py:2:1:"]


def test_module_that_cannot_be_imported_keeps_its_gate_in_the_plan(checklist: Any) -> None:
    python = bearing()
    python.broken["smoke/test_a.py"] = "ModuleNotFoundError: No module named 'x'"
    planned = freeze(checklist, python).by_id()["1.1"]
    assert planned.cases == ("",)


def test_other_broken_modules_do_not_excuse_a_gate(checklist: Any) -> None:
    python = bearing()
    python.broken["smoke/test_b.py"] = "SyntaxError"
    assert len(told(checklist, python)) == 2


def test_digest_is_that_of_gates_and_cases_in_any_order(checklist: Any) -> None:
    two = ("1.1", "smoke/test_a.py", "test_it[b]", 3)
    plan = freeze(checklist, bearing(ONE, two))
    other_order = replace(checklist, declarations=checklist.declarations[::-1])
    assert freeze(other_order, bearing(two, ONE)).digest == plan.digest
    assert freeze(checklist, bearing(ONE)).digest != plan.digest


def test_digest_changes_with_each_declared_gate(product: Any, checklist: Any) -> None:
    digests = {
        freeze(product.load(text), bearing(ONE)).digest
        for text in (GATES, GATES.replace("/x", "/y"), GATES.replace("by a test", "by test"), GATES + GATES[-1:] * 3)
    }
    fewer = replace(checklist, declarations=checklist.declarations[:1])
    assert len(digests | {freeze(fewer, bearing(ONE)).digest}) == 4


def test_differences(product: Any, checklist: Any) -> None:
    old = freeze(checklist, bearing(ONE))
    text = GATES.replace('"1.2", title: Looked at by a check', '"1.3", title: New')
    added = freeze(product.load(text), bearing(ONE, ("1.1", "smoke/test_a.py", "test_it[b]", 3)))
    assert differences(old, added) == [
        "~ 1.1 Looked at by a test: 1 -> 2 cases",
        "- 1.2 Looked at by a check",
        "+ 1.3 New",
    ]
    otherwise = freeze(product.load(GATES.replace("/x", "/y")), bearing(ONE))
    assert differences(old, otherwise) == ["~ 1.2 Looked at by a check: declared otherwise"]


def test_no_differences_where_the_digest_is_the_same(checklist: Any) -> None:
    plan = freeze(checklist, bearing(ONE))
    assert differences(plan, plan) == []
    assert differences(plan, Plan(plan.gates[::-1], plan.digest)) == []


def test_other_cases_of_the_same_number_differ(checklist: Any) -> None:
    old = freeze(checklist, bearing(ONE))
    new = freeze(checklist, bearing(("1.1", "smoke/test_a.py", "test_other", 3)))
    assert differences(old, new) == ["~ 1.1 Looked at by a test: other cases: + test_other, - test_it"]


def test_cases_in_another_order_do_not_differ(checklist: Any) -> None:
    two = ("1.1", "smoke/test_a.py", "test_it[b]", 3)
    old, new = freeze(checklist, bearing(ONE, two)), freeze(checklist, bearing(two, ONE))
    assert old.digest == new.digest
    assert differences(old, new) == []


def test_blank_in_a_case_does_not_make_two_of_it(checklist: Any) -> None:
    one = freeze(checklist, bearing(("1.1", "smoke/test_a.py", "x y", 3)))
    two = freeze(checklist, bearing(("1.1", "smoke/test_a.py", "x", 3), ("1.1", "smoke/test_a.py", "y", 3)))
    assert one.digest != two.digest
