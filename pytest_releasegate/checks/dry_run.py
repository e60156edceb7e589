"""`dry_run`: the migration of a release, rehearsed on a scratch copy of the target's database."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, format_duration
from pytest_releasegate.sources.pghazards import Known
from pytest_releasegate.sources.pgpending import Pending
from pytest_releasegate.sources.pgrehearsal import Rehearsal, Way, rehearse
from pytest_releasegate.sources.pgscratch import scratch
from pytest_releasegate.sources.pgsplit import Script, script
from pytest_releasegate.sources.pgtrial import scripts
from pytest_releasegate.sources.postgres import database_name
from pytest_releasegate.sources.recent import digest, recent, share

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["DryRun"]


class DryRun(Pending):
    """A migration run on a scratch copy: up, down, and up again; the denominators are files, tables and rows.

    Gates with different `part`s and otherwise the same parameters share one rehearsal of the last hour.

    ```yaml
    dry_run:
      files: [migrations/*.up.sql]
      applied: select version from schema_migrations
      rollback: migrations/{name}.down.sql
      content: sample
      command: python -m pytest smoke/
      part: execution
    ```
    """

    kind: ClassVar[str] = "dry_run"
    shorthand: ClassVar[str] = "files"

    rollback: str = ""
    """The way back of each file, such as `migrations/{name}.down.sql`; by default what the files hold themselves."""
    content: Literal["data", "sample", "schema"] = "data"
    """What is copied: all rows, some rows of each table with those that they refer to, or none."""
    rows: int = Field(default=1000, ge=1, strict=True)
    """How many rows of each table a sample holds."""
    without: list[str] = Field(default_factory=list)
    """Extensions that the scratch copy can do without."""
    transaction: Literal["auto", "file", "none"] = "auto"
    """Whether the runner puts each file into one transaction (`file`); `auto` goes by what the file says."""
    part: Literal["all", "execution", "estimate", "data_loss", "performance", "compatibility"] = "all"
    """What is asked of the rehearsal."""
    changes: list[str] = Field(default_factory=list)
    """Tables whose rows the migration is meant to change or to take away, such as `public.payments`."""
    at_most: Duration = timedelta(seconds=60)
    """How long the way up may take."""
    lock_at_most: Duration = timedelta(seconds=2)
    """How long writers may have to wait for any table."""
    command: str = ""
    """The application's word on the migrated copy: exit code 0; its DSN is in RELEASEGATE_SCRATCH_DSN."""
    timeout: Duration = timedelta(minutes=10)
    """How long all of it may take."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many files there must be at least."""

    @property
    def needs_time(self) -> timedelta:
        """What copying and running may take."""
        return self.timeout

    @model_validator(mode="after")
    def _has_command(self) -> DryRun:
        if self.part == "compatibility" and not self.command:
            raise ValueError("expected `command`: what the application says of the migrated copy")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Rehearse, or read what a gate before has rehearsed of the same files."""
        name = database_name(context, self.database)
        files = self.pending(context, name)
        if files:
            told = self._rehearsed(context, name, files)
            context.attach("rehearsal.txt", "text/plain", _summary(told).encode())
            parts = ("execution", "data_loss", "performance", *(["compatibility"] if self.command else []))
            for part in parts if self.part == "all" else (self.part,):
                yield from getattr(self, f"_{part}")(told)
        yield counted("migration files", len(files), self.least)

    def _rehearsed(self, context: Context, name: str, files: Sequence[Script]) -> Rehearsal:
        backs = list(self._backs(context, files))
        command = shlex.split(self.command) if self.part in ("all", "compatibility") else []
        asked = self._asked(files, backs, command)
        if (told := recent(context, f"dry_run/{name}", asked)) is not None:
            return Rehearsal.read(told)
        known = Known(together={"auto": None, "file": True, "none": False}[self.transaction], strict=True)
        seconds = self.timeout.total_seconds()
        with scratch(context, name, self.content, rows=self.rows, without=self.without, at_most=seconds) as copy:
            told = rehearse(context, copy, files, backs, known, command)
        share(context, f"dry_run/{name}", asked, told.plain())
        return told

    def _backs(self, context: Context, files: Sequence[Script]) -> Iterator[Script]:
        """The ways back, the last one first; raises `CannotLook` where a declared one is missing."""
        for file in reversed(files):
            base = file.name.rpartition("/")[2].removesuffix(".sql").removesuffix(".up")
            if file.back.strip():
                yield script(file.back, f"{file.name} (the way back)")
            elif self.rollback:
                path = context.root / self.rollback.replace("{name}", base)
                yield from scripts([path], context.root)

    def _asked(self, files: Sequence[Script], backs: Sequence[Script], command: Sequence[str]) -> str:
        chosen = self.model_dump(mode="json", include={"content", "rows", "without", "transaction"})
        return digest([*(file.text for file in (*files, *backs)), str(chosen), *command])

    def _execution(self, told: Rehearsal) -> Iterator[Finding]:
        yield _ran("up", told.up)
        if told.down is None:
            if not told.up.error:
                yield find("down", expected="a way back, tried", actual="none is declared", ok=True, observe=True)
            return
        yield _ran("down", told.down)
        if told.down.error:
            return
        back = {name or "schema": what for name, what in told.not_restored.items() if name != "again"}
        actual = "; ".join(f"{name}: {what}" for name, what in sorted(back.items())) or "as before"
        yield find("after the way back", expected="schema and rows as before", actual=actual, ok=not back)
        if told.again is not None:
            yield _ran("up again", told.again)
            again = told.not_restored.get("again", "")
            wanted = "the schema of the first time"
            yield find("after the second time", expected=wanted, actual=again or wanted, ok=not again)

    def _estimate(self, told: Rehearsal) -> Iterator[Finding]:
        spent = told.up.milliseconds / 1000
        limit = self.at_most.total_seconds()
        ok = Ok.CANNOT_TELL if told.content != "data" else Ok.YES if spent <= limit else Ok.NO
        yield find(
            "estimated execution time",
            expected=f"known from all rows, and <= {format_duration(self.at_most)}",
            actual=f"{told.up.error or f'{spent:.3f} s'} on {_of(told)}",
            ok=Ok.NO if told.up.error else ok,
        )

    def _data_loss(self, told: Rehearsal) -> Iterator[Finding]:
        if told.up.error:
            yield _ran("up", told.up)
            return
        meant = {table for table in told.lost if table in self.changes or table.rpartition(".")[2] in self.changes}
        for table, what in sorted(told.lost.items()):
            yield find(table, expected="the rows of before", actual=what, ok=table in meant, observe=table in meant)
        bad = len(set(told.lost) - meant)
        if not bad:
            wanted = "all rows of before, with the same values"
            actual = f"{told.tables - len(told.lost)} of {told.tables} tables, {_of(told)}"
            yield find("rows and checksums", expected=wanted, actual=actual, ok=True)
        yield counted("tables", told.tables)
        yield counted("rows", told.rows)

    def _performance(self, told: Rehearsal) -> Iterator[Finding]:
        yield from self._estimate(told)
        table, (mode, held) = max(told.up.locks.items(), key=lambda item: item[1][1], default=("no table", ("-", 0.0)))
        limit = self.lock_at_most.total_seconds() * 1000
        late = held > limit
        yield find(
            "longest wait of writers",
            expected=f"<= {format_duration(self.lock_at_most)}",
            actual=f"{held:.1f} ms: {table}, {mode}",
            ok=Ok.NO if late else Ok.YES if told.content == "data" else Ok.CANNOT_TELL,
        )
        yield find("written ahead (WAL)", expected="told", actual=f"{told.up.wal} bytes", ok=True, observe=True)
        yield counted("rows", told.rows)

    def _compatibility(self, told: Rehearsal) -> Iterator[Finding]:
        if told.up.error:
            yield _ran("up", told.up)
            return
        actual = f"exit code {told.command} after {told.command_seconds:.1f} s; what it said is in command.txt"
        yield find(self.command, expected="exit code 0 on the migrated copy", actual=actual, ok=told.command == 0)
        yield counted("tables of the copy", told.tables)


def _ran(name: str, way: Way) -> Finding:
    actual = way.error or f"{way.statements} statements in {way.milliseconds:.0f} ms"
    return find(name, expected="runs to its end", actual=actual, ok=not way.error)


def _of(told: Rehearsal) -> str:
    shares = {"data": "all", "sample": "a sample of", "schema": "no"}
    return f"{shares[told.content]} rows ({told.rows} rows in {told.tables} tables)"


def _summary(told: Rehearsal) -> str:
    locks = (f"  {table}: {mode}, writers waited {ms} ms" for table, (mode, ms) in sorted(told.up.locks.items()))
    lines = [
        f"files: {', '.join(told.files)}",
        f"copied: {_of(told)}; left out: {', '.join(told.left_out) or 'nothing'}",
        f"up: {told.up.error or 'ran through'}; {told.up.milliseconds} ms, {told.up.wal} bytes of WAL",
        *locks,
    ]
    return "\n".join(lines) + "\n"
