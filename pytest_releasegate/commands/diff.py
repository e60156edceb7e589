"""`releasegate diff`: what differs between two releases of an environment: their plans, and where their gates stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.checklist.plan import differences
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import attempt, place, say
from pytest_releasegate.errors import ExitCode
from pytest_releasegate.report.reasons import word
from pytest_releasegate.report.view import view

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pytest_releasegate.report.view import ReleaseView

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("old", metavar="OLD", help="the earlier version, such as 1.3.0")
    parser.add_argument("new", metavar="NEW", nargs="?", default="", help="the later version; --release without it")
    parser.add_argument("--attempt", type=attempt, metavar="N", help="that attempt of OLD; the newest without it")
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Print it."""
    here = place(asked)
    now = asked.clock.now()
    old = view(here.store, here.release(asked.old, asked.attempt), now)
    new = view(here.store, here.release(asked.new), now)
    lines = [*_plans(old, new), *_statuses(old, new), *_phases(old, new)]
    say(f"{old.release.name} -> {new.release.name}", *(lines or ["no difference"]))
    return ExitCode.GO


def _plans(old: ReleaseView, new: ReleaseView) -> Iterator[str]:
    changes = differences(old.plan, new.plan)
    if changes:
        yield f"plan: {len(changes)} differences"
        yield from (f"  {line}" for line in changes)


def _statuses(old: ReleaseView, new: ReleaseView) -> Iterator[str]:
    both = [name for name in new.standings if name in old.standings]
    changed = [name for name in both if old.standings[name].status is not new.standings[name].status]
    if changed:
        yield f"gates: {len(changed)} of {len(both)} stand otherwise"
    for name in changed:
        before, after = old.standings[name], new.standings[name]
        yield f"  {name} {after.gate.title}: {word(before.status)} -> {word(after.status)}"


def _phases(old: ReleaseView, new: ReleaseView) -> Iterator[str]:
    for phase, verdict in new.phases.items():
        before = old.phases.get(phase)
        if before and before.decision is not verdict.decision:
            yield f"phase {phase}: {before.decision} -> {verdict.decision}"
