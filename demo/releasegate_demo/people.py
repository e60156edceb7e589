"""The demo's made-up stakeholders: their throw-away SSH keys, and the file that says whose key is whose."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SIGNERS", "allowed_signers", "make_keys"]

SIGNERS = {
    "release_manager": "marta.release@ehr.example",
    "engineering_lead": "elif.engineering@ehr.example",
    "database_administrator": "david.database@ehr.example",
    "security_lead": "sam.security@ehr.example",
    "product_owner": "paula.product@ehr.example",
}
"""Who signs as what."""


def make_keys(folder: Path) -> dict[str, Path]:
    """A new Ed25519 key without passphrase for each signer, in a folder of their own; gives the private keys' files."""
    folder.mkdir(parents=True, mode=0o700)
    keys = {person: folder / person.partition("@")[0] for person in SIGNERS.values()}
    for person, path in keys.items():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", person, "-f", str(path)]
        subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
    return keys


def allowed_signers(keys: dict[str, Path]) -> str:
    """The text of an allowed signers file (ssh-keygen(1)) that lets each person sign claims with their key."""
    lines = []
    for person, path in keys.items():
        kind, key, *_ = path.with_name(f"{path.name}.pub").read_text(encoding="utf-8").split()
        lines.append(f'{person} namespaces="releasegate" {kind} {key}\n')
    return "".join(lines)
