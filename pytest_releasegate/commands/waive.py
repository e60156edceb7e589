"""`releasegate waive`: accept the risk of a gate that failed, until an instant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.commands import _claiming as claiming
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode, UsageProblem, nearest
from pytest_releasegate.lifecycle.facts import parse_instant
from pytest_releasegate.model import Status, Waiver
from pytest_releasegate.policy import Rules
from pytest_releasegate.report.view import view

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from pytest_releasegate.verdict import Standing

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("gate", metavar="ID", help="the gate that failed")
    parser.add_argument("--reason", required=True, help="why it may be so")
    parser.add_argument("--mitigation", default="", help="what is done about it meanwhile")
    parser.add_argument("--risk", default="", help="what may happen")
    parser.add_argument("--until", required=True, metavar="INSTANT", help="when it ends, such as 2026-03-01T12:00:00Z")
    text = "this release only, or its commit in every environment"
    parser.add_argument("--bound-to", default="release", choices=["release", "commit"], help=text)
    parser.add_argument("--role", default="", help="in which role you waive; needed where you hold several that may")
    claiming.arguments(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Add the waiver to the record."""
    here = place(asked)
    release, now = here.release(), asked.clock.now()
    seen = view(here.store, release, now)
    row = _failed(seen.standings, asked.gate)
    until = parse_instant(asked.until, here.zone)
    if until <= now:
        raise UsageProblem(f"--until: {until:%Y-%m-%d %H:%M} UTC is over", "name an instant to come")
    if asked.bound_to == "commit" and not release.git_commit:
        raise UsageProblem(f"the record knows no commit of {release.name}", "--bound-to release")
    who = claiming.speaker(asked, here)
    rules = seen.plan.rules or Rules()
    allowed = {role for grant in rules.waive for role in grant.roles}
    waiver = Waiver(
        gate=row.gate.id,
        reason=asked.reason,
        mitigation=asked.mitigation,
        risk=asked.risk,
        expires_at=until,
        git_commit=release.git_commit if asked.bound_to == "commit" else "",
        gate_digest=row.planned.digest,
        person=who,
        role=claiming.role_of_person(rules, who, asked.role, allowed),
        at=now,
    )
    claiming.record(asked, here, release, seen.plan, waiver)
    stood = view(here.store, release, now).standings[row.gate.id]
    say(f"{release.name} {row.gate.id} {row.gate.title}: {stood.status}, {stood.reason}")
    return ExitCode.GO


def _failed(standings: Mapping[str, Standing], name: str) -> Standing:
    row = standings.get(name)
    if row is None:
        raise UsageProblem(f"the plan has no gate {name}", nearest(name, list(standings)))
    if row.raw is not Status.FAILED or row.status not in {Status.FAILED, Status.WAIVED}:
        what = f"gate {name} has not failed but is {row.status.value.replace('_', ' ')}; only a failure can be waived"
        raise UsageProblem(what, f"releasegate show {name}")
    return row
