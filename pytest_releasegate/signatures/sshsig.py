"""Armored SSH signatures, read and checked without any program (OpenSSH, PROTOCOL.sshsig)."""

from __future__ import annotations

import base64
import binascii
import hashlib

from pytest_releasegate.signatures.keys import PublicKey, check, fingerprint, from_blob
from pytest_releasegate.signatures.wire import Reader, SignatureProblem, text

__all__ = ["PublicKey", "SignatureProblem", "fingerprint", "verify"]

_MAGIC = b"SSHSIG"
_VERSION = 1
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_HASHES = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}


def verify(armored: str, message: bytes, namespace: str) -> PublicKey:
    """The key that made the signature over the message in the namespace; raises `SignatureProblem` for anything else.

    Whose key it is, and whether it may sign, is another question: `allowed_signers`.
    """
    reader = Reader(_unarmored(armored), "signature")
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise SignatureProblem("this is no SSH signature: it does not begin with SSHSIG")
    if (version := reader.number()) != _VERSION:
        raise SignatureProblem(f"the signature's format is version {version}, supported is {_VERSION}")
    key = from_blob(reader.string())
    signed_in, reserved, algorithm = reader.string(), reader.string(), text(reader.string())
    signature = reader.string()
    reader.end()
    if signed_in != namespace.encode():
        raise SignatureProblem(f"it was signed in the namespace '{text(signed_in)}', expected '{namespace}'")
    if reserved:
        raise SignatureProblem("the signature uses the reserved field, which this version does not know")
    if algorithm not in _HASHES:
        raise SignatureProblem(f"the message's hash is '{algorithm}', supported are {' and '.join(_HASHES)}")
    check(key, signature, _signed(namespace, algorithm, message))
    return key


def _signed(namespace: str, algorithm: str, message: bytes) -> bytes:
    parts = (namespace.encode(), b"", algorithm.encode(), _HASHES[algorithm](message).digest())
    return _MAGIC + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _unarmored(armored: str) -> bytes:
    lines = armored.strip().split("\n")
    if len(lines) < len((_BEGIN, _END)) + 1 or lines[0].rstrip() != _BEGIN or lines[-1].rstrip() != _END:
        raise SignatureProblem(f"expected the lines from '{_BEGIN}' to '{_END}' and nothing else")
    body = "".join(line.rstrip() for line in lines[1:-1])
    try:
        decoded = base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        raise SignatureProblem("the signature is not base64") from None
    if base64.b64encode(decoded).decode() != body:
        raise SignatureProblem("the signature is not base64 in its only form")
    return decoded
