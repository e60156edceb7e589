"""The part of the record that holds results, their evidence and the measurements they kept."""

from __future__ import annotations

import json
from dataclasses import replace
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select

from pytest_releasegate.model import Evidence, Kept, Release, Result, Status
from pytest_releasegate.store.chain import origin
from pytest_releasegate.store.nouns import findings_document, findings_from
from pytest_releasegate.store.releases import Releases
from pytest_releasegate.store.schema import blobs, evidence, gate_results, releases, runs, snapshots, step_events
from pytest_releasegate.store.values import canonical, clean, clean_text, from_text, sha256, to_text, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row, Select

    from pytest_releasegate.check import Which
    from pytest_releasegate.store.chain import Writing

__all__ = ["Results", "result_identity"]


class Results(Releases):
    """Results, evidence and kept values."""

    def add_result(self, release_id: int, run_id: int, result: Result, bodies: Mapping[str, bytes]) -> int:
        """Record a result with its evidence and kept values in one transaction and give its id; twice is the same id.

        `bodies` are the bytes of the evidence by their digests; raises `RecordError` when a digest does not fit, or
        when the run is not one of that release.
        """
        self._fit(bodies)
        identity = _identity(run_id, result)
        with self._writing() as writing:
            known = writing.connection.execute(_by_identity(identity)).scalar()
            if known is not None:
                return int(known)
            self._belongs(writing.connection, release_id, run_id)
            row_id = writing.insert(gate_results, _values(release_id, run_id, result) | {"identity": identity})
            _insert_parts(writing, release_id, row_id, result)
            for body in bodies.values():
                writing.blob(body)
            for piece in result.evidence:
                writing.lost(clean_text(piece.sha256), piece.size)
            writing.entry("result", row_id)
        return row_id

    def has_result(self, run_id: int, result: Result) -> bool:
        """Whether that result of the run is in the record."""
        with self._reading() as connection:
            return connection.execute(_by_identity(_identity(run_id, result))).scalar() is not None

    def looked_at(self, run_id: int) -> frozenset[str]:
        """The ids of the gates of which that run left a result."""
        return frozenset(gate for gate, _ in self.reported(run_id))

    def reported(self, run_id: int) -> frozenset[tuple[str, str]]:
        """The gates, with their cases, of which that run left a result."""
        columns = gate_results.c.gate, gate_results.c.case_name
        query = select(*columns).where(gate_results.c.run_id == run_id).distinct()
        with self._reading() as connection:
            return frozenset((gate, case) for gate, case in connection.execute(query))

    def results(self, release_id: int) -> list[Result]:
        """Every result of every attempt, oldest first; their ids say in which order they were recorded.

        Where some came from another record, what one record wrote stays in its order, and the clocks order the rest.
        """
        mine = gate_results.c.release_id == release_id
        with self._reading() as connection:
            pieces = _by_result(connection, select(evidence).join(gate_results).where(mine).order_by(evidence.c.id))
            query = select(snapshots).where(snapshots.c.release_id == release_id).order_by(snapshots.c.id)
            kept = _by_result(connection, query)
            rows = connection.execute(select(gate_results).where(mine).order_by(gate_results.c.id)).all()
            order = _order(rows, origin(connection)) if any(row.origin for row in rows) else {}
            found = [_result(row, pieces.get(row.id, []), kept.get(row.id, [])) for row in rows]
        found = [replace(result, id=order.get(result.id, result.id)) for result in found]
        return sorted(found, key=lambda result: (result.started_at, result.id))

    def evidence_body(self, sha256: str) -> bytes | None:
        """The bytes of that digest; None when they were never kept or have been erased."""
        with self._reading() as connection:
            found = connection.execute(select(blobs.c.body).where(blobs.c.sha256 == clean_text(sha256))).scalar()
        return None if found is None else bytes(found)

    def recorded(self, release: Release, name: str, *, of: Which) -> Kept | None:
        """The newest value kept under that name, of this release or of the newest one opened before it that kept it.

        `first` is the oldest of this release, or the oldest since a step of it was last reopened.
        Before it counts what was opened earlier for the same product and environment: other versions and attempts, but
        none that was rolled back.
        """
        query = _previous(release, name) if of == "previous" else _own(release, name, first=of == "first")
        with self._reading() as connection:
            found = connection.execute(query).one_or_none()
        if found is None:
            return None
        value = unpack(json.loads(found.value))
        return Kept(name=found.name, value=value, gate=found.gate, version=found.version, at=from_text(found.at))

    def _fit(self, bodies: Mapping[str, bytes]) -> None:
        for digest, body in bodies.items():
            if sha256(body) != digest:
                raise self._address.error(f"evidence {digest[:12]}: its bytes have the digest {sha256(body)[:12]}")

    def _belongs(self, connection: Connection, release_id: int, run_id: int) -> None:
        owner = connection.execute(select(runs.c.release_id).where(runs.c.id == run_id)).scalar()
        if owner != release_id:
            is_of = "is not known" if owner is None else f"is of release {owner}"
            raise self._address.error(f"run {run_id} {is_of}, expected one of release {release_id}")


def result_identity(run_id: int, gate: str, case: str, target: str, started_at: str) -> str:
    """What makes a result the same when it is recorded again."""
    return sha256(canonical([run_id, *clean([gate, case, target]), started_at]))


def _identity(run_id: int, result: Result) -> str:
    return result_identity(run_id, result.gate, result.case, result.target, to_text(result.started_at))


def _by_identity(identity: str) -> Select[Any]:
    return select(gate_results.c.id).where(gate_results.c.identity == identity)


def _values(release_id: int, run_id: int, result: Result) -> dict[str, Any]:
    return {
        "release_id": release_id,
        "run_id": run_id,
        "gate": result.gate,
        "case_name": result.case,
        "target": result.target,
        "status": str(result.status),
        "started_at": to_text(result.started_at),
        "seconds": float(result.seconds) if isfinite(result.seconds) else None,
        "attempts": result.attempts,
        "message": result.message,
        "findings": canonical(clean(findings_document(result.findings))).decode(),
        "gate_digest": result.gate_digest,
        "code": result.code,
    }


def _insert_parts(writing: Writing, release_id: int, row_id: int, result: Result) -> None:
    for piece in result.evidence:
        values = {"name": piece.name, "media_type": piece.media_type, "sha256": piece.sha256, "size": piece.size}
        writing.insert(evidence, {"result_id": row_id, **values})
    for name, value in result.kept.items():
        text = canonical(clean(value)).decode()
        of = {"release_id": release_id, "result_id": row_id, "gate": result.gate, "at": to_text(result.started_at)}
        writing.insert(snapshots, {**of, "name": name, "value": text})


def _by_result(connection: Connection, query: Select[Any]) -> dict[int, list[Row[Any]]]:
    found: dict[int, list[Row[Any]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.result_id, []).append(row)
    return found


def _result(row: Row[Any], pieces: list[Row[Any]], kept: list[Row[Any]]) -> Result:
    return Result(
        id=row.id,
        gate=row.gate,
        case=row.case_name,
        target=row.target,
        status=Status(row.status),
        started_at=from_text(row.started_at),
        seconds=nan if row.seconds is None else row.seconds,
        attempts=row.attempts,
        message=row.message,
        findings=findings_from(unpack(json.loads(row.findings))),
        evidence=tuple(Evidence(each.name, each.media_type, each.sha256, each.size) for each in pieces),
        kept={each.name: unpack(json.loads(each.value)) for each in kept},
        gate_digest=row.gate_digest,
        code=row.code,
    )


def _order(rows: Sequence[Row[Any]], own: str) -> dict[int, int]:
    """The places of rows from several records, the same in each of them, by their ids here."""
    written: dict[str, list[tuple[int, str, int]]] = {}
    for row in rows:
        where, _, number = (row.origin or f"{own}/{row.id}").partition("/")
        written.setdefault(where, []).append((int(number), row.started_at, row.id))
    keyed: list[tuple[str, str, int, int]] = []
    for where, each in written.items():
        latest = ""
        for number, at, row_id in sorted(each):
            # a clock that was set back does not make a record's later result an earlier one
            latest = max(latest, at)
            keyed.append((latest, where, number, row_id))
    return {row_id: place for place, (_, _, _, row_id) in enumerate(sorted(keyed), 1)}


def _own(release: Release, name: str, *, first: bool) -> Select[Any]:
    order = (snapshots.c.at, snapshots.c.id) if first else (snapshots.c.at.desc(), snapshots.c.id.desc())
    query = (
        select(snapshots, releases.c.version)
        .join(releases, snapshots.c.release_id == releases.c.id)
        .where(snapshots.c.name == clean_text(name), releases.c.id == release.id)
    )
    if first:
        reopened = (step_events.c.release_id == release.id) & (step_events.c.event == "reopened")
        since = select(func.max(step_events.c.at)).where(reopened).scalar_subquery()
        query = query.where(or_(since.is_(None), snapshots.c.at >= since))
    return query.order_by(*order).limit(1)


def _previous(release: Release, name: str) -> Select[Any]:
    opened = to_text(release.opened_at)
    before = or_(releases.c.opened_at < opened, and_(releases.c.opened_at == opened, releases.c.id < release.id))
    return (
        select(snapshots, releases.c.version)
        .join(releases, snapshots.c.release_id == releases.c.id)
        .where(
            snapshots.c.name == clean_text(name),
            releases.c.product == clean_text(release.product),
            releases.c.environment == clean_text(release.environment),
            releases.c.id != release.id,
            releases.c.was_rolled_back.is_(False),
            before,
        )
        .order_by(releases.c.opened_at.desc(), releases.c.id.desc(), snapshots.c.at.desc(), snapshots.c.id.desc())
        .limit(1)
    )
