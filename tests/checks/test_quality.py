"""`quality`: every rule counts its rows, a null passes none silently, and gates over one table share one scan."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.check import Context, Shared
from pytest_releasegate.checks.quality import Quality
from pytest_releasegate.execution import look as execute
from pytest_releasegate.model import Environment, Release, Status
from pytest_releasegate.testing import FakeClock, look

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_releasegate.sources.pgserver import PostgresServer
    from tests.conftest import Product

SCRIPT = r"""
create type color as enum ('red', 'green');
create table "Odd ""%" (
    id int primary key, code text, region text, amount numeric(10, 2), level int, color color, email text,
    born date, local_at timestamp, created_at timestamptz, signed_at timestamptz, active boolean, test_run text);
insert into "Odd ""%"
select n, 'C-' || n, case when n % 2 = 0 then 'eu' else 'us' end, n * 10, n, 'red', 'a' || n || '@example.org',
       '1990-01-01', '2026-01-01', now() - interval '3 hours', now() - interval '1 hour', true, null
from generate_series(1, 10) n;
create table empty (id int, at timestamptz);
create table pair (a int, b text collate "C", c int, unique (a, b) include (c));
create unique index pair_part on pair (c) where a > 1;
insert into pair values (1, 'x', 1), (1, 'y', 2);
"""
ODD = 'Odd "%'


@pytest.fixture(scope="module")
def environment(new_database: Any) -> Environment:
    made: Environment = new_database(SCRIPT)
    return made


@pytest.fixture
def changed(environment: Environment, superuser: Any) -> Any:
    """Change the rows for one test."""
    yield lambda script: superuser(environment, script)
    superuser(environment, 'drop table "Odd ""%", empty, pair; drop type color;' + SCRIPT)


def rules(**keys: Any) -> Quality:
    return Quality(tables={ODD: keys})


def told(seen: Any) -> list[str]:
    """The findings, as if the tests took no time."""
    return [re.sub(r"3:0\d:\d\d old", "3:00:00 old", f"{finding} [{finding.ok}]") for finding in seen.findings]


ALL = {
    "where": "test_run is null",
    "not_null": ["code", "amount"],
    "not_blank": ["code"],
    "unique": ["code", ["region", "id"]],
    "accepted": {"color": ["red", "blue"], "level": list(range(1, 11)), "active": [True]},
    "range": {"amount": {"above": 0, "max": 100}, "born": {"min": "1900-01-01"}, "level": {"below": 11}},
    "pattern": {"code": r"^C-\d+$", "email": "^[^@%']+@example"},
    "fresh": {"created_at": "4h"},
    "not_future": ["created_at", "local_at"],
    "ordered": [["born", "local_at", "created_at", "signed_at"]],
    "holds": {"levels rise": "amount = level * 10 -- in cents\n"},
    "zone": "UTC",
}


def test_rules_that_hold_pass_with_one_line_a_table(environment: Environment) -> None:
    seen = look(rules(**ALL), environment)
    assert seen.status is Status.PASSED, (seen.message, told(seen))
    assert told(seen) == [
        'public.Odd "%: fresh created_at: expected newest at most 4h old, got 3:00:00 old [yes]',
        'public.Odd "%: unique code: expected no two rows alike, got so, in 10 rows counted [yes]',
        'public.Odd "%: unique region, id: expected no two rows alike, '
        'got so, by the valid unique index Odd "%_pkey [yes]',
        'public.Odd "%: rules that hold: expected in every row, got 15 rules in 10 rows [yes]',
        "tables looked at: expected >= 1, got 1 [yes]",
        "rules looked at: expected >= 1, got 18 [yes]",
        "rows looked at: expected >= 1, got 10 [yes]",
    ]
    assert b"range amount" in seen.attached[0][1]


@pytest.mark.parametrize(
    ("change", "rule", "said"),
    [
        (
            "code = null",
            {"not_null": ["code"]},
            "not_null code: expected no null in each row, got 1 of 10 rows violates it",
        ),
        (
            "code = E' \\t\\n'",
            {"not_blank": ["code"]},
            "not_blank code: expected more than white space in each row, got 1 of 10 rows violates it",
        ),
        (
            "color = 'green'",
            {"accepted": {"color": ["red"]}},
            "accepted color: expected one of red in each row, got 1 of 10 rows violates it",
        ),
        (
            "amount = 'NaN'",
            {"range": {"amount": {"min": 0}}},
            "range amount: expected >= 0 in each row, got 1 of 10 rows violates it",
        ),
        (
            "amount = -1.5",
            {"range": {"amount": {"min": -1.25}}},
            "range amount: expected >= -1.25 in each row, got 1 of 10 rows violates it",
        ),
        (
            "code = 'c-1'",
            {"pattern": {"code": "^C-"}},
            "pattern code: expected ^C- in each row, got 1 of 10 rows violates it",
        ),
        (
            "created_at = now() + interval '1 min'",
            {"not_future": ["created_at"]},
            "not_future created_at: expected no instant after now in each row, got 1 of 10 rows violates it",
        ),
        (
            "created_at = 'infinity'",
            {"not_future": ["created_at"]},
            "not_future created_at: expected no instant after now in each row, got 1 of 10 rows violates it",
        ),
        (
            "signed_at = created_at - interval '1 us'",
            {"ordered": [["created_at", "signed_at"]]},
            "ordered created_at, signed_at: expected no value before the one to its left in each row, "
            "got 1 of 10 rows violates it",
        ),
        (
            "amount = 0",
            {"holds": {"it costs": "amount > 0 or 1 % 2 = 0"}},
            "holds it costs: expected amount > 0 or 1 % 2 = 0 in each row, got 1 of 10 rows violates it",
        ),
        (
            "code = 'C-3'",
            {"unique": ["code"]},
            "unique code: expected no two rows alike, got 2 of 10 rows share theirs",
        ),
    ],
)
def test_a_row_that_violates_a_rule_fails_and_is_counted(
    environment: Environment, changed: Any, change: str, rule: dict[str, Any], said: str
) -> None:
    changed(f'update "Odd ""%" set {change} where id = 2')
    seen = look(rules(**rule), environment)
    assert seen.status is Status.FAILED, (seen.message, told(seen))
    assert told(seen)[0] == f'public.Odd "%: {said} [no]'


NULLS = {
    "not_blank": ["code"],
    "accepted": {"color": ["red"]},
    "range": {"amount": {"min": 0}},
    "pattern": {"code": "C"},
    "not_future": ["signed_at"],
    "ordered": [["created_at", "signed_at"]],
}
TO_NULL = 'update "Odd ""%" set code = null, color = null, amount = null, signed_at = null where id < 4'


def test_a_null_satisfies_no_rule_unless_it_is_said(environment: Environment, changed: Any) -> None:
    changed(TO_NULL)
    seen = look(rules(**NULLS, holds={"it costs": "amount > 0"}), environment)
    wrong = [line for line in told(seen) if line.endswith("3 of 10 rows violate it, 3 of them by a null [no]")]
    assert len(wrong) == 7, told(seen)
    columns = ["code", "color", "amount", "signed_at"]
    assert look(rules(**NULLS, nullable=columns), environment).status is Status.PASSED
    changed('update "Odd ""%" set created_at = null where id = 1')
    late = look(rules(ordered=[["created_at", "signed_at"]], nullable=["signed_at"]), environment)
    assert "1 of 10 rows violates it, 1 of them by a null" in told(late)[0]


def test_rows_with_a_null_are_no_duplicates(environment: Environment, changed: Any) -> None:
    changed(TO_NULL)
    assert look(rules(unique=["code", ["region", "code"]]), environment).status is Status.PASSED


@pytest.mark.parametrize(
    ("at_most", "status", "said"),
    [
        ("29.9%", Status.FAILED, "(at most 29.9% not), got 3 of 10 rows violate it [no]"),
        ("30%", Status.PASSED, "(at most 30% not), got 3 of 10 rows violate it [yes]"),
        (2, Status.FAILED, "(at most 2 not), got 3 of 10 rows violate it [no]"),
        ({"pattern code": 3}, Status.PASSED, "(at most 3 not), got 3 of 10 rows violate it [yes]"),
        ({"not_null code": 3}, Status.FAILED, "got 3 of 10 rows violate it [no]"),
    ],
)
def test_some_rows_may_be_allowed(environment: Environment, at_most: Any, status: Status, said: str) -> None:
    seen = look(rules(not_null=["code"], pattern={"code": "-([1-7]$)"}, at_most=at_most), environment)
    assert seen.status is status
    assert told(seen)[0].endswith(said)


def test_marked_rows_are_left_out(environment: Environment, changed: Any) -> None:
    changed("""update "Odd ""%" set test_run = 'rg-1', code = 'C-1', amount = -1 where id > 8""")
    check = {"range": {"amount": {"min": 0}}, "unique": ["code"]}
    assert look(rules(**check), environment).status is Status.FAILED
    seen = look(rules(**check, where="test_run is null"), environment)
    assert (seen.status, seen.findings[-1].actual) == (Status.PASSED, "8")


def test_keys_are_shown_only_on_demand(environment: Environment, changed: Any) -> None:
    changed('update "Odd ""%" set amount = -id where id > 3')
    table = {ODD: {"range": {"amount": {"min": 0}}, "where": "id <> 5"}, "pair": {"range": {"c": {"min": 2}}}}
    hidden, shown = look(Quality(tables=table), environment), look(Quality(tables=table, show_keys=True), environment)
    assert told(hidden)[0].endswith("got 6 of 9 rows violate it [no]")
    assert told(shown)[0].endswith("got 6 of 9 rows violate it (keys: 4; 6; 7; 8; 9) [no]")
    twice = Quality(tables={ODD: {"unique": [["region", "born"]], "where": "id <> 3"}}, show_keys=True)
    assert told(look(twice, environment))[0].endswith("got 9 of 9 rows share theirs (keys: 1; 2; 4; 5; 6) [no]")
    assert told(shown)[1].endswith("got 1 of 2 rows violates it (the table has no primary key to show) [no]")


@pytest.mark.parametrize(
    ("index", "columns", "how"),
    [
        ("", ["a", "b"], "by the valid unique index pair_a_b_c_key"),
        ("", ["a", "b", "c"], "by the valid unique index pair_a_b_c_key"),
        ("", ["c"], "in 2 rows counted"),
        ("create unique index expression on pair ((c + 1))", ["c"], "in 2 rows counted"),
        ('create unique index other on pair (b collate "POSIX")', ["b"], "in 2 rows counted"),
        (
            "update pg_index set indisvalid = false where indexrelid = 'pair_a_b_c_key'::regclass",
            ["a", "b"],
            "in 2 rows counted",
        ),
    ],
)
def test_only_an_index_that_covers_every_row_is_trusted(
    environment: Environment, changed: Any, index: str, columns: list[str], how: str
) -> None:
    if index:
        changed(index)
    seen = look(Quality(tables={"pair": {"unique": [columns]}}), environment)
    assert seen.status is Status.PASSED, seen.message
    assert how in seen.findings[0].actual
    again = look(Quality(tables={"pair": {"unique": [columns]}}, unique_by="rows"), environment)
    assert "in 2 rows counted" in again.findings[0].actual


def test_where_each_row_has_a_null_nothing_is_unique(environment: Environment, changed: Any) -> None:
    changed('update "Odd ""%" set code = null')
    seen = look(rules(unique=["code"]), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert "got each row has a null there: nothing to compare [cannot tell]" in told(seen)[0]


def test_a_domain_of_a_domain_is_what_it_is_of(environment: Environment, changed: Any) -> None:
    changed("create domain near as float8; create domain odd as near; create table far (n odd, at timestamptz)")
    changed("insert into far values ('NaN')")
    check = Quality(tables={"far": {"range": {"n": {"min": 0}}}})
    seen = look(check, environment)
    changed("drop table far; drop domain odd, near")
    assert (seen.status, "got 1 of 1 row violates it [no]" in told(seen)[0]) == (Status.FAILED, True)


def test_data_that_is_old_fails_and_the_future_does_not_make_it_fresh(environment: Environment, changed: Any) -> None:
    changed("""update "Odd ""%" set created_at = now() + interval '1 day' where id = 1""")
    seen = look(rules(fresh={"created_at": "2h"}), environment)
    assert seen.status is Status.FAILED
    assert told(seen)[0].endswith("fresh created_at: expected newest at most 2h old, got 3:00:00 old [no]")


def test_without_a_time_nobody_can_tell_whether_it_is_fresh(environment: Environment, changed: Any) -> None:
    changed("""update "Odd ""%" set created_at = null, signed_at = 'infinity'""")
    seen = look(rules(fresh={"created_at": "2h", "signed_at": "2h"}), environment)
    assert seen.status is Status.INCONCLUSIVE
    assert [line.partition(", got ")[2] for line in told(seen)[:2]] == [
        "no value that is not in the future [cannot tell]"
    ] * 2


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"empty": {"not_null": ["id"]}}, "public.empty: rows: expected >= 1, got 0 [cannot tell]"),
        ({"empty": {"fresh": {"at": "1h"}, "empty": "allowed"}}, "rows looked at: expected >= 1, got 0 [cannot tell]"),
        (
            {ODD: {"not_null": ["id"], "where": "id > 99"}},
            "rows: expected >= 1, got 0, of those where id > 99 [cannot tell]",
        ),
        (
            {ODD: {"not_future": ["local_at"]}},
            "got the column is a timestamp without time zone; say its `zone` [cannot tell]",
        ),
        ({ODD: {"fresh": {"born": "1h"}}}, "got the column is a date without time zone; say its `zone` [cannot tell]"),
        (
            {ODD: {"ordered": [["born", "created_at"]]}},
            "the column is a date without time zone; say its `zone` [cannot tell]",
        ),
    ],
)
def test_what_says_nothing_is_inconclusive(environment: Environment, keys: dict[str, Any], said: str) -> None:
    seen = look(Quality(tables=keys), environment)
    assert seen.status is Status.INCONCLUSIVE, (seen.message, told(seen))
    assert any(line.endswith(said) for line in told(seen)), told(seen)


def test_an_empty_table_may_stand_beside_others(environment: Environment) -> None:
    beside = {"empty": {"not_null": ["id"], "empty": "allowed"}, ODD: {"not_null": ["id"]}}
    assert look(Quality(tables=beside), environment).status is Status.PASSED
    assert look(Quality(tables=beside, least=2), environment).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("query", "of", "status", "said"),
    [
        ("select id from pair where c > 5", "pair", Status.PASSED, "query: no c: expected no row, got 0 among 2 [yes]"),
        ("select a from pair where c = 1", "pair", Status.FAILED, "query: no c: expected no row, got 1 among 2 [no]"),
        (
            "select id from empty",
            "empty",
            Status.INCONCLUSIVE,
            "query: no c: expected no row, got 0 among 0 [cannot tell]",
        ),
    ],
)
def test_a_query_of_ones_own_must_give_no_row(
    environment: Environment, query: str, of: str, status: Status, said: str
) -> None:
    query = query.replace("select id from pair", "select a from pair")
    seen = look(Quality(no_rows={"no c": {"query": query, "of": f"select count(*) from {of}"}}), environment)
    assert (seen.status, told(seen)[0]) == (status, said), seen.message


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"od": {"not_null": ["id"]}}, "there is no table 'od'"),
        ({ODD: {"not_null": ["cod"]}}, "public.Odd \"% has no column 'cod'\n    did you mean 'code'?"),
        ({"empty": {"unique": ["cod"]}}, "has no column 'cod'"),
        ({ODD: {"fresh": {"cod": "1h"}}}, "has no column 'cod'"),
        ({ODD: {"fresh": {"code": "1h"}}}, "SQLSTATE 42"),
        ({ODD: {"pattern": {"code": "("}}}, "SQLSTATE 2201B"),
        ({ODD: {"range": {"amount": {"min": "Ada"}}}}, 'invalid input syntax for type numeric: "..." (SQLSTATE 22P02)'),
        ({ODD: {"holds": {"it divides": "1 / (level - 3) > 0"}}}, 'public.Odd "%: division by zero (SQLSTATE 22012)'),
        ({ODD: {"accepted": {"code": [1]}}}, 'public.Odd "%: operator does not exist: text = integer (SQLSTATE 42883)'),
    ],
)
def test_what_cannot_be_looked_at_is_an_error(environment: Environment, keys: dict[str, Any], said: str) -> None:
    seen = look(Quality(tables=keys), environment)
    assert seen.status is Status.ERROR, told(seen)
    assert said in seen.message


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "expected `tables` with rules"),
        ({"tables": {"a": {}}}, "expected a rule"),
        ({"tables": {"a": {"where": "x; y", "not_null": ["b"]}}}, "the predicate of where"),
        ({"tables": {"a": {"holds": {"h": "true) or (true"}}}}, "the predicate of h"),
        ({"tables": {"a": {"range": {"b": {}}}}}, "expected a bound"),
        ({"tables": {"a": {"not_null": ["b"], "at_most": "100%"}}}, "a share below 100%"),
        ({"tables": {"a": {"not_null": ["b"], "at_most": {"not_null c": 1}}}}, "`at_most` names no rule 'not_null c'"),
        ({"no_rows": {"n": {"query": "select 1; select 2", "of": "select 1"}}}, "more than one"),
    ],
)
def test_wrong_declarations_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        Quality.model_validate(keys)
    assert said in str(wrong.value)


class Step:
    """Gates of one step in one process, and the scans of the table that they made."""

    def __init__(self, environment: Environment, server: PostgresServer, *checks: Quality) -> None:
        self.environment, self.server, self.clock = environment, server, FakeClock()
        self.shared = Shared(checks)
        self.before = self._scans()

    def look(self, check: Quality) -> Any:
        release = Release(product="demo", version="1.4.0", environment="test", opened_at=self.clock.now())
        context = Context(environment=self.environment, release=release, root=None, clock=self.clock)  # type: ignore[arg-type]
        context.shared = self.shared
        return execute(check, context)

    @property
    def scans(self) -> int:
        return self._scans() - self.before

    def _scans(self) -> int:
        return self.server.log.count('from only "public"."Odd ""%"')


@pytest.fixture
def logging(environment: Environment, server: PostgresServer, superuser: Any) -> PostgresServer:
    """The server, whose log has every statement on the database."""
    (name,) = superuser(environment, "select current_database()")[0]
    superuser(environment, f"alter database {name} set log_statement = 'all'")
    return server


CODE, AMOUNT = rules(pattern={"code": "^C"}), rules(range={"amount": {"min": 0}}, fresh={"created_at": "4h"})
LEVEL, OTHER = rules(holds={"it is high": "level > 0"}), rules(not_null=["id"], where="id > 0")


def test_gates_of_one_step_over_one_table_share_one_scan(environment: Environment, logging: PostgresServer) -> None:
    step = Step(environment, logging, CODE, AMOUNT, LEVEL)
    first = step.look(CODE)
    step.clock.sleep(20)
    rest = [step.look(AMOUNT), step.look(LEVEL), step.look(CODE)]
    assert {one.status for one in [first, *rest]} == {Status.PASSED}, told(rest[0])
    assert step.scans == 1
    assert told(first)[0].endswith("1 rule in 10 rows [yes]")
    assert told(rest[1])[0].endswith("1 rule in 10 rows, as another gate of this step saw at 09:00:00 UTC [yes]")
    assert b"10 rows at 2026-01-05T09:00:00+00:00, by a look of another gate" in rest[1].attached[0][1]


def test_what_is_old_or_of_other_rows_or_of_before_a_write_is_looked_at_anew(
    environment: Environment, logging: PostgresServer
) -> None:
    step = Step(environment, logging, CODE, LEVEL, OTHER)
    step.look(CODE)
    step.look(OTHER)
    assert step.scans == 2
    step.clock.sleep(31)
    step.look(LEVEL)
    assert step.scans == 3
    step.shared.forget()
    step.look(CODE)
    assert step.scans == 4
    assert "another gate" not in told(step.look(rules(not_null=["level"])))[0]
    assert step.scans == 5


def test_what_another_gate_asks_wrongly_is_its_own_error(environment: Environment, logging: PostgresServer) -> None:
    broken = rules(holds={"it divides": "1 / (level - 3) > 0"})
    absent, deep = rules(not_null=["cod"]), rules(holds={"known": "level in (select a from pair)"})
    step = Step(environment, logging, CODE, broken, absent, deep, Quality(database="app", tables={"no": ALL}))
    seen = step.look(CODE)
    assert seen.status is Status.PASSED, seen.message
    assert step.look(broken).status is Status.ERROR
    assert step.look(absent).status is Status.ERROR
    assert step.look(deep).status is Status.FAILED
    assert told(step.look(CODE))[0].endswith("1 rule in 10 rows [yes]")


def test_a_check_that_asks_to_write_makes_all_look_anew(environment: Environment) -> None:
    release = Release(product="demo", version="1.4.0", environment="test", opened_at=FakeClock().now())
    context = Context(environment=Environment(name="test", allow=frozenset({"probes"})), release=release, root=None)  # type: ignore[arg-type]
    context.shared.see("key", 1, 5.0)
    assert (context.shared.seen("key", 5.0), context.shared.seen("key", 5.1)) == (1, None)
    context.require_permission("probes")
    assert context.shared.seen("key", 0.0) is None


def test_a_role_that_sees_some_of_the_rows_cannot_count(environment: Environment, changed: Any) -> None:
    changed("alter table pair enable row level security")
    dsn = environment.databases["app"].replace("releasegate_probe", "filtered")
    seen = look(Quality(tables={"pair": {"not_null": ["a"]}}), replace(environment, databases={"app": dsn}))
    assert seen.status is Status.ERROR
    assert "row-level security" in seen.message


QUALITY = 'quality: {tables: {"Odd \\"%": {%s}}}'
WRITES = """
import pytest


@pytest.mark.gate("1.3")
def test_that_may_write():
    assert True
"""


def test_gates_of_a_run_look_together_until_one_may_write(
    environment: Environment, logging: PostgresServer, product: Product
) -> None:
    product.write(
        "gates/environments.yaml",
        "default: demo\nproduct: ehr\nenvironments:\n  demo: {databases: {app: '${env:DSN}'}}\n",
    )
    product.write("smoke/test_it.py", WRITES)

    def gate(number: int, rule: str) -> str:
        return f"id: '1.{number}', title: t, {QUALITY.replace('%s', rule)}"

    test = "id: '1.3', title: t, test: smoke/test_it.py"
    writing = f"writes: true, {gate(6, 'not_null: [id]')}"
    every = [gate(number, "not_null: [id]") for number in (1, 4, 7)]
    product.gates("predeploy", every[0], gate(2, "not_null: [code]"), test, every[1], writing, every[2])
    product.gates("compliance", gate(5, "not_null: [id]"))
    step = Step(environment, logging)
    ran = product.pytest("-m", "predeploy or compliance", DSN=environment.databases["app"])
    assert ran.code == 0, ran.out
    results = {result.gate: result for result in product.results()}
    borrowed = {name: "another gate" in result.findings[0].actual for name, result in results.items()}
    wanted = {"1.1": False, "1.2": True, "1.3": False, "1.4": False, "1.5": False, "1.6": False, "1.7": False}
    assert borrowed == wanted, ran.out
    assert {result.status for result in results.values()} == {Status.PASSED}
    assert step.scans == 5


def test_a_script_is_tried_on_a_copy(environment: Environment, superuser: Any, tmp_path: Path) -> None:
    (tmp_path / "backfill.sql").write_text('update "Odd ""%" set region = null; analyze')
    tables = {ODD: {"not_null": ["region", "id"]}}
    assert look(Quality(tables=tables), environment).status is Status.PASSED
    on_copy = {"content": "data", "run": "backfill.sql"}
    seen = look(Quality(tables=tables, on_copy=on_copy), environment, root=tmp_path)
    assert seen.status is Status.FAILED, seen.message
    assert told(seen)[0].endswith("not_null region: expected no null in each row, got 10 of 10 rows violate it [no]")
    assert look(Quality(tables=tables), environment).status is Status.PASSED
    refused = look(Quality(tables=tables, on_copy=on_copy), replace(environment, protected=True), root=tmp_path)
    assert (refused.status, "a protected environment, is not copied" in refused.message) == (Status.ERROR, True)
