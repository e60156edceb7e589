"""The phases of a release and their steps: their order, what each needs, and which speak of what was deployed."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["NEEDS_DEPLOYMENT", "PREDECESSORS", "STEPS", "Phase", "is_after_deployment"]


class Phase(StrEnum):
    """The phases of a release, in order of time."""

    PREDEPLOY = "predeploy"
    DEPLOY = "deploy"
    POSTDEPLOY = "postdeploy"
    DAY1 = "day1"
    REVIEW = "review"
    ROLLBACK = "rollback"
    BACKFILL = "backfill"
    COMPLIANCE = "compliance"


STEPS: dict[Phase, tuple[str, ...]] = {
    Phase.DEPLOY: ("before", "migrate", "after"),
    Phase.ROLLBACK: ("decide", "execute", "verify"),
    Phase.BACKFILL: ("before", "during", "after"),
}
"""The steps of the phases that have some."""

PREDECESSORS: dict[Phase, tuple[Phase, ...]] = {
    Phase.DEPLOY: (Phase.PREDEPLOY, Phase.COMPLIANCE),
    Phase.POSTDEPLOY: (Phase.DEPLOY,),
    Phase.DAY1: (Phase.POSTDEPLOY,),
    Phase.REVIEW: (Phase.DEPLOY,),
}
"""The phases whose GO a phase's GO needs; a phase that is not named needs none."""

NEEDS_DEPLOYMENT = (Phase.POSTDEPLOY, Phase.DAY1, Phase.REVIEW)
"""The phases that mean nothing before the deployment is recorded."""


def is_after_deployment(phase: Phase, step: str) -> bool:
    """Whether the gates of that phase and step speak of what was deployed."""
    return phase in NEEDS_DEPLOYMENT or (phase, step) == (Phase.DEPLOY, "after")
