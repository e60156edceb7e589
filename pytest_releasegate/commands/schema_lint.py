"""`releasegate schema-lint`: hold a database's catalogue against the lints, outside of any gate and record."""

from __future__ import annotations

import json
from argparse import SUPPRESS
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_releasegate.check import Context
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.errors import ExitCode, UsageProblem
from pytest_releasegate.model import Environment, Release

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from pytest_releasegate.checks.schema_lint import SchemaLint
    from pytest_releasegate.sources.pglints import Issue, Report

__all__ = ["arguments", "run"]

_DOCS = "docs/schema-lints.md"
_SARIF = {"error": "error", "warn": "warning", "info": "note"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add(
        "target",
        help="a connection string, '${env:NAME}' for one in a variable, or an environment of environments.yaml",
    )
    add("--database", default="", metavar="NAME", help="which database of the environment")
    add("--api-schema", action="append", default=[], metavar="SCHEMA", help="a schema that an API serves; repeatable")
    add("--no-api", action="store_true", help="no schema is served by an API")
    add("--api-role", action="append", default=[], metavar="ROLE", help="a role of its callers; repeatable")
    add("--include", action="append", default=[], metavar="SCHEMA", help="a schema such as auth that is your own")
    add("--only", action="append", default=[], metavar="LINT", help="only that lint; repeatable")
    add("--at-least", default="warn", choices=["error", "warn", "info"], help="what ends with code 1")
    add("--format", default="text", choices=["text", "json", "sarif", "sql"], help="sql: a script of all fixes")
    add("--root", default=SUPPRESS, metavar="FOLDER", help="the folder that holds gates/")


def run(asked: argparse.Namespace) -> ExitCode:
    """Print what was found; worse than it may be is code 1, what could not be told is code 10."""
    check = _check(asked)
    report = check.report(_context(asked))
    say(*_WRITERS[asked.format](check, report))
    if any(issue.seen and check.fails(issue.lint) for issue in report.issues):
        return ExitCode.NO_GO
    unseen = (
        bool(report.unsaid)
        or any(check.decides(lint) for lint in report.untold)
        or any(not issue.seen for issue in report.issues)
    )
    return ExitCode.HOLD if unseen or not report.numbers["tables"] else ExitCode.GO


def _check(asked: argparse.Namespace) -> SchemaLint:
    from pydantic import ValidationError

    from pytest_releasegate.checks.schema_lint import SchemaLint

    keys: dict[str, Any] = {name: getattr(asked, name) for name in ("database", "only", "include", "at_least")}
    if asked.api_schema and asked.no_api:
        raise UsageProblem("--no-api and --api-schema contradict each other", "say one of them")
    if asked.api_schema or asked.no_api:
        keys["api_schemas"] = asked.api_schema
    if asked.api_role:
        keys["api_roles"] = asked.api_role
    try:
        check = SchemaLint(**keys)
    except ValidationError as wrong:
        raise UsageProblem("; ".join(str(error["msg"]) for error in wrong.errors())) from None
    if check.api_schemas is None and any(lint.api for lint in check.lints()):
        raise UsageProblem(
            "the lints must know which schemas an API serves", "--api-schema public, or --no-api if none is served"
        )
    return check


def _context(asked: argparse.Namespace) -> Context:
    target = asked.target
    if "://" in target or "=" in target or target.startswith("${"):
        environment = Environment(name="target", databases={"app": target})
    else:
        asked.release, asked.env, asked.record = "unreleased", target, ""
        environment = place(asked, gates=False).identity.environment
    release = Release(product="", version="unreleased", environment=environment.name, opened_at=asked.clock.now())
    return Context(environment, release, Path.cwd(), clock=asked.clock)


def _text(check: SchemaLint, report: Report) -> Iterator[str]:
    """What, why and the SQL of each issue, the worst first; then what was looked at."""
    for issue in report.issues:
        yield f"{issue.lint.level} {issue.lint.id}: {issue.object}"
        yield f"    {issue.what}" if issue.seen else f"    cannot tell: {issue.what}"
        yield f"    why: {issue.lint.why}"
        yield from (
            f"    {'fix: ' if not number else '     '}{line}" for number, line in enumerate(issue.fix.splitlines())
        )
    for lint, why in report.untold.items():
        yield f"not told {lint.id}: {why}"
    if report.unsaid:
        yield f"not told: PostgREST also serves {', '.join(report.unsaid)} by pgrst.db_schemas; name them too"
    left = f"; not looked at: {', '.join(report.left_out)}" if report.left_out else ""
    numbers = ", ".join(f"{number} {what}" for what, number in report.numbers.items())
    failing = sum(issue.seen and check.fails(issue.lint) for issue in report.issues)
    yield f"{len(report.lints)} lints over {numbers}{left}"
    yield f"{len(report.issues)} found, {failing} of them {check.at_least} or worse"


def _json(check: SchemaLint, report: Report) -> Iterator[str]:
    found = [
        {
            "lint": issue.lint.id,
            "level": issue.lint.level.value,
            "object": issue.object,
            "what": issue.what,
            "why": issue.lint.why,
            "fix": issue.fix,
            "seen": issue.seen,
            "fails": issue.seen and check.fails(issue.lint),
        }
        for issue in report.issues
    ]
    whole = {
        "found": found,
        "untold": {lint.id: why for lint, why in report.untold.items()},
        "lints": [lint.id for lint in report.lints],
        "looked_at": dict(report.numbers),
        "unsaid_schemas": list(report.unsaid),
        "left_out": list(report.left_out),
        "api_roles": list(report.roles),
    }
    yield json.dumps(whole, indent=2, ensure_ascii=False)


def _sarif(_check: SchemaLint, report: Report) -> Iterator[str]:
    """As of SARIF 2.1.0; an object of a database has a logical location."""
    rules = [
        {
            "id": lint.id,
            "shortDescription": {"text": lint.title},
            "fullDescription": {"text": lint.why},
            "defaultConfiguration": {"level": _SARIF[lint.level]},
            "help": {"text": f"{_DOCS}#{lint.id}"},
        }
        for lint in report.lints
    ]
    driver = {"name": "releasegate schema-lint", "rules": rules}
    results = [_result(issue) for issue in report.issues]
    whole = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    yield json.dumps(whole, indent=2, ensure_ascii=False)


def _result(issue: Issue) -> dict[str, Any]:
    return {
        "ruleId": issue.lint.id,
        "level": _SARIF[issue.lint.level],
        "message": {"text": f"{issue.object}: {issue.what}. {issue.lint.why} To fix: {issue.fix}"},
        "locations": [{"logicalLocations": [{"fullyQualifiedName": issue.object}]}],
    }


def _sql(_check: SchemaLint, report: Report) -> Sequence[str]:
    from pytest_releasegate.checks.schema_lint import script

    return [script([issue for issue in report.issues if issue.seen]).rstrip()]


_WRITERS = {"text": _text, "json": _json, "sarif": _sarif, "sql": _sql}
