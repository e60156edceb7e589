"""The part of the record that gives all that it holds away as documents, and takes documents in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from pytest_releasegate.claims import claim_from_document, identity, to_document
from pytest_releasegate.errors import BrokenPlan, Problem, UsageProblem
from pytest_releasegate.model import Release
from pytest_releasegate.store.documents import EVENTS, About, Document, plain
from pytest_releasegate.store.gather import Gathered, gather, result_key
from pytest_releasegate.store.history import Disagreement, History, fold, name_of
from pytest_releasegate.store.nouns import plan_from_json
from pytest_releasegate.store.people import People
from pytest_releasegate.store.results import result_identity
from pytest_releasegate.store.said import insert_claim
from pytest_releasegate.store.schema import (
    audit_logs,
    blobs,
    evidence,
    gate_results,
    release_stakeholders,
    releases,
    runs,
    snapshots,
    starts,
    step_events,
)
from pytest_releasegate.store.values import clean

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pytest_releasegate.store.chain import Writing

__all__ = ["Load", "Sharing", "disagreements"]

Load = Callable[[str], bytes | None]
"""Gives the bytes of a digest from a bundle; None when it does not have them."""

_ROWS_AN_ENTRY = 100
_JSON = {"facts", "derived", "authors"}


class Sharing(People):
    """Documents out and in."""

    def documents(self) -> Gathered:
        """All that the record holds, as documents that mean the same in every record."""
        with self._reading() as connection:
            return gather(connection, self._every(connection))

    def take(self, documents: Iterable[Document], load: Load) -> Counter[str]:
        """Take in what is new of these documents, all or nothing, and count it by kinds.

        Raises `BrokenPlan` with every disagreement between the records, and whatever `load` raises.
        """
        whole = list(documents)
        with self._writing() as writing:
            here = gather(writing.connection, self._every(writing.connection))
            if wrong := disagreements(here, whole):
                raise BrokenPlan(wrong)
            new = [each for each in whole if each.digest not in here.documents and not _is_settled(here, each)]
            _Taking(writing, here, load).take(sorted(new, key=_order))
        return Counter(each.kind for each in new)


def disagreements(here: Gathered, documents: Sequence[Document]) -> list[Problem]:
    """Why these documents cannot be taken in beside what the record holds; none when they can.

    Disagreements about releases, and two documents that say different things of one result or claim.
    """
    found: list[Disagreement] = []
    commits: dict[About | None, set[str]] = {}
    for about in dict.fromkeys(each.about for each in documents if each.about):
        theirs = [each for each in documents if each.about == about and each.kind in EVENTS]
        events = {each.digest: each for each in (*here.events(about), *theirs)}.values()
        found += fold(about, events).disagreements
        commits[about] = {"", *(each.said["git_commit"] for each in events if each.kind == "opened")}
    results, claims = dict(here.results), dict(here.claims)
    for each in documents:
        if each.kind == "result" and results.setdefault(result_key(each.said), each.digest) != each.digest:
            what = f"the result of gate {each.said['gate']} of {each.said['started_at']} is there with another content"
            found.append(Disagreement(f"{each.name}: {what}", "one of them was changed: releasegate verify"))
        if each.kind == "claim":
            found += _claim_problems(each, claims, commits[each.about])
    return [Problem(None, each.what, each.hint) for each in found]


def _claim_problems(each: Document, claims: dict[str, str], commits: set[str]) -> list[Disagreement]:
    said = each.said["claim"]
    what = f"{each.name}: the {said['kind']}"
    release = _release_of(each)
    if clean(to_document(claim_from_document(said), release)) != said:
        return [Disagreement(f"{what} is about another release, or malformed", "copy the bundle anew")]
    if release.git_commit not in commits:
        return [Disagreement(f"{what} is about commit {release.git_commit}, not the release's", "copy the bundle anew")]
    name = identity(said)
    if claims.setdefault(name, each.digest) != each.digest:
        what = f"{what} {name[:12]} is there with another file or evidence"
        return [Disagreement(what, "one of them was changed: releasegate verify")]
    return []


def _release_of(document: Document) -> Release:
    """The release that a claim's document is about, as far as the claim speaks of it."""
    product, version, environment, attempt = document.about or ("", "", "", 0)
    said = document.said["claim"]
    commit, at = str(said["release"].get("commit", "")), claim_from_document(said).at
    return Release(
        product=product, version=version, environment=environment, attempt=attempt, git_commit=commit, opened_at=at
    )


def _is_settled(here: Gathered, document: Document) -> bool:
    """Whether it says how a run ended that has ended here already: the first word on that stays."""
    return document.kind == "run_end" and document.said["run"] in here.ended


_KINDS = ("run", "run_end", "result", "claim", "step", "start", "audit")


def _order(document: Document) -> tuple[int, str, int, str]:
    """Events first, then runs before what hangs on them; results in the order of the record that wrote them."""
    rank = 0 if document.kind in EVENTS else 1 + _KINDS.index(document.kind)
    said = document.said
    at = said.get("origin") or said.get("at") or said.get("started_at") or ""
    return rank, at, said.get("order", 0), document.digest


class _Taking:
    """One transaction that writes new documents as rows."""

    def __init__(self, writing: Writing, here: Gathered, load: Load) -> None:
        self._writing = writing
        self._here = here
        self._load = load
        self._unsaid: list[int] = []

    def take(self, documents: Sequence[Document]) -> None:
        for about in dict.fromkeys(each.about for each in documents if each.about):
            self._events(about, [each for each in documents if each.about == about and each.kind in EVENTS])
        take: dict[str, Callable[[Document], None]] = {
            "run": self._run,
            "run_end": self._run_end,
            "result": self._result,
            "claim": self._claim,
            "step": self._step,
            "start": self._start,
            "audit": self._audit,
        }
        for each in documents:
            if each.kind in take:
                take[each.kind](each)
        self._say()

    def _events(self, about: About, new: Sequence[Document]) -> None:
        if not new:
            return
        history = fold(about, [*self._here.events(about), *new])
        for event in new:
            if "plan" in event.said:
                self._keep(event.said["plan"], f"the plan of {name_of(about)}")
        release_id = self._here.releases.get(about)
        if release_id is None:
            first, *rest = sorted(new, key=lambda event: (event.kind != "opened", event.digest))
            release_id = self._writing.insert(releases, self._columns(history))
            self._here.releases[about] = release_id
            self._writing.entry("release opened", release_id, event=first.body.decode())
        else:
            first, rest = new[0], list(new[1:])
            self._bring_up(release_id, history)
            self._writing.entry(f"taken in: {first.kind}", release_id, event=first.body.decode())
        self._people(release_id, history)
        for event in rest:
            self._writing.entry(f"taken in: {event.kind}", release_id, event=event.body.decode())

    def _columns(self, history: History) -> dict[str, Any]:
        text = self._keep(history.plan, "the plan").decode()
        if plan_from_json(text).digest != history.values["plan_digest"]:
            raise UsageProblem("a plan in the bundle is not the one that its release names", "copy the bundle anew")
        return {**history.values, "plan": text}

    def _bring_up(self, release_id: int, history: History) -> None:
        row = self._writing.connection.execute(select(releases).where(releases.c.id == release_id)).one()
        held = dict(row._mapping)  # noqa: SLF001  SQLAlchemy's public name
        same_plan = history.values["plan_digest"] == held["plan_digest"]
        columns = history.values if same_plan else self._columns(history)
        changed = {name: value for name, value in columns.items() if value != _held(name, held[name])}
        if changed:
            self._writing.update(releases, release_id, changed)

    def _people(self, release_id: int, history: History) -> None:
        table = release_stakeholders
        for role, (name, email) in history.people.items():
            query = select(table).where(table.c.release_id == release_id, table.c.role == role)
            found = self._writing.connection.execute(query).one_or_none()
            values = {"name": name, "email": email}
            if found is None:
                self._writing.insert(table, {"release_id": release_id, "role": role, **values})
            elif (found.name, found.email) != (name, email):
                self._writing.update(table, found.id, values)

    def _run(self, document: Document) -> None:
        said = document.said
        values = {**said, "scope": plain(said["scope"]), "decision": ""}
        self._here.runs[document.digest] = self._insert(runs, document, values)

    def _run_end(self, document: Document) -> None:
        run_id = self._run_id(document)
        names = ("ended_at", "decision", "exit_code")
        self._writing.update(runs, run_id, {name: document.said[name] for name in names})
        self._wrote(run_id)

    def _result(self, document: Document) -> None:
        said = dict(document.said)
        run_id = self._run_id(document)
        pieces, kept = said.pop("evidence"), said.pop("kept")
        order, case = said.pop("order"), said.pop("case")
        key = (said["gate"], case, said["target"], said["started_at"])
        values = {
            **said,
            "run_id": run_id,
            "case_name": case,
            "identity": result_identity(run_id, *key),
            "findings": plain(said["findings"]),
            "origin": f"{said['origin']}/{order}",
        }
        del values["run"]
        release_id = self._release_id(document)
        row_id = self._writing.insert(gate_results, {"release_id": release_id, **values})
        for name, media_type, sha256, size in pieces:
            about = {"name": name, "media_type": media_type, "sha256": sha256, "size": size}
            self._writing.insert(evidence, {"result_id": row_id, **about})
            self._keep_if_there(sha256, size)
        of = {"release_id": release_id, "result_id": row_id, "gate": said["gate"], "at": said["started_at"]}
        for name, value in kept.items():
            self._writing.insert(snapshots, {**of, "name": name, "value": plain(value)})
        self._wrote(row_id)

    def _claim(self, document: Document) -> None:
        said = document.said
        if said["file"]:
            self._keep(said["file"], f"the file of the {said['claim']['kind']} {identity(said['claim'])[:12]}")
        if said["evidence"]:
            self._keep_if_there(said["evidence"], 0)
        self._say()
        insert_claim(
            self._writing,
            replace(_release_of(document), id=self._release_id(document)),
            claim_from_document(said["claim"]),
            said["evidence"],
            said["file"],
        )

    def _step(self, document: Document) -> None:
        values = {name: value for name, value in document.said.items() if name != "run"}
        run_id = self._run_id(document) if document.said["run"] else None
        self._insert(step_events, document, {**values, "run_id": run_id})

    def _start(self, document: Document) -> None:
        said = document.said
        values = {"gate": said["gate"], "case_name": said["case"], "at": said["at"], "run_id": self._run_id(document)}
        self._insert(starts, document, values)

    def _audit(self, document: Document) -> None:
        self._insert(audit_logs, document, dict(document.said))

    def _insert(self, table: Any, document: Document, values: dict[str, Any]) -> int:
        release_id = self._release_id(document) if document.about else None
        row_id = self._writing.insert(table, {"release_id": release_id, **values})
        self._wrote(row_id)
        return row_id

    def _wrote(self, row_id: int) -> None:
        self._unsaid.append(row_id)
        if len(self._unsaid) >= _ROWS_AN_ENTRY:
            self._say()

    def _say(self) -> None:
        """Close what was written so far into an entry of the chain."""
        if self._unsaid:
            self._writing.entry("taken in", self._unsaid[-1])
            self._unsaid = []

    def _release_id(self, document: Document) -> int:
        assert document.about is not None  # noqa: S101  `read` has seen to it
        return self._here.releases[document.about]

    def _run_id(self, document: Document) -> int:
        try:
            return self._here.runs[document.said["run"]]
        except KeyError:
            what = f"{document.name}: the run {document.said['run'][:12]} that it is of is not there"
            raise UsageProblem(what, "copy the bundle whole") from None

    def _keep(self, digest: str, what: str) -> bytes:
        """Bytes that must be there, kept in the record."""
        held = self._held(digest)
        body = held if held is not None else self._load(digest)
        if body is None:
            raise UsageProblem(f"{what} is not in the bundle: {digest[:12]}", "copy the bundle whole")
        if held is None:
            self._writing.blob(body)
        return body

    def _keep_if_there(self, digest: str, size: int) -> None:
        """Bytes that may have been erased, or never kept."""
        if not self._is_known(digest):
            body = self._load(digest)
            if body is not None:
                self._writing.blob(body)
        self._writing.lost(digest, size)

    def _is_known(self, digest: str) -> bool:
        query = select(blobs.c.sha256).where(blobs.c.sha256 == digest)
        return self._writing.connection.execute(query).scalar() is not None

    def _held(self, digest: str) -> bytes | None:
        plan = self._here.plans.get(digest)
        return plan if plan is not None else _blob(self._writing.connection, digest)


def _blob(connection: Connection, digest: str) -> bytes | None:
    found = connection.execute(select(blobs.c.body).where(blobs.c.sha256 == digest)).scalar()
    return None if found is None else bytes(found)


def _held(name: str, value: Any) -> Any:
    """A column as `fold` says it; rows of older versions hold nothing where there is nothing to say."""
    if name in _JSON:
        return plain(json.loads(value or ("[]" if name == "authors" else "{}")))
    return (value or "") if name == "profile" else value
