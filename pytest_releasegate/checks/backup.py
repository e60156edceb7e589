"""`backup`: the newest full backup: how old, how large, whole, where, encrypted."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, Span, Threshold, format_duration
from pytest_releasegate.sources.backup_lists import SOURCES, ZONES, HttpList, listed
from pytest_releasegate.sources.pgarchive import Archive, Damaged
from pytest_releasegate.sources.pgtables import aligned
from pytest_releasegate.sources.postgres import one_statement
from pytest_releasegate.sources.s3 import S3Prefix
from pytest_releasegate.sources.sizes import Bytes, shown_bytes
from pytest_releasegate.sources.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.backups import Made, Report

__all__ = ["Backup"]

_SKEW = timedelta(minutes=5)
_HASHED = 512 * 1024 * 1024

Source = str | tuple[str, ...]


class Backup(Parameters):
    """The newest full backup of one source: age, completeness, size, place, encryption; the denominator is the backups.

    ```yaml
    backup: {dump: /var/backups/ehr/*.gpg, within: 24h, encrypted: true, size: ">= 80%", outside: /var/lib/postgresql}
    ```
    """

    kind: ClassVar[str] = "backup"
    shorthand: ClassVar[str] = "dump"

    dump: str = ""
    """Dumps of `pg_dump` in any format: one, a folder of them, or a pattern; what lies beside them is left out."""
    folder: str = ""
    """Any files, one a backup: a folder or a pattern; hidden ones, `.json`, `.sha256` and the like are left out."""
    pgbackrest: Source = ()
    """The output of `pgbackrest info --output=json`: a file, or the command as a list of words."""
    barman: Source = ()
    """The output of `barman --format json list-backups SERVER`: a file, or the command as a list of words."""
    walg: Source = ()
    """The output of `wal-g backup-list --detail --json`: a file, or the command as a list of words."""
    s3: S3Prefix | None = None
    """Objects of a bucket, one a backup: `bucket`, `prefix`, `region`, `endpoint`, `access_key`, `secret_key`."""
    sql: str = ""
    """A query that gives one row a backup: when it ended, its size in bytes or null, and, if you like, its name."""
    http: HttpList | None = None
    """An answer in JSON that lists the backups: `url`, `list`, `time`, `size`, `name`, `only`, `headers`."""
    database: str = ""
    """The environment's database that `sql` asks; by default the only one, or `app`."""
    server: str = ""
    """The stanza or server in the report, where it holds several."""
    within: Span = timedelta(hours=24)
    """How old the newest full backup may be."""
    size: Threshold | None = None
    """Its size as a share of the median of those before it, such as `>= 80%`."""
    least_size: Bytes | None = None
    """Its size in bytes at least, such as `10MB`."""
    first_run: Literal["inconclusive", "absolute"] = "inconclusive"
    """What `size` means where there is no backup before: that nobody can tell, or that `least_size` is enough."""
    location: str = ""
    """The folder that all of them must be in, links followed; may hold references."""
    outside: str = ""
    """A folder that none of them may be in, such as the server's data folder; may hold references."""
    encrypted: StrictBool = False
    """Whether all must be encrypted: files of openssl, age and OpenPGP are known, and what pgBackRest says."""
    decrypt: tuple[str, ...] = ()
    """A command, as a list of words, that decrypts a `dump` from its input to its output."""
    read: StrictBool = True
    """Whether each block of the newest `dump` is read; without it, its table of contents is enough."""
    least: Annotated[StrictInt, Field(ge=1)] = 1
    """How many full backups there must be at least."""
    keep: str = Field(default="full", pattern=r"^[a-z][a-z0-9_-]*$")
    """The name by which time, size, place and digest of the newest are kept in the record."""

    @field_validator("sql")
    @classmethod
    def _single(cls, text: str) -> str:
        return one_statement(text) if text else text

    @field_validator("size")
    @classmethod
    def _share(cls, size: Threshold | None) -> Threshold | None:
        if size is not None and not size.text.endswith("%"):
            raise ValueError(f"expected a share such as '>= 80%', got '{size}'; for bytes use `least_size`")
        return size

    @model_validator(mode="after")
    def _one_source(self) -> Backup:
        named = [name for name in SOURCES if getattr(self, name)]
        if len(named) != 1:
            raise ValueError(f"expected one of {', '.join(SOURCES)}; got {' and '.join(named) or 'none'}")
        if self.decrypt and named != ["dump"]:
            raise ValueError("`decrypt` is for `dump` only")
        if self.first_run == "absolute" and self.least_size is None:
            raise ValueError("`first_run: absolute` needs `least_size`")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """List the backups, and look at the newest that is whole."""
        name = next(each for each in SOURCES if getattr(self, each))
        report, full = self._listed(name, context)
        now = context.clock.now()
        for problem in report.problems:
            yield find(name, expected="nothing wrong", actual=problem, ok=False)
        good = [each for each in full if not each.problem and not each.running]
        newest = max(good, key=lambda each: (each.at is not None, each.at or now), default=None)
        yield self._age(newest, full, now)
        yield from _broken(full, newest)
        if newest is not None:
            before = [each.size for each in good if each is not newest and each.size]
            yield from self._newest(newest, before, context)
        if self.location or self.outside:
            yield from self._places(full, context)
        if self.encrypted and full:
            yield _encryption(full)
        yield counted("full backups", len(full), self.least)

    def _listed(self, name: str, context: Context) -> tuple[Report, list[Made]]:
        report = listed(name, getattr(self, name), context, server=self.server, database=self.database)
        full = [each for each in report.backups if each.full]
        rows = ((each.name, each.at or "?", each.size, each.problem or "-") for each in full)
        context.attach("backups.txt", "text/plain", aligned(("backup", "ended", "bytes", "problem"), rows))
        return report, full

    def _age(self, newest: Made | None, full: Sequence[Made], now: datetime) -> Finding:
        expected = f"one of the last {format_duration(self.within)}"
        if newest is None:
            actual = f"none of {len(full)} is complete" if full else "no backup at all"
            return find("newest full backup", expected=expected, actual=actual, ok=False)
        if newest.at is None:
            actual = f"{newest.name}, of which nobody knows when it was made"
            return find("newest full backup", expected=expected, actual=actual, ok=Ok.CANNOT_TELL)
        age = now - newest.at
        told = f"{newest.name} of {newest.at:%Y-%m-%d %H:%M:%SZ}, by {newest.dated_by}"
        future = f", {_rounded(-age)} in the future" if age < -_SKEW else f", {_rounded(age)} old"
        return find("newest full backup", expected=expected, actual=told + future, ok=-_SKEW <= age <= self.within)

    def _newest(self, newest: Made, before: Sequence[int], context: Context) -> Iterator[Finding]:
        yield from self._size(newest, before, context)
        if self.dump and newest.path is not None and newest.size:
            yield from self._completeness(newest, newest.path, context)
        context.keep(
            f"backup/{self.keep}",
            {
                "name": newest.name,
                "at": newest.at.isoformat() if newest.at else None,
                "dated_by": newest.dated_by,
                "size": newest.size,
                "location": str(newest.path.parent) if newest.path else "",
                "sha256": _digest(newest.path) if newest.path and (newest.size or 0) <= _HASHED else "",
            },
        )

    def _size(self, newest: Made, before: Sequence[int], context: Context) -> Iterator[Finding]:
        if newest.size is None:
            if self.size or self.least_size:
                expected = str(self.size or shown_bytes(self.least_size or 0))
                yield find("its size", expected=expected, actual="the source does not tell", ok=Ok.CANNOT_TELL)
            return
        told, least = shown_bytes(newest.size), self.least_size or 1
        expected = f">= {shown_bytes(least)}" if self.least_size else "more than nothing"
        yield find("its size", expected=expected, actual=told, ok=newest.size >= least)
        if self.size is not None:
            yield self._share_of(newest.size, self.size, before, context)

    def _share_of(self, size: int, wanted: Threshold, before: Sequence[int], context: Context) -> Finding:
        kept = None if before else context.recorded(f"backup/{self.keep}", of="previous")
        sizes = [*before, *([kept.value["size"]] if kept and kept.value.get("size") else [])]
        if not sizes:
            ok = Ok.CANNOT_TELL if self.first_run == "inconclusive" else Ok.YES
            return find("its size against those before", expected=wanted, actual="there is none before", ok=ok)
        middle = median(sizes)
        whose = f"the median of {len(sizes)} before" if before else f"that of {kept.version if kept else ''}"
        actual = f"{size / middle:.0%} of {whose} ({shown_bytes(round(middle))})"
        return find("its size against those before", expected=wanted, actual=actual, ok=wanted.holds(size / middle))

    def _completeness(self, newest: Made, path: Path, context: Context) -> Iterator[Finding]:
        if newest.cipher != "" and not self.decrypt:
            actual = f"{newest.cipher or 'it'} cannot be read without `decrypt`" if self.read else "not read"
            yield find(
                "its contents", expected="a whole archive", actual=actual, ok=Ok.CANNOT_TELL, observe=not self.read
            )
            return
        archive = Archive(path, context, self.decrypt)
        try:
            contents = archive.contents()
            context.attach("contents.txt", "text/plain", contents.text.encode()[: 64 * 1024])
            if self.read and not contents.missing:
                archive.read(contents)
        except Damaged as damage:
            yield find("its contents", expected="a whole archive", actual=f"{newest.name}: {damage}", ok=False)
            return
        if self.decrypt and contents.created and context.clock.now() - contents.created > self.within + ZONES:
            actual = f"{contents.created:%Y-%m-%d %H:%M:%SZ}: the file is younger than what is in it"
            yield find("date in its header", expected=f"within {format_duration(self.within)}", actual=actual, ok=False)
        how = "each block read" if self.read else "the table of contents read"
        actual = contents.missing or f"{contents.summary}; {how}"
        yield find("its contents", expected="a whole archive", actual=actual, ok=not contents.missing)

    def _places(self, full: Sequence[Made], context: Context) -> Iterator[Finding]:
        for text, wanted in ((self.location, True), (self.outside, False)):
            if not text:
                continue
            folder = (context.root / context.resolve(text, secret=False)).resolve()
            expected = f"{'in' if wanted else 'outside of'} {folder}"
            placed = [each.path.resolve() for each in full if each.path is not None]
            wrong = [path for path in placed if path.is_relative_to(folder) != wanted]
            if wrong or len(placed) == len(full):
                actual = f"{len(wrong)} of {len(full)} elsewhere: {wrong[0]}" if wrong else f"all {len(full)}"
                yield find("location", expected=expected, actual=actual, ok=not wrong)
            else:
                yield find("location", expected=expected, actual="the source does not tell", ok=Ok.CANNOT_TELL)


def _broken(full: Sequence[Made], newest: Made | None) -> Iterator[Finding]:
    """What failed since the newest good one; what failed before it was made good."""
    floor = newest.at if newest else None
    for each in full:
        if each.problem and not each.running and (floor is None or each.at is None or each.at > floor):
            yield find(f"backup {each.name}", expected="complete", actual=each.problem, ok=False)


def _encryption(full: Sequence[Made]) -> Finding:
    plain = [each.name for each in full if each.cipher == ""]
    unknown = [each.name for each in full if each.cipher is None]
    if plain:
        actual, ok = f"{len(plain)} of {len(full)} not encrypted: {shown(plain, most=3)}", Ok.NO
    elif unknown:
        actual, ok = f"{len(unknown)} of {len(full)} not recognised: {shown(unknown, most=3)}", Ok.CANNOT_TELL
    else:
        ways = sorted({each.cipher for each in full if each.cipher})
        actual, ok = f"all {len(full)} ({', '.join(ways)})", Ok.YES
    return find("encryption", expected=f"all {len(full)} encrypted", actual=actual, ok=ok)


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CannotLook(f"{path} cannot be read: {error.strerror}", "let this account read it") from None


def _rounded(span: timedelta) -> str:
    if span < timedelta(minutes=2):
        return f"{max(0, span.total_seconds()):.0f} s"
    if span < timedelta(hours=2):
        return f"{span / timedelta(minutes=1):.0f} minutes"
    return f"{span / timedelta(hours=1):.1f} hours"
