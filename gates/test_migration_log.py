"""9.2.3: the log of the migration that this release ran says that it finished, and holds no error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from pytest_releasegate.check import Context

BAD = {"error", "critical", "fatal"}


def lines(context: Context) -> list[dict[str, Any]]:
    """The migration log, one JSON object a line."""
    path = Path(context.resolve("${value:migration_log}", secret=False))
    try:
        text = path.read_text(encoding="utf-8").splitlines()
    except OSError as wrong:
        hint = "see `migration_log` in environments.yaml"
        raise CannotLook(f"the migration log cannot be read: {wrong.strerror}: {path}", hint) from None
    return [json.loads(line) for line in text if line.strip()]


def newest(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of the newest migration: those that name the version that the last one names."""
    return [line for line in log if line.get("version") == log[-1].get("version")] if log else []


@pytest.mark.gate("9.2.3")
def test_the_migration_log_holds_no_error(gate_context, finding):
    """The newest migration's lines: it finished, and none of them is an error."""
    found = newest(lines(gate_context))
    bad = [line for line in found if line.get("level") in BAD]
    finding("lines of the newest migration", expected=">= 1", actual=len(found), ok=bool(found))
    ended = [line for line in found if line.get("event") == "migration finished"]
    finding("it finished", expected=">= 1 line", actual=len(ended), ok=bool(ended))
    first = bad[0].get("error", bad[0].get("event")) if bad else ""
    finding("error lines", expected=0, actual=f"{len(bad)}: {first}" if bad else 0, ok=not bad)
