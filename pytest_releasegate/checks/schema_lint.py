"""`schema_lint`: what a database's catalogue must not show: open tables, void policies, broken keys and indexes."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, StrictStr, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pglints import API_ROLES, LINTS, OTHERS, Level, Scope, by_name, inspect
from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.pglints import Issue, Lint, Report

__all__ = ["SchemaLint"]

Reasons = dict[str, StrictStr]
_SERVED_BY_PLATFORM = {"graphql_public", "pgmq_public", "storage"}
"""Schemas of Supabase that its API serves, and whose objects are its own."""
_SHOWN = 12


class SchemaLint(Parameters):
    """The catalogue against the lints of `docs/schema-lints.md`; the denominator is the tables and the lints run.

    Lints of what an API reaches need its schemas, or the gate is an error. What is less than `at_least` is only shown.

    ```yaml
    schema_lint:
      database: app
      api_schemas: [public]
      at_least: warn
      ignore:
        materialized_view_in_api:
          public.price_list: prices are on the web site anyway
      least: 5
    ```
    """

    kind: ClassVar[str] = "schema_lint"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    api_schemas: list[StrictStr] | None = None
    """The schemas that an API (PostgREST, Supabase, GraphQL) serves; `[]` says that none does."""
    api_roles: list[StrictStr] = Field(default=list(API_ROLES), min_length=1)
    """The roles that the API takes on for its callers."""
    include: list[StrictStr] = Field(default_factory=list)
    """Schemas that are yours, though a platform or an extension usually fills one of that name, such as `auth`."""
    only: list[StrictStr] = Field(default_factory=list)
    """The lints to run; by default all."""
    ignore: dict[str, Reasons] = Field(default_factory=dict)
    """By lint, the objects that may stay as they are (`*` stands for any text), each with the reason."""
    at_least: Level = Level.WARN
    """The lowest level that fails the gate: `error`, `warn` or `info`."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many tables there must be at least."""

    @field_validator("only")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            _require_known(name)
        return names

    @field_validator("ignore")
    @classmethod
    def _ignorable(cls, ignore: dict[str, Reasons]) -> dict[str, Reasons]:
        for name, reasons in ignore.items():
            _require_known(name)
            for thing, reason in reasons.items():
                if not reason.strip():
                    raise ValueError(f"{name}: expected a reason for '{thing}', got none")
        return ignore

    @model_validator(mode="after")
    def _something_left(self) -> SchemaLint:
        if not self.lints():
            raise ValueError("no lint is left to run: `api_schemas: []` leaves out those of an API")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask the catalogue, and tell what the lints say of it."""
        report = self.report(context)
        shown = [issue for issue in report.issues if self.reason(issue) is None]
        ignored = [issue for issue in report.issues if self.reason(issue) is not None]
        if report.issues:
            context.attach("lints.sql", "application/sql", script(shown).encode())
        for issue in shown:
            if issue.seen and self.fails(issue.lint):
                yield find(name(issue), expected=issue.lint.title, actual=told(issue), ok=False)
        yield from self._unseen(report, shown)
        yield from self._observed(shown)
        yield from self._ignored(report, ignored)
        yield from self._numbers(report)

    def report(self, context: Context) -> Report:
        """What the lints find; raises `CannotLook` where one needs the API's schemas and nothing says them."""
        lints = self.lints()
        if self.api_schemas is None and (needing := [lint.id for lint in lints if lint.api]):
            raise CannotLook(
                f"api_schemas is not set, and {len(needing)} lints need it, such as {needing[0]}",
                "say `api_schemas: [public]`, the schemas that the API serves, or `api_schemas: []` if there is none",
            )
        self._require_looked_at()
        scope = Scope(
            api_schemas=tuple(self.api_schemas or ()),
            api_roles=() if self.api_schemas == [] else tuple(self.api_roles),
            include=tuple(self.include),
        )
        with connect(context, self.database) as connection:
            report = inspect(connection, lints, scope)
        self._require_roles(report)
        return report

    def lints(self) -> list[Lint]:
        """The lints to run: those of an API only where there is one."""
        known = by_name()
        chosen = [known[each] for each in self.only] if self.only else list(LINTS)
        return [lint for lint in dict.fromkeys(chosen) if not (lint.api and self.api_schemas == [])]

    def fails(self, lint: Lint) -> bool:
        """Whether an issue of the lint fails the gate."""
        return lint.level.rank <= self.at_least.rank

    def reason(self, issue: Issue) -> str | None:
        """Why the issue may stay; None where nothing says so."""
        for each in (issue.lint.id, *issue.lint.aliases):
            for pattern, why in self.ignore.get(each, {}).items():
                if pattern == issue.object or fnmatchcase(issue.object, pattern):
                    return why
        return None

    def _require_looked_at(self) -> None:
        """A schema of the API that is left out as a platform's would be all clear by its name alone."""
        left_out = set(OTHERS) - set(self.include) - _SERVED_BY_PLATFORM
        if hidden := sorted(left_out & set(self.api_schemas or ())):
            raise CannotLook(
                f"api_schemas: '{hidden[0]}' is left out, as a schema that a platform or an extension fills",
                f"say `include: [{hidden[0]}]` where it is yours, or take it out of `api_schemas`",
            )

    def _require_roles(self, report: Report) -> None:
        missing = [role for role in self.api_roles if role not in report.roles]
        if missing and report.roles and "api_roles" in self.model_fields_set:
            raise CannotLook(f"api_roles: there is no role '{missing[0]}'", nearest(missing[0], report.roles))

    def decides(self, lint: Lint) -> bool:
        """Whether it matters that the lint could not be run: not where that is usual, unless it is asked for."""
        return self.fails(lint) and not (lint.rare and lint.id not in self.only)

    def _unseen(self, report: Report, shown: list[Issue]) -> Iterator[Finding]:
        """What could not be looked at; it decides only where an issue of the lint would."""
        for why in dict.fromkeys(report.untold.values()):
            lints = [lint for lint, reason in report.untold.items() if reason == why]
            for decisive in (True, False):
                names = [lint.id for lint in lints if self.decides(lint) is decisive]
                if names:
                    yield find(
                        f"not told: {_listed(names)}",
                        expected="the lints can tell",
                        actual=why,
                        ok=Ok.CANNOT_TELL,
                        observe=not decisive,
                    )
        for issue in shown:
            if not issue.seen:
                hidden = find(name(issue), expected=issue.lint.title, actual=issue.what, ok=Ok.CANNOT_TELL)
                yield hidden if self.fails(issue.lint) else _observe(hidden)

    def _observed(self, shown: list[Issue]) -> Iterator[Finding]:
        """One line for each lint below the level that decides."""
        by_lint: dict[Lint, list[str]] = {}
        for issue in shown:
            if issue.seen and not self.fails(issue.lint):
                by_lint.setdefault(issue.lint, []).append(issue.object)
        for lint, objects in by_lint.items():
            actual = f"{len(objects)}: {_listed(objects)}"
            yield find(f"{lint.id} ({lint.level})", expected=lint.title, actual=actual, ok=False, observe=True)

    def _ignored(self, report: Report, ignored: list[Issue]) -> Iterator[Finding]:
        for issue in ignored:
            actual = f"{issue.what}; ignored: {self.reason(issue)}"
            yield find(name(issue), expected=issue.lint.title, actual=actual, ok=False, observe=True)
        ran = {each for lint in report.lints for each in (lint.id, *lint.aliases)}
        used = {(each, issue.object) for issue in ignored for each in (issue.lint.id, *issue.lint.aliases)}
        for lint, reasons in self.ignore.items():
            for pattern in reasons if lint in ran else ():
                if not any(each == lint and (thing == pattern or fnmatchcase(thing, pattern)) for each, thing in used):
                    yield find(
                        f"ignore {lint}: {pattern}",
                        expected="something to ignore",
                        actual="nothing: remove it from `ignore`",
                        ok=False,
                        observe=True,
                    )

    def _numbers(self, report: Report) -> Iterator[Finding]:
        if report.unsaid and self.api_schemas is not None:
            yield find(
                "schemas of the API",
                expected="`api_schemas` names all that PostgREST serves by pgrst.db_schemas",
                actual=f"not {', '.join(report.unsaid)}",
                ok=Ok.CANNOT_TELL,
            )
        for what in ("views", "functions", "policies"):
            yield find(f"{what} looked at", expected="any number", actual=report.numbers[what], ok=True, observe=True)
        if report.left_out:
            hint = f"{', '.join(report.left_out)} (a platform's or an extension's; yours: name it under `include`)"
            yield find("schemas left out", expected="none of your own", actual=hint, ok=True, observe=True)
        yield counted("lints", len(report.lints))
        yield counted("tables", report.numbers["tables"], self.least)


def name(issue: Issue) -> str:
    """The finding's name: the lint and the object."""
    return f"{issue.lint.id}: {issue.object}"


def told(issue: Issue) -> str:
    """What is wrong, why it matters, and the SQL that mends it, in one line."""
    return f"{issue.what}. {issue.lint.why} To fix: {' '.join(issue.fix.split())}"


def script(issues: list[Issue]) -> str:
    """All fixes as one SQL script, each under what it is for; nobody should run it unread."""
    parts = ["-- What the lints found, and the SQL to mend it. Read each statement before you run it."]
    for issue in issues:
        head = f"{issue.lint.level} {name(issue)}: {issue.what}".replace("\n", " ")
        parts.append(f"-- {head}\n-- {issue.lint.why}\n{issue.fix or '-- nothing'}")
    return "\n\n".join(parts) + "\n"


def _require_known(lint: str) -> None:
    known: Mapping[str, Lint] = by_name()
    if lint not in known:
        raise ValueError(f"there is no lint '{lint}'; {nearest(lint, list(known))}")


def _listed(words: list[str]) -> str:
    more = len(words) - _SHOWN
    return ", ".join(words[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _observe(finding: Finding) -> Finding:
    from dataclasses import replace

    return replace(finding, observe=True)
