"""`releasegate deployed`: record when the release went live; the review is due 72 hours later."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode, UsageProblem
from pytest_releasegate.lifecycle.facts import SKEW, parse_instant
from pytest_releasegate.lifecycle.opening import person

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    text = "such as 2026-03-01T02:00:00Z, or without offset in the zone of the ini value releasegate_zone; else now"
    parser.add_argument("--at", default="", metavar="INSTANT", help=text)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Set `deployed_at` once; the same instant again changes nothing, another is refused."""
    here = place(asked)
    release = here.release()
    now = asked.clock.now()
    at = parse_instant(asked.at, here.zone) if asked.at else release.deployed_at or now
    if at > now + SKEW:
        raise UsageProblem(f"{at:%Y-%m-%d %H:%M} UTC is in the future", "call this when the release is live")
    if at < release.opened_at:
        raise UsageProblem(
            f"{at:%Y-%m-%d %H:%M} UTC is before the release was opened ({release.opened_at:%Y-%m-%d %H:%M})"
        )
    known = release.deployed_at is not None
    release = here.store.set_deployed(release.id, at, person(here.root))
    if not known:
        here.note(release, now, "deployed", f"deployed at {at.isoformat()}")
    was = f", as the record knows already ({release.deployment or 'set once'})" if known else ""
    say(f"{release.product} {release.name}: deployed {at:%Y-%m-%d %H:%M:%S} UTC{was}")
    if release.window and not release.window[0] <= at <= release.window[1]:
        say(f"outside of its window: {release.window[0]:%Y-%m-%d %H:%M} to {release.window[1]:%Y-%m-%d %H:%M} UTC")
    say(f"review due {at + timedelta(hours=72):%Y-%m-%d %H:%M:%S} UTC")
    return ExitCode.GO
