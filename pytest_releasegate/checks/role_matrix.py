"""`role_matrix`: who is let in where."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.login import READING, Login, Persona, Visitor, busy, leads_to
from pytest_releasegate.sources.text import OneOrMore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.http import Answer

__all__ = ["RoleMatrix"]

ANONYMOUS = "anonymous"
_ENDPOINT = re.compile(r"(?:(GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE) +)?(\S+)")
_REFUSED, _GONE = 400, 404

Code = Annotated[StrictInt, Field(ge=100, le=599)]
Codes = Annotated[tuple[Code, ...], OneOrMore, Field(min_length=1)]
Wanted = Literal["allowed", "denied", "login"] | Codes


class RoleMatrix(Parameters):
    """Each persona asks for each endpoint, and is let in, refused or sent to the login; the denominator is the cells.

    ```yaml
    role_matrix:
      login: {url: /auth, csrf: csrf_token}
      personas:
        clinician: {fields: {email: clinician@example.test, password: "${env:CLINICIAN_PASSWORD}"}}
        billing: {fields: {email: billing@example.test, password: "${env:BILLING_PASSWORD}"}}
      expect:
        /clients: {clinician: allowed}
        /payments: {clinician: allowed, billing: allowed}
    ```
    """

    kind: ClassVar[str] = "role_matrix"

    login: Login | None = None
    """How the personas sign in."""
    personas: Annotated[dict[str, Persona], Field(min_length=1)]
    """Who asks, by name: with fields to sign in with, or with headers such as a bearer."""
    expect: Annotated[dict[str, dict[str, Wanted]], Field(min_length=1)]
    """By endpoint (`/path` or `POST /path`) and persona: `allowed` (2xx), `denied`, `login` (a redirect to it), or
    statuses; whoever is not named there must be denied."""
    anonymous: StrictBool = True
    """Whether somebody who is not signed in asks too, under the name `anonymous`."""
    denied: Codes = (401, 403)
    """The statuses that deny; a redirect to the login does too."""
    login_pages: Annotated[tuple[str, ...], OneOrMore] = ()
    """Further pages that one who has to sign in is sent to, such as one of an identity provider."""
    error_text: Annotated[tuple[str, ...], OneOrMore] = ()
    """Texts of the pages that refuse with a status of 200: an answer with one of them lets nobody in."""
    least: Annotated[StrictInt, Field(ge=1)] = 1
    """How many cells there must be at least."""

    @field_validator("expect")
    @classmethod
    def _endpoints(cls, expect: dict[str, dict[str, Wanted]]) -> dict[str, dict[str, Wanted]]:
        for endpoint in expect:
            if not _ENDPOINT.fullmatch(endpoint):
                raise ValueError(f"expected an endpoint such as /clients or POST /clients, got '{endpoint}'")
        return expect

    @model_validator(mode="after")
    def _known(self) -> RoleMatrix:
        known = [*self.personas, *[ANONYMOUS] * self.anonymous]
        for endpoint, cells in self.expect.items():
            for name in cells:
                if name not in known:
                    raise ValueError(f"{endpoint}: there is no persona '{name}'; {nearest(name, known)}")
        if ANONYMOUS in self.personas:
            raise ValueError(f"'{ANONYMOUS}' is the name of who is not signed in; call the persona otherwise")
        for name, persona in self.personas.items():
            if twin := next((other for other, one in self.personas.items() if other != name and one == persona), ""):
                raise ValueError(f"{name} and {twin} are the same account, and tell nothing of two roles")
        if any(one.fields_ and not (one.login or self.login) for one in self.personas.values()):
            raise ValueError("personas sign in, and nothing says where; expected `login`")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Let everybody ask for everything."""
        self._permitted(context)
        self._distinct(context)
        seen: dict[str, dict[str, str]] = {endpoint: {} for endpoint in self.expect}
        names = [*[ANONYMOUS] * self.anonymous, *self.personas]
        for name in names:
            yield from self._persona(name, context, seen)
        context.attach("roles.txt", "text/plain", _table(seen, names).encode())
        for endpoint, cells in seen.items():
            yield from self._reached(endpoint, cells)
        yield counted("cells", sum(map(len, seen.values())), self.least)

    def _permitted(self, context: Context) -> None:
        writes = [endpoint for endpoint in self.expect if _split(endpoint)[0] not in READING]
        if writes:
            context.require_permission("writes_through_app", writes[0])
        if context.environment.protected and any(persona.fields_ for persona in self.personas.values()):
            context.require_permission("writes_through_app", "signing in")

    def _distinct(self, context: Context) -> None:
        """Raise `CannotLook` where two personas are one account, by what their references hold."""
        known: dict[tuple[object, ...], str] = {}
        for name, persona in self.personas.items():
            given = (persona.fields_, persona.headers)
            sent = [tuple(sorted((key, context.resolve(text)) for key, text in each.items())) for each in given]
            other = known.setdefault((*sent, repr(persona.login)), name)
            if other != name:
                hint = "let their references hold two accounts"
                raise CannotLook(f"{other} and {name} are the same account, and tell nothing of two roles", hint)

    def _persona(self, name: str, context: Context, seen: dict[str, dict[str, str]]) -> Iterator[Finding]:
        """One persona's row of the matrix."""
        persona = self.personas.get(name)
        visitor = Visitor(context, (persona and persona.login) or self.login, persona.headers if persona else {})
        if persona and persona.fields_:
            visitor.must_sign_in(persona.fields_, name)
        elif visitor.login and visitor.login.csrf:
            visitor.send(visitor.login.page or visitor.login.url)
        inside: list[str] = []
        # what only reads comes first: the pages give the token that the others send
        for endpoint in sorted(self.expect, key=lambda one: _split(one)[0] not in READING):
            method, path = _split(endpoint)
            answer = visitor.send(path, method)
            got = self._got(answer, visitor, path)
            seen[endpoint][name] = got
            inside += [endpoint] * (got == "allowed" and method == "GET")
            yield self._cell(endpoint, name, got, answer)
        if persona:
            yield self._was_inside(name, [one for one in inside if not self._is_open(one, seen, context)], visitor)

    def _got(self, answer: Answer, visitor: Visitor, path: str) -> str:
        logins = [self.login, *[persona.login for persona in self.personas.values()]]
        pages = {*self.login_pages, *[page for login in logins if login for page in login.pages]}
        if leads_to(answer, visitor.url(path), map(visitor.url, pages)):
            return "login"
        if not 200 <= answer.status < 300:
            return str(answer.status)
        return "error page" if any(text in answer.text for text in self.error_text) else "allowed"

    def _cell(self, endpoint: str, name: str, got: str, answer: Answer) -> Finding:
        wanted = self.expect[endpoint].get(name, "denied")
        expected = wanted if isinstance(wanted, str) else " or ".join(map(str, wanted))
        if wanted == "denied":
            expected = f"denied ({', '.join(map(str, self.denied))} or the login)"
        ok: bool | Ok = self._holds(wanted, got, answer)
        if not ok and busy(answer):
            ok = Ok.CANNOT_TELL
        if ok and got == "login" and isinstance(wanted, tuple) and name != ANONYMOUS:
            ok, expected = Ok.CANNOT_TELL, f"{expected}, or `login` where that is meant"
        words = {"allowed": f"let in ({answer.status})", "login": "sent to the login"}
        actual = words.get(got, f"{answer.status} {answer.reason}".strip())
        actual += " with a page that refuses" if got == "error page" else ""
        return find(f"{endpoint} as {name}", expected=expected, actual=actual, ok=ok)

    def _holds(self, wanted: Wanted, got: str, answer: Answer) -> bool:
        if isinstance(wanted, tuple):
            return answer.status in wanted
        if wanted == "denied":
            return got == "login" or answer.status in self.denied
        return got == wanted

    def _is_open(self, endpoint: str, seen: dict[str, dict[str, str]], context: Context) -> bool:
        """Whether anybody is let in there."""
        if not self.anonymous:
            path = _split(endpoint)[1]
            visitor = Visitor(context, self.login)
            return self._got(visitor.send(path), visitor, path) == "allowed"
        return seen[endpoint].get(ANONYMOUS) == "allowed"

    def _was_inside(self, name: str, inside: list[str], visitor: Visitor) -> Finding:
        """Whether the persona was signed in from first to last: who is not is denied everywhere."""
        expected = "let in by one GET at least, and still at the end"
        if not inside:
            actual = "let in nowhere, or only where anybody is"
            return find(f"session of {name}", expected=expected, actual=actual, ok=Ok.CANNOT_TELL)
        path = _split(inside[0])[1]
        got = self._got(visitor.send(path), visitor, path)
        words = "let in" if got == "allowed" else f"no longer let in at {path}: {got}"
        return find(f"session of {name}", expected=expected, actual=words, ok=got == "allowed" or Ok.CANNOT_TELL)

    def _reached(self, endpoint: str, cells: dict[str, str]) -> Iterator[Finding]:
        """Say where nobody was let in: a page that is not there refuses everybody."""
        wanted = {name: self.expect[endpoint].get(name, "denied") for name in cells}
        exact = {name: codes for name, codes in wanted.items() if isinstance(codes, tuple)}
        # a form that was taken is often answered by a redirect to what it made
        taken = any(cells[name] in map(str, codes) and min(codes) < _REFUSED for name, codes in exact.items())
        if "allowed" in cells.values() or taken or len(exact) == len(cells):
            return
        absent = set(cells.values()) == {str(_GONE)}
        actual = f"{_GONE} for all {len(cells)}; is the path right?" if absent else f"nobody of {len(cells)} let in"
        yield find(f"{endpoint} reached", expected="somebody let in", actual=actual, ok=Ok.CANNOT_TELL)


def _split(endpoint: str) -> tuple[str, str]:
    method, _, path = endpoint.rpartition(" ")
    return method.strip() or "GET", path


def _table(seen: dict[str, dict[str, str]], names: list[str]) -> str:
    lines = [" ".join(["endpoint", *names])]
    lines += [" ".join([endpoint, *[f"{name}={cells[name]}" for name in names]]) for endpoint, cells in seen.items()]
    return "\n".join(lines) + "\n"
