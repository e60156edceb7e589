"""`releasegate gates`: the plan as it is declared now, and how each gate is verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.checklist.conditions import parse
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say, use_color, width
from pytest_releasegate.errors import ExitCode, UsageProblem
from pytest_releasegate.report.listing import coverage, plan_lines

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    text = "only the gates with these markers, such as 'deploy and not smoke'"
    parser.add_argument("-m", dest="expression", default="", metavar="MARKERS", help=text)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Print them."""
    gates = place(asked).plan().gates
    if asked.expression:
        try:
            wanted = parse(asked.expression)
        except ValueError as wrong:
            raise UsageProblem(f"-m: {wrong}", "such as -m predeploy, or -m 'deploy and not smoke'") from None
        gates = tuple(row for row in gates if wanted.holds(row.gate.markers.__contains__))
    if not gates:
        raise UsageProblem(f"no gate has the markers {asked.expression}", "releasegate gates lists all")
    say(*plan_lines(gates, columns=width(), color=use_color()), "", coverage(gates))
    return ExitCode.GO
