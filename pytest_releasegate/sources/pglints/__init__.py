"""Lints of a PostgreSQL catalogue: security and schema, all looked at together in two round trips."""

from __future__ import annotations

from pytest_releasegate.sources.pglints import columns, exposure, functions, indexes, keys, policies, recursion, server
from pytest_releasegate.sources.pglints.base import OTHERS
from pytest_releasegate.sources.pglints.lint import API_ROLES, Issue, Level, Lint, Report, Scope
from pytest_releasegate.sources.pglints.look import inspect

__all__ = ["API_ROLES", "LINTS", "OTHERS", "Issue", "Level", "Lint", "Report", "Scope", "by_name", "inspect"]

LINTS: tuple[Lint, ...] = tuple(
    sorted(
        (
            *exposure.LINTS,
            *policies.LINTS,
            policies.MULTIPLE,
            policies.ANONYMOUS,
            recursion.RECURSIVE,
            *functions.LINTS,
            *keys.LINTS,
            *indexes.LINTS,
            *columns.LINTS,
            *server.LINTS,
            server.HBA,
            server.BUCKETS,
        ),
        key=lambda lint: (lint.level.rank, lint.id),
    )
)
"""All lints, the worst first."""


def by_name() -> dict[str, Lint]:
    """The lints by their ids and by the other names that they are known by."""
    return {name: lint for lint in LINTS for name in (lint.id, *lint.aliases)}
