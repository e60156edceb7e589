"""`releasegate schema`: the JSON Schema of gate files, for editors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.editors import environments_schema, gates_schema
from pytest_releasegate.commands._place import say
from pytest_releasegate.errors import ExitCode

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--environments", action="store_true", help="that of environments.yaml instead")


def run(asked: argparse.Namespace) -> ExitCode:
    """Print it."""
    found = environments_schema() if asked.environments else gates_schema()
    say(json.dumps(found, indent=2, ensure_ascii=False))
    return ExitCode.GO
