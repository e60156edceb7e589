"""Which keys differ between two streams of keys and hashes of rows, told by numbers and ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Keys", "walked"]

_SHOWN = 5
Row = tuple[int, ...]


@dataclass(slots=True)
class Keys:
    """How many keys differ, and the first runs of such keys where each is one integer."""

    differing: int = 0
    missing: int = 0
    extra: int = 0
    runs: list[list[int]] = field(default_factory=list)
    more: int = 0
    last: int | None = None

    def add(self, key: Row, *, before: bool, after: bool) -> None:
        """Note one key that one side lacks, or whose rows differ; keys come in their order."""
        self.differing += before and after
        self.missing += before and not after
        self.extra += after and not before
        if len(key) == 1:
            self._extend(key[0])

    def told(self, key: str, sides: tuple[str, str]) -> str:
        """The numbers and the first few runs in words."""
        only = ((self.missing, f"only in {sides[0]}"), (self.extra, f"only in {sides[1]}"))
        numbers = ((self.differing, "differing keys"), *only)
        text = ", ".join(f"{what}: {number}" for number, what in numbers if number)
        runs = [f"{low}..{high}" if low != high else f"{low}" for low, high in self.runs]
        more = f" and {self.more} more ranges" if self.more else ""
        return f"{text} ({key} {', '.join(runs)}{more})" if runs else text

    def _extend(self, key: int) -> None:
        follows = self.last is not None and self.last == key - 1
        self.last = key
        if not follows and len(self.runs) < _SHOWN:
            self.runs.append([key, key])
        elif not follows:
            self.more += 1
        elif not self.more:
            self.runs[-1][1] = key


def walked(before: Iterator[Row], after: Iterator[Row]) -> Keys:
    """Compare two streams that are in the order of their keys; the last number of a row is its hash."""
    found = Keys()
    first, second = next(before, None), next(after, None)
    while first or second:
        if first and (second is None or first[:-1] < second[:-1]):
            found.add(first[:-1], before=True, after=False)
            first = next(before, None)
        elif second and (first is None or second[:-1] < first[:-1]):
            found.add(second[:-1], before=False, after=True)
            second = next(after, None)
        elif first and second:
            if first[-1] != second[-1]:
                found.add(first[:-1], before=True, after=True)
            first, second = next(before, None), next(after, None)
    return found
