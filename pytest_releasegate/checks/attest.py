"""`attest`: a line that only a person can answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pytest_releasegate.params import Parameters, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Attest"]


class Attest(Parameters):
    """A named person's word, asked for by role; the gate is `pending` until somebody gives it.

    ```yaml
    attest: {role: security_lead, evidence: required, valid_for: 90d}
    ```
    """

    kind: ClassVar[str] = "attest"
    shorthand: ClassVar[str] = "role"

    role: str
    """Who must answer, such as `security_lead`."""
    evidence: Literal["required", "optional"] = "optional"
    """Whether the word must come with a file or a link."""
    valid_for: Span | None = None
    """How long the word holds, such as `90d`; without it, for this release."""
    instead_of: str = ""
    """The kind of check that will look at this line one day; until then a person answers."""

    def look(self, context: Context) -> Iterator[Finding]:  # noqa: ARG002
        """Nothing: only a person can tell."""
        yield from ()
