"""What `attest --file` and `waive --file` share: a file's text, its entries as claims, and what became of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pytest_releasegate.commands import _claiming as claiming
from pytest_releasegate.commands._place import say
from pytest_releasegate.errors import BrokenPlan, Problem, UsageProblem
from pytest_releasegate.report.view import view
from pytest_releasegate.verdict import HOLDS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    from pytest_releasegate.commands._place import Place
    from pytest_releasegate.model import Place as FilePlace
    from pytest_releasegate.model import Plan, Release

__all__ = ["alone", "collected", "record", "text_of"]

_LARGEST = 20 * 1024 * 1024


class _Entry(Protocol):
    @property
    def place(self) -> FilePlace: ...


Entry = TypeVar("Entry", bound=_Entry)


def alone(asked: argparse.Namespace, *others: str) -> None:
    """Raise `UsageProblem` where words stand beside `--file` that the file says itself."""
    given = [name for name in others if getattr(asked, name)]
    if given:
        raise UsageProblem(f"--file says it for many gates, and '{given[0]}' for one", "give the one or the other")


def text_of(name: str) -> str:
    """The text of a file; raises `UsageProblem` where it has none."""
    path = Path(name)
    if path.suffix.lower() in {".xlsx", ".xls"}:
        raise UsageProblem(f"--file: {name} is a workbook", "save it as CSV, or as the tool's JSON or YAML")
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageProblem(f"--file: {name} is larger than {_LARGEST // 1024 // 1024} MiB")
        return path.read_text(encoding="utf-8-sig")
    except OSError as wrong:
        raise UsageProblem(f"--file: cannot read {name}: {wrong.strerror}") from None
    except UnicodeDecodeError as wrong:
        raise UsageProblem(f"--file: {name} is not UTF-8 text: byte {wrong.start}") from None


def collected(entries: Iterable[Entry], build: Callable[[Entry], tuple[Any, bytes | None]]) -> list[claiming.Told]:
    """A claim for each entry; raises `BrokenPlan` with every entry that can be none, in its place."""
    made, problems = [], []
    for entry in entries:
        try:
            made.append(claiming.Told(*build(entry), entry.place))
        except UsageProblem as wrong:
            problems += [Problem(entry.place, each.what, each.hint) for each in wrong.problems]
    if problems:
        raise BrokenPlan(problems)
    return made


def record(
    asked: argparse.Namespace,
    here: Place,
    release: Release,
    plan: Plan,
    said: Sequence[claiming.Told],
    odd: Sequence[Problem],
) -> None:
    """Add them to the record, all or none, and say where their gates stand now, each by name that does not hold."""
    claiming.record_all(asked, here, release, plan, said)
    standings = view(here.store, release, asked.clock.now()).standings
    rows = [standings[name] for name in dict.fromkeys(getattr(each.claim, "gate", "") for each in said)]
    counts = Counter(row.status.value.replace("_", " ") for row in rows)
    tally = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    say(*(line for problem in odd for line in problem.lines()))
    say(f"{release.name}: {len(said)} of {asked.file}; their {len(rows)} gates: {tally}")
    say(*(f"  {row.gate.id} {row.gate.title}: {row.status}, {row.reason}" for row in rows if row.status not in HOLDS))
