"""`row_counts`: how the numbers of rows changed since the snapshot of this release."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, GetCoreSchemaHandler

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, Threshold, text_schema
from pytest_releasegate.sources.pgtables import aligned, count_rows, selected, user_tables
from pytest_releasegate.sources.postgres import connect, database_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pydantic_core import core_schema

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding, Kept

__all__ = ["Change", "RowCounts"]

_WORDS = ("unchanged", "new", "dropped", "any")
_RANGE = re.compile(r"([+-]\d+)(?:\s*\.\.\s*([+-]\d+))?")
_ALLOWED = "unchanged, +120, -5, -0 (none lost), +0..+50, '>= 5', '== 120', new, dropped or any"


@dataclass(frozen=True, slots=True)
class Change:
    """What may become of a table's rows: a word, a difference, a range of differences, or a bound on the new number."""

    text: str
    word: str = ""
    least: int | None = None
    most: int | None = None
    total: Threshold | None = None

    @classmethod
    def parse(cls, value: Any) -> Change:
        """Read the text of a change; raises `ValueError` that says what is allowed."""
        if isinstance(value, Change):
            return value
        if hint := _unquoted(value):
            raise ValueError(f"expected {_ALLOWED}; got the number {value}: YAML drops the sign, so {hint}")
        text = " ".join(str(value).split())
        if text in _WORDS:
            return cls(text, least=0, most=0) if text == "unchanged" else cls(text, word=text)
        if text == "-0":
            return cls(text, least=0)
        return cls._parse_range(text) or cls._parse_total(text)

    @classmethod
    def _parse_range(cls, text: str) -> Change | None:
        match = _RANGE.fullmatch(text)
        if not match:
            return None
        least, most = int(match[1]), int(match[2] or match[1])
        if least > most:
            raise ValueError(f"expected a range from less to more, such as +0..+50; got '{text}'")
        return cls(text, least=least, most=most)

    @classmethod
    def _parse_total(cls, text: str) -> Change:
        try:
            return cls(text, total=Threshold.parse(text))
        except ValueError:
            raise ValueError(f"expected {_ALLOWED}; got '{text}'") from None

    def holds(self, before: int | None, after: int | None) -> bool:
        """Whether it allows the change from one number of rows to the other; None is a table that is not there."""
        if self.word == "dropped":
            return before is not None and after is None
        if after is None:
            return False
        if self.word == "new":
            return before is None
        if self.total is not None:
            return self.total.holds(after)
        return self.word == "any" or (before is not None and self._allows(after - before))

    def explain(self, before: int | None) -> str:
        """What is expected, in numbers where the number before is known."""
        if self.word or self.total or before is None or self.least is None:
            return self.text
        if self.most is None:
            return f">= {before} ({self.text})"
        if self.least == self.most:
            return f"{before + self.least} ({self.text})"
        return f"{before + self.least}..{before + self.most} ({self.text})"

    def _allows(self, delta: int) -> bool:
        return (self.least is None or delta >= self.least) and (self.most is None or delta <= self.most)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """How pydantic reads and writes a change: as its text."""
        return text_schema(cls, cls.parse)


def _unquoted(value: Any) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        return ""
    return f"write '+{value}' in quotes, or '== {value}'" if value > 0 else f"write '{value or '-0'}' in quotes"


class RowCounts(Parameters):
    """The row counts of now against the `snapshot` of this release; the denominator is the tables compared.

    What the snapshot left out (`exclude`, `where`) is left out again.

    ```yaml
    row_counts:
      database: app
      expect: {clients: "-0", appointments: "+120", audit_log: ">= 5", consents: new}
      default: unchanged
    ```
    """

    kind: ClassVar[str] = "row_counts"
    shorthand: ClassVar[str] = "database"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    moment: str = Field(default="before", pattern=r"^[a-z][a-z0-9_-]*$")
    """The moment of the snapshot to compare with."""
    expect: dict[str, Change] = Field(default_factory=dict)
    """By table: `unchanged`, `+120`, `-5`, `-0` (none lost), `+0..+50`, `>= 5`, `== 120`, `new`, `dropped` or `any`."""
    default: Change = Change.parse("unchanged")
    """What the tables of the snapshot that `expect` does not name must do."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many tables must be compared at least."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Count again, and compare table by table."""
        name = database_name(context, self.database)
        kept = context.recorded(f"row_counts/{name}/{self.moment}")
        if kept is None:
            yield self._without_snapshot(name, context)
            return
        after = _count_again(context, name, kept.value, self.expect.keys())
        yield from self._compare(context, kept, after)

    def _without_snapshot(self, name: str, context: Context) -> Finding:
        return find(
            f"snapshot '{self.moment}' of database '{name}'",
            expected="one of this release to compare with",
            actual=f"none of {context.release.name}; it is taken by a gate with `snapshot:`",
            ok=Ok.CANNOT_TELL,
        )

    def _compare(self, context: Context, kept: Kept, after: Mapping[str, int]) -> Iterator[Finding]:
        before: dict[str, int] = kept.value["tables"]
        labels = sorted({*before, *after})
        expected = {_label(name, labels): change for name, change in self.expect.items()}
        labels = sorted({*labels, *expected})
        changes = {label: expected.get(label, self.default) for label in labels}
        new = {label for label in labels if label not in before and label not in expected}
        holds = {
            label: label not in new and changes[label].holds(before.get(label), after.get(label)) for label in labels
        }
        context.attach("row_counts.txt", "text/plain", _table(labels, before, after, changes, holds))
        quiet = [label for label in labels if holds[label] and label not in expected]
        for label in labels:
            if label not in quiet:
                wanted = "no new table" if label in new else changes[label].explain(before.get(label))
                actual = _actual(before.get(label), after.get(label))
                yield find(f"rows of {label}", expected=wanted, actual=actual, ok=holds[label])
        if quiet:
            rows = sum(after[label] for label in quiet)
            actual = f"{self.default} ({len(quiet)} tables, {rows} rows)"
            yield find("rows of the other tables", expected=self.default, actual=actual, ok=True)
        yield counted("tables", len(before.keys() & after.keys()), self.least)
        yield counted("rows", sum(after.values()))


def _count_again(context: Context, name: str, snapshot: Mapping[str, Any], wanted: Collection[str]) -> dict[str, int]:
    try:
        named, where = snapshot["named"], snapshot["where"]
        exclude, schemas = snapshot["exclude"], snapshot["schemas"]
    except (KeyError, TypeError):
        raise CannotLook(f"the snapshot of database '{name}' cannot be read", "take it again") from None
    with connect(context, name) as connection:
        tables = selected(user_tables(connection, schemas), [], exclude)
        if named:
            tables = [table for table in tables if {table.label, table.name} & {*named, *wanted}]
        return count_rows(connection, context, tables, where)


def _label(name: str, labels: list[str]) -> str:
    found = [label for label in labels if label == name] or [
        label for label in labels if label.partition(".")[2] == name
    ]
    if len(found) > 1:
        raise CannotLook(f"`expect` names '{name}', which is in several schemas", f"write {' or '.join(found)}")
    return found[0] if found else name


def _actual(before: int | None, after: int | None) -> str:
    if before is None and after is None:
        return "no such table, neither in the snapshot nor now"
    if after is None:
        return f"the table is gone ({before} rows before)"
    if before is None:
        return f"a new table of {after} rows"
    return f"{after} ({after - before:+d})" if after != before else f"{after} (unchanged)"


def _table(
    labels: list[str],
    before: Mapping[str, int],
    after: Mapping[str, int],
    changes: Mapping[str, Change],
    holds: Mapping[str, bool],
) -> bytes:
    def row(label: str) -> tuple[object, ...]:
        old, new = before.get(label), after.get(label)
        delta = "" if old is None or new is None else f"{new - old:+d}"
        shown = ["-" if number is None else number for number in (old, new)]
        return (label, *shown, delta, changes[label], "yes" if holds[label] else "NO")

    return aligned(("table", "before", "after", "delta", "expected", "ok"), map(row, labels))
