"""Runs Python modules as `python -m` does, forked from a process that has imported the libraries already.

Starting pytest with a record costs more than a second of imports, and the tests do it some hundred times. What a run
must not import by itself is asked in processes of their own, elsewhere.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARIES = (
    "alembic.command",
    "alembic.config",
    "cryptography.x509",
    "jinja2",
    "prometheus_client.parser",
    "psycopg",
    "pydantic",
    "pytest",
    "requests",
    "rfc8785",
    "sqlalchemy.dialects.sqlite",
    "yaml",
    "pytest_releasegate.commands._place",
    "pytest_releasegate.hooks.setup",
    "pytest_releasegate.report.html",
    "pytest_releasegate.store.record",
)
PATIENCE = 120.0


class Zygote:
    """The process that forks; it ends with its parent."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rg-")
        self._address = str(Path(self._folder.name) / "socket")
        self._process = subprocess.Popen([sys.executable, __file__, self._address], stdin=subprocess.PIPE, stdout=-1)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def run(
        self, module: str, words: list[str], cwd: Path, environment: dict[str, str], patience: float = PATIENCE
    ) -> tuple[int, str]:
        """The exit code, and what was written to stdout, then to stderr; raises `TimeoutError` after so long."""
        with tempfile.TemporaryDirectory(prefix="rg-") as folder, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(patience)
            connection.connect(self._address)
            files = [str(Path(folder) / name) for name in ("stdout", "stderr")]
            wanted = {"module": module, "words": words, "cwd": str(cwd), "environment": environment, "files": files}
            connection.sendall(json.dumps(wanted).encode() + b"\n")
            code = int(connection.makefile().readline())
            return code, "".join(Path(file).read_text("utf-8", "replace") for file in files)

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=10)
        self._folder.cleanup()


def serve(address: str) -> None:
    """Fork a process for each connection until stdin is closed."""
    for name in LIBRARIES:
        import_module(name)
    gc.freeze()  # what is there already is not looked through, and so not copied, in each run
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                attend(connection)
            connection.close()


def attend(connection: socket.socket) -> None:
    """Run what the connection asks for in one more process, and answer with its exit code."""
    wanted = json.loads(connection.makefile().readline())
    child = os.fork()
    if child == 0:
        connection.close()
        become(wanted)
    _, status = os.waitpid(child, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def become(wanted: dict[str, Any]) -> None:
    """Be `python -m MODULE WORDS`."""
    os.setsid()
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    for number, file in ((0, os.devnull), *enumerate(wanted["files"], start=1)):
        handle = os.open(file, os.O_RDWR | os.O_CREAT)
        os.dup2(handle, number)
        os.close(handle)
    sys.path[0] = wanted["cwd"]
    sys.argv = [wanted["module"], *wanted["words"]]
    runpy.run_module(wanted["module"], run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
