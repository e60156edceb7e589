"""The real `ssh-keygen`, beside which our own code is held."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE = "releasegate"
MADE = {
    "ed25519": ("-t", "ed25519"),
    "p256": ("-t", "ecdsa", "-b", "256"),
    "p384": ("-t", "ecdsa", "-b", "384"),
    "p521": ("-t", "ecdsa", "-b", "521"),
    "rsa": ("-t", "rsa", "-b", "2048"),
}


def keygen(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """One run of the real program, which must be there; the caller looks at its code."""
    return subprocess.run(["ssh-keygen", *words], input=given, capture_output=True, timeout=60, check=False)


@dataclass
class Keys:
    """Private keys by name in one folder."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    def public(self, name: str) -> str:
        """`KIND BASE64` of a key."""
        return " ".join((self.folder / f"{name}.pub").read_text().split()[:2])

    def sign(self, name: str, message: bytes, *options: str, namespace: str = NAMESPACE) -> str:
        """What `ssh-keygen` signs."""
        made = keygen("-Y", "sign", "-n", namespace, *options, "-f", str(self[name]), given=message)
        assert made.returncode == 0, made.stderr
        return made.stdout.decode()


def judged(folder: Path, signers: str, person: str, armored: str, message: bytes, *options: str) -> bool:
    """Whether `ssh-keygen -Y verify` finds the signature right and allowed."""
    (folder / "allowed_signers").write_text(signers)
    (folder / "signature").write_text(armored)
    files = ("-f", str(folder / "allowed_signers"), "-s", str(folder / "signature"))
    return keygen("-Y", "verify", *options, "-n", NAMESPACE, "-I", person, *files, given=message).returncode == 0
