"""Encryption as `openssl enc -aes-256-cbc -pbkdf2` does it; run as a program it decrypts by the key in a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

__all__ = ["decrypt", "encrypt"]

MAGIC = b"Salted__"
ROUNDS = 10_000
"""What `openssl enc -pbkdf2` does without `-iter`."""


def encrypt(body: bytes, key: bytes) -> bytes:
    """The body, encrypted under a salt of its own."""
    salt = os.urandom(8)
    padder = padding.PKCS7(128).padder()
    encryptor = _cipher(key, salt).encryptor()
    padded = padder.update(body) + padder.finalize()
    return MAGIC + salt + encryptor.update(padded) + encryptor.finalize()


def decrypt(body: bytes, key: bytes) -> bytes:
    """What was encrypted; raises `ValueError` for another key or a body that breaks off."""
    if body[:8] != MAGIC:
        raise ValueError("expected a file that starts with Salted__")
    decryptor = _cipher(key, body[8:16]).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    padded = decryptor.update(body[16:]) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()


def _cipher(key: bytes, salt: bytes) -> Cipher[modes.CBC]:
    derived = PBKDF2HMAC(algorithm=hashes.SHA256(), length=48, salt=salt, iterations=ROUNDS).derive(key.strip())
    return Cipher(algorithms.AES(derived[:32]), modes.CBC(derived[32:]))


if __name__ == "__main__":
    sys.stdout.buffer.write(decrypt(sys.stdin.buffer.read(), Path(sys.argv[1]).read_bytes()))
