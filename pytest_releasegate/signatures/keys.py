"""Public SSH keys: reading them, their fingerprints, and checking a signature by one of them.

Formats: RFC 4253 section 6.6, RFC 5656, RFC 8332, RFC 8709, and OpenSSH's PROTOCOL.u2f for security keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.signatures.wire import Reader, SignatureProblem, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["KINDS", "PublicKey", "check", "fingerprint", "from_blob", "from_text"]

_SK_ED25519 = "sk-ssh-ed25519@openssh.com"
_SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    _SK_ED25519,
    _SK_ECDSA,
)
"""The kinds of keys that are supported, as OpenSSH writes them."""

_FEWEST_RSA_BITS = 2048
_MOST_RSA_BITS = 16384
_UNCOMPRESSED = b"\x04"
_USER_PRESENT = 0x01
_ED25519_KEY, _ED25519_SIGNATURE = 32, 64
_WRONG = "the signature is not over this message, or not by the key that it names"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: its kind, such as `ssh-ed25519`, and its bytes on the wire."""

    kind: str
    blob: bytes

    def __str__(self) -> str:
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"


def fingerprint(key: PublicKey) -> str:
    """The key's fingerprint as `ssh-keygen -lf` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.blob).digest()).decode().rstrip("=")


def from_blob(blob: bytes) -> PublicKey:
    """The key of these bytes; raises `SignatureProblem` unless it is well-formed, supported and strong enough."""
    kind = text(Reader(blob, "key").string())
    key = PublicKey(kind, blob)
    if kind not in KINDS:
        reason = "certificates are not supported" if "-cert-v01@" in kind else f"supported are {', '.join(KINDS)}"
        raise SignatureProblem(f"the key is of the kind '{kind}': {reason}")
    reader, curve = _opened(key), "nistp256" if kind == _SK_ECDSA else kind.rpartition("-")[2]
    if "ed25519" in kind:
        _ed25519(reader)
    elif kind == "ssh-rsa":
        _rsa(reader)
    else:
        _ecdsa(reader, curve)
    if kind.startswith("sk-"):
        reader.string()
    reader.end()
    return key


def from_text(line: str) -> PublicKey:
    """The key of a line `KIND BASE64 [COMMENT]`, as in a `.pub` file; raises `SignatureProblem`."""
    kind, _, rest = line.strip().partition(" ")
    try:
        blob = base64.b64decode((rest.split() or [""])[0], validate=True)
    except (ValueError, binascii.Error):
        raise SignatureProblem("the key is not base64") from None
    key = from_blob(blob)
    if key.kind != kind:
        raise SignatureProblem(f"the key says that it is '{kind}', but holds '{key.kind}'")
    return key


def check(key: PublicKey, signature: bytes, message: bytes) -> None:
    """Raises `SignatureProblem` unless the signature, in the form of RFC 4253, is the key's over the message."""
    reader = Reader(signature, "signature")
    algorithm = text(reader.string())
    _allowed(key, algorithm)
    body = reader.string()
    if key.kind.startswith("sk-"):
        message = _touched(key, reader, message)
    reader.end()
    _checks()[algorithm](key, body, message)


def _allowed(key: PublicKey, algorithm: str) -> None:
    if algorithm == "ssh-rsa":
        raise SignatureProblem("an RSA signature over SHA-1 is refused: sign with rsa-sha2-512 or rsa-sha2-256")
    if algorithm not in (("rsa-sha2-256", "rsa-sha2-512") if key.kind == "ssh-rsa" else (key.kind,)):
        raise SignatureProblem(f"a key of the kind '{key.kind}' cannot have made a signature '{algorithm}'")


def _checks() -> dict[str, Callable[[PublicKey, bytes, bytes], None]]:
    ecdsa = dict.fromkeys((*(kind for kind in KINDS if kind.startswith("ecdsa-")), _SK_ECDSA), _check_ecdsa)
    return {
        "ssh-ed25519": _check_ed25519,
        _SK_ED25519: _check_ed25519,
        "rsa-sha2-256": lambda key, body, message: _check_rsa(key, body, message, "SHA256"),
        "rsa-sha2-512": lambda key, body, message: _check_rsa(key, body, message, "SHA512"),
        **ecdsa,
    }


def _opened(key: PublicKey) -> Reader:
    reader = Reader(key.blob, "key")
    reader.string()
    return reader


def _ed25519(reader: Reader) -> bytes:
    body = reader.string()
    if len(body) != _ED25519_KEY:
        raise SignatureProblem(f"an Ed25519 key has {_ED25519_KEY} bytes, this one {len(body)}")
    return body


def _rsa(reader: Reader) -> RSAPublicKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    exponent, modulus = reader.big(), reader.big()
    bits = modulus.bit_length()
    if not _FEWEST_RSA_BITS <= bits <= _MOST_RSA_BITS:
        raise SignatureProblem(f"RSA keys have {_FEWEST_RSA_BITS} to {_MOST_RSA_BITS} bits here, this one {bits}")
    try:
        return RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as wrong:
        raise SignatureProblem(f"the RSA key is not valid: {wrong}") from None


def _ecdsa(reader: Reader, curve: str) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    curves = {"nistp256": ec.SECP256R1(), "nistp384": ec.SECP384R1(), "nistp521": ec.SECP521R1()}
    named, point = text(reader.string()), reader.string()
    if named != curve:
        raise SignatureProblem(f"the key's curve is '{named}', its kind says '{curve}'")
    if point[:1] != _UNCOMPRESSED:
        raise SignatureProblem("the key's point is not in the uncompressed form")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curves[curve], point)
    except ValueError:
        raise SignatureProblem(f"the key is no point on the curve {curve}") from None


def _touched(key: PublicKey, reader: Reader, message: bytes) -> bytes:
    """What a security key signs (PROTOCOL.u2f): digests of application and message around flags and counter."""
    application = _opened(key)
    for _ in range(2 if key.kind == _SK_ECDSA else 1):
        application.string()
    flags, counter = reader.take(1), reader.take(4)
    if not flags[0] & _USER_PRESENT:
        raise SignatureProblem("nobody touched the security key when this was signed")
    named = hashlib.sha256(application.string()).digest()
    return named + flags + counter + hashlib.sha256(message).digest()


def _check_ed25519(key: PublicKey, body: bytes, message: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(body) != _ED25519_SIGNATURE:
        raise SignatureProblem(f"an Ed25519 signature has {_ED25519_SIGNATURE} bytes, this one {len(body)}")
    try:
        Ed25519PublicKey.from_public_bytes(_ed25519(_opened(key))).verify(body, message)
    except (InvalidSignature, ValueError):
        raise SignatureProblem(_WRONG) from None


def _check_rsa(key: PublicKey, body: bytes, message: bytes, digest: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    public = _rsa(_opened(key))
    length = (public.key_size + 7) // 8
    if len(body) > length:
        raise SignatureProblem(f"the signature has {len(body)} bytes, the key {length}")
    try:
        public.verify(body.rjust(length, b"\0"), message, PKCS1v15(), getattr(hashes, digest)())
    except InvalidSignature:
        raise SignatureProblem(_WRONG) from None


def _check_ecdsa(key: PublicKey, body: bytes, message: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    curve = "nistp256" if key.kind == _SK_ECDSA else key.kind.rpartition("-")[2]
    digests = {"nistp256": hashes.SHA256(), "nistp384": hashes.SHA384(), "nistp521": hashes.SHA512()}
    reader = Reader(body, "signature")
    encoded = encode_dss_signature(reader.big(), reader.big())
    reader.end()
    try:
        _ecdsa(_opened(key), curve).verify(encoded, message, ECDSA(digests[curve]))
    except InvalidSignature:
        raise SignatureProblem(_WRONG) from None
