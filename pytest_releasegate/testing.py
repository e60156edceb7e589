"""For authors of check kinds: run one check as the gate would, without pytest and without a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_releasegate.check import Context, Secrets, SystemClock
from pytest_releasegate.execution import look as _look
from pytest_releasegate.model import Environment, Kept, Release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_releasegate.check import Check, Clock, Which
    from pytest_releasegate.execution import Look

__all__ = ["FakeClock", "Remembered", "look"]


class FakeClock:
    """A clock that moves only when told to or when something sleeps on it."""

    def __init__(self, now: datetime = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)) -> None:
        self._now = now
        self._spent = 0.0

    def now(self) -> datetime:
        """The present instant of this clock."""
        return self._now + timedelta(seconds=self._spent)

    def monotonic(self) -> float:
        """Seconds slept so far."""
        return self._spent

    def sleep(self, seconds: float) -> None:
        """Move on by so many seconds without waiting."""
        self._spent += seconds


@dataclass
class Remembered:
    """A record in memory: values kept by this release and by the one before it, by name."""

    this: dict[str, Any] = field(default_factory=dict)
    previous: dict[str, Any] = field(default_factory=dict)

    def recorded(self, name: str, *, of: Which = "this") -> Kept | None:
        """The value kept under that name."""
        values = self.previous if of == "previous" else self.this
        if name not in values:
            return None
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return Kept(
            name=name, value=values[name], gate="0.0.0", version="1.3.0" if of == "previous" else "1.4.0", at=at
        )


def look(
    check: Check,
    environment: Environment | None = None,
    *,
    root: Path | None = None,
    clock: Clock | None = None,
    memory: Remembered | None = None,
    variables: Mapping[str, str] | None = None,
    release: Release | None = None,
    timeout: timedelta | None = None,
) -> Look:
    """Look once as execution does; `variables` stand for the process environment in references."""
    environment = environment or Environment(name="test")
    at = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    release = release or Release(product="demo", version="1.4.0", environment=environment.name, opened_at=at)
    context = Context(
        environment=environment,
        release=release,
        root=root or Path.cwd(),
        clock=clock or SystemClock(),
        memory=memory or Remembered(),
        secrets=Secrets(variables),
    )
    return _look(check, context, timeout=timeout)
