"""A small server on loopback that answers by path, as a vendor would, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

Reply = tuple[int, Any]
"""A status, and what is answered: bytes as they are, anything else as JSON."""
Route = Reply | Callable[["Asked"], Reply]


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class StandIn:
    """A running server; tests change its routes."""

    url: str = ""
    routes: dict[str, Route] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply:
        """What the route of the path says; with its query where there is one of that, 404 for none."""
        self.asked.append(asked)
        path = asked.path.partition("?")[0]
        route = self.routes.get(asked.path, self.routes.get(path, (404, {"message": "not found"})))
        return route(asked) if callable(route) else route


def _handler(standin: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            status, said = standin.answer(Asked(self.command, self.path, dict(self.headers)))
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            kind = "text/html" if isinstance(said, bytes) else "application/json"
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **standin.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        setattr(Handler, f"do_{method}", Handler.answer)
    return Handler


@contextmanager
def standing_in() -> Iterator[StandIn]:
    """Run one until the block ends."""
    standin = StandIn()
    with serving(_handler(standin)) as standin.url:
        yield standin


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer with that handler until the block ends; the value is where."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def know_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let names under `.invalid` be unknown without asking a name server."""
    known = socket.getaddrinfo

    def ask(host: Any, *args: Any, **more: Any) -> Any:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", ask)
