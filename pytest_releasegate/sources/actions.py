"""Actions that must leave a row in an audit table: done in SQL and rolled back, or through the application."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr, field_validator, model_validator

from pytest_releasegate.check import find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, Span, Threshold, format_duration
from pytest_releasegate.sources.http import Query, ask
from pytest_releasegate.sources.httpsend import Headers
from pytest_releasegate.sources.pgaudit import Rows, acted, rows_since, window
from pytest_releasegate.sources.pglooks import SCAN_SECONDS
from pytest_releasegate.sources.postgres import bound, connect, first_rows, one_statement
from pytest_releasegate.sources.sqlguard import require_harmless
from pytest_releasegate.sources.text import OneOrMore

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.pgcolumns import Column
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Names", "Place", "Probe", "done", "requested"]

_MARK = "${mark}"
_PAUSE = 0.2
_ASK_SECONDS = 30.0
_NONE: Any = ()

Scalar = StrictBool | StrictInt | StrictStr | None
Names = tuple[Annotated[StrictStr, Field(min_length=1)], ...]


class Ask(Parameters):
    """A request to the application."""

    url: Annotated[str, Field(min_length=1)]
    """A path under the environment's base URL, or an absolute URL."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """The request's method."""
    headers: Headers = Field(default_factory=dict)
    """Headers to send; values may hold references such as `Bearer ${env:TOKEN}`."""
    status: Annotated[tuple[StrictInt, ...], OneOrMore] = (200,)
    """The status, or the list of statuses, that say that it was done."""


class Asked(Parameters):
    """A value that the database gives."""

    query: str
    """A query that gives one value."""

    @field_validator("query")
    @classmethod
    def _single(cls, text: str) -> str:
        return one_statement(text)


class Probe(Parameters):
    """An action that must leave a row, done in SQL and rolled back, or through the application."""

    sql: Annotated[Names, OneOrMore] = _NONE
    """The statement, or the list of statements, that do it; each must reach a row, and all are rolled back."""
    role: StrictStr = ""
    """The role to do it as, such as `authenticated`; by default the one that looks."""
    settings: dict[str, StrictStr | Asked] = Field(default_factory=dict)
    """Settings that policies and triggers ask, such as `request.jwt.claims`: a text, or `{query: select ...}`."""
    http: Ask | None = None
    """The request that does it; `${mark}` in its URL and headers is a text that no other request has."""
    expect: dict[str, Scalar] = Field(default_factory=dict)
    """By column, what the row must hold, compared as text; may hold `${mark}`."""
    filled: Names = ()
    """Columns of the row that must not be null, such as who did it."""
    rows: Threshold = Threshold.parse(">= 1")
    """How many such rows it must leave."""
    within: Span = timedelta(seconds=5)
    """How long a request's row may take to appear."""

    @model_validator(mode="after")
    def _one_way(self) -> Probe:
        if bool(self.sql) == (self.http is not None):
            raise ValueError("expected either `sql` or `http`")
        if not self.expect:
            raise ValueError("expected `expect`: what the row must hold, such as action_type: delete")
        if self.rows.holds(0):
            raise ValueError(f"no row at all would satisfy `rows: {self.rows}`; expected a bound such as '>= 1'")
        for number, text in enumerate(self.sql, start=1):
            require_harmless(text, f"statement {number}", writes=True)
        return self


@dataclass(frozen=True, slots=True)
class Place:
    """The audit table, where it is looked at."""

    table: Table
    time: Column
    zone: str
    known: list[Table]

    @property
    def instant(self) -> str:
        """The expression of when a row was written."""
        return self.time.instant(self.zone or "UTC")


def done(connection: psycopg.Connection[Any], context: Context, place: Place, name: str, probe: Probe) -> Finding:
    """Do it in SQL, see what it left, and undo it."""
    settings = {key: _value(connection, context, name, key, value) for key, value in probe.settings.items()}
    statements = [context.resolve(text) for text in probe.sql]
    bound(connection, context, SCAN_SECONDS)
    with connection.transaction(force_rollback=True):
        since = window(connection)
        before = _rows(connection, place, probe, since, "")
        empty = acted(connection, name, statements, probe.role, settings)
        after = _rows(connection, place, probe, since, "")
    if empty:
        what = f"the action reached no row (statement {empty}), so nothing was to be told"
        return find(name, expected=_wanted(probe), actual=what, ok=Ok.CANNOT_TELL)
    return _compared(name, probe, before, after)


def requested(context: Context, database: str, place: Place, name: str, probe: Probe) -> Finding:
    """Do it through the application, and wait for what it leaves."""
    asked = probe.http
    assert asked is not None  # noqa: S101  the caller has seen it
    context.require_permission("writes_through_app", f"the action '{name}'")
    mark = f"rg-{token_hex(6)}"
    with connect(context, database) as connection:
        since = window(connection)
        before = _rows(connection, place, probe, since, mark)
    query = Query(
        url=context.url(asked.url.replace(_MARK, mark)),
        method=asked.method,
        headers={key: context.resolve(value).replace(_MARK, mark) for key, value in asked.headers.items()},
    )
    answer = ask(query, clock=context.clock, limit=context.remaining(_ASK_SECONDS))
    if answer.status not in asked.status:
        what = f"the application answered {answer.status}, so nothing was to be told"
        return find(name, expected=_wanted(probe), actual=what, ok=Ok.CANNOT_TELL)
    end = context.clock.monotonic() + probe.within.total_seconds()
    while True:
        with connect(context, database) as connection:
            finding = _compared(name, probe, before, _rows(connection, place, probe, since, mark))
        if finding.ok is Ok.YES or context.clock.monotonic() + _PAUSE > end:
            return finding
        context.clock.sleep(_PAUSE)


def _rows(connection: psycopg.Connection[Any], place: Place, probe: Probe, since: datetime, mark: str) -> Rows:
    expect = {
        key: value.replace(_MARK, mark) if isinstance(value, str) else value for key, value in probe.expect.items()
    }
    return rows_since(connection, place.table, place.instant, since, expect, probe.filled)


def _compared(name: str, probe: Probe, before: Rows, after: Rows) -> Finding:
    fitting, every = after.fitting - before.fitting, after.all - before.all
    actual = f"{fitting} of {every} row{'s' * (every != 1)} written"
    shared = probe.http is not None and _MARK not in str(probe.expect)
    actual += "; other people's actions may be among them: put ${mark} into it" if shared and fitting else ""
    return find(name, expected=_wanted(probe), actual=actual, ok=probe.rows.holds(fitting))


def _wanted(probe: Probe) -> str:
    terms = [f"{key} {'null' if value is None else value}" for key, value in probe.expect.items()]
    within = f" within {format_duration(probe.within)}" if probe.http else ""
    return f"{probe.rows} with {', '.join([*terms, *(f'{key} filled' for key in probe.filled)])}{within}"


def _value(connection: psycopg.Connection[Any], context: Context, probe: str, key: str, value: str | Asked) -> str:
    if isinstance(value, str):
        return context.resolve(value)
    rows = first_rows(connection, context.resolve(value.query), limit=2)
    if len(rows) != 1 or rows[0][0] is None:
        what = "no row" if not rows else "several rows" if len(rows) > 1 else "null"
        raise CannotLook(f"probe '{probe}': the query of setting '{key}' gave {what}", "it must give one value")
    return str(rows[0][0])
