"""`functions`: whether each of the named functions at the edge answers, as it should and in the right version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue, StrictInt, model_validator
from pydantic_core import core_schema

from pytest_releasegate.check import counted, find
from pytest_releasegate.checks.http import Http
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters
from pytest_releasegate.sources.httpsend import Headers
from pytest_releasegate.sources.jsonpaths import dotted
from pytest_releasegate.sources.text import Expected, OneOrMore, known, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Functions"]

Code = Annotated[StrictInt, Field(ge=100, le=599)]
_NOBODY = "releasegate-no-such-function"
_ASIDE = ("answers looked at",)


class Function(Parameters):
    """How one function is asked, and what it must answer; what is left out is as for all."""

    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] | None = None
    """The request's method."""
    status: Annotated[tuple[Code, ...], OneOrMore] = ()
    """The status, or the list of statuses, that are as expected."""
    body: dict[str, JsonValue] = Field(default_factory=dict)
    """Dotted paths into the JSON body with the value expected there, or a threshold such as `'>= 3'`."""
    text: Annotated[tuple[Expected, ...], OneOrMore] = ()
    """A text, or a list of texts, that must stand in the body."""


def _named(value: Any) -> Any:
    """A list of names means what the shorthand says: each as for all."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        if len(set(value)) < len(value):
            raise ValueError("expected each name once")
        return {name: {} for name in value}
    return value


class _OrNames:
    """Reads a list of names as well, and says so in the schema."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(_named, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        names = {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}
        return {"anyOf": [names, handler(schema)]}


class Functions(Parameters):
    """Each function answers under one address; the denominator is the functions asked.

    ```yaml
    functions:
      base: https://ref.supabase.co/functions/v1
      functions: {send-reminder: {method: OPTIONS}, export-notes: {status: 401}}
      version_header: {X-Version: "${release.version}"}
    ```
    """

    kind: ClassVar[str] = "functions"

    base: Annotated[str, Field(min_length=1)]
    """The address that the names are put after: a path under the environment's base URL, or a URL."""
    functions: Annotated[dict[str, Function], Field(min_length=1), _OrNames()]
    """The functions by name, each with what is special about it; or a list of names. A name that no function has is
    asked for too, and must be answered otherwise."""
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """The method for all; on a protected environment all but GET, HEAD and OPTIONS need `writes_through_app`."""
    status: Annotated[tuple[Code, ...], OneOrMore, Field(min_length=1)] = (200,)
    """The status for all, or the list of statuses, that are as expected."""
    headers: Headers = Field(default_factory=dict)
    """Headers to send; values may hold references such as `Bearer ${env:TOKEN}`."""
    within: Duration | None = None
    """The longest that each answer may take."""
    version_header: dict[str, Expected] = Field(default_factory=dict, max_length=1)
    """A header of each answer and what it must hold, such as `X-Version: ${release.version}`."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""
    retry_for: Duration | None = None
    """How long to go on asking until all answer as expected."""

    @model_validator(mode="after")
    def _answerable(self) -> Functions:
        for name, one in self.functions.items():
            known(json.dumps(one.body))
            any(map(dotted, one.body))
            if (one.method or self.method) == "HEAD" and (one.text or one.body):
                raise ValueError(f"{name}: the answer to HEAD has no body; use GET with `text` and `body`")
        return self

    @property
    def waits(self) -> bool:
        """Whether others may look at the same time: functions that may change something are asked alone."""
        return all(self._check(name, function).waits for name, function in self.functions.items())

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask each function once; each is one finding."""
        for name, function in self.functions.items():
            findings = list(self._check(name, function).look(context))
            yield _whole(name, [one for one in findings if not one.name.startswith(_ASIDE)])
        yield from self._as_nobody(context)
        yield counted("functions", len(self.functions), len(self.functions))

    def _as_nobody(self, context: Context) -> Iterator[Finding]:
        """Say which of them answer as a name does that no function has: a gateway refuses whatever is behind it."""
        ways: dict[str, list[str]] = {}
        for name, function in self.functions.items():
            ways.setdefault(repr(function), []).append(name)
        for names in ways.values():
            try:
                found = list(self._check(_NOBODY, self.functions[names[0]]).look(context))
            except CannotLook:
                continue
            if all(one.ok is Ok.YES for one in found):
                said = "; ".join(one.actual for one in found if not one.name.startswith(_ASIDE))
                actual = f"{said}, as expected of {shown(names)}; look at a `text`, a `body` or another status"
                yield find(f"function {_NOBODY}", expected="another answer", actual=actual, ok=Ok.CANNOT_TELL)

    def _check(self, name: str, function: Function) -> Http:
        return Http(
            url=f"{self.base.rstrip('/')}/{name}",
            method=function.method or self.method,
            headers=self.headers,
            status=function.status or self.status,
            body=function.body,
            text=function.text,
            header=dict(self.version_header),
            within=self.within,
            ca=self.ca,
        )


def _whole(name: str, findings: list[Finding]) -> Finding:
    """All that was found about one function as one: what is wrong with it, or what was seen."""
    wrong = [one for one in findings if one.ok is not Ok.YES]
    shown = wrong or findings
    expected = "; ".join(f"{one.name} {one.expected}" for one in shown)
    actual = "; ".join(one.actual for one in shown)
    ok = Ok.NO if any(one.ok is Ok.NO for one in wrong) else Ok.CANNOT_TELL if wrong else Ok.YES
    return find(f"function {name}", expected=expected, actual=actual, ok=ok)
