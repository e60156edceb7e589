"""`http`: one answer of a server."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, StrictBool, StrictInt, StrictStr, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, Threshold, format_duration
from pytest_releasegate.sources.anypage import not_its_own
from pytest_releasegate.sources.http import Answer, Query, ask
from pytest_releasegate.sources.httpexpected import header_finding, text_finding
from pytest_releasegate.sources.httpfaults import RedirectLoop, TimedOut, Unreachable, public_url
from pytest_releasegate.sources.httpsend import Auth, Headers, authorization, form_body, json_body, raw_body
from pytest_releasegate.sources.httpshown import evidence, led_to
from pytest_releasegate.sources.jsonpaths import at_path, document, dotted
from pytest_releasegate.sources.jsonshape import read_schema, require_schema, shaped
from pytest_releasegate.sources.text import Expected, OneOrMore, cut, known, shown, visible
from pytest_releasegate.sources.tls import authority_file
from pytest_releasegate.turns import at_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Http"]

_LONGEST = 30.0
_AT_ONCE = 8
_TOO_MANY, _UNAVAILABLE = 429, 503
_READING = ("GET", "HEAD", "OPTIONS")
_MITIGATED = ("cf-mitigated", "x-amzn-waf-action")

_PASSWORD = re.compile(r"//[^/?#@$]*:[^/?#@$]+@")

Code = Annotated[StrictInt, Field(ge=100, le=599)]
Path = Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)*$"), AfterValidator(dotted)]
Url = Annotated[StrictStr, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class _Target:
    """One request, what it is called in findings, and what came of it."""

    label: str
    query: Query
    limit: float = 0.0
    came: Answer | CannotLook | None = None

    def named(self, finding: Finding) -> Finding:
        return replace(finding, name=f"{self.label}: {finding.name}") if self.label else finding


class Http(Parameters):
    """One request and its answer: status, time, headers and body; the denominator is the requests answered.

    ```yaml
    http: {url: /healthz, status: 200, within: 2s, retry_for: 30s, body: {status: ok}}
    ```
    """

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["url"]}, {"required": ["urls"]}]})
    kind: ClassVar[str] = "http"
    shorthand: ClassVar[str] = "url"

    url: str = ""
    """A path under the environment's base URL, or an absolute URL; references in its query count as secrets."""
    urls: tuple[Url, ...] = ()
    """Several of them instead of `url`, asked at once; each must answer, and each has findings of its own."""
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """The request's method; on a protected environment all but GET, HEAD and OPTIONS need `writes_through_app`."""
    headers: Headers = Field(default_factory=dict)
    """Headers to send; values may hold references such as `Bearer ${env:TOKEN}`."""
    auth: Auth | None = None
    """Who asks, by reference: `{bearer: '${env:TOKEN}'}` or `{basic: {user: ops, password: '${env:PASSWORD}'}}`."""
    json_: dict[str, JsonValue] | list[JsonValue] | None = Field(default=None, alias="json")
    """A JSON body to send; its texts may hold references and `${release.version}`, as those of the next two may."""
    form: dict[str, str] = Field(default_factory=dict)
    """Fields to send as a form."""
    content: str = ""
    """A text to send as it is; needs its `Content-Type` among `headers`."""
    status: Annotated[tuple[Code, ...], OneOrMore, Field(min_length=1)] = (200,)
    """The status, or the list of statuses, that are as expected; where nothing else is, a page of HTML must differ from
    that of a made-up address beside it."""
    within: Duration | None = None
    """The longest that the answer may take, from asking to its last byte."""
    text: Annotated[tuple[Expected, ...], OneOrMore] = ()
    """A text, or a list of texts, that must stand in the body; may hold `${release.version}`."""
    not_text: Annotated[tuple[Expected, ...], OneOrMore] = ()
    """A text, or a list of texts, that must not stand in the body."""
    body: dict[Path, JsonValue] = Field(default_factory=dict)
    """Dotted paths into the JSON body with the value expected there, or a threshold such as `'>= 3'`."""
    schema_: dict[str, JsonValue] | StrictStr | None = Field(default=None, alias="schema")
    """The JSON Schema that the body must fit: inline, or its file relative to the root; nothing is fetched for it."""
    size: Threshold | None = None
    """How many bytes the body may have, unpacked, such as `'< 200000'`."""
    header: dict[str, Expected | None] = Field(default_factory=dict)
    """Headers of the answer with their whole value or one of its parts; `null` says that there must be none."""
    redirects: StrictBool = False
    """Whether to follow redirects; without it, a redirect is the answer."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""
    ip: Literal[4, 6, "both"] | None = None
    """The version of the internet protocol to ask over; `both` asks over each, and each must answer."""
    retry_for: Duration | None = None
    """How long to go on asking until all is as expected; each attempt is kept as evidence."""
    max_size: Annotated[StrictInt, Field(ge=1)] = 1024 * 1024
    """The most bytes that are read; a longer body cannot be looked at."""
    keep_body: StrictBool = False
    """Whether the body is kept as evidence: only where it holds no personal data. Its size and digest always are."""
    unreachable: Literal["error", "fails"] = "error"
    """What no answer means: that nobody could look, or, with `fails`, that the service is down."""
    control: str = ""
    """Another URL: that nothing answers counts with `unreachable: fails` only while this one does."""

    @model_validator(mode="after")
    def _answerable(self) -> Http:
        if bool(self.url) == bool(self.urls):
            raise ValueError("expected either `url` or `urls`")
        if len(set(self.urls)) < len(self.urls):
            raise ValueError("`urls` names the same URL twice")
        if any(_PASSWORD.search(url) for url in (self.url, *self.urls)):
            raise ValueError("a secret stands in no gate file: name it by reference, as `auth: {basic: ...}`")
        if self.method == "HEAD" and (self._reads_body or self.size):
            raise ValueError("the answer to HEAD has no body; use GET with what is expected of one")
        for value in self.body.values():
            known(json.dumps(value))
        if isinstance(self.schema_, dict):
            require_schema(self.schema_)
        return self

    @model_validator(mode="after")
    def _askable(self) -> Http:
        names = {name.lower() for name in self.headers}
        bodies = [self.json_ is not None, bool(self.form), bool(self.content)]
        if sum(bodies) > 1:
            raise ValueError("expected one of `json`, `form` and `content`")
        if any(bodies) and self.method in _READING:
            raise ValueError(f"{self.method} carries no body; name the `method`, such as POST")
        if self.content and "content-type" not in names:
            raise ValueError("`content` needs its Content-Type among `headers`")
        if self.auth and "authorization" in names:
            raise ValueError("expected either `auth` or the header Authorization")
        if self.control and self.unreachable == "error":
            raise ValueError("`control` is asked with `unreachable: fails` alone")
        known(json.dumps([self.json_, self.form, self.content]))
        return self

    @property
    def waits(self) -> bool:
        """Whether others may look at the same time: a request that may change something is made alone."""
        return self.method in _READING

    @property
    def _reads_body(self) -> bool:
        return bool(self.text or self.not_text or self.body or self.schema_ is not None)

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask once, all at the same time, and compare."""
        schema = read_schema(context.root, self.schema_) if isinstance(self.schema_, str) else self.schema_
        targets = self._asked(self._targets(context), context)
        answered = [target for target in targets if isinstance(target.came, Answer)]
        if answered or len(targets) > 1:
            yield counted("answers", len(answered), len(targets))
        missing: list[CannotLook] = []
        for number, target in enumerate(targets, start=1):
            if isinstance(target.came, Answer):
                name = "answer.txt" if len(targets) == 1 else f"answer-{number}.txt"
                context.attach(name, "text/plain", cut(evidence(target.came, whole=self.keep_body)))
                found = list(self._compare(target.came, schema, context))
                if all(one.ok is Ok.YES for one in found) and not (self._reads_body or self.size or self.header):
                    found += not_its_own(target.came, target.query, context)
                yield from map(target.named, found)
            elif (finding := self._away(target, context)) is not None:
                yield target.named(finding)
            elif target.came is not None:
                missing.append(target.came)
        if missing:
            raise _together(missing, len(targets))

    def _asked(self, targets: list[_Target], context: Context) -> list[_Target]:
        """The targets with what came of each."""

        def asked(target: _Target) -> _Target:
            limit = 0.0
            try:
                limit = context.remaining(self._patience())
                return replace(target, came=ask(target.query, clock=context.clock, limit=limit))
            except CannotLook as away:
                return replace(target, limit=limit, came=away)

        return at_once(asked, targets, _AT_ONCE)

    def _away(self, target: _Target, context: Context) -> Finding | None:
        """What it says that no answer came, None where it says nothing."""
        away, limit = target.came, target.limit
        if isinstance(away, RedirectLoop):
            return find("redirects", expected="an answer at the end of them", actual=away.what, ok=False)
        if not isinstance(away, Unreachable):
            return None
        if isinstance(away, TimedOut) and self.within is not None and limit >= self.within.total_seconds():
            return _time(self.within, f"no full answer within {limit:.3g}s", ok=False)
        if self.unreachable == "error":
            return None
        ok, more = self._control(target.query, context)
        return find("answer", expected="one", actual=f"{away.what}{more}", ok=ok)

    def _control(self, query: Query, context: Context) -> tuple[bool | Ok, str]:
        """Whether it is the service that is away, and not the way to it."""
        if not self.control:
            return False, ""
        control = replace(query, url=context.url(self.control), method="GET", headers={}, body=None)
        try:
            ask(control, clock=context.clock, limit=context.remaining(_LONGEST))
        except Unreachable as away:
            return Ok.CANNOT_TELL, f"; nor does the control answer: {away.what}"
        return False, f", while {public_url(control.url)} answers"

    def _targets(self, context: Context) -> list[_Target]:
        if self.method not in _READING:
            context.shared.forget()
            if context.environment.protected:
                context.require_permission("writes_through_app", self.method)
        headers, body = self._sent(context)
        urls = self.urls or (self.url,)
        versions = (4, 6) if self.ip == "both" else (self.ip or 0,)
        targets = []
        for url in urls:
            path, mark, search = url.partition("?")
            query = Query(
                url=context.url(path) + mark + context.resolve(search),
                method=self.method,
                headers=headers,
                body=body,
                redirects=self.redirects,
                ca=authority_file(context.root, context.resolve(self.ca, secret=False)),
                max_size=self.max_size,
            )
            for version in versions:
                over = [f"over IPv{version}"] if len(versions) > 1 else []
                label = " ".join([public_url(context.resolve(path, secret=False))] * bool(self.urls) + over)
                targets.append(_Target(label, replace(query, version=version)))
        return targets

    def _sent(self, context: Context) -> tuple[dict[str, str], bytes | None]:
        """The headers and the body to send."""
        headers = {name: context.resolve(value) for name, value in self.headers.items()}
        headers |= authorization(self.auth, context)
        if self.content:
            return headers, raw_body(self.content, context)
        if self.json_ is None and not self.form:
            return headers, None
        media_type, body = form_body(self.form, context) if self.form else json_body(self.json_, context)
        named = any(name.lower() == "content-type" for name in headers)
        return headers if named else {"Content-Type": media_type, **headers}, body

    def _patience(self) -> float:
        """Well over `within`, so that a late answer is told from none, and a retry gets its turn."""
        return _LONGEST if self.within is None else max(2 * self.within.total_seconds(), 1.0)

    def _compare(self, answer: Answer, schema: dict[str, Any] | None, context: Context) -> Iterator[Finding]:
        status = self._status(answer)
        yield status
        if status.ok is Ok.CANNOT_TELL:
            return
        if self.within is not None:
            ok = answer.seconds <= self.within.total_seconds()
            yield _time(self.within, f"{answer.seconds:.3f}s", ok=ok)
        if self.size is not None:
            size = len(answer.body)
            # an empty page is small, and as small as is meant only where nothing larger will do
            small = not size and self.size.holds(1)
            actual = "0: an empty body" if small else size
            yield find("size in bytes", expected=self.size, actual=actual, ok=not small and self.size.holds(size))
        for name, expected in self.header.items():
            yield header_finding(name, expected, answer, context)
        yield from self._content(answer, schema, context)

    def _status(self, answer: Answer) -> Finding:
        expected = " or ".join(str(code) for code in self.status)
        actual = visible(f"{answer.status} {answer.reason}".strip())
        age = answer.headers.get("Age", "").strip()
        actual += f" (from a cache, {age[:9]} s old)" * (age.isdigit() and age.strip("0") != "")
        if answer.status in self.status:
            return find("status", expected=expected, actual=actual, ok=True)
        actual += led_to(answer)
        later = visible(answer.headers.get("Retry-After", ""))
        challenged = any("challenge" in answer.headers.get(name, "").lower() for name in _MITIGATED)
        if challenged:
            actual += " (a test for browsers stands before it; let the gate's address or a header of it through)"
        limited = answer.status == _TOO_MANY or (answer.status == _UNAVAILABLE and bool(later))
        if limited:
            actual += f" (the server asks to come back {'after ' + later if later else 'later'})"
        return find("status", expected=expected, actual=actual, ok=Ok.CANNOT_TELL if limited or challenged else False)

    def _content(self, answer: Answer, schema: dict[str, Any] | None, context: Context) -> Iterator[Finding]:
        if not self._reads_body:
            return
        if not answer.body.strip():
            yield find("body", expected="a body to look at", actual="an empty body", ok=False)
            return
        for wanted in self.text:
            yield text_finding(wanted, answer, context, present=True)
        for unwanted in self.not_text:
            yield text_finding(unwanted, answer, context, present=False)
        if not self.body and schema is None:
            return
        read, none = document(answer.body, answer.headers.get("Content-Type", ""))
        if none is not None:
            yield none
            return
        for path, expected in self.body.items():
            yield at_path(path, expected, read, context)
        if schema is not None:
            yield from shaped(read, schema)


def _together(missing: list[CannotLook], asked: int) -> CannotLook:
    """One failure for all of them."""
    first = missing[0]
    if asked == 1:
        return first
    texts = shown([each.what for each in missing])
    return CannotLook(f"{len(missing)} of {asked} could not be looked at: {texts}", first.hint)


def _time(within: timedelta, actual: str, *, ok: bool) -> Finding:
    return find("response time", expected=f"<= {format_duration(within)}", actual=actual, ok=ok)
