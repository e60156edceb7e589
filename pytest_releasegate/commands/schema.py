"""`releasegate schema`: the JSON Schema of gate files, for editors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.editors import (
    environments_schema,
    gates_schema,
    policy_schema,
    stakeholders_schema,
)
from pytest_releasegate.commands._place import say
from pytest_releasegate.errors import ExitCode

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]

_OTHERS = {"environments": environments_schema, "policy": policy_schema, "stakeholders": stakeholders_schema}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    which = parser.add_mutually_exclusive_group()
    for name in _OTHERS:
        which.add_argument(f"--{name}", action="store_true", help=f"that of {name}.yaml instead")


def run(asked: argparse.Namespace) -> ExitCode:
    """Print it."""
    found = next((schema for name, schema in _OTHERS.items() if getattr(asked, name)), gates_schema)()
    say(json.dumps(found, indent=2, ensure_ascii=False))
    return ExitCode.GO
