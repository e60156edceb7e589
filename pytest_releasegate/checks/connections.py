"""`connections`: how many are used of those there may be, and which sit idle in a transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, StrictInt, field_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.params import Parameters, Span, Threshold, format_duration
from pytest_releasegate.sources.pgmonitor import one, require_monitor, rows
from pytest_releasegate.sources.pgtables import aligned
from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Connections"]

_USED = """
select count(*) filter (where backend_type = 'client backend'),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
       - coalesce(current_setting('reserved_connections', true), '0')::int
from pg_catalog.pg_stat_activity
"""
_LIMITED = """
select 'role ' || r.rolname, count(a.pid), r.rolconnlimit
from pg_catalog.pg_roles r left join pg_catalog.pg_stat_activity a on a.usesysid = r.oid
where r.rolconnlimit > 0 group by r.rolname, r.rolconnlimit
union all
select 'database ' || d.datname, count(a.pid), d.datconnlimit
from pg_catalog.pg_database d left join pg_catalog.pg_stat_activity a on a.datid = d.oid
where d.datconnlimit > 0 group by d.datname, d.datconnlimit
order by 1
"""
_IDLE = """
select pid, usename, coalesce(nullif(application_name, ''), '-'), state,
       extract(epoch from pg_catalog.clock_timestamp() - state_change)::float8
from pg_catalog.pg_stat_activity
where state like 'idle in transaction%%' and pid <> pg_catalog.pg_backend_pid()
      and pg_catalog.clock_timestamp() - state_change > %(span)s
order by state_change
"""


class Connections(Parameters):
    """The server's connections: used share, limits of roles and databases, idle transactions; counted are the sessions.

    ```yaml
    connections: {database: app, used: "< 80%", idle_in_transaction: 0, idle_for: 1m}
    ```
    """

    kind: ClassVar[str] = "connections"
    shorthand: ClassVar[str] = "used"

    used: Threshold = Threshold.parse("< 80%")
    """The share of connections in use, of all that are not reserved."""
    database: str = ""
    """The environment's database; by default the only one, or `app`; all sessions of its server are counted."""
    limits: Threshold = Threshold.parse("< 90%")
    """The share in use of what a role or a database may have, for each that has a limit."""
    idle_in_transaction: Annotated[StrictInt, Field(ge=0)] = 0
    """How many sessions may sit idle in a transaction for longer than `idle_for`."""
    idle_for: Span = timedelta(minutes=1)
    """From when on an idle transaction counts."""

    @field_validator("used", "limits")
    @classmethod
    def _share(cls, share: Threshold) -> Threshold:
        if not share.text.endswith("%"):
            raise ValueError(f"expected a share such as '< 80%', got '{share}'")
        return share

    def look(self, context: Context) -> Iterator[Finding]:
        """Count the sessions once."""
        with connect(context, self.database) as connection:
            require_monitor(connection)
            used, available = one(connection, _USED)
            limited = rows(connection, _LIMITED)
            idle = rows(connection, _IDLE, {"span": self.idle_for})
        yield find(
            "connections",
            expected=f"{self.used} of {available}",
            actual=f"{used} ({used / available:.0%})",
            ok=self.used.holds(used / available),
        )
        for name, number, limit in limited:
            actual = f"{number} ({number / limit:.0%})"
            ok = self.limits.holds(number / limit)
            yield find(f"connections of {name}", expected=f"{self.limits} of {limit}", actual=actual, ok=ok)
        context.attach("idle.txt", "text/plain", aligned(("pid", "role", "application", "state", "seconds"), idle))
        longest = f", the longest {idle[0][2]} (pid {idle[0][0]}) for {idle[0][4]:.0f} s" if idle else ""
        yield find(
            f"idle in a transaction for {format_duration(self.idle_for)} or longer",
            expected=f"<= {self.idle_in_transaction}",
            actual=f"{len(idle)}{longest}",
            ok=len(idle) <= self.idle_in_transaction,
        )
        yield counted("sessions", used)
