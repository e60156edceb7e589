"""`releasegate rollback`: record that a deployed release was rolled back; nothing blocks it."""

from __future__ import annotations

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
    parser.add_argument("--reason", required=True, help="why")
    text = "when it was decided, such as 2026-03-01T02:40:00Z, or without offset in the zone of the ini; else now"
    parser.add_argument("--at", default="", metavar="INSTANT", help=text)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Record it once: the same again changes nothing, another reason or instant is refused."""
    reason = asked.reason.strip()
    if not reason:
        raise UsageProblem("--reason is empty", "say why it was rolled back")
    here = place(asked, gates=False)
    release = here.release()
    now = asked.clock.now()
    at = parse_instant(asked.at, here.zone) if asked.at else release.rolled_back_at or now
    if at > now + SKEW:
        raise UsageProblem(f"{at:%Y-%m-%d %H:%M} UTC is in the future", "call this when it is decided")
    if release.deployed_at and at + SKEW < release.deployed_at:
        was = f"{release.deployed_at:%Y-%m-%d %H:%M:%S}"
        raise UsageProblem(f"{at:%Y-%m-%d %H:%M:%S} UTC is before the release was deployed ({was})")
    release = here.store.roll_back(release.id, at, reason=reason, person=person(here.root))
    say(
        f"{release.product} {release.name}: rolled back {at:%Y-%m-%d %H:%M:%S} UTC: {release.rollback_reason}",
        f"to look whether it went well: pytest -m rollback --release {release.version} --env {release.environment}",
        f"to deploy it again, as attempt {release.attempt + 1}: releasegate open {release.version}"
        f" --env {release.environment}",
    )
    return ExitCode.GO
