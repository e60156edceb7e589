"""`releasegate rls-matrix`: a draft of the row-level security matrix, for a person to correct."""

from __future__ import annotations

from argparse import SUPPRESS
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_releasegate.check import Context
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode, UsageProblem
from pytest_releasegate.model import Release

if TYPE_CHECKING:
    import argparse

    from pytest_releasegate.commands._place import Place

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--env", default="", metavar="NAME", help="the environment whose database is read")
    parser.add_argument("--database", default="", metavar="NAME", help="which of its databases")
    text = "all tables of this schema and no others; may be given several times"
    parser.add_argument("--schema", action="append", default=[], metavar="NAME", help=text)
    text = "a role that the application takes on; without it, all that are granted something"
    parser.add_argument("--role", action="append", default=[], metavar="NAME", help=text)
    parser.add_argument("--output", default="", metavar="FILE", help="where to write it, such as gates/rls.yaml")
    parser.add_argument("--root", default=SUPPRESS, metavar="FOLDER", help="the folder that holds gates/")
    # it is about a database and about no release
    parser.set_defaults(release="draft", record="")


def run(asked: argparse.Namespace) -> ExitCode:
    """Print it, or write it; what is there already is never overwritten."""
    there = place(asked, gates=False)
    path = Path(asked.output) if asked.output else None
    if path and path.exists():
        raise UsageProblem(f"--output: {path} is there already, and may have been corrected", "name another file")
    text = _draft(there, asked)
    if path is None:
        say(text.rstrip("\n"))
        return ExitCode.GO
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as wrong:
        raise UsageProblem(f"--output: cannot write {path}: {wrong.strerror}") from None
    say(f"{path}: written; decide what stands as TODO in it, {text.count(': TODO')} in all")
    return ExitCode.GO


def _draft(there: Place, asked: argparse.Namespace) -> str:
    from pytest_releasegate.sources.pgdraft import draft
    from pytest_releasegate.sources.pgtables import user_tables
    from pytest_releasegate.sources.postgres import connect, database_name

    identity = there.identity
    release = Release(
        product=identity.product,
        version=identity.version,
        environment=identity.environment.name,
        opened_at=asked.clock.now(),
    )
    context = Context(identity.environment, release, there.root)
    name = database_name(context, asked.database)
    with connect(context, name) as connection:
        tables = user_tables(connection, asked.schema)
        where = f"database '{name}' of environment '{identity.environment.name}'"
        return draft(connection, tables, asked.role, where, complete=bool(asked.schema))
