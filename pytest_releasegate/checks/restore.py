"""`restore`: the newest dump, restored for real and compared with what it should hold."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, StrictBool, StrictInt, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.params import Parameters, Span, Threshold, format_duration
from pytest_releasegate.sources.backup_lists import newest_dump
from pytest_releasegate.sources.pgarchive import Archive, Damaged
from pytest_releasegate.sources.pgmanifest import Manifest, read_manifest, taken
from pytest_releasegate.sources.pgrestored import Restored, restored
from pytest_releasegate.sources.pgtables import aligned
from pytest_releasegate.sources.postgres import connect
from pytest_releasegate.sources.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Restore"]

_LONGEST = 24 * 3600.0


class Restore(Parameters):
    """The newest dump, restored into a scratch server and compared; the denominators are the tables and rows compared.

    ```yaml
    restore:
      dump: /var/backups/ehr/*.dump.enc
      decrypt: [openssl, enc, -d, -aes-256-cbc, -pbkdf2, -pass, "file:/etc/backup.key"]
      manifest: .manifest.json
      within: 30m
      least: 10
    ```
    """

    kind: ClassVar[str] = "restore"
    shorthand: ClassVar[str] = "dump"

    dump: Annotated[str, Field(min_length=1)]
    """Archives of `pg_dump -Fc`, `-Fd` or `-Ft`: one, a folder of them, or a pattern; the newest is restored."""
    decrypt: tuple[str, ...] = ()
    """A command, as a list of words, that decrypts it from its input to its output."""
    manifest: str = ""
    """The file with what it holds, written at dump time; one that starts with a dot follows the dump's own name."""
    database: str = ""
    """The environment's database to compare with, where there is no `manifest`; by default the only one, or `app`."""
    tolerance: Threshold | None = None
    """How far a table may be from the live one, as a share of its rows such as `<= 5%`; by default not at all."""
    tolerance_rows: Annotated[StrictInt, Field(ge=0)] = 0
    """How many rows of a table may differ at least, for tables too small for a share."""
    objects: StrictBool = True
    """Whether tables, columns, indexes, constraints, triggers, policies and functions are compared by name too."""
    within: Span | None = None
    """How long it may take from starting the scratch server to the last row; the gate waits so long."""
    least: Annotated[StrictInt, Field(ge=1)] = 1
    """How many tables must be compared at least."""

    @field_validator("tolerance")
    @classmethod
    def _share(cls, tolerance: Threshold | None) -> Threshold | None:
        if tolerance is not None and not (tolerance.text.endswith("%") and tolerance.sign in ("<", "<=")):
            raise ValueError(f"expected a share such as '<= 5%', got '{tolerance}'")
        return tolerance

    @model_validator(mode="after")
    def _one_side(self) -> Restore:
        if self.manifest and (self.database or self.tolerance or self.tolerance_rows):
            raise ValueError("a `manifest` is exact: leave out `database`, `tolerance` and `tolerance_rows`")
        return self

    @property
    def needs_time(self) -> timedelta:
        """How long it may take beside the usual time of a gate."""
        return self.within or timedelta()

    def look(self, context: Context) -> Iterator[Finding]:
        """Restore it, count everything in it, and compare."""
        if context.environment.protected:
            context.require_permission("restores", "`restore`, which brings what the dump holds to this machine,")
        newest = newest_dump(self.dump, context)
        if newest is None or newest.path is None:
            yield find("newest dump", expected="one to restore", actual=f"none matches {self.dump}", ok=False)
            return
        dated = f"{newest.at:%Y-%m-%d %H:%M:%SZ}" if newest.at else "?"
        wanted = read_manifest(self._beside(newest.path, context)) if self.manifest else None
        archive = Archive(newest.path, context, self.decrypt)
        try:
            contents = archive.contents()
        except Damaged as damage:
            yield find(f"restore of {newest.name}", expected="an archive", actual=str(damage), ok=False)
            return
        if contents.plain:
            raise CannotLook(f"{newest.name} is plain SQL, which only psql restores", "dump with: pg_dump -Fc")
        with restored(archive, contents, context) as copy:
            yield _errors(copy, f"restore of {newest.name} of {dated}, by {newest.dated_by}")
            with copy.connect() as connection:
                got = taken(connection, context)
        yield self._time(copy)
        if wanted is None:
            with connect(context, self.database, at_most=_LONGEST) as live:
                wanted = taken(live, context)
        context.keep(f"restore/{newest.name}", {"tables": dict(got.tables), "seconds": round(copy.seconds, 3)})
        yield from self._compare(wanted, got, context)

    def _beside(self, dump: Path, context: Context) -> Path:
        text = context.resolve(self.manifest, secret=False)
        return dump.with_name(dump.name + text) if text.startswith(".") else context.root / text

    def _time(self, copy: Restored) -> Finding:
        expected = f"<= {format_duration(self.within)}" if self.within else "measured"
        ok = self.within is None or copy.seconds <= self.within.total_seconds()
        return find("time to restore", expected=expected, actual=f"{copy.seconds:.1f} s", ok=ok)

    def _compare(self, wanted: Manifest, got: Manifest, context: Context) -> Iterator[Finding]:
        whose = "the manifest" if self.manifest else "the live database"
        yield _names("tables", set(wanted.tables), set(got.tables), whose)
        both = sorted(wanted.tables.keys() & got.tables.keys())
        differing = [name for name in both if not self._near(wanted.tables[name], got.tables[name])]
        rows = [(name, wanted.tables[name], got.tables[name], "no" if name in differing else "") for name in both]
        context.attach("rows.txt", "text/plain", aligned(("table", whose, "restored", "as expected"), rows))
        slack = {str(self.tolerance): self.tolerance, f"{self.tolerance_rows} rows": self.tolerance_rows}
        parts = [text for text, given in slack.items() if given]
        allowed = f", but for {' or '.join(parts)}" if parts else ""
        for name in differing[:20]:
            expected = f"{wanted.tables[name]} as in {whose}{allowed}"
            yield find(f"rows of {name}", expected=expected, actual=got.tables[name], ok=False)
        same = f"{len(both) - len(differing)} of {len(both)} tables"
        yield find("rows", expected=f"as in {whose}{allowed}", actual=same, ok=not differing)
        if self.objects and wanted.objects:
            yield _names("objects", set(wanted.objects), set(got.objects), whose)
        elif self.objects:
            yield find("objects", expected="compared", actual=f"{whose} names none", ok=False, observe=True)
        yield counted("tables", len(both), self.least)
        yield counted("rows", sum(got.tables[name] for name in both))

    def _near(self, wanted: int, got: int) -> bool:
        delta = abs(wanted - got)
        if delta <= self.tolerance_rows:
            return True
        return self.tolerance is not None and wanted > 0 and self.tolerance.holds(delta / wanted)


def _errors(copy: Restored, name: str) -> Finding:
    left = f"; left out, since they call out: {shown(copy.left_out)}" if copy.left_out else ""
    if not copy.error_count:
        return find(name, expected="no error", actual=f"no error{left}", ok=True)
    actual = f"{copy.error_count} errors: {'; '.join(copy.errors) or 'pg_restore said nothing'}{left}"
    return find(name, expected="no error", actual=actual, ok=False)


def _names(what: str, wanted: set[str], got: set[str], whose: str) -> Finding:
    missing, more = sorted(wanted - got), sorted(got - wanted)
    parts = [f"{len(missing)} missing: {shown(missing)}"] if missing else []
    parts += [f"{len(more)} too many: {shown(more)}"] if more else []
    actual = "; ".join(parts) or f"the same {len(got)}"
    return find(what, expected=f"the {len(wanted)} of {whose}", actual=actual, ok=not parts and bool(wanted))
