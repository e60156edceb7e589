"""Feature flags as services list them: their states, which of them are archived, and which are on for some alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Flags", "Shape", "once_each"]

_ARCHIVED = ("archived", "is_archived", "isArchived", "archivedAt", "archived_at", "deleted", "deletedAt", "deleted_at")
_SHARES = ("rollout", "rollout_percentage", "rolloutPercentage", "percentage", "percent")
_ALL = (1, 100)
"""What a share may be that is no share: all in percent, or as a fraction."""


@dataclass(frozen=True, slots=True)
class Flags:
    """What is known of flags, by name."""

    states: dict[str, Any] = field(default_factory=dict)
    shares: dict[str, str] = field(default_factory=dict)
    """Where a flag is on for a share of users alone, the field that says so and its value."""
    archived: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Shape:
    """Where an item has its name and its state, and what it is called in messages."""

    name: str
    state: str
    where: str

    def read(self, place: Any) -> Flags:
        """The flags of an object by name, or of a list of objects; raises `CannotLook` for others."""
        if isinstance(place, dict):
            return self._read(place.items())
        if not isinstance(place, list) or not all(isinstance(one, dict) and self.name in one for one in place):
            what = f"expected flags by name, or a list of objects with `{self.name}`, got {type(place).__name__}"
            raise CannotLook(f"{self.where}: {what}", "see `at` and `name`")
        return self._read((str(one[self.name]), one) for one in place)

    def _read(self, items: Iterable[tuple[str, Any]]) -> Flags:
        found = Flags()
        for name, one in items:
            if isinstance(one, dict) and any(one.get(key) for key in _ARCHIVED):
                found.archived.add(name)
                continue
            if name in found.states:
                raise CannotLook(f"{self.where}: the flag '{name}' is there twice", "ask for one state of each")
            found.states[name] = self._state(name, one)
            share = next(_shares(one), "") if isinstance(one, dict) else ""
            if share and share.split()[0] != self.state:
                found.shares[name] = share
        return found

    def _state(self, name: str, one: Any) -> Any:
        if not isinstance(one, dict):
            return one
        if self.state in one:
            return one[self.state]
        place: Any = one
        for key in self.state.split("."):
            if not isinstance(place, dict) or key not in place:
                known = sorted(place) if isinstance(place, dict) else []
                what = f"{self.where}: {name} has no '{self.state}'"
                raise CannotLook(what, f"set `state`; {nearest(key, known)}")
            place = place[key]
        return place


def _shares(one: dict[str, Any]) -> Iterator[str]:
    for key in _SHARES:
        try:
            share = float(one.get(key, ""))
        except (TypeError, ValueError):
            continue
        if share not in _ALL and not isinstance(one[key], bool):
            yield f"{key} {one[key]}"


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON in which each name stands once; raises `ValueError` for another."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"the name '{name}' is there twice")
        made[name] = value
    return made
