"""`sql`: what a query on a database answers."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, Threshold
from pytest_releasegate.sources.postgres import connect, first_rows, one_statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Sql"]

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
_MOST_ROWS = 100_000
_SHOWN_ROWS = 5
_SHOWN_CHARACTERS = 200
_PARAMETER = re.compile(r"(%\((?:version|commit|deployed_at)\)s)")


class Sql(Parameters):
    """One query in a read-only transaction, and what it must answer; the denominator is the query, or what `of` counts.

    ```yaml
    sql:
      database: app
      query: select version_num from alembic_version
      expect: "0042"
    ```
    """

    kind: ClassVar[str] = "sql"
    shorthand: ClassVar[str] = "query"

    query: str
    """One SELECT, VALUES or WITH; may use `%(version)s`, `%(commit)s`, `%(deployed_at)s` of the release."""
    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    expect: Scalar | list[list[Scalar | None]] = True
    """The one value it must give, a threshold such as `>= 1`, or a list of rows; by default `true`."""
    rows: Threshold | StrictInt | None = None
    """How many rows it must give, such as `0` or `>= 1`, instead of `expect`."""
    of: str = ""
    """A query that counts what was looked through; needed where an empty table would answer as expected."""
    least: Annotated[StrictInt, Field(ge=1)] = 1
    """How many there must be at least by `of`."""
    show_rows: bool = Field(default=False, strict=True)
    """Show the first column of the first five rows: only where it holds no personal data."""
    timeout: Duration = timedelta(seconds=60)
    """How long the query may run."""

    @field_validator("query", "of")
    @classmethod
    def _single(cls, text: str) -> str:
        return one_statement(text) if text else text

    @field_validator("rows", mode="before")
    @classmethod
    def _threshold(cls, value: Any) -> Any:
        return Threshold.parse(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_expectation(self) -> Sql:
        if not self.query:
            raise ValueError("the query: expected one statement, got none")
        if self.rows is not None and "expect" in self.model_fields_set:
            raise ValueError("expected either `expect` or `rows`, got both")
        if self._asks_for_nothing() and not self.of:
            raise ValueError("an empty table answers that too; expected `of`: a query to count what was looked at")
        return self

    def _asks_for_nothing(self) -> bool:
        """Whether an empty table would give what is expected."""
        if self.rows is not None:
            return self.rows == 0 if isinstance(self.rows, int) else self.rows.holds(0)
        wanted = Threshold.read(self.expect) or self.expect
        zero = isinstance(wanted, int | float) and not isinstance(wanted, bool) and wanted == 0
        none = isinstance(wanted, Threshold) and wanted.holds(0) and wanted.limit <= 1
        return zero or none or wanted == []

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask once, and compare."""
        limit = self.timeout.total_seconds()
        with connect(context, self.database, at_most=limit) as connection:
            rows = first_rows(connection, *_put_in(self.query, context), limit=_MOST_ROWS + 1)
            total = first_rows(connection, *_put_in(self.of, context), limit=2) if self.of else None
        if len(rows) > _MOST_ROWS:
            raise CannotLook(f"the query gave more than {_MOST_ROWS} rows", "count them in the query")
        finding = self._compare(rows)
        context.attach("query.txt", "text/plain", f"{self.query}\n\n{finding}\n".encode())
        yield finding
        yield counted("queries", 1) if total is None else counted("rows", _total(total), self.least)

    def _compare(self, rows: list[tuple[Any, ...]]) -> Finding:
        if self.rows is not None:
            wanted = Threshold.parse(f"== {self.rows}") if isinstance(self.rows, int) else self.rows
            return find("rows", expected=self.rows, actual=self._shown(rows), ok=wanted.holds(len(rows)))
        if isinstance(self.expect, list):
            return self._compare_rows(rows, self.expect)
        if not rows:
            return find("value", expected=_wanted(self.expect), actual="no row", ok=Ok.CANNOT_TELL)
        if len(rows) > 1 or len(rows[0]) > 1:
            shape = f"{len(rows)} rows of {len(rows[0])} columns"
            raise CannotLook(f"the query gave {shape} where one value is expected", "select one value, or use `rows`")
        return _compare_value(rows[0][0], self.expect)

    def _compare_rows(self, rows: list[tuple[Any, ...]], wanted: list[list[Scalar | None]]) -> Finding:
        pairs = zip(rows, wanted, strict=False)
        differing = sum(len(row) != len(want) or not all(map(_same, row, want)) for row, want in pairs)
        differing += abs(len(rows) - len(wanted))
        actual = f"{self._shown(rows)}, {differing} of them missing or different" if differing else self._shown(rows)
        return find("rows", expected=f"{len(wanted)} rows as given", actual=actual, ok=not differing)

    def _shown(self, rows: list[tuple[Any, ...]]) -> str:
        if not self.show_rows or not rows:
            return str(len(rows))
        first = ", ".join(_text(row[0]) for row in rows[:_SHOWN_ROWS] if row)
        return f"{len(rows)} ({first}{', ...' if len(rows) > _SHOWN_ROWS else ''})"


def _put_in(query: str, context: Context) -> tuple[str, dict[str, object] | None]:
    used = set(re.findall(r"\w+", " ".join(_PARAMETER.findall(query)))) & {"version", "commit", "deployed_at"}
    if not used:
        return query, None
    release = context.release
    known = {"version": release.version, "commit": release.git_commit, "deployed_at": release.deployed_at}
    if unknown := sorted(name for name in used if not known[name]):
        raise CannotLook(f"the release has no {unknown[0]} yet, and the query uses it", "look after it is known")
    # every other percent sign is the user's own
    parts = (part if _PARAMETER.fullmatch(part) else part.replace("%", "%%") for part in _PARAMETER.split(query))
    return "".join(parts), {name: known[name] for name in used}


def _compare_value(value: Any, wanted: Scalar) -> Finding:
    shown = _text(value)
    if value is None:
        return find("value", expected=_wanted(wanted), actual="null", ok=Ok.CANNOT_TELL)
    threshold = Threshold.read(wanted)
    if threshold is None:
        return find("value", expected=_text(wanted), actual=shown, ok=_same(value, wanted))
    number = _number(value)
    if number is None:
        return find("value", expected=threshold, actual=f"{shown} (no number)", ok=Ok.CANNOT_TELL)
    return find("value", expected=threshold, actual=shown, ok=threshold.holds(number))


def _wanted(wanted: Scalar) -> str:
    return str(Threshold.read(wanted) or _text(wanted))


def _number(value: Any) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return float(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else None


def _same(value: Any, wanted: Scalar | None) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool) or value is None or wanted is None:
        return value is wanted
    if isinstance(value, int | float | Decimal):
        return not isinstance(wanted, str) and float(value) == float(wanted)
    return isinstance(wanted, str) and str(value) == wanted


def _text(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    if not isinstance(value, int | float | str | None):
        text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _total(rows: list[tuple[Any, ...]]) -> int:
    if len(rows) != 1 or len(rows[0]) != 1 or not isinstance(rows[0][0], int):
        raise CannotLook("`of` must give one whole number", "write it as select count(*) from ...")
    return rows[0][0]
