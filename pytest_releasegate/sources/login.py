"""People who sign in to an application as a browser does: cookies, the form's token, a bearer."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlencode, urljoin, urlsplit

from pydantic import AfterValidator, Field, model_validator

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources import cookiejar
from pytest_releasegate.sources.htmlpages import Reader, asks_password
from pytest_releasegate.sources.http import Answer, Query, ask
from pytest_releasegate.sources.httpsend import Headers
from pytest_releasegate.sources.jsonpaths import parsed, under
from pytest_releasegate.sources.tls import authority_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_releasegate.check import Context

__all__ = ["READING", "Fields", "Login", "Persona", "Visitor", "busy", "leads_to"]


def _by_reference(fields: dict[str, str]) -> dict[str, str]:
    for name, value in fields.items():
        if _SECRET_FIELD.search(name) and "${" not in value:
            raise ValueError(f"'{name}': a secret stands in no gate file; name it by reference, as ${{env:NAME}}")
    return fields


Fields = Annotated[dict[str, str], AfterValidator(_by_reference)]
"""What somebody signs in with; what is called a password or a secret is named by reference."""

READING = ("GET", "HEAD", "OPTIONS")
_LONGEST = 30.0
_LARGEST = 8 * 1024 * 1024
_SECRET_FIELD = re.compile(r"passw|secret|token|otp$|^pin$", re.IGNORECASE)
_SHORTEST_SECRET = 12


class Login(Parameters):
    """How one signs in."""

    url: Annotated[str, Field(min_length=1)]
    """Where the fields are sent by POST."""
    page: str = ""
    """The page with the form, by default the same."""
    base: str = ""
    """The address that paths are under, by default the environment's; may hold references."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""
    encoding: Literal["form", "json"] = "form"
    """Whether the fields are sent as a form or as JSON."""
    csrf: str = ""
    """The name of the hidden field, `<meta>` or cookie that holds the token against forged requests."""
    csrf_header: str = ""
    """The header that the token is sent in, by default the field named by `csrf`."""
    token: str = ""
    """The dotted path in the JSON answer to a token that is sent as a bearer from then on."""

    @property
    def pages(self) -> set[str]:
        """Where one is sent who has to sign in."""
        return {self.url, self.page or self.url}


class Persona(Parameters):
    """Somebody who asks."""

    fields_: Annotated[Fields, Field(alias="fields")] = Field(default_factory=dict)
    """What they sign in with, such as `{email: ..., password: "${env:PASSWORD}"}`."""
    headers: Headers = Field(default_factory=dict)
    """What they send with each request, such as `Authorization: Bearer ${env:TOKEN}`."""
    login: Login | None = None
    """How they sign in, where it is not as all others do."""

    @model_validator(mode="after")
    def _somebody(self) -> Persona:
        if not (self.fields_ or self.headers):
            raise ValueError("expected `fields` to sign in with, or `headers`; who sends neither is anonymous")
        return self


class Visitor:
    """One who asks and keeps cookies; cookies, headers and tokens go to the address of the login only."""

    def __init__(self, context: Context, login: Login | None, headers: Mapping[str, str] | None = None) -> None:
        self.context = context
        self.login = login
        self.headers = {name: context.resolve(text) for name, text in (headers or {}).items()}
        self.cookies: dict[str, cookiejar.Kept] = {}
        self.before: dict[str, str] = {}
        """The values of the cookies that the login was sent with."""
        self.csrf = ""
        self.answered = 0
        """The status that the login was answered with."""
        self._ca = authority_file(context.root, context.resolve(login.ca if login else "", secret=False))

    def url(self, path: str) -> str:
        """The absolute address of a path."""
        base = self.login.base if self.login else ""
        home = self.context.url(base or "/")
        return self.context.url(path if "://" in path else home.rstrip("/") + "/" + path.lstrip("/"))

    def send(self, path: str, method: str = "GET", data: bytes = b"", kind: str = "") -> Answer:
        """Ask once, follow nothing, and keep the cookies and the form's token that come."""
        url = self.url(path)
        own = urlsplit(url)[:2] == urlsplit(self.url("/"))[:2]
        headers = {**self.headers, **cookiejar.header(self.cookies, url)} if own else {}
        if method not in READING and own:
            headers |= self._forgery_proof()
            if not data and self.login and self.login.csrf and not self.login.csrf_header:
                data, kind = _encoded({self.login.csrf: self.csrf}, "form")
        if kind:
            headers["Content-Type"] = kind
        limit = self.context.remaining(_LONGEST)
        query = Query(url=url, method=method, headers=headers, body=data or None, ca=self._ca, max_size=_LARGEST)
        answer = ask(query, clock=self.context.clock, limit=limit)
        if own:
            self._keep(answer, url)
        return answer

    def sign_in(self, fields: Mapping[str, str], who: str, *, forged: bool = False) -> str:
        """Sign in, and say why not where that is refused; `forged` leaves the form's token out.

        Raises `CannotLook` where the form has no token.
        """
        login = self.login
        if login is None:
            raise CannotLook(f"{who} has fields, and no `login` says where to sign in", "declare `login`")
        if login.csrf or login.page:
            form = self.send(login.page or login.url)
            if login.csrf and not self.csrf:
                where = self.url(login.page or login.url)
                if form.status >= 300:
                    raise CannotLook(
                        f"{where} answered {form.status} {form.reason}", "does it show the form to sign in?"
                    )
                raise CannotLook(f"{where} holds no '{login.csrf}'", "name its hidden field, `<meta>` or cookie")
        sent = {name: self.context.resolve(text) for name, text in fields.items()}
        if forged:
            self.csrf = ""
        elif login.csrf and not login.csrf_header:
            sent[login.csrf] = self.csrf
        before = self._values()
        answer = self.send(login.url, "POST", *_encoded(sent, login.encoding))
        self.before, self.answered = before, answer.status
        refused = self._refused(login, answer)
        target = _joined(self.url(login.url), answer.headers.get("Location", ""))
        if login.csrf and target and not refused:
            # as a browser goes on, for the first page that is signed in brings the token of its forms
            self.send(target)
        return refused

    def must_sign_in(self, fields: Mapping[str, str], who: str) -> None:
        """Sign in, or raise `CannotLook`."""
        if refused := self.sign_in(fields, who):
            where = self.url(self.login.url if self.login else "")
            raise CannotLook(
                f"{who} cannot sign in at {where}: {refused}", "are its fields right, and is the account open?"
            )

    def _refused(self, login: Login, answer: Answer) -> str:
        """Why the answer to a login lets nobody in; nothing where it does."""
        if answer.status >= 400:
            return f"got {answer.status} {answer.reason}".strip()
        if leads_to(answer, self.url(login.url), map(self.url, login.pages)):
            return f"got {answer.status} back to the login"
        if answer.status == 200 and login.encoding == "form" and asks_password(answer.text):
            return "got 200 with the form again"
        if login.token:
            token = _dig(answer, login.token)
            if not token:
                return f"got no '{login.token}' in the answer"
            self.context.secrets.add(token, "token")
            self.headers["Authorization"] = f"Bearer {token}"
        elif answer.status < 300 and self.before == self._values():
            return f"got {answer.status} and no cookie"
        return ""

    def _values(self) -> dict[str, str]:
        return {name: cookie.value for name, cookie in self.cookies.items()}

    def _forgery_proof(self) -> dict[str, str]:
        login = self.login
        return {login.csrf_header: self.csrf} if login and login.csrf_header and self.csrf else {}

    def _keep(self, answer: Answer, url: str) -> None:
        now = self.context.clock.now()
        for line in answer.cookies:
            cookie = cookiejar.keep(line, url)
            if cookie is None:
                continue
            if len(cookie.value) >= _SHORTEST_SECRET:
                self.context.secrets.add(cookie.value, f"cookie:{cookie.name}")
            self.cookies.pop(cookie.name, None)
            lifetime = cookie.lifetime(now)
            if lifetime is None or lifetime > timedelta(0):
                self.cookies[cookie.name] = cookie
        if self.login and self.login.csrf:
            named = self.cookies.get(self.login.csrf)
            found = _Page.read(answer.text).token(self.login.csrf) if "html" in _kind(answer) else ""
            self.csrf = found or (named.value if named else self.csrf)


def leads_to(answer: Answer, url: str, pages: Iterable[str]) -> bool:
    """Whether an answer is a redirect to one of these pages, whatever follows in their query."""
    target = answer.headers.get("Location", "")
    if not 300 <= answer.status < 400 or not target:
        return False
    bare = _joined(url, target).partition("#")[0].partition("?")[0].rstrip("/")
    return bare in {page.partition("?")[0].rstrip("/") for page in pages}


def _joined(url: str, target: str) -> str:
    """Where a redirect leads; nowhere for a target that browsers cannot read."""
    try:
        return urljoin(url, target) if target else ""
    except ValueError:
        return ""


def busy(answer: Answer) -> bool:
    """Whether the server asks to come back later, which says nothing about who may come in."""
    return answer.status in (429, 503)


def _encoded(fields: Mapping[str, str], encoding: str) -> tuple[bytes, str]:
    if encoding == "json":
        return json.dumps(dict(fields)).encode(), "application/json"
    return urlencode(fields).encode(), "application/x-www-form-urlencoded"


def _kind(answer: Answer) -> str:
    return answer.headers.get("Content-Type", "").lower()


def _dig(answer: Answer, path: str) -> str:
    try:
        found = under(parsed(answer.body), path)
    except ValueError:
        return ""
    return found if isinstance(found, str) else ""


class _Page(Reader):
    """What a page of HTML holds: tokens by name."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: dict[str, str] = {}

    def token(self, name: str) -> str:
        """The token of that name, empty where there is none."""
        return self.tokens.get(name.replace("-", "_"), "")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        given = dict(attrs)
        key = {"input": "value", "meta": "content"}.get(tag)
        if key and (value := given.get(key)):
            self.tokens.setdefault((given.get("name") or "").replace("-", "_"), value)
