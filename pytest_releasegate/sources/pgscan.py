"""Scans of many tables at one instant: all that is asked of a table in one, biggest first, over several connections."""

# ruff: noqa: S608  identifiers are quoted, and predicates are the gate's own text
from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.postgres import bound, connect, several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["MARKED", "Scan", "grouped", "require_whole", "scans", "shared", "spread", "together"]

Rows = list[tuple[Any, ...]]
_Part = TypeVar("_Part")
_Result = TypeVar("_Result")
SCAN_SECONDS = 600.0
_PART = '"releasegate part"'
MARKED = '"releasegate mark"'
"""By which aggregates of a scan by parts mean the rows that its `mark` holds for."""
_TOGETHER = 50
_SMALL = 8 * 1024 * 1024
# a connection that has no more to do waits for the others, longer than one may be idle otherwise
_PATIENCE = "select set_config('idle_in_transaction_session_timeout', %s, true)"
# the catalogue as the snapshot has it, against the file of now
_REWRITTEN = """
select root from unnest(%s::bigint[]) root cross join lateral (
    select root::oid as oid
    union all
    select relid from pg_catalog.pg_partition_tree(root::oid::regclass) where relid <> root::oid
) part join pg_catalog.pg_class c on c.oid = part.oid
where c.relkind = 'r' and c.relfilenode is distinct from pg_catalog.pg_relation_filenode(c.oid) limit 1
"""
_SIZES = """
select oid, coalesce(pg_catalog.pg_relation_size(oid::regclass), 0) + coalesce((
    select sum(pg_catalog.pg_relation_size(relid)) from pg_catalog.pg_partition_tree(oid::regclass) where relid <> oid
), 0)::bigint
from unnest(%s::bigint[]) oid
"""


@dataclass(frozen=True, slots=True)
class Scan:
    """What is asked of one table: aggregates over all its rows, or over those where a predicate holds."""

    table: Table
    aggregates: tuple[str, ...] = ("count(*)",)
    where: str = ""
    by: str = ""
    """An expression: one row of aggregates for each of its values, which comes first in the row."""
    mark: str = ""
    """With `by`: a predicate, also of system columns, that aggregates may ask by `MARKED`."""

    @property
    def sql(self) -> str:
        """The one statement that answers it."""
        what, where = ", ".join(self.aggregates), f" where (\n{self.where}\n)" if self.where else ""
        if not self.by:
            return f"select {what} from {self.table.source}{where}"
        # the half that holds nothing goes when it is planned, and with it the guess of as many groups as rows,
        # which would keep parallel workers away
        mark = f", ({self.mark}) as {MARKED}" if self.mark else ""
        rows = f"select {self.by} as {_PART}{mark}, * from {self.table.source}"
        return f"select {_PART}, {what} from ({rows}{where} union all {rows} where false) found group by 1"


@contextmanager
def shared(
    context: Context, database: str = "", *, connections: int = 2, at_most: float = SCAN_SECONDS
) -> Iterator[list[psycopg.Connection[Any]]]:
    """As many connections as are free, that all see the same instant; the first exports its snapshot to the others."""
    with ExitStack() as stack:
        number = stack.enter_context(several(context, database, most=connections))
        leader = stack.enter_context(connect(context, database, at_most=at_most))
        row = leader.execute("select pg_catalog.pg_export_snapshot()").fetchone()
        snapshot = str(row[0]) if row else ""
        others = [connect(context, database, at_most=at_most, snapshot=snapshot) for _ in range(number - 1)]
        opened = [leader, *(stack.enter_context(other) for other in others)]
        for connection in opened:
            connection.execute(_PATIENCE, [f"{int(at_most)}s"])
            if others:
                # the connections are the workers: more would take more of the server than its budget says
                connection.execute("select set_config('max_parallel_workers_per_gather', '0', true)")
        yield opened


def scans(
    context: Context,
    connections: Sequence[psycopg.Connection[Any]],
    wanted: Sequence[Scan],
    at_most: float = SCAN_SECONDS,
) -> Rows:
    """The aggregates of each scan in one row, in the order of the scans."""
    return [rows[0] for rows in grouped(context, connections, wanted, at_most)]


def grouped(
    context: Context,
    connections: Sequence[psycopg.Connection[Any]],
    wanted: Sequence[Scan],
    at_most: float = SCAN_SECONDS,
) -> list[Rows]:
    """All rows of each scan, in the order of the scans; the connections share the work, and must share a snapshot."""
    found: dict[int, Rows] = {}

    def work(connection: psycopg.Connection[Any], places: Sequence[int]) -> None:
        texts = [wanted[place].sql for place in places]
        found.update(zip(places, _run(connection, context, texts, at_most), strict=True))

    spread(connections, _portions(connections[0], wanted), work)
    require_whole(connections[0], [scan.table for scan in wanted])
    return [found[place] for place in range(len(wanted))]


def spread(
    connections: Sequence[psycopg.Connection[Any]],
    parts: Sequence[_Part],
    work: Callable[[psycopg.Connection[Any], _Part], object],
) -> None:
    """Do the work on each part, in their order, by whichever connection is free; the first error ends it all."""
    queue = deque(parts)

    def drain(connection: psycopg.Connection[Any]) -> None:
        try:
            while (part := _next(queue)) is not None:
                work(connection, part)
        finally:
            queue.clear()

    if min(len(connections), len(parts)) < 2:
        drain(connections[0])
        return
    together(connections, [partial(drain, connection) for connection in connections])


def together(connections: Sequence[psycopg.Connection[Any]], jobs: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """Do the jobs at the same time, each on connections of its own; the first error cancels what runs on any."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        tasks = [pool.submit(job) for job in jobs]
        try:
            for task in wait(tasks, return_when=FIRST_EXCEPTION).done:
                task.result()
        finally:
            while wait(tasks, timeout=0).not_done:
                _cancel(connections)
                wait(tasks, timeout=0.2)
    return [task.result() for task in tasks]


def require_whole(connection: psycopg.Connection[Any], read: Sequence[Table]) -> None:
    """Raise `CannotLook` where a table was emptied or written anew meanwhile: to older snapshots it has no rows."""
    tables = {table.oid: table for table in read if table.oid}
    row = connection.execute(_REWRITTEN, [list(tables)]).fetchone()
    if row:
        label = tables[row[0]].label
        raise CannotLook(f"{label} was truncated or rewritten while it was read", "look again when that has ended")


def _next(queue: deque[_Part]) -> _Part | None:
    try:
        return queue.popleft()
    except IndexError:
        return None


def _portions(connection: psycopg.Connection[Any], wanted: Sequence[Scan]) -> list[list[int]]:
    """The places of the scans, the biggest tables first and alone, the small ones together for fewer round trips."""
    oids = list({scan.table.oid for scan in wanted if scan.table.oid})
    sizes: dict[int, int] = dict(connection.execute(_SIZES, [oids]).fetchall()) if len(wanted) > 1 else {}
    size = [sizes.get(scan.table.oid, 0) for scan in wanted]
    portions: list[list[int]] = []
    room = 0
    for place in sorted(range(len(wanted)), key=lambda place: -size[place]):
        if not portions or size[place] > room or len(portions[-1]) >= _TOGETHER:
            portions.append([])
            room = _SMALL
        portions[-1].append(place)
        room -= size[place]
    return portions


def _run(connection: psycopg.Connection[Any], context: Context, texts: Sequence[str], at_most: float) -> list[Rows]:
    # a pipeline uses the extended protocol, which takes one statement only
    with connection.pipeline():
        bound(connection, context, at_most)
        cursors = [connection.execute(text.encode()) for text in texts]
    return [cursor.fetchall() for cursor in cursors]


def _cancel(connections: Sequence[psycopg.Connection[Any]]) -> None:
    import psycopg

    for connection in connections:
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=2)
