"""What one gate found is shared with the gates that ask the same within an hour."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_releasegate.check import Context

__all__ = ["digest", "recent", "share"]

_LONGEST = timedelta(hours=1)


def digest(texts: Iterable[str]) -> str:
    """One short name for all of the texts, in their order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def recent(context: Context, name: str, asked: str) -> Any:
    """What a gate of this release found in the last hour, asked the same; None otherwise."""
    kept = context.recorded(name)
    if kept is None or kept.value["asked"] != asked:
        return None
    age = context.clock.now() - datetime.fromisoformat(kept.value["at"])
    return kept.value["told"] if age < _LONGEST else None


def share(context: Context, name: str, asked: str, told: Any) -> None:
    """Leave JSON values for the gates that ask the same."""
    context.keep(name, {"asked": asked, "at": context.clock.now().isoformat(), "told": told})
