"""`releasegate attest`: a person's word on a gate that only a person can answer, or a file of such words."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_releasegate.commands import _claiming as claiming
from pytest_releasegate.commands import _from_file as from_file
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode, UsageProblem, nearest
from pytest_releasegate.model import Attestation, Status

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from pytest_releasegate.commands._place import Place
    from pytest_releasegate.lifecycle.foreign import ForeignWord
    from pytest_releasegate.model import Plan, PlannedGate, Release

__all__ = ["arguments", "run"]

_LARGEST = 20 * 1024 * 1024


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("gate", metavar="ID", nargs="?", default="", help="the gate, such as 6.3.4")
    choices = ["passed", "failed", "not_applicable"]
    parser.add_argument("--status", default="", choices=choices, help="what you found")
    parser.add_argument("--note", default="", help="how you found out")
    parser.add_argument("--evidence", default="", metavar="FILE|URL", help="what shows it")
    text = "all words of an attestation file of MITRE SAF (JSON, YAML) instead, or none of them"
    parser.add_argument("--file", default="", help=text, metavar="FILE")
    parser.add_argument("--role", default="", help="in which role, where the policy lets others answer than the gate's")
    claiming.arguments(parser)
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Add the word to the record."""
    if not asked.file and not (asked.gate and asked.status):
        hint = "releasegate attest ID --status passed, or --file FILE"
        raise UsageProblem("which gate, and what did you find?", hint)
    here = place(asked)
    release = here.release()
    plan = here.store.plan(release.id)
    if asked.file:
        _run_file(asked, here, release, plan)
        return ExitCode.GO
    planned = _gate(plan, asked.gate)
    evidence, body = _evidence(planned, asked.evidence, Path())
    who, now = claiming.speaker(asked, here), asked.clock.now()
    word = _word(planned, Status(asked.status), who, now, note=asked.note, evidence=evidence)
    word = replace(word, role=asked.role or word.role)
    claiming.record(asked, here, release, plan, word, body)
    say(f"{release.name} {word.gate} {planned.gate.title}: {word.status}, says {word.person} ({word.role})")
    return ExitCode.GO


def _run_file(asked: argparse.Namespace, here: Place, release: Release, plan: Plan) -> None:
    from pytest_releasegate.lifecycle.foreign import named, read_attestations

    from_file.alone(asked, "gate", "status", "note", "evidence", "person", "role")
    words, odd = read_attestations(asked.file, from_file.text_of(asked.file), here.zone, asked.clock.now())
    gates, folder = plan.by_id(), Path(asked.file).parent

    def build(word: ForeignWord) -> tuple[Attestation, bytes | None]:
        planned = _gate(plan, named(gates, word.gate) or word.gate)
        evidence, body = _evidence(planned, word.evidence, folder, inside=True)
        made = _word(planned, word.status, word.person, word.at, note=word.note, evidence=evidence)
        return replace(made, role=word.role or made.role, expires_at=word.expires_at), body

    from_file.record(asked, here, release, plan, from_file.collected(words, build), odd)


def _word(planned: PlannedGate, status: Status, person: str, at: datetime, *, note: str, evidence: str) -> Attestation:
    return Attestation(
        gate=planned.gate.id,
        status=status,
        person=person,
        role=str(planned.gate.parameters.get("role", "")),
        at=at,
        note=note,
        evidence=evidence,
        gate_digest=planned.digest,
    )


def _gate(plan: Plan, name: str) -> PlannedGate:
    planned = plan.by_id().get(name)
    asked_of_people = [known for known, gate in plan.by_id().items() if gate.gate.kind == "attest"]
    if planned is None:
        raise UsageProblem(f"the plan has no gate {name}", nearest(name, asked_of_people))
    if planned.gate.kind != "attest":
        what = f"gate {name} is looked at by `{planned.gate.kind}`; a word is not enough"
        raise UsageProblem(what, f"pytest -m {planned.gate.phase}")
    return planned


def _evidence(planned: PlannedGate, said: str, folder: Path, *, inside: bool = False) -> tuple[str, bytes | None]:
    """What to store of the evidence: a URL as it is, a file by its digest with its bytes.

    Raises `UsageProblem` where there is none and the gate asks for it; `inside` takes only files of the folder.
    """
    if not said and planned.gate.parameters.get("evidence") == "required":
        raise UsageProblem(f"gate {planned.gate.id} asks for evidence", "--evidence FILE or --evidence https://...")
    if not said:
        return said, None
    if "://" in said:
        try:
            address = urlsplit(said)
        except ValueError as wrong:
            raise UsageProblem(f"evidence: '{said}' is no URL: {wrong}", "https://tickets.example.com/4711") from None
        if not (address.scheme and address.netloc) or any(each.isspace() for each in said):
            raise UsageProblem(f"evidence: '{said}' is no URL", "such as https://tickets.example.com/4711")
        if address.password:
            raise UsageProblem("evidence: the URL holds a password", "give it without")
        return said, None
    path = folder / said
    if inside and not path.resolve().is_relative_to(folder.resolve()):
        raise UsageProblem(f"evidence: {said} lies outside the file's folder", "put it beside the file, or give a URL")
    body = _body(path, said)
    return f"{path.name} sha256:{hashlib.sha256(body).hexdigest()}", body


def _body(path: Path, said: str) -> bytes:
    try:
        if not path.is_file():
            raise UsageProblem(f"evidence: no file {said}", "a file, or a URL with https://")
        if path.stat().st_size > _LARGEST:
            raise UsageProblem(f"evidence: {said} is larger than {_LARGEST // 1024 // 1024} MiB", "give a URL instead")
        return path.read_bytes()
    except OSError as wrong:
        raise UsageProblem(f"evidence: cannot read {said}: {wrong.strerror}", "a file, or a URL") from None
