"""`releasegate sign`: sign a phase's decision as a role, with your SSH key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.approval import is_barred_author, role_of, signers_of, subject
from pytest_releasegate.commands import _claiming as claiming
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode, UsageProblem, nearest
from pytest_releasegate.model import Decision, Phase, SignOff, Status
from pytest_releasegate.report.reasons import tally
from pytest_releasegate.report.view import view

if TYPE_CHECKING:
    import argparse

    from pytest_releasegate.model import PlannedGate
    from pytest_releasegate.report.view import ReleaseView

__all__ = ["arguments", "run"]

_MOST = 5


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("role", metavar="ROLE", help="the role that signs, such as release_manager")
    parser.add_argument("--phase", default="", choices=["", *Phase], help="needed where a role signs several phases")
    claiming.arguments(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Add the signature to the record."""
    here = place(asked)
    release, now = here.release(), asked.clock.now()
    seen = view(here.store, release, now)
    planned = _gate(seen, asked.role, asked.phase)
    phase = planned.gate.phase
    _ready(seen, phase)
    who = claiming.speaker(asked, here)
    rules = seen.plan.rules
    said = SignOff(
        phase=phase,
        decision=Decision.GO.value,
        plan_digest=seen.plan.digest,
        policy_digest=rules.digest if rules else "",
        subject=subject(phase, seen.standings),
        person=who,
        role=asked.role,
        at=now,
    )
    _may(seen, said)
    signed = claiming.record(asked, here, release, seen.plan, said)
    after = view(here.store, release, now)
    row = after.standings[planned.gate.id]
    if row.status is not Status.ATTESTED:
        raise UsageProblem(f"the signature is in the record, and does not stand: {row.reason}")
    others = tally(one for one in seen.phases[phase].standings if one.gate.kind != "sign_off")
    say(
        f"{release.name} {phase}: {who} signs as {asked.role} with {signed.key}",
        f"over {len(said.subject)} gates ({others}), plan {seen.plan.digest[:12]}",
        f"{phase}: {after.phases[phase].label}",
    )
    return ExitCode.GO


def _gate(seen: ReleaseView, role: str, phase: str) -> PlannedGate:
    gates = signers_of(seen.plan, seen.release).values()
    mine = [planned for planned in gates if role_of(planned) == role and phase in {"", planned.gate.phase}]
    if not mine:
        known = sorted({role_of(planned) for planned in gates})
        raise UsageProblem(f"no sign-off of a {role} is asked for", nearest(role, known) if known else "")
    if len({planned.gate.phase for planned in mine}) > 1:
        raise UsageProblem(f"{role} signs several phases", "--phase, one of " + ", ".join(p.gate.phase for p in mine))
    return mine[0]


def _ready(seen: ReleaseView, phase: Phase) -> None:
    """Refuses while anything but signatures keeps the phase from GO: there is nothing to approve yet."""
    asked = {planned.gate.id for planned in seen.plan.gates if planned.gate.kind == "sign_off"}
    reasons = [reason for reason in seen.phases[phase].reasons if reason.gate not in asked]
    if reasons:
        told = "\n".join(f"  {reason.gate} {reason.text}".rstrip() for reason in reasons[:_MOST])
        more = f"\n  and {len(reasons) - _MOST} more" if len(reasons) > _MOST else ""
        raise UsageProblem(
            f"{phase} is {reasons[0].decision} for more than signatures:\n{told}{more}", "sign what is GO"
        )


def _may(seen: ReleaseView, said: SignOff) -> None:
    if is_barred_author(seen.plan.rules, seen.release, said.person):
        raise UsageProblem(f"{said.person} wrote part of this release", "another holder of the role must sign")
    for row in seen.phases[said.phase].standings:
        if row.sign_off and row.status is Status.ATTESTED and row.sign_off.person.lower() == said.person.lower():
            other = row.sign_off.role
            if other != said.role:
                raise UsageProblem(f"{said.person} has signed as {other}", "one person signs for one role")
