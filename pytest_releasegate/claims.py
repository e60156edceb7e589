"""Claims: what people said about a release, each self-contained and identified by its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_releasegate.phases import Phase
from pytest_releasegate.statuses import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_releasegate.model import Release

__all__ = [
    "FORMAT",
    "KINDS",
    "NAMESPACE",
    "Attestation",
    "Claim",
    "Claims",
    "Revocation",
    "SignOff",
    "Waiver",
    "claim_from_document",
    "identity",
    "kind_of",
    "to_document",
]

FORMAT = "releasegate-claim/1"
NAMESPACE = "releasegate"
"""The namespace of the SSH signatures over claims (OpenSSH, PROTOCOL.sshsig)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What every claim has: who, in which role, when; and once it is in the record, its identity and its key."""

    person: str
    role: str
    at: datetime
    id: int = 0
    identity: str = ""
    """The digest of what was said, the same in every record."""
    key: str = ""
    """The fingerprint of the key whose signature over it was found right; empty where it bears none."""
    flaw: str = ""
    """Why it does not count, where its file or its signature is not right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation(_Said):
    """A person's word on a gate that only a person can answer."""

    gate: str
    status: Status
    note: str = ""
    evidence: str = ""
    gate_digest: str = ""
    expires_at: datetime | None = None
    """When the word itself says that it no longer holds; the gate may say so earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver(_Said):
    """An accepted risk on a gate that failed, until it expires."""

    gate: str
    reason: str
    mitigation: str = ""
    risk: str = ""
    expires_at: datetime
    git_commit: str = ""
    """The commit that it is bound to, in every environment; without one, it is bound to the release."""
    gate_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOff(_Said):
    """A role's signature over a phase's decision."""

    phase: Phase
    decision: str
    plan_digest: str
    policy_digest: str
    subject: Mapping[str, tuple[str, ...]]
    """For each gate of the phase but the sign-offs, its effective status, then the identities of its live claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation(_Said):
    """The word that an earlier claim no longer counts."""

    claim: str
    """The identity of the claim."""
    reason: str


Claim = Attestation | Waiver | SignOff | Revocation

KINDS: dict[str, type[Attestation] | type[Waiver] | type[SignOff] | type[Revocation]] = {
    "attestation": Attestation,
    "waiver": Waiver,
    "sign_off": SignOff,
    "revocation": Revocation,
}
"""The claims by the word that names their kind in files."""

_KEPT_ASIDE = {"id", "identity", "key", "flaw"}


@dataclass(frozen=True, slots=True)
class Claims:
    """All that people said about a release."""

    attestations: tuple[Attestation, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    sign_offs: tuple[SignOff, ...] = ()
    revocations: tuple[Revocation, ...] = ()

    @classmethod
    def of(cls, said: Iterable[Claim]) -> Claims:
        """Claims of any kind, sorted out; within a kind in the order in which they come."""
        every = tuple(said)
        return cls(
            tuple(claim for claim in every if isinstance(claim, Attestation)),
            tuple(claim for claim in every if isinstance(claim, Waiver)),
            tuple(claim for claim in every if isinstance(claim, SignOff)),
            tuple(claim for claim in every if isinstance(claim, Revocation)),
        )

    @property
    def all(self) -> tuple[Claim, ...]:
        """Every one of them."""
        return (*self.attestations, *self.waivers, *self.sign_offs, *self.revocations)


def kind_of(claim: Claim) -> str:
    """The word for a claim's kind, such as `waiver`."""
    return next(name for name, kind in KINDS.items() if type(claim) is kind)


def to_document(claim: Claim, release: Release) -> dict[str, Any]:
    """What is signed, as plain values: the claim with the release that it is about; instants in UTC, ISO 8601."""
    said = {each.name: _plain(getattr(claim, each.name)) for each in fields(claim) if each.name not in _KEPT_ASIDE}
    about = {
        "product": release.product,
        "version": release.version,
        "environment": release.environment,
        "attempt": release.attempt,
        "commit": release.git_commit,
    }
    return {"format": FORMAT, "kind": kind_of(claim), "release": about, **said}


def claim_from_document(document: Mapping[str, Any]) -> Claim:
    """The claim that `to_document` made plain; raises `ValueError` for anything else."""
    kind = KINDS.get(str(document.get("kind")))
    if document.get("format") != FORMAT or kind is None:
        raise ValueError(f"expected a {FORMAT} of kind {', '.join(KINDS)}")
    names = {each.name for each in fields(kind)} - _KEPT_ASIDE
    if unknown := sorted(document.keys() - names - {"format", "kind", "release"}):
        raise ValueError(f"a {document['kind']} has no '{unknown[0]}'")
    if missing := sorted(names - document.keys()):
        raise ValueError(f"a {document['kind']} needs '{missing[0]}'")
    return kind(**{name: _read(name, document[name]) for name in names})


def identity(document: Mapping[str, Any]) -> str:
    """The digest of a claim's document: SHA-256 over its RFC 8785 form, in hexadecimal."""
    import rfc8785

    return hashlib.sha256(rfc8785.dumps(dict(document))).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, dict):
        return {name: list(part) for name, part in value.items()}
    return value.value if isinstance(value, Status | Phase) else value


def _read(name: str, value: Any) -> Any:
    if name == "subject":
        return _subject(value)
    if name == "expires_at" and value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected text, got {value!r}")  # noqa: TRY004  one error for all that is malformed
    if name in {"at", "expires_at"}:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is None:
            raise ValueError(f"{name}: expected an offset from UTC, got '{value}'")
        return instant.astimezone(UTC)
    kinds: dict[str, Any] = {"status": Status, "phase": Phase}
    return kinds.get(name, str)(value)


def _subject(value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict) or not all(isinstance(part, list) for part in value.values()):
        raise ValueError("subject: expected a list for each gate")
    return {str(gate): tuple(map(str, part)) for gate, part in value.items()}
