"""`http`: one answer of a server."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue, StrictBool, StrictInt, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, Threshold, format_duration
from pytest_releasegate.sources.http import Answer, Query, RedirectLoop, TimedOut, Unreachable, ask, public_url
from pytest_releasegate.sources.text import Expected, OneOrMore, cut, fill, known, occurs, shown
from pytest_releasegate.sources.tls import authority_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Http"]

_LONGEST = 30.0
_COMMIT = "${release.git_commit}"
_SHORTEST_COMMIT = 7
_MOST_SHOWN = 200
_TOO_MANY, _UNAVAILABLE = 429, 503
_READING = ("GET", "HEAD", "OPTIONS")
_HIDDEN = {"set-cookie", "authorization", "proxy-authorization", "authentication-info", "cookie"}
_NOTHING = object()

Code = Annotated[StrictInt, Field(ge=100, le=599)]
Path = Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)*$")]


class Http(Parameters):
    """One request and its answer: status, time, headers and body; the denominator is the requests answered.

    ```yaml
    http: {url: /healthz, status: 200, within: 2s, retry_for: 30s, body: {status: ok}}
    ```
    """

    kind: ClassVar[str] = "http"
    shorthand: ClassVar[str] = "url"

    url: Annotated[str, Field(min_length=1)]
    """A path under the environment's base URL, or an absolute URL; references in its query count as secrets."""
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """The request's method; on a protected environment all but GET, HEAD and OPTIONS need `writes_through_app`."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers to send; values may hold references such as `Bearer ${env:TOKEN}`."""
    status: Annotated[tuple[Code, ...], OneOrMore, Field(min_length=1)] = (200,)
    """The status, or the list of statuses, that are as expected."""
    within: Duration | None = None
    """The longest that the answer may take, from asking to its last byte."""
    text: Annotated[tuple[Expected, ...], OneOrMore] = ()
    """A text, or a list of texts, that must stand in the body; may hold `${release.version}`."""
    not_text: Annotated[tuple[Expected, ...], OneOrMore] = ()
    """A text, or a list of texts, that must not stand in the body."""
    body: dict[Path, JsonValue] = Field(default_factory=dict)
    """Dotted paths into the JSON body with the value expected there, or a threshold such as `'>= 3'`."""
    header: dict[str, Expected | None] = Field(default_factory=dict)
    """Headers of the answer with their whole value or one of its parts; `null` says that there must be none."""
    redirects: StrictBool = False
    """Whether to follow redirects; without it, a redirect is the answer."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""
    retry_for: Duration | None = None
    """How long to go on asking until all is as expected."""
    max_size: Annotated[StrictInt, Field(ge=1)] = 1024 * 1024
    """The most bytes that the body may have."""
    keep_body: StrictBool = False
    """Whether the body is kept as evidence: only where it holds no personal data. Its size and digest always are."""
    unreachable: Literal["error", "fails"] = "error"
    """What no answer means: that nobody could look, or, with `fails`, that the service is down."""
    control: str = ""
    """Another URL: that nothing answers counts with `unreachable: fails` only while this one does."""

    @model_validator(mode="after")
    def _answerable(self) -> Http:
        if self.method == "HEAD" and (self.text or self.not_text or self.body):
            raise ValueError("the answer to HEAD has no body; use GET with `text`, `not_text` and `body`")
        for value in self.body.values():
            known(json.dumps(value))
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask once and compare."""
        query = self._query(context)
        limit = context.remaining(self._patience())
        try:
            answer = ask(query, clock=context.clock, limit=limit)
        except Unreachable as away:
            finding = self._away(away, limit, context)
            if finding is None:
                raise
            yield finding
            return
        except RedirectLoop as loop:
            yield find("redirects", expected="an answer at the end of them", actual=loop.what, ok=False)
            return
        context.attach("answer.txt", "text/plain", cut(_evidence(answer, whole=self.keep_body)))
        yield counted("answers", 1)
        yield from self._compare(answer, context)

    def _away(self, away: Unreachable, limit: float, context: Context) -> Finding | None:
        """What it says that no answer came, None where it says nothing."""
        if isinstance(away, TimedOut) and self.within is not None and limit >= self.within.total_seconds():
            return _time(self.within, f"no full answer within {limit:.3g}s", ok=False)
        if self.unreachable == "error":
            return None
        ok, more = self._control(context)
        return find("answer", expected="one", actual=f"{away.what}{more}", ok=ok)

    def _control(self, context: Context) -> tuple[bool | Ok, str]:
        """Whether it is the service that is away, and not the way to it."""
        if not self.control:
            return False, ""
        control = replace(self._query(context), url=context.url(self.control), method="GET", headers={})
        try:
            ask(control, clock=context.clock, limit=context.remaining(_LONGEST))
        except Unreachable as away:
            return Ok.CANNOT_TELL, f"; nor does the control answer: {away.what}"
        return False, f", while {public_url(control.url)} answers"

    def _query(self, context: Context) -> Query:
        if self.method not in _READING:
            context.shared.forget()
            if context.environment.protected:
                context.require_permission("writes_through_app", self.method)
        path, mark, search = self.url.partition("?")
        return Query(
            url=context.url(path) + mark + context.resolve(search),
            method=self.method,
            headers={name: context.resolve(value) for name, value in self.headers.items()},
            redirects=self.redirects,
            ca=authority_file(context.root, context.resolve(self.ca, secret=False)),
            max_size=self.max_size,
        )

    def _patience(self) -> float:
        """Well over `within`, so that a late answer is told from none, and a retry gets its turn."""
        return _LONGEST if self.within is None else max(2 * self.within.total_seconds(), 1.0)

    def _compare(self, answer: Answer, context: Context) -> Iterator[Finding]:
        status = self._status(answer)
        yield status
        if status.ok is Ok.CANNOT_TELL:
            return
        if self.within is not None:
            ok = answer.seconds <= self.within.total_seconds()
            yield _time(self.within, f"{answer.seconds:.3f}s", ok=ok)
        for name, expected in self.header.items():
            yield _header(name, expected, answer, context)
        yield from self._content(answer, context)

    def _status(self, answer: Answer) -> Finding:
        expected = " or ".join(str(code) for code in self.status)
        actual = f"{answer.status} {answer.reason}".strip()
        if answer.status in self.status:
            return find("status", expected=expected, actual=actual, ok=True)
        if "Location" in answer.headers:
            actual += f" to {public_url(answer.headers['Location']).partition('?')[0]}"
        later = answer.headers.get("Retry-After", "")
        limited = answer.status == _TOO_MANY or (answer.status == _UNAVAILABLE and bool(later))
        if limited:
            actual += f" (the server asks to come back {'after ' + later if later else 'later'})"
        return find("status", expected=expected, actual=actual, ok=Ok.CANNOT_TELL if limited else False)

    def _content(self, answer: Answer, context: Context) -> Iterator[Finding]:
        if not (self.text or self.not_text or self.body):
            return
        if not answer.body.strip():
            yield find("body", expected="a body to look at", actual="an empty body", ok=False)
            return
        for wanted in self.text:
            yield _text(wanted, answer, context, present=True)
        for unwanted in self.not_text:
            yield _text(unwanted, answer, context, present=False)
        if self.body:
            yield from _json(self.body, answer, context)


def _time(within: timedelta, actual: str, *, ok: bool) -> Finding:
    return find("response time", expected=f"<= {format_duration(within)}", actual=actual, ok=ok)


def _header(name: str, expected: str | None, answer: Answer, context: Context) -> Finding:
    actual = answer.headers.get(name)
    shown_actual = "(not shown)" if name.lower() in _HIDDEN and actual is not None else actual
    if expected is None:
        return find(f"header {name}", expected="absent", actual=shown_actual or "absent", ok=actual is None)
    wanted = fill(context.resolve(expected), context.release)
    parts = {part.strip() for part in (actual or "").replace(";", ",").split(",")}
    ok = actual is not None and (wanted == actual or wanted in parts)
    return find(f"header {name}", expected=wanted, actual="absent" if actual is None else shown_actual, ok=ok)


def _text(template: str, answer: Answer, context: Context, *, present: bool) -> Finding:
    resolved = context.resolve(template)
    ok = occurs(resolved, answer.text, context.release) is present
    words = "present", "absent"
    expected, opposite = words if present else words[::-1]
    name = f"text '{fill(resolved, context.release)}'"
    return find(name, expected=expected, actual=expected if ok else opposite, ok=ok)


def _json(wanted: dict[str, JsonValue], answer: Answer, context: Context) -> Iterator[Finding]:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        kind = answer.headers.get("Content-Type", "no content type")
        actual = f"{len(answer.body)} bytes of {kind} that are not JSON ({type(error).__name__})"
        yield find("body", expected="JSON", actual=actual, ok=False)
        return
    for path, expected in wanted.items():
        yield _value(path, expected, document, context)


def _value(path: str, expected: JsonValue, document: Any, context: Context) -> Finding:
    actual, known_keys = _dig(document, path)
    wanted = fill(context.resolve(expected), context.release) if isinstance(expected, str) else expected
    if actual is _NOTHING:
        return find(f"body {path}", expected=_written(wanted), actual=f"nothing there ({known_keys})", ok=False)
    if expected == _COMMIT:
        ok = _same_commit(actual, str(wanted))
    else:
        threshold = Threshold.read(wanted)
        ok = threshold.holds(actual) if threshold and _is_number(actual) else not threshold and _same(actual, wanted)
        wanted = _Bare(wanted) if threshold else wanted
    return find(f"body {path}", expected=_written(wanted), actual=_written(actual), ok=ok)


class _Bare(str):
    """A text that is written without quotes."""

    __slots__ = ()


def _dig(document: Any, path: str) -> tuple[Any, str]:
    """The value at the path, or `_NOTHING` and the keys where the path ends."""
    for key in path.split("."):
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and key.isdigit() and int(key) < len(document):
            document = document[int(key)]
        else:
            return _NOTHING, _keys(document)
    return document, ""


def _keys(document: Any) -> str:
    if isinstance(document, dict):
        return f"known: {shown(sorted(document))}" if document else "an empty object"
    return f"a list of {len(document)}" if isinstance(document, list) else f"a {type(document).__name__}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same(actual: Any, wanted: Any) -> bool:
    """Equal as JSON: `true` is not 1, while 1 is 1.0."""
    if isinstance(actual, list) and isinstance(wanted, list):
        return len(actual) == len(wanted) and all(map(_same, actual, wanted))
    if isinstance(actual, dict) and isinstance(wanted, dict):
        return actual.keys() == wanted.keys() and all(_same(actual[key], wanted[key]) for key in wanted)
    return isinstance(actual, bool) is isinstance(wanted, bool) and bool(actual == wanted)


def _same_commit(actual: Any, commit: str) -> bool:
    """Whether it names the commit, in full or by at least seven of its first digits."""
    return isinstance(actual, str) and len(actual) >= _SHORTEST_COMMIT and commit.startswith(actual.lower())


def _written(value: Any) -> str:
    text = value if isinstance(value, _Bare) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}... ({len(text)} characters)"


def _evidence(answer: Answer, *, whole: bool) -> bytes:
    kind = answer.headers.get("Content-Type", "")
    lines = [f"{answer.url}", f"{answer.status} {answer.reason}"]
    lines += [f"{name}: {'(not shown)' if name.lower() in _HIDDEN else text}" for name, text in answer.headers.items()]
    digest = hashlib.sha256(answer.body).hexdigest()
    sized = f"[{len(answer.body)} bytes of {kind or 'unknown type'}, sha256 {digest}]"
    body = answer.text if whole and b"\0" not in answer.body else sized
    return "\n".join([*lines, "", body]).encode()
