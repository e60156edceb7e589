"""`releasegate replan`: freeze the plan anew after the gates have changed, with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.checklist.plan import differences
from pytest_releasegate.commands import _claiming as claiming
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode
from pytest_releasegate.lifecycle.changes import origin_of
from pytest_releasegate.lifecycle.opening import person

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--reason", required=True, help="why the plan changes")
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Show what changed, and freeze it."""
    claiming.said_why(asked.reason)
    here = place(asked)
    release, plan = here.release(), here.plan()
    changes = differences(here.store.plan(release.id), plan)
    if not changes:
        say("nothing has changed")
        return ExitCode.GO
    now = asked.clock.now()
    derived, notes = origin_of(here.root, plan).derived(here.store, release)
    here.store.replan(release.id, plan, at=now, person=person(here.root), reason=asked.reason, derived=derived)
    here.note(release, now, "plan_change", asked.reason)
    say(*changes, *notes, f"{release.name}: plan frozen anew, {len(plan.gates)} gates, digest {plan.digest[:12]}")
    return ExitCode.GO
