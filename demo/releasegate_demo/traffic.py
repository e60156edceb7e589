"""Bounded synthetic visitors, so that metrics and logs have something in them."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests

    from releasegate_demo.info import DemoInfo

PAGES = ("/dashboard", "/clients", "/notes", "/schedule", "/messages", "/payments")
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the visitors saw."""

    requests: int
    """Requests sent."""
    failures: int
    """Those answered with 400 or above, or not at all."""
    seconds: float
    """How long it took."""


class _Schedule:
    """Hands out the moments at which a request is due, the same rate whatever the answers take."""

    def __init__(self, seconds: float, rps: float, over: threading.Event) -> None:
        self.start = time.monotonic()
        self._over = over
        self._limit = int(seconds * rps)
        self._rps = rps
        self._next = 0
        self._lock = threading.Lock()
        self.failures = 0

    @property
    def sent(self) -> int:
        return self._next

    def take(self) -> int | None:
        with self._lock:
            if self._next >= self._limit or self._over.is_set():
                return None
            number = self._next
            self._next += 1
        self._over.wait(max(0.0, self.start + number / self._rps - time.monotonic()))
        return number

    def failed(self) -> None:
        with self._lock:
            self.failures += 1


def run(
    info: DemoInfo, seconds: float, rps: float = 10.0, visitors: int = 4, over: threading.Event | None = None
) -> Traffic:
    """Send `seconds * rps` requests from that many threads, logged in as the clinician; return what they saw.

    `over` ends it early.
    """
    if seconds <= 0 or rps <= 0 or visitors < 1:
        raise ValueError(f"expected seconds, rps and visitors above zero, got {seconds}, {rps}, {visitors}")
    schedule = _Schedule(seconds, rps, over or threading.Event())
    threads = [threading.Thread(target=_visit, args=(info, schedule), daemon=True) for _ in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Traffic(schedule.sent, schedule.failures, time.monotonic() - schedule.start)


def _visit(info: DemoInfo, schedule: _Schedule) -> None:
    import requests

    with requests.Session() as session:
        session.trust_env = False
        inside = False
        while (number := schedule.take()) is not None:
            try:
                if inside or number % 10 == 9:
                    page = PAGES[number % len(PAGES)] if inside else "/healthz"
                    ok = session.get(info.base_url + page, timeout=TIMEOUT_SECONDS).status_code < 400
                else:
                    ok = inside = login(session, info.base_url, "/auth", info.credentials()["clinician"])
            except requests.RequestException:
                ok = False
            if not ok:
                schedule.failed()


def login(session: requests.Session, base: str, path: str, account: dict[str, str]) -> bool:
    """Log in through the form at `path`; tell whether it let the account in."""
    form = session.get(base + path, timeout=TIMEOUT_SECONDS)
    token = TOKEN.search(form.text)
    data = {**account, "csrf_token": token.group(1) if token else ""}
    answer = session.post(base + path, data=data, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    return answer.status_code == 302
