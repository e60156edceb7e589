"""The file of a claim against the record: what was changed, or copied from another release, does not count."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pytest_releasegate.claims import Attestation, Claim, SignOff, Waiver, identity
from pytest_releasegate.lifecycle.claim_files import document_of, to_file, verified
from pytest_releasegate.model import Phase, Release, Status
from pytest_releasegate.signatures.allowed_signers import Signers

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
RELEASE = Release(product="shop", version="1.4.0", environment="prod", git_commit="abc", opened_at=NOW)
SAID: dict[str, Any] = {"person": "bob", "role": "lead", "at": NOW}
WORD = Attestation(gate="1", status=Status.FAILED, **SAID)
WAIVER = Waiver(gate="1", reason="r", expires_at=NOW + timedelta(days=1), **SAID)
SIGN_OFF = SignOff(
    phase=Phase.PREDEPLOY, decision="HOLD", plan_digest="p", policy_digest="", subject={"1": ("passed",)}, **SAID
)


def flaw(claim: Claim, about: Release = RELEASE, **changes: Any) -> str:
    """What is wrong with a claim whose file is about that release, in the record of ours, with changed columns."""
    kept = replace(claim, identity=identity(document_of(claim, about)), **changes)
    return verified(kept, to_file(claim, about), Signers(), RELEASE).flaw


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        (WORD, {"status": Status.PASSED}),
        (WORD, {"gate": "2"}),
        (WORD, {"at": NOW + timedelta(hours=1)}),
        (WAIVER, {"expires_at": NOW + timedelta(days=999)}),
        (WAIVER, {"git_commit": "abc"}),
        (SIGN_OFF, {"decision": "GO"}),
        (SIGN_OFF, {"person": "ann"}),
        (SIGN_OFF, {"subject": {"1": ("failed",)}}),
    ],
)
def test_a_row_that_says_something_else_than_its_file_does_not_count(claim: Claim, changes: dict[str, Any]) -> None:
    assert flaw(claim) == ""
    assert flaw(claim, **changes) == "its file says something else than the record"


@pytest.mark.parametrize(
    "other",
    [{"product": "till"}, {"version": "1.3.0"}, {"environment": "staging"}, {"attempt": 2}, {"git_commit": "x"}],
)
def test_a_file_about_another_release_does_not_count_here(other: dict[str, Any]) -> None:
    for claim in (WORD, WAIVER, SIGN_OFF):
        assert flaw(claim, replace(RELEASE, **other)) == "its file is about another release"


def test_a_waiver_of_the_commit_counts_in_its_other_environments_and_not_in_other_products() -> None:
    bound = replace(WAIVER, git_commit="abc")
    assert flaw(bound, replace(RELEASE, environment="staging", attempt=2)) == ""
    assert flaw(bound, replace(RELEASE, product="till")) == "its file is about another release"


def test_a_word_given_before_the_commit_was_known_still_counts() -> None:
    assert flaw(WORD, replace(RELEASE, git_commit="")) == ""


def test_texts_that_the_record_spells_otherwise_keep_their_claim() -> None:
    odd = replace(WORD, note="nul \x00 and \udcff")
    kept = replace(odd, note="nul \u2400 and \\udcff", identity=identity(document_of(odd, RELEASE)))
    assert verified(kept, to_file(odd, RELEASE), Signers(), RELEASE).flaw == ""
