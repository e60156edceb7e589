"""The part of the record that holds releases, their plans and their runs."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from pytest_releasegate.errors import RecordError, UsageProblem
from pytest_releasegate.model import Release, Run
from pytest_releasegate.store.base import Base
from pytest_releasegate.store.nouns import plan_from_json, plan_to_json
from pytest_releasegate.store.schema import releases, runs
from pytest_releasegate.store.values import canonical, clean_text, from_text, to_text, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Row, Select

    from pytest_releasegate.model import Plan

__all__ = ["REVIEW_AFTER", "Releases"]

REVIEW_AFTER = timedelta(hours=72)
"""From deployment to its review, added in UTC."""

_COLUMNS = (
    releases.c.id,
    releases.c.product,
    releases.c.version,
    releases.c.environment,
    releases.c.attempt,
    releases.c.git_commit,
    releases.c.git_branch,
    releases.c.opened_at,
    releases.c.deployed_at,
    releases.c.deployed_by,
    releases.c.rollback_at,
    releases.c.rollback_reason,
    releases.c.window_start,
    releases.c.window_end,
    releases.c.facts,
    releases.c.derived,
    releases.c.plan_digest,
    releases.c.profile,
    releases.c.authors,
)


class Releases(Base):
    """Releases, plans and runs."""

    def open_release(self, release: Release, plan: Plan) -> Release:
        """Record a release with its frozen plan; when it is there already, the row that is there is given back."""
        values = _opening(release, plan)
        try:
            with self._writing() as writing:
                found = writing.connection.execute(_where(release)).one_or_none()
                if found is not None:
                    return _release(found)
                row_id = writing.insert(releases, values)
                writing.entry("release opened", row_id)
        except RecordError as error:
            # somebody who does not take the lock was first
            if not isinstance(error.__cause__, IntegrityError):
                raise
        with self._reading() as connection:
            return _release(connection.execute(_where(release)).one())

    def find_release(self, product: str, version: str, environment: str, attempt: int | None = None) -> Release | None:
        """That attempt of a release, by default the latest; None when the record does not know it."""
        query = _same(product, version, environment).order_by(releases.c.attempt.desc()).limit(1)
        if attempt is not None:
            query = query.where(releases.c.attempt == attempt)
        with self._reading() as connection:
            found = connection.execute(query).one_or_none()
        return _release(found) if found else None

    def release(self, release_id: int) -> Release:
        """The release of that id; raises `RecordError` when there is none."""
        with self._reading() as connection:
            return self._known(connection, release_id)

    def releases(self, product: str = "", environment: str = "") -> list[Release]:
        """The releases, oldest first; of one product and in one environment when these are named."""
        query = _rows().order_by(releases.c.opened_at, releases.c.id)
        if product:
            query = query.where(releases.c.product == clean_text(product))
        if environment:
            query = query.where(releases.c.environment == clean_text(environment))
        with self._reading() as connection:
            return [_release(row) for row in connection.execute(query)]

    def plan(self, release_id: int) -> Plan:
        """The plan of a release, equal to the one that was frozen."""
        with self._reading() as connection:
            self._row(connection, release_id)
            text = connection.execute(select(releases.c.plan).where(releases.c.id == release_id)).scalar_one()
        return plan_from_json(text)

    def replan(
        self,
        release_id: int,
        plan: Plan,
        *,
        at: datetime,
        person: str,
        reason: str,
        derived: Mapping[str, str] | None = None,
    ) -> Release:
        """Put another plan, and derived facts, in the place of the frozen ones; the chain keeps the old ones."""
        values = {"plan": plan_to_json(plan), "plan_digest": plan.digest}
        values |= {"derived": canonical(dict(derived)).decode()} if derived is not None else {}
        return self._change(release_id, "release replanned", values, at=at, person=person, reason=reason)

    def set_deployed(self, release_id: int, at: datetime, person: str) -> Release:
        """Say when it was deployed, once, which schedules the review at +72 h; another instant is a `UsageProblem`.

        In the place of a person stands `gate 8.1.4` where a gate saw it.
        """
        known = self.release(release_id)
        if known.deployed_at is None:
            values = {
                "deployed_at": to_text(at),
                "deployed_by": clean_text(person),
                "review_status": "scheduled",
                "review_scheduled_at": to_text(from_text(to_text(at)) + REVIEW_AFTER),
            }
            return self._change(release_id, "deployed", values, once="deployed_at", at=at, person=person)
        return _once(known, at)

    def set_facts(self, release_id: int, facts: Mapping[str, bool], person: str, at: datetime) -> Release:
        """Declare facts of a release; facts declared before stay unless they are named again."""
        with self._writing() as writing:
            known = self._known(writing.connection, release_id)
            whole = canonical({**known.facts, **facts}).decode()
            writing.update(releases, release_id, {"facts": whole})
            declared = canonical(dict(facts)).decode()
            writing.entry("facts", release_id, at=to_text(at), person=person, declared=declared)
            return self._known(writing.connection, release_id)

    def start_run(self, release_id: int, run: Run) -> int:
        """Record that a run has begun and give its id."""
        with self._writing() as writing:
            self._row(writing.connection, release_id)
            run_id = writing.insert(runs, _run_values(release_id, run))
            writing.entry("run started", run_id)
        return run_id

    def end_run(self, run_id: int, *, at: datetime, decision: str, exit_code: int) -> None:
        """Record how a run ended, once; raises `RecordError` when it has ended otherwise or is not known."""
        values = {"ended_at": to_text(at), "decision": decision, "exit_code": exit_code}
        with self._writing() as writing:
            row = writing.connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
            if row is None:
                raise self._address.error(f"there is no run {run_id}")
            if row.ended_at is not None:
                if (row.decision, row.exit_code) != (decision, exit_code):
                    raise self._address.error(f"run {run_id} ended at {row.ended_at} with {row.exit_code} already")
                return
            writing.update(runs, run_id, values)
            writing.entry("run ended", run_id)

    def runs(self, release_id: int) -> list[Run]:
        """The runs of a release, oldest first."""
        with self._reading() as connection:
            found = connection.execute(select(runs).where(runs.c.release_id == release_id).order_by(runs.c.id))
            return [_run(row) for row in found]

    def run(self, run_id: int) -> tuple[int, Run] | None:
        """The id of its release and the run; None when the record does not know it."""
        with self._reading() as connection:
            row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
        return (int(row.release_id), _run(row)) if row else None

    def _row(self, connection: Connection, release_id: int) -> Row[Any]:
        found = connection.execute(_rows().where(releases.c.id == release_id)).one_or_none()
        if found is None:
            raise self._address.error(f"there is no release {release_id}")
        return found

    def _known(self, connection: Connection, release_id: int) -> Release:
        return _release(self._row(connection, release_id))

    def _every(self, connection: Connection) -> dict[int, Release]:
        return {int(row.id): _release(row) for row in connection.execute(_rows())}

    def _change(
        self,
        release_id: int,
        kind: str,
        values: Mapping[str, Any],
        *,
        at: datetime,
        person: str,
        reason: str = "",
        once: str = "",
    ) -> Release:
        with self._writing() as writing:
            row = self._row(writing.connection, release_id)
            if once and row._mapping[once] is not None:  # noqa: SLF001  SQLAlchemy's public name
                return _once(_release(row), at)
            writing.update(releases, release_id, values)
            writing.entry(kind, release_id, at=to_text(at), person=person, reason=reason)
            return self._known(writing.connection, release_id)


def _once(known: Release, at: datetime) -> Release:
    if known.deployed_at == at:
        return known
    hint = "it is set once; what was rolled back and deployed again is another attempt: releasegate rollback, then open"
    if known.seen_by:
        hint = "it is set once and cannot be corrected: let the next deployment say it itself, before any gate looks"
    said = f" ({known.deployment})" if known.deployed_by else ""
    raise UsageProblem(f"release {known.name} was deployed at {known.deployed_at} by the record{said}, got {at}", hint)


def _opening(release: Release, plan: Plan) -> dict[str, Any]:
    return {
        "product": release.product,
        "version": release.version,
        "environment": release.environment,
        "attempt": release.attempt,
        "git_commit": release.git_commit,
        "git_branch": release.git_branch,
        "opened_at": to_text(release.opened_at),
        "deployed_at": to_text(release.deployed_at) if release.deployed_at else None,
        "deployed_by": release.deployed_by or None,
        "window_start": to_text(release.window[0]) if release.window else None,
        "window_end": to_text(release.window[1]) if release.window else None,
        "facts": canonical(dict(release.facts)).decode(),
        "derived": canonical(dict(release.derived)).decode(),
        "profile": release.profile,
        "authors": canonical(list(release.authors)).decode(),
        "plan": plan_to_json(plan),
        "plan_digest": plan.digest,
        "review_status": "",
        "was_rolled_back": False,
    }


def _rows() -> Select[Any]:
    return select(*_COLUMNS)


def _same(product: str, version: str, environment: str) -> Select[Any]:
    return _rows().where(
        releases.c.product == clean_text(product),
        releases.c.version == clean_text(version),
        releases.c.environment == clean_text(environment),
    )


def _where(release: Release) -> Select[Any]:
    same = _same(release.product, release.version, release.environment)
    return same.where(releases.c.attempt == release.attempt)


def _release(row: Row[Any]) -> Release:
    values = dict(row._mapping)  # noqa: SLF001  SQLAlchemy's public name
    values["opened_at"] = from_text(row.opened_at)
    values["deployed_at"] = from_text(row.deployed_at) if row.deployed_at else None
    rolled_back = values.pop("rollback_at")
    values["rolled_back_at"] = from_text(rolled_back) if rolled_back else None
    values["deployed_by"] = row.deployed_by or ""
    values["rollback_reason"] = row.rollback_reason or ""
    start, end = values.pop("window_start"), values.pop("window_end")
    values["window"] = (from_text(start), from_text(end)) if start and end else None
    values["facts"] = unpack(json.loads(row.facts))
    values["derived"] = unpack(json.loads(row.derived or "{}"))
    values["profile"] = row.profile or ""
    values["authors"] = tuple(unpack(json.loads(row.authors or "[]")))
    return Release(**values)


def _run_values(release_id: int, run: Run) -> dict[str, Any]:
    return {
        "release_id": release_id,
        "started_at": to_text(run.started_at),
        "ended_at": to_text(run.ended_at) if run.ended_at else None,
        "expression": run.expression,
        "scope": canonical(list(run.scope)).decode(),
        "host": run.host,
        "pid": run.pid,
        "decision": run.decision,
        "exit_code": run.exit_code,
        "tool_version": run.tool_version,
    }


def _run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        started_at=from_text(row.started_at),
        ended_at=from_text(row.ended_at) if row.ended_at else None,
        expression=row.expression,
        scope=tuple(unpack(json.loads(row.scope))),
        host=row.host,
        pid=row.pid,
        decision=row.decision,
        exit_code=row.exit_code,
        tool_version=row.tool_version,
    )
