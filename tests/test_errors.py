"""Problems and exit codes: unique, documented, and said in the same way everywhere."""

from __future__ import annotations

import ast
import inspect

import pytest

from pytest_releasegate import errors
from pytest_releasegate.errors import BrokenPlan, CannotLook, ExitCode, Problem, RecordError, UsageProblem, nearest
from pytest_releasegate.model import Place


def test_exit_codes_are_unique_and_those_of_pytest_stay() -> None:
    assert list(ExitCode.__members__) == [code.name for code in ExitCode]
    assert {code.name: int(code) for code in ExitCode} == {
        "GO": 0,
        "NO_GO": 1,
        "INTERRUPTED": 2,
        "INTERNAL_ERROR": 3,
        "USAGE": 4,
        "HOLD": 10,
        "ROLLBACK": 11,
    }
    ours, theirs = ({code.name: int(code) for code in codes} for codes in (ExitCode, pytest.ExitCode))
    assert all(ours[name] == theirs[name] for name in ("INTERRUPTED", "INTERNAL_ERROR"))
    assert (ours["USAGE"], ours["NO_GO"]) == (theirs["USAGE_ERROR"], theirs["TESTS_FAILED"])
    assert theirs["NO_TESTS_COLLECTED"] not in ours.values()


def test_every_exit_code_is_documented() -> None:
    body = ast.parse(inspect.getsource(ExitCode)).body[0]
    assert isinstance(body, ast.ClassDef)
    after = dict(zip(body.body, body.body[1:], strict=False))
    for statement in body.body:
        if isinstance(statement, ast.Assign):
            following = after.get(statement)
            assert isinstance(following, ast.Expr), ast.unparse(statement)
            assert isinstance(following.value, ast.Constant), ast.unparse(statement)


def test_problem_lines() -> None:
    place = Place("gates/a.yaml", 3, 7)
    assert Problem(place, "what").lines() == ["gates/a.yaml:3:7: what"]
    assert Problem(None, "what", "one\ntwo").lines() == ["what", "    one", "    two"]


@pytest.mark.parametrize("kind", [UsageProblem, RecordError])
def test_usage_problem(kind: type[UsageProblem]) -> None:
    problem = kind("what", "hint")
    assert str(problem) == "what\n    hint"
    assert problem.problems == [Problem(None, "what", "hint")]
    assert isinstance(problem, UsageProblem)


def test_broken_plan_holds_all_in_the_order_of_their_places() -> None:
    places = [Place("b", 1, 1), Place("a", 10, 1), Place("a", 9, 2), Place("a", 9, 1), None]
    broken = BrokenPlan(Problem(place, f"at {place}") for place in places)
    assert [problem.place for problem in broken.problems] == [None, *sorted(place for place in places if place)]
    assert str(broken).splitlines()[0] == "at None"
    assert isinstance(broken, UsageProblem)


def test_cannot_look() -> None:
    stopped = CannotLook("what", "hint")
    assert (stopped.what, stopped.hint, str(stopped)) == ("what", "hint", "what\n    hint")
    assert str(CannotLook("what")) == "what"
    assert not isinstance(stopped, UsageProblem)


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("htpp", ["sql", "http"], "did you mean 'http'? known: http, sql"),
        ("zzz", ["sql", "http"], "known: http, sql"),
        ("a", [], "known: none"),
    ],
)
def test_nearest(word: str, known: list[str], hint: str) -> None:
    assert nearest(word, known) == hint


def test_all_is_what_is_public() -> None:
    public = {name for name, value in vars(errors).items() if getattr(value, "__module__", "") == errors.__name__}
    assert {name for name in public if not name.startswith("_")} == set(errors.__all__)
