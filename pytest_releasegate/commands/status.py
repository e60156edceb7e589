"""`releasegate status`: where the release stands, from the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import as_of, places, say, use_color, width
from pytest_releasegate.errors import ExitCode
from pytest_releasegate.lifecycle.fleet import each
from pytest_releasegate.model import Decision, Phase
from pytest_releasegate.report.fleet import Word, fleet_lines
from pytest_releasegate.report.terminal import status_lines

if TYPE_CHECKING:
    import argparse

    from pytest_releasegate.report.view import ReleaseView

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
    found = each(lambda here: here.view(asked), places(asked))
    words = []
    for seen in found:
        lines = status_lines(seen, width=width(), color=use_color(), verbose=asked.verbose)
        say(*lines, *([""] if len(found) > 1 else []))
        words.append(_word(seen, asked.phase))
    if len(found) > 1:
        say(*fleet_lines(words, width=width(), color=use_color()))
    worst = max((word.decision for word in words), key=lambda decision: decision.rank)
    return ExitCode[worst.name] if asked.exit_code else ExitCode.GO


def _word(seen: ReleaseView, asked: list[str]) -> Word:
    """The worst of the phases that were asked for, with all of them; a phase that is not planned holds."""
    chosen = [(phase, verdict) for phase, verdict in seen.phases.items() if phase in (asked or seen.phases)]
    worst = max((verdict.decision for _, verdict in chosen), key=lambda one: one.rank, default=Decision.HOLD)
    text = "; ".join(f"phase {phase}: {verdict.label}" for phase, verdict in chosen)
    return Word(seen.release.environment, worst, text or "no such phase is planned")
