"""The products of a repository: the folders that hold gates."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["below"]

_DEEPEST = 4
_PASSED_OVER = {"node_modules", "venv", "env", "build", "dist", "site-packages"}


def below(folder: Path, gates: str = "gates") -> list[str]:
    """The folders below one that hold environments of gates, relative to it and sorted, at most four levels down."""
    found = []
    for path, names, _ in os.walk(folder):
        here = Path(path).relative_to(folder)
        if here.parts and Path(path, gates, "environments.yaml").is_file():
            found.append(here.as_posix())
        deep = len(here.parts) >= _DEEPEST or here.as_posix() in found
        names[:] = [] if deep else sorted(name for name in names if name[0] not in "._" and name not in _PASSED_OVER)
    return sorted(found)
