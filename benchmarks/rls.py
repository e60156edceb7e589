"""What a matrix of row-level security costs: the kind `rls` against pgTAP, on a local socket and 20 ms away.

50 tables, 4 identities, 4 commands and 2 rows are 1600 cells. pgTAP runs one hand-written test for each: as such tests
are written, each on its own with role and claims set first; and as fast as it goes, with these set once an identity.
The kind decides the same cells, and the blind writes that no test asks, from one matrix.
"""

from __future__ import annotations

import queue
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from pytest_releasegate.checks.rls import Rls
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources.pgserver import PostgresServer
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TABLES = 50
ROUNDS = 7
ROUND_TRIP = 0.020
ANN, BEN, EVE = (f"00000000-0000-0000-0000-00000000000{letter}" for letter in "abe")
COMMANDS = ("select", "insert", "update", "delete")
CELLS = TABLES * 4 * len(COMMANDS) * 2
WHO = {
    "ann": {"role": "authenticated", "claims": {"sub": ANN}},
    "ben": {"role": "authenticated", "claims": {"sub": BEN}},
    "eve": {"role": "authenticated", "claims": {"sub": EVE}},
    "anon": {"role": "anon"},
}
ROLES = """
create role anon; create role authenticated; create role probe login bypassrls;
grant pg_read_all_data, anon, authenticated to probe;
create schema auth; grant usage on schema auth to public;
create function auth.uid() returns uuid language sql stable as
    $$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
"""
TABLE = """
create table {t} (id int primary key, owner uuid not null, note text not null);
insert into {t} values (1, '{ann}', 'a'), (2, '{ben}', 'b');
alter table {t} enable row level security;
create policy own on {t} to authenticated using (owner = auth.uid());
grant select, insert, update, delete on {t} to anon, authenticated;
"""


def main() -> None:
    """Interleave both ways, and print medians, minima and their ratios."""
    with PostgresServer() as server, tempfile.TemporaryDirectory() as folder:
        fill(server)
        scripts = {}
        if has_pgtap(server):
            scripts = {"pgTAP, each cell on its own": True, "pgTAP, role set once": False}
        theirs = {name: Path(folder) / f"{number}.sql" for number, name in enumerate(scripts)}
        for name, path in theirs.items():
            path.write_text("\n".join(tests(alone=scripts[name])), "utf-8")
        local = f"postgresql://probe@/postgres?host={server.socket_dir}&port={server.port}"
        told = compare("local socket", local, theirs, ROUNDS)
        with delayed(server.port, ROUND_TRIP / 2) as port:
            far = f"postgresql://probe:probe@127.0.0.1:{port}/postgres"
            told += compare(f"{1000 * ROUND_TRIP:.0f} ms away", far, theirs, 1)
    print("\n".join(told))


def fill(server: PostgresServer) -> None:
    """The tables and their policies; pgTAP where it is installed."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(ROLES)
        connection.execute("alter role probe password 'probe'")
        for number in range(TABLES):
            connection.execute(TABLE.format(t=f"t{number:02}", ann=ANN, ben=BEN).encode())
        if has_pgtap(server):
            connection.execute("create extension pgtap")


def has_pgtap(server: PostgresServer) -> bool:
    """Whether both pgTAP and psql are there."""
    share = subprocess.run(
        [str(server.binaries / "pg_config"), "--sharedir"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return bool(share and (Path(share) / "extension" / "pgtap.control").is_file() and shutil.which("psql"))


def compare(name: str, dsn: str, scripts: dict[str, Path], rounds: int) -> list[str]:
    """Both ways to the same server, in turns."""
    ways: dict[str, Callable[[], None]] = {"rls": partial(ours, matrix(), dsn)}
    ways |= {way: partial(pgtap, script, dsn) for way, script in scripts.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for warm in range(1 - min(rounds, 2), rounds):
        for way, run in ways.items():
            seconds = timed(run)
            if warm >= 0:
                times[way].append(seconds)
    told = [f"rls, {name}, {CELLS} cells:"]
    for way, values in times.items():
        median = statistics.median(values)
        told.append(f"  {way:27} median {median:8.3f} s, least {min(values):8.3f} s: {CELLS / median:6.0f} cells/s")
    if not scripts:
        told.append("  pgTAP is not installed, so nothing to compare with: apt-get install postgresql-15-pgtap")
    for way in scripts:
        ratio = statistics.median(times[way]) / statistics.median(times["rls"])
        told.append(f"  {way} / rls = {ratio:.1f} (medians), {min(times[way]) / min(times['rls']):.1f} (least)")
    return told


def timed(run: Callable[[], None]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def matrix() -> Rls:
    """The gate's parameters, as they are read when gates are collected."""
    own = dict.fromkeys(COMMANDS, "owner = auth.uid()")
    # whoever is signed in may add rows of their own
    eve = {**dict.fromkeys(COMMANDS, "denied"), "insert": "allowed"}
    row = {"ann": own, "ben": own, "eve": eve, "anon": "denied"}
    return Rls.model_validate({"personas": WHO, "expect": {f"t{number:02}": row for number in range(TABLES)}})


def ours(check: Rls, dsn: str) -> None:
    """One look of the kind, from its connection to its verdict."""
    environment = Environment(name="bench", databases={"app": dsn}, allow=frozenset({"probes"}))
    seen = look(check, environment)
    if seen.status is not Status.PASSED:
        raise SystemExit(f"rls: {seen.message or [str(row) for row in seen.findings if row.ok != 'yes'][:3]}")


def pgtap(script: Path, dsn: str) -> None:
    """The same cells as tests of pgTAP, run by psql."""
    command = ["psql", "-X", "-q", "-A", "-t", "-f", str(script), dsn]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    passed = sum(line.startswith("ok ") for line in done.stdout.splitlines())
    if passed != CELLS:
        raise SystemExit(f"pgTAP: {passed} of {CELLS} passed: {done.stdout[-500:]} {done.stderr[-500:]}")


def tests(*, alone: bool) -> Iterator[str]:
    """One test a cell: what must not be reached gives no row, or an error; alone, each takes on its persona itself."""
    yield f"begin; select plan({CELLS});"
    for name, who in WHO.items():
        claims = f'{{"sub": "{who["claims"]["sub"]}"}}' if "claims" in who else "{}"
        taken = f"set local role {who['role']}; set local request.jwt.claims = '{claims}';"
        yield "" if alone else taken
        for number in range(TABLES):
            for row, owner in ((1, "ann"), (2, "ben")):
                asked = [test(command, f"t{number:02}", row, name, owner) for command in COMMANDS]
                yield from (f"{taken} {each} reset role;" if alone else each for each in asked)
    yield "reset role; select * from finish(); rollback;"


def test(command: str, table: str, row: int, who: str, owner: str) -> str:
    """The test of one cell."""
    place = f"{command} {table} {row} {who}"
    if command == "insert":
        key, uid = row + 10 * (1 + list(WHO).index(who)), ANN if row == 1 else BEN
        query = f"insert into {table} values ({key}, ''{uid}'', ''x'')"
        if who == owner:
            return f"select lives_ok('{query}', '{place}');"
        return f"select throws_ok('{query}', '42501', null, '{place}');"
    query = {
        "select": f"select 1 from {table} where id = {row}",
        "update": f"update {table} set note = note where id = {row} returning 1",
        "delete": f"delete from {table} where id = {row} returning 1",
    }[command]
    if command == "select":
        return f"select {'isnt' if who == owner else 'is'}_empty('{query}', '{place}');"
    if who != owner:
        return f"select is_empty('{query}', '{place}');"
    # what a test has written is taken back, so that the next one finds the row
    return f"savepoint s; select isnt_empty('{query}', '{place}'); rollback to s;"


@contextmanager
def delayed(target: int, seconds: float) -> Iterator[int]:
    """A port behind which the target is so many seconds away in each direction."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", target))
            for source, sink in ((near, far), (far, near)):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=carry, args=(source, sink, seconds), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def carry(source: socket.socket, sink: socket.socket, seconds: float) -> None:
    """Pass on what comes, each piece so much later; what is under way does not hold up what follows."""
    under_way: queue.Queue[tuple[float, bytes]] = queue.Queue()

    def deliver() -> None:
        while True:
            due, data = under_way.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                sink.close()
                return
            sink.sendall(data)

    threading.Thread(target=deliver, daemon=True).start()
    while True:
        try:
            data = source.recv(65536)
        except OSError:
            data = b""
        under_way.put((time.monotonic() + seconds, data))
        if not data:
            return
