"""`releasegate verify`: whether the record is as it was written: no row changed, removed or slipped in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Check it."""
    here = place(asked)
    defects = here.store.verify()
    say(*(defects or [f"{here.store.shown_url}: intact"]))
    return ExitCode.NO_GO if defects else ExitCode.GO
