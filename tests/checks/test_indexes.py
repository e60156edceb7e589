"""`indexes`: an index that is missing, unusable, useless or spoilt does not pass."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.indexes import Indexes
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look

SCRIPT = """
create schema other;
create table clients (id int primary key, number text, first text, last varchar(80), gone boolean default false,
    made timestamptz, tags text[]);
create unique index clients_number_key on clients (number);
create index clients_name_idx on clients (last, first desc);
create index clients_lower_idx on clients (lower(last)) where not gone and first <> 'x';
create index clients_made_idx on clients (made desc) include (number);
create index clients_tags_idx on clients using gin (tags);
create index clients_like_idx on clients (number text_pattern_ops);
insert into clients (id, number, last) values (1, 'a', 'A'), (2, 'b', 'B'), (3, null, 'C'), (4, null, 'D');
create table other."Odd "".%" ("the % id" int, "Second, one" int);
create unique index "odd %" on other."Odd "".%" ("the % id", "Second, one");
insert into other."Odd "".%" values (1, 1), (1, 2), (1, null), (1, null);
create table notes (id int primary key, client int constraint client_key references clients);
create index notes_client_idx on notes (client) where client is not null;
create table parts (id int, client int constraint part_key references clients, primary key (id)) partition by list (id);
create table parts_1 partition of parts for values in (1);
create table parts_2 partition of parts for values in (2);
create index parts_client_idx on parts (client);
create table parent (id int); create index parent_idx on parent (id);
create table child () inherits (parent); create index child_idx on child (id);
create index child_high_idx on child (id) where id > 5;
"""
EXPECT = {
    "clients_number_key": "unique clients (number)",
    "public.clients_name_idx": "public.clients (last, first desc)",
    "clients_lower_idx": "clients (lower(last)) where not gone and first <> 'x'",
    "clients_made_idx": "clients (made) include (number)",
    "clients_tags_idx": "clients using GIN (tags)",
    "clients_like_idx": "clients (number text_pattern_ops)",
    "odd %": 'unique other."Odd "".%" ("the % id", "Second, one")',
    "clients_pkey": "unique",
    "parts_client_idx": "parts (client)",
    "notes_client_idx": "any",
}
ODD = 'other."Odd "".%"'


@pytest.fixture
def environment(fresh_database: Any) -> Environment:
    made: Environment = fresh_database(SCRIPT)
    return made


@pytest.fixture(scope="module")
def whole(new_database: Any) -> Environment:
    """The database of the tests that change nothing."""
    made: Environment = new_database(SCRIPT)
    return made


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def test_indexes_in_order_pass(whole: Environment) -> None:
    columns = ["clients (number)", "unique clients (number)", "clients (last)", "parts (client)"]
    check = Indexes(expect=EXPECT, columns=columns, really_unique=True, foreign_keys=True, least=19)
    seen = look(check, whole)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert told(seen)[14:] == [
        "indexes in order: expected valid, ready and live, none twice, got 19 of 19 [yes]",
        "keys of unique indexes: expected no key twice, got 5 of 5 [yes]",
        "tables with rows looked at: expected >= 1, got 2 [yes]",
        "foreign keys with an index: expected each, got 2 of 2 [yes]",
        "foreign keys looked at: expected >= 1, got 2 [yes]",
        "indexes looked at: expected >= 19, got 19 [yes]",
    ]
    assert b"public.clients_lower_idx" in seen.attached[0][1]


@pytest.mark.parametrize(
    ("name", "wanted", "actual"),
    [
        ("clients_numbr_key", "any", "no such index; there is clients_number_key"),
        ("gone_idx", "clients (last, first desc)", "no such index, but public.clients_name_idx is like that"),
        ("gone_idx", "any", "no such index"),
        ("clients_name_idx", "unique", "public.clients (last, first desc)"),
        ("clients_name_idx", "clients (last)", "public.clients (last, first desc)"),
        ("clients_name_idx", "clients (first, last)", "public.clients (last, first desc)"),
        ("clients_name_idx", "clients (last desc, first desc)", "public.clients (last, first desc)"),
        ("clients_name_idx", "clients (last, first desc nulls last)", "public.clients (last, first desc)"),
        ("clients_name_idx", "notes (last, first)", "public.clients (last, first desc)"),
        ("clients_name_idx", "clients using hash (last, first)", "public.clients (last, first desc)"),
        ("clients_like_idx", "clients (number varchar_ops)", "public.clients (number)"),
        ("clients_number_key", "clients (number) include (id)", "unique public.clients (number)"),
        ("notes_client_idx", "notes (client)", "public.notes (client) where client IS NOT NULL"),
        ("odd %", "Odd (x)", 'unique other.Odd ".% (the % id, Second, one)'),
    ],
)
def test_an_index_that_is_not_what_was_declared_fails(whole: Environment, name: str, wanted: str, actual: str) -> None:
    seen = look(Indexes(expect={name: wanted}), whole)
    assert seen.status is Status.FAILED, seen.message
    assert told(seen)[0] == f"index {name}: expected {wanted}, got {actual} [no]"


def spoilt(name: str, column: str = "indisvalid") -> str:
    return f"update pg_index set {column} = false where indexrelid = '{name}'::regclass;"


@pytest.mark.parametrize(
    ("script", "name", "actual"),
    [
        (
            spoilt("clients_name_idx"),
            "public.clients_name_idx on public.clients",
            'not valid (reindex index concurrently "public"."clients_name_idx")',
        ),
        (
            spoilt("clients_name_idx") + spoilt("clients_name_idx", "indisready"),
            "public.clients_name_idx on public.clients",
            'not valid and not ready (reindex index concurrently "public"."clients_name_idx")',
        ),
        (
            spoilt("parts_1_client_idx"),
            "public.parts_1_client_idx on public.parts_1",
            'not valid (reindex index concurrently "public"."parts_1_client_idx")',
        ),
        (
            f'create index "a ""_ccnew" on {ODD} ("the % id");' + spoilt('other."a ""_ccnew"', "indislive"),
            'other.a "_ccnew on other.Odd ".%',
            'not live (drop index concurrently "other"."a ""_ccnew")',
        ),
        (
            "create index half_idx on only parts (client, id)",
            "public.half_idx on public.parts",
            "not valid (a partition has no part of it; create that, then: alter index ... attach partition)",
        ),
    ],
)
def test_an_index_that_cannot_be_used_fails(
    environment: Environment, superuser: Any, script: str, name: str, actual: str
) -> None:
    superuser(environment, script)
    seen = look(Indexes(), environment)
    assert seen.status is Status.FAILED, seen.message
    assert told(seen)[0] == f"{name}: expected valid, ready and live, got {actual} [no]"
    assert look(Indexes(ignore=[name.split(" on ")[0]]), environment).status is Status.PASSED


def test_an_index_that_may_be_being_built_is_no_reason_to_build_it_again(
    environment: Environment, superuser: Any, server: Any
) -> None:
    superuser(environment, spoilt("clients_name_idx"))
    name = environment.databases["app"].rsplit("/", 1)[1]
    with psycopg.connect(server.dsn(name)) as connection:
        connection.execute("lock table clients in share update exclusive mode")
        seen = look(Indexes(), environment)
        connection.rollback()
    assert seen.status is Status.FAILED
    assert (
        "got not valid (its table is being indexed or vacuumed: look again when that has ended) [no]" in told(seen)[0]
    )


def test_a_named_index_that_cannot_be_used_is_told_once(environment: Environment, superuser: Any) -> None:
    superuser(environment, spoilt("clients_number_key"))
    check = Indexes(expect={"clients_number_key": "unique clients (number)"}, columns=["unique clients (number)"])
    seen = look(check, environment)
    assert seen.status is Status.FAILED
    mend = 'not valid (reindex index concurrently "public"."clients_number_key")'
    assert told(seen)[:3] == [
        f"index clients_number_key: expected unique clients (number), got {mend} [no]",
        "index on unique clients (number): expected there, got none [no]",
        "indexes in order: expected valid, ready and live, none twice, got 18 of 19 [yes]",
    ]


@pytest.mark.parametrize(
    ("script", "same"),
    [
        ("create index twin on clients (last, first desc)", "public.clients_name_idx: expected"),
        ("create index twin on clients (lower(last)) where not  gone and first <> 'x'", "public.clients_lower_idx"),
        ("create index twin on clients (number)", "public.clients_number_key"),
        ("create index twin on parts (client)", "public.parts_client_idx"),
    ],
)
def test_an_index_that_does_the_work_of_another_fails(
    environment: Environment, superuser: Any, script: str, same: str
) -> None:
    superuser(environment, script)
    seen = look(Indexes(), environment)
    assert seen.status is Status.FAILED, seen.message
    assert told(seen)[0].startswith(same)
    assert "no index that does its work, got the same as public.twin: " in told(seen)[0]
    assert len(seen.findings) == 3
    assert look(Indexes(duplicates=True), environment).status is Status.PASSED


def test_indexes_that_only_look_alike_are_no_duplicates(environment: Environment, superuser: Any) -> None:
    superuser(
        environment,
        """create index a on clients (last, first); create index b on clients (lower(last)) where not gone;
        create index c on clients (last collate "C", first desc); create index d on clients using hash (last);
        create index e on clients (made desc); create unique index f on clients (number) nulls not distinct
        where id < 3; create index g on clients (upper(last))""",
    )
    assert look(Indexes(), environment).status is Status.PASSED


@pytest.mark.parametrize(
    ("index", "row", "keys"),
    [
        ("clients_number_key", "insert into clients (id, number) values (9, 'a'), (10, 'b'), (11, 'a')", 2),
        ('other."odd %"', f"insert into {ODD} values (1, 2), (1, null)", 1),
        ("mixed", "insert into clients (id, last) values (20, 'a')", 1),
        ("alike", "insert into clients (id, number) values (9, null)", 1),
    ],
)
def test_a_key_that_occurs_twice_fails(
    environment: Environment, superuser: Any, index: str, row: str, keys: int
) -> None:
    superuser(
        environment,
        """create unique index mixed on clients (upper(last)) where not gone;
        create unique index alike on clients (first, (number || 'x')) nulls not distinct where id in (4, 9)""",
    )
    superuser(environment, spoilt(index, "indisready"))
    superuser(environment, row)
    superuser(environment, spoilt(index, "indisready").replace("false", "true"))
    assert look(Indexes(), environment).status is Status.PASSED
    seen = look(Indexes(really_unique=True), environment)
    assert seen.status is Status.FAILED, seen.message
    (bad,) = [finding for finding in seen.findings if finding.ok == "no"]
    assert bad.actual.startswith(f"{keys} key{'s' * (keys > 1)} in more than one row: the index is spoilt")


def test_foreign_keys_without_an_index_fail_on_demand(environment: Environment, superuser: Any) -> None:
    superuser(environment, "drop index notes_client_idx; create index on notes (id, client)")
    assert look(Indexes(), environment).status is Status.PASSED
    seen = look(Indexes(foreign_keys=True), environment)
    assert seen.status is Status.FAILED
    assert told(seen)[1:3] == [
        "client_key of public.notes: expected an index on client, got none: a delete in public.clients reads all of "
        'public.notes (create index concurrently on public.notes ("client")) [no]',
        "foreign keys with an index: expected each, got 1 of 2 [yes]",
    ]


@pytest.mark.parametrize(
    "parameters", [{"least": 20}, {"exclude": ["*"]}, {"ignore": ["*"]}, {"tables": ["parts"], "exclude": ["parts"]}]
)
def test_too_few_are_inconclusive(whole: Environment, parameters: dict[str, Any]) -> None:
    assert look(Indexes(**parameters), whole).status is Status.INCONCLUSIVE


def test_no_index_is_inconclusive(fresh_database: Any) -> None:
    assert look(Indexes(), fresh_database("create table lonely (id int)")).status is Status.INCONCLUSIVE


def test_unique_indexes_of_empty_tables_are_inconclusive(environment: Environment, superuser: Any) -> None:
    superuser(environment, "truncate clients cascade")
    seen = look(Indexes(really_unique=True, tables=["clients"]), environment)
    assert seen.status is Status.INCONCLUSIVE


def test_wrong_names_are_errors(whole: Environment) -> None:
    assert look(Indexes(tables=["client"]), whole).status is Status.ERROR
    assert look(Indexes(schemas=["nowhere"]), whole).status is Status.ERROR


@pytest.mark.parametrize("wanted", ["", "clients", "clients ()", "clients (a", "clients (a) or b", "(a)"])
def test_what_cannot_be_read_is_refused(wanted: str) -> None:
    with pytest.raises(ValidationError, match="expected any, unique, TABLE"):
        Indexes(expect={"a": wanted})
