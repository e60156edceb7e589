"""`feature_flags`: whether each flag has the state that the release expects of it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.answers import Away, answered, document, private_url, require_ok
from pytest_releasegate.sources.flags import Flags, Shape, once_each
from pytest_releasegate.sources.httpsend import Headers
from pytest_releasegate.sources.paging import require_whole
from pytest_releasegate.sources.postgres import connect, first_rows, one_statement
from pytest_releasegate.sources.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["FeatureFlags"]

State = StrictBool | StrictInt | StrictFloat | StrictStr | None
_SOURCES = ("url", "query", "file")
_MOST = 10_000
_SHOWN = 80


class FeatureFlags(Parameters):
    """The states of feature flags, of a service, a table or a file; the denominator is the flags declared.

    ```yaml
    feature_flags: {url: /api/flags, flags: {care_plans: true, online_booking: false}}
    ```
    """

    kind: ClassVar[str] = "feature_flags"

    flags: Annotated[dict[str, State], Field(min_length=1)]
    """Each flag with its state: true, false, a number or a text such as the name of a variant."""
    url: str = ""
    """A path under the environment's base URL, or a URL, that answers JSON: an object by flag, or a list of objects."""
    query: str = ""
    """One SELECT that gives two columns, a flag's name and its state, in place of `url`."""
    file: str = ""
    """A JSON file relative to the root, in place of `url`."""
    database: str = ""
    """The environment's database that is asked; by default the only one, or `app`."""
    at: str = ""
    """The dotted path of the object or the list in the JSON; by default the whole."""
    name: str = "name"
    """The field of a list's item that names the flag."""
    state: str = "enabled"
    """The field of an item, or of an object by flag, that holds its state; dots lead into it."""
    headers: Headers = Field(default_factory=dict)
    """Headers to send; values may hold references such as `Bearer ${env:TOKEN}`."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""
    undeclared: Literal["fails", "observe"] = "fails"
    """What a flag means that is there and is not declared here: that it drifted in, or nothing."""

    @field_validator("query")
    @classmethod
    def _single(cls, text: str) -> str:
        return one_statement(text) if text else text

    @model_validator(mode="after")
    def _one_source(self) -> FeatureFlags:
        given = [name for name in _SOURCES if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(_SOURCES)}, got {' and '.join(given) or 'none'}")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Read all flags, and compare those that are declared."""
        try:
            found = self._read(context)
        except Away as away:
            yield find("flags", expected="an answer", actual=str(away), ok=Ok.CANNOT_TELL)
            return
        for name, state in self.flags.items():
            yield _compared(name, state, found)
        for name in sorted(found.states.keys() - self.flags.keys()):
            observe = self.undeclared == "observe"
            actual = f"{_written(found.states[name])}, not declared"
            yield find(f"flag {visible(name)}", expected="declared", actual=actual, ok=False, observe=observe)
        yield counted("flags", len(self.flags.keys() & found.states.keys()), len(self.flags))

    @property
    def waits(self) -> bool:
        """Whether others may look at the same time: a database's connections are few."""
        return not self.query

    def _read(self, context: Context) -> Flags:
        if self.query:
            return self._from_query(context)
        if self.url:
            headers = {name: context.resolve(value) for name, value in self.headers.items()}
            url = context.url(self.url)
            if headers:
                private_url(url, "a header")
            answer = require_ok(answered(context, url, headers, self.ca))
            document(answer)
            whole = _parsed(answer.body, self.url)
            place = self._place(whole, self.url)
            require_whole(answer, whole, self.at, len(place) if isinstance(place, dict | list) else 0)
            return Shape(self.name, self.state, self.url).read(place)
        path = context.root / context.resolve(self.file, secret=False)
        try:
            whole = _parsed(path.read_bytes(), self.file)
        except OSError as error:
            raise CannotLook(f"{self.file}: cannot read it: {error.strerror}", "name it relative to the root") from None
        return Shape(self.name, self.state, self.file).read(self._place(whole, self.file))

    def _from_query(self, context: Context) -> Flags:
        with connect(context, self.database) as connection:
            rows = first_rows(connection, self.query, limit=_MOST + 1)
        if any(len(row) != 2 for row in rows) or len(rows) > _MOST:
            raise CannotLook(f"the query gave {len(rows)} rows", "select two columns, the flag's name and its state")
        found = Flags()
        for name, state in rows:
            if str(name) in found.states:
                raise CannotLook(f"the query: the flag '{name}' is there twice", "ask for one state of each")
            found.states[str(name)] = float(state) if isinstance(state, Decimal) else state
        return found

    def _place(self, whole: Any, where: str) -> Any:
        place = whole
        for key in self.at.split(".") if self.at else ():
            if not isinstance(place, dict) or key not in place:
                known = sorted(place) if isinstance(place, dict) else []
                raise CannotLook(f"{where}: nothing at '{self.at}'", nearest(key, known))
            place = place[key]
        return place


def _parsed(body: bytes, where: str) -> Any:
    try:
        return json.loads(body, object_pairs_hook=once_each)
    except (ValueError, RecursionError) as error:
        raise CannotLook(f"{where} is no JSON: {error}") from None


def _compared(name: str, state: JsonValue, found: Flags) -> Finding:
    expected = _written(state)
    if name not in found.states:
        near = nearest(name, sorted(found.states))
        actual = "no such flag: it is archived" if name in found.archived else f"no such flag ({near})"
        return find(f"flag {name}", expected=expected, actual=actual, ok=False)
    actual = found.states[name]
    # true is not 1
    ok = isinstance(actual, bool) is isinstance(state, bool) and actual == state
    if ok and state is True and name in found.shares:
        text = f"true, with {found.shares[name]}: on for a share of users alone"
        return find(f"flag {name}", expected=expected, actual=text, ok=Ok.CANNOT_TELL)
    return find(f"flag {name}", expected=expected, actual=_written(actual), ok=ok)


def _written(state: Any) -> str:
    text = json.dumps(state, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
