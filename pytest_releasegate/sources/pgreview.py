"""The hazards of migration files: what their text tells and squawk says, held against what was tried and the sizes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_releasegate.sources.pgddl import Action, actions, label
from pytest_releasegate.sources.pghazards import File, Hazard, remember
from pytest_releasegate.sources.pgrisks import Risk, risks, strong_lock
from pytest_releasegate.sources.pgtrace import CANCELLED, blocks_writes
from pytest_releasegate.sources.pgwrites import writes_in
from pytest_releasegate.sources.squawk import by_statement, opinions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_releasegate.sources.pghazards import Known
    from pytest_releasegate.sources.pgsplit import Script, Statement
    from pytest_releasegate.sources.pgtrace import Traced
    from pytest_releasegate.sources.squawk import Cry

__all__ = ["hazards", "in_transaction"]

UNNAMED = ("42P01", "42703", "42704", "42883", "3F000", "42P07", "42710", "42701", "42723", "3D000", "42809", "0A000")
"""SQLSTATEs that say no more than that the scratch server does not have what the file expects, or has it already."""
_READS_ALL = re.compile(r"(?:with|select)\b.*\b(?:count|sum|avg)\s*\([^']*\sfrom\s", re.DOTALL)
_SLOW_MILLISECONDS = 1000.0


def in_transaction(script: Script, known: Known) -> bool:
    """Whether a file runs in one transaction that it does not begin itself."""
    if script.alone:
        return False
    return _implied(script) if known.together is None else known.together


def hazards(
    scripts: Sequence[Script], known: Known, cries: Sequence[Sequence[Cry]], traces: Sequence[Sequence[Traced]]
) -> Iterator[Hazard]:
    """The hazards of files in their order; what is none is told with the reason."""
    made: set[str] = set()
    columns: set[tuple[str, str]] = set()
    indexes: dict[str, str] = {}
    for number, (script, cried, traced) in enumerate(zip(scripts, cries, traces, strict=True)):
        by_line = {(each.statement.line, each.statement.column): each for each in traced}
        together = in_transaction(script, known)
        file = File(script, known, together, set(made), set(made), set(columns), indexes, inside=together)
        placed = by_statement(script, cried)
        release = scripts[: number + 1] if known.one_release else [script]
        for statement in script.statements:
            mine = list(_of_statement(file, statement, by_line.get((statement.line, statement.column))))
            mine += opinions(release, statement, placed.get((statement.line, statement.column), []), mine, file.fresh)
            yield from mine
        yield from _unguarded(file)
        if known.one_release:
            made |= file.fresh
            columns |= file.columns


def _implied(script: Script) -> bool:
    """SET LOCAL outside of a transaction would do nothing: its author expects one."""
    words = [action.verb for statement in script.statements for action in actions(statement.code)]
    local = any(statement.code.startswith("set local ") for statement in script.statements)
    return local and "begin" not in words


def _of_statement(file: File, statement: Statement, traced: Traced | None) -> Iterator[Hazard]:
    done = actions(statement.code)
    file.fresh |= {action.table for action in done if _makes(action, file.known)}
    file.fresh |= traced.made if traced else set()
    alone = list(_alone(file, statement, done))
    yield from alone or _run(file, statement, traced)
    found = [_settled(file, statement, action, risk, traced) for action in done for risk in _risks(file, action)]
    slow = any(not hazard.cleared for risk, hazard in found if risk.needs not in ("lock", "versions", "failure"))
    slow = slow or bool(_READS_ALL.match(statement.code)) or bool(traced and traced.milliseconds >= _SLOW_MILLISECONDS)
    yield from (hazard for risk, hazard in found if risk.rule)
    yield from _unforeseen(file, statement, traced, [risk for risk, _ in found])
    if slow:
        heavy = {risk.table for risk, _ in found if risk.rule and risk.needs in ("scan", "rewrite", "index")}
        yield from _held(file, statement, heavy)
    writes = [hazard for risk, hazard in found if risk.needs == "write" and not hazard.cleared]
    locked = _locked(file, done, traced)
    yield from _mixed(file, statement, locked)
    file.writes += writes
    remember(file, statement, done, locked)


def _run(file: File, statement: Statement, traced: Traced | None) -> Iterator[Hazard]:
    """What the server said when the statement was tried."""
    if statement.trouble:
        yield from _no_sql(file, statement)
        return
    if traced is None or not traced.error:
        return
    make = Hazard(file.script.name, statement.line, "does-not-run", traced.error, "correct the statement")
    if traced.state == "42601":
        yield replace(make, rule="syntax-error", instead="correct the SQL")
    elif traced.state == CANCELLED:
        late = "it had not ended on the scratch server when the time was up, and nothing after it was tried"
        yield replace(make, what=late, instead="raise the timeout", warning=not file.known.strict)
    elif traced.state == "55P04":
        yield replace(make, instead="use the new value in a later transaction")
    elif file.known.strict:
        yield make
    elif traced.state not in UNNAMED and traced.state != "25001":
        yield replace(make, cleared="the scratch server has not all that the file expects")


def _no_sql(file: File, statement: Statement) -> Iterator[Hazard]:
    """What no server can be given is told once a file; whether its runner reads it is not known of bare files."""
    if statement.trouble not in file.troubles:
        file.troubles.add(statement.trouble)
        broken = statement.trouble.startswith("the quote")
        yield Hazard(
            file.script.name,
            statement.line,
            "syntax-error" if broken else "does-not-run",
            statement.trouble,
            "end it" if broken else "write it for the migration's own runner",
            warning=not broken and not file.known.strict,
        )


def _makes(action: Action, known: Known) -> bool:
    """Whether an action makes a table; IF NOT EXISTS makes none where the target has it."""
    there = known.sizes is not None and action.table in known.sizes and re.search(r"\bif\s+not\s+exists\b", action.rest)
    return action.verb in ("create-table", "create-view") and not there


def _alone(file: File, statement: Statement, done: Sequence[Action]) -> Iterator[Hazard]:
    wants = [action for action in done if action.concurrently or action.verb in ("vacuum", "vacuum-full")]
    if wants and file.inside and wants[0].verb != "refresh":
        yield Hazard(
            file.script.name,
            statement.line,
            "ban-concurrent-index-creation-in-transaction",
            "it cannot run inside of a transaction",
            "give it a file of its own that runs without one",
        )


def _risks(file: File, action: Action) -> Iterator[Risk]:
    yield from risks(action)
    body = file.bodies.get(action.column) if action.verb == "call" else None
    for write, why in writes_in(body or ""):
        what = f"{action.column}() does an {write.verb}: {why}"
        yield Risk("unbatched-write", "write", write.table, what, "write in batches by key, and commit each")


def _settled(
    file: File, statement: Statement, action: Action, risk: Risk, traced: Traced | None
) -> tuple[Risk, Hazard]:
    table = risk.table if risk.table in file.fresh else file.known.named(risk.table, traced.locks if traced else ())
    if action.verb in ("drop-index", "reindex") and not table:
        locked = sorted(traced.locks) if traced else []
        table = file.indexes.get(label(action.column), "") or (locked[0] if len(locked) == 1 else "")
    made = Hazard(file.script.name, statement.line, risk.rule, _named(table, risk.what), risk.instead)
    risk = replace(risk, table=table)
    return risk, replace(made, cleared=_cleared(file, statement, action, risk, traced))


def _named(table: str, what: str) -> str:
    return f"{table}: {what}" if table and table not in what else what


def _cleared(file: File, statement: Statement, action: Action, risk: Risk, traced: Traced | None) -> str:
    """Why a risk is none; empty where it is one."""
    known, table = file.known, risk.table
    if table in file.fresh:
        return f"{table} is made by the same {'release' if known.one_release else 'file'}"
    if risk.needs == "versions":
        return _unseen(file, action, risk)
    if risk.needs == "lock" and known.strict and traced and not (traced.error or traced.outside or traced.locks):
        return "tried on the scratch server: no table is locked"
    if risk.needs == "lock":
        return known.small(table) or ("it waits no longer than lock_timeout" if file.timeout else "")
    if small := known.small(table):
        return small
    if risk.rule == "adding-not-nullable-field" and (reason := _not_null(file, table, action.column, traced)):
        return reason
    estimate = known.estimates.get((file.script.name, statement.line))
    if risk.needs == "write" and estimate is not None and estimate < known.large_rows:
        return f"the target's planner expects {estimate} rows"
    return _proved(risk, traced, strict=known.strict)


def _unseen(file: File, action: Action, risk: Risk) -> str:
    """Why no version that runs can mind."""
    known, table = file.known, risk.table
    absent = known.sizes is not None and table and table not in known.sizes
    if risk.rule == "renaming-table" and table in file.views | _later_views(file):
        return f"a view takes the name {table}"
    if risk.rule in ("renaming-column", "ban-drop-column") and (table, action.column) in file.columns:
        return f"{action.column} is added by the same {'release' if known.one_release else 'file'}"
    if risk.rule == "renaming-object" and any(_takes_the_name(action, each.code) for each in file.script.statements):
        return f"a new {action.column} takes its place"
    empty = known.sizes is not None and table in known.sizes and known.sizes[table].bytes == 0
    return known.small(table) if absent or (empty and risk.rule == "ban-truncate") else ""


def _takes_the_name(renamed: Action, code: str) -> bool:
    kind = r"type|view|materialized\s+view|domain|function|procedure|schema"
    made = re.match(rf'create\s+(?:or\s+replace\s+)?({kind})\s+([\w."]+)', code)
    return made is not None and renamed.rest.startswith(f"alter {made[1]} ") and label(made[2]) == label(renamed.column)


def _not_null(file: File, table: str, column: str, traced: Traced | None) -> str:
    """Which CHECK keeps a column from being null, so that no row is looked at."""
    if (table, column) in file.filled:
        return f"a validated CHECK says that {column} is not null"
    says = re.compile(r"not_?null|non_?null|presen|(?:^|_)nn(?:_|$)")
    tried = traced is not None and not traced.error
    named = [name for of, name in file.validated if of == table and column in name and says.search(name)]
    return f"{named[0]} was validated, which says by its name that {column} is not null" if named and not tried else ""


def _proved(risk: Risk, traced: Traced | None, *, strict: bool) -> str:
    if traced is None or traced.error or traced.outside or not risk.table or risk.needs == "write":
        return ""
    block = traced.statement.code.startswith("do")
    swallows = block and re.search(r"\bexception\s+when\b", traced.statement.code, re.IGNORECASE)
    if block and risk.table not in traced.locks and (swallows or not strict):
        # what failed was swallowed, or it went another way than on the target
        return ""
    touched = traced.rewritten | traced.scanned | traced.indexed
    if not touched & {risk.table}:
        return "tried on the scratch server: nothing was rewritten, scanned or indexed"
    return ""


def _later_views(file: File) -> set[str]:
    made = (action for statement in file.script.statements for action in actions(statement.code))
    return {action.table for action in made if action.verb == "create-view"}


def _unforeseen(file: File, statement: Statement, traced: Traced | None, seen: Sequence[Risk]) -> Iterator[Hazard]:
    """What was seen on the scratch server, and what no text told: in functions, blocks and by cascades."""
    if traced is None or traced.error:
        return
    known = {risk.table for risk in seen}
    if statement.code.startswith("truncate"):
        return
    make = Hazard(file.script.name, statement.line, "", "", "do it apart, when nobody works, or without the lock")
    for table in sorted((traced.rewritten | traced.indexed) - known - file.fresh - _truncated(statement)):
        what = "is rewritten" if table in traced.rewritten else "gets an index built"
        if blocks_writes(traced.locks.get(table, "AccessShare")):
            small = file.known.small(table)
            yield replace(make, rule="table-rewrite", what=f"{table} {what} while it is locked", cleared=small)
    for table in sorted(traced.scanned - traced.rewritten - known - file.fresh):
        if statement.code.startswith(("alter", "create table")) and blocks_writes(
            traced.locks.get(table, "AccessShare")
        ):
            what = f"all rows of {table} are read while it is locked"
            yield replace(make, rule="table-scan", what=what, cleared=file.known.small(table))
    for table, rows in traced.written.items():
        if rows >= file.known.large_rows and table not in known | file.fresh:
            yield replace(
                make,
                rule="unbatched-write",
                what=f"{rows} rows of {table} are written by one statement",
                instead="write in batches by key, each in its own transaction",
            )


def _truncated(statement: Statement) -> set[str]:
    return {action.table for action in actions(statement.code) if action.verb in ("truncate", "drop-table")}


def _held(file: File, statement: Statement, told: set[str]) -> Iterator[Hazard]:
    """Something slow runs while others wait for a lock that was taken earlier."""
    tables = {table: line for table, line in reversed(file.locks) if line <= statement.line and table not in told}
    if tables and file.inside:
        since = ", ".join(f"{table} (line {line})" for table, line in sorted(tables.items()))
        yield Hazard(
            file.script.name,
            statement.line,
            "lock-held-over-slow-statement",
            f"it runs while {since} stays locked",
            "put it in a transaction of its own, after the one that takes the lock",
        )


def _mixed(file: File, statement: Statement, locked: Sequence[str]) -> Iterator[Hazard]:
    """Tables are changed in the transaction in which many rows were written."""
    if locked and file.inside and file.writes:
        written = file.writes[0]
        file.writes.clear()
        yield Hazard(
            file.script.name,
            statement.line,
            "dml-with-ddl",
            f"{locked[0]} is changed in the transaction that writes rows on line {written.line}",
            "write rows in transactions of their own, before or after",
        )


def _locked(file: File, done: Sequence[Action], traced: Traced | None) -> list[str]:
    """The tables of others' that a statement locks against writes."""
    if traced is not None and not traced.error and not traced.outside:
        tables = [table for table, mode in traced.locks.items() if blocks_writes(mode)]
    else:
        tables = [file.indexes.get(label(action.column), "") for action in done if action.verb == "drop-index"]
        tables += [table for action in done for table in strong_lock(action)]
    sizes = file.known.sizes
    return [
        table
        for table in dict.fromkeys(tables)
        if table and table not in file.fresh and (sizes is None or table in sizes)
    ]


def _unguarded(file: File) -> Iterator[Hazard]:
    if file.unguarded:
        line, table = file.unguarded[0]
        more = f", and so do {len(file.unguarded) - 1} more statements" if len(file.unguarded) > 1 else ""
        yield Hazard(
            file.script.name,
            line,
            "missing-lock-timeout",
            f"it waits for a lock on {table} without end, and all wait behind it{more}",
            "set lock_timeout before it, such as SET LOCAL lock_timeout = '5s'",
            warning=True,
        )
