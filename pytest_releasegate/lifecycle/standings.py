"""Where the gates of a release stand by its record: the one way from rows to standings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pytest_releasegate.claims import Claims
from pytest_releasegate.lifecycle.claim_files import verified
from pytest_releasegate.verdict import stand

if TYPE_CHECKING:
    from pytest_releasegate.model import Plan, Release
    from pytest_releasegate.store import Store
    from pytest_releasegate.verdict import Standing

__all__ = ["FOREVER", "claims_of", "standings_of"]

FOREVER = datetime.max.replace(tzinfo=UTC)


def standings_of(
    store: Store, release: Release, plan: Plan, now: datetime, until: datetime = FOREVER
) -> dict[str, Standing]:
    """Where each gate of the plan stands at `now`, by what was looked at and said no later than `until`."""
    results = [row for row in store.results(release.id) if row.started_at <= until]
    return stand(plan, results, claims_of(store, release, plan, until), release, now)


def claims_of(store: Store, release: Release, plan: Plan, until: datetime = FOREVER) -> Claims:
    """What was said of a release no later than `until`, each with the key that signed it or with its flaw."""
    said = [claim for claim in store.claims(release.id).all if claim.at <= until]
    files = store.claim_files(release.id)
    if not files:
        return Claims.of(said)
    from pytest_releasegate.signatures.allowed_signers import parse

    signers = parse(plan.rules.signers if plan.rules else "", "gates/allowed_signers")
    return Claims.of(
        verified(claim, files[claim.identity], signers, release) if claim.identity in files else claim for claim in said
    )
