"""Types of parameters that checks of databases share."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from pytest_releasegate.sources.postgres import one_predicate

__all__ = ["Predicates", "Settings"]

_SETTING = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)+", re.IGNORECASE)


def _predicates(where: dict[str, str]) -> dict[str, str]:
    return {table: one_predicate(text, f"the predicate of {table}") for table, text in where.items()}


def _settings(settings: dict[str, str]) -> dict[str, str]:
    for name in settings:
        if not _SETTING.fullmatch(name):
            raise ValueError(f"expected the name of a custom setting such as app.user_id, got '{name}'")
    return settings


Predicates = Annotated[dict[str, str], AfterValidator(_predicates)]
"""By table, one condition on its rows."""

Settings = Annotated[dict[str, str], AfterValidator(_settings)]
"""Custom settings of a session by name, such as `app.user_id`."""
