"""`releasegate attest`: a person's word on a gate that only a person can answer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_releasegate.commands import _claiming as claiming
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode, UsageProblem, nearest
from pytest_releasegate.model import Attestation, Status

if TYPE_CHECKING:
    import argparse

    from pytest_releasegate.model import Plan, PlannedGate

__all__ = ["arguments", "run"]

_LARGEST = 20 * 1024 * 1024


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("gate", metavar="ID", help="the gate, such as 6.3.4")
    parser.add_argument(
        "--status", required=True, choices=["passed", "failed", "not_applicable"], help="what you found"
    )
    parser.add_argument("--note", default="", help="how you found out")
    parser.add_argument("--evidence", default="", metavar="FILE|URL", help="what shows it")
    claiming.arguments(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Add the word to the record."""
    here = place(asked)
    release = here.release()
    plan = here.store.plan(release.id)
    planned = _gate(plan, asked.gate)
    parameters = planned.gate.parameters
    if parameters.get("evidence") == "required" and not asked.evidence:
        raise UsageProblem(f"gate {asked.gate} asks for evidence", "--evidence FILE or --evidence https://...")
    evidence, body = _evidence(asked.evidence)
    word = Attestation(
        gate=planned.gate.id,
        status=Status(asked.status),
        person=claiming.speaker(asked, here),
        role=str(parameters.get("role", "")),
        at=asked.clock.now(),
        note=asked.note,
        evidence=evidence,
        gate_digest=planned.digest,
    )
    claiming.record(asked, here, release, plan, word, body)
    say(f"{release.name} {word.gate} {planned.gate.title}: {word.status}, says {word.person} ({word.role})")
    return ExitCode.GO


def _gate(plan: Plan, name: str) -> PlannedGate:
    planned = plan.by_id().get(name)
    asked_of_people = [known for known, gate in plan.by_id().items() if gate.gate.kind == "attest"]
    if planned is None:
        raise UsageProblem(f"the plan has no gate {name}", nearest(name, asked_of_people))
    if planned.gate.kind != "attest":
        what = f"gate {name} is looked at by `{planned.gate.kind}`; a word is not enough"
        raise UsageProblem(what, f"pytest -m {planned.gate.phase}")
    return planned


def _evidence(said: str) -> tuple[str, bytes | None]:
    """What to store of the evidence: a URL as it is, a file by its digest with its bytes."""
    if not said:
        return said, None
    if "://" in said:
        address = urlsplit(said)
        if not (address.scheme and address.netloc) or any(each.isspace() for each in said):
            raise UsageProblem(f"--evidence: '{said}' is no URL", "such as https://tickets.example.com/4711")
        if address.password:
            raise UsageProblem("--evidence: the URL holds a password", "give it without")
        return said, None
    path = Path(said)
    if not path.is_file():
        raise UsageProblem(f"--evidence: no file {said}", "a file, or a URL with https://")
    if path.stat().st_size > _LARGEST:
        raise UsageProblem(f"--evidence: {said} is larger than {_LARGEST // 1024 // 1024} MiB", "give a URL instead")
    body = path.read_bytes()
    return f"{path.name} sha256:{hashlib.sha256(body).hexdigest()}", body
