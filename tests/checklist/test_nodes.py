"""YAML as a tree: scalars by the 1.2 core schema, exact places, and every mistake told, never raised."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_releasegate.checklist.nodes import Tree, read
from pytest_releasegate.model import Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Reader = "Callable[[str | bytes], Tree]"


@pytest.fixture
def parse(tmp_path: Path) -> Callable[[str | bytes], Tree]:
    """Read a text or bytes as the file `a.yaml`."""

    def parsed(text: str | bytes) -> Tree:
        path = tmp_path / "a.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read(path, "a.yaml")

    return parsed


def told(tree: Tree) -> list[str]:
    return ["\n".join(problem.lines()) for problem in tree.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("on", "off", "yes", "no", "On", "NO", "y", "n", "tRUE", "nUll")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, None) for word in ("null", "Null", "NULL", "~", "")),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b1", "0b1"),
        ("0o8", "0o8"),
        ("-7", -7),
        ("+7", 7),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5E-2", -0.015),
        ("10.1", 10.1),
        ("10.1.1", "10.1.1"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-01-05", "2026-01-05"),
        ("=", "="),
        ("'5'", "5"),
        ('"true"', "true"),
        ("'~'", "~"),
        ("|\n  5\n", "5\n"),
        (">-\n  no\n", "no"),
        ("12345678901234567890", 12345678901234567890),
        ("9" * 60, 1e60),
    ],
)
def test_scalars(parse: Callable[..., Tree], text: str, value: Any) -> None:
    tree = parse(f"a: {text}")
    assert tree.problems == []
    assert tree.value == {"a": value}
    assert type(tree.value["a"]) is type(value)


@pytest.mark.parametrize(("text", "kept"), [("010", "010"), ("1e3", "1e3"), ("True", "True"), ("~", "~")])
def test_text_of_a_scalar_that_is_no_text_is_kept(parse: Callable[..., Tree], text: str, kept: str) -> None:
    assert parse(f"a: [{text}, x]").texts == {("a", 0): kept}


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "\ufeff"])
def test_empty_file(parse: Callable[..., Tree], text: str) -> None:
    tree = parse(text)
    assert (tree.value, tree.problems) == (None, [])


def test_byte_order_mark_moves_no_column(parse: Callable[..., Tree]) -> None:
    tree = parse("\ufeffa: 1\n")
    assert tree.value == {"a": 1}
    assert (tree.keys[("a",)], tree.values[("a",)]) == (Place("a.yaml", 1, 1), Place("a.yaml", 1, 4))


def test_places_are_exact(parse: Callable[..., Tree]) -> None:
    tree = parse("phase: deploy\nitems:\n  - {é: ü, gates: [x,   y]}\n  -\n    k: >\n      t\n")
    expected = {
        (): (1, 1),
        ("phase",): (1, 8),
        ("items",): (3, 3),
        ("items", 0): (3, 5),
        ("items", 0, "é"): (3, 9),
        ("items", 0, "gates"): (3, 19),
        ("items", 0, "gates", 0): (3, 20),
        ("items", 0, "gates", 1): (3, 25),
        ("items", 1): (5, 5),
        ("items", 1, "k"): (5, 8),
    }
    assert {route: (place.line, place.column) for route, place in tree.values.items()} == expected
    assert tree.keys[("items", 0, "gates")] == Place("a.yaml", 3, 12)


def test_place_of_what_is_not_there_is_that_of_what_is_around_it(parse: Callable[..., Tree]) -> None:
    tree = parse("a:\n  b: 1\n")
    assert tree.place(("a", "c", 3)) == Place("a.yaml", 2, 3)
    assert tree.place(("a", "c"), key=True) == Place("a.yaml", 1, 1)
    assert tree.place(("a", "b"), key=True) == Place("a.yaml", 2, 3)
    assert Tree("b.yaml").place(("x",)) == Place("b.yaml", 1, 1)


UNFOLDING = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
ENDLESS = "an alias that contains itself, or a document that unfolds without end\n    write it out"
TAGS = "tags are not used here: remove it; quote what is to be text"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: 1\nb: 2\na: 3\n", ["a.yaml:3:1: key 'a' is given twice\n    first at a.yaml:1:1"]),
        ("x: {b: 1, b: 2}", ["a.yaml:1:11: key 'b' is given twice\n    first at a.yaml:1:5"]),
        ("a: 1\n'a': 2\n", ["a.yaml:2:1: key 'a' is given twice\n    first at a.yaml:1:1"]),
        (
            "b: &b {c: 1}\na:\n  <<: *b\n",
            ["a.yaml:3:3: merge keys (<<) are not part of YAML 1.2\n    write the keys out"],
        ),
        ("[1]: 2", ["a.yaml:1:1: a key must be text\n    quote it, or check the indentation"]),
        ("a: !x 5", [f"a.yaml:1:4: tag '!x'\n    {TAGS}"]),
        ("a: !x {b: 1}", [f"a.yaml:1:4: tag '!x'\n    {TAGS}"]),
        ("a: !!str 5", [f"a.yaml:1:4: tag 'tag:yaml.org,2002:str'\n    {TAGS}"]),
        ("a: !!int '5'", [f"a.yaml:1:4: tag 'tag:yaml.org,2002:int'\n    {TAGS}"]),
        ("a: !!set {b}", [f"a.yaml:1:4: tag 'tag:yaml.org,2002:set'\n    {TAGS}"]),
        (
            "a: !!python/object/apply:os.system [ls]",
            [f"a.yaml:1:4: tag 'tag:yaml.org,2002:python/object/apply:os.system'\n    {TAGS}"],
        ),
        ("a: &x [*x]", [f"a.yaml:1:4: {ENDLESS}"]),
        ("a: &x {b: {c: *x}, d: *x}", [f"a.yaml:1:4: {ENDLESS}"]),
        (UNFOLDING, [f"a.yaml:1:24: {ENDLESS}"]),
        ("a: *nowhere", ["a.yaml:1:4: not YAML: found undefined alias"]),
        (
            "a:\n\tb: 1\n",
            [
                "a.yaml:2:1: not YAML: found character that cannot start any token\n"
                "    a tab cannot indent YAML: use spaces"
            ],
        ),
        (
            "a: @b",
            [
                "a.yaml:1:4: not YAML: found character that cannot start any token\n"
                "    while scanning for the next token"
            ],
        ),
        (
            "a: 1\n---\nb: 2\n",
            ["a.yaml:2:1: not YAML: found another document\n    expected a single document in the stream"],
        ),
        ("a: 1e999", ["a.yaml:1:4: number '1e999' is too large\n    quote it if it is text"]),
        ("a: " + "9" * 400, [f"a.yaml:1:4: number '{'9' * 400}' is too large\n    quote it if it is text"]),
        (b"a: 1\n\xff", ["a.yaml:1:1: not UTF-8 text: byte 5 is 0xff"]),
        (
            "a: \x00",
            ["a.yaml:1:1: not YAML: unacceptable character #x0000: control characters are not allowed"],
        ),
        (
            "a: " + "[" * 61 + "]" * 61,
            ["a.yaml:1:63: not YAML: more than 60 levels of lists and mappings in each other"],
        ),
    ],
)
def test_mistakes(parse: Callable[..., Tree], text: str | bytes, what: list[str]) -> None:
    assert told(parse(text)) == what


def test_nesting_without_end_is_told_by_whichever_reader_notices_it_first(parse: Callable[..., Tree]) -> None:
    (said,) = told(parse("[" * 100_000))
    assert re.fullmatch(r"a\.yaml:1:\d+: not YAML: more than 60 levels of lists and mappings in each other", said)


def test_all_mistakes_of_a_file_are_told_and_the_rest_is_read(parse: Callable[..., Tree]) -> None:
    tree = parse("a: 1\na: 2\nb: !x 3\n[c]: 4\nd: 5\n")
    assert [problem.place.line for problem in tree.problems if problem.place] == [2, 3, 4]
    assert tree.value == {"a": 1, "b": 3, "d": 5}


def test_alias_is_its_anchor(parse: Callable[..., Tree]) -> None:
    tree = parse("a: &x {b: [1]}\nc: *x\n")
    assert tree.problems == []
    assert tree.value == {"a": {"b": [1]}, "c": {"b": [1]}}
    assert tree.values[("c", "b")] == Place("a.yaml", 1, 11)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert told(read(tmp_path, "gates")) == ["gates:1:1: cannot be read: Is a directory"]
    assert told(read(tmp_path / "none", "none")) == ["none:1:1: cannot be read: No such file or directory"]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(st.characters(categories=["L", "N", "P", "Zs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(value=PLAIN)
def test_what_is_written_with_quotes_is_read_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "round.yaml"
    quoted = _as_text({"top": value})
    path.write_text(yaml.safe_dump(quoted, default_style='"', allow_unicode=True), encoding="utf-8")
    tree = read(path, "round.yaml")
    assert (tree.value, tree.problems) == (quoted, [])


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_text(part) for key, part in value.items()}
    return [_as_text(part) for part in value] if isinstance(value, list) else str(value)


@settings(max_examples=120, deadline=None)
@given(text=st.text(st.sampled_from("ab:{}[],-&*!|>'\"#%@` \n\t?<~0.e\u2028\x85é"), max_size=40))
def test_any_text_is_read_or_told(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    tree = read(path, "any.yaml")
    assert all(place.line >= 1 and place.column >= 1 for place in tree.values.values())
    assert all(problem.place and problem.what for problem in tree.problems)
