"""`releasegate rollback-sql`: the rollback script of the release, for the person who runs it; it runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_releasegate.checklist.loader import load
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode, UsageProblem

if TYPE_CHECKING:
    import argparse

    from pytest_releasegate.commands._place import Place

__all__ = ["arguments", "run"]

_KIND = "rollback_sql"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--gate", default="", metavar="ID", help="the gate that declares it, where several do")
    parser.add_argument("--output", default="", metavar="FILE", help="where to write it, such as rollback-1.4.0.sql")
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Print it, or write it."""
    here = place(asked)
    check = _declared(here, asked.gate)
    text = check.script(here.root, here.identity.product, here.identity.version).text()
    if not asked.output:
        say(text.rstrip("\n"))
        return ExitCode.GO
    try:
        Path(asked.output).write_text(text, encoding="utf-8")
    except OSError as wrong:
        raise UsageProblem(f"--output: cannot write {asked.output}: {wrong.strerror}") from None
    say(f"{asked.output}: written")
    return ExitCode.GO


def _declared(here: Place, wanted: str) -> Any:
    """The check of the gate that says what the script is."""
    known = {
        each.gate.id: each for each in load(here.root / "gates", here.root).declarations if each.gate.kind == _KIND
    }
    if not known:
        raise UsageProblem(f"no gate looks at a rollback script ({_KIND}: ...)", "declare its down files in a gate")
    if wanted and wanted not in known:
        raise UsageProblem(f"--gate: {wanted} is no such gate", f"there is {', '.join(known)}")
    if len(known) > 1 and not wanted:
        raise UsageProblem(f"several gates look at rollback scripts: {', '.join(known)}", "say which: --gate ID")
    return known[wanted or next(iter(known))].check
