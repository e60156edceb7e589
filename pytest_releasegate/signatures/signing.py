"""Signing with `ssh-keygen -Y sign`, so that keys stay where they are: in files, an agent or a security key."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.signatures.keys import from_text
from pytest_releasegate.signatures.sshsig import SignatureProblem, verify

__all__ = ["default_key", "sign"]

_LITERAL = "key::"
_USUAL = ("id_ed25519", "id_ecdsa", "id_rsa")
_LONGEST = 120.0
"""Seconds; a person may have to type a passphrase or to touch a security key."""


def sign(message: bytes, key: str, namespace: str, longest: float = _LONGEST) -> str:
    """The armored signature of the message by a key.

    The key is a private one's file, or a public one whose other half the agent has: a `.pub` file, or its text after
    `key::`. A passphrase is asked for on the terminal; `longest` is in seconds. Raises `UsageProblem` when there is no
    signature in the end.
    """
    if not shutil.which("ssh-keygen"):
        raise UsageProblem("signing needs 'ssh-keygen', which is not on the PATH", "install OpenSSH's client")
    with ExitStack() as stack:
        armored = _signature(message, _file(key, stack), namespace, longest)
    try:
        verify(armored, message, namespace)
    except SignatureProblem as wrong:
        raise UsageProblem(f"a signature by {key} would not count: {wrong}", "sign with another key (--key)") from None
    return armored


def default_key(folder: Path | None = None) -> str:
    """The key that git signs with where `gpg.format` is `ssh`, else the first usual one in `~/.ssh`.

    Git is asked in the folder, by default the current one. Raises `UsageProblem` when there is none.
    """
    if _git("gpg.format", folder) == "ssh" and (configured := _git("user.signingkey", folder)):
        return f"{_LITERAL}{configured}" if configured.startswith("ssh-") else configured
    for name in _USUAL:
        if (path := Path.home() / ".ssh" / name).is_file():
            return str(path)
    hint = "name one by --key, or tell git: git config gpg.format ssh; git config user.signingkey ~/.ssh/id_ed25519.pub"
    raise UsageProblem(f"no SSH key to sign with: git names none, and ~/.ssh has none of {', '.join(_USUAL)}", hint)


def _file(key: str, stack: ExitStack) -> Path:
    if not key.startswith(_LITERAL):
        hint = "a private key's file, or a .pub whose other half the agent has"
        try:
            path = Path(key).expanduser()
            there = path.is_file()
        except (OSError, RuntimeError) as wrong:  # a name that is too long, a home that nobody has
            raise UsageProblem(f"no such key: {key}: {wrong}", hint) from None
        if not there:
            raise UsageProblem(f"no such key: {path}", hint)
        return path
    try:
        public = from_text(key.removeprefix(_LITERAL))
    except SignatureProblem as wrong:
        raise UsageProblem(f"'{key}' is no public key: {wrong}", f"{_LITERAL}ssh-ed25519 AAAA...") from None
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="releasegate-"))) / "key.pub"
    path.write_text(f"{public}\n", encoding="ascii")
    return path


def _signature(message: bytes, key: Path, namespace: str, longest: float) -> str:
    """Runs the program within our session, so that it can ask on the terminal."""
    command = ["ssh-keygen", "-Y", "sign", "-q", "-n", namespace, "-f", str(key)]
    reading, writing = os.pipe()
    said: list[bytes] = []
    listener = Thread(target=_listen, args=(reading, said))
    listener.start()
    try:
        ended = subprocess.run(
            command, input=message, stdout=subprocess.PIPE, stderr=writing, timeout=longest, check=False
        )
    except subprocess.TimeoutExpired:
        what = f"ssh-keygen gave no signature within {longest:g} s"
        raise UsageProblem(what, "does it wait for a passphrase or a touch?") from None
    finally:
        os.close(writing)
        listener.join()
    if ended.returncode:
        told = b"".join(said).decode(errors="replace").strip() or f"ssh-keygen ended with {ended.returncode}"
        raise UsageProblem(f"cannot sign with {key}: {told}", _hint(told))
    return ended.stdout.decode("ascii", "replace")


def _listen(reading: int, said: list[bytes]) -> None:
    """Keeps what the program says, and passes on at once that a security key waits for a touch."""
    with open(reading, "rb") as lines:
        for line in lines:
            said.append(line)
            if b"user presence" in line:
                sys.stderr.write(line.decode(errors="replace"))
                sys.stderr.flush()


def _hint(told: str) -> str:
    if "agent" in told:
        return "add the key to the agent (ssh-add), or name the private key's file"
    if "passphrase" in told:
        return "the passphrase was wrong, or there is no terminal to ask for it: add the key to an agent (ssh-add)"
    return ""


def _git(name: str, folder: Path | None) -> str:
    command = ["git", "config", "--get", name]
    try:
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip()
