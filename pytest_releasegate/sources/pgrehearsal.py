"""A migration rehearsed on a scratch copy: up, what it did to rows, the application's word, down, and up again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from difflib import unified_diff
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgcontents import contents, lost
from pytest_releasegate.sources.pgreview import in_transaction
from pytest_releasegate.sources.pgtables import aligned
from pytest_releasegate.sources.pgtrace import longest, trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pghazards import Known
    from pytest_releasegate.sources.pgscratch import Scratch
    from pytest_releasegate.sources.pgsplit import Script
    from pytest_releasegate.sources.pgtrace import Traced

__all__ = ["VARIABLE", "Rehearsal", "Way", "rehearse"]

VARIABLE = "RELEASEGATE_SCRATCH_DSN"
_MOST_OUTPUT = 64 * 1024


@dataclass(slots=True)
class Way:
    """One run of the files, up or down."""

    milliseconds: float = 0.0
    wal: int = 0
    statements: int = 0
    error: str = ""
    """Where it stopped and why; empty where it ran through."""
    locks: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Of each table that was there before, the strongest lock, and how long writers had to wait; milliseconds."""
    changed: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Rehearsal:
    """What a rehearsal showed; plain values, to be kept in the record."""

    content: str
    files: list[str]
    left_out: list[str]
    tables: int = 0
    rows: int = 0
    up: Way = field(default_factory=Way)
    lost: dict[str, str] = field(default_factory=dict)
    down: Way | None = None
    not_restored: dict[str, str] = field(default_factory=dict)
    """What differs after the way back, by table; the schema's difference by ''."""
    again: Way | None = None
    command: int | None = None
    """The exit code of the application's command."""
    command_seconds: float = 0.0

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def read(cls, value: dict[str, Any]) -> Rehearsal:
        """From JSON values."""
        ways = {name: Way(**value[name]) if value[name] else None for name in ("up", "down", "again")}
        return cls(**{**value, **ways})


def rehearse(
    context: Context,
    copy: Scratch,
    files: Sequence[Script],
    backs: Sequence[Script],
    known: Known,
    command: Sequence[str] = (),
) -> Rehearsal:
    """Run the files on the copy; the ways back, in their order, where there are any."""
    told = Rehearsal(copy.content, [file.name for file in files], list(copy.left_out))
    with copy.connect() as connection:
        before = contents(connection)
        told.tables, told.rows = len(before), sum(each.rows for each in before.values())
        schema = copy.schema()
        told.up, traces = _way(context, copy, files, known)
        context.attach("statements.txt", "text/plain", _statements(files, traces).encode())
        if told.up.error:
            return told
        told.lost = dict(lost(before, contents(connection, before), told.up.changed))
        migrated = copy.schema() if backs else ""
        if command:
            told.command, told.command_seconds = _command(context, copy, command)
        if not backs:
            return told
        told.down, _ = _way(context, copy, backs, known)
        if told.down.error:
            return told
        told.not_restored = {**_differing(context, "schema-back.diff", schema, copy.schema())}
        told.not_restored |= dict(lost(before, contents(connection, before), dict.fromkeys(before, 0)))
        told.again, _ = _way(context, copy, files, known)
        if not told.again.error:
            told.not_restored |= _differing(context, "schema-again.diff", migrated, copy.schema(), "again")
    return told


def _way(context: Context, copy: Scratch, files: Sequence[Script], known: Known) -> tuple[Way, list[list[Traced]]]:
    traces: list[list[Traced]] = []
    way = Way()
    for file in files:
        with copy.connect() as connection:
            together = in_transaction(file, known)
            traces.append(trace(connection, file, together=together, seconds=context.remaining(3600.0)))
        failed = next((each for each in traces[-1] if each.error), None)
        if failed is not None:
            way.error = f"{file.name}:{failed.statement.line}: {failed.error}"
            break
    steps = list(chain(*traces))
    made = {table for step in steps for table in step.made}
    way.statements = len(steps)
    way.milliseconds = round(sum(step.milliseconds for step in steps), 1)
    way.wal = sum(step.wal for step in steps)
    way.locks = {table: (mode, round(ms, 1)) for table, (mode, ms) in longest(steps).items() if table not in made}
    for step in steps:
        for table, number in step.changed.items():
            way.changed[table] = way.changed.get(table, 0) + number
    return way, traces


def _differing(context: Context, name: str, wanted: str, got: str, key: str = "") -> dict[str, str]:
    """How two schemas differ, with the lines as evidence."""
    lines = list(unified_diff(wanted.splitlines(), got.splitlines(), "expected", "got", n=2, lineterm=""))
    if not lines:
        return {}
    context.attach(name, "text/plain", "\n".join(lines)[:_MOST_OUTPUT].encode())
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return {key: f"{len(changed)} lines differ, the first: {changed[0].strip()}"}


def _command(context: Context, copy: Scratch, command: Sequence[str]) -> tuple[int, float]:
    """The exit code of a command that is told the copy's connection string, and how long it took."""
    started = perf_counter()
    words = [sys.executable if word == "python" else word for word in command]
    try:
        process = subprocess.Popen(
            words,
            cwd=context.root,
            env={**os.environ, VARIABLE: copy.dsn},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotLook(f"the command '{words[0]}' cannot be run: {error.strerror}", "correct `command`") from None
    with process:
        try:
            output, _ = process.communicate(timeout=context.remaining(3600.0))
        except BaseException as stopped:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(stopped, subprocess.TimeoutExpired):
                raise CannotLook(f"the command '{words[0]}' did not end in time", "raise the `timeout`") from None
            raise
    context.attach("command.txt", "text/plain", output[-_MOST_OUTPUT:])
    return process.returncode, round(perf_counter() - started, 2)


def _statements(files: Sequence[Script], traces: Sequence[Sequence[Traced]]) -> str:
    heads = ("statement", "ms", "WAL bytes", "rows written", "locks, and how long writers waited", "error")
    rows = (
        (
            f"{file.name}:{each.statement.line}",
            f"{each.milliseconds:.1f}",
            each.wal,
            sum(each.written.values()),
            ", ".join(f"{table} {mode} {each.held.get(table, 0):.1f} ms" for table, mode in each.locks.items()) or "-",
            each.error or "-",
        )
        for file, told in zip(files, traces, strict=False)
        for each in told
    )
    return aligned(heads, rows).decode()
