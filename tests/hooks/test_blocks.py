"""Which gates may look together: only of kinds that change nothing and hold no connection to a database."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_releasegate.checks import kinds, load_kind
from pytest_releasegate.checks.feature_flags import FeatureFlags
from pytest_releasegate.checks.functions import Functions
from pytest_releasegate.checks.http import Http
from pytest_releasegate.checks.maintenance import Maintenance
from pytest_releasegate.hooks.ahead import _Order
from pytest_releasegate.hooks.blocks import _rounded
from pytest_releasegate.hooks.collect import GATE
from pytest_releasegate.hooks.session import KEY

PAGE = Path(__file__).parents[2] / "docs" / "gate-files.md"
WRITES = ("require_permission", "postgres import connect", "subprocess")
TOGETHER = [kind for kind in kinds() if hasattr(load_kind(kind), "waits")]


@pytest.mark.parametrize("kind", [kind for kind in TOGETHER if load_kind(kind).waits is True])
def test_a_kind_that_always_looks_together_changes_nothing(kind):
    source = inspect.getsource(sys.modules[load_kind(kind).__module__])
    assert [word for word in WRITES if word in source] == []


def test_the_page_names_them():
    section = PAGE.read_text("utf-8").partition("## Gates that look together")[2].partition("\n- ")[0]
    assert [kind for kind in kinds() if f"`{kind}`" in section] == TOGETHER


STATE = {"during": True, "otherwise": False}


@pytest.mark.parametrize(
    ("check", "together"),
    [
        (Http(url="/"), True),
        (Http(url="/", method="HEAD"), True),
        (Http(url="/", method="POST"), False),
        (Functions(base="/f", functions={"a": {}}), True),
        (Functions(base="/f", functions={"a": {}, "b": {"method": "POST"}}), False),
        (FeatureFlags(url="/flags", flags={"a": True}), True),
        (FeatureFlags(query="SELECT name, state FROM flags", database="app", flags={"a": True}), False),
        (Maintenance(mode="on", url="/", banner="Back soon"), True),
        (Maintenance(mode="on", setting={"query": "SELECT 1", "database": "app", **STATE}), False),
        (Maintenance(mode="on", jobs={"query": "SELECT 1", "database": "app", **STATE}), False),
    ],
)
def test_what_is_declared_decides_where_a_kind_can_do_either(check, together):
    assert check.waits is together


@pytest.mark.parametrize(
    ("pending", "number", "whole"),
    [
        ([0, 1, 2, 3, 4, 5], 1, 1),
        ([0, 1, 2, 3, 4, 5], 2, 4),
        ([1, 2, 3, 4, 5], 1, 3),
        ([4, 5, 3], 2, 2),
        ([5, 1, 3], 2, 2),
        ([3], 4, 4),
        ([2, 3], 0, 0),
    ],
)
def test_no_worker_gets_a_part_of_a_block(pending, number, whole):
    assert _rounded(pending, number, [0, 1, 1, 1, 4, 5]) == whole


def items_of_a_worker(*, whole):
    """A document's gate and four that may look together, as a worker has them."""
    config, session = SimpleNamespace(workerinput={"releasegate_blocks": whole}), SimpleNamespace(items=[])
    by_id = {}
    for name in ("d", "a", "b", "c", "e"):
        gate = SimpleNamespace(id=name, phase="predeploy", step="", needs=(), writes=False, kind="x", parameters={})
        gate.place = SimpleNamespace(file="gates/p.yaml")
        by_id[name] = SimpleNamespace(gate=gate, check=SimpleNamespace(waits=name != "d"), together=True)
        item = SimpleNamespace(nodeid=f"gates/p.yaml::{name}", config=config, session=session)
        item.declaration, item.stash = by_id[name], {GATE: gate, KEY: session}
        session.items.append(Hashable(**vars(item)))
    return session.items, SimpleNamespace(by_id=by_id)


class Hashable(SimpleNamespace):
    __hash__ = object.__hash__


@pytest.mark.parametrize(
    ("reached", "following", "whole", "begun"),
    [
        (1, 2, True, "abce"),
        (1, 2, False, "a"),
        (1, None, True, "a"),
        (1, 3, True, "a"),
        (2, 3, True, "b"),
        (0, 1, True, ""),
    ],
)
def test_a_worker_begins_others_only_at_the_start_of_a_block_that_came_whole(reached, following, whole, begun):
    items, checklist = items_of_a_worker(whole=whole)
    order = _Order(items[reached], checklist)
    found = order.ready(items[reached], None if following is None else items[following])
    assert "".join(item.declaration.gate.id for item in found) == begun
