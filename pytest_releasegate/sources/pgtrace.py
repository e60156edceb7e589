"""What each statement of a migration really did on a scratch copy: locks, rewrites, scans, rows, WAL and time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from threading import Timer
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pgdump import CALLS_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import psycopg

    from pytest_releasegate.sources.pgsplit import Script, Statement

__all__ = ["CANCELLED", "MODES", "Traced", "blocks_writes", "longest", "trace"]

MODES = (
    "AccessShare",
    "RowShare",
    "RowExclusive",
    "ShareUpdateExclusive",
    "Share",
    "ShareRowExclusive",
    "Exclusive",
    "AccessExclusive",
)
"""Table locks, the weakest first."""
_OUTSIDE = ("25001", "2D000")
"""SQLSTATEs of what cannot run within a transaction, or ends one itself."""
CANCELLED = "57014"
_LATE = "not run: the time was up"
_SAVEPOINT = re.compile(r"savepoint\b|release\b|(?:rollback|abort)\s+(?:work\s+|transaction\s+)?to\b")
_OUTWARD = re.compile(
    rf"create\s+extension\s+(?:if\s+not\s+exists\s+)?\"?(?:{'|'.join(sorted(CALLS_OUT))})\b|copy\b.*\bprogram\b"
    r"|(?:create|alter)\s+(?:server|subscription|user\s+mapping|foreign|tablespace|event\s+trigger)\b"
    r"|import\s+foreign\b|alter\s+system\b",
    re.DOTALL,
)
_RELATIONS = """
select c.oid::bigint, case when c.relkind in ('i', 'I') then (
           select tn.nspname || '.' || t.relname from pg_catalog.pg_index i
           join pg_catalog.pg_class t on t.oid = i.indrelid join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
           where i.indexrelid = c.oid) else n.nspname || '.' || c.relname end,
       c.relkind in ('i', 'I'), pg_catalog.pg_relation_filenode(c.oid)::bigint
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'm', 'i', 'I') and n.nspname !~ '^pg_(?!temp)' and n.nspname <> 'information_schema'
"""
_LOCKS = """
select relation::bigint, pg_catalog.replace(mode, 'Lock', '') from pg_catalog.pg_locks
where pid = pg_catalog.pg_backend_pid() and locktype = 'relation' and granted
"""
_COUNTS = """
select relid::bigint, coalesce(seq_scan, 0) + coalesce(idx_scan, 0), n_tup_ins + n_tup_upd + n_tup_del,
       n_tup_upd + n_tup_del
from pg_catalog.pg_stat_xact_user_tables
"""


@dataclass(slots=True)
class Traced:
    """What one statement did; tables go by labels such as `public.clients`."""

    statement: Statement
    milliseconds: float = 0.0
    locks: dict[str, str] = field(default_factory=dict)
    """The strongest lock that it took on each table, where it is stronger than what its transaction held before."""
    held: dict[str, float] = field(default_factory=dict)
    """How long each of those locks was held: to the end of the transaction; milliseconds."""
    made: set[str] = field(default_factory=set)
    """Tables that were not there before."""
    rewritten: set[str] = field(default_factory=set)
    scanned: set[str] = field(default_factory=set)
    indexed: set[str] = field(default_factory=set)
    """Tables of which an index was built."""
    written: dict[str, int] = field(default_factory=dict)
    """How many rows it wrote in each table, triggers and cascades included."""
    changed: dict[str, int] = field(default_factory=dict)
    """How many of them were there before."""
    wal: int = 0
    error: str = ""
    state: str = ""
    """The SQLSTATE of the error."""
    outside: bool = False
    """It ran outside of a transaction, where locks cannot be seen afterwards."""


@dataclass(slots=True)
class _Seen:
    relations: dict[int, tuple[str, bool, int | None]]
    locks: dict[int, str]
    counts: dict[int, tuple[int, int, int]]
    wal: int


def blocks_writes(mode: str) -> bool:
    """Whether others cannot write to a table that is locked so."""
    return MODES.index(mode) >= MODES.index("Share")


def trace(
    connection: psycopg.Connection[Any], script: Script, *, together: bool, seconds: float, go_on: bool = False
) -> list[Traced]:
    """Run the statements one by one, in one transaction (`together`) or as the file says; rows stay.

    It stops at the first that fails, unless it is to go on: then what failed is undone, and the rest is tried.
    What takes longer than so many seconds in all is cancelled.
    """

    told: list[Traced] = []
    run = _Run(connection)
    end = perf_counter() + seconds
    watch = Timer(seconds, connection.cancel)
    watch.daemon = True
    watch.start()
    try:
        if together:
            run.begin()
        for statement in script.statements:
            # many short statements are never caught by the watch
            late = perf_counter() > end
            told.append(
                Traced(statement, error=_LATE, state=CANCELLED) if late else run.one(statement, together=together)
            )
            if told[-1].error and (not go_on or told[-1].state == CANCELLED):
                break
        run.finish(told)
    finally:
        watch.cancel()
    connection.execute("reset session authorization")
    connection.execute("reset all")
    return told


@dataclass(slots=True)
class _Run:
    connection: psycopg.Connection[Any]
    inside: bool = False
    current: list[Traced] = field(default_factory=list)
    held: dict[int, str] = field(default_factory=dict)

    def begin(self) -> None:
        self.connection.execute("begin")
        self.inside, self.current, self.held = True, [], {}

    def one(self, statement: Statement, *, together: bool) -> Traced:
        word = statement.code.split(" ")[0]
        trouble = statement.trouble or _calls_out(statement.code)
        if trouble:
            return Traced(statement, error=trouble)
        if word in ("begin", "start"):
            return self._begun(statement, together=together)
        if word in ("commit", "end", "rollback", "abort") and not _SAVEPOINT.match(statement.code):
            return self._ended(statement, word)
        if self.inside and _SAVEPOINT.match(statement.code):
            return self._save(statement)
        if self.inside:
            traced = self._step(statement)
            self.current.append(traced)
            return traced
        self.begin()
        traced = self._step(statement)
        if traced.state in _OUTSIDE:
            self.connection.execute("rollback")
            self.inside = False
            return self._bare(statement)
        self.current.append(traced)
        self.finish([traced])
        return traced

    def finish(self, told: list[Traced]) -> None:
        """End the transaction: it holds unless its last statement failed at the end of it."""
        import psycopg

        if not self.inside:
            return
        started = perf_counter()
        try:
            self.connection.execute("commit")
        except psycopg.Error as error:
            if told and not told[-1].error:
                told[-1].error, told[-1].state = _message(error), error.sqlstate or ""
            if self.connection.info.transaction_status:
                self.connection.execute("rollback")
        if self.current:
            self.current[-1].milliseconds += (perf_counter() - started) * 1000
        self._hold()
        self.inside = False

    def _begun(self, statement: Statement, *, together: bool) -> Traced:
        if self.inside and not together:
            self.finish(self.current)
        if not self.inside:
            self.begin()
        return Traced(statement)

    def _ended(self, statement: Statement, word: str) -> Traced:
        traced = Traced(statement)
        if word in ("rollback", "abort") and self.inside:
            self.connection.execute("rollback")
            self._hold()
            self.inside = False
        else:
            self.finish([*self.current, traced])
        return traced

    def _hold(self) -> None:
        left = 0.0
        for traced in reversed(self.current):
            left += traced.milliseconds
            traced.held = dict.fromkeys(traced.locks, left)
        self.current, self.held = [], {}

    def _step(self, statement: Statement) -> Traced:
        import psycopg

        traced = Traced(statement)
        before = self._see()
        self.connection.execute("savepoint releasegate")
        started = perf_counter()
        try:
            self.connection.execute(statement.text.encode())
        except psycopg.Error as error:
            traced.error, traced.state = _message(error), error.sqlstate or ""
            if self.connection.closed:
                raise
            self.connection.execute("rollback to savepoint releasegate")
        traced.milliseconds = (perf_counter() - started) * 1000
        if not traced.error:
            self._compare(traced, before, self._see())
            self.connection.execute("release savepoint releasegate")
        return traced

    def _save(self, statement: Statement) -> Traced:
        """A savepoint of the file's own, which must not stand within one of ours: that would end it."""
        import psycopg

        traced = Traced(statement)
        try:
            self.connection.execute(statement.text.encode())
        except psycopg.Error as error:
            traced.error, traced.state = _message(error), error.sqlstate or ""
            self.connection.execute("rollback")
            self._hold()
            self.begin()
        return traced

    def _bare(self, statement: Statement) -> Traced:
        """A statement that wants to be alone: its locks are gone when it has ended."""
        import psycopg

        traced = Traced(statement, outside=True)
        before = self._see()
        started = perf_counter()
        try:
            self.connection.execute(statement.text.encode())
        except psycopg.Error as error:
            traced.error, traced.state = _message(error), error.sqlstate or ""
        traced.milliseconds = (perf_counter() - started) * 1000
        after = self._see()
        traced.wal = after.wal - before.wal
        traced.indexed = {
            name for oid, (name, index, _) in after.relations.items() if index and oid not in before.relations
        }
        return traced

    def _see(self) -> _Seen:
        execute = self.connection.execute
        row = execute("select (pg_catalog.pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
        relations = {oid: (name, index, node) for oid, name, index, node in execute(_RELATIONS).fetchall()}
        return _Seen(
            relations,
            _strongest(execute(_LOCKS).fetchall()),
            {relation: (scans, rows, old) for relation, scans, rows, old in execute(_COUNTS).fetchall()},
            row[0] if row else 0,
        )

    def _compare(self, traced: Traced, before: _Seen, after: _Seen) -> None:
        known = {**before.relations, **after.relations}
        tables = {oid: name for oid, (name, index, _) in known.items() if not index}
        for oid, mode in after.locks.items():
            if oid in tables and _rank(mode) > _rank(self.held.get(oid, "")):
                traced.locks[tables[oid]] = self.held[oid] = mode
        # an index that is made anew may keep the file of the one it follows
        files = {node for _, index, node in before.relations.values() if index}
        for oid, (name, index, node) in after.relations.items():
            was = before.relations.get(oid)
            if index and node not in files:
                traced.indexed.add(name)
            elif not index and was is None:
                traced.made.add(name)
            elif not index and was is not None and was[2] != node:
                traced.rewritten.add(name)
        for oid, numbers in after.counts.items():
            old = before.counts.get(oid, (0, 0, 0))
            scans, rows, changed = (now - then for now, then in zip(numbers, old, strict=True))
            if oid in tables:
                traced.scanned |= {tables[oid]} if scans else set()
                traced.written |= {tables[oid]: rows} if rows else {}
                traced.changed |= {tables[oid]: changed} if changed else {}
        traced.wal = after.wal - before.wal


def _strongest(rows: Iterable[tuple[int, str]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for oid, mode in rows:
        if _rank(mode) > _rank(found.get(oid, "")):
            found[oid] = mode
    return found


def _rank(mode: str) -> int:
    return MODES.index(mode) if mode in MODES else -1


def _calls_out(code: str) -> str:
    return "not tried: it reaches beyond the database" if _OUTWARD.match(code) else ""


def _message(error: psycopg.Error) -> str:
    """What the server says, without the values of rows."""
    text = error.diag.message_primary or str(error).partition("\n")[0]
    return re.sub(r'"[^"]*"', '"..."', text) if (error.sqlstate or "")[:2] in ("22", "23") else text


def longest(told: Iterable[Traced]) -> Mapping[str, tuple[str, float]]:
    """The strongest lock of each table, and how long the longest that blocks writes was held; milliseconds."""
    found: dict[str, tuple[str, float]] = {}
    for traced in told:
        for table, mode in traced.locks.items():
            old_mode, old_held = found.get(table, ("AccessShare", 0.0))
            strongest = mode if _rank(mode) >= _rank(old_mode) else old_mode
            span = traced.held.get(table, 0.0) if blocks_writes(mode) else 0.0
            found[table] = (strongest, max(old_held, span))
    return found
