"""`sign_off`: a role's signature over the phase's decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pytest_releasegate.params import Parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["SignOff"]


class SignOff(Parameters):
    """A role's signature over all other gates of the phase; the gate is `pending` until its holder signs.

    What gets worse after the signature makes it void.

    ```yaml
    sign_off: {role: release_manager}
    ```
    """

    kind: ClassVar[str] = "sign_off"
    shorthand: ClassVar[str] = "role"

    role: str
    """Who must sign, such as `release_manager`; its holders stand in `stakeholders.yaml`."""

    def look(self, context: Context) -> Iterator[Finding]:  # noqa: ARG002
        """Nothing: only a signature can tell."""
        yield from ()
