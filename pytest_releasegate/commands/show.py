"""`releasegate show`: one gate, with every attempt, finding and piece of evidence."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import as_of, places, say, use_color, width
from pytest_releasegate.errors import ExitCode, UsageProblem, nearest
from pytest_releasegate.lifecycle.fleet import each
from pytest_releasegate.report.terminal import gate_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pytest_releasegate.report.view import ReleaseView

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("gate", metavar="ID", help="the gate, such as 10.1.1")
    parser.add_argument("--save", default="", metavar="FOLDER", help="write the evidence of each attempt into a folder")
    as_of(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Print it."""
    views = list(each(lambda here: here.view(asked), places(asked)))
    for seen in views:
        if asked.gate not in seen.standings:
            raise UsageProblem(f"the plan has no gate {asked.gate}", nearest(asked.gate, list(seen.standings)))
        say(*gate_lines(seen, asked.gate, width=width(), color=use_color()))
        if asked.save:
            folder = Path(asked.save, seen.release.environment) if len(views) > 1 else Path(asked.save)
            say("", *_saved(seen, asked.gate, folder))
    return ExitCode.GO


def _saved(seen: ReleaseView, gate: str, folder: Path) -> Iterator[str]:
    """Write each piece of evidence, a folder for each attempt; tells what was written and what could not be."""
    attempts = [result for result in seen.results if result.gate == gate and result.evidence]
    for number, result in enumerate(attempts, 1):
        for index, piece in enumerate(result.evidence, 1):
            # names come from the record, and are not to lead elsewhere
            name = re.sub(r"[^\w.-]+", "_", piece.name).lstrip(".") or "evidence"
            path = folder / f"{number:02}" / f"{index:02}-{name}"
            body = seen.body(piece.sha256)
            if body is None or sha256(body).hexdigest() != piece.sha256:
                yield f"not saved: {piece.name} of attempt {number}, its bytes are not in the record"
                continue
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(body)
            except OSError as wrong:
                raise UsageProblem(f"{path} cannot be written: {wrong.strerror}", "name another folder") from None
            yield f"saved: {path}"
    if not attempts:
        yield "no attempt left evidence"
