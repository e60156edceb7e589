"""5.3: the application writes its log, and personal data does not get into it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import requests

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from pytest_releasegate.check import Context

SECONDS = 5.0
SLACK = timedelta(minutes=1)
LAST = 2000


def lines(context: Context) -> list[dict[str, Any]]:
    """The last lines of the application's log."""
    path = Path(context.resolve("${value:log}", secret=False))
    try:
        text = path.read_text(encoding="utf-8").splitlines()[-LAST:]
    except OSError as wrong:
        raise CannotLook(
            f"the log cannot be read: {wrong.strerror}: {path}", "see `log` in environments.yaml"
        ) from None
    return [json.loads(line) for line in text if line.strip()]


def arrived(context: Context, marks: set[str]) -> list[dict[str, Any]]:
    """The log, once the lines of these requests are in it, or the time is up."""
    deadline = context.clock.monotonic() + SECONDS
    while True:
        found = lines(context)
        if marks <= {line.get("request_id") for line in found} or context.clock.monotonic() > deadline:
            return found
        context.clock.sleep(0.1)


def ask(session: requests.Session, method: str, url: str, **rest: Any) -> tuple[str, str]:
    """Send a request under an id of its own; the id and the answer's body."""
    mark = f"rg-{uuid4().hex}"
    try:
        answer = session.request(method, url, headers={"X-Request-ID": mark}, timeout=10, **rest)
    except requests.RequestException as away:
        raise CannotLook(f"{url} cannot be asked: {type(away).__name__}", "is the service up?") from None
    return mark, answer.text


@pytest.mark.gate("5.3.1")
def test_logs_flow(base_url, gate_context, finding):
    """A request of ours is in the log within seconds, under its id and with the time at which it was sent."""
    sent = gate_context.clock.now()
    with requests.Session() as session:
        mark, _ = ask(session, "GET", f"{base_url}/version")
    found = arrived(gate_context, {mark})
    own = [line for line in found if line.get("request_id") == mark]
    finding("log lines looked at", expected=">= 1", actual=len(found), ok=bool(found))
    finding(f"lines of our request within {SECONDS:g}s", expected=">= 1", actual=len(own), ok=bool(own))
    for line in own[:1]:
        late = datetime.fromisoformat(line["ts"]) - sent
        finding("its time, after it was sent", expected=f"within {SLACK}", actual=late, ok=abs(late) <= SLACK)


@pytest.mark.gate("5.3.3")
def test_personal_data_is_redacted(base_url, gate_context, finding):
    """False personal data is sent through the login form; its lines are in the log, and none of it stands there."""
    gate_context.require_permission("writes_through_app", "sending false personal data")
    digits = f"{uuid4().int % 10**8:08}"
    canaries = {
        "e-mail address": f"rg{digits}@canary.example",
        "social security number": f"000-{digits[:2]}-{digits[2:6]}",
        "phone": f"555-01{digits[0]}-{digits[4:]}",
    }
    everything = " ".join(canaries.values())
    with requests.Session() as session:
        _, page = ask(session, "GET", f"{base_url}/auth")
        token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
        form = {"csrf_token": token, "email": everything, "password": digits}
        posted, _ = ask(session, "POST", f"{base_url}/auth", data=form)
        asked, _ = ask(session, "GET", f"{base_url}/auth", params={"canary": everything})
    found = arrived(gate_context, {posted, asked})
    own = [line for line in found if line.get("request_id") == posted and line["event"].startswith("login")]
    finding("log lines of our login", expected=">= 1", actual=len(own), ok=bool(own))
    for what, canary in canaries.items():
        bad = sum(canary in json.dumps(line) for line in found)
        finding(f"lines with the false {what}", expected=0, actual=bad, ok=bad == 0)
