"""Fixtures by which a Python test knows its target, where a run looks at several."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from pytest_releasegate.hooks.targets import Targets

__all__ = ["base_url", "releasegate_base_url", "releasegate_target"]


@pytest.fixture(scope="session", autouse=True)
def releasegate_target(request: pytest.FixtureRequest) -> str:
    """The environment that this test looks at; empty for a test that bears no gate."""
    return str(getattr(request, "param", ""))


@pytest.fixture(scope="session")
def base_url(request: pytest.FixtureRequest, releasegate_target: str) -> str | None:
    """The base URL of the test's target."""
    return _declared(request, releasegate_target) or None


@pytest.fixture(autouse=True)
def releasegate_base_url(request: pytest.FixtureRequest, releasegate_target: str, base_url: str | None) -> None:
    """Refuses a base URL that a conftest has made, and that leads to another target."""
    own = _declared(request, releasegate_target).rstrip("/")
    if base_url and own and not f"{base_url}/".startswith(f"{own}/"):
        what = f"the fixture base_url gives another URL than that of {releasegate_target}"
        pytest.fail(f"{what}\n    it is overridden: build it from the base_url that it overrides", pytrace=False)


def _declared(request: pytest.FixtureRequest, target: str) -> str:
    targets = cast("Targets", request.config.pluginmanager.get_plugin("releasegate-targets"))
    return targets.urls.get(target, "")
