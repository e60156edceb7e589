"""Whether a file is encrypted, by its first bytes."""

from __future__ import annotations

import zlib
from base64 import b64decode
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HEAD", "cipher_of", "head_of"]

HEAD = 4096
"""How many bytes of a file are looked at."""

_AGE = b"age-encryption.org/v1\n-> "
_ARMOURED = (b"-----BEGIN AGE ENCRYPTED FILE-----", b"-----BEGIN PGP MESSAGE-----")
_LUKS = b"LUKS\xba\xbe"
_PLAIN = (
    *(b"PGDMP", b"-- PostgreSQL", b"--\n--"),
    *(b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh", b"\x04\x22\x4d\x18", b"PK\x03\x04"),
)
_SALTED = b"Salted__"
_FEWEST_DISTINCT = 150
"""Ciphertext of a thousand bytes and more holds nearly all 256 values; text and archives hold far fewer."""
_PACKETS = {1: (2, 3, 6), 3: (4, 5, 6), 18: (1, 2), 20: (1,)}
"""OpenPGP packets that start an encrypted message, with the versions that follow their header."""


def head_of(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(HEAD)


def cipher_of(head: bytes) -> str | None:
    """The name of the encryption, an empty text for what is certainly plain, None for what cannot be told."""
    if head.startswith(_SALTED):
        return "openssl" if _looks_random(head[16:]) else None
    if head.startswith(_AGE):
        # its recipients are text, and end with a line of their own
        mac, payload = head.partition(b"\n--- ")[2].partition(b"\n")[::2]
        return "age" if mac and _looks_random(payload) else None
    if head.startswith(_LUKS):
        return "LUKS"
    if head.startswith((*_ARMOURED, b"U2FsdGVkX1")):
        return cipher_of(_unarmoured(head)) or None
    if head.startswith(b"\x1f\x8b"):
        return cipher_of(_unpacked(head)) or ""
    if head.startswith(b"-----BEGIN "):
        return None
    if head.startswith(_PLAIN) or head[257:262] == b"ustar" or _is_text(head):
        return ""
    return "OpenPGP" if _is_openpgp(head) else None


def _looks_random(body: bytes) -> bool:
    return bool(body) and (len(body) < 1024 or len(set(body)) >= _FEWEST_DISTINCT)


def _is_text(head: bytes) -> bool:
    try:
        text = head[:-4].decode() if len(head) == HEAD else head.decode()
    except UnicodeDecodeError:
        return False
    return bool(text) and all(letter.isprintable() or letter in "\r\n\t" for letter in text)


def _unarmoured(head: bytes) -> bytes:
    """What base64 holds that is written in lines, after its headers where it has some."""
    lines = head.splitlines()
    if head.startswith(b"-----"):
        lines = lines[1:] if lines[0] == _ARMOURED[0] else lines[lines.index(b"") + 1 :] if b"" in lines else []
    text = b"".join(line.strip() for line in takewhile(lambda line: not line.startswith((b"-----", b"=")), lines))
    try:
        return b64decode(text[: len(text) // 4 * 4], validate=True)
    except ValueError:
        return b""


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error:
        return b""


def _is_openpgp(head: bytes) -> bool:
    """Whether it starts with a packet of an encrypted message: its header's length form, then its version."""
    if len(head) < 8 or not head[0] & 0x80:
        return False
    if head[0] & 0x40:
        tag, first = head[0] & 0x3F, head[1]
        size = 1 if first < 192 or 224 <= first < 255 else 2 if first < 224 else 5
    else:
        tag, size = (head[0] >> 2) & 0x0F, (1, 2, 4, 0)[head[0] & 3]
    return head[1 + size] in _PACKETS.get(tag, ()) and _looks_random(head[16:])
