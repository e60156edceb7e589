"""`releasegate signoffs`: who must sign, who has signed, and which signatures are void."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import as_of, place, say, use_color, width
from pytest_releasegate.errors import ExitCode
from pytest_releasegate.report.listing import sign_off_lines

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    as_of(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Print them."""
    seen = place(asked).view(asked)
    say(*sign_off_lines(seen, columns=width(), color=use_color()))
    return ExitCode.GO
