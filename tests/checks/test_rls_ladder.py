"""`rls`: which look a cell gets, what each can decide, and what none of them does to the database."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pytest_releasegate.checks.rls import Rls
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources.pgfiles import as_account
from pytest_releasegate.sources.pgserver import PostgresServer
from pytest_releasegate.testing import FakeClock, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.checks.conftest import NewDatabase, Superuser

SCRIPT = """
create schema auth;
grant usage on schema auth, public to anon, authenticated, releasegate_probe;
create function auth.uid() returns int language sql stable as
    $$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::int $$;
create table notes (id int primary key, author int not null, text text not null);
insert into notes values (1, 7, 'a'), (2, 7, 'b'), (3, 8, 'c');
create table visits (clinic int, day int, author int not null, primary key (clinic, day));
insert into visits values (1, 1, 7), (1, 2, 8), (2, 1, 8);
create table bare (author int, text text);
insert into bare values (7, 'a'), (8, 'b');
create table loose (author int, text text);
insert into loose values (7, 'a'), (8, 'b');
alter table loose enable row level security;
create table shared (id int primary key, author int not null);
insert into shared values (1, 7), (2, 8);
create table shut (id int primary key, author int not null);
insert into shut values (1, 7), (2, 8);
grant select, insert, update, delete on all tables in schema public to authenticated;
revoke select on shut from authenticated;
alter table notes enable row level security; create policy own on notes using (author = auth.uid());
alter table visits enable row level security; create policy own on visits using (author = auth.uid());
alter table bare enable row level security; create policy own on bare using (author = auth.uid());
alter table shared enable row level security;
create policy every on shared using (true) with check (author = auth.uid());
alter table shut enable row level security; create policy never on shut using (false);
create policy loose on loose using (author = auth.uid()) with check (true);
create table told (what text);
create function tell() returns trigger language plpgsql security definer as
    $$ begin insert into told values (tg_op); return coalesce(new, old); end $$;
create trigger early before insert or update or delete on bare for each row execute function tell();
create trigger whole before update on bare execute function tell();
create function stop() returns trigger language plpgsql as 'begin raise exception ''stopped''; end';
create trigger stop before insert or update on loose for each row execute function stop();
create trigger whole before update on loose execute function stop();
alter table loose enable always trigger stop; alter table loose enable always trigger whole;
create table wide (id int primary key, author int not null);
insert into wide values (1, 7), (2, 8);
grant select, delete on wide to authenticated;
alter table wide enable row level security; create policy every on wide for delete using (true);
create policy own on wide for select using (author = auth.uid());
"""
WHO = {"ann": {"role": "authenticated", "claims": {"sub": 7}}}
OWN = "author = auth.uid()"


def cells(seen: Any) -> list[str]:
    """What each cell says, without the head and the count."""
    return [f"{finding.actual} [{finding.ok}]" for finding in seen.findings if " as ann" in finding.name]


def matrix(expect: dict[str, Any], **more: Any) -> Rls:
    """The matrix for Ann."""
    expected = {table: {"ann": row} for table, row in expect.items()}
    return Rls.model_validate({"personas": WHO, "expect": expected, **more})


@pytest.fixture(scope="module")
def told(new_database: NewDatabase) -> Environment:
    """A database where nothing may be probed."""
    return new_database(SCRIPT)


@pytest.fixture(scope="module")
def probed(told: Environment) -> Environment:
    """The same, where probes may be."""
    return Environment(name="test", databases=told.databases, allow=frozenset({"probes"}))


@pytest.mark.parametrize(
    ("table", "command", "expected", "actual"),
    [
        ("notes", "select", OWN, "2 of 3 rows visible: 2 of the 2 with it, 0 others (read) [yes]"),
        ("shut", "select", "denied", "denied: no privilege (catalogue) [yes]"),
        ("shut", "update", "denied", "0 of 2 rows reached (EXPLAIN) [yes]"),
        ("shut", "delete", "none", "0 of 2 rows reached (EXPLAIN) [yes]"),
        ("shut", "delete", OWN, "0 of 2 rows reached: 0 of the 1 with it, 0 others (EXPLAIN) [no]"),
        ("shared", "update", "all", "2 of 2 rows reached (EXPLAIN) [yes]"),
        ("shared", "delete", "denied", "2 of 2 rows reached (EXPLAIN) [no]"),
        ("shared", "delete", OWN, "2 of 2 rows reached: 1 of the 1 with it, 1 others (EXPLAIN) [no]"),
        (
            "wide",
            "delete",
            "all",
            "1 of 2 rows reached with WHERE, 2 of 2 rows reached without: the policies of the write are broader "
            "(EXPLAIN) [no]",
        ),
        (
            "notes",
            "delete",
            OWN,
            "writes are not probed in environment 'test': add `probes` to its `allow`; its plan reaches the rows with "
            "(author = (((NULLIF(current_setting('request.jwt.claims'::text, true), ''::text))::jsonb ->> "
            "'sub'::text))::integer), which does not tell which those are (EXPLAIN) [cannot tell]",
        ),
        (
            "notes",
            "insert",
            "denied",
            "writes are not probed in environment 'test': add `probes` to its `allow` (catalogue) [cannot tell]",
        ),
    ],
)
def test_without_probes_plans_decide_what_they_can(
    told: Environment, table: str, command: str, expected: str, actual: str
) -> None:
    seen = look(matrix({table: {command: expected}}), told)
    assert cells(seen) == [actual]
    wanted = {"yes": Status.PASSED, "no": Status.FAILED, "cannot tell": Status.INCONCLUSIVE}
    assert seen.status is wanted[actual.rsplit("[", 1)[1][:-1]]


EXPECTED = {
    "bare": {"select": OWN, "insert": OWN, "update": OWN, "delete": OWN},
    "loose": {"insert": OWN, "update": OWN},
    "shared": {"select": "all", "update": "all", "insert": OWN},
    "notes": {"select": {"keys": [1, 2]}, "delete": {"keys": [2, 1]}, "update": OWN},
}


def test_what_no_probe_can_decide_is_decided_on_a_copy(probed: Environment, superuser: Superuser) -> None:
    seen = look(matrix(EXPECTED, scratch=True), probed)
    assert (seen.status, cells(seen)) == (
        Status.FAILED,
        [
            "1 of 2 rows visible: 1 of the 1 with it, 0 others (read) [yes]",
            "1 of 1 rows with it accepted, 0 of 1 others (scratch copy) [yes]",
            "1 of 2 rows reached: 1 of the 1 with it, 0 others (scratch copy) [yes]",
            "1 of 2 rows reached: 1 of the 1 with it, 0 others (probe) [yes]",
            "1 of 1 rows with it accepted, 1 of 1 others (scratch copy) [no]",
            "1 of 2 rows reached: 1 of the 1 with it, 0 others; but they may be changed into rows without it "
            "(scratch copy) [no]",
            "2 of 2 rows visible (read) [yes]",
            "2 of 2 rows reached (probe) [yes]",
            "1 of 1 rows with it accepted, 0 of 1 others (probe) [yes]",
            "2 of 3 rows visible: 2 of the 2 with it, 0 others (read) [yes]",
            "2 of 3 rows reached: 2 of the 2 with it, 0 others (probe) [yes]",
            "2 of 3 rows reached: 2 of the 2 with it, 0 others (probe) [yes]",
        ],
    )
    assert seen.attached[0][1].endswith(b"\n12 cells: 3 by read, 5 by probe, 4 by scratch copy\n")
    assert superuser(probed, "select * from told") == []


def test_a_protected_environment_is_never_copied(told: Environment) -> None:
    seen = look(matrix({"notes": {"insert": OWN}}, scratch=True), replace(told, protected=True))
    assert (seen.status, cells(seen)) == (
        Status.INCONCLUSIVE,
        [
            "writes are not probed in environment 'test': add `probes` to its `allow`; no copy is made of a protected "
            "environment's data: try it on another (catalogue) [cannot tell]"
        ],
    )


@pytest.mark.parametrize(
    ("table", "keys", "actual"),
    [
        ("notes", [1, 2], "2 of 3 rows visible: 2 of the 2 with it, 0 others (read) [yes]"),
        ("notes", ["1", "2"], "2 of 3 rows visible: 2 of the 2 with it, 0 others (read) [yes]"),
        ("notes", [1], "2 of 3 rows visible: 1 of the 1 with it, 1 others, with keys such as 2 (read) [no]"),
        ("notes", [1, 2, 3], "2 of 3 rows visible: 2 of the 3 with it, 0 others (read) [no]"),
        (
            "notes",
            [1, 2, 99],
            "2 of 3 rows visible: 2 of the 2 with it, 0 others; 1 of the 3 keys are not in the table (read) "
            "[cannot tell]",
        ),
        ("visits", [[1, 1]], "1 of 3 rows visible: 1 of the 1 with it, 0 others (read) [yes]"),
        (
            "visits",
            [[2, 1]],
            "1 of 3 rows visible: 0 of the 1 with it, 1 others, with keys such as (1, 1) (read) [no]",
        ),
        (
            "visits",
            [1],
            "the keys do not fit the table's primary key, or it has none (catalogue) [cannot tell]",
        ),
        ("bare", [1], "the keys do not fit the table's primary key, or it has none (catalogue) [cannot tell]"),
    ],
)
def test_exactly_these_keys(told: Environment, table: str, keys: list[Any], actual: str) -> None:
    assert cells(look(matrix({table: {"select": {"keys": keys}}}), told)) == [actual]


def test_a_key_is_a_value_and_never_sql(told: Environment) -> None:
    seen = look(matrix({"notes": {"select": {"keys": ["1') or ('' = '", "\\' or true --"]}}}), told)
    assert (seen.status, seen.message.splitlines()) == (
        Status.ERROR,
        [
            'public.notes as ann: invalid input syntax for type integer: "..." (SQLSTATE 22P02)',
            "    correct the expectation, or the policy that asks this",
        ],
    )


def test_text_is_executed_as_it_was_read(told: Environment, superuser: Superuser) -> None:
    superuser(told, "alter role releasegate_probe set standard_conforming_strings = off")
    try:
        seen = look(matrix({"notes": {"select": f"{OWN} and text <> '\\'"}}), told)
    finally:
        superuser(told, "alter role releasegate_probe reset standard_conforming_strings")
    assert cells(seen) == ["2 of 3 rows visible: 2 of the 2 with it, 0 others (read) [yes]"], seen.message


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"keys": []}, "at least one primary key"),
        ({"keys": [1], "also": 2}, "expected `keys"),
        ({"keys": [1, 1]}, "each primary key once"),
        ({"keys": [1.5]}, "as a number, a text or a list"),
        ({"keys": [True]}, "as a number, a text or a list"),
        ("TODO", "nobody has decided yet what is expected here; write denied, none"),
    ],
)
def test_what_no_cell_can_mean_is_refused(expected: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        matrix({"notes": {"select": expected}})


def test_keys_fit_no_insert() -> None:
    with pytest.raises(ValueError, match=r"expect.notes.ann.insert: expected allowed, denied or a predicate"):
        matrix({"notes": {"insert": {"keys": [1]}}})


def test_keys_are_written_as_they_were_read() -> None:
    made = matrix({"visits": {"select": {"keys": [[1, 1], [2, 1]]}, "delete": "denied"}})
    assert Rls.model_validate(made.model_dump()) == made


@pytest.fixture
def logged(probed: Environment, superuser: Superuser, server: PostgresServer) -> Iterator[Any]:
    """What the server has logged of the probing role's statements since then."""
    superuser(probed, "alter role releasegate_probe set log_statement = 'all'")
    start = len(server.log)
    try:
        yield lambda: server.log[start:]
    finally:
        superuser(probed, "alter role releasegate_probe reset log_statement")


@pytest.mark.parametrize("tables", [["notes"], ["notes", "visits"]])
def test_the_log_shows_no_write_and_as_many_statements_for_any_number_of_cells(
    probed: Environment, superuser: Superuser, logged: Any, tables: list[str]
) -> None:
    state = (
        "select pg_current_snapshot()::text, (select array_agg(t) from (select xmin, xmax, ctid from notes) t)::text"
    )
    before = superuser(probed, state)
    seen = look(matrix({table: {"insert": OWN, "delete": "denied", "select": OWN} for table in tables}), probed)
    assert seen.status is Status.FAILED
    log = logged()
    statements = [word.upper() for word in re.findall(r"LOG:  (?:statement|execute [^:]+): \s*(\w+)", log)]
    assert set(statements) <= {"BEGIN", "SELECT", "SET", "ROLLBACK", "WITH"}
    # personas, then what reads, then the probes, then the questions that only some answers raise
    assert (log.count("do $releasegate$"), statements.count("ROLLBACK")) == (4, 2)
    assert superuser(probed, state) == before


def test_a_role_that_inherits_the_owner_is_an_error(probed: Environment, superuser: Superuser) -> None:
    superuser(probed, "create role heir; grant owner to heir; grant heir to releasegate_probe")
    superuser(probed, "create table kept (id int primary key); alter table kept enable row level security")
    superuser(probed, "alter table kept owner to owner")
    check = Rls.model_validate({"personas": {"who": {"role": "heir"}}, "expect": {"kept": {"who": "denied"}}})
    try:
        seen = look(check, probed)
    finally:
        superuser(probed, "drop table kept; drop role heir")
    assert (seen.status, seen.message.splitlines()[0]) == (
        Status.ERROR,
        "persona 'who': role 'heir' owns public.kept, so no policy applies to it",
    )


def test_a_question_that_cannot_be_asked_stops_before_any_probe(probed: Environment, logged: Any) -> None:
    seen = look(matrix({"notes": {"delete": "autor = auth.uid()"}}), probed)
    assert (seen.status, seen.message.splitlines()[0]) == (
        Status.ERROR,
        'public.notes as ann: column "autor" does not exist (SQLSTATE 42703)',
    )
    assert logged().count("do $releasegate$") == 2


def test_questions_that_take_too_long_are_named(probed: Environment, superuser: Superuser) -> None:
    endless = "(select count(*) from generate_series(1, 1000000000)) > 0"
    superuser(probed, f"create policy slow on notes for delete using ({endless})")
    try:
        # on a clock that stands still each statement may take as long as the gate
        short = timedelta(milliseconds=500)
        seen = look(matrix({"notes": {"delete": OWN}}), probed, clock=FakeClock(), timeout=short)
    finally:
        superuser(probed, "drop policy slow on notes")
    assert (seen.status, seen.message.splitlines()) == (
        Status.ERROR,
        [
            "2 questions about public.notes as ann did not end in time",
            "    raise the gate's `timeout`, or give its policies the indexes that they need",
        ],
    )


@pytest.fixture(scope="module")
def standby() -> Iterator[Environment]:
    """A server in recovery, which waits for more to replay and answers meanwhile."""
    with PostgresServer() as primary:
        with psycopg.connect(primary.dsn(), autocommit=True) as connection:
            connection.execute(
                "create role anon; create role authenticated; create role releasegate_probe login bypassrls;"
                "grant pg_read_all_data, anon, authenticated to releasegate_probe;" + SCRIPT
            )
        primary.halt()
        (primary.data / "standby.signal").touch()
        options = f"-c listen_addresses= -c port={primary.port} -c unix_socket_directories={primary.socket_dir}"
        control = [str(primary.binaries / "pg_ctl"), "-D", str(primary.data), "-s", "-w"]
        with (primary.folder / "log").open("a") as log:
            command = [*control, "-o", options, "start"]
            subprocess.run(command, **as_account(), check=True, cwd="/", stdout=log, stderr=log)
        try:
            dsn = f"postgresql://releasegate_probe@/postgres?host={primary.socket_dir}&port={primary.port}"
            yield Environment(name="prod", databases={"app": dsn}, allow=frozenset({"probes"}))
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **as_account(), check=True, cwd="/")


def test_a_standby_reads_and_explains(standby: Environment) -> None:
    seen = look(matrix({"notes": {"select": OWN, "delete": OWN}, "shut": {"update": "denied"}}), standby)
    read, open_, shut = cells(seen)
    assert (seen.status, read, shut) == (
        Status.INCONCLUSIVE,
        "2 of 3 rows visible: 2 of the 2 with it, 0 others (read) [yes]",
        "0 of 2 rows reached (EXPLAIN) [yes]",
    )
    assert open_.startswith("writes are not probed on a standby: name the primary; its plan reaches the rows with")
