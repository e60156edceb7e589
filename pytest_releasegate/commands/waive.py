"""`releasegate waive`: accept the risk of a gate that failed, until an instant, or that of a file of gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.commands import _claiming as claiming
from pytest_releasegate.commands import _from_file as from_file
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
    from datetime import datetime

    from pytest_releasegate.commands._place import Place
    from pytest_releasegate.lifecycle.foreign import ForeignWaiver
    from pytest_releasegate.model import Release
    from pytest_releasegate.report.view import ReleaseView
    from pytest_releasegate.verdict import Standing

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("gate", metavar="ID", nargs="?", default="", help="the gate that failed")
    parser.add_argument("--reason", default="", help="why it may be so")
    parser.add_argument("--mitigation", default="", help="what is done about it meanwhile")
    parser.add_argument("--risk", default="", help="what may happen")
    parser.add_argument("--until", default="", metavar="INSTANT", help="when it ends, such as 2026-03-01T12:00:00Z")
    text = "this release only, or its commit in every environment"
    parser.add_argument("--bound-to", default="release", choices=["release", "commit"], help=text)
    parser.add_argument("--role", default="", help="in which role you waive; needed where you hold several that may")
    text = "all waivers of a waiver file of InSpec (YAML, JSON, CSV) instead, or none of them"
    parser.add_argument("--file", default="", help=text, metavar="FILE")
    claiming.arguments(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Add the waiver to the record."""
    if not asked.file and not (asked.gate and asked.reason and asked.until):
        hint = "releasegate waive ID --reason ... --until ..., or --file FILE"
        raise UsageProblem("which gate, why, until when?", hint)
    here = place(asked)
    release, now = here.release(), asked.clock.now()
    seen = view(here.store, release, now)
    if asked.bound_to == "commit" and not release.git_commit:
        raise UsageProblem(f"the record knows no commit of {release.name}", "--bound-to release")
    if asked.file:
        _run_file(asked, here, release, seen)
        return ExitCode.GO
    claiming.said_why(asked.reason)
    row = _failed(seen.standings, asked.gate)
    until = _to_come(parse_instant(asked.until, here.zone), now, "--until")
    who, role = _speaker(asked, here, seen)
    waiver = Waiver(
        gate=row.gate.id,
        reason=asked.reason,
        mitigation=asked.mitigation,
        risk=asked.risk,
        expires_at=until,
        git_commit=release.git_commit if asked.bound_to == "commit" else "",
        gate_digest=row.planned.digest,
        person=who,
        role=role,
        at=now,
    )
    claiming.record(asked, here, release, seen.plan, waiver)
    stood = view(here.store, release, now).standings[row.gate.id]
    say(f"{release.name} {row.gate.id} {row.gate.title}: {stood.status}, {stood.reason}")
    return ExitCode.GO


def _run_file(asked: argparse.Namespace, here: Place, release: Release, seen: ReleaseView) -> None:
    from pytest_releasegate.lifecycle.foreign import named, read_waivers

    from_file.alone(asked, "gate", "reason", "mitigation", "risk")
    waivers, odd = read_waivers(asked.file, from_file.text_of(asked.file), here.zone)
    fallback = parse_instant(asked.until, here.zone) if asked.until else None

    def build(said: ForeignWaiver) -> tuple[Waiver, None]:
        row = _failed(seen.standings, named(seen.standings, said.gate) or said.gate)
        until = said.expires_at or fallback
        if until is None:
            hint = "expiration_date, or --until INSTANT for all that have none"
            raise UsageProblem(f"{said.gate} has no expiration_date, and no waiver is for ever", hint)
        who, role = _speaker(asked, here, seen, said.person, said.role)
        return Waiver(
            gate=row.gate.id,
            reason=said.reason,
            mitigation=said.mitigation,
            risk=said.risk,
            expires_at=_to_come(until, seen.now, said.gate),
            git_commit=release.git_commit if asked.bound_to == "commit" else "",
            gate_digest=row.planned.digest,
            person=who,
            role=role,
            at=seen.now,
        ), None

    from_file.record(asked, here, release, seen.plan, from_file.collected(waivers, build), odd)


def _speaker(
    asked: argparse.Namespace, here: Place, seen: ReleaseView, person: str = "", role: str = ""
) -> tuple[str, str]:
    """Who accepts the risk, and in which role, as far as the file does not say it."""
    rules = seen.plan.rules or Rules()
    who = person or claiming.speaker(asked, here)
    allowed = {role for grant in rules.waive for role in grant.roles}
    return who, claiming.role_of_person(rules, who, role or asked.role, allowed)


def _to_come(until: datetime, now: datetime, what: str) -> datetime:
    if until <= now:
        raise UsageProblem(f"{what}: {until:%Y-%m-%d %H:%M} UTC is over", "name an instant to come")
    return until


def _failed(standings: Mapping[str, Standing], name: str) -> Standing:
    row = standings.get(name)
    if row is None:
        raise UsageProblem(f"the plan has no gate {name}", nearest(name, list(standings)))
    if row.raw is not Status.FAILED or row.status not in {Status.FAILED, Status.WAIVED}:
        what = f"gate {name} has not failed but is {row.status.value.replace('_', ' ')}; only a failure can be waived"
        raise UsageProblem(what, f"releasegate show {name}")
    return row
