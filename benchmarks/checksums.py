"""Content: one fused scan against a checksum alone, and the diff of two databases against reladiff, with its answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks._database import NAMES, arguments, filled, interleaved, timed
from pytest_releasegate.checks.row_counts import RowCounts
from pytest_releasegate.sources.pgcontent import checksum, layouts
from pytest_releasegate.sources.pgtables import user_tables
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.model import Environment

CHANGES = """
update {0} set note = 'changed' where id in (select 1 + (i * {1}::bigint / 101) from generate_series(1, 100) i);
delete from {0} where id in (3, {1} / 2, {1} - 7);
insert into {0} select {1} + i, 1, now(), 'new', null, null, true from generate_series(1, 2) i;
vacuum analyze {0};
"""
FUSED = ("count(*)", "count(amount)", "count(note)", "min(at)", "max(at)")
COLUMNS = ("client_id", "at", "kind", "amount", "note", "done")
DIFFERING = NAMES[2]


def main() -> None:
    """Print the ratios of the fused scan, and of the diff of two databases that differ in one table."""
    given = arguments()
    with filled(given.rows, "staging", "app") as (server, environment):
        fused(server.dsn("app"), given.rounds)
        with psycopg.connect(server.dsn("app"), autocommit=True) as connection:
            row = connection.execute(f"select max(id) from {DIFFERING}").fetchone()
            for statement in CHANGES.format(DIFFERING, row[0] if row else 0).split(";")[:-1]:
                connection.execute(statement)
        mine = ours(environment, NAMES)
        mine = min(mine, ours(environment, NAMES), key=lambda each: each[0])
        one = ours(environment, [DIFFERING])
        print(f"checksums: two databases, all tables {mine[0]:.2f} s, {DIFFERING} alone {one[0]:.2f} s")
        print(f"  {mine[1]}")
        with reladiff() as program:
            if program is None:
                print("checksums: reladiff is not in PATH and cannot be installed, so there is no ratio to it")
                return
            theirs = {name: theirs_of(program, server.dsn("staging"), server.dsn("app"), name) for name in NAMES}
        report(theirs, mine, one)


def fused(dsn: str, rounds: int) -> None:
    """Counts, nulls, extremes and the checksum in one scan against the checksum alone, of the largest tables."""
    with psycopg.connect(dsn) as connection:
        tables = [table for table in user_tables(connection) if table.name in NAMES[:3]]
        shapes = layouts(connection, tables)
        sums = {table: checksum(shapes[table.label].columns) for table in tables}

        def scan(*more: str) -> None:
            for table, total in sums.items():
                connection.execute(f"select {', '.join((total, *more))} from {table.sql}".encode()).fetchone()

        print("checksums: one scan of the three largest tables")
        medians = interleaved({"checksum alone": scan, "fused with the rest": lambda: scan(*FUSED)}, rounds)
    alone, whole = medians.values()
    print(f"checksums: fused / alone = {whole / alone:.3f} (medians; wanted <= 1.1)")


def ours(environment: Environment, names: Any) -> tuple[float, str]:
    """Seconds of the kind, and what it says of the table that differs."""
    said: list[str] = []
    check = RowCounts(database="app", against="staging", tables=list(names), default="identical")
    seconds = timed(lambda: said.extend(str(finding) for finding in look(check, environment).findings))
    (line,) = [line for line in said if line.startswith(f"rows of public.{DIFFERING}")]
    return seconds, line


def theirs_of(program: str, before: str, after: str, name: str) -> tuple[float, set[int], set[int]]:
    """Seconds of reladiff on one table, and the keys that it finds on each side."""
    found: tuple[set[int], set[int]] = (set(), set())
    # what makes it fastest: two threads a database, and neither sorted results nor a look for repeated keys
    # it wraps its lines where a terminal would
    wide = {**os.environ, "COLUMNS": "10000"}
    fast = ("-j", "2", "--skip-sort-results", "--assume-unique-key")
    command = [program, before, name, after, name, "-k", "id", *fast]
    command += [word for column in COLUMNS for word in ("-c", column)]

    def run() -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=wide)
        if done.returncode or "ERROR" in done.stderr:
            raise RuntimeError(done.stderr[-2000:])
        for line in done.stdout.splitlines():
            sign, values = line[0], line[2:].split(",")
            found[sign == "+"].add(int(values[0]))

    return timed(run), *found


def report(
    theirs: dict[str, tuple[float, set[int], set[int]]], mine: tuple[float, str], one: tuple[float, str]
) -> None:
    """Compare the answers, then the times."""
    removed = set.union(*(each[1] for each in theirs.values()))
    added = set.union(*(each[2] for each in theirs.values()))
    answer = (
        f"differing keys: {len(removed & added)}, only in staging: {len(removed - added)}, "
        f"only in app: {len(added - removed)}"
    )
    print(f"  reladiff: {answer}; {'the same answer' if answer in mine[1] else 'ANOTHER ANSWER'}")
    whole, single = sum(each[0] for each in theirs.values()), theirs[DIFFERING][0]
    print(f"checksums: reladiff, all tables {whole:.1f} s, {DIFFERING} alone {single:.1f} s")
    print(f"checksums: reladiff / ours = {whole / mine[0]:.1f} (all tables), {single / one[0]:.1f} (one; wanted >= 8)")


@contextmanager
def reladiff() -> Iterator[str | None]:
    """The program from PATH, or from a virtual environment made for this run; None where neither can be had."""
    if known := shutil.which("reladiff"):
        yield known
        return
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        steps = (
            [sys.executable, "-m", "venv", folder],
            [str(python), "-m", "pip", "install", "-q", "reladiff[postgresql]"],
        )
        ok = all(subprocess.run(step, capture_output=True, check=False).returncode == 0 for step in steps)
        yield str(python.with_name("reladiff")) if ok else None
