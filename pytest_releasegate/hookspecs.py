"""Hooks that a conftest may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_releasegate.check import Clock


@pytest.hookspec(firstresult=True)
def pytest_releasegate_clock(config: pytest.Config) -> Clock | None:
    """The clock that gates go by, instead of the machine's."""
