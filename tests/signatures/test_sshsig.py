"""SSH signatures: what `ssh-keygen` signs is right here, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from pytest_releasegate.signatures.keys import from_text
from pytest_releasegate.signatures.sshsig import SignatureProblem, fingerprint, verify
from tests.signatures.openssh import MADE, NAMESPACE, Keys, judged, keygen

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = b'{"gate":"6.3.4","status":"passed"}'
BEGIN, END = "-----BEGIN SSH SIGNATURE-----\n", "\n-----END SSH SIGNATURE-----\n"


def blob(armored: str) -> bytes:
    return base64.b64decode("".join(armored.strip().split("\n")[1:-1]))


def armor(body: bytes) -> str:
    text = base64.b64encode(body).decode()
    return BEGIN + "\n".join(text[at : at + 70] for at in range(0, len(text), 70)) + END


def string(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def mpint(number: int) -> bytes:
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")


def envelope(key: bytes, signature: bytes, **changed: bytes) -> str:
    """An armored signature with any part of it changed."""
    parts = {"namespace": NAMESPACE.encode(), "reserved": b"", "hash": b"sha512", **changed}
    head = changed.get("magic", b"SSHSIG") + changed.get("version", b"\0\0\0\1")
    body = head + b"".join(string(part) for part in (key, parts["namespace"], parts["reserved"], parts["hash"]))
    return armor(body + string(signature) + changed.get("after", b""))


def signed(message: bytes = MESSAGE) -> bytes:
    return b"SSHSIG" + b"".join(map(string, (NAMESPACE.encode(), b"", b"sha512", hashlib.sha512(message).digest())))


class Software:
    """A security key in software: what OpenSSH's PROTOCOL.u2f says such a key does."""

    def __init__(self, kind: str) -> None:
        self.kind = kind.encode()
        self.curve = b"ecdsa" in self.kind
        self.private = ec.generate_private_key(ec.SECP256R1()) if self.curve else ed25519.Ed25519PrivateKey.generate()
        raw, form = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        if self.curve:
            raw, form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        point = self.private.public_key().public_bytes(raw, form)
        named = string(b"nistp256") if self.curve else b""
        self.blob = string(self.kind) + named + string(point) + string(b"ssh:")

    def __str__(self) -> str:
        return f"{self.kind.decode()} {base64.b64encode(self.blob).decode()}"

    def sign(self, message: bytes = MESSAGE, flags: int = 1, application: bytes = b"ssh:") -> str:
        state = bytes([flags]) + (7).to_bytes(4, "big")
        whole = hashlib.sha256(application).digest() + state + hashlib.sha256(signed(message)).digest()
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            made = self.private.sign(whole)
        else:
            made = b"".join(map(mpint, decode_dss_signature(self.private.sign(whole, ec.ECDSA(hashes.SHA256())))))
        return envelope(self.blob, string(self.kind) + string(made) + state)


SECURITY = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")


@pytest.mark.parametrize("hashed", ["sha256", "sha512"])
@pytest.mark.parametrize("name", MADE)
def test_what_ssh_keygen_signs_is_right(name: str, hashed: str, keys: Keys) -> None:
    key = verify(keys.sign(name, MESSAGE, "-O", f"hashalg={hashed}"), MESSAGE, NAMESPACE)
    assert str(key) == keys.public(name)
    assert fingerprint(key) == keygen("-lf", str(keys[name])).stdout.split()[1].decode()


@pytest.mark.parametrize("kind", SECURITY)
def test_security_key_is_right_here_and_for_ssh_keygen(kind: str, tmp_path: Path) -> None:
    key = Software(kind)
    armored = key.sign()
    assert str(verify(armored, MESSAGE, NAMESPACE)) == str(key)
    assert judged(tmp_path, f"ann {key}\n", "ann", armored, MESSAGE)
    with pytest.raises(SignatureProblem, match="nobody touched the security key"):
        verify(key.sign(flags=0), MESSAGE, NAMESPACE)
    with pytest.raises(SignatureProblem, match="not over this message"):
        verify(key.sign(application=b"ssh:other"), MESSAGE, NAMESPACE)


def every_kind(keys: Keys) -> dict[str, str]:
    """A signature by each kind of key."""
    return {name: keys.sign(name, MESSAGE) for name in MADE} | {kind: Software(kind).sign() for kind in SECURITY}


def test_each_changed_byte_is_refused(keys: Keys) -> None:
    accepted = []
    for name, armored in every_kind(keys).items():
        body = blob(armored)
        verify(armored, MESSAGE, NAMESPACE)
        for at in range(len(body)):
            for bit in (0x01, 0x80):
                changed = body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :]
                try:
                    verify(armor(changed), MESSAGE, NAMESPACE)
                except SignatureProblem:
                    continue
                accepted.append((name, at, bit))
    assert accepted == []


def test_each_cut_each_addition_and_each_other_message_is_refused(keys: Keys) -> None:
    for armored in every_kind(keys).values():
        body = blob(armored)
        wrong = [(armor(body[:end]), MESSAGE) for end in range(len(body))]
        wrong += [(armor(body + b"\0"), MESSAGE), (armored, MESSAGE[:-1]), (armored, MESSAGE + b"\n"), (armored, b"")]
        wrong += [(armored, MESSAGE[:at] + bytes([MESSAGE[at] ^ 1]) + MESSAGE[at + 1 :]) for at in range(len(MESSAGE))]
        for text, message in wrong:
            with pytest.raises(SignatureProblem):
                verify(text, message, NAMESPACE)


def rsa_blob(bits: int, exponent: int = 65537) -> tuple[rsa.RSAPrivateKey, bytes]:
    private = rsa.generate_private_key(65537, bits)
    return private, string(b"ssh-rsa") + mpint(exponent) + mpint(private.public_key().public_numbers().n)


def test_what_is_malformed_or_weak_is_refused_in_one_sentence(keys: Keys) -> None:
    key = base64.b64decode(keys.public("ed25519").split()[1])
    right = blob(keys.sign("ed25519", MESSAGE))[-83:]
    rsa_key, strong = rsa_blob(2048)
    sha1 = string(rsa_key.sign(signed(), padding.PKCS1v15(), hashes.SHA1()))
    curve = string(b"ecdsa-sha2-nistp256")
    point = b"\4" + bytes(64)
    armored = keys.sign("ed25519", MESSAGE)
    table = {
        "": "expected the lines from",
        BEGIN + END.lstrip(): "expected the lines from",
        BEGIN + END: "cut short",
        "x" + armored: "expected the lines from",
        armored + "x": "expected the lines from",
        armored.replace("U1NI", "U1N?"): "not base64",
        armored.replace("U1NI", "Ü1NI"): "not base64",
        armor(b"SSHSIX"): "does not begin with SSHSIG",
        envelope(key, right, magic=b"SSHSIG", version=b"\0\0\0\2"): "version 2",
        envelope(key, right, namespace=b"file"): "namespace 'file', expected 'releasegate'",
        envelope(key, right, namespace=b"\xff"): r"namespace '\\xff'",
        envelope(key, right, reserved=b"x"): "reserved field",
        envelope(key, right, hash=b"md5"): "hash is 'md5'",
        envelope(key, right, after=b"x"): "1 bytes follow",
        envelope(key, right + b"x"): "1 bytes follow",
        envelope(key + b"x", right): "1 bytes follow",
        envelope(b"", right): "cut short",
        envelope(key, right, namespace=b"a\nb"): r"namespace 'a\\nb'",
        envelope(string(b"ssh-dss"), right): "kind 'ssh-dss'",
        envelope(string(b"ssh-ed25519-cert-v01@openssh.com"), right): "certificates are not supported",
        envelope(string(b"ssh-ed25519") + string(bytes(31)), right): "has 32 bytes, this one 31",
        envelope(key, string(b"ssh-ed25519") + string(bytes(63))): "has 64 bytes, this one 63",
        envelope(key, string(b"rsa-sha2-512") + string(bytes(64))): "cannot have made a signature 'rsa-sha2-512'",
        envelope(rsa_blob(1024)[1], string(b"rsa-sha2-512") + string(bytes(128))): "2048 to 16384 bits here, this one",
        envelope(rsa_blob(2048, 2)[1], string(b"rsa-sha2-512") + string(bytes(256))): "RSA key is not valid",
        envelope(strong, string(b"ssh-rsa") + sha1): "over SHA-1 is refused",
        envelope(strong, string(b"rsa-sha2-512") + sha1): "not over this message",
        envelope(strong, string(b"rsa-sha2-512") + string(bytes(257))): "has 257 bytes, the key 256",
        envelope(string(b"ssh-rsa") + string(b"\0\1\0\1") + string(b"\1"), right): "shortest form",
        envelope(string(b"ssh-rsa") + string(b"\x80"), right): "not positive",
        envelope(curve + string(b"nistp384") + string(point), right): "curve is 'nistp384'",
        envelope(curve + string(b"nistp256") + string(b"\2" + bytes(32)), right): "uncompressed",
        envelope(curve + string(b"nistp256") + string(point), right): "no point on the curve",
    }
    for text, sentence in table.items():
        with pytest.raises(SignatureProblem, match=sentence) as caught:
            verify(text, MESSAGE, NAMESPACE)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-ed25519 AA", "ssh-ed25519 AAAA", "ssh-rsa AAAAC3NzaC1lZDI1"])
def test_no_key_is_made_of_what_is_none(line: str) -> None:
    with pytest.raises(SignatureProblem):
        from_text(line)


def test_kind_that_a_line_names_must_be_the_keys(keys: Keys) -> None:
    with pytest.raises(SignatureProblem, match="says that it is 'ssh-rsa', but holds 'ssh-ed25519'"):
        from_text(keys.public("ed25519").replace("ssh-ed25519", "ssh-rsa"))


@given(st.binary() | st.binary().map(lambda body: b"SSHSIG\0\0\0\1" + string(body)))
def test_whatever_comes_is_refused_and_never_a_traceback(body: bytes) -> None:
    for text in (armor(body), body.decode("latin-1"), json.dumps(body.hex())):
        with pytest.raises(SignatureProblem):
            verify(text, MESSAGE, NAMESPACE)
