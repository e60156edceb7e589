"""The `releasegate` command: one file a subcommand in `commands/`, found by its name."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from importlib.metadata import version
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from pytest_releasegate import commands
from pytest_releasegate.errors import CannotLook, ExitCode, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_releasegate.check import Clock

__all__ = ["build_parser", "entry_point", "main"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # argparse exits with 2, which is pytest's own
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser with every subcommand."""
    parser = _Parser(prog="releasegate", description="The record of a release: open it, add to it, read it.")
    parser.add_argument("--version", action="version", version=f"releasegate {version('pytest-releasegate')}")
    parser.add_argument("--root", default="", metavar="FOLDER", help="the folder that holds gates/")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for module in iter_modules(commands.__path__):
        command = import_module(f"{commands.__name__}.{module.name}")
        if hasattr(command, "run"):
            name = module.name.rstrip("_").replace("_", "-")  # `import` is a word of Python's own
            sub = subparsers.add_parser(name, help=_summary(command.__doc__), description=_summary(command.__doc__))
            command.arguments(sub)
            sub.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str] | None = None, clock: Clock | None = None) -> int:
    """Run one command; a user's mistake is told in sentences and ends with exit code 4."""
    from pytest_releasegate.check import SystemClock

    parsed = build_parser().parse_args(arguments)
    parsed.clock = clock or SystemClock()
    try:
        return int(parsed.run(parsed))
    except (UsageProblem, CannotLook) as wrong:
        sys.stderr.write(f"releasegate {parsed.command}: {wrong}\n")
        return ExitCode.USAGE
    except BrokenPipeError:
        sys.stderr.close()
        return ExitCode.GO
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return ExitCode.INTERRUPTED


def entry_point() -> None:
    """What the console script calls."""
    sys.exit(main())


def _summary(doc: str | None) -> str:
    text = (doc or "").strip().split("\n\n")[0].replace("\n", " ")
    return text.partition(": ")[2].rstrip(".") or text


if __name__ == "__main__":
    entry_point()
