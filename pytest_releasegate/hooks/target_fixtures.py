"""Fixtures by which a Python test knows its target, where a run looks at several."""

from __future__ import annotations

import pytest

__all__ = ["base_url", "releasegate_target"]


@pytest.fixture(scope="session", autouse=True)
def releasegate_target(request: pytest.FixtureRequest) -> str:
    """The environment that this test looks at; empty for a test that bears no gate."""
    return str(getattr(request, "param", ""))


@pytest.fixture(scope="session")
def base_url(request: pytest.FixtureRequest, releasegate_target: str) -> str | None:
    """The base URL of the test's target."""
    urls: dict[str, str] = request.config.pluginmanager.get_plugin("releasegate-targets").urls  # type: ignore[union-attr]
    return urls.get(releasegate_target) or None
