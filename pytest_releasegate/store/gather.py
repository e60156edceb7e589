"""Reads the whole record as documents: rows as they are, and from the chain the events that changed a release."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from pytest_releasegate.claims import identity, to_document
from pytest_releasegate.errors import RecordError
from pytest_releasegate.store.chain import origin
from pytest_releasegate.store.documents import EVENTS, About, Document, read
from pytest_releasegate.store.said import CLAIM_TABLES, claim_of
from pytest_releasegate.store.schema import (
    audit_logs,
    entries,
    evidence,
    gate_results,
    runs,
    snapshots,
    starts,
    step_events,
)
from pytest_releasegate.store.values import clean, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection, Row, Table

    from pytest_releasegate.model import Release

__all__ = ["Gathered", "gather", "result_key"]

_Images = dict[tuple[str, int], dict[str, Any]]
_KEYS = ("product", "version", "environment", "attempt")


@dataclass
class Gathered:
    """All documents of a record, and what connects them with its rows."""

    documents: dict[str, Document] = field(default_factory=dict)
    """By their digests."""
    plans: dict[str, bytes] = field(default_factory=dict)
    """The texts of plans by their digests."""
    releases: dict[About, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    """The ids of runs by the digests of their documents."""
    ended: set[str] = field(default_factory=set)
    """The runs that have ended, by the digests of their documents."""
    results: dict[tuple[str, ...], str] = field(default_factory=dict)
    """The digests of results' documents by run, gate, case, target and instant."""
    claims: dict[str, str] = field(default_factory=dict)
    """The digests of claims' documents by the claims' identities."""

    def events(self, about: About) -> list[Document]:
        """What changed that release."""
        return [each for each in self.documents.values() if each.about == about and each.kind in EVENTS]

    def add(self, document: Document) -> None:
        """Take a document in."""
        self.documents[document.digest] = document


def gather(connection: Connection, known: Mapping[int, Release]) -> Gathered:
    """Everything that the record holds; `known` are its releases by their ids."""
    gathered = Gathered()
    abouts = {number: (each.product, each.version, each.environment, each.attempt) for number, each in known.items()}
    gathered.releases = {about: number for number, about in abouts.items()}
    for event in _Chain(gathered.plans).events(connection):
        gathered.add(event)
    run_digests = _runs(connection, gathered, abouts)
    _results(connection, gathered, abouts, run_digests)
    _claims(connection, gathered, known, abouts)
    for row in _rows(connection, step_events):
        said = _only(row, "phase", "step", "event", "at", "reason")
        gathered.add(Document("step", abouts[row.release_id], {**said, "run": run_digests.get(row.run_id)}))
    for row in _rows(connection, starts):
        said = {"gate": row.gate, "case": row.case_name, "at": row.at, "run": run_digests[row.run_id]}
        gathered.add(Document("start", abouts[row.release_id], said))
    for row in _rows(connection, audit_logs):
        said = _only(row, "at", "user_id", "action_type", "resource_type", "action_description", "severity")
        gathered.add(Document("audit", abouts.get(row.release_id), said))
    return gathered


class _Chain:
    """Walks the entries and tells what each changed of a release."""

    def __init__(self, plans: dict[str, bytes]) -> None:
        self._plans = plans
        self._images: _Images = {}

    def events(self, connection: Connection) -> Iterator[Document]:
        for body in connection.execute(select(entries.c.body).order_by(entries.c.seq)).scalars():
            entry = json.loads(bytes(body))
            touched = [(table, row, values) for table, row, values in entry["rows"] if table in _CHANGED]
            before = {(table, row): dict(self._images.get((table, row), {})) for table, row, _ in touched}
            for table, row, values in touched:
                self._images.setdefault((table, row), {}).update(values)
            yield from self._told(entry, touched, before)

    def _told(
        self, entry: dict[str, Any], touched: list[Any], before: Mapping[Any, dict[str, Any]]
    ) -> Iterator[Document]:
        said = entry["said"]
        if "event" in said:
            yield read(said["event"].encode())
        people = [row for table, row, _ in touched if table == "release_stakeholders"]
        if people and "event" not in said:
            images = [self._images["release_stakeholders", row] for row in people]
            named = {each["role"]: [each["name"], each["email"]] for each in images}
            yield Document("stakeholders", self._about(images[0]["release_id"]), {"at": entry["at"], "people": named})
        for table, row, values in touched:
            if table == "releases":
                for name in {"plan"} & values.keys():
                    self._plans[sha256(values[name].encode())] = values[name].encode()
                if "event" not in said:
                    yield self._event(entry, row, values, before[table, row])

    def _event(self, entry: dict[str, Any], row: int, values: dict[str, Any], before: dict[str, Any]) -> Document:
        kind, said = entry["kind"], entry["said"]
        who = {"at": said.get("at", entry["at"]), "person": said.get("person", "")}
        about = self._about(row)
        if kind == "release opened":
            return Document("opened", about, _opened(values))
        if kind == "release replanned":
            told = {
                "reason": said["reason"],
                "replaces": before["plan_digest"],
                "derived": _json(values.get("derived")),
            }
            return Document("replanned", about, {**who, **told, **_plan(values)})
        if kind == "deployed":
            return Document("deployed", about, {"deployed_at": values["deployed_at"], "person": who["person"]})
        if kind == "facts":
            old, new = _json(before["facts"]), _json(values["facts"])
            changed = {name: value for name, value in new.items() if old.get(name) != value}
            return Document("facts", about, {**who, "facts": _json(said.get("declared")) or changed})
        if kind == "rolled back":
            return Document("rolled_back", about, {**who, "reason": values["rollback_reason"]})
        return Document("changed", about, {"at": entry["at"], "what": kind, "values": values})

    def _about(self, row: int) -> About:
        product, version, environment, attempt = (self._images["releases", row][key] for key in _KEYS)
        return product, version, environment, attempt


_CHANGED = {"releases", "release_stakeholders"}


def _opened(values: dict[str, Any]) -> dict[str, Any]:
    plain = {name: values[name] for name in ("opened_at", "git_commit", "git_branch", "window_start", "window_end")}
    return {
        **plain,
        **_plan(values),
        "profile": values.get("profile") or "",
        "facts": _json(values["facts"]),
        "derived": _json(values.get("derived")) or {},
        "authors": _json(values.get("authors")) or [],
    }


def _plan(values: dict[str, Any]) -> dict[str, str]:
    return {"plan_digest": values["plan_digest"], "plan": sha256(values["plan"].encode())}


def _runs(connection: Connection, gathered: Gathered, abouts: Mapping[int, About]) -> dict[int, str]:
    digests = {}
    for row in _rows(connection, runs):
        said = _only(row, "started_at", "expression", "host", "pid", "tool_version")
        run = Document("run", abouts[row.release_id], {**said, "scope": _json(row.scope)})
        digests[row.id] = run.digest
        gathered.add(run)
        gathered.runs[run.digest] = row.id
        if row.ended_at is not None:
            ended = {"run": run.digest, **_only(row, "ended_at", "decision", "exit_code")}
            gathered.ended.add(run.digest)
            gathered.add(Document("run_end", run.about, ended))
    return digests


def _results(
    connection: Connection, gathered: Gathered, abouts: Mapping[int, About], run_digests: Mapping[int, str]
) -> None:
    pieces: dict[int, list[list[Any]]] = {}
    for row in _rows(connection, evidence):
        pieces.setdefault(row.result_id, []).append([row.name, row.media_type, row.sha256, row.size])
    kept: dict[int, dict[str, Any]] = {}
    for row in _rows(connection, snapshots):
        kept.setdefault(row.result_id, {})[row.name] = _json(row.value)
    own = origin(connection)
    plain = ("gate", "target", "status", "started_at", "seconds", "attempts", "message", "gate_digest", "code")
    for row in _rows(connection, gate_results):
        where, _, order = (row.origin or f"{own}/{row.id}").partition("/")
        said = {
            **_only(row, *plain),
            "case": row.case_name,
            "run": run_digests[row.run_id],
            "origin": where,
            "order": int(order),
            "findings": _json(row.findings),
            "evidence": pieces.get(row.id, []),
            "kept": kept.get(row.id, {}),
        }
        result = Document("result", abouts[row.release_id], said)
        gathered.add(result)
        gathered.results[result_key(said)] = result.digest


def result_key(said: Mapping[str, Any]) -> tuple[str, ...]:
    """What a run can have only one result of."""
    return tuple(str(said[name]) for name in ("run", "gate", "case", "target", "started_at"))


def _claims(
    connection: Connection, gathered: Gathered, known: Mapping[int, Release], abouts: Mapping[int, About]
) -> None:
    for kind, table in CLAIM_TABLES.items():
        for row in _rows(connection, table):
            about = abouts[row.release_id]
            commits = {event.said["git_commit"] for event in gathered.events(about) if event.kind == "opened"}
            release = known[row.release_id]
            candidates = (replace(release, git_commit=commit) for commit in (release.git_commit, *sorted(commits), ""))
            documents = (clean(to_document(claim_of(kind, row), each)) for each in candidates)
            said = next((each for each in documents if identity(each) == row.identity), None)
            if said is None:
                what = f"the {kind} {row.identity[:12]} of {release.name} is not what its identity says"
                raise RecordError(what, "releasegate verify")
            held = {"file": row.file_sha256, "evidence": getattr(row, "body_sha256", None)}
            claim = Document("claim", about, {"claim": said, **held})
            gathered.add(claim)
            gathered.claims[row.identity] = claim.digest


def _rows(connection: Connection, table: Table) -> Iterator[Row[Any]]:
    yield from connection.execute(select(table).order_by(table.c.id))


def _only(row: Row[Any], *names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
