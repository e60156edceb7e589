"""`releasegate db-role`: the SQL that makes the role with which gates look into a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.checklist.loader import load
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import BrokenPlan, ExitCode, UsageProblem
from pytest_releasegate.sources.pgrole import role_script

if TYPE_CHECKING:
    import argparse

    from pytest_releasegate.commands._place import Place

__all__ = ["arguments", "run"]

_NAME = "releasegate_probe"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--name", default=_NAME, help=f"what the role is called, by default {_NAME}")
    text = "a role that it may take on, to look as its users see (repeatable); by default those of the gates"
    parser.add_argument("--persona", action="append", default=[], metavar="ROLE", help=text)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Print it, to be read and run by an administrator."""
    here = place(asked)
    if not asked.name.strip() or not asked.name.isprintable():
        raise UsageProblem(f"--name: expected the name of a role, got {asked.name!r}")
    personas = tuple(dict.fromkeys(asked.persona)) or _personas(here)
    say(role_script(asked.name, personas, here.identity.environment.connections))
    return ExitCode.GO


def _personas(here: Place) -> tuple[str, ...]:
    try:
        declared = load(here.root / "gates", here.root).declarations
    except BrokenPlan:
        return ()
    looks = (one.gate.parameters for one in declared if one.gate.kind == "rls")
    personas = {str(who["role"]) for look in looks for who in look["personas"].values()}
    return tuple(
        sorted(personas | {str(one.gate.parameters["as"]) for one in declared if one.gate.parameters.get("as")})
    )
