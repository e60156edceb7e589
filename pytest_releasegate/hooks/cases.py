"""Which cases a run's plan has: those of its tests, for every browser that is or was asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.plan import freeze
from pytest_releasegate.checklist.python_gates import collect
from pytest_releasegate.hooks import asking

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from pytest_releasegate.checklist.loader import Checklist
    from pytest_releasegate.checklist.python_gates import PythonGates
    from pytest_releasegate.lifecycle.identify import Identity
    from pytest_releasegate.model import Plan
    from pytest_releasegate.store import Store

__all__ = ["python_gates", "with_planned_browsers"]

_DEFAULT = "chromium"
_IN_CASE = re.compile(r"(?<=[\[-])(?:chromium|firefox|webkit)(?=[\]-])")


def python_gates(config: pytest.Config, checklist: Checklist, browsers: Iterable[str] = ()) -> PythonGates:
    """The gates that tests bear, for the browsers that the command names, and for some more."""
    cache = config.rootpath / ".releasegate" / "cases.json"
    wanted = sorted({*(asking.browsers(config) or [_DEFAULT]), *browsers})
    if wanted == [_DEFAULT]:
        wanted = []
    return collect(
        config.rootpath, asking.paths(config), cache, config.inipath, declared=checklist.has_tests, browsers=wanted
    )


def with_planned_browsers(
    config: pytest.Config, checklist: Checklist, store: Store, identity: Identity, plan: Plan
) -> Plan:
    """The plan with the cases of each browser of the release's plan too: naming one narrows the run, not the plan."""
    found = store.find_release(identity.product, identity.version, identity.environment.name)
    if found is None:
        return plan
    missing = _browsers(store.plan(found.id)) - _browsers(plan)
    return freeze(checklist, python_gates(config, checklist, missing), identity.environment.name) if missing else plan


def _browsers(plan: Plan) -> set[str]:
    cases = (case for planned in plan.gates if planned.gate.kind == "test" for case in planned.cases)
    return {name for case in cases for name in _IN_CASE.findall(case)}
