"""`foreign_keys`: a key that is only believed to hold does not pass."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.foreign_keys import ForeignKeys
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look

SCRIPT = """
create schema other;
create extension if not exists citext schema other;
create table clients (id int primary key, region text, code text, email other.citext unique, unique (region, code));
insert into clients values (1, 'eu', 'a', 'Ada@example.org'), (2, 'us', 'b', 'bob@example.org');
create table other."Odd ""%" ("the id" int constraint to_client references clients);
insert into other."Odd ""%" values (1), (null);
create table simple (region text, code text,
    constraint simple_key foreign key (region, code) references clients (region, code));
insert into simple values ('eu', 'a'), ('nowhere', null), (null, null);
create table fully (region text, code text,
    constraint fully_key foreign key (region, code) references clients (region, code) match full);
insert into fully values ('us', 'b'), (null, null);
create table mails (email other.citext constraint mail_key references clients (email));
insert into mails values ('ADA@EXAMPLE.ORG');
create table parts (id int, client int constraint part_key references clients) partition by list (id);
create table parts_1 partition of parts for values in (1);
create table parts_2 partition of parts for values in (2);
insert into parts values (1, 1), (2, 2);
"""
BROKEN = "set session_replication_role = replica; "
GOOD = "validated and in force, no orphaned row"


@pytest.fixture
def environment(fresh_database: Any) -> Environment:
    made: Environment = fresh_database(SCRIPT)
    return made


def told(seen: Any) -> list[str]:
    """The findings as they are read; the numbers in the names of triggers differ from run to run."""
    return [re.sub(r"(?<=_[ac]_)\d+", "*", f"{finding} [{finding.ok}]") for finding in seen.findings]


def test_keys_that_hold_pass_with_one_line(environment: Environment) -> None:
    seen = look(ForeignKeys(least=5), environment)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert told(seen) == [
        f"foreign keys that hold: expected {GOOD}, got 5 of 5 [yes]",
        "foreign keys looked at: expected >= 5, got 5 [yes]",
        "tables with rows looked at: expected >= 1, got 5 [yes]",
    ]
    assert b"mail_key    public.mails" in seen.attached[0][1]


@pytest.mark.parametrize(
    ("script", "key", "actual"),
    [
        ('insert into other."Odd ""%" values (7), (8)', 'to_client: other.Odd "% -> public.clients', "2 orphaned rows"),
        ("insert into simple values ('eu', 'b')", "simple_key: public.simple -> public.clients", "1 orphaned row"),
        ("insert into fully values ('eu', null)", "fully_key: public.fully -> public.clients", "1 orphaned row"),
        ("insert into fully values ('eu', 'b')", "fully_key: public.fully -> public.clients", "1 orphaned row"),
        ("insert into mails values ('eve@example.org')", "mail_key: public.mails -> public.clients", "1 orphaned row"),
        ("insert into parts values (2, 9)", "part_key: public.parts -> public.clients", "1 orphaned row"),
        (
            "alter table parts_2 disable trigger all",
            "part_key: public.parts -> public.clients",
            "2 of its triggers disabled (on public.parts_2: RI_ConstraintTrigger_c_*, RI_ConstraintTrigger_c_*)",
        ),
    ],
)
def test_a_broken_key_fails_and_is_named(
    environment: Environment, superuser: Any, script: str, key: str, actual: str
) -> None:
    superuser(environment, BROKEN + script)
    seen = look(ForeignKeys(), environment)
    assert seen.status is Status.FAILED, seen.message
    assert told(seen)[0] == f"{key}: expected {GOOD}, got {actual} [no]"
    assert "got 4 of 5 [yes]" in told(seen)[1]


def test_a_key_that_only_a_partition_has_is_looked_at(environment: Environment, superuser: Any) -> None:
    key = "alter table parts_1 add constraint own_key foreign key (id) references clients (id)"
    superuser(environment, f"insert into clients values (3); {key} not valid")
    seen = look(ForeignKeys(), environment)
    assert seen.status is Status.FAILED
    assert "own_key: public.parts_1 -> public.clients: expected validated and in force" in told(seen)[0]
    superuser(environment, "alter table parts_1 validate constraint own_key")
    assert look(ForeignKeys(tables=["parts"]), environment).findings[0].actual == "2 of 2"


def test_keys_of_empty_tables_cannot_tell(environment: Environment, superuser: Any) -> None:
    superuser(environment, "delete from mails")
    seen = look(ForeignKeys(tables=["mails"]), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert told(seen)[-1] == "tables with rows looked at: expected >= 1, got 0 [cannot tell]"


def test_what_the_catalogue_says_fails_without_counting(environment: Environment, superuser: Any) -> None:
    superuser(
        environment,
        """create table late (client int);
        alter table late add constraint late_key foreign key (client) references clients not valid;
        alter table clients disable trigger all""",
    )
    seen = look(ForeignKeys(look="catalogue", tables=["late"]), environment)
    assert seen.status is Status.FAILED
    assert told(seen)[0] == (
        "late_key: public.late -> public.clients: expected validated and in force, "
        'got not validated (alter table "public"."late" validate constraint "late_key"), '
        "2 of its triggers disabled (on public.clients: RI_ConstraintTrigger_a_*, RI_ConstraintTrigger_a_*) [no]"
    )


def test_catalogue_alone_does_not_see_orphans(environment: Environment, superuser: Any) -> None:
    superuser(environment, BROKEN + "insert into mails values ('eve@example.org')")
    seen = look(ForeignKeys(look="catalogue"), environment)
    assert seen.status is Status.PASSED
    assert told(seen)[0] == "foreign keys that hold: expected validated and in force, got 5 of 5 [yes]"


def test_only_the_rows_of_keys_that_cannot_be_trusted_are_counted(environment: Environment, superuser: Any) -> None:
    superuser(
        environment, BROKEN + "insert into mails values ('eve@example.org'); insert into parts values (2, 9), (2, 8)"
    )
    trusted = look(ForeignKeys(look="untrusted"), environment)
    assert (trusted.status, trusted.findings[0].actual) == (Status.PASSED, "5 of 5")
    superuser(environment, "alter table parts_1 disable trigger all")
    seen = look(ForeignKeys(look="untrusted"), environment)
    assert seen.status is Status.FAILED
    assert told(seen)[0].endswith("_c_*), 2 orphaned rows [no]")
    superuser(environment, "delete from parts where client > 2")
    assert told(look(ForeignKeys(look="untrusted"), environment))[0].endswith("_c_*), no orphaned row [no]")


def test_a_key_that_is_not_enforced_is_named_and_counted(environment: Environment, superuser: Any) -> None:
    if superuser(environment, "select current_setting('server_version_num')::int < 180000")[0][0]:
        pytest.skip("keys that are not enforced came with PostgreSQL 18")
    superuser(
        environment,
        """create table loose (client int constraint loose_key references clients not enforced);
        insert into loose values (9)""",
    )
    for mode in ("rows", "untrusted"):
        seen = look(ForeignKeys(look=mode, tables=["loose"]), environment)
        assert seen.status is Status.FAILED
        assert seen.findings[0].actual == "not enforced, 1 orphaned row"


def test_the_scope_can_be_narrowed(environment: Environment, superuser: Any) -> None:
    superuser(environment, BROKEN + "insert into mails values ('eve@example.org')")
    assert look(ForeignKeys(tables=["simple", "fully"]), environment).status is Status.PASSED
    assert look(ForeignKeys(exclude=["mails"]), environment).status is Status.PASSED
    assert look(ForeignKeys(schemas=["other"]), environment).findings[-1].actual == "1"


@pytest.mark.parametrize("script", ["", "create table lonely (id int)"])
def test_no_foreign_key_is_inconclusive(fresh_database: Any, script: str) -> None:
    seen = look(ForeignKeys(), fresh_database(script))
    assert seen.status is Status.INCONCLUSIVE
    assert told(seen) == ["foreign keys looked at: expected >= 1, got 0 [cannot tell]"]


def test_fewer_keys_than_declared_are_inconclusive(environment: Environment) -> None:
    assert look(ForeignKeys(least=6), environment).status is Status.INCONCLUSIVE


def test_parents_hidden_by_policies_are_an_error_not_orphans(fresh_database: Any) -> None:
    script = SCRIPT + "alter table clients enable row level security;"
    seen = look(ForeignKeys(), fresh_database(script, user="filtered"))
    assert seen.status is Status.ERROR
    assert "row-level security" in seen.message


def test_wrong_names_are_errors(environment: Environment) -> None:
    seen = look(ForeignKeys(tables=["public.mail"]), environment)
    assert seen.status is Status.ERROR
    assert "did you mean 'public.mails'?" in seen.message
    with pytest.raises(ValidationError):
        ForeignKeys(look="deep")
