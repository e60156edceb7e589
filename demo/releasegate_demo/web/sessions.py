"""Sessions that were ended: a signed cookie stays valid for whoever copied it, so the server must know."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from releasegate_demo.place import Place


class Ended:
    """The ids of sessions that their people ended, kept over restarts."""

    def __init__(self, place: Place) -> None:
        self._path = place.signed_out
        self._lock = threading.Lock()
        self._ids = set(self._path.read_text("utf-8").split()) if self._path.exists() else set()

    def add(self, key: str) -> None:
        """End a session for good."""
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            self._ids.add(key)
            file.write(f"{key}\n")

    def __contains__(self, key: object) -> bool:
        return key in self._ids
