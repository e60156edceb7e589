"""Signing: `ssh-keygen` signs with a file's or an agent's key, and whatever hinders it is told."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.signatures.signing import default_key, sign
from pytest_releasegate.signatures.sshsig import verify
from tests.signatures.openssh import MADE, NAMESPACE, Keys, judged, keygen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MESSAGE = "what was decided: hält\n".encode() + bytes(range(256))


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without keys, git settings or an agent, and a folder of its own for temporary files."""
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    for name in ("SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "home", "GIT_CONFIG_GLOBAL": "gitconfig", "TMPDIR": "tmp"}.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A real ssh-agent without keys; its socket's path must be short."""
    folder = tempfile.mkdtemp(dir="/tmp")
    socket = f"{folder}/agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert "SSH_AUTH_SOCK" in process.stdout.readline()
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=10)
        shutil.rmtree(folder)


def git(*words: str) -> None:
    subprocess.run(["git", "config", "--global", *words], check=True)


def refusal(key: str, **more: float) -> str:
    with pytest.raises(UsageProblem) as caught:
        sign(MESSAGE, key, NAMESPACE, **more)
    return str(caught.value)


def leftovers(alone: Path) -> list[str]:
    return [path.name for path in (alone / "tmp").iterdir()]


@pytest.mark.parametrize("name", MADE)
def test_what_we_sign_is_right_here_and_for_ssh_keygen(name: str, keys: Keys, tmp_path: Path) -> None:
    armored = sign(MESSAGE, str(keys[name]), NAMESPACE)
    assert str(verify(armored, MESSAGE, NAMESPACE)) == keys.public(name)
    signers = f'*@example.com namespaces="{NAMESPACE}" {keys.public(name)}\n'
    assert judged(tmp_path, signers, "ann@example.com", armored, MESSAGE)
    assert not judged(tmp_path, signers, "ann@example.com", armored, MESSAGE + b"x")


def test_agent_signs_for_a_public_key(keys: Keys, agent: None, alone: Path, tmp_path: Path) -> None:
    shutil.copy(keys.folder / "ed25519.pub", tmp_path / "work.pub")
    assert "add the key to the agent (ssh-add)" in refusal(str(tmp_path / "work.pub"))
    subprocess.run(["ssh-add", "-q", str(keys["ed25519"])], check=True)
    for key in (str(tmp_path / "work.pub"), f"key::{keys.public('ed25519')} ann"):
        assert str(verify(sign(MESSAGE, key, NAMESPACE), MESSAGE, NAMESPACE)) == keys.public("ed25519")
    assert "cannot sign with" in refusal(f"key::{keys.public('p256')}")
    assert leftovers(alone) == []


def test_without_an_agent_a_public_key_cannot_sign(keys: Keys, alone: Path) -> None:
    assert "agent" in refusal(f"key::{keys.public('ed25519')}")
    assert leftovers(alone) == []


def test_passphrase_is_asked_for_on_the_terminal(tmp_path: Path) -> None:
    key = tmp_path / "locked"
    assert keygen("-q", "-t", "ed25519", "-N", "open sesame", "-f", str(key)).returncode == 0
    code = (
        "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "from pytest_releasegate.signatures.signing import sign\n"
        f"sys.stdout.write(sign(b'hello', {str(key)!r}, 'releasegate'))"
    )
    terminal, other = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stdin=other, stdout=other, stderr=other) as process:
        said = b""
        while b"passphrase" not in said:
            said += os.read(terminal, 1000)
        os.write(terminal, b"open sesame\n")
        while b"END SSH SIGNATURE-----" not in said:
            said += os.read(terminal, 1000)
        assert process.wait(30) == 0
    os.close(other)
    os.close(terminal)
    text = said.decode().replace("\r", "")
    verify(text[text.index("-----BEGIN") :], b"hello", NAMESPACE)


def test_passphrase_without_a_terminal_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "locked"
    assert keygen("-q", "-t", "ed25519", "-N", "open sesame", "-f", str(key)).returncode == 0
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    assert "there is no terminal to ask for it" in refusal(str(key))


def test_wrong_keys_are_told(tmp_path: Path, keys: Keys, alone: Path) -> None:
    (tmp_path / "no-key").write_text("hello\n")
    assert f"no such key: {tmp_path / 'nowhere'}" in refusal(str(tmp_path / "nowhere"))
    assert f"cannot sign with {tmp_path / 'no-key'}" in refusal(str(tmp_path / "no-key"))
    assert "'key::ssh-ed25519 AAAA' is no public key" in refusal("key::ssh-ed25519 AAAA")
    weak = tmp_path / "weak"
    assert keygen("-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", str(weak)).returncode == 0
    assert "would not count: RSA keys have 2048 to 16384 bits here, this one 1024" in refusal(str(weak))


def test_missing_and_hanging_programs_are_told(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "ssh-keygen"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent))
    assert "signing needs 'ssh-keygen', which is not on the PATH" in refusal(str(keys["ed25519"]))
    program.write_text(f"#!{sys.executable}\nimport signal\nsignal.pause()\n")
    program.chmod(0o755)
    assert "gave no signature within 0.2 s" in refusal(str(keys["ed25519"]), longest=0.2)
    program.write_text("#!/bin/sh\necho 'Confirm user presence for key ED25519-SK' >&2\nexit 1\n")
    assert "Confirm user presence" in refusal(str(keys["ed25519"]))


def test_touch_that_is_waited_for_is_told_at_once(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "ssh-keygen"
    program.write_text("#!/bin/sh\necho 'Confirm user presence for key ED25519-SK' >&2\necho other >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    refusal(str(keys["ed25519"]))
    assert capsys.readouterr().err == "Confirm user presence for key ED25519-SK\n"


def test_default_key_is_gits_then_the_usual_ones(tmp_path: Path, alone: Path) -> None:
    with pytest.raises(UsageProblem, match="no SSH key to sign with"):
        default_key()
    usual = tmp_path / "home" / ".ssh" / "id_rsa"
    usual.parent.mkdir()
    usual.write_text("")
    assert default_key() == str(usual)
    (usual.parent / "id_ed25519").write_text("")
    assert default_key() == str(usual.parent / "id_ed25519")
    git("user.signingkey", "0xA1B2")
    assert default_key() == str(usual.parent / "id_ed25519")
    git("gpg.format", "ssh")
    for configured, expected in {
        "~/.ssh/work.pub": "~/.ssh/work.pub",
        "key::ssh-ed25519 AAAA": "key::ssh-ed25519 AAAA",
        "ssh-ed25519 AAAA": "key::ssh-ed25519 AAAA",
    }.items():
        git("user.signingkey", configured)
        assert default_key() == expected
