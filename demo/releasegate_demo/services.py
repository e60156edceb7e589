"""What stands beside the application: the stand-ins for e-mail and SMS, and the supervisor's control channel."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from releasegate_demo.info import DemoInfo
    from releasegate_demo.place import Place

SERVICES = ("email", "sms")
Control = "Callable[[str, dict[str, str]], dict[str, Any]]"


class Services(ThreadingHTTPServer):
    """Answers `/email/health` and `/sms/health`, and commands that bear the key."""

    daemon_threads = True

    def __init__(self, place: Place, control: Callable[[str, dict[str, str]], dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.place = place
        self.control = control
        self.key = secrets.token_urlsafe(24)


class _Handler(BaseHTTPRequestHandler):
    server: Services
    timeout = 30

    def do_GET(self) -> None:
        name = self.path.strip("/").removesuffix("/health")
        if name not in SERVICES:
            self._answer(404, {"error": "unknown service"})
        elif name == "sms" and self.server.place.broken("health"):
            self._answer(503, {"status": "down"})
        else:
            self._answer(200, {"status": "up"})

    def do_POST(self) -> None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(given.encode(), self.server.key.encode()):
            self._answer(403, {"error": "wrong key"})
            return
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        try:
            self._answer(200, self.server.control(self.path.strip("/"), body))
        except Exception as error:
            self._answer(500, {"error": f"{type(error).__name__}: {error}"})

    def _answer(self, code: int, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Write nothing: health checks come every few seconds."""


def command(info: DemoInfo, name: str, body: dict[str, str], timeout: float = 60.0) -> dict[str, Any]:
    """Send a command to the supervisor and return its answer; raise OSError when it does not answer."""
    url = f"http://127.0.0.1:{info.control_port}/{name}"
    headers = {"Authorization": f"Bearer {info.control_key}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            loaded: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise OSError(error.read().decode(errors="replace")) from None
    return loaded
