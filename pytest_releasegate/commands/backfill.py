"""`releasegate backfill`: watch a backfill, with rows done and left, rate and time left, until nothing is left."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pytest_releasegate.check import Context
from pytest_releasegate.checklist.loader import load
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode, UsageProblem
from pytest_releasegate.model import Release
from pytest_releasegate.params import parse_duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pytest_releasegate.check import Clock
    from pytest_releasegate.commands._place import Place

__all__ = ["arguments", "run"]

_KIND = "backfill"
_WIDTH = 30


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--gate", default="", metavar="ID", help="the gate that declares it, where several differ")
    parser.add_argument("--every", default="5s", metavar="SPAN", help="how long to wait between two looks")
    parser.add_argument("--once", action="store_true", help="look once")
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Print a line a look, on a terminal over the last one; exit 10 where rows are left."""
    here = place(asked)
    every = _span(asked.every)
    check = _declared(here, asked.gate)
    identity = here.identity
    release = Release(
        product=identity.product,
        version=identity.version,
        environment=identity.environment.name,
        opened_at=asked.clock.now(),
    )
    context = Context(identity.environment, release, here.root, clock=asked.clock)
    left = 0
    for left, line in _looks(check, context, asked.clock, every):
        _show(f"{check.table}{'.' + check.column if check.column else ''} {line}", over=left > 0 and not asked.once)
        if asked.once:
            break
    return ExitCode.HOLD if left else ExitCode.GO


def _looks(check: Any, context: Context, clock: Clock, every: timedelta) -> Iterator[tuple[int, str]]:
    """The rows left and a line about them, look by look, until none is left."""
    began, first = clock.monotonic(), None
    while True:
        now = check.count(context)
        first = now.rows if first is None else first
        passed = clock.monotonic() - began
        yield now.rows, _line(now.rows, now.of, (first - now.rows) / passed if passed > 0 else None)
        if not now.rows:
            return
        clock.sleep(every.total_seconds())


def _line(left: int, whole: int, pace: float | None) -> str:
    share = (whole - left) / whole if whole else 1.0
    bar = "#" * int(share * _WIDTH)
    text = f"[{bar:<{_WIDTH}}] {100 * share:5.1f}%  {whole - left} of {whole}, {left} left"
    if not left or pace is None:
        return text
    rest = f"{timedelta(seconds=round(left / pace))} left" if pace > 0 else "no row since the first look"
    return f"{text}, {pace * 60:.0f} a minute, {rest}"


def _show(line: str, *, over: bool) -> None:
    if over and sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{line}")
        sys.stdout.flush()
        return
    say(f"\r\x1b[K{line}" if sys.stdout.isatty() else line)


def _declared(here: Place, wanted: str) -> Any:
    """The check of the gate that says which rows are left."""
    known = {each.gate.id: each.check for each in load(here.root / "gates", here.root).declarations}
    fits: dict[str, Any] = {name: check for name, check in known.items() if getattr(check, "kind", "") == _KIND}
    if not fits:
        raise UsageProblem(f"no gate looks at a backfill ({_KIND}: ...)", "declare its table and column in a gate")
    if wanted and wanted not in fits:
        raise UsageProblem(f"--gate: {wanted} is no such gate", f"there is {', '.join(fits)}")
    same = {(each.database, each.table, each.column, each.todo, each.where) for each in fits.values()}
    if len(same) > 1 and not wanted:
        raise UsageProblem(f"several backfills are looked at: {', '.join(fits)}", "say which: --gate ID")
    return fits[wanted or next(iter(fits))]


def _span(text: str) -> timedelta:
    try:
        span = parse_duration(text)
    except ValueError as wrong:
        raise UsageProblem(f"--every: {wrong}") from None
    if span <= timedelta(0):
        raise UsageProblem("--every: expected a span above zero")
    return span
