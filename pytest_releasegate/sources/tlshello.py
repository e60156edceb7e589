"""The first message of a TLS 1.2 handshake, written here, to offer ciphers that no library of today offers any more."""

from __future__ import annotations

import secrets
import struct
from typing import TYPE_CHECKING

from pytest_releasegate.sources.sockets import is_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_releasegate.sources.sockets import Line

__all__ = ["CIPHERS", "Alert", "chosen", "spoken"]

CIPHERS: dict[str, dict[int, str]] = {
    "null": {
        0x0001: "RSA_NULL_MD5",
        0x0002: "RSA_NULL_SHA",
        0x003B: "RSA_NULL_SHA256",
        0xC006: "ECDHE_ECDSA_NULL_SHA",
        0xC010: "ECDHE_RSA_NULL_SHA",
        0xC015: "ECDH_anon_NULL_SHA",
    },
    "anonymous": {
        0x0018: "DH_anon_RC4_128_MD5",
        0x001B: "DH_anon_3DES_EDE_CBC_SHA",
        0x0034: "DH_anon_AES_128_CBC_SHA",
        0x003A: "DH_anon_AES_256_CBC_SHA",
        0x006C: "DH_anon_AES_128_CBC_SHA256",
        0x006D: "DH_anon_AES_256_CBC_SHA256",
        0x00A6: "DH_anon_AES_128_GCM_SHA256",
        0x00A7: "DH_anon_AES_256_GCM_SHA384",
        0xC016: "ECDH_anon_RC4_128_SHA",
        0xC017: "ECDH_anon_3DES_EDE_CBC_SHA",
        0xC018: "ECDH_anon_AES_128_CBC_SHA",
        0xC019: "ECDH_anon_AES_256_CBC_SHA",
    },
    "export": {
        0x0003: "RSA_EXPORT_RC4_40_MD5",
        0x0006: "RSA_EXPORT_RC2_CBC_40_MD5",
        0x0008: "RSA_EXPORT_DES40_CBC_SHA",
        0x0011: "DHE_DSS_EXPORT_DES40_CBC_SHA",
        0x0014: "DHE_RSA_EXPORT_DES40_CBC_SHA",
        0x0017: "DH_anon_EXPORT_RC4_40_MD5",
        0x0019: "DH_anon_EXPORT_DES40_CBC_SHA",
    },
    "rc4": {
        0x0004: "RSA_RC4_128_MD5",
        0x0005: "RSA_RC4_128_SHA",
        0xC007: "ECDHE_ECDSA_RC4_128_SHA",
        0xC011: "ECDHE_RSA_RC4_128_SHA",
    },
    "des": {
        0x0009: "RSA_DES_CBC_SHA",
        0x000A: "RSA_3DES_EDE_CBC_SHA",
        0x0013: "DHE_DSS_3DES_EDE_CBC_SHA",
        0x0015: "DHE_RSA_DES_CBC_SHA",
        0x0016: "DHE_RSA_3DES_EDE_CBC_SHA",
        0xC008: "ECDHE_ECDSA_3DES_EDE_CBC_SHA",
        0xC012: "ECDHE_RSA_3DES_EDE_CBC_SHA",
    },
    "cbc": {
        0x0033: "DHE_RSA_AES_128_CBC_SHA",
        0x0039: "DHE_RSA_AES_256_CBC_SHA",
        0x0067: "DHE_RSA_AES_128_CBC_SHA256",
        0x006B: "DHE_RSA_AES_256_CBC_SHA256",
        0xC009: "ECDHE_ECDSA_AES_128_CBC_SHA",
        0xC00A: "ECDHE_ECDSA_AES_256_CBC_SHA",
        0xC013: "ECDHE_RSA_AES_128_CBC_SHA",
        0xC014: "ECDHE_RSA_AES_256_CBC_SHA",
        0xC023: "ECDHE_ECDSA_AES_128_CBC_SHA256",
        0xC024: "ECDHE_ECDSA_AES_256_CBC_SHA384",
        0xC027: "ECDHE_RSA_AES_128_CBC_SHA256",
        0xC028: "ECDHE_RSA_AES_256_CBC_SHA384",
    },
    "no_forward_secrecy": {
        0x002F: "RSA_AES_128_CBC_SHA",
        0x0035: "RSA_AES_256_CBC_SHA",
        0x003C: "RSA_AES_128_CBC_SHA256",
        0x003D: "RSA_AES_256_CBC_SHA256",
        0x009C: "RSA_AES_128_GCM_SHA256",
        0x009D: "RSA_AES_256_GCM_SHA384",
        0x0041: "RSA_CAMELLIA_128_CBC_SHA",
        0x0084: "RSA_CAMELLIA_256_CBC_SHA",
    },
}
"""Ciphers by what is wrong with them, with the numbers and names of IANA's registry; the first five
are what no server should accept any more (RFC 7465, RFC 8996, RFC 9325)."""

_OF_TODAY = (0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9, 0x009E, 0x009F)
"""ECDHE and DHE with AES in GCM or ChaCha20, which only TLS 1.2 has."""
_TLS_1_2 = 0x0303
_HANDSHAKE, _ALERT = 22, 21
_SERVER_HELLO = 2
_FATAL = 2
_MOST_WARNINGS = 4
_ALERTS = {40: "handshake failure", 47: "illegal parameter", 70: "protocol version", 71: "insufficient security"}
_LARGEST_RECORD = 18 * 1024
_NO_RENEGOTIATION = 0x00FF
_GROUPS = (0x001D, 0x0017, 0x0018, 0x0019)
_SIGNATURES = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201, 0x0202)


class Alert(ConnectionError):
    """The server ended the handshake with an alert; `refuses` where it is about what was offered."""

    def __init__(self, number: int) -> None:
        super().__init__(_ALERTS.get(number, f"alert {number}"))
        self.refuses = number in _ALERTS


def chosen(line: Line, host: str, ciphers: Sequence[int]) -> int:
    """The one of these ciphers that the server takes; raises `Alert` or another `OSError` when it takes none."""
    return _cipher(_answer(line, _hello(host, ciphers)))


def spoken(line: Line, host: str, version: int) -> int:
    """The protocol that the server takes where this is the newest; raises `Alert` or another `OSError` for none."""
    ciphers = [*(_OF_TODAY if version >= _TLS_1_2 else ()), *(number for each in CIPHERS.values() for number in each)]
    body = _answer(line, _hello(host, ciphers, version))
    _cipher(body)
    found = int.from_bytes(body[4:6])
    if found > version:
        raise ConnectionAbortedError("it answers with a protocol that was not offered")
    return found


def _answer(line: Line, hello: bytes) -> bytes:
    line.send(_record(hello))
    for _ in range(_MOST_WARNINGS):
        kind, _, size = struct.unpack("!BHH", line.exactly(5))
        if kind not in (_HANDSHAKE, _ALERT) or not 2 <= size <= _LARGEST_RECORD:
            break
        body = line.exactly(size)
        if kind == _HANDSHAKE:
            return body
        if body[0] == _FATAL:
            raise Alert(body[1])
    raise ConnectionAbortedError("its answer is no TLS")


def _cipher(body: bytes) -> int:
    """The cipher of a ServerHello: after its header, version, random and session."""
    at = 4 + 2 + 32
    if body[0] != _SERVER_HELLO or len(body) <= at or len(body) < at + 1 + body[at] + 2:
        raise ConnectionAbortedError("its answer is no ServerHello")
    at += 1 + body[at]
    return int.from_bytes(body[at : at + 2])


def _hello(host: str, ciphers: Sequence[int], version: int = _TLS_1_2) -> bytes:
    numbers = b"".join(struct.pack("!H", number) for number in (*ciphers, _NO_RENEGOTIATION))
    extensions = b"".join(_extensions(host))
    body = (
        struct.pack("!H", version)
        + secrets.token_bytes(32)
        + b"\x00"
        + _sized(numbers)
        + b"\x01\x00"
        + _sized(extensions)
    )
    return b"\x01" + len(body).to_bytes(3) + body


def _extensions(host: str) -> list[bytes]:
    groups = b"".join(struct.pack("!H", number) for number in _GROUPS)
    signatures = b"".join(struct.pack("!H", number) for number in _SIGNATURES)
    made = [_extension(10, _sized(groups)), _extension(11, b"\x01\x00"), _extension(13, _sized(signatures))]
    if not is_number(host):
        made.insert(0, _extension(0, _sized(b"\x00" + _sized(host.encode("idna")))))
    return made


def _extension(number: int, body: bytes) -> bytes:
    return struct.pack("!H", number) + _sized(body)


def _sized(body: bytes) -> bytes:
    return struct.pack("!H", len(body)) + body


def _record(body: bytes) -> bytes:
    return b"\x16\x03\x01" + _sized(body)
