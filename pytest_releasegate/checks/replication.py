"""`replication`: how far the standbys are behind, and what their slots hold back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, StrictBool, StrictInt

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, Span, format_duration
from pytest_releasegate.sources.pgmonitor import one, require_monitor, rows
from pytest_releasegate.sources.pgtables import aligned
from pytest_releasegate.sources.postgres import connect
from pytest_releasegate.sources.sizes import Bytes, shown_bytes
from pytest_releasegate.sources.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Replication"]

_STANDBYS = """
select coalesce(nullif(application_name, ''), 'pid ' || pid), state, sync_state,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), replay_lsn)::bigint,
       extract(epoch from replay_lag)::float8
from pg_catalog.pg_stat_replication r where state <> 'backup'
and not exists (select from pg_catalog.pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical')
order by 1
"""
_SLOTS = """
select slot_name, active, coalesce(wal_status, 'unknown'), temporary,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)::bigint
from pg_catalog.pg_replication_slots order by 1
"""
_STANDBY = """
select pg_catalog.pg_is_wal_replay_paused(),
       pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn(),
       extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::float8,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())::bigint
"""
_RECEIVER = """
select status, extract(epoch from pg_catalog.clock_timestamp() - last_msg_receipt_time)::float8,
       current_setting('wal_receiver_status_interval')
from pg_catalog.pg_stat_wal_receiver
"""


class Replication(Parameters):
    """Each standby of a primary, or the standby itself: state and lag; slots too; the denominator is the standbys.

    ```yaml
    replication: {database: app, standbys: 2, lag: 10s, lag_bytes: 16MB, retained: 5GB}
    ```
    """

    kind: ClassVar[str] = "replication"
    shorthand: ClassVar[str] = "standbys"

    standbys: Annotated[StrictInt, Field(ge=1)] = 1
    """How many standbys must stream from a primary at least; one that is asked itself counts, subscribers never do."""
    database: str = ""
    """The environment's database on the primary or on a standby; by default the only one, or `app`."""
    lag: Span = timedelta(seconds=30)
    """How long a standby may take to apply what is written."""
    lag_bytes: Bytes = 64 * 1024 * 1024
    """How much a standby may have to apply still."""
    synchronous: StrictBool = False
    """Whether at least one standby must be synchronous."""
    retained: Bytes | None = None
    """How much WAL a replication slot may hold back; by default as much as the server lets it."""
    idle_slots: tuple[str, ...] = ()
    """Slots that may be inactive."""
    ignore: tuple[str, ...] = ()
    """Application names that stream and are no standbys, such as `pg_receivewal`."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask the primary for its standbys and slots, or a standby for itself."""
        with connect(context, self.database) as connection:
            require_monitor(connection)
            (standby,) = one(connection, "select pg_catalog.pg_is_in_recovery()")
            if standby:
                yield from self._standby(connection)
            else:
                yield from self._primary(connection, context)

    def _primary(self, connection: psycopg.Connection[Any], context: Context) -> Iterator[Finding]:
        standbys = [row for row in rows(connection, _STANDBYS) if row[0] not in self.ignore]
        heads = ("standby", "state", "sync", "bytes behind", "seconds behind")
        context.attach("standbys.txt", "text/plain", aligned(heads, standbys))
        streaming = [name for name, state, *_ in standbys if state == "streaming"]
        actual = f"{len(streaming)}{': ' + shown(streaming) if streaming else ''}"
        expected = f">= {self.standbys}"
        yield find("standbys that stream", expected=expected, actual=actual, ok=len(streaming) >= self.standbys)
        for name, state, _, behind, seconds in standbys:
            yield self._lag(name, state, behind, seconds)
        if self.synchronous:
            ways = sorted({sync for _, _, sync, *_ in standbys}) or ["no standby"]
            ok = bool({"sync", "quorum"} & set(ways))
            yield find("synchronous standby", expected=">= 1", actual=", ".join(ways), ok=ok)
        for slot in rows(connection, _SLOTS):
            yield self._slot(*slot)
        yield counted("standbys", len(standbys), self.standbys)

    def _lag(self, name: str, state: str, behind: int | None, seconds: float | None) -> Finding:
        expected = f"streaming, <= {shown_bytes(self.lag_bytes)} and <= {format_duration(self.lag)} behind"
        if behind is None:
            return find(f"standby {name}", expected=expected, actual=f"{state}, tells no position", ok=Ok.CANNOT_TELL)
        # a standby that has everything reports no time, and an old time means nothing then
        late = 0.0 if behind == 0 else seconds
        told = "" if late is None else f" and {late:.1f} s"
        near = behind <= self.lag_bytes and (late is None or late <= self.lag.total_seconds())
        actual = f"{state}, {shown_bytes(behind)}{told} behind"
        return find(f"standby {name}", expected=expected, actual=actual, ok=near and state == "streaming")

    def _slot(self, name: str, active: bool, status: str, temporary: bool, held: int | None) -> Finding:
        faults = [] if active or temporary or name in self.idle_slots else ["inactive"]
        faults += [f"WAL {status}"] if status in ("lost", "unreserved") else []
        held = held or 0
        if self.retained is not None and held > self.retained:
            faults.append(f"more than {shown_bytes(self.retained)} held back")
        actual = f"{', '.join(faults) or 'active'}; holds back {shown_bytes(held)}"
        return find(f"slot {name}", expected="active, its WAL kept", actual=actual, ok=not faults)

    def _standby(self, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
        paused, all_applied, since, behind = one(connection, _STANDBY)
        receivers = rows(connection, _RECEIVER)
        yield self._receiver(receivers)
        yield find("replay", expected="running", actual="paused" if paused else "running", ok=not paused)
        # on an idle primary the newest transaction grows old though all of it is applied
        late = 0.0 if all_applied else since
        expected = f"<= {shown_bytes(self.lag_bytes)} and <= {format_duration(self.lag)} behind"
        if late is None or behind is None:
            yield find("this standby", expected=expected, actual="nothing applied so far", ok=Ok.CANNOT_TELL)
        else:
            ok = late <= self.lag.total_seconds() and behind <= self.lag_bytes
            yield find(
                "this standby", expected=expected, actual=f"{shown_bytes(behind)} and {late:.1f} s behind", ok=ok
            )
        yield counted("standbys", 1)

    def _receiver(self, receivers: list[tuple[Any, ...]]) -> Finding:
        expected = f"streaming, a message of the last {format_duration(self.lag)} or keepalive"
        if not receivers:
            # without one, everything received is applied, and nothing looks late
            return find("receiver", expected=expected, actual="not connected to a primary", ok=False)
        ((status, silent, _),) = receivers
        longest = max(self.lag.total_seconds(), 60.0)
        heard = "never" if silent is None else f"{silent:.1f} s ago"
        ok = status == "streaming" and silent is not None and silent <= longest
        return find("receiver", expected=expected, actual=f"{status}, last message {heard}", ok=ok)
