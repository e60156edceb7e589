"""`sequences`: none runs out soon, and none gives a value that is taken."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, Threshold
from pytest_releasegate.sources.pgsequences import furthest, sequences
from pytest_releasegate.sources.pgtables import aligned
from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.pgsequences import Column, Counter

__all__ = ["Sequences"]


class Sequences(Parameters):
    """How far each sequence is, by its own end and by its columns' types; the denominator is the sequences looked at.

    ```yaml
    sequences:
      database: app
      used: "<= 70%"
      least: 5
    ```
    """

    kind: ClassVar[str] = "sequences"
    shorthand: ClassVar[str] = "database"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    schemas: list[str] = Field(default_factory=list)
    """The schemas whose sequences are looked at; by default all that users made."""
    exclude: list[str] = Field(default_factory=list)
    """Patterns of sequences to leave out, such as `staging.*`."""
    used: Threshold = Threshold.parse("<= 80%")
    """How large a share of its values may be gone; a column that is too narrow ends a sequence early."""
    left: Threshold | None = None
    """How many values there must still be, such as `>= 1000000`."""
    behind: bool = Field(default=True, strict=True)
    """Whether the columns are read for values that a sequence has yet to give: fast where they are indexed."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many sequences there must be at least."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Read the sequences, and the ends of their columns."""
        with connect(context, self.database) as connection:
            found = sequences(connection, context, self.schemas)
            chosen = [counter for counter in found if not any(_matches(counter, pattern) for pattern in self.exclude)]
            seen = [counter for counter in chosen if counter.readable]
            asked = [(c, column) for c in seen for column in c.columns if column.whole and self.behind]
            ahead = furthest(connection, context, asked)
        if chosen:
            context.attach("sequences.txt", "text/plain", _evidence(chosen))
        wanted = self._wanted()
        good = 0
        for counter in chosen:
            late = (_behind(*each) for each in ahead if each[0] is counter)
            faults = [*self._faults(counter), *late]
            if not counter.readable:
                hint = f"cannot be read; grant select on sequence {counter.label} to the role that looks"
                yield find(str(counter), expected=wanted, actual=hint, ok=Ok.CANNOT_TELL)
            elif faults:
                yield find(str(counter), expected=wanted, actual="; ".join(faults), ok=False)
            else:
                good += 1
        if good:
            yield find("sequences in order", expected=wanted, actual=f"{good} of {len(chosen)}", ok=True)
        yield counted("sequences", len(seen), self.least)

    def _wanted(self) -> str:
        left = f", {self.left} left" if self.left else ""
        return f"{self.used} used{left}{', ahead of its columns' if self.behind else ''}"

    def _faults(self, counter: Counter) -> Iterator[str]:
        """What is wrong with it, from the catalogue alone."""
        if counter.cycles:
            if keys := [str(column) for column in counter.columns if column.unique]:
                yield f"begins anew at its end, and {', '.join(keys)} may hold no value twice"
            return
        if not self.used.holds(counter.used) or (self.left and not self.left.holds(counter.left)):
            narrow = counter.narrowest
            end = f"{counter.end}, the end of {narrow} ({narrow.type})" if narrow else f"its end, {counter.end}"
            yield f"{100 * counter.used:.2f}% used, {counter.left} left before {end}"


def _behind(counter: Counter, column: Column, value: int) -> str:
    mend = f"select setval('{counter.sql}', {value})"
    return f"gives {counter.next} next, while {column} already goes to {value} ({mend})"


def _matches(counter: Counter, pattern: str) -> bool:
    return fnmatchcase(counter.label, pattern) or fnmatchcase(counter.name, pattern)


def _evidence(chosen: Sequence[Counter]) -> bytes:
    heads = ("sequence", "fills", "next", "end", "used", "left")
    rows = (
        (c.label, ", ".join(map(str, c.columns)) or "-", c.next, c.end, f"{100 * c.used:.2f}%", c.left) for c in chosen
    )
    return aligned(heads, rows)
