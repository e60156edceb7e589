"""The checks of the catalogue on a schema of 100 tables, and the scan for orphans against the plain anti-join."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import psycopg

from pytest_releasegate.checks.bloat import Bloat
from pytest_releasegate.checks.extensions import Extensions
from pytest_releasegate.checks.foreign_keys import ForeignKeys
from pytest_releasegate.checks.indexes import Indexes
from pytest_releasegate.checks.orphans import Orphans
from pytest_releasegate.checks.sequences import Sequences
from pytest_releasegate.checks.settings import Settings
from pytest_releasegate.model import Environment
from pytest_releasegate.sources.pgserver import PostgresServer
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_releasegate.check import Check

ROUNDS = 15
SCANS = 5
TABLES = 100
SCHEMA = f"""
create table parents (id bigint generated always as identity primary key, name text not null unique);
insert into parents (name) select 'parent ' || n from generate_series(1, 500000) n;
do $$ begin for n in 1..{TABLES} loop
    execute format('create table t%1$s (id bigint generated always as identity primary key, parent_id bigint
        references parents, number text not null unique, name text, made timestamptz default now(), total numeric,
        note text, state text check (state <> ''''), a int, b int, c int, d int)', n);
    execute format('create index on t%1$s (parent_id)', n);
    execute format('create index on t%1$s (lower(name)) where state is not null', n);
    execute format('insert into t%1$s (parent_id, number, name) select n, n, n from generate_series(1, 200) n', n);
end loop; end $$;
create table big (id bigint primary key, parent_id bigint not null, other_id bigint references parents);
insert into big select n, 1 + n % 500000, nullif(1 + n % 500000, 7) from generate_series(1, 3000000) n;
"""
ANTI_JOIN = """select (select count(*) from big c where not exists (select from parents p where p.id = c.parent_id)),
    (select count(*) from big c where c.other_id is not null
     and not exists (select from parents p where p.id = c.other_id))"""
CATALOGUE: dict[str, Check] = {
    "foreign_keys": ForeignKeys(look="catalogue", least=TABLES),
    "indexes": Indexes(
        expect={"t1_number_key": "unique t1 (number)"}, foreign_keys=True, exclude=["big"], least=TABLES
    ),
    "sequences": Sequences(least=TABLES),
    "settings": Settings(expect={"max_connections": ">= 10", "password_encryption": "scram-sha-256"}),
    "extensions": Extensions(expect={"plpgsql": "default"}, allowed=[]),
    "bloat": Bloat(least=TABLES),
}
ORPHANS = Orphans(tables=["big"], keys={"big.parent_id": "parents.id"}, least=2)


def main() -> None:
    """Print medians and least times; nothing is asserted."""
    with PostgresServer(settings={"autovacuum": "off"}) as server:
        for text in (SCHEMA, "vacuum analyze"):
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute(text.encode())
        environment = Environment(name="benchmark", databases={"app": server.dsn()})
        catalogue(environment)
        scans(environment)


def catalogue(environment: Environment) -> None:
    """Each check of the catalogue by itself, and all one after the other."""
    times: dict[str, list[float]] = {name: [] for name in CATALOGUE}
    statuses = {}
    for _ in range(ROUNDS):
        for name, check in CATALOGUE.items():
            statuses[name] = look(check, environment).status
            times[name].append(seconds(lambda check=check: look(check, environment)))
    for name, values in times.items():
        print(f"{name:13} {statuses[name]}: {spread(values)}")
    whole = [sum(each) for each in zip(*times.values(), strict=True)]
    print(f"all of them on {TABLES + 2} tables: {spread(whole)}")
    connecting = [seconds(lambda: psycopg.connect(environment.databases["app"]).close()) for _ in range(ROUNDS)]
    print(f"of which {len(CATALOGUE)} times connecting: {spread([len(CATALOGUE) * each for each in connecting])}")


def scans(environment: Environment) -> None:
    """The orphans of two keys of three million rows, interleaved with the anti-join by hand."""
    times: dict[str, list[float]] = {"by hand": [], "orphans": []}
    with psycopg.connect(environment.databases["app"], autocommit=True) as connection:
        for _ in range(SCANS):
            times["by hand"].append(seconds(lambda: connection.execute(ANTI_JOIN).fetchall()))
            times["orphans"].append(seconds(lambda: look(ORPHANS, environment)))
    for name, values in times.items():
        print(f"{name:13} {spread(values)}")
    ratios = (way(times["orphans"]) / way(times["by hand"]) for way in (statistics.median, min))
    print("orphans / by hand = {:.3f} (medians), {:.3f} (least)".format(*ratios))


def seconds(do: Callable[[], object]) -> float:
    """How long it takes once."""
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def spread(values: list[float]) -> str:
    """The median and the least of times."""
    return f"median {1000 * statistics.median(values):7.1f} ms, least {1000 * min(values):7.1f}"
