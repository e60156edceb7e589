"""Conditions: `and`, `or`, `not` and parentheses, as Python reads them; whatever else stands there is told."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_releasegate.checklist.conditions import parse, parse_facts

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("a", "b", "c", "nota", "or_", "android")
EXPRESSIONS: st.SearchStrategy[str] = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.one_of(
        inner.map("not {}".format),
        inner.map("({})".format),
        inner.map(" ( {}\t) ".format),
        st.tuples(inner, inner).map(" and ".join),
        st.tuples(inner, inner).map(" or\n".join),
    ),
    max_leaves=15,
)


@given(text=EXPRESSIONS, true=st.sets(st.sampled_from(NAMES)))
def test_value_is_that_of_python(text: str, true: set[str]) -> None:
    condition = parse(text)
    expected = eval(" ".join(text.split()), {name: name in true for name in NAMES})
    assert condition.holds(true.__contains__) is expected
    assert condition.names == {name for name in NAMES if name in text.replace("(", " ").replace(")", " ").split()}
    assert parse_facts(text).holds(true.__contains__) is expected


@pytest.mark.parametrize("text", ["a and b", "a or b", "not a", "not (a and b)", "a or not b and a"])
def test_all_rows_of_the_truth_table(text: str) -> None:
    for a, b in product([True, False], repeat=2):
        assert parse(text).holds({"a": a, "b": b}.__getitem__) is eval(text, {"a": a, "b": b})


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "expected a name, got 'the end' in ''"),
        ("   ", "expected a name, got 'the end' in '   '"),
        ("a b", "expected 'and', 'or' or the end, got 'b' in 'a b'"),
        ("a and", "expected a name, got 'the end' in 'a and'"),
        ("and a", "expected a name, got 'and' in 'and a'"),
        ("a or or b", "expected a name, got 'or' in 'a or or b'"),
        ("not", "expected a name, got 'the end' in 'not'"),
        ("not and", "expected a name, got 'and' in 'not and'"),
        ("(a", "expected ')' in '(a'"),
        ("(a b)", "expected ')' in '(a b)'"),
        ("a)", "expected 'and', 'or' or the end, got ')' in 'a)'"),
        ("()", "expected a name, got ')' in '()'"),
        (")", "expected a name, got ')' in ')'"),
        ("a not b", "expected 'and', 'or' or the end, got 'not' in 'a not b'"),
        ("a == b", "expected 'and', 'or' or the end, got '==' in 'a == b'"),
        ("f(x)", "expected 'and', 'or' or the end, got '(' in 'f(x)'"),
        ("(" * 51 + "a" + ")" * 51, "expected at most 50 parentheses and 'not' in each other"),
        ("not " * 100_000 + "a", "expected at most 50 parentheses and 'not' in each other"),
    ],
)
@pytest.mark.parametrize("read", [parse, parse_facts])
def test_malformed_text_says_what_was_expected(read: Callable[[str], object], text: str, what: str) -> None:
    with pytest.raises(ValueError) as wrong:
        read(text)
    assert str(wrong.value) == what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("!a", "'!a' cannot be a fact's name in '!a'"),
        ("a and b&&c", "'b&&c' cannot be a fact's name in 'a and b&&c'"),
        ("a-b", "'a-b' cannot be a fact's name in 'a-b'"),
        ("a=1", "'a=1' cannot be a fact's name in 'a=1'"),
        ("a(b=1)", "a fact has no arguments, got '=' in 'a(b=1)'"),
    ],
)
def test_what_cannot_be_a_fact(text: str, what: str) -> None:
    parse(text)
    with pytest.raises(ValueError) as wrong:
        parse_facts(text)
    assert str(wrong.value) == what


def test_marker_with_arguments_is_its_name() -> None:
    assert parse("gate(id='10.1') and not slow").names == {"gate", "slow"}


def test_very_long_conditions_hold() -> None:
    names = [f"n{number}" for number in range(5000)]
    assert parse(" and ".join(names)).holds(lambda name: True)
    assert not parse(" and ".join(names)).holds(lambda name: name != "n4999")
    assert parse(" or ".join(names)).holds(lambda name: name == "n4999")


def test_depth_of_fifty_is_read() -> None:
    assert parse("(" * 49 + "a" + ")" * 49).holds(lambda name: True)
    assert parse(" and ".join(["(not a)"] * 200)).names == {"a"}


@given(text=st.text(st.sampled_from("ab ()=!,&|notrd\n\t"), max_size=30))
def test_any_text_is_read_or_a_value_error(text: str) -> None:
    try:
        condition = parse(text)
    except ValueError as told:
        problem = str(told)
    else:
        problem = ""
        assert condition.names
        assert condition.holds(lambda name: True) in {True, False}
    assert not problem or problem.startswith("expected ")
