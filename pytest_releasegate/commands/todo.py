"""`releasegate todo`: what people still have to say on a release, each with the command that says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import as_of, place, say, use_color, width
from pytest_releasegate.errors import ExitCode, UsageProblem, nearest
from pytest_releasegate.model import ASKS_PEOPLE
from pytest_releasegate.report.listing import todo_lines

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--role", default="", help="only what this role must say, such as security_lead")
    as_of(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Print it."""
    here = place(asked)
    seen = here.view(asked)
    roles = {str(row.gate.parameters.get("role")) for row in seen.standings.values() if row.gate.kind in ASKS_PEOPLE}
    if asked.role and asked.role not in roles:
        raise UsageProblem(f"no gate of the plan asks a {asked.role}", nearest(asked.role, sorted(roles)))
    say(*todo_lines(seen, asked.role, columns=width(), color=use_color()))
    return ExitCode.GO
