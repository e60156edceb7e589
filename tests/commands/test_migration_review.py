"""`releasegate migration-review`: bare files, of which nothing is known beside them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.cli import main
from pytest_releasegate.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GUARD = "set lock_timeout = '2s';\n"
NOT_VALID = "alter table t add constraint k check (a > 0) not valid"
SAFE = {
    "nullable column": "alter table t add column a text",
    "constant default": "alter table t add column a int not null default 0",
    "default with a cast": "alter table t add column a jsonb not null default '{}'::jsonb",
    "stable default": "alter table t add column a timestamptz not null default now()",
    "default in brackets": "alter table t add a text default ('x'::text) not null",
    "array default": "alter table t add column if not exists a text[] default array[]::text[]",
    "words in a default": "alter table t add column a text default 'unique check (random())'",
    "reference of a new column": "alter table t add column a int references u (id)",
    "virtual column": "alter table t add column a int generated always as (b * 2) virtual",
    "concurrent index": "create index concurrently i on t (a)",
    "unique index concurrently": "create unique index concurrently if not exists i on t (a)",
    "key by index": "alter table t add constraint k unique using index i",
    "primary key by index": "alter table t add primary key using index i",
    "check not valid": "alter table t add constraint k check (a > 0) not valid",
    "foreign key not valid": "alter table t add constraint k foreign key (a) references u (id) not valid",
    "validate alone": "alter table t validate constraint k",
    "not valid, then valid": f"{NOT_VALID};\nalter table t validate constraint k",
    "not null by a check": "alter table t add constraint k check (a is not null) not valid;\n"
    "alter table t validate constraint k;\nalter table t alter column a set not null",
    "default": "alter table t alter column a set default 1",
    "drop not null": "alter table t alter a drop not null",
    "drop constraint": "alter table t drop constraint k",
    "drop index concurrently": "drop index concurrently if exists i",
    "new table and all on it": "create table t (id int, a text);\ncreate index on t (a);\n"
    "alter table t add check (id > 0);\nalter table t alter a set not null;\nupdate t set a = 'x';\n"
    "alter table t rename a to b;\nalter table t drop column b",
    "new table, other spelling": 'create table if not exists "T" (id int);\ncreate index on public."T" (id)',
    "table from a query": "create table t as select 1 as a;\nalter table t alter a set not null",
    "temporary table": "create temp table t (a int);\nupdate t set a = 1",
    "detach concurrently": "alter table t detach partition p concurrently",
    "trigger": "create trigger x before insert on t for each row execute function f()",
    "policy": "alter table t enable row level security;\ncreate policy p on t using (true)",
    "enum value": "alter type e add value if not exists 'x'",
    "comment with words": "-- drop table t;\n/* update t set a = 1; */ comment on table t is 'delete from t'",
    "grant": "grant select on t to u",
    "insert": "insert into t (a) values ('update t set a = 1')",
    "function that is not called": "create function f() returns void language sql as $$ update t set a = 1 $$",
    "batch by key": "update t set a = 1 where id between 1 and 1000",
    "batch by limit": "delete from t where id in (select id from t where old limit 500)",
    "no row": "delete from t where false",
    "one row": "update t set a = 1 where id = 5",
    "batches that commit": "do $$ begin loop update t set a = 1 where id in (select id from t where b limit 99);\n"
    "exit when not found; commit; end loop; end $$",
    "view takes the name": "begin;\nalter table t rename to u;\ncreate view t as select * from u;\ncommit",
    "function made anew": "drop function if exists f(int);\n"
    "create function f(a int) returns int language sql as 'select 1'",
    "rename index": "alter index i rename to j",
    "index of a parent only": "create index i on only t (a)",
    "cast of a constant": "alter table t add column a bigint[] default cast(array[] as bigint[])",
    "foreign table": "alter foreign table t alter column a set not null",
    "table by select into": "select count(*) as n into s.t from u;\nalter table s.t add unique (n)",
    "own column renamed": "alter table t add column a int;\nalter table t rename column a to b",
    "not null by an earlier check": "alter table t validate constraint t_a_not_null;\n"
    "alter table t alter a set not null",
    "committed, then concurrently": "begin;\nalter table t add column a int;\ncommit;\n"
    "create index concurrently i on t (a)",
    "constraint of a domain renamed": "alter domain d rename constraint a to b",
    "batch by a WITH": "with b as (select id from t where a is null limit 500)\n"
    "update t set a = 1 from b where t.id = b.id",
    "batch of keys": "delete from t where id = any(array[1, 2])",
    "lock that stops nobody": "lock table t in access share mode",
    "block of a new table": "do $$ begin create table if not exists t (a int); create index i on t (a); end $$",
    "block that says it": "do $$ begin raise notice 'then drop table t'; end $$",
    "enumeration replaced": 'alter type "s"."e" rename to "e_old";\ncreate type s.e as enum (\'x\');\n'
    'drop type "s"."e_old"',
    "long name": f"alter table t add constraint {'k' * 70} check (a > 0) not valid",
    "other words of squawk": "alter type e owner to u",
}
HAZARDS = {
    "volatile default": ("alter table t add column a uuid default gen_random_uuid()", "adding-field-with-default"),
    "volatile in a cast": ("alter table t add column a text default (random())::text", "adding-field-with-default"),
    "clock": ("alter table t add column a timestamptz default clock_timestamp()", "adding-field-with-default"),
    "serial": ("alter table t add column a bigserial", "adding-field-with-default"),
    "identity": ("alter table t add a bigint generated always as identity", "adding-field-with-default"),
    "stored": ("alter table t add column a int generated always as (b * 2) stored", "adding-field-with-default"),
    "required": ("alter table t add column a int not null", "adding-required-field"),
    "inline unique": ("alter table t add column a int unique", "disallowed-unique-constraint"),
    "inline check": ("alter table t add column a int check (a > 0)", "constraint-missing-not-valid"),
    "json": ("alter table t add column a json", "json-column"),
    "check": ("alter table t add constraint k check (a > 0)", "constraint-missing-not-valid"),
    "foreign key": ("alter table t add foreign key (a) references u (id)", "adding-foreign-key-constraint"),
    "unique": ("alter table only t add constraint k unique (a)", "disallowed-unique-constraint"),
    "exclude": ("alter table t add constraint k exclude using gist (a with &&)", "adding-exclusion-constraint"),
    "set not null": ("alter table t alter a set not null", "adding-not-nullable-field"),
    "type": ("alter table t alter column a set data type bigint", "changing-column-type"),
    "index": ("create unique index on t using btree (a)", "require-concurrent-index-creation"),
    "reindex": ("reindex index i", "require-concurrent-reindex"),
    "drop column": ("alter table t drop a", "ban-drop-column"),
    "drop table": ("drop table if exists t, u cascade", "ban-drop-table"),
    "rename column": ("alter table t rename a to b", "renaming-column"),
    "rename table": ("alter table t rename to u", "renaming-table"),
    "set schema": ("alter table t set schema s", "ban-set-schema"),
    "truncate": ("truncate table t", "ban-truncate"),
    "vacuum full": ("vacuum (full, analyze) t", "table-rewrite"),
    "cluster": ("cluster t using i", "table-rewrite"),
    "unlogged": ("alter table t set unlogged", "table-rewrite"),
    "refresh": ("refresh materialized view v", "refresh-materialized-view"),
    "attach": ("alter table t attach partition p for values in (1)", "attach-partition"),
    "update": ("update t set a = 1", "unbatched-write"),
    "update of many": ("update only t as x set a = 1 where a is null", "unbatched-write"),
    "update by a join": ("update t set a = u.a from u where u.id = t.id", "unbatched-write"),
    "update after a with": ("with x as (select 1) update t set a = 1", "unbatched-write"),
    "delete of all": ("delete from t where not false", "unbatched-write"),
    "update of all": ("update t set a = 1 where 1 = 1", "unbatched-write"),
    "row security off": ("alter table t disable row level security", "disabling-row-security"),
    "delete": ("delete from t where status = 'old'", "unbatched-write"),
    "block": ("do $$ begin if true then update t set a = 1; end if; end $$", "unbatched-write"),
    "block after texts": ("do $$ begin if 'some text' <> '' then delete from t; end if; end $$", "unbatched-write"),
    "block of texts": ("do $$ begin execute 'delete from t'; end $$", "unbatched-write"),
    "loop without commit": (
        "do $x$ begin loop update t set a = 1 where id in (select id from t limit 9); end loop; end $x$",
        "unbatched-write",
    ),
    "function that is called": (
        "create function f() returns void language sql as $$ update t set a = 1 $$;\nselect f()",
        "unbatched-write",
    ),
    "validated while locked": (
        f"begin;\n{NOT_VALID};\nalter table t validate constraint k;\ncommit",
        "lock-held-over-slow-statement",
    ),
    "concurrently inside": (
        "begin;\ncreate index concurrently i on t (a);\ncommit",
        "ban-concurrent-index-creation-in-transaction",
    ),
    "syntax": ("alter table t ad column a int", "syntax-error"),
    "index built anew, not concurrently": ("reindex (concurrently false) index i", "require-concurrent-reindex"),
    "made and rolled back": (
        "begin;\ncreate table t (a int);\nrollback;\nalter table t add check (a > 0)",
        "constraint-missing-not-valid",
    ),
    "one name for two columns": ("create table t (a int, a text)", "ban-duplicate-column-assignments"),
    "aggregate": ("alter aggregate a (int) rename to b", "renaming-object"),
    "hidden from squawk": ("-- squawk-ignore ban-drop-schema\ndrop schema s", "ban-drop-schema"),
    "key in a block": (
        "do $$ begin alter table t add foreign key (a) references u (id);\nexception when others then null; end $$",
        "adding-foreign-key-constraint",
    ),
    "index in a branch": (
        "do $$ begin if not exists (select 1 from pg_class) then create index i on t (a); end if; end $$",
        "require-concurrent-index-creation",
    ),
    "dropped by a text": ("do $$ begin execute format('drop table %I', 'u'); end $$", "ban-drop-table"),
    "counted while locked": (
        "begin;\nalter table t add column a int;\nselect count(*) from t;\ncommit",
        "lock-held-over-slow-statement",
    ),
    "value of an enumeration too early": (
        "create type mood as enum ('a');\nbegin;\nalter type mood add value 'b';\nselect 'b'::mood;\ncommit",
        "does-not-run",
    ),
    "default": ("alter table t alter column a drop default", "ban-drop-default"),
    "table of another name": ("create table u (a int);\nupdate t set a = 1", "unbatched-write"),
}
TRIED = ("syntax", "value of an enumeration too early")
"""What only a server can say."""


@pytest.fixture
def review(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    """Review texts by file name; gives the exit code and what was told."""
    monkeypatch.chdir(tmp_path)

    def run(texts: dict[str, str], *options: str) -> tuple[int, list[dict[str, Any]]]:
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        code = main(["migration-review", "--json", *options, *texts])
        return code, json.loads(capsys.readouterr().out)

    return run


def wrong(told: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(f"{each['file']} {each['rule']}" for each in told if each["level"] != "note"))


@pytest.mark.parametrize("options", [["--lint"], []])
def test_safe_statements_are_not_cried_about(review: Callable[..., Any], options: list[str]) -> None:
    code, told = review({f"{name}.sql": f"{GUARD}{text};" for name, text in SAFE.items()}, *options)
    assert wrong(told) == []
    assert code == 0


@pytest.mark.parametrize("options", [["--lint"], []])
def test_hazards_are_named(review: Callable[..., Any], options: list[str]) -> None:
    known = {name: each for name, each in HAZARDS.items() if name not in TRIED or not options}
    code, told = review({f"{name}.sql": f"{GUARD}{text};" for name, (text, _) in known.items()}, *options)
    assert wrong(told) == [f"{name}.sql {rule}" for name, (_, rule) in known.items()]
    assert code == 1


@pytest.mark.parametrize("name", [":part", ':"part"', "${part}"])
def test_what_the_runner_fills_in_is_told_once(review: Callable[..., Any], name: str) -> None:
    text = f"{GUARD}create table {name}.u (a int);\nalter table {name}.u add unique (a);\n"
    text += f"alter table {name}.t drop column a"
    code, told = review({"1.sql": text}, "--lint")
    open_ones = [(each["line"], each["rule"], each["level"]) for each in told if not each["cleared"]]
    assert open_ones == [(2, "does-not-run", "warning"), (4, "ban-drop-column", "error")]
    assert (code, told[0]["message"]) == (1, f"not tried: psql or the runner fills in {name}")


def test_folders_go_by_their_versions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("2_b/migration", "10_c/migration", "1_a/migration", "V/R__v", "V/V1.1__b", "V/V1__z", "V/V10__c"):
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / f"{name}.sql").write_text("drop schema s")
    assert main(["migration-review", "--lint", "--json", "all"]) == ExitCode.NO_GO
    files = [each["file"].removeprefix("all/").removesuffix(".sql") for each in json.loads(capsys.readouterr().out)]
    assert files == ["1_a/migration", "2_b/migration", "10_c/migration", "V/V1__z", "V/V1.1__b", "V/V10__c", "V/R__v"]


def test_a_schema_that_is_not_there_is_told(review: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "1.sql").write_text("select 1")
    assert main(["migration-review", "1.sql", "--schema", "absent.sql"]) == ExitCode.USAGE
    (tmp_path / "1.sql").write_text("select 1;\0 drop table t")
    assert main(["migration-review", "--lint", "1.sql"]) == ExitCode.USAGE


def test_an_index_made_anew_without_work_is_cleared(review: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "schema.sql").write_text(
        "create domain d as int check (value > 0); create table t (a varchar(9), b int); create index on t (a);\n"
        "create unique index k on t (b); create table p (a int) partition by list (a);\n"
        "create table rest partition of p default;"
    )
    text = (
        "alter table t alter a type varchar(10);\nalter table t add primary key using index k;\n"
        "create table one partition of p for values in (1);\nalter table t add column c d;\ntruncate t;"
    )
    _, told = review({"1.sql": GUARD + text}, "--schema", "schema.sql")
    assert [(each["line"], each["rule"]) for each in told if not each["cleared"]] == [
        (3, "table-scan"),
        (4, "table-scan"),
        (5, "table-rewrite"),
        (6, "ban-truncate"),
    ]


def test_tables_of_earlier_files_are_not_new(review: Callable[..., Any]) -> None:
    first = "create table t (id int primary key, a numeric(6,2), b varchar(9), c text);"
    second = GUARD + (
        "alter table t alter a type numeric(10,2);\nalter table t alter b type text;\n"
        "alter table t alter id set not null;\nalter table t alter c set not null;\n"
        "alter table t alter c type varchar(3);\ncreate index on t (c);"
    )
    _, told = review({"1.sql": first, "2.sql": second})
    assert [(each["line"], each["rule"]) for each in told if each["level"] == "error"] == [
        (5, "adding-not-nullable-field"),
        (6, "changing-column-type"),
        (7, "require-concurrent-index-creation"),
    ]
    cleared = [each["line"] for each in told if each["cleared"].startswith("tried on the scratch server")]
    assert cleared == [2, 3, 4]


def test_tables_of_earlier_files_are_new_in_one_release(review: Callable[..., Any]) -> None:
    texts = {"1.sql": "create table t (a text);", "2.sql": GUARD + "create index on t (a);"}
    assert wrong(review(texts, "--lint")[1]) == ["2.sql require-concurrent-index-creation"]
    code, (told,) = review(texts, "--lint", "--one-release")
    assert (code, told["cleared"]) == (0, "public.t is made by the same release")


def test_what_was_there_before_comes_from_a_schema(review: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "schema.sql").write_text("\\restrict x\ncreate table t (a varchar(9));\ncopy t from stdin;\nx\n\\.\n")
    code, told = review({"1.sql": GUARD + "alter table t alter a type text;"}, "--schema", "schema.sql")
    assert (code, [each["cleared"][:5] for each in told]) == (0, ["tried"])


def test_a_missing_timeout_is_a_warning(review: Callable[..., Any]) -> None:
    text = {"1.sql": "create table n (id int);\nalter table t add a int;\nalter table t add b int;"}
    code, (told,) = review(text, "--lint")
    assert (code, told["rule"], told["level"], told["line"]) == (0, "missing-lock-timeout", "warning", 2)
    assert "a lock on public.t without end, and all wait behind it, and so do 1 more statements" in told["message"]
    assert review(text, "--lint", "--strict")[0] == 1


def test_the_transaction_of_the_runner_counts(review: Callable[..., Any]) -> None:
    text = {"1.sql": GUARD + "alter table u add a int;\nupdate t set a = 1;"}
    rules = ["1.sql unbatched-write"]
    assert wrong(review(text, "--lint")[1]) == rules
    held = [*rules, "1.sql lock-held-over-slow-statement"]
    assert wrong(review(text, "--lint", "--transaction", "file")[1]) == held
    assert wrong(review({"1.sql": "set local lock_timeout = 1;" + text["1.sql"]}, "--lint")[1]) == held


def test_lines_are_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "1.up.sql").write_text(GUARD + "create index i on t (a);\n")
    (folder / "1.down.sql").write_text("drop table t;\n")
    assert main(["migration-review", "--lint", str(folder)]) == 1
    assert capsys.readouterr().out == (
        f"{folder}/1.up.sql:2: error: require-concurrent-index-creation: public.t: "
        "nobody can write while the index is built\n    create it CONCURRENTLY, outside of a transaction\n"
        "1 files, 2 statements: 1 errors, 0 warnings, 0 notes\n"
    )


def test_a_file_that_is_not_there_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migration-review", "nothing.sql"]) == 4
    assert "nothing.sql: cannot be read" in capsys.readouterr().err


def test_without_postgresql_the_files_are_read_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELEASEGATE_PG_BIN", str(tmp_path))
    (tmp_path / "1.sql").write_text("select 1;")
    assert main(["migration-review", str(tmp_path / "1.sql")]) == 10
    assert "nothing was tried, the files were read only" in capsys.readouterr().err
    assert main(["migration-review", "--lint", str(tmp_path / "1.sql")]) == 0
