"""`test`: a Python test that bears the gate's mark."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pytest_releasegate.params import Parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Test"]


class Test(Parameters):
    """A Python test marked `@pytest.mark.gate("10.2.4")` in the named file.

    ```yaml
    test: smoke/test_notes.py
    ```
    """

    __test__: ClassVar[bool] = False
    kind: ClassVar[str] = "test"
    shorthand: ClassVar[str] = "file"

    file: str
    """The test's file, relative to the root."""

    def look(self, context: Context) -> Iterator[Finding]:  # noqa: ARG002
        """Nothing: pytest runs the test itself."""
        yield from ()
