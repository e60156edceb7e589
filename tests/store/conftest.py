"""Both dialects for every test of the record, and samples of the nouns."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pytest_releasegate.model import (
    Evidence,
    Finding,
    Gate,
    Item,
    Ok,
    Phase,
    Place,
    Plan,
    PlannedGate,
    Release,
    Result,
    Run,
    Severity,
    Status,
)
from pytest_releasegate.sources.pgserver import PostgresServer
from pytest_releasegate.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_releasegate.store import Store


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the session."""
    with PostgresServer() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a record that does not exist yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/record.db"
        return
    running: PostgresServer = request.getfixturevalue("server")
    yield running.dsn()
    with psycopg.connect(running.dsn(), autocommit=True) as admin:
        admin.execute("DROP SCHEMA IF EXISTS releasegate CASCADE")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty record in a file, to be copied: faster than to migrate for every test."""
    path = tmp_path_factory.mktemp("record") / "empty.db"
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def store(url: str, migrated: Path) -> Iterator[Store]:
    """An empty record."""
    if url.startswith("sqlite:"):
        shutil.copy(migrated, url.removeprefix("sqlite:///"))
    with open_store(url) as opened:
        yield opened


@dataclass
class Sample:
    """Builders of nouns."""

    at: datetime = field(default=datetime(2026, 1, 5, 9, 0, tzinfo=UTC))

    def gate(self, gate: str = "1.1", **changes: Any) -> Gate:
        """A gate with parameters of all types that YAML knows."""
        whole: dict[str, Any] = {
            "title": "Health endpoint",
            "item": Item("1", "Healthy"),
            "phase": Phase.DEPLOY,
            "step": "after",
            "severity": Severity.CRITICAL,
            "kind": "http",
            "parameters": {"url": "/healthz", "n": 3, "x": 1.5, "deep": {"list": [1, None, True, ["a"]]}},
            "topics": ("smoke", "fast"),
            "needs": ("1.0",),
            "valid_for": timedelta(days=1, microseconds=3),
            "due": timedelta(hours=48),
            "place": Place("gates/10.yaml", 14, 9),
        }
        return Gate(id=gate, **whole | changes)

    def plan(self, *gates: Gate, digest: str = "plan-1") -> Plan:
        """A plan of these gates."""
        planned = (PlannedGate(gate, f"digest of {gate.id}", ("", "chromium")) for gate in gates or (self.gate(),))
        return Plan(tuple(planned), digest)

    def release(self, **changes: Any) -> Release:
        """A release that is not yet recorded."""
        whole: dict[str, Any] = {"product": "shop", "version": "1.4.0", "environment": "prod", "opened_at": self.at}
        return Release(**whole | changes)

    def run(self, **changes: Any) -> Run:
        """A run on another host."""
        whole: dict[str, Any] = {"started_at": self.at, "expression": "deploy", "scope": ("1.1",), "host": "elsewhere"}
        return Run(**whole | {"pid": 4711} | changes)

    def result(self, number: int = 0, **changes: Any) -> Result:
        """A result; each number is another instant."""
        whole: dict[str, Any] = {
            "gate": "1.1",
            "status": Status.PASSED,
            "started_at": self.at + timedelta(seconds=number),
            "findings": (Finding("status", "200", "200", Ok.YES), Finding("x", "-", "7", Ok.CANNOT_TELL, True)),
            "seconds": 0.25,
            "gate_digest": "digest of 1.1",
        }
        return Result(**whole | changes)

    def evidence(self, body: bytes, name: str = "answer.txt") -> tuple[Evidence, dict[str, bytes]]:
        """Evidence and its bytes."""
        digest = sha256(body).hexdigest()
        return Evidence(name, "text/plain", digest, len(body)), {digest: body}

    def started(self, store: Store, **changes: Any) -> tuple[Release, int]:
        """A release in the record with a run of it."""
        opened = store.open_release(self.release(**changes), self.plan())
        return opened, store.start_run(opened.id, self.run())


@pytest.fixture
def sample() -> Sample:
    """Builders of nouns."""
    return Sample()
