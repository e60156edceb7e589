"""Policies that PostgreSQL cannot apply, since in the end they ask for a table that is being asked for already."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from pytest_releasegate.sources.pglints.expressions import without_strings
from pytest_releasegate.sources.pglints.lint import Level, Lint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_releasegate.sources.pglints.policy import Policy

__all__ = ["RECURSIVE", "recursive"]

_SUBQUERY = re.compile(r"\(\s*SELECT\b")
_NAMED = re.compile(r"""(?<![\w.":])((?:\w+|"(?:[^"]|"")*")\.(?:\w+|"(?:[^"]|"")*"))(?![\w.(])""")
Policies = dict[str, list["Policy"]]
"""The policies in force by the quoted name of their table."""

RECURSIVE = Lint(
    id="rls_policy_recursive",
    level=Level.ERROR,
    title="no policy asks, by itself or by way of others, for its own table",
    why="PostgreSQL refuses every such query: infinite recursion detected in policy.",
    fix="-- let the policy call a SECURITY DEFINER function that reads SCHEMA.TABLE",
)


def recursive(policies: Sequence[Policy]) -> Iterator[tuple[str, str, str]]:
    """Object, what and fix for each table and command that cannot be used by some role."""
    tables: Policies = {}
    for policy in policies:
        if policy.enabled:
            tables.setdefault(policy.sql, []).append(policy)
    for table, own in tables.items():
        found: dict[tuple[str, ...], list[str]] = {}
        for command in ("select", "insert", "update", "delete"):
            for role in _roles(own):
                if way := _way(tables, (table,), command, role):
                    found.setdefault(way, []).append(command)
        for way, commands in found.items():
            if own[0].own:
                what = f"{', '.join(dict.fromkeys(commands))} asks for {' and then '.join(way[1:])}"
                fix = f"-- let the policies call a SECURITY DEFINER function that reads {way[-1]}"
                yield own[0].label, what, fix


def _roles(policies: Sequence[Policy]) -> list[str]:
    """Those that the policies apply to; PUBLIC stands for whoever is named nowhere."""
    bypassing = {role for policy in policies for role in policy.bypassing}
    named = {role for policy in policies for role in (*policy.named, *policy.api_roles)}
    return sorted((named | {"PUBLIC"}) - bypassing)


def _way(tables: Policies, active: tuple[str, ...], command: str, role: str) -> tuple[str, ...]:
    """The tables from the first to the one that is met again; empty where none is."""
    applied = [policy for policy in tables[active[-1]] if command in policy.commands and _applies(policy, role)]
    # PostgreSQL looks for a recursion only where one of the policies holds a subquery, be it of another command
    if not any(_has_subquery(policy.using) or _has_subquery(policy.check) for policy in applied):
        return ()
    if active[-1] in active[:-1]:
        return active
    asked = [table for policy in applied for text in _conditions(policy, command) for table in _named(text)]
    ways = (_way(tables, (*active, table), "select", role) for table in dict.fromkeys(asked) if table in tables)
    return next((way for way in ways if way), ())


def _conditions(policy: Policy, command: str) -> tuple[str, ...]:
    """What PostgreSQL asks for the command: the old rows, the new ones, or both."""
    check = policy.check or policy.using
    return {"insert": (check,), "update": (policy.using, check)}.get(command, (policy.using,))


def _applies(policy: Policy, role: str) -> bool:
    return policy.public or role in policy.named or role in policy.api_roles


@lru_cache(maxsize=4096)
def _has_subquery(text: str) -> bool:
    return bool(_SUBQUERY.search(without_strings(text)))


@lru_cache(maxsize=4096)
def _named(text: str) -> tuple[str, ...]:
    """What in the condition may be a table: names with a schema."""
    return tuple(_NAMED.findall(without_strings(text)))
