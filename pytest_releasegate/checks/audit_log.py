"""`audit_log`: an audit table tells of what is done, of all that must be told, and nobody can change what it says."""

from __future__ import annotations

from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, StrictStr, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, Threshold, format_duration
from pytest_releasegate.sources.actions import Names, Place, Probe, done, requested
from pytest_releasegate.sources.oncopy import OnCopy, copied
from pytest_releasegate.sources.pgaudit import falsifiers, missed
from pytest_releasegate.sources.pgcolumns import NOW, column_of, columns_of, no_instant
from pytest_releasegate.sources.pglooks import SCAN_SECONDS, Numbers, Want, measured
from pytest_releasegate.sources.pgtables import Table, aligned, named, user_tables
from pytest_releasegate.sources.postgres import connect, database_name
from pytest_releasegate.sources.text import OneOrMore

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["AuditLog"]

_NONE: Any = ()


class AuditLog(Parameters):
    """An audit table: what actions leave in it, which tables it tells of, how old it is, and who could falsify it.

    The denominator is the actions, tables and roles looked at. Probes in SQL are rolled back and need `probes`, those
    through the application need `writes_through_app`. The triggers of a probe's tables do fire: a trigger that calls
    another system has called it.

    ```yaml
    audit_log:
      table: audit_logs
      probes:
        a note is deleted:
          sql: delete from notes where id = (select max(id) from notes)
          expect: {action_type: delete, resource_type: notes, severity: critical}
        a chart is read:
          http: {url: "/clients/1?why=${mark}"}
          expect: {action_type: phi_access, detail: "${mark}"}
          filled: [user_id]
      audited: [clients, notes]
      append_only: [authenticator]
      oldest: ">= 2190d"
      since: 2024-05-01
    ```
    """

    kind: ClassVar[str] = "audit_log"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    table: Annotated[StrictStr, Field(min_length=1)]
    """The audit table, such as `audit_logs` or `audit.events`."""
    time: StrictStr = "created_at"
    """Its column that says when."""
    zone: str = ""
    """The time zone of that column where it has none, such as UTC."""
    probes: dict[str, Probe] = Field(default_factory=dict)
    """By a name of your own, an action, and the row that it must leave."""
    audited: Names = ()
    """Tables, or patterns such as `public.*`, whose inserts, updates and deletes a trigger must write into it."""
    exclude: Names = ()
    """Patterns of tables that `audited` does not mean; the audit table never is."""
    audited_by: str = ""
    """The function that those triggers execute, such as `auth.record`; by default one whose text names the table."""
    append_only: Names = ()
    """Roles of the application that must not be able to update, delete or truncate, also by taking on another role."""
    oldest: Annotated[tuple[Threshold, ...], OneOrMore] = _NONE
    """How old the oldest row must be, such as `'>= 2190d'`, or a list of bounds."""
    since: date | None = None
    """The day the log began: as long as it is younger than `oldest` asks, its oldest row must be of the day after."""
    on_copy: OnCopy | None = None
    """Look at a scratch copy, with the release's migrations run on it, instead of at the target."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many actions, tables and roles must be looked at at least."""

    @model_validator(mode="after")
    def _something(self) -> AuditLog:
        if not (self.probes or self.audited or self.append_only or self.oldest):
            raise ValueError("expected `probes`, `audited`, `append_only` or `oldest`")
        if self.on_copy and (self.oldest or any(probe.http for probe in self.probes.values())):
            raise ValueError("a copy has neither its age nor an application: expected no `oldest` and no `http`")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask the catalogue, then act."""
        in_sql = {name: probe for name, probe in self.probes.items() if probe.sql}
        if in_sql and not self.on_copy:
            context.require_permission("probes", "an action in SQL, which is rolled back,")
        with (
            copied(context, self.database, self.on_copy)
            if self.on_copy
            else connect(context, self.database, at_most=SCAN_SECONDS, writable=bool(in_sql)) as connection
        ):
            place = self._place(connection)
            found = [*self._triggers(connection, place), *self._privileges(connection, place)]
            found += [done(connection, context, place, *one) for one in in_sql.items()]
            ages = list(self._ages(connection, context, place))
        found += [requested(context, self.database, place, *one) for one in self.probes.items() if one[1].http]
        context.attach("audit_log.txt", "text/plain", _table([*found, *ages]))
        yield from [*found, *ages]
        if found:
            told = sum(finding.ok is not Ok.CANNOT_TELL for finding in found)
            yield counted("actions, tables and roles", told, self.least)

    def wants(self, connection: psycopg.Connection[Any]) -> list[Want]:
        """The age of the oldest row, for whoever looks first."""
        return [_want(self._place(connection))] if self.oldest else []

    def _place(self, connection: psycopg.Connection[Any]) -> Place:
        known = user_tables(connection)
        table = named(self.table, known)
        columns = columns_of(connection, table)
        for name in (name for probe in self.probes.values() for name in (*probe.expect, *probe.filled)):
            column_of(table, columns, name)
        return Place(table, column_of(table, columns, self.time), self.zone, known)

    def _triggers(self, connection: psycopg.Connection[Any], place: Place) -> Iterator[Finding]:
        for table in self._audited(place):
            events, why = missed(connection, table, place.table, self.audited_by)
            actual = f"not of {', '.join(events)}: {why or 'no trigger for it'}" if events else "of all three"
            wanted = f"insert, update and delete told to {place.table.label} by an enabled trigger"
            yield find(f"trail of {table.label}", expected=wanted, actual=actual, ok=not events)

    def _audited(self, place: Place) -> list[Table]:
        meant: list[Table] = []
        for name in self.audited:
            patterned = any(sign in name for sign in "*?[")
            found = [one for one in place.known if _matches(one, name)] if patterned else [named(name, place.known)]
            if not found:
                raise CannotLook(f"no table matches '{name}'", "correct `audited` of the gate")
            meant += found
        left_out = [one for one in meant if any(_matches(one, pattern) for pattern in self.exclude)]
        return sorted({*meant} - {*left_out, place.table})

    def _privileges(self, connection: psycopg.Connection[Any], place: Place) -> Iterator[Finding]:
        for role in self.append_only:
            able = falsifiers(connection, place.table, role)
            told = "; ".join(f"{what} by {name}" for name, what in able) or "nothing of it"
            wanted = "no update, delete or truncate, also by a role it may take on"
            fix = f": revoke update, delete, truncate on {place.table.label} from {able[0][0]}" if able else ""
            fix = "" if any(what.startswith("everything") for _, what in able) else fix
            yield find(f"what {role} may do to {place.table.label}", expected=wanted, actual=told + fix, ok=not able)

    def _ages(self, connection: psycopg.Connection[Any], context: Context, place: Place) -> Iterator[Finding]:
        if not self.oldest:
            return
        (numbers,) = measured(connection, context, database_name(context, self.database), [_want(place)])
        since = None if self.since is None else context.clock.now().date() - self.since - timedelta(days=1)
        for limit in self.oldest:
            yield _age(place, limit, numbers, since)
        yield counted("rows", numbers.rows)


def _want(place: Place) -> Want:
    return Want(
        place.table,
        "",
        (f"extract(epoch from {NOW} - min({place.instant}) filter (where isfinite({place.instant})))::float8",),
    )


def _age(place: Place, limit: Threshold, numbers: Numbers, since: timedelta | None) -> Finding:
    name, age = f"oldest row of {place.table.label}", numbers.values[_want(place).aggregates[0]]
    if unclear := no_instant(place.time) if place.time.zoneless and not place.zone else "":
        return find(name, expected=limit, actual=unclear, ok=Ok.CANNOT_TELL)
    if age is None:
        return find(name, expected=limit, actual="no row with a time" if numbers.rows else "no row", ok=Ok.CANNOT_TELL)
    young = since is not None and limit.sign in (">", ">=") and since.total_seconds() < limit.limit
    wanted = f"{limit}, or since the log began: >= {format_duration(since)}" if young and since else limit
    ok = age >= since.total_seconds() if young and since is not None else limit.holds(age)
    return find(name, expected=wanted, actual=f"{age / 86400:.1f}d{numbers.when}", ok=ok)


def _matches(table: Table, pattern: str) -> bool:
    return fnmatchcase(table.label, pattern) or fnmatchcase(table.name, pattern)


def _table(found: list[Finding]) -> bytes:
    rows = ((finding.name, finding.expected, finding.actual, finding.ok) for finding in found)
    return aligned(("what", "expected", "seen", "ok"), rows)
