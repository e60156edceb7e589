"""What became of the rows of tables: each table's number before and after, held against what was expected of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.sources.pgestimates import NEVER
from pytest_releasegate.sources.pgtables import aligned

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.rowchange import Change

__all__ = ["Diff", "expectations"]

_CONTENT = {Ok.YES: "same", Ok.NO: "DIFFERS", Ok.CANNOT_TELL: "?"}


@dataclass(frozen=True, slots=True)
class Diff:
    """Numbers of rows by table on two sides, and what is known of their content."""

    before: Mapping[str, int | None]
    after: Mapping[str, int | None]
    """By table; None is an estimate that could not be made."""
    expected: Mapping[str, Change]
    default: Change
    estimated: Collection[str] = ()
    """The tables of whose numbers one at least is an estimate."""
    contents: Mapping[str, tuple[Ok, str]] = field(default_factory=dict)
    sides: tuple[str, str] = ("before", "after")

    @property
    def labels(self) -> list[str]:
        """All tables of either side, and those that are expected to be there."""
        return sorted({*self.before, *self.after, *self.expected})

    def change(self, label: str) -> Change:
        """What is expected of a table."""
        return self.expected.get(label, self.default)

    def findings(self, least: int) -> Iterator[Finding]:
        """A finding for each table that was named or did otherwise, one for all others, and the denominators."""
        oks = {label: self._ok(label) for label in self.labels}
        quiet = [label for label, ok in oks.items() if ok is Ok.YES and self._is_plain(label)]
        for label, ok in oks.items():
            if label not in quiet:
                yield find(f"rows of {label}", expected=self._wanted(label), actual=self._actual(label), ok=ok)
        if quiet:
            rows = sum(self.after[label] or 0 for label in quiet)
            actual = f"{self.default} ({len(quiet)} tables, {rows} rows{self._mark(*quiet)})"
            yield find("rows of the other tables", expected=self.default, actual=actual, ok=True)
        yield counted("tables", len(self.before.keys() & self.after.keys()), least)
        exact = sum(rows or 0 for label, rows in self.after.items() if label not in self.estimated)
        if exact or not self.estimated:
            yield counted("rows", exact)
        else:
            yield counted("rows (by estimate, none counted)", sum(rows or 0 for rows in self.after.values()))

    def _is_plain(self, label: str) -> bool:
        """Whether nothing is to be said of a table but that it did what all others did."""
        return label not in self.expected and "(not compared" not in self.contents.get(label, (Ok.YES, ""))[1]

    def table(self) -> bytes:
        """All tables as text."""
        heads = ("table", *self.sides, "delta", "expected", "content", "ok")
        shown = heads if self.contents else tuple(head for head in heads if head != "content")
        return aligned(shown, map(self._line, self.labels))

    def _line(self, label: str) -> tuple[object, ...]:
        old, new = self.before.get(label), self.after.get(label)
        about = "~" if label in self.estimated else ""
        delta = "" if old is None or new is None else f"{about}{new - old:+d}"
        numbers = ["-" if number is None else f"{about}{number}" for number in (old, new)]
        content = [_CONTENT[self.contents[label][0]] if label in self.contents else "-"] if self.contents else []
        ok = {Ok.YES: "yes", Ok.NO: "NO", Ok.CANNOT_TELL: "?"}[self._ok(label)]
        return (label, *numbers, delta, self.change(label), *content, ok)

    def _new(self, label: str) -> bool:
        return label not in self.before and label not in self.expected

    def _ok(self, label: str) -> Ok:
        if self._new(label):
            return Ok.NO
        change, before, after = self.change(label), self.before.get(label, 0), self.after.get(label, 0)
        if label in self.estimated and label in self.after and not change.word:
            known = label in self.before and before is not None and after is not None
            if change.about is None or not known:
                return Ok.CANNOT_TELL
        numbers = [rows or 0 if label in side else None for side, rows in ((self.before, before), (self.after, after))]
        if not change.holds(*numbers):
            return Ok.NO
        return self.contents[label][0] if label in self.contents else Ok.YES

    def _wanted(self, label: str) -> str:
        if self._new(label):
            return "no new table" if self.sides[0] == "before" else f"no table that {self.sides[0]} lacks"
        return self.change(label).explain(self.before.get(label))

    def _actual(self, label: str) -> str:
        first, second = self.sides
        where = {"before": "in the snapshot", "after": "now"}
        if label not in self.before and label not in self.after:
            return f"no such table, neither {where.get(first, f'in {first}')} nor {where.get(second, f'in {second}')}"
        before, after = self.before.get(label), self.after.get(label)
        if label not in self.after:
            gone = "the table is gone" if first == "before" else f"{second} has no such table"
            return f"{gone} ({before} rows {'before' if first == 'before' else f'in {first}'}{self._mark(label)})"
        if label not in self.before:
            return f"a new table of {after} rows{self._mark(label)}"
        return self._difference(label, before, after)

    def _difference(self, label: str, before: int | None, after: int | None) -> str:
        if before is None or after is None:
            return NEVER
        text = f"{after} ({after - before:+d})" if after != before else f"{after} (unchanged)"
        if label in self.estimated:
            told = "" if self.change(label).bears_estimates else ", which cannot answer this: count it exactly"
            text = f"about {text}, by estimate{told}"
        return f"{text}; {self.contents[label][1]}" if label in self.contents else text

    def _mark(self, *labels: str) -> str:
        return ", in part by estimate" if {*labels} & {*self.estimated} else ""


def expectations(expect: Mapping[str, Change], labels: Collection[str]) -> dict[str, Change]:
    """What is expected, by the tables' full labels; raises `CannotLook` when a name is that of several."""
    return {_label(name, labels): change for name, change in expect.items()}


def _label(name: str, labels: Collection[str]) -> str:
    found = [label for label in labels if label == name] or [
        label for label in labels if label.partition(".")[2] == name
    ]
    if len(found) > 1:
        raise CannotLook(f"`expect` names '{name}', which is in several schemas", f"write {' or '.join(sorted(found))}")
    return found[0] if found else name
