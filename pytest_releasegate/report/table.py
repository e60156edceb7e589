"""The table of gates by item for a terminal, aligned within its width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.model import Ok, Status
from pytest_releasegate.report.reasons import TROUBLE, absent, by_item, tally, untouched, word
from pytest_releasegate.report.text import cut, fill, one_line, width, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_releasegate.model import Finding, Item, Result
    from pytest_releasegate.report.text import Paint
    from pytest_releasegate.verdict import Standing

__all__ = ["STATUS_STYLE", "Table", "finding_line"]

STATUS_STYLE = {
    Status.PASSED: "good",
    Status.ATTESTED: "good",
    Status.FAILED: "bad",
    Status.ERROR: "bad",
    Status.INCONCLUSIVE: "open",
    Status.MISSING: "open",
    Status.PENDING: "open",
    Status.WAIVED: "waived",
    Status.NOT_DUE: "dim",
    Status.NOT_APPLICABLE: "dim",
}
_MOST_LINES = 3
_SECONDS = 6
_MARKS = {Ok.YES: "ok", Ok.NO: "not ok", Ok.CANNOT_TELL: "cannot tell"}


def finding_line(finding: Finding) -> str:
    """A finding as `ok: rows: expected 3, got 3`; an observed one says so."""
    mark = "observed" if finding.observe else _MARKS[finding.ok]
    return one_line(f"{mark}: {finding}")


@dataclass
class Table:
    """Gates in the order of the plan, in a terminal of `columns` columns; `seconds` tells a gate's last column."""

    rows: Sequence[Standing]
    columns: int
    paint: Paint
    seconds: Callable[[Standing], str]

    def __post_init__(self) -> None:
        self._items = by_item(self.rows)
        self._states = _widest(word(row.status) for row in self.rows)
        self._ids = _widest(one_line(row.gate.id) for row in self.rows)
        self._item_ids = _widest(one_line(item.id) for item, _ in self._items)
        tallies = min(_widest(tally(rows) for _, rows in self._items), self.columns // 2)
        room = self.columns - self._item_ids - tallies - 5
        self._item_titles = min(_widest(one_line(item.title) for item, _ in self._items), room)
        room = self.columns - self._states - self._ids - _SECONDS - 8
        self._titles = min(_widest(map(_title, self.rows)), room)

    def lines(self, *, verbose: bool) -> Iterator[str]:
        """One line for an item that holds or that nobody looked at; items with trouble, or all, with their gates."""
        for item, rows in self._items:
            yield self._item(item, rows)
            if verbose or (any(row.status in TROUBLE for row in rows) and not untouched(rows)):
                for row in rows:
                    yield from self._gate(row, verbose=verbose)

    def _item(self, item: Item, rows: list[Standing]) -> str:
        style = "" if any(row.status in TROUBLE for row in rows) else "good"
        counts = cut(tally(rows), self.columns - self._item_ids - self._item_titles - 5)
        start = f"{fill(one_line(item.id), self._item_ids)}  {fill(one_line(item.title), self._item_titles)}"
        return f"{start}   {self.paint(counts, style)}"

    def _gate(self, row: Standing, *, verbose: bool) -> Iterator[str]:
        status = self.paint(f"{word(row.status):<{self._states}}", STATUS_STYLE[row.status])
        start = f"  {status}  {fill(one_line(row.gate.id), self._ids)}  {fill(_title(row), self._titles)}"
        yield f"{start}  {self.seconds(row):>{_SECONDS}}"
        indent = " " * (self._states + self._ids + 6)
        for line in self._details(row, self.columns - len(indent), verbose=verbose):
            yield indent + line

    def _details(self, row: Standing, room: int, *, verbose: bool) -> Iterator[str]:
        if row.reason and row.status is not Status.PASSED and not (verbose and _told(row)):
            lines = wrap(one_line(row.reason), room)
            extra = not verbose and len(lines) > _MOST_LINES
            yield from [*lines[: _MOST_LINES - 1], cut(f"{lines[_MOST_LINES - 1]} …", room)] if extra else lines
        if verbose:
            for result in row.results:
                yield from self._result(result, room)
            for case in absent(row):
                yield from wrap(one_line(f"case {case}: missing"), room)

    @staticmethod
    def _result(result: Result, room: int) -> Iterator[str]:
        if result.case:
            yield from wrap(one_line(f"case {result.case}: {word(result.status)}"), room)
        for finding in result.findings:
            yield from wrap(finding_line(finding), room)


def _title(row: Standing) -> str:
    return one_line(row.gate.title) + (" (observed)" if row.gate.observe else "")


def _widest(texts: Iterable[str]) -> int:
    return max(map(width, texts), default=0)


def _told(row: Standing) -> bool:
    """Whether the reason is a finding, which verbose output shows anyway."""
    return any(row.reason.startswith(str(finding)) for result in row.results for finding in result.findings)
