"""`releasegate revoke`: take back an attestation, a waiver or a sign-off; the record keeps both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_releasegate.claims import Revocation, kind_of
from pytest_releasegate.commands import _claiming as claiming
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.counting import must_be_signed, revokes
from pytest_releasegate.errors import ExitCode, UsageProblem
from pytest_releasegate.report.view import view

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("claim", metavar="CLAIM", help="the beginning of its identity, as `releasegate show` tells it")
    parser.add_argument("--reason", required=True, help="why it no longer counts")
    parser.add_argument("--role", default="", help="in which role; that of the claim without it")
    claiming.arguments(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Add the revocation to the record."""
    claiming.said_why(asked.reason)
    here = place(asked)
    release, now = here.release(), asked.clock.now()
    claim = claiming.find_claim(here, release, asked.claim)
    if isinstance(claim, Revocation):
        raise UsageProblem("a revocation is not taken back", "say the word anew")
    who = claiming.speaker(asked, here)
    plan = here.store.plan(release.id)
    said = Revocation(claim=claim.identity, reason=asked.reason, person=who, role=asked.role or claim.role, at=now)
    if not revokes(replace(said, key="to be signed"), claim, plan):
        raise UsageProblem(f"{who} may not take back what {claim.person} said", "they may, and whoever may say such")
    claiming.record(asked, here, release, plan, said, signed=must_be_signed(claim, plan))
    what = f"{kind_of(claim).replace('_', '-')} of {claim.person} ({claim.role})"
    phases = ", ".join(f"{phase} {verdict.label}" for phase, verdict in view(here.store, release, now).ahead.items())
    say(f"{release.name}: {what} no longer counts: {asked.reason}", phases)
    return ExitCode.GO
