"""The part of the record that holds what people said: attestations, waivers, sign-offs, and what revokes them."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from pytest_releasegate.claims import KINDS, Claim, Claims, identity, kind_of, to_document
from pytest_releasegate.model import Phase, Status
from pytest_releasegate.store.results import Results
from pytest_releasegate.store.schema import attestations, blobs, releases, revocations, sign_offs, waivers
from pytest_releasegate.store.values import clean, from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row, Table

    from pytest_releasegate.model import Attestation, Release
    from pytest_releasegate.store.chain import Writing

__all__ = ["CLAIM_TABLES", "Said", "claim_of", "insert_claim"]

CLAIM_TABLES: dict[str, Table] = {
    "attestation": attestations,
    "waiver": waivers,
    "sign_off": sign_offs,
    "revocation": revocations,
}
"""Where the claims of each kind stand."""
_INSTANTS = ("at", "expires_at")


class Said(Results):
    """Claims: added, never changed; the same word twice is one row."""

    def add_claim(
        self, release_id: int, claim: Claim, evidence: bytes | None = None, *, file: bytes | None = None
    ) -> int:
        """Record what a person said, with its evidence and its signed file, and give its id; twice is the same id."""
        return self.add_claims(release_id, [(claim, evidence, file)])[0]

    def add_claims(self, release_id: int, said: Sequence[tuple[Claim, bytes | None, bytes | None]]) -> list[int]:
        """Record several claims, each with its evidence and its signed file, all or none; gives their ids."""
        release = self.release(release_id)
        with self._writing() as writing:
            return [_add(writing, release, *each) for each in said]

    def attestations(self, release_id: int) -> list[Attestation]:
        """The attestations of a release, in the order in which they were recorded."""
        return list(self.claims(release_id).attestations)

    def claims(self, release_id: int) -> Claims:
        """All that was said of a release, as it was recorded, and the waivers of its commit with what revokes them."""
        release = self.release(release_id)
        found = {
            kind: tuple(claim_of(kind, row) for row in self._said(table, release))
            for kind, table in CLAIM_TABLES.items()
        }
        return Claims(found["attestation"], found["waiver"], found["sign_off"], found["revocation"])  # type: ignore[arg-type]

    def claim_files(self, release_id: int) -> dict[str, bytes]:
        """The signed files of a release's claims, by the claims' identities."""
        release = self.release(release_id)
        files = {row.identity: row.file_sha256 for table in CLAIM_TABLES.values() for row in self._said(table, release)}
        wanted = {digest for digest in files.values() if digest}
        with self._reading() as connection:
            rows = connection.execute(select(blobs.c.sha256, blobs.c.body).where(blobs.c.sha256.in_(wanted)))
            bodies = {row.sha256: bytes(row.body) for row in rows if row.body is not None}
        return {name: bodies.get(digest, b"") for name, digest in files.items() if digest}

    def _said(self, table: Table, release: Release) -> list[Row[Any]]:
        mine = table.c.release_id == release.id
        if table in {waivers, revocations} and release.git_commit:
            product = select(releases.c.id).where(releases.c.product == release.product)
            bound = (waivers.c.git_commit == release.git_commit) & waivers.c.release_id.in_(product)
            mine |= bound if table is waivers else revocations.c.claim.in_(select(waivers.c.identity).where(bound))
        with self._reading() as connection:
            return list(connection.execute(select(table).where(mine).order_by(table.c.id)))

    def _of_release(self, table: Table, release_id: int) -> list[Row[Any]]:
        with self._reading() as connection:
            query = select(table).where(table.c.release_id == release_id).order_by(table.c.id)
            return list(connection.execute(query))


def insert_claim(
    writing: Writing, release: Release, claim: Claim, evidence_sha256: str | None, file_sha256: str | None
) -> int:
    """Add a claim, whose evidence and file are kept already, and give its id; twice is the same id."""
    document = clean(to_document(claim, release))
    kind, name = kind_of(claim), identity(document)
    table = CLAIM_TABLES[kind]
    found = writing.connection.execute(select(table.c.id).where(table.c.identity == name)).scalar()
    if found is not None:
        return int(found)
    values = {each: value for each, value in document.items() if each not in {"format", "kind", "release"}}
    values |= {each: to_text(getattr(claim, each)) for each in _INSTANTS if getattr(claim, each, None)}
    values |= {"subject": json.dumps(values["subject"], sort_keys=True)} if "subject" in values else {}
    values |= {"release_id": release.id, "identity": name, "file_sha256": file_sha256}
    values |= {"body_sha256": evidence_sha256} if evidence_sha256 else {}
    row_id = writing.insert(table, values)
    writing.entry(kind, row_id, person=claim.person)
    return row_id


def _add(writing: Writing, release: Release, claim: Claim, evidence: bytes | None, file: bytes | None) -> int:
    held = None if evidence is None else writing.blob(evidence)
    return insert_claim(writing, release, claim, held, writing.blob(file) if file else None)


def claim_of(kind: str, row: Row[Any]) -> Claim:
    """The claim of a row of the kind's table."""
    names = {each.name for each in fields(KINDS[kind])}
    values = {name: value for name, value in row._mapping.items() if name in names}  # noqa: SLF001  SQLAlchemy's public name
    values |= {name: from_text(values[name]) for name in _INSTANTS if values.get(name)}
    values |= {name: read(values[name]) for name, read in _READ.items() if name in values}
    return KINDS[kind](**values)


def _subject(text: str) -> dict[str, tuple[str, ...]]:
    return {gate: tuple(said) for gate, said in json.loads(text).items()}


_READ: dict[str, Any] = {"status": Status, "phase": Phase, "subject": _subject, "risk": lambda text: text or ""}
