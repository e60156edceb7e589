"""A bad row that is offered to a table, who refused it, and what that came to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_releasegate.model import Ok

__all__ = ["Probe", "Refused", "Told"]


@dataclass(frozen=True, slots=True)
class Probe:
    """A change that makes a good row a bad one; `by` names the constraint or SQLSTATE that must refuse it."""

    change: Mapping[str, Any]
    by: str = ""

    def __str__(self) -> str:
        return ", ".join(f"{name} = {json.dumps(value, default=str)}" for name, value in self.change.items())


@dataclass(frozen=True, slots=True)
class Refused:
    """Who refused a row: the SQLSTATE, and the constraint or column where the server names one."""

    state: str
    constraint: str = ""
    column: str = ""
    domain: str = ""

    def __str__(self) -> str:
        named = self.constraint or (f"NOT NULL of {self.column}" if self.column else self.domain)
        return f"{named} ({self.state})" if named else f"SQLSTATE {self.state}"


@dataclass(frozen=True, slots=True)
class Told:
    """What a probe came to."""

    text: str
    ok: Ok
