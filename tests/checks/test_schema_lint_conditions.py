"""Conditions of policies, read as PostgreSQL writes them."""

from __future__ import annotations

import pytest

from pytest_releasegate.sources.pglints import expressions


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("((a = 1) OR (b = 2))", ["a = 1", "b = 2"]),
        ("((a = 1) OR ((b = 2) OR c))", ["a = 1", "b = 2", "c"]),
        ("((a = 1) AND ((b = 2) OR c))", ["(a = 1) AND ((b = 2) OR c)"]),
        ("(a = ' OR (')", ["a = ' OR ('"]),
        ("(\" OR \" = 'it''s')", ["\" OR \" = 'it''s'"]),
        (r"((a = E'\'' ) OR b)", [r"a = E'\''", "b"]),
    ],
)
def test_alternatives(text: str, parts: list[str]) -> None:
    assert expressions.alternatives(text) == parts


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("true", True),
        ("( SELECT true AS bool)", True),
        ("(NOT false)", True),
        ("(1 = 1)", True),
        ("('a'::text = 'a'::text)", True),
        ("('a'::character varying = 'a'::character varying)", True),
        ("((x = 1) OR true)", True),
        ("COALESCE(true, false)", True),
        ("(id IS NOT NULL)", True),
        ("((id = id) AND true)", True),
        ("(1 < 2)", True),
        ("(CURRENT_USER IS NOT NULL)", True),
        ("(2 <= 1.5)", False),
        ("((x = 1) AND true)", False),
        ("(1 = 2)", False),
        ("('a'::text = 'b'::text)", False),
        ("(x IS NOT NULL)", False),
        ("(x = x)", False),
        ("(name = 'true'::text)", False),
        ("COALESCE(x, true)", False),
        ("false", False),
        ("( SELECT true FROM t)", False),
        ("((x >= 1) AND (x <= 2))", False),
    ],
)
def test_what_always_holds(text: str, true: bool) -> None:
    assert expressions.always_true(text, ("id",)) is true


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("(auth.uid() = t.id)", "((select auth.uid()) = t.id)"),
        ("(( SELECT auth.uid() AS uid) = id)", ""),
        ("(( SELECT (auth.uid() IS DISTINCT FROM NULL::uuid)) AND x)", ""),
        ("(( SELECT (auth.uid() = t.id)))", "(( SELECT ((select auth.uid()) = t.id)))"),
        ('(( SELECT (auth.uid() = "my t".id)))', ""),
        (
            "(EXISTS ( SELECT 1\n   FROM m\n  WHERE (m.u = auth.uid())))",
            "(EXISTS ( SELECT 1\n   FROM m\n  WHERE (m.u = (select auth.uid()))))",
        ),
        ("(EXISTS ( SELECT 1\n   FROM m\n  WHERE (m.u = ( SELECT auth.uid() AS uid))))", ""),
        (
            "((current_setting('a.b'::text, true))::uuid = id)",
            "(((select current_setting('a.b'::text, true)))::uuid = id)",
        ),
        ("(x = 'auth.uid()'::text)", ""),
        ("(myauth.uid() = id)", ""),
        ("(auth.has_role('x'::text))", ""),
    ],
)
def test_calls_for_each_row_are_found_and_wrapped(text: str, changed: str) -> None:
    assert expressions.wrapped(text, "t") == (changed or text)
    assert bool(expressions.bare_calls(text, "t")) is bool(changed)
    assert not expressions.bare_calls(changed.replace("(select ", "( SELECT "), "t")
