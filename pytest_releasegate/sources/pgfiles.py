"""Cached templates of data folders, and the unprivileged account that owns them when root runs the server."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNPRIVILEGED = 65534  # PostgreSQL refuses to run as root; "nobody" exists on Linux and macOS by number at least


class PostgresError(RuntimeError):
    """The server did not initialise or start; the message carries the end of its own log."""


def cached(name: str, build: Callable[[Path], None], older: str | None = None) -> Path:
    """Return the folder of that name in the cache, built once whoever asks first; remove those that match `older`."""
    cache = _cache()
    target = cache / name
    with locked(cache / f"{name}.lock", fcntl.LOCK_EX):
        if not target.exists():
            work = Path(tempfile.mkdtemp(prefix=".build-", dir=cache))
            try:
                give(work)
                build(work / "data")
                (work / "data").rename(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    if older is not None:
        _prune(cache, older, keep=name)
    return target


def _prune(cache: Path, pattern: str, keep: str) -> None:
    for old in cache.glob(pattern):
        if old.name == keep or not old.is_dir():
            continue
        # a copier holds the lock shared: its template is left for the next time
        with contextlib.suppress(OSError), locked(cache / f"{old.name}.lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path, mode: int) -> Iterator[None]:
    """Hold an advisory lock (`fcntl.LOCK_*`) on a file."""
    with path.open("a") as file:
        fcntl.flock(file, mode)
        yield


def _cache() -> Path:
    root = account() is not None
    if root:
        # root's home is closed to the account the server runs as
        folder = Path(tempfile.gettempdir()) / "releasegate-cache-0"
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches" / "releasegate"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "releasegate"
    folder.mkdir(parents=True, exist_ok=True, mode=0o755 if root else 0o700)
    about = folder.lstat()
    if about.st_uid != os.geteuid() or about.st_mode & 0o022 or folder.is_symlink():
        raise PostgresError(f"{folder}: expected a folder that only this account may write; remove it")
    return folder


def account() -> int | None:
    """Return the user id to run as, or None where the caller's own will do."""
    return UNPRIVILEGED if os.geteuid() == 0 else None


def give(folder: Path) -> None:
    """Make the folder the unprivileged account's."""
    if (owner := account()) is not None:
        os.chown(folder, owner, owner)


def as_account() -> dict[str, Any]:
    """Return the arguments of `subprocess` that make a child run as that account."""
    owner = account()
    return {} if owner is None else {"user": owner, "group": owner, "extra_groups": []}


def run(command: list[str]) -> None:
    """Run a command as the unprivileged account; raise PostgresError when it fails."""
    done = subprocess.run(command, **as_account(), capture_output=True, text=True, check=False, cwd="/")
    if done.returncode != 0:
        raise PostgresError(
            f"{Path(command[0]).name} failed ({done.returncode}): {(done.stderr or done.stdout)[-2000:]}"
        )
