"""The web process: HTTP and HTTPS on loopback; it ends when its standard input closes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server

from releasegate_demo.web import jobs, settings
from releasegate_demo.web.app import create_app

if TYPE_CHECKING:
    from flask import Flask

THREADS = 12
BIND_SECONDS = 10.0
SHUTDOWN_SECONDS = 2.0


def listen(app: Flask, port: int) -> Any:
    """Return a bound server, on any free port for 0; while the previous release still holds the port, wait."""
    deadline = time.monotonic() + BIND_SECONDS
    while True:
        # a named port, for only that can be bound again while old connections linger
        server = Server(
            ("127.0.0.1", port or free_port()), app, numthreads=THREADS, request_queue_size=128, server_name="ehr"
        )
        try:
            server.prepare()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return server


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def secure(server: Any, folder: Path) -> Any:
    """Give a server the certificate of the state folder; call before it serves."""
    adapter = BuiltinSSLAdapter(str(folder / "server.pem"), str(folder / "server.key"))
    server.ssl_adapter = adapter
    return server


def end(server: Any) -> None:
    """Let requests in flight finish, shortly, and close the server."""
    server.shutdown_timeout = SHUTDOWN_SECONDS
    with contextlib.suppress(OSError):
        server.stop()


def watch_owner() -> None:
    """End this process at once when the supervisor is gone."""
    while os.read(0, 1):
        pass
    os._exit(0)


def main(state: Path) -> None:
    """Serve until SIGTERM or until the supervisor is gone; print the ports once they are bound."""
    threading.Thread(target=watch_owner, daemon=True).start()
    told, stop = settings.load(state), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    app = create_app(told)
    servers = [listen(app, told.http_port), secure(listen(app, told.https_port), state)]
    for server in servers:
        threading.Thread(target=server.serve, daemon=True).start()
    worker = jobs.start(app.extensions["ehr"], stop)
    sys.stdout.write(json.dumps({"http": servers[0].bind_addr[1], "https": servers[1].bind_addr[1]}) + "\n")
    sys.stdout.flush()
    stop.wait()
    enders = [threading.Thread(target=end, args=(server,)) for server in servers]
    for ender in enders:
        ender.start()
    for ender in enders:
        ender.join()
    worker.join(5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
