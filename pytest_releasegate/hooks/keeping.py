"""How much evidence one gate may leave: many large pictures must not fill the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.check import find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["MOST_BYTES", "MOST_PIECES", "Keeper"]

MOST_PIECES = 100
MOST_BYTES = 32 * 1024 * 1024
"""Of all pieces together; what a failure left may take as much again."""


class Keeper:
    """Attaches evidence of one gate until there is too much of it, and tells what it left out."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._left_out: list[str] = []

    def room(self, size: int, *, needed: bool = False) -> bool:
        """Whether so many bytes more may be kept; `needed` are those that tell why a gate failed."""
        times = 2 if needed else 1
        held = sum(evidence.size for evidence, _ in self._context.attached)
        return len(self._context.attached) < MOST_PIECES * times and held + size <= MOST_BYTES * times

    def keep(self, name: str, media_type: str, body: bytes, *, needed: bool = False) -> None:
        """Attach it where there is room."""
        if self.room(len(body), needed=needed):
            self._context.attach(name, media_type, body)
        else:
            self.leave_out(name, f"{len(body)} bytes more would be too much")

    def leave_out(self, name: str, why: str) -> None:
        """Say of something that it could not be kept."""
        self._left_out.append(f"{name}: {why}")

    def findings(self) -> Iterator[Finding]:
        """What was left out, once; it judges nothing."""
        if self._left_out:
            actual = f"{len(self._left_out)}: {self._left_out[0]}"
            yield find("evidence left out", expected="0", actual=actual, ok=False, observe=True)
            self._left_out.clear()
