"""`releasegate report`: the release as one self-contained page, for sign-off and for later."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import as_of, place, say
from pytest_releasegate.errors import ExitCode, UsageProblem

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--format", default="html", choices=["html", "json"], help="html without it")
    parser.add_argument("--output", default="", metavar="FILE", help=".releasegate/report.html without it; - prints it")
    as_of(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Write it."""
    renderer = import_module(f"pytest_releasegate.report.{asked.format}")
    here = place(asked)
    text = renderer.render(here.view(asked))
    if asked.output == "-":
        say(text)
        return ExitCode.GO
    path = Path(asked.output) if asked.output else here.root / ".releasegate" / f"report.{asked.format}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as wrong:
        raise UsageProblem(f"--output: cannot write {path}: {wrong.strerror}") from None
    say(str(path))
    return ExitCode.GO
