"""What the marks of a Python test say of the gate that it bears."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pytest_releasegate.model import STEPS, Phase, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

__all__ = ["borne"]

_PYTEST = {"skip", "skipif", "xfail", "parametrize", "usefixtures", "filterwarnings", "timeout", "asyncio", "anyio"}


def borne(item: pytest.Item, paths: Iterable[str]) -> tuple[str, dict[str, Any]] | None:
    """The id of the gate that a test bears, and what its marks declare of it; None for an ordinary test.

    A bare marker of a phase makes a gate only under the paths; its id is the test's dotted name.
    """
    mark = item.get_closest_marker("gate")
    if mark:
        declared = _by_keywords(item, mark) if mark.args and mark.kwargs else {}
        return (str(mark.args[0]), declared) if mark.args else None
    file, _, name = item.nodeid.partition("::")
    if not any(file == path or file.startswith(f"{path.rstrip('/')}/") for path in paths):
        return None
    names = {marker.name for marker in item.iter_markers()}
    phases = [phase.value for phase in Phase if phase.value in names]
    if not phases:
        return None
    dotted = f"{file.removesuffix('.py')}/{name.partition('[')[0]}".replace("::", ".").replace("/", ".")
    return dotted, _by_markers(item, names, " and ".join(phases))


def _by_keywords(item: pytest.Item, mark: pytest.Mark) -> dict[str, Any]:
    name = str(mark.args[0])
    keys = {key: list(value) if isinstance(value, tuple | set) else value for key, value in mark.kwargs.items()}
    parent = name.rpartition(".")[0] or name
    return {"item": parent, "item_title": _first_line(_module(item)) or parent, "title": _title(item), **keys}


def _by_markers(item: pytest.Item, names: set[str], phase: str) -> dict[str, Any]:
    module = item.nodeid.partition("::")[0].removesuffix(".py").replace("/", ".")
    steps = [step for step in STEPS.get(phase, ()) if step in names]  # type: ignore[call-overload]
    severities = [severity.value for severity in Severity if severity.value in names]
    said = {*steps, *severities, *Phase, *_PYTEST}
    topics = sorted(name for name in names - said if name.isidentifier() and name.islower())
    keys = {"phase": phase, "item": module, "item_title": _first_line(_module(item)) or module, "title": _title(item)}
    keys |= {"step": " and ".join(steps)} if steps else {}
    keys |= {"severity": " and ".join(severities)} if severities else {}
    return {**keys, **({"topics": topics} if topics else {})}


def _title(item: pytest.Item) -> str:
    function = getattr(item, "function", None)
    name = item.name.partition("[")[0].removeprefix("test_").replace("_", " ")
    return _first_line(function) or name[:1].upper() + name[1:]


def _module(item: pytest.Item) -> object:
    return getattr(item, "module", None)


def _first_line(thing: object) -> str:
    lines = (inspect.getdoc(thing) or "").splitlines() if thing else []
    return lines[0].strip().rstrip(".") if lines else ""
