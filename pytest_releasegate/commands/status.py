"""`releasegate status`: where the release stands, from the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import as_of, place, say, use_color, width
from pytest_releasegate.errors import ExitCode
from pytest_releasegate.model import Phase
from pytest_releasegate.report.terminal import status_lines

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-v", "--verbose", action="store_true", help="every gate with its findings")
    parser.add_argument(
        "--phase", action="append", default=[], choices=list(Phase), help="with --exit-code: only these"
    )
    parser.add_argument("--exit-code", action="store_true", help="end with the code of the worst phase")
    as_of(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Print it."""
    here = place(asked)
    seen = here.view(asked)
    say(*status_lines(seen, width=width(), color=use_color(), verbose=asked.verbose))
    if not asked.exit_code:
        return ExitCode.GO
    chosen = [verdict for phase, verdict in seen.phases.items() if phase in (asked.phase or seen.phases)]
    return max(chosen, key=lambda verdict: verdict.decision.rank).exit_code if chosen else ExitCode.HOLD
