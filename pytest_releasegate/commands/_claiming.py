"""What the commands share by which people speak: who speaks in which role, under the policy, with which key."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_releasegate.claims import NAMESPACE, kind_of
from pytest_releasegate.counting import must_be_signed, objection_to
from pytest_releasegate.errors import BrokenPlan, Problem, UsageProblem, nearest
from pytest_releasegate.lifecycle.claim_files import document_of, signed_bytes, to_file, verified
from pytest_releasegate.lifecycle.opening import person
from pytest_releasegate.policy import Rules

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from pytest_releasegate.claims import Claim
    from pytest_releasegate.commands._place import Place
    from pytest_releasegate.model import Place as FilePlace
    from pytest_releasegate.model import Plan, Release

__all__ = ["Told", "arguments", "find_claim", "record", "record_all", "role_of_person", "said_why", "speaker"]

_SHORTEST = 6


class Told(NamedTuple):
    """A claim as a file tells it, the bytes of its evidence, and where in the file it stands."""

    claim: Claim
    evidence: bytes | None
    place: FilePlace


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options by which a person speaks."""
    parser.add_argument("--person", default="", help="who says so; your git e-mail address without it")
    text = "sign with this SSH key, or with the agent's key of this .pub file; without it git's signing key"
    parser.add_argument("--key", default="", metavar="FILE", help=text)


def said_why(reason: str) -> str:
    """The reason that was given; raises `UsageProblem` where it says nothing."""
    if not reason.strip():
        raise UsageProblem("--reason: expected a sentence, got nothing", "say why, for who reads the record")
    return reason


def speaker(asked: argparse.Namespace, here: Place) -> str:
    """Who speaks."""
    return str(asked.person) or person(here.root)


def role_of_person(rules: Rules | None, who: str, wanted: str, allowed: set[str]) -> str:
    """The role in which a person speaks: the one that is named, else the only one of the allowed that is theirs."""
    if wanted:
        return wanted
    mine = sorted(name for name, role in (rules or Rules()).roles.items() if who in role.people and name in allowed)
    if len(mine) != 1:
        if not allowed:
            raise UsageProblem("nobody may: no rule of the policy allows it", "gates/policy.yaml")
        known = ", ".join(mine or sorted(allowed)) or "none that may"
        raise UsageProblem(f"in which role does {who} speak?", f"--role: {known}")
    return mine[0]


def record(
    asked: argparse.Namespace,
    here: Place,
    release: Release,
    plan: Plan,
    claim: Claim,
    evidence: bytes | None = None,
    *,
    signed: bool = False,
) -> Claim:
    """Add a claim to the record, signed where it must be (or `signed` says so) or a key is named.

    Raises `UsageProblem` where it would not count.
    """
    said, file, why = _prepared(asked, here, release, plan, claim, evidence, signed=signed)
    if why:
        raise UsageProblem(why)
    here.store.add_claim(release.id, claim, evidence, file=file)
    return said


def record_all(asked: argparse.Namespace, here: Place, release: Release, plan: Plan, said: Sequence[Told]) -> None:
    """Add the claims of a file to the record, all or none; raises `BrokenPlan` naming each that would not count."""
    made = [(*each, *_prepared(asked, here, release, plan, each.claim, each.evidence)) for each in said]
    problems = [Problem(place, why) for _, _, place, _, _, why in made if why]
    if problems:
        raise BrokenPlan(problems)
    here.store.add_claims(release.id, [(claim, evidence, file) for claim, evidence, _, _, file, _ in made])


def _prepared(
    asked: argparse.Namespace,
    here: Place,
    release: Release,
    plan: Plan,
    claim: Claim,
    evidence: bytes | None,
    *,
    signed: bool = False,
) -> tuple[Claim, bytes | None, str]:
    """The claim with its key and its file, signed where it must be or a key is named, and why it would not count."""
    said, file = claim, None
    if signed or must_be_signed(claim, plan) or asked.key:
        file = _signed(asked.key, here, claim, release, evidence)
        said = _verified(claim, file, release, plan)
    why = objection_to(said, plan)
    return said, file, f"this {kind_of(claim).replace('_', '-')} would not count: {why}" if why else ""


def find_claim(here: Place, release: Release, start: str) -> Claim:
    """The claim of the release whose identity begins so; raises `UsageProblem` for none and for several."""
    known = here.store.claims(release.id).all
    found = [claim for claim in known if claim.identity.startswith(start.lower())]
    if len(start) < _SHORTEST or len(found) != 1:
        names = [claim.identity[:12] for claim in known]
        what = f"{len(found)} claims begin with '{start}'" if found else f"no claim of {release.name} is '{start}'"
        raise UsageProblem(what, nearest(start, names) if names else "nobody has said anything yet")
    return found[0]


def _signed(key: str, here: Place, claim: Claim, release: Release, evidence: bytes | None) -> bytes:
    from pytest_releasegate.signatures.signing import default_key, sign

    body = signed_bytes(document_of(claim, release))
    return to_file(claim, release, sign(body, key or default_key(here.root), NAMESPACE), evidence)


def _verified(claim: Claim, file: bytes, release: Release, plan: Plan) -> Claim:
    from dataclasses import replace

    from pytest_releasegate.claims import claim_from_document, identity
    from pytest_releasegate.signatures.allowed_signers import parse

    signers = parse(plan.rules.signers if plan.rules else "", "gates/allowed_signers")
    document = document_of(claim, release)
    said = claim_from_document(document)
    return verified(replace(said, identity=identity(document)), file, signers, release)
