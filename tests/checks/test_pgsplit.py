"""A file of SQL is split where the server would, and says where each statement stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_releasegate.sources.pgsplit import script, split

DEMO = Path(__file__).parents[2] / "demo" / "releasegate_demo" / "migrations"


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("", []),
        (" ; ;; -- nothing\n/* ; /* ; */ ; */", []),
        ("SELECT 1; select 'a;b', \"C;d\"", ["select 1", "select 'a;b', \"C;d\""]),
        ("select 'it''s;'; select E'\\';'", ["select 'it''s;'", "select E'\\';'"]),
        ("do $$ begin x; end $$; do $a$ $$;$$ $a$", ["do $$ begin x; end $$", "do $a$ $$;$$ $a$"]),
        ("select $1; select a$b$c; select 3", ["select $1", "select a$b$c", "select 3"]),
        ("a -- x;\nb /* ; */ c;d", ["a b c", "d"]),
        ("create rule r as on insert to t do (a; b); x", ["create rule r as on insert to t do (a; b)", "x"]),
        (
            "create function f() returns int begin atomic select case when true then 1 end; select 2; end; x",
            ["create function f() returns int begin atomic select case when true then 1 end; select 2; end", "x"],
        ),
        ("begin; case; commit", ["begin", "case", "commit"]),
        (
            "set standard_conforming_strings to off; 'it\\'s; b'; x;"
            "set standard_conforming_strings = on; '\\'; c",
            [
                "set standard_conforming_strings to off",
                "'it\\'s; b'",
                "x",
                "set standard_conforming_strings = on",
                "'\\'",
                "c",
            ],
        ),
        ("select a[1:b], c::int, x := :d", ["select a[1:b], c::int, x := d"]),
    ],
)  # fmt: skip
def test_split_where_the_server_would(text: str, codes: list[str]) -> None:
    assert [statement.code for statement in split(text)] == codes


def test_places_are_those_of_the_first_word() -> None:
    text = "-- a\n\n  Select\n 1; /* b */ select 2;\n\tx"
    assert [(s.line, s.column, s.end, s.text) for s in split(text)] == [
        (3, 3, 4, "Select\n 1"),
        (4, 13, 4, "select 2"),
        (5, 2, 5, "x"),
    ]


@pytest.mark.parametrize(
    ("text", "trouble", "code"),
    [
        ("select 'never", "the quote ' never ends", "select"),
        ("do $x$ never $y$", "the quote $x$ never ends", "do"),
        ("\\i other.sql\nselect 1;", "\\i is a command of psql, not SQL", ""),
        ("select 1 \\gexec\nselect 2", "\\gexec is a command of psql, not SQL", "select 1"),
        ("select :'x' || ${y};\nselect 1;", "not tried: psql or the runner fills in :'x'", "select x || y"),
        ("copy t (a) from stdin;\n1;2\n\\.\nselect 1;", "COPY FROM STDIN with its rows", "copy t (a) from stdin"),
    ],
)
def test_what_a_server_cannot_be_given_is_told(text: str, trouble: str, code: str) -> None:
    first, *rest = split(text)
    assert trouble in first.trouble
    assert first.code == code
    assert not any(statement.trouble for statement in rest)
    assert len(rest) == ("select" in text.partition("\n")[2])


def test_what_pg_dump_writes_for_psql_is_no_trouble() -> None:
    assert [s.code for s in split("\\restrict abc\nselect 1;\n\\unrestrict abc\n")] == ["select 1"]


@pytest.mark.parametrize(
    ("text", "codes", "alone"),
    [
        ("-- +goose Up\nselect 1;\n-- +goose Down\nselect 2;", ["select 1"], False),
        ("-- +goose NO TRANSACTION\n-- +goose Up\nselect 1;", ["select 1"], True),
        ("-- migrate:up transaction:false\nselect 1;\n-- migrate:down\nselect 2;", ["select 1"], True),
        ("select 1;\r-- b\rselect 2", ["select 1", "select 2"], False),
        ("-- rollback is select 2\nselect 1;", ["select 1"], False),
        ("-- migrate:down\nselect 2;\n-- migrate:up\nselect 1;", ["select 1"], False),
        ("-- migrate:up\nselect '-- migrate:down';\n-- migrate:down\nselect 2", ["select '-- migrate:down'"], False),
    ],
)
def test_files_with_both_ways_are_read_forward(text: str, codes: list[str], alone: bool) -> None:
    read = script(text)
    assert [statement.code for statement in read.statements] == codes
    assert read.alone is alone


def test_the_demos_migrations_are_split() -> None:
    read = script((DEMO / "003_care_plans.up.sql").read_text())
    assert len(read.statements) == 15
    assert read.statements[-1].code.startswith("insert into public.billing_codes")
    assert not any(statement.trouble for statement in read.statements)
