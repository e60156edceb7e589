"""`pitr`: whether the database can be brought back to a point in time."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, StrictInt, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, Span, format_duration
from pytest_releasegate.sources.backups import reported
from pytest_releasegate.sources.pgmonitor import one, require_monitor
from pytest_releasegate.sources.postgres import connect, database_name
from pytest_releasegate.sources.sizes import shown_bytes
from pytest_releasegate.sources.walarchive import Window, of_folder, of_report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Pitr"]

_ARCHIVER = r"""
select current_setting('archive_mode'), pg_catalog.pg_is_in_recovery(),
       coalesce(current_setting('archive_command', true), '') not in ('', '(disabled)')
       or coalesce(current_setting('archive_library', true), '') <> '',
       archived_count, failed_count, last_archived_wal, last_archived_time, last_failed_wal, last_failed_time,
       pg_catalog.now(), (select count(*) from pg_catalog.pg_ls_archive_statusdir() where name like '%.ready'),
       case when pg_catalog.pg_is_in_recovery() then null
            else pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) end,
       case when pg_catalog.pg_is_in_recovery() then null
            else (pg_catalog.pg_walfile_name_offset(pg_catalog.pg_current_wal_insert_lsn())).file_offset end,
       (select setting::bigint from pg_catalog.pg_settings where name = 'wal_segment_size'),
       coalesce(current_setting('archive_library', true), '') = ''
       and coalesce(current_setting('archive_command', true), '') ~ '^\s*((/usr)?/bin/)?(true|:|exit 0|cd \.)\s*$'
from pg_catalog.pg_stat_archiver
"""
_QUIET = 16 * 1024
"""A server at rest still writes some bytes into a new segment."""
_TOOLS = ("pgbackrest", "barman", "walg")
_COLUMNS = (
    *("mode", "standby", "command", "archived", "failed", "last", "last_at", "last_failed", "last_failed_at", "now"),
    *("ready", "current", "offset", "segment", "idle"),
)


class Pitr(Parameters):
    """Whether WAL reaches the archive, and how far back it leads; the denominator is the segments archived.

    ```yaml
    pitr: {database: app, within: 15m, archive: /var/backups/ehr/wal, window: 7d}
    ```
    """

    kind: ClassVar[str] = "pitr"
    shorthand: ClassVar[str] = "database"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    within: Span = timedelta(hours=1)
    """How long ago the newest segment may have been archived, unless next to nothing was written since."""
    ready: Annotated[StrictInt, Field(ge=0)] = 10
    """How many finished segments may wait for the archiver."""
    archive: str = ""
    """The folder of a plain WAL archive, with the history files of base backups; may hold references."""
    pgbackrest: str | tuple[str, ...] = ()
    """The output of `pgbackrest info --output=json`: a file, or the command as a list of words."""
    barman: str | tuple[str, ...] = ()
    """The output of `barman --format json list-backups SERVER`: a file, or the command as a list of words."""
    walg: str | tuple[str, ...] = ()
    """The output of `wal-g backup-list --detail --json`: a file, or the command as a list of words."""
    server: str = ""
    """The stanza or server in the report, where it holds several."""
    window: Duration | None = None
    """How far back one must be able to go: to the oldest full backup with all WAL since."""

    @model_validator(mode="after")
    def _one_archive(self) -> Pitr:
        named = [name for name in ("archive", *_TOOLS) if getattr(self, name)]
        if len(named) > 1:
            raise ValueError(f"expected one of archive, {', '.join(_TOOLS)}; got {' and '.join(named)}")
        if self.window and not named:
            raise ValueError(f"`window` needs one of archive, {', '.join(_TOOLS)}")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask the archiver how it fares, then look at what is archived."""
        name = database_name(context, self.database)
        with connect(context, name) as connection:
            require_monitor(connection)
            archiver = dict(zip(_COLUMNS, one(connection, _ARCHIVER), strict=True))
        if archiver["standby"] and archiver["mode"] != "always":
            raise CannotLook(f"database '{name}' is a standby, which archives nothing", "look at its primary")
        yield _is_on(archiver)
        if archiver["mode"] != "off":
            yield from self._archived(archiver)
        source = next((each for each in ("archive", *_TOOLS) if getattr(self, each)), "")
        if source:
            yield from self._reach(source, archiver, context)
        else:
            actual = "not looked at: only the server's word; name `archive` or the report of a tool"
            yield find("the archive itself", expected="looked at", actual=actual, ok=Ok.CANNOT_TELL, observe=True)
        yield counted("archived segments", archiver["archived"])

    def _archived(self, archiver: dict[str, Any]) -> Iterator[Finding]:
        yield _failing(archiver)
        yield find(
            "segments that wait",
            expected=f"<= {self.ready}",
            actual=archiver["ready"],
            ok=archiver["ready"] <= self.ready,
        )
        expected = f"one of the last {format_duration(self.within)}, or nothing to archive"
        if archiver["last_at"] is None:
            yield find("newest archived segment", expected=expected, actual="none yet", ok=Ok.CANNOT_TELL)
            return
        age, pending = archiver["now"] - archiver["last_at"], _pending(archiver)
        left = "" if pending is None else f", {shown_bytes(pending)} written since"
        actual = f"{archiver['last']}, {age.total_seconds():.0f} s ago{left}"
        ok = age <= self.within or (pending is not None and pending <= _QUIET)
        yield find("newest archived segment", expected=expected, actual=actual, ok=ok)

    def _reach(self, source: str, archiver: dict[str, Any], context: Context) -> Iterator[Finding]:
        if source == "archive":
            window = of_folder(context.root / context.resolve(self.archive, secret=False), archiver["segment"])
        else:
            window = of_report(reported(source, getattr(self, source), self.server, context))
        yield from self._covers(window, archiver, context)

    def _covers(self, window: Window, archiver: dict[str, Any], context: Context) -> Iterator[Finding]:
        expected = f"a full backup and all WAL since, from {format_duration(self.window or timedelta())} ago or earlier"
        if not self.window:
            expected = "a full backup and all WAL since"
        if window.since is None:
            yield find("recovery window", expected=expected, actual=window.why_not, ok=False)
            return
        span = context.clock.now() - window.since
        actual = (
            f"from {window.since:%Y-%m-%d %H:%M:%SZ} on, by {window.backup}{window.why_not and ', ' + window.why_not}"
        )
        yield find("recovery window", expected=expected, actual=actual, ok=span >= (self.window or timedelta()))
        if window.newest and archiver["last"]:
            yield _arrived(window, archiver["last"])


def _arrived(window: Window, last: str) -> Finding:
    """Whether what the server archived last is there: an archive of another server may hold later ones."""
    plain = re.fullmatch(r"[0-9A-F]{24}(\.[0-9A-F]{8}\.backup)?", last)
    there = last[:24] in window.segments if plain else window.newest >= last[:24]
    actual = window.newest if there else f"{window.newest}, and not {last[:24]} in full"
    expected = f"{last[:24]} or later, which the server has archived"
    return find("newest segment there", expected=expected, actual=actual, ok=there)


def _is_on(archiver: dict[str, Any]) -> Finding:
    how = "a command or library" if archiver["command"] else "neither command nor library"
    how = "a command that does nothing" if archiver["idle"] else how
    actual = f"archive_mode {archiver['mode']}, {how}"
    expected = "archive_mode on, a command or library"
    return find(
        "archiving",
        expected=expected,
        actual=actual,
        ok=archiver["mode"] != "off" and archiver["command"] and not archiver["idle"],
    )


def _failing(archiver: dict[str, Any]) -> Finding:
    failed, last = archiver["last_failed_at"], archiver["last_at"]
    expected = "no failure newer than the newest success"
    if failed is not None and (last is None or failed > last):
        good = f"{last:%Y-%m-%d %H:%M:%S}" if last else "never"
        actual = f"{archiver['last_failed']} failed at {failed:%Y-%m-%d %H:%M:%S}, the newest success: {good}"
        return find("archiver", expected=expected, actual=f"{actual}; see the server's log", ok=False)
    actual = f"{archiver['archived']} archived, {archiver['failed']} failures, all made good"
    return find("archiver", expected=expected, actual=actual, ok=True)


def _pending(archiver: dict[str, Any]) -> int | None:
    """Bytes written after the newest archived segment; None where that cannot be told."""
    if not archiver["current"] or len(archiver["last"]) < 24:
        return None
    size = archiver["segment"]
    behind = _number(archiver["current"], size) - _number(archiver["last"], size) - 1
    return behind * size + int(archiver["offset"]) if behind >= 0 else None


def _number(name: str, size: int) -> int:
    return int(name[8:16], 16) * (0x100000000 // size) + int(name[16:24], 16)
