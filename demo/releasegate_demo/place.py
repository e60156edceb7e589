"""The state folder of one demo: where each file lies, and how private files are written."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


ALIVE = "supervisor.lock"
FILES = (
    *("demo.json", "web.json", "credentials.json", "ca.pem", "server.pem", "server.key"),
    *("app.log", "migration.log", "backfill.log", "supervisor.log", "signed-out", ALIVE, "backup.key", "unlock"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """The state folder; every file of a demo is in it except the database's own."""

    folder: Path

    @property
    def info(self) -> Path:
        """What `DemoInfo` holds, mode 0600."""
        return self.folder / "demo.json"

    @property
    def settings(self) -> Path:
        """What the web process reads at its start, mode 0600."""
        return self.folder / "web.json"

    @property
    def credentials(self) -> Path:
        """E-mail addresses and passwords of the test accounts, mode 0600."""
        return self.folder / "credentials.json"

    @property
    def ca(self) -> Path:
        """The certificate authority that signed the HTTPS certificate."""
        return self.folder / "ca.pem"

    @property
    def log(self) -> Path:
        """The application's log, one JSON object a line."""
        return self.folder / "app.log"

    @property
    def migration_log(self) -> Path:
        """The log of migrations, one JSON object a line."""
        return self.folder / "migration.log"

    @property
    def backfill_log(self) -> Path:
        """The log of backfills, one JSON object a line."""
        return self.folder / "backfill.log"

    @property
    def signed_out(self) -> Path:
        """The ids of sessions that were ended, one a line."""
        return self.folder / "signed-out"

    @property
    def supervisor_log(self) -> Path:
        """Standard error of the supervisor and the web process."""
        return self.folder / "supervisor.log"

    @property
    def breaks(self) -> Path:
        """One file for each active break; the web process looks at each request."""
        return self.folder / "breaks"

    @property
    def backups(self) -> Path:
        """The encrypted dumps, each with its manifest."""
        return self.folder / "backups"

    @property
    def backed_up(self) -> Path:
        """Stands there once the nightly backups are taken."""
        return self.backups / ".done"

    @property
    def backup_key(self) -> Path:
        """What the dumps are encrypted with, mode 0600."""
        return self.folder / "backup.key"

    @property
    def unlock(self) -> Path:
        """The command that decrypts a dump."""
        return self.folder / "unlock"

    def broken(self, name: str) -> bool:
        """Tell whether that break is active."""
        return (self.breaks / name).exists()

    def create(self) -> None:
        """Create the folder, closed to others."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)

    def remove(self) -> None:
        """Remove what a demo put here, and the folder when nothing else is in it."""
        for folder in (self.breaks, self.backups):
            shutil.rmtree(folder, ignore_errors=True)
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other commands off this demo; the lock lies elsewhere, for the folder comes and goes."""
        digest = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:16]
        with (Path(tempfile.gettempdir()) / f"releasegate-demo-{os.geteuid()}-{digest}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def hold(self) -> None:
        """Take the lock that says the supervisor lives; it is never closed, the system gives it back at the end."""
        handle = os.open(self.folder / ALIVE, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def alive(self) -> bool:
        """Tell whether a supervisor lives."""
        try:
            with (self.folder / ALIVE).open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False


def write_private(path: Path, data: dict[str, Any]) -> None:
    """Replace a JSON file with mode 0600 so that no reader ever sees half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        json.dump(data, file, indent=2)
    Path(name).replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, or None when there is no such file."""
    try:
        loaded: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return loaded
