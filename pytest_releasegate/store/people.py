"""The part of the record that holds what people did: steps, rollbacks, stakeholders, the audit log."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.model import Phase, Start, StepEvent
from pytest_releasegate.store.said import Said
from pytest_releasegate.store.schema import audit_logs, release_stakeholders, releases, starts, step_events
from pytest_releasegate.store.values import clean, clean_text, from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from pytest_releasegate.model import Gate, Release
    from pytest_releasegate.store.chain import Writing

__all__ = ["AuditLog", "People"]


_AUDIT = {"action_type": "configuration_change", "resource_type": "settings", "severity": "critical"}
"""What a rollback's line of the audit log holds, whoever rolls back what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLog:
    """One line of the audit log."""

    id: int
    at: datetime
    release_id: int | None
    user_id: str
    action_type: str
    resource_type: str
    action_description: str
    severity: str


class People(Said):
    """Step events, rollbacks, stakeholders and the audit log."""

    def roll_back(self, release_id: int, at: datetime, *, reason: str, person: str) -> Release:
        """Say that a deployed release was rolled back, once, with the line of the audit log in the same transaction.

        The same again changes nothing; another instant or reason, and a release that was not deployed, are a
        `UsageProblem`.
        """
        with self._writing() as writing:
            known = self._known(writing.connection, release_id)
            if _is_rolled_back(known, at, clean_text(reason)):
                return known
            values = {"was_rolled_back": True, "rollback_at": to_text(at), "rollback_reason": reason}
            writing.update(releases, release_id, values)
            line = _AUDIT | {"release_id": release_id, "at": to_text(at), "user_id": person}
            what = f"Rollback initiated for release {known.name}: {reason}"
            writing.insert(audit_logs, line | {"action_description": what})
            writing.entry("rolled back", release_id, at=to_text(at), person=person, reason=reason)
            return self._known(writing.connection, release_id)

    def add_step_event(self, release_id: int, event: StepEvent) -> None:
        """Record that a step was closed or reopened."""
        values = {each.name: getattr(event, each.name) for each in fields(StepEvent) if each.name != "run"}
        values |= {"phase": str(event.phase), "at": to_text(event.at), "run_id": event.run or None}
        with self._writing() as writing:
            self._row(writing.connection, release_id)
            row_id = writing.insert(step_events, {"release_id": release_id, **values})
            writing.entry(f"step {event.event}", row_id)

    def step_events(self, release_id: int) -> list[StepEvent]:
        """The step events of a release, oldest first."""
        events = [_step_event(row) for row in self._of_release(step_events, release_id)]
        return sorted(events, key=lambda event: event.at)

    def begin(self, release_id: int, gate: Gate, start: Start) -> Start | None:
        """Note that a gate that writes begins; else the earlier beginning since its step was last reopened."""
        with self._writing() as writing:
            earlier = self._starts(writing.connection, release_id, gate)
            if found := next((each for each in earlier if each.case == start.case), None):
                return found
            values = {"gate": start.gate, "case_name": start.case, "at": to_text(start.at), "run_id": start.run}
            row_id = writing.insert(starts, {"release_id": release_id, **values})
            writing.entry("start", row_id)
        return None

    def starts(self, release_id: int, gate: Gate) -> list[Start]:
        """The beginnings of a gate that writes since its step was last reopened, oldest first."""
        with self._reading() as connection:
            return self._starts(connection, release_id, gate)

    def _starts(self, connection: Connection, release_id: int, gate: Gate) -> list[Start]:
        events = step_events.c
        mine = (events.release_id == release_id) & (events.phase == str(gate.phase)) & (events.step == gate.step)
        reopened = select(func.max(events.at)).where(mine, events.event == "reopened")
        since = connection.execute(reopened).scalar() or ""
        query = select(starts).where(starts.c.release_id == release_id, starts.c.gate == gate.id, starts.c.at >= since)
        rows = connection.execute(query.order_by(starts.c.id))
        return [Start(gate=row.gate, case=row.case_name, at=from_text(row.at), run=row.run_id) for row in rows]

    def set_stakeholders(self, release_id: int, people: Mapping[str, tuple[str, str]]) -> None:
        """Name the people, as (name, email), in these roles; roles that are not named keep theirs."""
        with self._writing() as writing:
            self._row(writing.connection, release_id)
            for role, (name, email) in clean(dict(people)).items():
                _set_stakeholder(writing, release_id, role, {"name": name, "email": email})
            writing.entry("stakeholders", release_id)

    def stakeholders(self, release_id: int) -> dict[str, tuple[str, str]]:
        """The people of a release as (name, email), by their roles."""
        return {row.role: (row.name, row.email) for row in self._of_release(release_stakeholders, release_id)}

    def add_audit(
        self,
        *,
        at: datetime,
        release_id: int | None,
        user_id: str,
        action_type: str,
        resource_type: str,
        action_description: str,
        severity: str,
    ) -> None:
        """Write one line of the audit log."""
        values = {
            "at": to_text(at),
            "release_id": release_id,
            "user_id": user_id,
            "action_type": action_type,
            "resource_type": resource_type,
            "action_description": action_description,
            "severity": severity,
        }
        with self._writing() as writing:
            if release_id is not None:
                self._row(writing.connection, release_id)
            writing.entry("audit", writing.insert(audit_logs, values))

    def audit(self, release_id: int) -> list[AuditLog]:
        """The audit log of a release, in the order in which it was written."""
        rows = [dict(row._mapping) for row in self._of_release(audit_logs, release_id)]  # noqa: SLF001
        return [AuditLog(**values | {"at": from_text(values["at"])}) for values in rows]


def _is_rolled_back(known: Release, at: datetime, reason: str) -> bool:
    if known.rolled_back_at is not None:
        if (known.rolled_back_at, known.rollback_reason) == (at, reason):
            return True
        was = f"{known.name} was rolled back {known.rolled_back_at:%Y-%m-%d %H:%M:%S} UTC: {known.rollback_reason}"
        raise UsageProblem(f"release {was}", "a rollback is recorded once; open another attempt")
    if known.deployed_at is None:
        raise UsageProblem(f"release {known.name} was not deployed by the record", "releasegate deployed --at INSTANT")
    return False


def _step_event(row: Row[Any]) -> StepEvent:
    return StepEvent(
        phase=Phase(row.phase),
        step=row.step,
        event=row.event,
        at=from_text(row.at),
        reason=row.reason,
        run=row.run_id or 0,
    )


def _set_stakeholder(writing: Writing, release_id: int, role: str, values: dict[str, str]) -> None:
    table = release_stakeholders
    query = select(table.c.id).where(table.c.release_id == release_id, table.c.role == role)
    found = writing.connection.execute(query).scalar()
    if found is None:
        writing.insert(table, {"release_id": release_id, "role": role, **values})
    else:
        writing.update(table, int(found), values)
