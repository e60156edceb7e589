"""Whatever stands in a gates folder is loaded or told as a broken plan; nothing else is ever raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_releasegate.checklist.loader import load
from pytest_releasegate.errors import BrokenPlan

if TYPE_CHECKING:
    from pathlib import Path

MANY = settings(max_examples=70, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = ["a", "1.1", "http", "attest", "deploy", "predeploy", "before", "/x", "a and", "24h", "9" * 30, "\0", "high"]
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.sampled_from(WORDS),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
KEYS = st.sampled_from(
    [
        *("id", "title", "item", "items", "gates", "phase", "step", "severity"),
        *("topics", "when", "needs", "valid_for", "due", "timeout", "trigger", "observe"),
        *("owner", "http", "attest", "test", "sql", "x", "url", "role"),
        *("status", "default", "environments", "base_url", "databases", "allow", "watch"),
    ]
)
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=15
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gates folder that examples write into."""
    path = tmp_path_factory.mktemp("product") / "gates"
    path.mkdir()
    return path


def loaded_or_told(folder: Path, gates: str, environments: str) -> None:
    (folder / "a.yaml").write_text(gates, encoding="utf-8")
    (folder / "environments.yaml").write_text(environments, encoding="utf-8")
    broken = None
    try:
        checklist = load(folder, folder.parent)
    except BrokenPlan as told:
        broken = told
    if broken is None:
        assert checklist.declarations
        return
    assert all(problem.what for problem in broken.problems)
    places = [(problem.place.file, problem.place.line) for problem in broken.problems if problem.place]
    assert places == sorted(places)
    assert str(broken)


def dump(value: Any) -> str:
    return yaml.safe_dump(value, allow_unicode=True)


@MANY
@given(gates=st.text(st.characters(codec="utf-8"), max_size=60), environments=st.text(max_size=20))
def test_any_text(folder: Path, gates: str, environments: str) -> None:
    loaded_or_told(folder, gates, environments.encode("utf-8", "ignore").decode())


@MANY
@given(gates=TREES, environments=TREES)
def test_any_tree(folder: Path, gates: Any, environments: Any) -> None:
    loaded_or_told(folder, dump(gates), dump(environments))


@MANY
@given(keys=st.dictionaries(KEYS, TREES, max_size=4), item=st.dictionaries(KEYS, SCALARS, max_size=2))
def test_any_keys_in_a_gate(folder: Path, keys: dict[str, Any], item: dict[str, Any]) -> None:
    gate = {"id": "a", "title": "t", "attest": "lead"} | keys
    items = [{"item": "1", "title": "T", "gates": [gate]} | item]
    loaded_or_told(folder, dump({"phase": "predeploy", "items": items}), "environments: {prod: {}}")


@MANY
@given(parameters=TREES, kind=st.sampled_from(["http", "attest", "test", "sql", "metrics", "row_counts", "git"]))
def test_any_parameters_of_a_check(folder: Path, parameters: Any, kind: str) -> None:
    gate = {"id": "a", "title": "t", kind: parameters}
    items = [{"item": "1", "title": "T", "gates": [gate]}]
    loaded_or_told(folder, dump({"phase": "predeploy", "items": items}), "environments: {prod: {}}")
