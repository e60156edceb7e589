"""`releasegate migration-review`: say what is dangerous about migration files, tried on a scratch server."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import say
from pytest_releasegate.errors import CannotLook, ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from pytest_releasegate.sources.pghazards import Hazard, Known
    from pytest_releasegate.sources.pgsplit import Script
    from pytest_releasegate.sources.pgtrace import Traced

__all__ = ["arguments", "run"]

_SECONDS = 60.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="migration files in their order, or folders of them")
    parser.add_argument("--schema", metavar="FILE", help="SQL that makes what is there before: pg_dump -s")
    parser.add_argument(
        "--transaction",
        choices=("auto", "file", "none"),
        default="auto",
        help="whether the runner puts each file into a transaction; by default as the files tell",
    )
    parser.add_argument(
        "--one-release",
        action="store_true",
        help="the files go out together: a table that an earlier one makes is new for a later one",
    )
    parser.add_argument("--lint", action="store_true", help="read the files only, and try nothing on a scratch server")
    parser.add_argument("--notes", action="store_true", help="also say what was cleared, and why")
    parser.add_argument("--json", action="store_true", help="one JSON list of all, cleared ones too")
    parser.add_argument("--strict", action="store_true", help="a warning counts like an error")


def run(asked: argparse.Namespace) -> ExitCode:
    """Review the files; exit 1 where something is wrong, 10 where nothing could be tried."""
    from pytest_releasegate.sources.pghazards import Known
    from pytest_releasegate.sources.pgreview import hazards
    from pytest_releasegate.sources.pgtrial import scripts
    from pytest_releasegate.sources.squawk import squawk

    files = scripts(list(_paths(asked.files)), Path.cwd())
    known = Known(
        together={"auto": None, "file": True, "none": False}[asked.transaction], one_release=asked.one_release
    )
    before = scripts([Path(asked.schema)], Path.cwd()) if asked.schema else []
    traces = [] if asked.lint else _tried(files, known, before)
    told = list(hazards(files, known, squawk(files), traces or [[]] * len(files)))
    if asked.json:
        say(json.dumps([_plain(hazard) for hazard in told], indent=2))
    else:
        say(*(line for hazard in told for line in _lines(hazard, notes=asked.notes)))
        say(_summary(files, told))
    wrong = [hazard for hazard in told if not hazard.cleared and (asked.strict or not hazard.warning)]
    if wrong:
        return ExitCode.NO_GO
    return ExitCode.GO if traces or asked.lint else ExitCode.HOLD


def _paths(names: Sequence[str]) -> Iterator[Path]:
    from pytest_releasegate.sources.pgtrial import found, is_back

    for name in names:
        path = Path(name)
        if path.is_dir():
            # Prisma and others keep each migration in a folder of its own
            pattern = "*.sql" if any(path.glob("*.sql")) else "**/*.sql"
            yield from (file for file in found(path, [pattern]) if not is_back(file.name))
        else:
            yield path


def _tried(files: Sequence[Script], known: Known, before: Sequence[Script]) -> Sequence[Sequence[Traced]]:
    from pytest_releasegate.sources.pgscratch import blank
    from pytest_releasegate.sources.pgtrial import tried

    try:
        with blank() as copy:
            for script, made in zip(before, tried(copy, before, known, _SECONDS), strict=True):
                failed = [traced for traced in made if traced.error]
                for traced in failed[:5]:
                    sys.stderr.write(f"{script.name}:{traced.statement.line}: could not be made: {traced.error}\n")
            return tried(copy, files, known, _SECONDS)
    except CannotLook as cannot:
        sys.stderr.write(f"nothing was tried, the files were read only (`--lint` asks for no more): {cannot}\n")
        return []


def _lines(hazard: Hazard, *, notes: bool) -> list[str]:
    head = f"{hazard.place}: {_level(hazard)}: {hazard.rule}: {hazard.what}"
    if hazard.cleared:
        return [f"{head} (cleared: {hazard.cleared})"] if notes else []
    return [head, *([f"    {hazard.instead}"] if hazard.instead else [])]


def _level(hazard: Hazard) -> str:
    return "note" if hazard.cleared else "warning" if hazard.warning else "error"


def _plain(hazard: Hazard) -> dict[str, object]:
    return {
        "file": hazard.file,
        "line": hazard.line,
        "rule": hazard.rule,
        "level": _level(hazard),
        "message": hazard.what,
        "instead": hazard.instead,
        "cleared": hazard.cleared,
    }


def _summary(files: Sequence[Script], told: Sequence[Hazard]) -> str:
    levels = [_level(hazard) for hazard in told]
    statements = sum(len(file.statements) for file in files)
    counts = ", ".join(f"{levels.count(level)} {level}s" for level in ("error", "warning", "note"))
    return f"{len(files)} files, {statements} statements: {counts}"
