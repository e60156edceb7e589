"""What a gate file may hold, declared once: file, items, gates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pytest_releasegate.model import STEPS, Phase, Severity
from pytest_releasegate.params import Duration, Parameters, Span

__all__ = ["EnvironmentKeys", "EnvironmentsFile", "FileKeys", "GateKeys", "ItemKeys", "Target", "Word"]

Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
"""A marker or fact name: lower-case letters, digits, underscores."""
Target = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]
"""An environment's name: lower-case letters, digits, underscores, hyphens."""
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
"""A dotted id; `[ ] :: @` and blanks have a meaning to pytest and cannot be in one."""

_TAKEN = {"gate", "skip", "skipif", "xfail", "parametrize", "usefixtures", "filterwarnings"}
_TAKEN |= {*Phase, *Severity, *(step for steps in STEPS.values() for step in steps)}


def _free(word: str) -> str:
    if word in _TAKEN:
        raise ValueError(f"expected a marker of your own, got '{word}', which means something else")
    return word


Topic = Annotated[Word, AfterValidator(_free)]
"""A further marker; phases, steps, severities and the markers of pytest are taken."""


class FileKeys(Parameters):
    """One gate file: a phase and its items."""

    phase: Phase
    """Phase of the release the gates belong to."""
    step: str = ""
    """Step of the phase, for phases that have steps, such as `before`, `migrate`, `after` of `deploy`."""
    title: str = ""
    """What the file is about, for people."""
    severity: Severity = Severity.HIGH
    """How bad a failure is, where neither item nor gate says otherwise."""
    topics: tuple[Topic, ...] = ()
    """Further pytest markers for all gates of the file, such as `smoke`."""
    owner: str = ""
    """Who answers for the gates of the file."""
    items: Annotated[list[Any], Field(min_length=1)]
    """The checkboxes, each with its gates."""


class ItemKeys(Parameters):
    """One checkbox of the checklist."""

    item: Identifier
    """The item's number in the checklist, such as "10.1" (quoted: it is no number)."""
    title: str
    """The item's text."""
    step: str = ""
    """Step of the phase for all gates of the item."""
    severity: Severity | None = None
    """How bad a failure is, where the gate does not say otherwise."""
    topics: tuple[Topic, ...] = ()
    """Further pytest markers for the item's gates."""
    when: str = ""
    """A condition on the release's facts, such as `maintenance and not hotfix`; else the gates are not applicable."""
    owner: str = ""
    """Who answers for the item."""
    gates: Annotated[list[Any], Field(min_length=1)]
    """The verifiable lines of the item."""


class GateKeys(Parameters):
    """One verifiable line; besides these keys it has exactly one check, named by its kind."""

    id: Identifier
    """The gate's id, unique over all files, such as 10.1.1."""
    title: str
    """The line of the checklist."""
    severity: Severity | None = None
    """How bad a failure is: critical, high, medium or low."""
    step: str = ""
    """Step of the phase."""
    topics: tuple[Topic, ...] = ()
    """Further pytest markers, such as `smoke`."""
    needs: tuple[Identifier, ...] = ()
    """Gates that must hold before this one looks."""
    when: str = ""
    """A condition on the release's facts; where it is false the gate is not applicable."""
    valid_for: Span | None = None
    """How long a pass holds, such as `24h`; without it, for this release."""
    due: Duration | None = None
    """How long after the deployment the gate falls due, such as `48h`."""
    timeout: Duration | None = None
    """The longest that looking may take; 120s without it."""
    trigger: bool = False
    """A failure asks for a rollback."""
    observe: bool = False
    """Look and show, but decide nothing."""
    alternatives: Word | Literal[""] = ""
    """A name; of the phase's gates that bear the same, one must hold."""
    writes: bool = False
    """It changes something for good: it runs once, and again only after `releasegate reopen`, even if it was killed."""
    together: bool = True
    """Whether it may look at the same time as others, if it is of a kind that only waits on a network."""
    owner: str = ""
    """Who answers for the gate."""


class EnvironmentKeys(Parameters):
    """One named target."""

    base_url: str = ""
    """Where the product answers, such as https://ehr.example.com."""
    databases: dict[str, str] = Field(default_factory=dict)
    """Connection strings by name, as references: `app: ${env:APP_DSN}`."""
    metrics: str = "/metrics"
    """The Prometheus exposition endpoint, a path under the base URL or a URL."""
    values: dict[str, str] = Field(default_factory=dict)
    """Further values for checks and tests."""
    protected: bool = False
    """Production: gates by path need the environment named in the command, and the plan changes only with a reason."""
    allow: frozenset[Literal["probes", "writes_through_app", "restores", "superuser", "owner"]] = frozenset()
    """What gates may do to it: probes (rolled back), writes_through_app; if protected: restores, superuser or owner."""
    connections: int = Field(default=2, ge=1, le=100, strict=True)
    """How many connections to one database gates may hold at once, all workers of a machine together."""
    watch: Duration | None = None
    """How long gates watch after a deployment, where it differs from what they declare."""


class EnvironmentsFile(Parameters):
    """The file `environments.yaml`."""

    default: str = ""
    """The environment that is meant when none is named."""
    product: str = ""
    """The product's name; without it, the name of the root folder."""
    environments: dict[Target, EnvironmentKeys]
    """The targets by name."""
    fleets: dict[Target, Annotated[tuple[Target, ...], Field(min_length=2)]] = Field(default_factory=dict)
    """Names for targets that are looked at together: `prod: [prod-eu, prod-us]`, for `--env prod`."""
