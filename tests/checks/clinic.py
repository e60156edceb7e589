"""A small application that people sign in to, over a real socket, with the faults that a test asks for."""

from __future__ import annotations

import json
import secrets
import threading
from contextlib import contextmanager
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from pytest_releasegate.model import Environment
from pytest_releasegate.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

COOKIE = "clinic"
FLAGS = "; HttpOnly; SameSite=Lax; Path=/; Max-Age=1800"
PASSWORD = "correct-horse-battery"
ROLES = {
    "/home": {"clinician", "billing"},
    "/clients": {"clinician"},
    "/payments": {"clinician", "billing"},
    "/closed": set(),
}
MOVES = {"/saved": "/home", "/expired": "/auth", "/broken": "//[no"}
IDLE = 600.0


class Clinic:
    """What runs: its address, who is signed in by session id, and what is wrong with it."""

    def __init__(self) -> None:
        self.url = ""
        self.faults: set[str] = set()
        self.flags = FLAGS
        self.sessions: dict[str, tuple[str, float]] = {}
        self.clock = FakeClock()
        self.seen: list[str] = []

    def mend(self) -> Clinic:
        """As new."""
        self.faults, self.flags, self.sessions, self.seen = set(), FLAGS, {}, []
        self.clock = FakeClock()
        return self

    def environment(self, *allow: str, protected: bool = False) -> Environment:
        """The environment that it is."""
        return Environment(name="staging", base_url=self.url, protected=protected, allow=frozenset(allow))

    def role(self, key: str) -> str:
        """Whose session that is; nobody's when it is over."""
        role, at = self.sessions.get(key, ("", 0.0))
        now = self.clock.monotonic()
        over = now - at > IDLE and "endless" not in self.faults
        return "" if over else role


@contextmanager
def serving() -> Iterator[Clinic]:
    """Serve until the block ends."""
    clinic = Clinic()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"clinic": clinic}))
    clinic.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield clinic
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def token(key: str) -> str:
    """The token of a session's forms."""
    return f"t-{key[::-1]}"


class Handler(BaseHTTPRequestHandler):
    """The pages of one clinic."""

    clinic: Clinic

    def do_GET(self) -> None:
        key, role = self.who()
        path = self.path.partition("?")[0]
        if path == "/auth":
            key = key or secrets.token_urlsafe(16)
            form = f'<input name="csrf_token" type="hidden" value="{token(key)}"><input type="password">'
            early = {} if "late" in self.clinic.faults else {"Set-Cookie": f"{COOKIE}={key}; HttpOnly; Path=/"}
            self.answer(200, form, **early)
        elif path == "/busy":
            self.answer(503, "", **{"Retry-After": "9"})
        elif path not in ROLES:
            self.answer(404, "nothing here")
        else:
            self.page(path, role, key)

    def do_POST(self) -> None:
        key, role = self.who()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        given = {name: values[0] for name, values in parse_qs(body).items()}
        proof = given.get("csrf_token") or self.headers.get("X-CSRF-Token")
        if self.path == "/api/login":
            right = json.loads(body)["password"] == PASSWORD
            more = self.kept(given={"user": "clinician"}) if right and "bearer" in self.clinic.faults else {}
            self.answer(200 if right else 401, json.dumps({"data": {"token": PASSWORD} if right else {}}), **more)
        elif "crashing" in self.clinic.faults and proof != token(key):
            self.answer(500, "no such key: csrf_token")
        elif proof != token(key) and "forgeable" not in self.clinic.faults:
            self.answer(400, "forged")
        elif self.path == "/auth":
            self.login(given, key)
        elif self.path == "/logout":
            if "undead" not in self.clinic.faults:
                self.clinic.sessions.pop(key, None)
            self.answer(302, "", Location="/auth", **{"Set-Cookie": f"{COOKIE}=; Max-Age=0"})
        elif role == "clinician" and self.path in MOVES:
            self.answer(303, "", Location=MOVES[self.path])
        else:
            self.answer(201 if role in ROLES.get(self.path, ()) else 403, "")

    def login(self, given: dict[str, str], key: str) -> None:
        if given.get("password") != PASSWORD:
            self.answer(200 if "soft login" in self.clinic.faults else 401, '<input type="password">')
            return
        if "lost login" in self.clinic.faults:
            self.answer(302, "", Location="/home")
            return
        new = key if "fixed" in self.clinic.faults else secrets.token_urlsafe(16)
        self.clinic.sessions[new] = (given["user"], self.clinic.clock.monotonic())
        if "kept" in self.clinic.faults:
            self.clinic.sessions[key] = self.clinic.sessions[new]
        if "adopted" in self.clinic.faults:
            self.answer(200, "Welcome")
            return
        self.answer(302, "", Location="/home", **{"Set-Cookie": f"{COOKIE}={new}{self.clinic.flags}"})

    def kept(self, given: dict[str, str]) -> dict[str, str]:
        new = secrets.token_urlsafe(16)
        self.clinic.sessions[new] = (given["user"], self.clinic.clock.monotonic())
        return {"Set-Cookie": f"{COOKIE}={new}{self.clinic.flags}"}

    def page(self, path: str, role: str, key: str) -> None:
        if "open" in self.clinic.faults or role in ROLES[path]:
            self.answer(200, f'<meta name="csrf-token" content="{token(key)}">Welcome')
        elif not role:
            self.answer(302, "", Location=f"/auth?next={path}")
        elif "soft" in self.clinic.faults:
            self.answer(200, "Access denied")
        else:
            if "dropped" in self.clinic.faults:
                self.clinic.sessions.pop(key, None)
            self.answer(403, "no")

    def who(self) -> tuple[str, str]:
        self.clinic.seen.append(f"{self.command} {self.path}")
        if self.headers.get("Authorization") == f"Bearer {PASSWORD}":
            return "", "clinician"
        morsel = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        key = morsel.value if morsel else ""
        return key, self.clinic.role(key)

    def answer(self, status: int, body: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/html", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""
