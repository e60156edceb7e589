"""`releasegate import`: a checklist written in Markdown becomes gate files, with an account of every line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.environments import FILE as ENVIRONMENTS
from pytest_releasegate.checklist.loader import gate_files as existing_gate_files
from pytest_releasegate.checklist.loader import read_gates
from pytest_releasegate.checklist.markdown import gatefiles
from pytest_releasegate.checklist.markdown.lines import read_source
from pytest_releasegate.checklist.markdown.reading import read_checklist
from pytest_releasegate.checklist.markdown.telling import account_line, ignored_lines, summary
from pytest_releasegate.checklist.nodes import read
from pytest_releasegate.checks import kinds
from pytest_releasegate.commands._place import say
from pytest_releasegate.errors import BrokenPlan, ExitCode, Problem, UsageProblem
from pytest_releasegate.model import Place

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("checklist", metavar="CHECKLIST.md", help="the checklist, a Markdown file")
    parser.add_argument("--into", default="gates", metavar="FOLDER", help="where the gate files go; gates without it")
    parser.add_argument("--force", action="store_true", help="replace gate files of the same names")
    parser.add_argument("--verbose", "--account", action="store_true", help="tell each ignored line, and why")


def run(asked: argparse.Namespace) -> ExitCode:
    """Read, write, and account for what was read."""
    reading = read_checklist(read_source(Path(asked.checklist), asked.checklist))
    say(f"{asked.checklist}: {account_line(reading)}")
    say(*(ignored_lines(reading) if asked.verbose else ()))
    reading.refuse_nothing()
    folder = Path(asked.into)
    files = gatefiles.gate_files(reading)
    _refuse_overwriting(folder, files, force=asked.force)
    gates = _load(folder, files)
    _write(folder, files)
    say(*summary(reading, files, folder.as_posix(), gates))
    people = gatefiles.stakeholders(reading)
    say(*_unheld(folder / gatefiles.STAKEHOLDERS, list(gatefiles.roles_asked(reading))))
    say(*_beside(folder / gatefiles.STAKEHOLDERS, people, "the roles that sign and attest, held by placeholders"))
    say(*_beside(folder / ENVIRONMENTS, gatefiles.ENVIRONMENT, "an environment without address, to be filled in"))
    return ExitCode.GO


def _refuse_overwriting(folder: Path, files: dict[str, str], *, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageProblem(f"--into: {folder} is no folder")
    there = [name for name in files if (folder / name).exists()]
    if there and not force:
        problems = [Problem(Place((folder / name).as_posix()), "is there already") for name in there]
        problems[-1] = Problem(
            problems[-1].place, problems[-1].what, "--force replaces it; --into names another folder"
        )
        raise BrokenPlan(problems)


def _load(folder: Path, files: dict[str, str]) -> Counter[str]:
    """Read what is to be written beside what stays, as `releasegate check` will; the number of gates of each phase."""
    ids: dict[str, Place] = {}
    problems: list[Problem] = []
    for path in existing_gate_files(folder):
        if path.name not in files:
            read_gates(read(path, path.as_posix()), ids)
    found: Counter[str] = Counter()
    with TemporaryDirectory() as scratch:
        for name, text in files.items():
            path = Path(scratch) / name
            path.write_text(text, encoding="utf-8", newline="\n")
            tree = read(path, (folder / name).as_posix())
            found.update(declared.gate.phase.value for declared in read_gates(tree, ids))
            if name != gatefiles.SIGN_OFF or "sign_off" in kinds():
                problems += tree.problems
    if problems:
        raise BrokenPlan(problems)
    return found


def _write(folder: Path, files: dict[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as wrong:
        raise UsageProblem(f"--into: cannot write into {folder}: {wrong.strerror}") from None


def _unheld(path: Path, asked: list[str]) -> list[str]:
    """The roles asked for that a file of stakeholders which is there does not have, in words."""
    known = read(path, path.as_posix()).value if asked and path.exists() else None
    roles = known.get("roles") if isinstance(known, dict) else None
    missing = [name for name in asked if name not in roles] if isinstance(roles, dict) else []
    return [f"{path.as_posix()} has no role {', '.join(missing)}, and gates ask for it"] if missing else []


def _beside(path: Path, text: str, what: str) -> list[str]:
    """Write a file that the gates ask for where there is none yet; what was done, in words."""
    if not text or path.exists():
        return []
    path.write_text(text, encoding="utf-8", newline="\n")
    return [f"{path.as_posix()}: {what}"]
