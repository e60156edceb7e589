"""The guard of a PostgreSQL server: its parent process, which ends it when the owner's pipe closes; run as a script."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

STOP = b"stop"


def guard(plan: dict[str, Any]) -> None:
    """Run the server as a child; stop it fast on `stop`, at once when the owner's end of the pipe closes."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(wake)
    server = _serve(plan)
    while server.poll() is None:
        word = _word(woken)
        if word is not None:
            server.send_signal(signal.SIGINT if word == STOP else signal.SIGQUIT)
            server.wait()
            if word != STOP:
                shutil.rmtree(plan["folder"], ignore_errors=True)


def _word(woken: int) -> bytes | None:
    ready, _, _ = select.select([0, woken], [], [])
    if 0 in ready:
        return os.read(0, len(STOP))
    return STOP if set(os.read(woken, 64)) - {signal.SIGCHLD} else None


def _serve(plan: dict[str, Any]) -> subprocess.Popen[bytes]:
    account = plan["account"]
    who = {} if account is None else {"user": account, "group": account, "extra_groups": []}
    with Path(plan["folder"], "log").open("ab") as output:
        return subprocess.Popen(plan["command"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", **who)


if __name__ == "__main__":
    guard(json.loads(sys.argv[1]))
