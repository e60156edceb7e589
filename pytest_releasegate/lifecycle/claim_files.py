"""A claim as one file: what was said, the signature over it, and the evidence that it names.

The signature is over the RFC 8785 form of `claim`, in the namespace `releasegate` (OpenSSH, PROTOCOL.sshsig), so that
`ssh-keygen -Y verify` checks it too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import rfc8785

from pytest_releasegate.claims import (
    NAMESPACE,
    Claim,
    Revocation,
    Waiver,
    claim_from_document,
    identity,
    to_document,
)
from pytest_releasegate.store.values import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_releasegate.model import Release
    from pytest_releasegate.signatures.allowed_signers import Signers

__all__ = ["ClaimFile", "document_of", "from_file", "signed_bytes", "to_file", "verified"]

_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ClaimFile:
    """A claim's file as read: the claim, its document, the armored signature (or none), the evidence by sha256."""

    claim: Claim
    document: Mapping[str, Any]
    signature: str = ""
    evidence: Mapping[str, bytes] = field(default_factory=dict)


def document_of(claim: Claim, release: Release) -> dict[str, Any]:
    """The claim's document as the record spells its texts."""
    document: dict[str, Any] = clean(to_document(claim, release))
    return document


def signed_bytes(document: Mapping[str, Any]) -> bytes:
    """What is signed of a claim's document: its RFC 8785 form."""
    body: bytes = rfc8785.dumps(dict(document))
    return body


def to_file(claim: Claim, release: Release, signature: str = "", evidence: bytes | None = None) -> bytes:
    """The claim as a file, in JSON."""
    held = {} if evidence is None else {hashlib.sha256(evidence).hexdigest(): base64.b64encode(evidence).decode()}
    whole = {"claim": document_of(claim, release), "signature": signature or None, "evidence": held}
    return json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def from_file(body: bytes) -> ClaimFile:
    """The claim of a file; raises `ValueError` with what is wrong about it."""
    if len(body) > _LARGEST:
        raise ValueError(f"larger than {_LARGEST // 1024 // 1024} MiB")
    whole = _json(body)
    if not isinstance(whole, dict) or not isinstance(whole.get("claim"), dict):
        what = "expected a JSON object with 'claim', 'signature' and 'evidence'"
        raise ValueError(what)  # noqa: TRY004  one error for all that is malformed
    signature, held = whole.get("signature"), whole.get("evidence", {})
    if not isinstance(signature, str | None) or not isinstance(held, dict):
        what = "'signature' must be text or null, and 'evidence' an object"
        raise ValueError(what)  # noqa: TRY004  one error for all that is malformed
    evidence = {str(digest): _bytes(str(digest), text) for digest, text in held.items()}
    return ClaimFile(claim_from_document(whole["claim"]), whole["claim"], signature or "", evidence)


def verified(claim: Claim, body: bytes, signers: Signers, release: Release) -> Claim:
    """The claim of the release with the key that signed its file, or with what is wrong with file or signature."""
    from pytest_releasegate.signatures.keys import fingerprint
    from pytest_releasegate.signatures.sshsig import SignatureProblem, verify

    try:
        read = from_file(body)
    except ValueError as wrong:
        return replace(claim, flaw=f"its file cannot be read: {wrong}")
    own = document_of(claim, release)
    if identity(read.document) != claim.identity or {**read.document, "release": own["release"]} != own:
        return replace(claim, flaw="its file says something else than the record")
    if not _is_about(claim, read.document.get("release"), own["release"]):
        return replace(claim, flaw="its file is about another release")
    if not read.signature:
        return claim
    try:
        key = verify(read.signature, signed_bytes(read.document), NAMESPACE)
    except SignatureProblem as wrong:
        return replace(claim, flaw=f"its signature is wrong: {wrong}")
    if objection := signers.allows(claim.person, key, NAMESPACE, claim.at):
        return replace(claim, flaw=objection)
    return replace(claim, key=fingerprint(key))


def _is_about(claim: Claim, said: Any, own: Mapping[str, Any]) -> bool:
    """Whether the release of a claim's document is that one; what is bound to a commit may be of another of it."""
    if not isinstance(said, dict) or said.get("product") != own["product"]:
        return False
    if said.get("commit") not in {"", own["commit"]}:
        return False
    elsewhere = isinstance(claim, Revocation) or (isinstance(claim, Waiver) and claim.git_commit == own["commit"] != "")
    return elsewhere or {**said, "commit": own["commit"]} == own


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as wrong:
        raise ValueError(f"not JSON: {wrong}") from None


def _bytes(digest: str, text: Any) -> bytes:
    try:
        body = base64.b64decode(text, validate=True)
    except (ValueError, TypeError, binascii.Error):
        raise ValueError(f"evidence {digest[:12]} is not base64") from None
    if hashlib.sha256(body).hexdigest() != digest:
        raise ValueError(f"evidence {digest[:12]} is not what its digest says")
    return body
