"""`releasegate fact`: declare what is true of this release, such as maintenance=false."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode
from pytest_releasegate.lifecycle.facts import parse_facts
from pytest_releasegate.lifecycle.opening import may_declare, person

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("facts", nargs="+", metavar="NAME=BOOL", help="such as maintenance=false")
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Add the facts to the release."""
    facts = parse_facts(asked.facts)
    here = place(asked)
    release = here.release()
    who = person(here.root)
    may_declare(here.store.plan(release.id).rules, who, facts)
    now = asked.clock.now()
    release = here.store.set_facts(release.id, {**release.facts, **facts}, who, now)
    here.note(release, now, "facts_declared", " ".join(asked.facts))
    known = ", ".join(f"{name}={str(value).lower()}" for name, value in sorted(release.facts.items()))
    say(f"{release.product} {release.name}: {known}")
    return ExitCode.GO
