"""`releasegate open`: freeze the plan of a release in the record, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode
from pytest_releasegate.lifecycle.changes import origin_of
from pytest_releasegate.lifecycle.facts import parse_facts, parse_window
from pytest_releasegate.lifecycle.opening import open_or_find

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("version", nargs="?", default="", metavar="VERSION", help="such as 1.4.0; found out without it")
    parser.add_argument("--commit", default="", help="the commit that is released; the tag's or HEAD without it")
    parser.add_argument("--branch", default="", help="the branch that it is on")
    parser.add_argument("--fact", action="append", default=[], metavar="NAME=BOOL", help="such as maintenance=false")
    parser.add_argument("--window", default="", metavar="START/END", help="between which instants it is to be deployed")
    parser.add_argument("--profile", default="", metavar="NAME", help="a profile of the policy, such as hotfix")
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Open the release, or say that the record knows it."""
    asked.release = asked.version or asked.release
    facts = parse_facts(asked.fact)
    here = place(asked, create=True)
    plan = here.plan()
    window = parse_window(asked.window, here.zone) if asked.window else None
    opened = open_or_find(
        here.store,
        here.identity,
        plan,
        now=asked.clock.now(),
        facts=facts,
        window=window,
        profile=asked.profile,
        again=True,
        origin=origin_of(here.root, plan),
    )
    release = opened.release
    say(
        f"{release.product} {release.name}",
        f"commit: {release.git_commit[:10] or 'unknown'} on {release.git_branch or 'an unknown branch'}",
        *([f"profile: {release.profile}"] if release.profile else []),
        f"plan: {len(opened.plan.gates)} gates, digest {opened.plan.digest[:12]}",
        *(opened.notes or [f"{here.store.shown_url} knew it already"]),
    )
    return ExitCode.GO
