"""Start, stop, deploy, migrate, break and heal a demo; all a command line needs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from releasegate_demo import backfill as _backfill
from releasegate_demo import backups as _backups
from releasegate_demo import breaks as _breaks
from releasegate_demo import info as _info
from releasegate_demo import migrate as _migrate
from releasegate_demo import services as _services
from releasegate_demo import traffic as _traffic
from releasegate_demo.breaks import BREAKS, Break
from releasegate_demo.info import DemoInfo
from releasegate_demo.place import Place
from releasegate_demo.traffic import Traffic

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

__all__ = [
    "BREAKS",
    "STATE",
    "Break",
    "DemoError",
    "DemoInfo",
    "Traffic",
    "active_breaks",
    "back_up",
    "backfill",
    "deploy",
    "down",
    "heal",
    "make_break",
    "migrate",
    "pending",
    "status",
    "traffic",
    "up",
]

STATE = Path(".demo")
VERSION, COMMIT = "1.3.0", "8f2c1d7e5b3a49d6a0c4e1f27b95d8036ca4e712"
START_SECONDS = 90.0
STOP_SECONDS = 30.0
PING_SECONDS = 30.0


class DemoError(RuntimeError):
    """The demo did not start, is not up, or was asked for something it does not have."""


def up(state: Path = STATE, version: str = VERSION, commit: str = COMMIT) -> DemoInfo:
    """Start a demo and return once it is healthy; one that is up already is left as it is."""
    place = _place(state)
    with place.lock():
        running = status(state)
        if running is not None:
            return running
        _clear(place)
        place.create()
        _spawn(place, version, commit)
        return _wait_until_healthy(place)


def down(state: Path = STATE) -> None:
    """Stop a demo and remove what it left in the state folder; without one do nothing."""
    place = _place(state)
    with place.lock():
        _clear(place)


def status(state: Path = STATE) -> DemoInfo | None:
    """Return the running demo of that state folder, or None."""
    place = _place(state)
    info = _info.load(place) if place.alive() else None
    if info is None:
        return None
    try:
        return DemoInfo(**_services.command(info, "ping", {}, PING_SECONDS))
    except OSError:
        return None


def deploy(state: Path = STATE, version: str = "1.4.0", commit: str = COMMIT) -> DemoInfo:
    """Restart the web process as that release and return once it is healthy or answers that it is not."""
    info = _running(state)
    try:
        info = DemoInfo(**_services.command(info, "deploy", {"version": version, "commit": commit}))
    except OSError as error:
        raise DemoError(
            f"deploy of {version}: the supervisor answered {error}; see {_place(state).supervisor_log}"
        ) from None
    _until(lambda: _health(info) is not None, START_SECONDS, "the web process to answer")
    return info


def migrate(state: Path = STATE, direction: str = "up", to: str | None = None) -> list[str]:
    """Apply pending migrations up to `to`, or go down to it (one step without), as `app_owner`; return the versions."""
    return _migrate.run(_running(state).owner_dsn, _place(state).migration_log, direction, to)


def backfill(state: Path = STATE, pause: float = 0.0) -> int:
    """Fill the preferred names that are empty, in batches with a pause between them; return how many."""
    return _backfill.run(_running(state).owner_dsn, _place(state).backfill_log, pause=pause)


def back_up(state: Path = STATE, name: str = "final") -> Path:
    """Take a full dump of that name, encrypted and with its manifest; return its file."""
    return _backups.dump(_place(state), _running(state).super_dsn, name)


def pending(state: Path = STATE) -> list[str]:
    """Return the versions of the migrations that the database does not have yet."""
    import psycopg

    with psycopg.connect(_running(state).probe_dsn) as connection:
        done = _migrate.applied(connection)
    return [step.version for step in _migrate.known() if step.version not in done]


def make_break(state: Path, name: str) -> None:
    """Break the demo in the way that `BREAKS[name]` says."""
    _breaks.make(_running(state), _place(state), _known(name))


def heal(state: Path = STATE, name: str | None = None) -> list[str]:
    """Undo one break, or all that are active; return their names."""
    info, place = _running(state), _place(state)
    names = [one for one in _breaks.active(place) if name is None or one == _known(name)]
    for one in names:
        _breaks.heal(info, place, one)
    return names


def active_breaks(state: Path = STATE) -> list[str]:
    """Return the names of the breaks that are active."""
    return _breaks.active(_place(state))


def traffic(
    state: Path = STATE,
    seconds: float = 10.0,
    rps: float = 10.0,
    visitors: int = 4,
    over: threading.Event | None = None,
) -> Traffic:
    """Let synthetic visitors read pages for a while, or until it is over; return what they saw."""
    return _traffic.run(_running(state), seconds, rps, visitors, over)


def _place(state: Path) -> Place:
    return Place(Path(state).absolute())


def _known(name: str) -> str:
    if name not in BREAKS:
        raise DemoError(f"break {name!r}: expected one of {', '.join(BREAKS)}")
    return name


def _running(state: Path) -> DemoInfo:
    info = status(state)
    if info is None:
        raise DemoError(f"{_place(state).folder}: no demo is up here; start one first")
    return info


def _spawn(place: Place, version: str, commit: str) -> None:
    command = [sys.executable, "-m", "releasegate_demo.supervisor", str(place.folder), version, commit]
    with place.supervisor_log.open("ab") as log:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, check=False
        )
    if done.returncode != 0:
        raise DemoError(f"the supervisor did not start: {_tail(place)}")


def _wait_until_healthy(place: Place) -> DemoInfo:
    def look() -> bool:
        if not place.alive():
            raise DemoError(f"the demo did not start: {_tail(place)}")
        info = _info.load(place)
        return info is not None and place.backed_up.exists() and _health(info) == 200

    try:
        _until(look, START_SECONDS, "the demo to become healthy")
    except DemoError:
        _clear(place, keep_log=True)
        raise
    info = _info.load(place)
    if info is None:
        raise DemoError(f"{place.info}: expected the description of the demo, found none")
    return info


def _until(look: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise DemoError(f"waited {seconds:g} s for {what}")
        time.sleep(0.03)


def _health(info: DemoInfo) -> int | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{info.base_url}/healthz", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


def _clear(place: Place, keep_log: bool = False) -> None:
    """Stop whatever still runs and remove the files of a demo, running, half started or long dead."""
    info = _info.load(place)
    if info is not None and place.alive():
        with contextlib.suppress(OSError):
            _services.command(info, "stop", {}, 5)
        try:
            _until(lambda: not place.alive(), STOP_SECONDS, "the supervisor to end")
        except DemoError:
            # the lock is held, so the id is the supervisor's; the rest dies with it
            os.kill(info.pids["supervisor"], signal.SIGKILL)
            _until(lambda: not place.alive(), 5, "the killed supervisor to end")
    if not keep_log:
        place.remove()


def _tail(place: Place) -> str:
    try:
        return place.supervisor_log.read_text(errors="replace")[-2000:].strip()
    except FileNotFoundError:
        return "it left no log"
