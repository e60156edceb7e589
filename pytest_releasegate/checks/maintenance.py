"""`maintenance`: the application is closed for maintenance, or open again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters
from pytest_releasegate.sources.banners import banner
from pytest_releasegate.sources.jsonpaths import dotted, parsed, under
from pytest_releasegate.sources.postgres import connect, first_rows, one_statement
from pytest_releasegate.sources.text import OneOrMore
from pytest_releasegate.sources.webpages import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.http import Answer

__all__ = ["Maintenance"]

_LONGEST = 30.0
_MOST_SHOWN = 40
_TOO_MANY, _BROKEN, _UNAVAILABLE = 429, 500, 503
_SWITCH = {True: "on", False: "off"}

Code = Annotated[StrictInt, Field(ge=100, le=599)]
Scalar = StrictBool | StrictInt | StrictStr
Mode = Annotated[Literal["on", "off"], BeforeValidator(lambda value: _SWITCH.get(value, value))]


class State(Parameters):
    """One value that says whether maintenance is on, or whether jobs are paused."""

    query: str = ""
    """One SELECT that gives the value."""
    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    url: str = ""
    """A page with JSON that holds the value, instead of a query."""
    path: Annotated[str, AfterValidator(dotted)] = ""
    """The dotted path to it there."""
    during: Scalar = "on"
    """The value during maintenance."""
    otherwise: Scalar = "off"
    """The value outside of it."""

    @field_validator("query")
    @classmethod
    def _single(cls, text: str) -> str:
        return one_statement(text) if text else text

    @model_validator(mode="after")
    def _one_way(self) -> State:
        if bool(self.query) == bool(self.url) or bool(self.url) != bool(self.path):
            raise ValueError("expected either `query`, or `url` with `path`")
        if _meant(self.during) == _meant(self.otherwise):
            raise ValueError("`during` and `otherwise`: expected two values that differ")
        return self


class Maintenance(Parameters):
    """Whether maintenance is on, or off again: setting, pages, banner, jobs; the denominator is the things looked at.

    ```yaml
    maintenance:
      mode: "on"
      setting: {query: select value from app_settings where name = 'maintenance'}
      url: /auth
      banner: Scheduled maintenance
      jobs: {query: select value from app_settings where name = 'jobs_paused'}
    ```
    """

    kind: ClassVar[str] = "maintenance"

    mode: Mode
    """Whether it must be `on` or `off`."""
    setting: State | None = None
    """Where the application holds the mode."""
    jobs: State | None = None
    """Where it holds whether background jobs are paused: `during` maintenance they are."""
    url: Annotated[tuple[str, ...], OneOrMore] = ()
    """Pages that tell, a path or a list of them."""
    banner: str = ""
    """The text that each of the pages must show while it is on, and must not show while it is off."""
    status: Annotated[tuple[Code, ...], OneOrMore] = ()
    """The statuses of the pages in this mode; by default 200, or 503 while it is on."""
    retry_after: StrictBool = False
    """Whether pages that answer 503 must say in `Retry-After` when to come back."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""
    retry_for: Duration | None = None
    """How long to go on looking until all is as expected."""

    @model_validator(mode="after")
    def _something(self) -> Maintenance:
        if not (self.url or self.setting or self.jobs):
            raise ValueError("expected `setting`, `url` or `jobs`, got none")
        if (self.banner or self.status or self.retry_after) and not self.url:
            raise ValueError("`banner`, `status` and `retry_after` are of pages; expected `url`")
        if self.url and not (self.banner or self.status):
            raise ValueError("pages alone tell nothing; expected `banner`, `status` or both beside `url`")
        broken = bool(self.status) and min(self.status) >= _BROKEN
        if self.mode == "on" and broken and not (self.banner or self.retry_after or self.setting):
            raise ValueError("a broken server answers so too; expected `banner`, `retry_after` or `setting` beside it")
        return self

    @property
    def waits(self) -> bool:
        """Whether others may look at the same time: a database's connections are few."""
        return not any(state and state.query for state in (self.setting, self.jobs))

    def look(self, context: Context) -> Iterator[Finding]:
        """Look at the setting, the pages and the jobs."""
        number = 0
        for name, state in (("mode", self.setting), ("background jobs", self.jobs)):
            if state is not None:
                number += 1
                yield self._state(name, state, context)
        for url in self.url:
            number += 1
            yield from self._page(url, fetch(context, url, ca=self.ca))
        yield counted("things", number)

    def _state(self, name: str, state: State, context: Context) -> Finding:
        on = self.mode == "on"
        wanted, other = (state.during, state.otherwise) if on else (state.otherwise, state.during)
        words = {"mode": ("on", "off"), "background jobs": ("paused", "running")}[name]
        meant, opposite = words if on else words[::-1]
        expected = _told(meant, wanted)
        found = _of_database(state, context) if state.query else self._of_page(state, context)
        if found is None:
            return find(name, expected=expected, actual="no value", ok=Ok.CANNOT_TELL)
        same = _meant(found) == _meant(wanted)
        known = _told(opposite, found) if _meant(found) == _meant(other) else _written(found)
        return find(name, expected=expected, actual=expected if same else known, ok=same)

    def _of_page(self, state: State, context: Context) -> Any:
        answer = fetch(context, state.url, ca=self.ca)
        if not (200 <= answer.status < 300 or answer.status == _UNAVAILABLE):
            what = f"{answer.url} answered {answer.status} {answer.reason}".strip()
            raise CannotLook(what, "name a page that answers with 200")
        try:
            found = under(parsed(answer.body), state.path)
        except ValueError:
            what = f"{answer.url}: the answer ({answer.status}) is not JSON"
            raise CannotLook(what, "name a page that answers with JSON") from None
        return None if isinstance(found, (dict, list)) else found

    def _page(self, url: str, answer: Answer) -> Iterator[Finding]:
        on = self.mode == "on"
        wanted = self.status or ((200, _UNAVAILABLE) if on else (200,))
        held = answer.status in wanted
        expected = " or ".join(map(str, wanted))
        actual = f"{answer.status} {answer.reason}".strip()
        ok = held or (Ok.CANNOT_TELL if answer.status == _TOO_MANY else False)
        yield find(f"{url}: status", expected=expected, actual=actual, ok=ok)
        if self.retry_after and answer.status == _UNAVAILABLE:
            after = answer.headers.get("Retry-After", "")
            yield find(f"{url}: Retry-After", expected="told", actual=after or "absent", ok=bool(after))
        if self.banner and held:
            yield banner(f"{url}: banner '{' '.join(self.banner.split())}'", self.banner, answer, wanted=on)


def _of_database(state: State, context: Context) -> Any:
    with connect(context, state.database, at_most=_LONGEST) as connection:
        rows = first_rows(connection, state.query, limit=2)
    if len(rows) > 1 or (rows and len(rows[0]) != 1):
        raise CannotLook("the query gave more than one value", "select the one that tells")
    return rows[0][0] if rows else None


def _meant(value: Any) -> str:
    """The value as a text to compare; `on` is what YAML reads as true, and what a column of booleans holds."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return {"true": "on", "false": "off"}.get(text, text)


def _told(word: str, value: Any) -> str:
    """What a value means, with the value where it is another word."""
    return word if _written(value) == word else f"{word} ({_written(value)})"


def _written(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
