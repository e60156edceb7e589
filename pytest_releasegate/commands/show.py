"""`releasegate show`: one gate, with every attempt, finding and piece of evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say, use_color, width
from pytest_releasegate.errors import ExitCode, UsageProblem, nearest
from pytest_releasegate.report.terminal import gate_lines
from pytest_releasegate.report.view import view

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("gate", metavar="ID", help="the gate, such as 10.1.1")
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Print it."""
    here = place(asked)
    seen = view(here.store, here.release(), asked.clock.now())
    if asked.gate not in seen.standings:
        raise UsageProblem(f"the plan has no gate {asked.gate}", nearest(asked.gate, list(seen.standings)))
    say(*gate_lines(seen, asked.gate, width=width(), color=use_color()))
    return ExitCode.GO
