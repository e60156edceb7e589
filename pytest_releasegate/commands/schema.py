"""`releasegate schema`: the JSON Schema of gate files, for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.editors import (
    environments_schema,
    gates_schema,
    policy_schema,
    stakeholders_schema,
)
from pytest_releasegate.commands._place import say
from pytest_releasegate.errors import ExitCode, UsageProblem

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]

_OTHERS = {"environments": environments_schema, "policy": policy_schema, "stakeholders": stakeholders_schema}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    which = parser.add_mutually_exclusive_group()
    for name in _OTHERS:
        which.add_argument(f"--{name}", action="store_true", help=f"that of {name}.yaml instead")
    parser.add_argument("--output", default="", metavar="FILE", help="where to write it, such as gates/.schema.json")


def run(asked: argparse.Namespace) -> ExitCode:
    """Print it, or write it."""
    found = next((schema for name, schema in _OTHERS.items() if getattr(asked, name)), gates_schema)()
    text = json.dumps(found, indent=2, ensure_ascii=False)
    if not asked.output:
        say(text)
        return ExitCode.GO
    try:
        Path(asked.output).write_text(text + "\n", encoding="utf-8")
    except OSError as wrong:
        raise UsageProblem(f"--output: cannot write {asked.output}: {wrong.strerror}") from None
    say(f"{asked.output}: written")
    return ExitCode.GO
