"""One file per kind of looking; the file's name is the kind, and nothing is registered."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_releasegate.params import Parameters

__all__ = ["ENTRY_POINTS", "kinds", "load_kind"]

ENTRY_POINTS = "pytest_releasegate.checks"
"""The entry-point group by which other distributions add kinds: `kind = "package.module:Class"`."""


@cache
def kinds() -> tuple[str, ...]:
    """The names of all kinds, sorted, without importing any of them."""
    own = {module.name for module in iter_modules(__path__)}
    return tuple(sorted(own | {entry.name for entry in entry_points(group=ENTRY_POINTS)}))


@cache
def load_kind(kind: str) -> type[Parameters]:
    """The class of a kind; raises `LookupError` when there is none of that name."""
    for entry in entry_points(group=ENTRY_POINTS, name=kind):
        loaded: type[Parameters] = entry.load()
        return loaded
    if kind not in kinds():
        raise LookupError(kind)
    module = import_module(f"{__name__}.{kind}")
    found: type[Parameters] = getattr(module, "".join(word.capitalize() for word in kind.split("_")))
    return found
