"""`releasegate reopen`: look at a step anew, closed or not, with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode, UsageProblem
from pytest_releasegate.model import STEPS, Phase, StepEvent

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("step", metavar="PHASE[/STEP]", help="such as deploy/before")
    parser.add_argument("--reason", required=True, help="why")
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Reopen the step."""
    known = {f"{phase}/{step}": (phase, step) for phase, steps in STEPS.items() for step in steps}
    known |= {phase.value: (phase, "") for phase in Phase if phase not in STEPS}
    if asked.step not in known:
        raise UsageProblem(f"unknown step '{asked.step}'", f"known: {', '.join(known)}")
    here = place(asked)
    release = here.release()
    phase, step = known[asked.step]
    gates = [planned.gate for planned in here.store.plan(release.id).gates]
    inside = {gate.id: gate for gate in gates if (gate.phase, gate.step) == (phase, step)}
    begun = any(here.store.starts(release.id, gate) for gate in inside.values() if gate.writes)
    if not begun and not any(result.gate in inside for result in here.store.results(release.id)):
        raise UsageProblem(f"step {asked.step} of {release.name} has not begun", "pytest -m " + phase)
    event = StepEvent(phase=phase, step=step, event="reopened", at=asked.clock.now(), reason=asked.reason)
    here.store.add_step_event(release.id, event)
    here.note(release, event.at, "step_reopened", f"{asked.step}: {asked.reason}")
    say(f"{release.name}: step {asked.step} is open again")
    return ExitCode.GO
