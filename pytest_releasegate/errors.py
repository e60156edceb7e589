"""Problems that stop a run, and every exit code in one place."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_releasegate.model import Place

__all__ = ["BrokenPlan", "CannotLook", "ExitCode", "Problem", "RecordError", "UsageProblem", "nearest"]


class ExitCode(IntEnum):
    """What the process ends with; the numbers are a public contract and unique."""

    GO = 0
    """Every gate of the scope holds."""
    NO_GO = 1
    """A critical or high gate failed; also pytest's own code for failed tests that are no gates."""
    INTERRUPTED = 2
    """Stopped by a person (pytest's own code)."""
    INTERNAL_ERROR = 3
    """A defect of pytest, of a plugin or of this one (pytest's own code)."""
    USAGE = 4
    """Broken gate files or a wrong call: nothing was executed."""
    HOLD = 10
    """Someone must act: something is missing, pending, inconclusive or could not be looked at."""
    ROLLBACK = 11
    """A rollback trigger fired."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in what the user wrote: where, what was expected and got, and what to do."""

    place: Place | None
    what: str
    hint: str = ""

    def lines(self) -> list[str]:
        """The problem as terminal lines: `file:line:column: what`, then the indented hint."""
        head = f"{self.place}: {self.what}" if self.place else self.what
        return [head, *(f"    {line}" for line in self.hint.splitlines())]


class UsageProblem(Exception):
    """A user's mistake that stops before anything is executed (exit code 4)."""

    def __init__(self, what: str, hint: str = "") -> None:
        self.problems: list[Problem] = [Problem(None, what, hint)]
        super().__init__("\n".join(line for problem in self.problems for line in problem.lines()))


class BrokenPlan(UsageProblem):
    """Gate files with mistakes; carries all of them, in the order of their places."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        Exception.__init__(self)
        self.problems = sorted(problems, key=_by_place)

    def __str__(self) -> str:
        return "\n".join(line for problem in self.problems for line in problem.lines())


class CannotLook(Exception):
    """A check could not look (unreachable, refused, unset reference): the gate's status is `error`."""

    def __init__(self, what: str, hint: str = "") -> None:
        self.what = what
        self.hint = hint
        super().__init__(f"{what}\n    {hint}" if hint else what)


class RecordError(UsageProblem):
    """The record cannot be opened, read or written."""


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint naming the nearest known word, and all of them."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    start = f"did you mean '{close[0]}'? " if close else ""
    return f"{start}known: {', '.join(sorted(known)) or 'none'}"


def _by_place(problem: Problem) -> tuple[str, int, int]:
    place = problem.place
    return (place.file, place.line, place.column) if place else ("", 0, 0)
