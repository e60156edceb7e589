"""`session`: a session begins at the login, is closed to others, and ends."""

from __future__ import annotations

from secrets import token_urlsafe
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, Span, format_duration
from pytest_releasegate.sources.cookiejar import Kept
from pytest_releasegate.sources.login import Fields, Login, Visitor, busy, leads_to
from pytest_releasegate.sources.text import OneOrMore, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.http import Answer

__all__ = ["Session"]

_WHO = "the test account"
_PLANTED = "planted"
_TOO_MANY, _BROKEN = 429, 500

Code = Annotated[StrictInt, Field(ge=100, le=599)]
SameSite = Literal["Strict", "Lax", "None"]


class Session(Parameters):
    """The session of a test account: flags, a new id at the login, its end; the denominator is what was tried.

    ```yaml
    session:
      login: {url: /auth, csrf: csrf_token}
      fields: {email: clinician@example.test, password: "${env:CLINICIAN_PASSWORD}"}
      cookie: ehr_session
      page: /dashboard
      logout: POST /logout
    ```
    """

    kind: ClassVar[str] = "session"

    login: Login
    """How the test account signs in."""
    fields_: Annotated[Fields, Field(alias="fields", min_length=1)]
    """What it signs in with; values may hold references."""
    cookie: Annotated[str, Field(min_length=1)]
    """The name of the cookie that is the session."""
    page: Annotated[str, Field(min_length=1)]
    """A page that only those see who are signed in."""
    logout: Annotated[str, Field(pattern=r"^((GET|POST|DELETE) +)?\S+$")] = ""
    """What ends the session, such as `POST /logout`; the old cookie and bearer must open nothing after it."""
    secure: StrictBool = True
    """Whether the cookie must be `Secure`; it must always be `HttpOnly`."""
    same_site: Annotated[tuple[SameSite, ...], OneOrMore, Field(min_length=1)] = ("Strict", "Lax")
    """The values of `SameSite` that will do."""
    lifetime: Span | None = None
    """The longest that the cookie may say it lives."""
    idle: Duration | None = None
    """After so long without a request the session must be over; the gate waits, so inject a short time."""
    csrf: StrictBool = False
    """Whether a login without the form's token must be refused."""
    denied: Annotated[tuple[Code, ...], OneOrMore, Field(min_length=1)] = (401, 403)
    """The statuses that deny; a redirect to the login does too."""

    @property
    def needs_time(self) -> timedelta | None:
        """What the gate waits."""
        return self.idle

    def look(self, context: Context) -> Iterator[Finding]:
        """Sign in and out, and try what must not work."""
        if context.environment.protected:
            context.require_permission("writes_through_app", "signing in")
        if self.csrf and not self.login.csrf:
            raise CannotLook("`csrf` needs the name of the form's token", "declare it as `login: {csrf: ...}`")
        number = 0
        for finding in self._tried(context):
            number += 1
            yield finding
        yield counted("rules", number)

    def _tried(self, context: Context) -> Iterator[Finding]:
        yield self._closed("page before the login", Visitor(context, self.login))
        visitor = self._signed_in(context)
        session = visitor.cookies.get(self.cookie)
        if session is None or (_PLANTED in session.attributes and not self._opens(session, context)):
            others = shown(sorted({*visitor.cookies} - {self.cookie})) or "none"
            yield find(f"cookie {self.cookie}", expected="set at the login", actual=f"cookies: {others}", ok=False)
            return
        answer = visitor.send(self.page)
        inside = 200 <= answer.status < 300
        ok = Ok.CANNOT_TELL if busy(answer) else inside
        yield find("page after the login", expected="let in (2xx)", actual=_said(answer), ok=ok)
        if not inside:
            return
        if _PLANTED not in session.attributes:
            yield from self._flags(session, context)
        yield from self._new_id(visitor, session, context)
        if self.logout:
            yield from self._logout(visitor, context)
        yield from self._optional(context)

    def _optional(self, context: Context) -> Iterator[Finding]:
        if self.csrf:
            yield self._forged(Visitor(context, self.login))
        if self.idle is not None:
            waiting = self._signed_in(context)
            context.clock.sleep(self.idle.total_seconds())
            yield self._closed(f"page after {format_duration(self.idle)} without a request", waiting)

    def _forged(self, visitor: Visitor) -> Finding:
        """Whether it is for want of the token that the login is refused, and not for the server's troubles."""
        refused = visitor.sign_in(self.fields_, _WHO, forged=True)
        troubled = visitor.answered == _TOO_MANY or visitor.answered >= _BROKEN
        ok = Ok.CANNOT_TELL if refused and troubled else bool(refused)
        actual = refused if ok is Ok.CANNOT_TELL else f"refused: {refused}" if refused else "signed in"
        return find("login without the form's token", expected="refused", actual=actual, ok=ok)

    def _signed_in(self, context: Context) -> Visitor:
        """The account, signed in by a browser that held a session before."""
        visitor = Visitor(context, self.login)
        visitor.send(self.login.page or self.login.url)
        if self.cookie not in visitor.cookies:
            # where the server gives none before the login, one that a stranger might have planted
            visitor.cookies[self.cookie] = Kept(self.cookie, {_PLANTED: ""}, token_urlsafe(24))
        try:
            visitor.must_sign_in(self.fields_, _WHO)
        except CannotLook:
            # an answer without a new cookie may still have let in whoever holds the old one
            if not 200 <= visitor.send(self.page).status < 300:
                raise
        return visitor

    def _flags(self, cookie: Kept, context: Context) -> Iterator[Finding]:
        name, given = f"cookie {self.cookie}", cookie.attributes
        for flag in ["HttpOnly", *["Secure"] * self.secure]:
            there = flag.lower() in given
            yield find(f"{name}: {flag}", expected="set", actual="set" if there else "not set", ok=there)
        site = cookie.same_site
        wanted = " or ".join(self.same_site)
        yield find(f"{name}: SameSite", expected=wanted, actual=site or "not set", ok=site in self.same_site)
        if self.lifetime is not None:
            yield _lifetime(name, cookie.lifetime(context.clock.now()), self.lifetime)

    def _new_id(self, visitor: Visitor, session: Kept, context: Context) -> Iterator[Finding]:
        """A session from before the login must not become one that is signed in."""
        before = visitor.before.get(self.cookie, "")
        new = session.value != before
        actual = "another" if new else "the same; who planted it before the login is signed in too"
        yield find("session id at the login", expected="another than before", actual=actual, ok=new)
        if new:
            stranger = Visitor(context, self.login)
            stranger.cookies[self.cookie] = Kept(self.cookie, value=before)
            yield self._closed("page with the session id from before the login", stranger)

    def _logout(self, visitor: Visitor, context: Context) -> Iterator[Finding]:
        """After the logout, a copy of the cookies and the bearer from before it must open nothing."""
        thief = Visitor(context, self.login)
        thief.cookies, thief.headers = dict(visitor.cookies), dict(visitor.headers)
        method, _, path = self.logout.rpartition(" ")
        answer = visitor.send(path, method.strip() or "GET")
        ok = Ok.CANNOT_TELL if busy(answer) else answer.status < 400
        yield find("logout", expected="2xx or 3xx", actual=_said(answer), ok=ok)
        if ok is True:
            held = "cookie and bearer" if self.login.token else "cookie"
            yield self._closed(f"page with the old {held} after the logout", thief)

    def _opens(self, cookie: Kept, context: Context) -> bool:
        """Whether the page opens with this cookie alone."""
        visitor = Visitor(context, self.login)
        visitor.cookies[self.cookie] = cookie
        return 200 <= visitor.send(self.page).status < 300

    def _closed(self, name: str, visitor: Visitor) -> Finding:
        """Whether the page is closed to them."""
        answer = visitor.send(self.page)
        login = leads_to(answer, visitor.url(self.page), map(visitor.url, self.login.pages))
        ok: bool | Ok = login or answer.status in self.denied
        if not ok and busy(answer):
            ok = Ok.CANNOT_TELL
        expected = f"{' or '.join(map(str, self.denied))} or the login"
        return find(name, expected=expected, actual="sent to the login" if login else _said(answer), ok=ok)


def _said(answer: Answer) -> str:
    return f"{answer.status} {answer.reason}".strip()


def _lifetime(name: str, told: timedelta | None, most: timedelta) -> Finding:
    expected = f"<= {format_duration(most)}"
    if told is None:
        actual = "none told: it goes with the browser; probe the server's with `idle`"
        return find(f"{name}: lifetime", expected=expected, actual=actual, ok=Ok.CANNOT_TELL)
    ok = told <= most
    return find(f"{name}: lifetime", expected=expected, actual=format_duration(told), ok=ok)
