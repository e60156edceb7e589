"""`cookies`: the flags of the cookies that pages set."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, StringConstraints

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, format_duration
from pytest_releasegate.sources.httpsend import Headers
from pytest_releasegate.sources.setcookie import Cookie, read
from pytest_releasegate.sources.text import OneOrMore, shown
from pytest_releasegate.sources.webpages import fetch, not_the_page, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Cookies"]

Name = Annotated[str, StringConstraints(min_length=1)]
_ORDER = ("None", "Lax", "Strict")


class Cookies(Parameters):
    """Secure, HttpOnly, SameSite, prefixes and lifetime of the cookies set; the denominator is those cookies.

    ```yaml
    cookies: {urls: /login, names: [__Host-session], readable: [csrf], same_site: Strict, longest: 12h}
    ```
    """

    kind: ClassVar[str] = "cookies"
    waits: ClassVar[bool] = True
    shorthand: ClassVar[str] = "urls"

    urls: Annotated[tuple[Name, ...], OneOrMore, Field(min_length=1)]
    """A path under the environment's base URL or an absolute URL, or a list of them."""
    names: Annotated[tuple[Name, ...], OneOrMore] = ()
    """The cookies that must be set, and are looked at alone; without it, every cookie that is set."""
    secure: StrictBool = True
    """Whether each must be `Secure`: sent over HTTPS alone."""
    http_only: StrictBool = True
    """Whether each must be `HttpOnly`: out of reach for scripts."""
    readable: Annotated[tuple[Name, ...], OneOrMore] = ()
    """Cookies that scripts must read, such as a token against forged requests, which need no `HttpOnly`."""
    same_site: Literal["Strict", "Lax", "None"] = "Lax"
    """The least strict `SameSite` that each must declare."""
    host_only: StrictBool = False
    """Whether each must be without `Domain`, and so out of reach for other hosts of the domain."""
    longest: Duration | None = None
    """The longest that one may be kept; one without a lifetime ends with the browser and is within any."""
    headers: Headers = Field(default_factory=dict)
    """Headers to send; values may hold references such as `Bearer ${env:TOKEN}`."""
    status: Annotated[tuple[StrictInt, ...], OneOrMore, Field(min_length=1)] = (200,)
    """The status, or the list of them, of the pages meant."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask for each page once, and read what cookies it sets."""
        found: dict[str, None] = {}
        number = 0
        for url in self.urls:
            answer = fetch(context, url, ca=self.ca, headers=self.headers)
            other = not_the_page(answer, self.status)
            if other is not None:
                yield other
                continue
            meant = list(self._meant(answer.cookies, context))
            if not meant and len(self.urls) > 1:
                yield find(f"{place(answer)} cookies", expected="one at least", actual="none set", ok=Ok.CANNOT_TELL)
            for cookie in meant:
                number += 1
                found[cookie.name] = None
                yield from self._compare(f"{place(answer)} {cookie.name}", cookie, context)
        yield from self._absent(list(found))
        context.attach("cookies.txt", "text/plain", "\n".join(found).encode())
        yield counted("cookies", number)

    def _meant(self, headers: tuple[str, ...], context: Context) -> Iterator[Cookie]:
        """The cookies to look at; one that is being deleted guards nothing any more."""
        for header in headers:
            cookie = read(header)
            if cookie is None or (self.names and cookie.name not in self.names):
                continue
            life = cookie.lifetime(context.clock.now())
            if life is None or life > timedelta(0):
                yield cookie

    def _absent(self, found: list[str]) -> Iterator[Finding]:
        # Nothing at all may be a page that sets cookies only later: that is for the denominator to say.
        for name in self.names if found else ():
            if name not in found:
                yield find(f"cookie {name}", expected="set", actual=f"not set; set: {shown(found)}", ok=False)

    def _compare(self, where: str, cookie: Cookie, context: Context) -> Iterator[Finding]:
        if self.secure:
            yield _flag(where, "Secure", cookie)
        if self.http_only and cookie.name not in self.readable:
            yield _flag(where, "HttpOnly", cookie)
        yield self._same_site(where, cookie)
        if self.host_only:
            domain = cookie.attributes.get("domain", "")
            yield find(f"{where} Domain", expected="absent", actual=domain or "absent", ok=not domain)
        yield from _prefix(where, cookie)
        if self.longest is not None:
            yield _lifetime(where, cookie, self.longest, context)

    def _same_site(self, where: str, cookie: Cookie) -> Finding:
        name, said = f"{where} SameSite", cookie.same_site
        expected = " or ".join(_ORDER[_ORDER.index(self.same_site) :])
        if said == "None" and not cookie.has("secure"):
            return find(name, expected=expected, actual="None without Secure, which browsers refuse", ok=False)
        return find(name, expected=expected, actual=said or "absent", ok=said in expected.split(" or "))


def _flag(where: str, flag: str, cookie: Cookie) -> Finding:
    there = cookie.has(flag.lower())
    return find(f"{where} {flag}", expected="present", actual="present" if there else "absent", ok=there)


def _prefix(where: str, cookie: Cookie) -> Iterator[Finding]:
    """What the name itself promises; browsers refuse a cookie that breaks it."""
    name = cookie.name.lower()
    prefix = next((each for each in ("__Host-", "__Secure-") if name.startswith(each.lower())), "")
    if not prefix:
        return
    broken = [] if cookie.has("secure") else ["Secure is absent"]
    if prefix == "__Host-":
        broken += [] if cookie.attributes.get("path") == "/" else ["Path is not /"]
        broken += ["Domain is set"] if cookie.has("domain") else []
    yield find(f"{where} prefix", expected=f"what {prefix} promises", actual=shown(broken) or "kept", ok=not broken)


def _lifetime(where: str, cookie: Cookie, longest: timedelta, context: Context) -> Finding:
    life = cookie.lifetime(context.clock.now())
    whole = None if life is None else timedelta(seconds=round(life.total_seconds()))
    actual = "until the browser ends" if whole is None else format_duration(whole)
    ok = whole is None or whole <= longest
    return find(f"{where} lifetime", expected=f"<= {format_duration(longest)}", actual=actual, ok=ok)
