"""`orphans`: a row without its parent is found whether or not the schema knows the key."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.foreign_keys import ForeignKeys
from pytest_releasegate.checks.orphans import Orphans
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources.pgkeys import foreign_keys
from pytest_releasegate.testing import look

SCRIPT = """
create schema other;
create extension if not exists citext schema other;
create type colour as enum ('red', 'blue');
create domain code as varchar(8);
create table clients (id int primary key, region text, code code, email other.citext,
    shade colour, labels text[], unique (region, code));
insert into clients values (1, 'eu', 'a', 'Ada@example.org', 'red', '{x}'),
    (2, 'us', 'b', 'bob@example.org', 'blue', '{y}');
create table notes (id bigint primary key, client_id bigint, author_id int, gone boolean default false,
    constraint author_key foreign key (author_id) references clients);
insert into notes values (1, 1, 1), (2, 2, 2), (3, null, null);
create table other."Odd "".%" ("the % id" smallint, region text, "co,de" text,
    email other.citext, shade colour, labels text[]);
insert into other."Odd "".%" values (1, 'eu', 'a', 'ADA@example.org', 'red', '{x}'),
    (null, 'nowhere', null, null, null, null);
create table parts (id int, client_id int) partition by list (id);
create table parts_1 partition of parts for values in (1);
insert into parts values (1, 1);
create table parent (id int primary key, client_id int);
create table child () inherits (parent);
insert into child values (1, 7);
create view seen as select * from notes;
drop foreign data wrapper if exists nothing cascade;
create foreign data wrapper nothing;
create server far foreign data wrapper nothing;
create foreign table remote (client_id int) server far;
"""
ODD = 'other."Odd "".%"'
KEYS = {
    "notes.client_id": "clients.id",
    f'{ODD}("the % id")': "public.clients.id",
    f'{ODD}(region, "co,de")': "clients(region, code)",
    f"{ODD}.email": "clients.email",
    f"{ODD}.shade": "clients.shade",
    f"{ODD}.labels": "clients.labels",
    "parts.client_id": "clients.id",
    "parent.client_id": "clients.id",
}
SLEEPING = "set session_replication_role = replica; "


@pytest.fixture
def environment(fresh_database: Any) -> Environment:
    made: Environment = fresh_database(SCRIPT)
    return made


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def test_rows_that_all_have_their_parent_pass(environment: Environment) -> None:
    seen = look(Orphans(keys=KEYS, least=9), environment)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert told(seen) == [
        "keys without orphans: expected no orphaned row, got 9 of 9 [yes]",
        "keys looked at: expected >= 9, got 9 [yes]",
        "keys with values looked at: expected >= 1, got 8 [yes]",
    ]


@pytest.mark.parametrize(
    ("script", "key", "actual"),
    [
        (
            "insert into notes values (4, 9), (5, 9)",
            "undeclared key (client_id): public.notes -> public.clients",
            "2 orphaned rows, where the schema has no foreign key",
        ),
        (
            "insert into notes values (4, null, 9)",
            "author_key: public.notes -> public.clients",
            "1 orphaned row, though the key says valid",
        ),
        (
            "alter table notes drop constraint author_key; insert into notes values (4, null, 9);"
            "alter table notes add constraint author_key foreign key (author_id) references clients not valid",
            "author_key: public.notes -> public.clients",
            '1 orphaned row, the key is not validated (alter table "public"."notes" validate constraint "author_key")',
        ),
        (
            f"insert into {ODD} values (9)",
            'undeclared key (the % id): other.Odd ".% -> public.clients',
            "1 orphaned row, where the schema has no foreign key",
        ),
        (
            f"insert into {ODD} values (null, 'eu', 'b')",
            'undeclared key (region, co,de): other.Odd ".% -> public.clients',
            "1 orphaned row, where the schema has no foreign key",
        ),
        (
            "insert into parts values (1, 9)",
            "undeclared key (client_id): public.parts -> public.clients",
            "1 orphaned row, where the schema has no foreign key",
        ),
        (
            "insert into parent values (1, 9)",
            "undeclared key (client_id): public.parent -> public.clients",
            "1 orphaned row, where the schema has no foreign key",
        ),
    ],
)
def test_orphans_fail_and_can_be_listed(
    environment: Environment, superuser: Any, script: str, key: str, actual: str
) -> None:
    superuser(environment, SLEEPING + script)
    seen = look(Orphans(keys=KEYS), environment)
    assert seen.status is Status.FAILED, seen.message
    assert told(seen)[0] == (
        f"{key}: expected no orphaned row, got {actual}; orphans.txt has the query that lists them [no]"
    )
    assert "got 8 of 9 [yes]" in told(seen)[1]
    query = seen.attached[0][1].decode().rsplit(f"\n{key}\n", 1)[1]
    assert len(superuser(environment, query)) == int(actual.split()[0])


@pytest.mark.parametrize(
    ("user", "message"), [("filtered", "row-level security"), ("outsider", "permission denied for schema other")]
)
def test_rows_that_the_role_may_not_see_are_an_error(fresh_database: Any, user: str, message: str) -> None:
    made = fresh_database(SCRIPT + "alter table clients enable row level security", user=user)
    seen = look(Orphans(keys=KEYS), made)
    assert (seen.status, message in seen.message) == (Status.ERROR, True), seen.message


def test_rows_can_be_left_out(environment: Environment, superuser: Any) -> None:
    superuser(environment, SLEEPING + "insert into notes values (4, 9, 9, true)")
    keys = {"notes.client_id": "clients.id"}
    assert look(Orphans(keys=keys), environment).status is Status.FAILED
    assert look(Orphans(keys=keys, where={"notes": "not gone -- or '100 %'"}), environment).status is Status.PASSED
    assert look(Orphans(keys=keys, exclude=["notes"]), environment).findings[-2].actual == "1"
    assert look(Orphans(declared=False, keys={"parts.client_id": "clients.id"}), environment).status is Status.PASSED


def test_a_key_that_the_schema_declares_too_is_counted_once(environment: Environment, superuser: Any) -> None:
    superuser(environment, SLEEPING + "insert into notes values (4, null, 9)")
    seen = look(Orphans(keys={"notes.author_id": "clients.id"}), environment)
    assert told(seen)[0].startswith("author_key: public.notes -> public.clients: expected no orphaned row, got 1")
    assert told(seen)[1] == "keys looked at: expected >= 1, got 1 [yes]"


@pytest.mark.parametrize(
    ("script", "parameters"),
    [
        ("", {}),
        ("create table clients (id int primary key); create table notes (client_id int references clients)", {}),
        (SCRIPT, {"least": 2}),
        (SCRIPT, {"tables": ["clients"], "candidates": True}),
        (SCRIPT, {"keys": {"notes.client_id": "clients.id"}, "declared": False, "where": {"notes": "id < 0"}}),
    ],
)
def test_too_little_is_inconclusive(fresh_database: Any, script: str, parameters: dict[str, Any]) -> None:
    made = fresh_database(script)
    assert look(Orphans(**parameters), made).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"public.note.client_id": "clients.id"}, "did you mean 'public.notes'?"),
        ({"notes.client": "clients.id"}, "table 'public.notes' has no column 'client'"),
        ({"notes.client_id": "clients.ctid"}, "table 'public.clients' has no column 'ctid'"),
        ({"notes.client_id": "clients.region"}, "client_id (bigint) and region (text) cannot be compared"),
        ({"remote.client_id": "clients.id"}, "there is no table 'remote'"),
    ],
)
def test_wrong_names_are_errors(environment: Environment, keys: dict[str, str], message: str) -> None:
    seen = look(Orphans(keys=keys), environment)
    assert seen.status is Status.ERROR
    assert message in seen.message


@pytest.mark.parametrize(
    "parameters",
    [
        {"keys": {"notes": "clients.id"}},
        {"keys": {"notes(a, b)": "clients.id"}},
        {"keys": {"notes()": "clients()"}},
        {"keys": {"a.b.c.d.e": "clients.id"}},
        {"where": {"notes": "true) or (true"}},
        {"no_keys": ["user_id"]},
    ],
)
def test_what_cannot_be_read_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="expected"):
        Orphans(**parameters)


def test_keys_that_names_suggest_are_shown_and_never_judged(environment: Environment, superuser: Any) -> None:
    superuser(
        environment,
        SLEEPING
        + """insert into notes select n, 1 from generate_series(10, 300) n; insert into notes values (4, 9);
        create table categories (id int primary key); insert into categories values (1);
        create table words (word_id text primary key); insert into words values ('a');
        create table others (category_id int, word_id text, author_id int, client_id text, note_id int, id int);
        insert into others values (1, 'a', 1, '1', 777, 1)""",
    )
    seen = look(Orphans(candidates=True, no_keys=["parts.client_id"]), environment)
    assert seen.status is Status.PASSED
    assert sorted(finding.name for finding in seen.findings if finding.observe) == [
        "candidate public.notes(client_id) -> public.clients(id)",
        "candidate public.others(author_id) -> public.clients(id)",
        "candidate public.others(category_id) -> public.categories(id)",
        "candidate public.others(word_id) -> public.words(word_id)",
    ]
    (first,) = [f for f in seen.findings if f.name.startswith("candidate public.notes")]
    assert first.actual == (
        "293 of 294 rows have their parent (by its name); add it to `keys`, or the column to `no_keys`"
    )
    taken = look(Orphans(candidates=True, keys={"notes.client_id": "clients.id"}), environment)
    assert "candidate public.notes" not in "".join(told(taken))


def test_a_table_that_was_emptied_meanwhile_has_no_orphans_to_count(
    environment: Environment, superuser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*asked: Any) -> Any:
        superuser(environment, "truncate notes cascade")
        return foreign_keys(*asked)

    for module in ("orphans", "foreign_keys"):
        monkeypatch.setattr(f"pytest_releasegate.checks.{module}.foreign_keys", late)
    for check in (Orphans(), ForeignKeys()):
        seen = look(check, environment)
        assert seen.status is Status.ERROR
        assert "public.notes was truncated or rewritten while it was read" in seen.message
