"""Asks the catalogue: every lint in one statement, the policies in another, sent together."""

# ruff: noqa: S608  the parts are constants of this package
from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.sources.pglints.base import BASE, COUNTS, OTHERS
from pytest_releasegate.sources.pglints.buckets import listable
from pytest_releasegate.sources.pglints.lint import Issue, Report
from pytest_releasegate.sources.pglints.policies import ANONYMOUS, MULTIPLE, admits_anonymous, multiple
from pytest_releasegate.sources.pglints.policy import POLICIES, Policy
from pytest_releasegate.sources.pglints.recursion import RECURSIVE, recursive
from pytest_releasegate.sources.pglints.server import BUCKETS, HBA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import psycopg

    from pytest_releasegate.sources.pglints.lint import Lint, Scope

__all__ = ["inspect"]

# pg_get_expr leaves out schemas of the search_path, and auth.uid() must be told from uid()
_SESSION = "select set_config('search_path', '', true), set_config('jit', 'off', true)"
_MAY = """
with known as (
    select n.nspname as schema, c.oid, c.relname as name,
           has_schema_privilege(n.oid, 'USAGE') and not row_security_active(c.oid) as entered
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('auth', 'storage') and c.relkind in ('r', 'p', 'v')
)
select has_table_privilege('pg_catalog.pg_hba_file_rules', 'SELECT')
       and has_function_privilege('pg_catalog.pg_hba_file_rules()', 'EXECUTE'),
       (select k.entered and has_column_privilege(a.attrelid, a.attnum, 'SELECT')
        from known k join pg_catalog.pg_attribute a on a.attrelid = k.oid and a.attname = 'public'
        where k.schema = 'storage' and k.name = 'buckets'),
       (select k.entered and has_column_privilege(a.attrelid, a.attnum, 'SELECT')
        from known k join pg_catalog.pg_attribute a on a.attrelid = k.oid and a.attname = 'is_anonymous'
        where k.schema = 'auth' and k.name = 'users')
"""
"""Whether what is no catalogue may be read: the rules of pg_hba, the buckets of files, who has no account.

Null where there is no such thing.
"""
_PARAMETER = re.compile(r"%%(\(\w+\)s)")

_OF_ALL = ((MULTIPLE, multiple), (RECURSIVE, recursive))
"""Lints that look at all policies together."""


class _Look:
    """One look at a database: what the catalogue answered, and what follows from it."""

    def __init__(self, connection: psycopg.Connection[Any], lints: Sequence[Lint], scope: Scope) -> None:
        self.connection = connection
        version = connection.info.server_version
        self.lints = [lint for lint in lints if _fits(lint.where, version)]
        self.scope = scope
        self.parameters = {
            "api_schemas": list(scope.api_schemas),
            "api_roles": list(scope.api_roles),
            "left_out": [name for name in OTHERS if name not in scope.include],
        }

    def report(self) -> Report:
        """All that can be said."""
        counts, rows, policies, may = self._ask()
        *numbers, roles, left_out, unsaid, missing = counts
        _require_schemas(self.connection, missing)
        asked = [lint for lint in self.lints if not (lint.api and not roles)]
        issues = [*_issues(asked, rows), *self._of_policies(asked, policies), *self._beside(asked, may, policies)]
        untold = {lint: _no_roles(self.scope) for lint in self.lints if lint not in asked}
        untold |= {issue.lint: issue.what for issue in issues if not issue.object}
        return Report(
            lints=tuple(lint for lint in self.lints if lint not in untold),
            untold=untold,
            issues=tuple(sorted(_said_once(issues), key=_order)),
            numbers=dict(zip(("tables", "views", "functions", "policies"), numbers, strict=True)),
            left_out=tuple(left_out),
            roles=tuple(roles),
            unsaid=tuple(unsaid),
        )

    def _ask(self) -> tuple[tuple[Any, ...], list[tuple[Any, ...]], list[Policy], tuple[Any, ...]]:
        wanted = [(lint.id, lint.sql) for lint in self.lints if lint.sql and lint is not HBA]
        parts = [f"(select '{name}'::text, x.* from ({sql}) x (object, what, fix, seen))" for name, sql in wanted]
        everything = "\nunion all\n".join(parts) or "select '', '', '', '', true where false"
        with self.connection.pipeline():
            self.connection.execute(_SESSION)
            counts = self._run(BASE + COUNTS)
            rows = self._run(BASE + everything)
            policies = self._run(BASE + POLICIES)
            may = self._run(_MAY)
            first, last = counts.fetchone(), may.fetchone()
            if first is None or last is None:
                raise CannotLook("the catalogue did not answer", "look again")
            return first, rows.fetchall(), [_policy(row) for row in policies.fetchall()], last

    def _run(self, sql: str) -> psycopg.Cursor[Any]:
        # a percent sign of a lint is its own; only %(name)s is a parameter
        text = _PARAMETER.sub(r"%\1", sql.replace("%", "%%"))
        return self.connection.execute(text.encode(), self.parameters)

    def _of_policies(self, asked: Sequence[Lint], policies: Sequence[Policy]) -> Iterator[Issue]:
        for lint in asked:
            for find in (each for whole, each in _OF_ALL if whole is lint):
                yield from (Issue(lint, *found) for found in find(policies))
            for policy in policies if lint.policies else ():
                if policy.own and lint.policies:
                    yield from (Issue(lint, policy.object, what, fix) for what, fix in lint.policies(policy))

    def _beside(self, asked: Sequence[Lint], may: Sequence[bool | None], policies: Sequence[Policy]) -> Iterator[Issue]:
        """What needs more than the catalogue; an issue without an object says why nothing could be told."""
        hba, buckets, anonymous = may
        if HBA in asked:
            yield from (
                _issues([HBA], [(HBA.id, *row) for row in self._run(HBA.sql)])
                if hba
                else [_unreadable(HBA, "pg_hba_file_rules")]
            )
        if BUCKETS in asked and buckets is not None:
            yield from listable(self.connection, policies) if buckets else [_unreadable(BUCKETS, "storage.buckets")]
        if ANONYMOUS in asked and anonymous is not None:
            yield from self._anonymous(policies) if anonymous else [_unreadable(ANONYMOUS, "auth.users")]

    def _anonymous(self, policies: Sequence[Policy]) -> Iterator[Issue]:
        row = self.connection.execute("select exists (select from auth.users where is_anonymous)").fetchone()
        if row and row[0]:
            yield from (Issue(ANONYMOUS, *found) for found in admits_anonymous(policies))


def inspect(connection: psycopg.Connection[Any], lints: Sequence[Lint], scope: Scope) -> Report:
    """Hold the database's catalogue against the lints; `CannotLook` where a schema of the API does not exist."""
    return _Look(connection, lints, scope).report()


def _said_once(issues: Iterable[Issue]) -> Iterator[Issue]:
    """The issues that speak of an object, but not what a graver lint says of it already."""
    told = [issue for issue in issues if issue.object]
    known = {(issue.lint.id, issue.object) for issue in told}
    return (issue for issue in told if (issue.lint.unless, issue.object) not in known)


def _order(issue: Issue) -> tuple[int, str, str]:
    return issue.lint.level.rank, issue.lint.id, issue.object


def _issues(lints: Sequence[Lint], rows: Iterable[Sequence[Any]]) -> Iterator[Issue]:
    known = {lint.id: lint for lint in lints}
    yield from (Issue(known[name], *rest) for name, *rest in rows if name in known)


def _policy(row: Sequence[Any]) -> Policy:
    values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]
    return Policy(*values)


def _require_schemas(connection: psycopg.Connection[Any], missing: Sequence[str]) -> None:
    if missing:
        rows = connection.execute(
            "select nspname::text from pg_catalog.pg_namespace where nspname !~ '^pg_'"
        ).fetchall()
        hint = nearest(missing[0], [row[0] for row in rows])
        raise CannotLook(f"api_schemas: the database has no schema '{missing[0]}'", hint)


def _no_roles(scope: Scope) -> str:
    return f"none of the API's roles exists ({', '.join(scope.api_roles)})"


def _unreadable(lint: Lint, what: str) -> Issue:
    return Issue(lint, "", f"{what} may not be read", "")


def _fits(where: str, version: int) -> bool:
    return not where or version >= int(where.removeprefix(">= "))
