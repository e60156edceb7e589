"""`cascade`: what goes with a deleted row is declared in the gate, and seen in the catalogue and in a deletion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.cascade import Cascade
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look

SCRIPT = """
create table clients (id int primary key, name text);
create table "odd ""% notes" (id int primary key, client int references clients on delete cascade);
create table tags (id int primary key, note int not null references "odd ""% notes" on delete cascade);
create table messages (id int primary key, client int references clients on delete set null);
create table payments (id int primary key, client int not null references clients on delete restrict);
create table visits (id int primary key,
    client int not null constraint visit_key references clients deferrable initially deferred);
create table letters (id int primary key, client int default 1 references clients on delete set default);
insert into clients select i, 'a' from generate_series(1, 9) i;
insert into "odd ""% notes" select i, i % 4 + 2 from generate_series(1, 20) i;
insert into tags select i, i from generate_series(1, 20) i;
insert into messages values (1, 3), (2, 3), (3, 9);
insert into payments values (1, 2), (2, 6);
insert into visits values (1, 9);
insert into letters values (1, 4), (2, 1);
grant select, delete on all tables in schema public to service_role;
"""
NOTES = 'odd "% notes'
EXPECT = {
    "clients": {
        NOTES: "cascade",
        "messages": "set_null",
        "payments": "restrict",
        "visit_key": "restrict",
        "public.letters": "set_default",
    },
    NOTES: {"tags": "cascade"},
}


@pytest.fixture
def environment(fresh_database: Any) -> Environment:
    made: Environment = fresh_database(SCRIPT, allow=("probes",))
    return made


@pytest.fixture
def rows(superuser: Any) -> Any:
    tables = "clients", '"odd ""% notes"', "tags", "messages", "payments", "visits", "letters"
    query = " union all ".join(f"select sum(hashtext(t::text)) from {table} t" for table in tables)
    return lambda environment: superuser(environment, query)


def cascade(on_delete: Any = None, **more: Any) -> Cascade:
    return Cascade.model_validate({"on_delete": on_delete or EXPECT, "as": "service_role", **more})


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def test_each_rule_is_seen_at_work_and_all_is_undone(environment: Environment, rows: Any) -> None:
    before = rows(environment)
    seen = look(cascade(least=6), environment)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    of = "of a deleted row of public.clients"
    assert told(seen) == [
        f"{NOTES} {of}: expected cascade, got cascade: 5 rows gone [yes]",
        f"messages {of}: expected set null, got set null: 2 of 2 rows left, 0 of them still refer to it [yes]",
        f"payments {of}: expected restrict or no action, got restrict: refused because of 1 row [yes]",
        f"visit_key {of}: expected restrict or no action, got no action: refused because of 1 row [yes]",
        f"public.letters {of}: expected set default, got set default: 1 of 1 row left, 0 of them still refer to "
        "it [yes]",
        f"tags of a deleted row of public.{NOTES}: expected cascade, got cascade: 1 row gone [yes]",
        "keys looked at: expected >= 6, got 6 [yes]",
    ]
    assert rows(environment) == before


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (
            "alter table messages drop constraint messages_client_fkey, add constraint other foreign key (client) "
            "references clients on delete cascade",
            "expected set null, got cascade; to mend: give other of public.messages ON DELETE SET NULL [no]",
        ),
        (
            "alter table messages disable trigger all; alter table clients disable trigger all",
            "expected set null, got set null, 4 of its triggers disabled [no]",
        ),
        (
            "alter table messages drop constraint messages_client_fkey",
            'got no such key; there are letters_client_fkey, odd "% notes_client_fkey, payments_client_fkey, visit_key',
        ),
    ],
)
def test_a_rule_that_is_not_as_declared_fails(environment: Environment, superuser: Any, script: str, line: str) -> None:
    superuser(environment, script)
    seen = look(cascade({"clients": {"messages": "set_null"}}, look="catalogue"), replace(environment, allow=()))
    assert seen.status is Status.FAILED
    assert line in "\n".join(told(seen)), told(seen)


KEEP = """create function keep() returns trigger language plpgsql as $$ begin return null; end $$;
create trigger keep before delete on "odd ""% notes" for each row execute function keep()"""


def test_a_trigger_that_keeps_the_rows_is_seen_by_the_deletion_alone(
    environment: Environment, superuser: Any, rows: Any
) -> None:
    superuser(environment, KEEP)
    before = rows(environment)
    check = {"clients": {NOTES: "cascade"}}
    assert look(cascade(check, look="catalogue"), environment).status is Status.PASSED
    seen = look(cascade(check), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert f"trigger keep of public.{NOTES} would fire; where it calls nothing outside" in told(seen)[0]
    seen = look(cascade(check, triggers=True), environment)
    assert seen.status is Status.FAILED
    assert "expected cascade, got cascade, but 5 of 5 rows left [no]" in told(seen)[0]
    assert rows(environment) == before


@pytest.mark.parametrize(
    ("script", "more", "reason"),
    [
        ("delete from messages", {}, "no row of public.clients has rows there"),
        ("", {"most": 7}, "it would touch 13 rows, and `most` is 7"),
        ("", {"where": {"clients": "id = 9"}}, "no row of public.clients has rows there, and none elsewhere that"),
        (
            "alter table clients enable row level security; create policy no on clients to authenticated using (false)",
            {"as": "authenticated"},
            "set null in the catalogue; the deletion was refused by",
        ),
        ("revoke delete on clients from service_role", {}, "the deletion was refused by SQLSTATE 42501"),
    ],
)
def test_what_cannot_be_tried_cannot_tell(
    environment: Environment, superuser: Any, script: str, more: Any, reason: str
) -> None:
    superuser(environment, f"insert into payments values (9, 9); {script}")
    seen = look(cascade({"clients": {"messages": "set_null"}}, **more), environment)
    assert seen.status is Status.INCONCLUSIVE, told(seen)
    assert reason in told(seen)[0]


def test_keys_to_partitions_refuse_by_their_own_names(environment: Environment, superuser: Any) -> None:
    superuser(
        environment,
        """create table chats (id int primary key) partition by range (id);
        create table chats_1 partition of chats for values from (1) to (9);
        create table lines (id int, chat int constraint to_chat references chats) partition by range (id);
        create table lines_1 partition of lines for values from (1) to (9);
        insert into chats values (1); insert into lines values (1, 1);
        grant select, delete on chats, lines to service_role""",
    )
    seen = look(cascade({"chats": {"lines": "restrict"}}), environment)
    assert seen.status is Status.PASSED, (seen.message, told(seen))


@pytest.mark.parametrize(("most", "status"), [(40, Status.PASSED), (39, Status.INCONCLUSIVE)])
def test_all_generations_of_a_tree_count(environment: Environment, superuser: Any, most: int, status: Status) -> None:
    superuser(
        environment,
        """create table tree (id int primary key, up int constraint up references tree on delete cascade);
        insert into tree select i, nullif(i - 1, 0) from generate_series(1, 40) i;
        grant select, delete on tree to service_role""",
    )
    seen = look(cascade({"tree": {"up": "cascade"}}, most=most, where={"tree": "id = 1"}), environment)
    assert seen.status is status, (seen.message, told(seen))
    assert superuser(environment, "select count(*) from tree") == [(40,)]


def test_several_keys_to_one_parent_ask_for_a_name_and_others_are_told(environment: Environment) -> None:
    seen = look(cascade({"clients": {"payments": "restrict"}}, look="catalogue"), environment)
    assert seen.status is Status.PASSED
    assert "visit_key no action" in told(seen)[1]
    assert seen.findings[1].observe


def test_without_permission_or_table_it_cannot_look(environment: Environment, superuser: Any) -> None:
    seen = look(cascade(), replace(environment, allow=()))
    assert (seen.status, "`look: deletion` needs `probes`" in seen.message) == (Status.ERROR, True)
    seen = look(cascade({"client": {"notes": "cascade"}}), environment)
    assert (seen.status, "there is no table 'client'" in seen.message) == (Status.ERROR, True)
    superuser(environment, "alter table payments add other int references clients")
    seen = look(cascade({"clients": {"payments": "restrict"}}), environment)
    assert "several keys refer to it; name one: payments_client_fkey, payments_other_fkey" in told(seen)[0]


@pytest.mark.parametrize("wrong", [{}, {"clients": {}}, {"clients": {"notes": "delete"}}])
def test_what_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        Cascade(on_delete=wrong)
