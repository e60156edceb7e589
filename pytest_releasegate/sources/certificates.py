"""How strong a certificate's key and signature are."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from pytest_releasegate.check import find
from pytest_releasegate.model import Ok
from pytest_releasegate.sources.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from cryptography.x509 import Certificate

    from pytest_releasegate.model import Finding

__all__ = ["issuing", "strength"]

_LEAST_CURVE = 224
_LEAST_OF_ISSUERS = 2048
_BROKEN = ("md5", "sha1")


def strength(name: str, certificate: Certificate, least: int) -> Iterator[Finding]:
    """One finding about the key, and one about the hash that was signed."""
    from cryptography.exceptions import UnsupportedAlgorithm

    words: str
    ok: bool | Ok
    try:
        words, ok = _key(certificate, least)
    except (UnsupportedAlgorithm, ValueError):
        words, ok = "of a kind that is not known here", Ok.CANNOT_TELL
    yield find(f"{name} key", expected=f">= {least} bits, or {_LEAST_CURVE} on a curve", actual=words, ok=ok)
    algorithm = certificate.signature_hash_algorithm
    hashed = algorithm.name if algorithm is not None else "part of the algorithm"
    yield find(f"{name} signature", expected="not over MD5 or SHA-1", actual=hashed, ok=hashed not in _BROKEN)


def issuing(name: str, issuers: Sequence[Certificate], least_days: int, now: datetime) -> Iterator[Finding]:
    """How long those that issued it last, of which the first to end breaks the chain; and those that are weak."""
    soonest = min(issuers, key=lambda each: each.not_valid_after_utc)
    days = math.floor((soonest.not_valid_after_utc - now) / timedelta(days=1))
    actual = f"{days} days, until {soonest.not_valid_after_utc:%Y-%m-%d %H:%MZ} ({_called(soonest)})"
    yield find(f"{name} issuers days left", expected=f">= {least_days} days", actual=actual, ok=days >= least_days)
    for each in issuers:
        found = list(strength(f"{name} issuer '{_called(each)}'", each, _LEAST_OF_ISSUERS))
        # what a root says of itself is trusted without its signature
        yield from (finding for finding in found[: 1 if each.issuer == each.subject else 2] if finding.ok is not Ok.YES)


def _called(certificate: Certificate) -> str:
    from cryptography.x509 import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return visible(str(names[0].value) if names else certificate.subject.rfc4514_string())


def _key(certificate: Certificate, least: int) -> tuple[str, bool | Ok]:
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        name = "RSA" if isinstance(key, rsa.RSAPublicKey) else "DSA"
        return f"{name}, {key.key_size} bits", key.key_size >= least
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"{key.curve.name}, {key.key_size} bits", key.key_size >= _LEAST_CURVE
    name = type(key).__name__.removesuffix("PublicKey").strip("_")
    return name, name.startswith(("Ed", "MLDSA"))
