"""5.3: the application writes its log, and personal data does not get into it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

FRESH = timedelta(minutes=5)


def lines(path: str) -> list[dict[str, Any]]:
    """The last lines of the application's log."""
    text = Path(path).read_text(encoding="utf-8").splitlines()[-2000:]
    return [json.loads(line) for line in text if line.strip()]


@pytest.mark.gate("5.3.1")
def test_logs_flow(base_url, gate_context, finding):
    """A request is in the log within seconds, and nothing in the log is older than it says."""
    answer = requests.get(f"{base_url}/version", timeout=10)
    found = lines(gate_context.resolve("${value:log}", secret=False))
    finding("log lines looked at", expected=">= 1", actual=len(found), ok=bool(found))
    newest = max(datetime.fromisoformat(line["ts"]) for line in found)
    age = datetime.now(UTC) - newest
    assert answer.ok
    finding("age of the newest line", expected=f"<= {FRESH}", actual=age, ok=age <= FRESH)


@pytest.mark.gate("5.3.3")
def test_personal_data_is_redacted(base_url, gate_context, finding):
    """False personal data is sent through the login form; none of it may stand in the log afterwards."""
    digits = f"{uuid4().int % 10**8:08}"
    canaries = {
        "e-mail address": f"rg{digits}@canary.example",
        "social security number": f"000-{digits[:2]}-{digits[2:6]}",
        "phone": f"555-01{digits[0]}-{digits[4:]}",
    }
    with requests.Session() as session:
        page = session.get(f"{base_url}/auth", timeout=10).text
        token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
        everything = " ".join(canaries.values())
        session.post(
            f"{base_url}/auth", data={"csrf_token": token, "email": everything, "password": digits}, timeout=10
        )
        session.get(f"{base_url}/auth", params={"canary": everything}, timeout=10)
    found = lines(gate_context.resolve("${value:log}", secret=False))
    logins = [line for line in found if line["event"].startswith("login")]
    finding("log lines of logins", expected=">= 1", actual=len(logins), ok=bool(logins))
    for what, canary in canaries.items():
        bad = sum(canary in json.dumps(line) for line in found)
        finding(f"lines with the false {what}", expected=0, actual=bad, ok=bad == 0)
