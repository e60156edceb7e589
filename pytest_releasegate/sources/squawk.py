"""squawk, the linter of PostgreSQL migrations: a second opinion on the text of each file."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from bisect import bisect_right
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgddl import actions
from pytest_releasegate.sources.pghazards import Hazard

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pytest_releasegate.sources.pgddl import Action
    from pytest_releasegate.sources.pgsplit import Script, Statement

__all__ = ["STYLE", "Cry", "opinions", "squawk"]

STYLE = frozenset(
    {
        *("prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-identity", "prefer-text-field"),
        *("prefer-timestamp-tz", "prefer-timestamptz", "prefer-robust-stmts", "prefer-repack", "ban-char-field"),
        *("require-timeout-settings", "require-lock-timeout", "require-statement-timeout"),
        *(
            "syntax-error",
            "ban-create-domain-with-constraint",
            "require-table-schema",
            "identifier-too-long",
            "require-enum-value-ordering",
        ),
    }
)
"""Rules that are not asked for: about how things are written, and what is known better here."""
_DROPPED = re.compile(
    r"drop\s+(?P<kind>(?:materialized\s+)?view|function|procedure|type|sequence|domain)\s+(?:if\s+exists\s+)?(?P<name>[\w.\"]+)"
)
_NONE = {
    "ban-drop-not-null": "a constraint less hurts nobody while the migration runs",
    "ban-drop-constraint": "a constraint less hurts nobody while the migration runs",
    "adding-foreign-key-constraint": "the new column is null in every row, so nothing is checked",
}
_OVERLAPS = {
    "constraint-missing-not-valid": {
        "disallowed-unique-constraint",
        "adding-foreign-key-constraint",
        "adding-exclusion-constraint",
        "lock-held-over-slow-statement",
    },
    "adding-serial-primary-key-field": {"disallowed-unique-constraint"},
}
_CERTAIN = frozenset({"ban-duplicate-column-assignments"})
"""Rules about what fails always."""
_INNER = re.compile(
    r"alter\s+(?:index|trigger|policy|rule|statistics|operator|table\s.*\srename\s+constraint|domain\s.*\srename\s+constraint)\b"
)
_JUDGED = frozenset(
    {
        *("adding-field-with-default", "adding-not-nullable-field", "adding-required-field", "changing-column-type"),
        *("disallowed-unique-constraint", "constraint-missing-not-valid", "adding-serial-primary-key-field"),
        *("require-concurrent-index-creation", "require-concurrent-index-deletion", "require-concurrent-reindex"),
    }
)
"""Rules about which the text and the trial were asked too."""
Cry = tuple[int, int, str, str]
"""Line and column (from 1), rule, and message."""


def squawk(scripts: Sequence[Script], major: int = 0) -> list[list[Cry]]:
    """What squawk says of each script; raises `CannotLook` where it is not installed."""
    program = which("squawk", path=sysconfig.get_path("scripts")) or which("squawk")
    if program is None:
        raise CannotLook("squawk is not installed", "pip install 'pytest-releasegate[migration]'")
    with TemporaryDirectory(prefix="releasegate-") as folder:
        paths = [Path(folder, f"{number}.sql") for number in range(len(scripts))]
        for path, script in zip(paths, scripts, strict=True):
            path.write_text(_plain(script), encoding="utf-8")
        version = [f"--pg-version={major}"] if major else []
        # --config: one of the folder from where it is called must not count
        Path(folder, "squawk.toml").write_text("", encoding="utf-8")
        command = [program, "--reporter=json", f"--config={folder}/squawk.toml", *version, *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=folder)
        return _read(done, paths)


def opinions(
    release: Sequence[Script],
    statement: Statement,
    cried: Sequence[Cry],
    mine: Sequence[Hazard],
    fresh: Collection[str],
) -> Iterator[Hazard]:
    """What squawk says of a statement of the last script, and is not told yet."""
    known = {hazard.rule for hazard in mine}
    done = actions(statement.code)
    tables = {action.table for action in done if action.table}
    told: set[str] = set()
    for line, _, rule, message in cried:
        if rule == "transaction-nesting" and any(
            each.code.startswith("rollback to") for each in release[-1].statements
        ):
            continue
        # squawk's parser is not the server's, and style hurts nobody while a migration runs
        if rule in STYLE or rule in known | told or known & _OVERLAPS.get(rule, set()):
            continue
        told.add(rule)
        if rule == "transaction-nesting" and _goes_to_savepoints(release[-1]):
            continue
        cleared = _cleared(rule, done, bool(tables) and tables <= set(fresh)) or _made_anew(release, statement)
        if rule == "renaming-object" and _INNER.match(statement.code):
            cleared = "nothing outside of the schema uses its name"
        yield Hazard(release[-1].name, line, rule, message, cleared="" if rule in _CERTAIN else cleared)


def _cleared(rule: str, done: Sequence[Action], fresh: bool) -> str:
    """Why a rule that squawk cries about is no hazard; empty where it is one."""
    if rule in _NONE:
        return _NONE[rule]
    if fresh:
        return "its table is made by the same file"
    return "neither work that grows with the table nor a lock that is held" if done and rule in _JUDGED else ""


def _goes_to_savepoints(script: Script) -> bool:
    """Whether it rolls back to savepoints, which squawk takes for the end of the transaction."""
    return any(statement.code.startswith("rollback to ") for statement in script.statements)


def _made_anew(release: Sequence[Script], statement: Statement) -> str:
    """Whether what is dropped is made by the same file, before or after."""
    found = _DROPPED.match(statement.code)
    if not found:
        return ""
    make = re.compile(
        rf"create\s+(?:or\s+replace\s+)?{found['kind']}\s+(?:if\s+not\s+exists\s+)?{re.escape(found['name'])}(?!\w)"
    )
    new = re.escape(found["name"].rpartition(".")[2])
    named = re.compile(rf"alter\s+{found['kind']}\s.*\srename\s+to\s+{new}(?!\w)")
    made = any(make.match(each.code) or named.match(each.code) for script in release for each in script.statements)
    where = "release" if len(release) > 1 else "file"
    return f"the {found['kind']} {found['name']} is made by the same {where}" if made else ""


def by_statement(script: Script, cried: Sequence[Cry]) -> dict[tuple[int, int], list[Cry]]:
    """What squawk says of each statement, by its line and column."""
    starts = [(each.line, each.column) for each in script.statements]
    told: dict[tuple[int, int], list[Cry]] = {}
    for cry in cried if starts else ():
        told.setdefault(starts[max(0, bisect_right(starts, cry[:2]) - 1)], []).append(cry)
    return told


def _read(done: subprocess.CompletedProcess[str], paths: Sequence[Path]) -> list[list[Cry]]:
    try:
        said = json.loads(done.stdout or "[]")
    except ValueError:
        said = None
    if not isinstance(said, list) or (not said and done.returncode):
        told = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise CannotLook(f"squawk failed: {told[0]}", "try it by hand: squawk --reporter json FILE")
    by_file: dict[str, list[Cry]] = {str(path): [] for path in paths}
    for cry in said:
        place = (cry["line"] + 1, cry["column"] + 1)
        by_file[cry["file"]].append((*place, cry["rule_name"], " ".join(cry["message"].split())))
    return list(by_file.values())


def _plain(script: Script) -> str:
    """The text without the lines that only `psql` reads, each statement at its place."""
    lines = script.text.split("\n")
    for statement in script.statements:
        if statement.trouble:
            for number in range(statement.line - 1, min(statement.end, len(lines))):
                lines[number] = ""
    # its own comments hide what nobody gave a reason for
    return re.sub(r"squawk-(ignore|disable)", r"squawk \1", "\n".join(lines))
