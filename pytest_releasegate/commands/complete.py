"""`releasegate complete`: the team's Markdown checklist with boxes ticked by the record, a note behind each line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.markdown.completing import Mark, complete
from pytest_releasegate.checklist.markdown.lines import read_source
from pytest_releasegate.checklist.markdown.reading import read_checklist
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import as_of, place, say
from pytest_releasegate.errors import ExitCode, UsageProblem
from pytest_releasegate.model import Status
from pytest_releasegate.standing import HOLDS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pytest_releasegate.checklist.markdown.completing import Completed
    from pytest_releasegate.standing import Standing

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("checklist", metavar="CHECKLIST.md", help="the checklist that was imported")
    text = "a file of its name in .releasegate/ without it; - prints it"
    parser.add_argument("--output", default="", metavar="FILE", help=text)
    parser.add_argument("--plain", action="store_true", help="only tick and untick; write nothing behind lines")
    parser.add_argument("--verbose", action="store_true", help="tell each line that the plan has no gate for")
    as_of(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Fill it in and write it."""
    path = Path(asked.checklist)
    reading = read_checklist(read_source(path, asked.checklist))
    reading.refuse_nothing()
    here = place(asked)
    marks = {name: _mark(standing) for name, standing in here.view(asked).standings.items()}
    done = complete(reading, marks, plain=asked.plain)
    if asked.output == "-":
        sys.stdout.write(done.text)
        return ExitCode.GO
    target = Path(asked.output) if asked.output else here.root / ".releasegate" / path.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(done.text.encode())
    except OSError as wrong:
        raise UsageProblem(f"--output: cannot write {target}: {wrong.strerror}") from None
    say(str(target), *_told(asked.checklist, done, verbose=asked.verbose))
    return ExitCode.GO


def _mark(standing: Standing) -> Mark:
    """What to write of a gate; one that is not due stands in nobody's way, and still nobody has looked."""
    word, signed = standing.attestation, standing.sign_off
    said = word or signed
    newest = max(standing.results, key=lambda result: result.started_at, default=None)
    seen = newest.evidence[0] if newest and newest.evidence else None
    evidence = word.evidence if word else f"{seen.name} sha256:{seen.sha256[:12]}" if seen else ""
    return Mark(
        status=standing.status.value,
        holds=standing.status in HOLDS and standing.status is not Status.NOT_DUE,
        at=said.at if said else newest.started_at if newest else None,
        who=said.person if said else "",
        evidence=evidence,
        signature=signed.key if signed else "",
        title=standing.gate.title,
    )


def _told(name: str, done: Completed, *, verbose: bool) -> Iterator[str]:
    yield f"{done.ticked} boxes ticked"
    if done.unticked:
        lines = ", ".join(map(str, done.unticked[:10])) + (", ..." if len(done.unticked) > 10 else "")
        yield f"{len(done.unticked)} ticked in {name} that the record does not back: line {lines}"
    if done.unknown:
        more = "" if verbose else " (--verbose names them)"
        yield f"{len(done.unknown)} lines name no gate of the plan{more}"
        yield from (f"{name}:{line}: no gate {gate}" for line, gate in done.unknown if verbose)
