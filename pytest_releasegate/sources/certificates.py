"""How strong a certificate's key and signature are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.check import find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.x509 import Certificate

    from pytest_releasegate.model import Finding

__all__ = ["strength"]

_LEAST_CURVE = 224
_BROKEN = ("md5", "sha1")


def strength(name: str, certificate: Certificate, least: int) -> Iterator[Finding]:
    """One finding about the key, and one about the hash that was signed."""
    words, ok = _key(certificate, least)
    yield find(f"{name} key", expected=f">= {least} bits, or {_LEAST_CURVE} on a curve", actual=words, ok=ok)
    algorithm = certificate.signature_hash_algorithm
    hashed = algorithm.name if algorithm is not None else "part of the algorithm"
    yield find(f"{name} signature", expected="not over MD5 or SHA-1", actual=hashed, ok=hashed not in _BROKEN)


def _key(certificate: Certificate, least: int) -> tuple[str, bool]:
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        name = "RSA" if isinstance(key, rsa.RSAPublicKey) else "DSA"
        return f"{name}, {key.key_size} bits", key.key_size >= least
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"{key.curve.name}, {key.key_size} bits", key.key_size >= _LEAST_CURVE
    name = type(key).__name__.removesuffix("PublicKey").strip("_")
    return name, name.startswith(("Ed", "MLDSA"))
