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

    def keep(self, name: str, media_type: str, body: bytes, *, needed: bool = False) -> None:
        """Attach it where there is room; `needed` is what tells why a gate failed."""
        times = 2 if needed else 1
        attached = self._context.attached
        if len(attached) >= MOST_PIECES * times:
            self.leave_out(name, f"there are {len(attached)} pieces already")
        elif sum(evidence.size for evidence, _ in attached) + len(body) > MOST_BYTES * times:
            self.leave_out(name, f"its {len(body)} bytes would be more than {MOST_BYTES} in all")
        else:
            self._context.attach(name, media_type, body)

    def leave_out(self, name: str, why: str) -> None:
        """Say of something that it could not be kept."""
        self._left_out.append(f"{name}: {why}")

    def findings(self) -> Iterator[Finding]:
        """What was left out, once; it judges nothing."""
        if self._left_out:
            actual = f"{len(self._left_out)}: {self._left_out[0]}"
            yield find("evidence left out", expected="0", actual=actual, ok=False, observe=True)
            self._left_out.clear()
