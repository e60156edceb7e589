"""`locks`: who waits for whom, and which transactions stay open."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, StrictInt

from pytest_releasegate.check import counted, find
from pytest_releasegate.params import Duration, Parameters, Span, format_duration
from pytest_releasegate.sources.pgmonitor import one, require_monitor, rows
from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Locks"]

_MOST_SHOWN = 10
_SESSIONS = """
select count(*) from pg_catalog.pg_stat_activity
where datname = pg_catalog.current_database() and backend_type = 'client backend'
"""
_WAITING = """
select a.pid, coalesce(nullif(a.application_name, ''), '-'), w.mode, coalesce(c.relname, w.locktype),
       extract(epoch from pg_catalog.clock_timestamp() - coalesce(w.waitstart, a.state_change))::float8,
       pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(a.pid), ', ')
from pg_catalog.pg_locks w join pg_catalog.pg_stat_activity a using (pid)
left join pg_catalog.pg_class c on c.oid = w.relation and w.database = a.datid
where not w.granted and a.datname = pg_catalog.current_database()
      and pg_catalog.clock_timestamp() - coalesce(w.waitstart, a.state_change) > %(span)s
order by 5 desc
"""
_LONG = """
select pid, coalesce(nullif(application_name, ''), backend_type), state,
       extract(epoch from pg_catalog.clock_timestamp() - xact_start)::float8
from pg_catalog.pg_stat_activity
where datname = pg_catalog.current_database() and pid <> pg_catalog.pg_backend_pid()
      and backend_type in ('client backend', 'parallel worker', 'background worker')
      and pg_catalog.clock_timestamp() - xact_start > %(span)s
order by xact_start
"""
_PREPARED = """
select gid, extract(epoch from pg_catalog.clock_timestamp() - prepared)::float8 from pg_catalog.pg_prepared_xacts
where database = pg_catalog.current_database() and pg_catalog.clock_timestamp() - prepared > %(span)s order by prepared
"""


class Locks(Parameters):
    """Blocked sessions, long and prepared transactions of a database now; the denominator is its sessions.

    ```yaml
    locks: {database: app, waiting: 2s, transaction: 5m}
    ```
    """

    kind: ClassVar[str] = "locks"
    shorthand: ClassVar[str] = "database"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    waiting: Duration = timedelta(seconds=2)
    """How long a session may wait for a lock."""
    transaction: Span = timedelta(minutes=5)
    """How long a transaction may be open."""
    prepared: Duration = timedelta(minutes=5)
    """How long a transaction may stay prepared; it holds its locks without any session."""
    most: Annotated[StrictInt, Field(ge=0)] = 0
    """How many of each sort there may be all the same."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Look at the locks of this moment."""
        with connect(context, self.database) as connection:
            require_monitor(connection)
            (sessions,) = one(connection, _SESSIONS)
            waiting = rows(connection, _WAITING, {"span": self.waiting})
            long = rows(connection, _LONG, {"span": self.transaction})
            prepared = rows(connection, _PREPARED, {"span": self.prepared})
        for pid, application, mode, what, seconds, blockers in waiting[:_MOST_SHOWN]:
            actual = f"for {seconds:.1f} s for {mode} on {what}, blocked by {blockers or 'nobody now'}"
            yield find(
                f"pid {pid} ({application}) waits",
                expected=self._at_most(self.waiting),
                actual=actual,
                ok=False,
                observe=len(waiting) <= self.most,
            )
        yield self._number("waiting sessions", len(waiting), self.waiting, "")
        oldest = f": pid {long[0][0]} ({long[0][1]}, {long[0][2]}) for {long[0][3]:.1f} s" if long else ""
        yield self._number("long transactions", len(long), self.transaction, oldest)
        oldest = f": '{prepared[0][0]}' for {prepared[0][1]:.1f} s" if prepared else ""
        yield self._number("prepared transactions", len(prepared), self.prepared, oldest)
        yield counted("sessions", sessions)

    def _at_most(self, span: timedelta) -> str:
        return f"<= {format_duration(span)}"

    def _number(self, name: str, number: int, span: timedelta, oldest: str) -> Finding:
        expected = f"<= {self.most} longer than {format_duration(span)}"
        return find(name, expected=expected, actual=f"{number}{oldest}", ok=number <= self.most)
