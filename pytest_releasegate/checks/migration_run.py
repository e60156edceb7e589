"""`migration_run`: the migration of the release ran, or was taken back, as the database and the log of it say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, StrictBool, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, Pattern, Span, format_duration
from pytest_releasegate.sources.migrationfiles import compared, migration_files
from pytest_releasegate.sources.pgtables import aligned
from pytest_releasegate.sources.pgversions import Versions, same_version, versions
from pytest_releasegate.sources.postgres import connect
from pytest_releasegate.sources.runlog import END, START, Line, Run, last_run, read_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.pgversions import Applied

__all__ = ["MigrationRun"]

_SHOWN = 50
_NAMED = 5


class MigrationRun(Parameters):
    """What the version table and the log say of a migration; the denominator is the rows of the version table.

    The tables of Alembic, Django, Flyway and Supabase and a plain `schema_migrations` are found by their names.

    ```yaml
    migration_run:
      version: "003"
      files: migrations
      within: 60s
      log: ${value:migration_log}
    ```
    """

    kind: ClassVar[str] = "migration_run"
    shorthand: ClassVar[str] = "version"

    version: str = ""
    """The version that must be the newest, such as `003`, a revision of Alembic, or `app.0003_name` of Django."""
    reverted: StrictBool = False
    """The version must be gone from the table instead, and the log must tell of the way back."""
    files: str = ""
    """The folder of the migrations: all of it must be applied, nothing else be, and nothing be changed since."""
    within: Span | None = None
    """How long it may have taken, as the table says, or else the log."""
    log: str = ""
    """Its log, JSON lines or text: it must tell of a start, of an end, and of no error."""
    started: Pattern = START
    """A pattern for the line of its log that tells of the start."""
    finished: Pattern = END
    """A pattern for the line of its log that tells of the end; an empty one asks for none."""
    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    table: str = ""
    """The version table, where its name is no known one."""
    tool: Literal["", "alembic", "django", "flyway", "supabase", "plain"] = ""
    """Whose files they are, where the version table does not tell."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many rows the version table must have at least."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> MigrationRun:
        if not self.version and (self.reverted or self.within or self.log or not self.files):
            raise ValueError("expected `version`, or `files` alone, got neither")
        if self.reverted and self.files:
            raise ValueError("expected either `reverted` or `files`, got both: a folder holds what was taken back")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Read the version table, the files and the log, and compare."""
        version = context.resolve(self.version, secret=False)
        with connect(context, self.database) as connection:
            table = versions(connection, self.table)
        context.attach("versions.txt", "text/plain", _table(table))
        run = self._run(context, version) if self.log else None
        if version:
            yield self._stands(table, version)
        yield from self._good(table)
        if self.files:
            yield from self._files(context, table)
        if run is not None:
            yield from self._log(context, run)
        if self.within is not None:
            yield self._duration(table.of(version), run)
        yield counted(f"rows of {table.table}", len(table.rows), self.least)

    def _stands(self, table: Versions, version: str) -> Finding:
        newest = table.newest
        actual = newest.version if newest else "no version"
        if self.reverted:
            row = table.of(version)
            since = f", applied {_moment(row)}" if row else ""
            there = f"it is there{since}" if row else f"it is not; the newest is {actual}"
            # a version that was never there is not there either
            known = bool(self.log) or any(same_version(each.version, version) for each in table.rows)
            if not known:
                there += "; nothing says that it ever was: name its `log`"
            ok = False if row else True if known else Ok.CANNOT_TELL
            return find(f"version {version} in {table.table}", expected="taken back", actual=there, ok=ok)
        several = table.tool == "alembic" and len(table.standing) > 1
        right = newest is not None and same_version(newest.version, version) and not several
        if several:
            actual = f"several heads: {', '.join(row.version for row in table.standing)}"
        elif newest and right and newest.at:
            actual += f", applied {_moment(newest)}"
        elif not right and table.of(version):
            actual += f"; {version} is there, but not the newest"
        return find(f"newest version in {table.table}", expected=version, actual=actual, ok=right)

    def _good(self, table: Versions) -> Iterator[Finding]:
        bad = [row for row in table.standing if not row.good]
        if bad:
            actual = f"{_several([row.version or row.name for row in bad])} failed or left halfway"
            yield find(f"rows of {table.table}", expected="none that failed", actual=actual, ok=False)

    def _files(self, context: Context, table: Versions) -> Iterator[Finding]:
        folder = context.root / context.resolve(self.files, secret=False)
        tool = self.tool or ("plain" if table.tool == "current" else table.tool)
        seen = compared(migration_files(folder, tool), table)
        faults = [f"{_several(seen.pending)} not applied"] if seen.pending else []
        faults += [f"{_several(seen.unknown)} applied without a file"] if seen.unknown else []
        faults += [f"{_several(seen.changed)} changed since"] if seen.changed else []
        sums = f", {seen.compared} checksums the same" if seen.compared else ""
        yield find(
            f"files in {self.files}",
            expected="all applied, none unknown, none changed since",
            actual="; ".join(faults) or f"{seen.number} of {seen.number} applied{sums}",
            ok=not faults,
        )

    def _run(self, context: Context, version: str) -> Run:
        path = context.root / Path(context.resolve(self.log, secret=False))
        lines = read_log(path)

        def about(line: Line) -> bool:
            named = line.fields.get("version", version)
            backwards = str(line.fields.get("direction", "down" if self.reverted else "up")) == "down"
            return same_version(str(named), version) and backwards == self.reverted

        return last_run(lines, about, self.started, self.finished or END)

    def _log(self, context: Context, run: Run) -> Iterator[Finding]:
        kept = "\n".join(line.text for line in run.lines[-_SHOWN:])
        context.attach("log.txt", "text/plain", f"{kept}\n".encode())
        start, end = run.start, run.end
        yield find("start in the log", expected="a line", actual=_line(start), ok=start is not None)
        if self.finished:
            yield find("end in the log", expected="a line after the start", actual=_line(end), ok=end is not None)
        bad = run.errors
        actual = f"{len(bad)}: {bad[0].text}" if bad else "0"
        yield find("error lines", expected="0", actual=actual, ok=not bad)

    def _duration(self, row: Applied | None, run: Run | None) -> Finding:
        wanted = f"<= {format_duration(self.within)}" if self.within else ""
        took = row.seconds if row and row.seconds is not None and not self.reverted else run.seconds if run else None
        if took is None or self.within is None:
            actual = "neither the version table nor the log says"
            return find("time it took", expected=wanted, actual=actual, ok=Ok.CANNOT_TELL)
        return find("time it took", expected=wanted, actual=f"{took:.3f}s", ok=took <= self.within.total_seconds())


def _moment(row: Applied) -> str:
    return row.at.isoformat(timespec="seconds") if row.at else "at an unknown time"


def _several(names: list[str] | tuple[str, ...]) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest


def _line(line: Line | None) -> str:
    if line is None:
        return "none"
    return f"{line.at.isoformat(timespec='seconds')} {line.text}" if line.at else line.text


def _table(table: Versions) -> bytes:
    rows = (
        (row.version or row.script, row.name, _moment(row), _seconds(row), row.good) for row in table.rows[-_SHOWN:]
    )
    return aligned((f"version in {table.table}", "name", "applied", "seconds", "well"), rows)


def _seconds(row: Applied) -> str:
    return "-" if row.seconds is None else f"{row.seconds:.3f}"
