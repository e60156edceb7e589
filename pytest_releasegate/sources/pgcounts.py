"""Counting the tables of a database and hashing what they hold, and the form in which both are kept for later."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_releasegate.model import Ok
from pytest_releasegate.sources.pgcontent import FORM, Buckets, checksum
from pytest_releasegate.sources.pgscan import MARKED, Scan, grouped, scans

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgcontent import Column, Layout
    from pytest_releasegate.sources.pgtables import Table
    from pytest_releasegate.sources.rowchange import Change

__all__ = ["Asked", "Content", "Told", "ask_again", "bounds", "compared", "kept", "measure"]

Told = tuple[Ok, str]
Parts = dict[int, tuple[int, int]]
_SHOWN = 5
_UNLOCATED = "name it under `locate` of the snapshot to see where"
_KEYLESS = "it has no primary key by which to say where"


@dataclass(frozen=True, slots=True)
class Content:
    """What one scan found in a table: rows, checksum, bounds of an integer key, and rows and checksums by parts."""

    rows: int
    sum: int = 0
    low: int | None = None
    high: int | None = None
    parts: Parts = field(default_factory=dict)
    late: Parts = field(default_factory=dict)
    """Of the parts, what was written after an earlier instant."""

    def part(self, number: int, *, late: bool = True) -> tuple[int, int]:
        """Rows and checksum of a part, with or without what was written after the earlier instant."""
        rows, total = self.parts.get(number, (0, 0))
        newer = (0, 0) if late else self.late.get(number, (0, 0))
        return rows - newer[0], total - newer[1]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a table: its rows, and its content where columns are given."""

    table: Table
    where: str = ""
    columns: tuple[Column, ...] = ()
    key: str = ""
    buckets: Buckets | None = None
    late: str = ""
    """A predicate: rows whose number and checksum are told apart, part by part."""

    @property
    def scan(self) -> Scan:
        """The one scan that answers it."""
        hashed = (f"{checksum(self.columns)}::text",) if self.columns else ()
        late = (f"count(*) filter (where {MARKED})", f"{checksum(self.columns, MARKED)}::text") if self.late else ()
        ends = (f"min({self.key})::bigint", f"max({self.key})::bigint") if self.key else ()
        by = self.buckets.sql if self.buckets else ""
        return Scan(self.table, ("count(*)", *hashed, *late, *ends), self.where, by, self.late)

    def read(self, rows: Sequence[tuple[Any, ...]]) -> Content:
        """What the rows of the scan say."""
        parts = {row[0]: (row[1], int(row[2])) for row in rows} if self.buckets else {}
        late = {row[0]: (row[3], int(row[4])) for row in rows} if self.buckets and self.late else {}
        rows = [row[1:] for row in rows] if self.buckets else rows
        at = 1 + bool(self.columns) + 2 * bool(self.late)
        ends = [row[at:] for row in rows if self.key and row[at] is not None]
        return Content(
            rows=sum(row[0] for row in rows),
            sum=sum(int(row[1]) for row in rows) if self.columns else 0,
            low=min((low for low, _ in ends), default=None),
            high=max((high for _, high in ends), default=None),
            parts=parts,
            late=late,
        )


def measure(
    context: Context, connections: Sequence[psycopg.Connection[Any]], asked: Sequence[Asked]
) -> dict[str, Content]:
    """Scan each table once; what was found by the tables' labels."""
    found = grouped(context, connections, [each.scan for each in asked])
    return {each.table.label: each.read(rows) for each, rows in zip(asked, found, strict=True)}


def bounds(
    context: Context, connections: Sequence[psycopg.Connection[Any]], keys: Sequence[tuple[Table, str]]
) -> dict[str, tuple[int | None, int | None]]:
    """The least and the greatest key of each table, which its index knows."""
    wanted = [Scan(table, (f"min({key})::bigint", f"max({key})::bigint")) for table, key in keys]
    rows = scans(context, connections, wanted)
    return {table.label: (row[0], row[1]) for (table, _), row in zip(keys, rows, strict=True)}


def kept(asked: Asked, layout: Layout, content: Content) -> dict[str, Any]:
    """The content in a form that JSON keeps exactly: such sums are too large for its numbers."""
    columns = {column.name: [column.type, column.family] for column in asked.columns}
    form: dict[str, Any] = {"sum": str(content.sum), "columns": columns, "primary": list(layout.key), "key": asked.key}
    form["form"] = FORM
    form["without"] = sorted(layout.by_name.keys() - columns.keys())
    if content.high is not None:
        form |= {"low": str(content.low), "high": str(content.high)}
    if buckets := asked.buckets:
        form |= {"from": str(buckets.low), "width": str(buckets.width), "number": buckets.number}
        form["parts"] = [[part, rows, str(total)] for part, (rows, total) in sorted(content.parts.items())]
    return form


def ask_again(asked: Asked, was: Mapping[str, Any] | None, layout: Layout, change: Change, late: str) -> Asked | Told:
    """What more must be asked of a table to compare its content with what was kept; or why it cannot be.

    `late` tells the rows of transactions that had not ended then: they are new, though their keys may be old.
    """
    if was is None:
        return Ok.CANNOT_TELL, "the snapshot kept no checksum of it: set `checksums: true` in the snapshot's gate"
    if was.get("form") != FORM:
        return Ok.CANNOT_TELL, "the snapshot is of another version of this check, which hashed otherwise: take it again"
    if not was["columns"]:
        return Ok.CANNOT_TELL, "the snapshot's checksum covers no column of it"
    if gone := sorted(was["columns"].keys() - layout.by_name.keys()):
        return Ok.CANNOT_TELL, (
            f"column {', '.join(gone)} is gone, which the checksum covers: "
            "leave it out of the snapshot (`without`) when it is to go"
        )
    columns = layout.only(was["columns"].keys())
    old = change.content == "old"
    if old and not (was["key"] and was["key"] == layout.integer_key):
        return Ok.CANNOT_TELL, "which rows are new is told by a primary key of one integer, and it has none"
    buckets = _buckets(was, layout, old=old)
    return replace(asked, columns=columns, buckets=buckets, late=late if old and buckets else "")


def compared(was: Mapping[str, Any], rows: int, asked: Asked, layout: Layout, now: Content, change: Change) -> Told:
    """Whether the content of a table is what was kept of it, and where it is not."""
    new = sorted(layout.by_name.keys() - was["columns"].keys() - set(was["without"]))
    added = f" (not compared: the new column {', '.join(new)})" if new else ""
    old = change.content == "old"
    before = {part: (number, int(total)) for part, number, total in was.get("parts", ())}
    if old and asked.buckets and not before:
        before = {0: (rows, int(was["sum"]))}
    bad = _differing(before, now.parts)
    if old and asked.buckets:
        bad = [part for part in bad if part < asked.buckets.number]
        # a table that was rewritten since has no older row: then all that it holds must be as it was
        filled = [part for part in bad if part >= 0 and now.part(part, late=False) == before.get(part, (0, 0))]
        bad = [part for part in bad if part not in filled]
        if late := sum(now.late[part][0] for part in filled):
            added = f", and {late} new with keys among theirs{added}"
    same = not bad if asked.buckets else (rows, int(was["sum"])) == (now.rows, now.sum)
    if same or (old and not rows):
        return Ok.YES, f"{'the old rows have' if old else ''} the same content{added}".strip()
    turned = [c for c in asked.columns if was["columns"][c.name][1] != c.family]
    if turned:
        types = ", ".join(f"{c.name} from {was['columns'][c.name][0]} to {c.type}" for c in turned)
        return Ok.CANNOT_TELL, f"checksums do not compare, as types changed: {types}"
    where = located(asked.buckets, before, now.parts, bad) if "parts" in was and asked.buckets else ""
    where = where or (_UNLOCATED if was["primary"] else _KEYLESS)
    return Ok.NO, f"{'the old rows differ' if old else 'the content differs'}: {where}{added}"


def located(buckets: Buckets | None, before: Parts, after: Parts, bad: Sequence[int]) -> str:
    """The parts of the key that differ, in words: ranges with the numbers of rows in them, the first few."""
    if buckets is None or not bad:
        return ""
    if not buckets.width:
        return f"in {len(bad)} of {buckets.number} parts of the key's hash ({_rows(before, after, bad)})"
    runs: list[list[int]] = []
    for part in bad:
        if runs and runs[-1][-1] == part - 1 and 0 < part < buckets.number:
            runs[-1].append(part)
        else:
            runs.append([part])
    texts = [f"{_range(buckets, run[0], run[-1])} ({_rows(before, after, run)})" for run in runs[:_SHOWN]]
    more = f", and {len(runs) - _SHOWN} more ranges" if len(runs) > _SHOWN else ""
    name = buckets.key.strip('"')
    return f"{name} {', '.join(texts)}{more}"


def _differing(before: Parts, after: Parts) -> list[int]:
    return sorted(part for part in before.keys() | after.keys() if before.get(part) != after.get(part))


def _buckets(was: Mapping[str, Any], layout: Layout, *, old: bool) -> Buckets | None:
    """The same parts as then, as long as the table has the same key."""
    if "parts" in was and was["primary"] == list(layout.key) and was["key"] == layout.integer_key:
        if width := int(was["width"]):
            return Buckets(was["key"], was["number"], int(was["from"]), width)
        return None if old else Buckets.of(layout, None, None)
    if not old or "high" not in was:
        return None
    low, high = int(was["low"]), int(was["high"])
    return Buckets(was["key"], 1, low, high - low + 1)


def _range(buckets: Buckets, first: int, last: int) -> str:
    low, high = buckets.range(first)[0], buckets.range(last)[1]
    if low is None:
        return f"below {(high or 0) + 1}"
    if low == high:
        return str(low)
    return f"{low}..{high}" if high is not None else f"from {low}"


def _rows(before: Parts, after: Parts, parts: Sequence[int]) -> str:
    then, now = (sum(side.get(part, (0, 0))[0] for part in parts) for side in (before, after))
    return f"{then} rows before, {now} now" if then != now else f"{now} row{'s' * (now != 1)}"
