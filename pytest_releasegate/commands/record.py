"""`releasegate record`: share the record: push what it holds into a bundle, pull what others pushed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import Place, place, say
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.errors import ExitCode
from pytest_releasegate.lifecycle.git_bundle import DEFAULT_REF, GitRef

if TYPE_CHECKING:
    import argparse

    from pytest_releasegate.lifecycle.bundle import Bundle

__all__ = ["arguments", "run"]

_GIT = "git:"
_WORDS = {
    "opened": "openings of releases",
    "replanned": "changed plans",
    "deployed": "deployments",
    "rolled_back": "rollbacks",
    "facts": "declared facts",
    "stakeholders": "stakeholders",
    "changed": "other changes",
    "run": "runs",
    "run_end": "ends of runs",
    "result": "results",
    "claim": "claims",
    "step": "step events",
    "start": "starts",
    "audit": "audit lines",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=["push", "pull"], help="which way")
    text = f"a folder, {DEFAULT_REF}, or another ref as git:REF; refs are exchanged with origin"
    parser.add_argument("bundle", metavar="DIRECTORY|REF", help=text)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Do it, and say what is new; --release and --env narrow it to those releases."""
    from pytest_releasegate.lifecycle.bundle import Wanted, pull, push

    here = place(asked, create=asked.action == "pull", gates=False)
    bundle = _bundle(asked, here)
    done = (push if asked.action == "push" else pull)(here.store, bundle, Wanted(asked.release, asked.env))
    what = ", ".join(f"{done[kind]} {word}" for kind, word in _WORDS.items() if done[kind])
    way = "to" if asked.action == "push" else "from"
    say(f"{asked.action} {way} {bundle.shown}: {what or 'nothing new'}")
    return ExitCode.GO


def _bundle(asked: argparse.Namespace, here: Place) -> Bundle:
    from pytest_releasegate.lifecycle.bundle import Directory

    name: str = asked.bundle
    if name.startswith((_GIT, "refs/")):
        return GitRef(here.root, name.removeprefix(_GIT), asked.clock.now())
    return Directory(Path(name))
