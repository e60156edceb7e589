"""What is known of migration files while they are read: sizes of tables, what a file has made, what is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_releasegate.sources.pgddl import Action, label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_releasegate.sources.pgsplit import Script, Statement

__all__ = ["File", "Hazard", "Known", "Size"]


@dataclass(frozen=True, slots=True)
class Size:
    """How big a table of the target is, by the planner's statistics; rows are -1 where it has none."""

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Hazard:
    """One thing that is wrong with one line, or that was cleared."""

    file: str
    line: int
    rule: str
    what: str
    instead: str = ""
    cleared: str = ""
    """Why it is none here; empty where it is one."""
    warning: bool = False

    @property
    def place(self) -> str:
        """Where it stands, such as `migrations/003.up.sql:12`."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the text."""

    sizes: Mapping[str, Size] | None = None
    """The tables of the target; None where there is no target to ask."""
    large_rows: int = 100_000
    large_bytes: int = 64 * 1024 * 1024
    together: bool | None = None
    """Whether the runner puts each file into one transaction; None where the files tell."""
    one_release: bool = False
    """Whether the files go out together, so that tables of an earlier one are new for a later one."""
    strict: bool = False
    """Whether whatever does not run is wrong: the scratch copy has the schema of the target."""
    estimates: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """How many rows the target's planner expects a write to touch, by file and line."""

    def named(self, table: str, seen: Iterable[str] = ()) -> str:
        """The table that a name without a schema means: one that was seen, else the target's largest so named."""
        schema, _, name = table.rpartition(".")
        sizes = self.sizes or {}
        if schema != "public" or table in sizes or table in seen:
            return table
        same = [each for each in seen if each.rpartition(".")[2] == name]
        same = same or [each for each in sizes if each.rpartition(".")[2] == name]
        return max(same, key=lambda each: sizes[each].bytes if each in sizes else 0, default=table)

    def small(self, table: str) -> str:
        """Why work on a table does not matter; empty where it does, or where that is not known."""
        if self.sizes is None or not table:
            return ""
        size = self.sizes.get(table)
        if size is None:
            return f"{table} is not on the target yet"
        if size.bytes >= self.large_bytes or size.rows >= self.large_rows:
            return ""
        rows = f"{size.rows} rows" if size.rows >= 0 else "no statistics"
        return f"{table} is small on the target ({rows}, {size.bytes // 1024} KiB)"


@dataclass(slots=True)
class File:
    """What is known at a place in a file."""

    script: Script
    known: Known
    together: bool
    fresh: set[str] = field(default_factory=set)
    """Tables that this file makes."""
    sure: set[str] = field(default_factory=set)
    """Those of them that a rollback leaves."""
    columns: set[tuple[str, str]] = field(default_factory=set)
    """Columns that it adds, and names that it gives to columns, by their tables."""
    indexes: dict[str, str] = field(default_factory=dict)
    checks: dict[tuple[str, str], str] = field(default_factory=dict)
    """Columns that a CHECK keeps from being null, by table and constraint, before it is validated."""
    filled: set[tuple[str, str]] = field(default_factory=set)
    validated: set[tuple[str, str]] = field(default_factory=set)
    """Constraints of earlier files that are validated, by their tables."""
    troubles: set[str] = field(default_factory=set)
    """What was told of statements that no server can be given."""
    bodies: dict[str, str] = field(default_factory=dict)
    views: set[str] = field(default_factory=set)
    timeout: str = ""
    inside: bool = False
    locks: list[tuple[str, int]] = field(default_factory=list)
    """Tables that others wait for, and since which line, in the transaction that is open."""
    writes: list[Hazard] = field(default_factory=list)
    unguarded: list[tuple[int, str]] = field(default_factory=list)


def remember(file: File, statement: Statement, done: Sequence[Action], locked: Sequence[str]) -> None:
    """Go on to the next statement: what it made and locked stands from now on."""
    if locked and not file.timeout:
        file.unguarded.append((statement.line, locked[0]))
    file.locks += [(table, statement.line) for table in locked]
    for action in done:
        _note(file, action)
        if action.verb in ("begin", "commit", "rollback"):
            if action.verb == "rollback" and file.inside:
                file.fresh &= file.sure
            file.sure = set(file.fresh)
            file.inside = action.verb == "begin"
            file.locks, file.writes = [], []
            file.timeout = "" if file.timeout == "local" else file.timeout


def _note(file: File, action: Action) -> None:
    table, column = action.table, action.column
    if action.verb == "create-view":
        file.views.add(table)
    elif action.verb == "rename-table" and table in file.fresh:
        file.fresh.add(action.other)
    elif action.verb == "add-column":
        file.columns.add((table, column))
    elif action.verb == "rename-column":
        file.columns.add((table, action.rest.rpartition(" ")[2].strip('"')))
    elif action.verb == "create-index":
        file.indexes[label(column)] = table
    elif action.verb == "routine":
        file.bodies[column] = action.rest
    elif action.verb in ("add-check", "validate", "set-not-null", "add-not-null"):
        _note_check(file, action)
    elif action.verb == "timeout" and column == "lock_timeout":
        on = action.rest.strip().strip("'") not in ("0", "0s", "default")
        file.timeout = (action.other or "session") if on else ""
    elif action.verb == "reset":
        file.timeout = ""


def _note_check(file: File, action: Action) -> None:
    found = re.search(r'\(\s*\(?\s*"?(\w+)"?\s+is\s+not\s+null\s*\)?\s*\)', action.rest)
    if action.verb == "add-check" and found:
        if re.search(r"\bnot\s+valid\b", action.rest):
            file.checks[action.table, action.column] = found[1]
        else:
            file.filled.add((action.table, found[1]))
    elif action.verb == "validate":
        if column := file.checks.get((action.table, action.column)):
            file.filled.add((action.table, column))
        else:
            file.validated.add((action.table, action.column))
