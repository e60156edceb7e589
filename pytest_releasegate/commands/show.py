"""`releasegate show`: one gate, with every attempt, finding and piece of evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import as_of, places, say, use_color, width
from pytest_releasegate.errors import ExitCode, UsageProblem, nearest
from pytest_releasegate.lifecycle.fleet import each
from pytest_releasegate.report.terminal import gate_lines

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("gate", metavar="ID", help="the gate, such as 10.1.1")
    as_of(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Print it."""
    for seen in each(lambda here: here.view(asked), places(asked)):
        if asked.gate not in seen.standings:
            raise UsageProblem(f"the plan has no gate {asked.gate}", nearest(asked.gate, list(seen.standings)))
        say(*gate_lines(seen, asked.gate, width=width(), color=use_color()))
    return ExitCode.GO
