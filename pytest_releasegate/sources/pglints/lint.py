"""What a lint is: one thing that the catalogue must not show, why, and how it is found and mended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pytest_releasegate.sources.pglints.policy import Policy

__all__ = ["API_ROLES", "Issue", "Level", "Lint", "Report", "Scope"]

API_ROLES = ("anon", "authenticated")
"""The roles that an API takes on for its callers, where nothing else is said."""


class Level(StrEnum):
    """How bad it is: a hole or a broken promise, a danger, or something to know."""

    ERROR = "error"
    WARN = "warn"
    INFO = "info"

    @property
    def rank(self) -> int:
        """Position in the order error, warn, info."""
        return list(Level).index(self)


@dataclass(frozen=True, slots=True)
class Issue:
    """One object that a lint speaks of: what is wrong with it, and the SQL that mends it."""

    lint: Lint
    object: str
    what: str
    fix: str
    seen: bool = True
    """False where the role that looks may not see it, so that nothing can be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint:
    """One thing that the catalogue must not show.

    `sql` gives rows of object, what, fix and whether it could be seen; it may use the relations of `base.py`.
    `policies` looks at one row security policy instead, and gives its objections as pairs of what and fix.
    """

    id: str
    level: Level
    title: str
    """What is expected, such as `row-level security on every table of an API`."""
    why: str
    fix: str
    """The SQL to mend it, with NAMES for names."""
    sql: str = ""
    policies: Callable[[Policy], Iterable[tuple[str, str]]] | None = None
    api: bool = False
    """It asks what callers of an API reach, and so needs the API's schemas and roles."""
    where: str = ""
    """A condition on the server's version, such as `>= 180000`; everywhere without it."""
    rare: bool = False
    """It needs rights that a role that looks seldom has, and is run where they are there."""
    unless: str = ""
    """Silent on what this other lint speaks of."""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is looked at: the schemas and roles of an API, and known schemas of others that are the user's own."""

    api_schemas: tuple[str, ...] = ()
    api_roles: tuple[str, ...] = API_ROLES
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the lints found in one database, and what there was to look at."""

    lints: tuple[Lint, ...]
    """Those that were run."""
    untold: Mapping[Lint, str]
    """Those that could tell nothing, with the reason."""
    issues: tuple[Issue, ...]
    numbers: Mapping[str, int]
    """Tables, views, functions and policies that were looked at."""
    left_out: tuple[str, ...]
    """Schemas of the database that were not looked at, since a platform or an extension owns them."""
    roles: tuple[str, ...]
    """The API's roles that exist."""
    unsaid: tuple[str, ...] = ()
    """Schemas that PostgREST serves by a setting in the database, and that the scope does not name."""

    def of(self, level: Level) -> Iterator[Issue]:
        """The issues of one level."""
        return (issue for issue in self.issues if issue.lint.level is level)
