"""Hints on a plan that is no mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.checklist.lint import hints
from pytest_releasegate.model import Gate, Item, Phase, Place, Plan, PlannedGate, Severity

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


def told(root: Path, *changes: dict[str, Any]) -> list[str]:
    """What is said of gates with these changes."""
    made = []
    for number, change in enumerate(changes, start=1):
        whole: dict[str, Any] = {
            "title": "T",
            "item": Item("1", "I"),
            "phase": Phase.PREDEPLOY,
            "severity": Severity.HIGH,
            "kind": "http",
            "owner": "ann",
            "place": Place("gates/a.yaml", number, 9),
        }
        made.append(PlannedGate(Gate(id=f"1.{number}", **whole | change), "d", ("",)))
    return [f"{problem.place}: {problem.what}" for problem in hints(Plan(tuple(made), "d"), root)]


def test_a_plan_as_it_should_be_has_no_hint(tmp_path: Path) -> None:
    assert told(tmp_path, {}, {"when": "maintenance and not hotfix"}, {"kind": "attest"}) == []


def test_gates_without_an_owner_are_told_once_a_file(tmp_path: Path) -> None:
    assert told(tmp_path, {"owner": ""}, {}) == ["gates/a.yaml:1:9: 1.1 has no owner"]
    assert told(tmp_path, {"owner": ""}, {"owner": ""}) == ["gates/a.yaml:1:1: 2 gates have no owner"]


def test_a_word_in_place_of_a_check(tmp_path: Path) -> None:
    asked = [{"kind": "attest", "parameters": {"instead_of": kind}} for kind in ("http", "weather")]
    assert told(tmp_path, *asked) == [
        "gates/a.yaml:1:9: 1.1 asks for a word, and the check 'http' exists",
        "gates/a.yaml:2:9: 1.2 asks for a word until there is a check 'weather'",
    ]


@pytest.mark.parametrize(
    ("when", "said"), [("a and not a", "never"), ("a or not a", "always"), ("a and (b or not b) and not a", "never")]
)
def test_conditions_that_do_not_vary(tmp_path: Path, when: str, said: str) -> None:
    assert told(tmp_path, {"when": when}) == [f"gates/a.yaml:1:9: 1.1: `when: {when}` {said} holds"]


@pytest.mark.parametrize(
    ("body", "silent"),
    [
        ("pass", True),
        ('"""Only words."""', True),
        ("page.goto('/')", True),
        ("x = 1 == 2", True),
        ("assert page", False),
        ("raise RuntimeError", False),
        ("finding('n', expected=1, actual=1, ok=True)", False),
        ("expect(page).to_have_title('x')", False),
        ("with flow.step('x'):\n        page.goto('/')", False),
        ("look_at(page)", False),
    ],
)
def test_a_test_that_asserts_nothing(tmp_path: Path, body: str, silent: bool) -> None:
    test = f"import pytest\n\n\n@pytest.mark.gate('1.1')\ndef test_a(page, flow, finding):\n    {body}\n"
    (tmp_path / "test_a.py").write_text(test, encoding="utf-8")
    found = told(tmp_path, {"kind": "test", "parameters": {"file": "test_a.py"}})
    assert found == (["test_a.py:5:1: 1.1: test_a asserts nothing"] if silent else [])


def test_a_file_that_cannot_be_read_is_somebody_elses_matter(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def (", encoding="utf-8")
    assert told(tmp_path, {"kind": "test", "parameters": {"file": "test_a.py"}}) == []
    assert told(tmp_path, {"kind": "test", "parameters": {"file": "gone.py"}}) == []
