"""`headers`: what pages tell browsers to guard, and what they tell about the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StrictInt, StringConstraints, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, Span, parse_duration
from pytest_releasegate.sources import webheaders
from pytest_releasegate.sources.httpshown import heading, headings
from pytest_releasegate.sources.text import OneOrMore, cut, shown
from pytest_releasegate.sources.webpages import fetch, is_plain, not_the_page, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.http import Answer

__all__ = ["Headers"]

Rule = Literal["hsts", "csp", "nosniff", "framing", "referrer", "permissions", "no_banner"]
_STANDARD: tuple[Rule, ...] = ("hsts", "csp", "nosniff", "framing", "referrer", "permissions", "no_banner")


class Headers(Parameters):
    """The security headers of pages, read as browsers read them; the denominator is the pages answered.

    ```yaml
    headers:
      urls: [/, /login]
      hsts: 365d
      csp_allows: ["style-src 'unsafe-inline'"]
      expect: {Cross-Origin-Opener-Policy: same-origin, X-Debug: null}
    ```
    """

    kind: ClassVar[str] = "headers"
    waits: ClassVar[bool] = True
    shorthand: ClassVar[str] = "urls"

    urls: Annotated[tuple[Annotated[str, StringConstraints(min_length=1)], ...], OneOrMore, Field(min_length=1)]
    """A path under the environment's base URL or an absolute URL, or a list of them."""
    require: Annotated[tuple[Rule | Literal["standard"], ...], OneOrMore] = ("standard",)
    """Which rules must hold: `standard` for all of them, or a list; an empty one leaves `expect` alone."""
    hsts: Span = parse_duration("180d")
    """The shortest time for which a page must bind browsers to HTTPS, of the rule `hsts`."""
    csp_allows: Annotated[tuple[str, ...], OneOrMore] = ()
    """Unsafe sources that the content security policy may hold, such as `style-src 'unsafe-inline'`."""
    expect: dict[str, str | None] = Field(default_factory=dict)
    """Headers with the value that each must have, whatever the rules; `null` says that there must be none."""
    status: Annotated[tuple[StrictInt, ...], OneOrMore, Field(min_length=1)] = (200,)
    """The status, or the list of them, of the pages meant: another page's headers tell nothing."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""

    @field_validator("csp_allows")
    @classmethod
    def _directive_and_source(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if len(text.split()) != 2:
                raise ValueError(f"expected a directive and a source such as `style-src 'unsafe-inline'`, got '{text}'")
        return value

    @model_validator(mode="after")
    def _something(self) -> Headers:
        if not (self.require or self.expect):
            raise ValueError("nothing is looked at: expected rules in `require`, or headers in `expect`")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask for each page once."""
        seen = 0
        for url in self.urls:
            answer = fetch(context, url, ca=self.ca)
            other = not_the_page(answer, self.status)
            if other is not None:
                yield other
                continue
            seen += 1
            context.attach(f"headers-{seen}.txt", "text/plain", cut(_evidence(answer)))
            yield from self._compare(answer, context)
        yield counted("pages", seen, len(self.urls))

    def _compare(self, answer: Answer, context: Context) -> Iterator[Finding]:
        where = place(answer)
        for rule in dict.fromkeys(_STANDARD if "standard" in self.require else self.require):
            if rule == "hsts":
                yield self._hsts(where, answer)
            elif rule == "csp":
                yield self._csp(where, answer)
            elif rule == "no_banner":
                yield webheaders.banner(where, answer)
            elif rule != "standard":
                yield webheaders.RULES[rule](where, answer)
        for name, expected in self.expect.items():
            yield _expected(f"{where} {name}", name, expected and context.resolve(expected), answer)

    def _hsts(self, where: str, answer: Answer) -> Finding:
        name = f"{where} Strict-Transport-Security"
        if is_plain(answer):
            actual = "asked over plain HTTP, where browsers ignore it; name an https URL, or leave out `hsts`"
            return find(name, expected="looked at over HTTPS", actual=actual, ok=Ok.CANNOT_TELL)
        return webheaders.hsts_finding(name, answer, self.hsts)

    def _csp(self, where: str, answer: Answer) -> Finding:
        name = f"{where} Content-Security-Policy"
        policies = webheaders.policies(answer.headers.get("Content-Security-Policy", ""))
        expected = "a policy that limits scripts to what the site serves"
        if not policies:
            only = "Content-Security-Policy-Report-Only" in answer.headers
            actual = "only one that reports, and stops nothing" if only else "absent"
            return find(name, expected=expected, actual=actual, ok=False)
        allowed = {tuple(text.lower().split()) for text in self.csp_allows}
        faults = webheaders.faults(policies, allowed)
        return find(name, expected=expected, actual=shown(faults) or "one", ok=not faults)


def _expected(what: str, name: str, expected: str | None, answer: Answer) -> Finding:
    actual = answer.headers.get(name)
    words = "absent" if actual is None else heading(name, actual)
    if expected is None:
        return find(what, expected="absent", actual=words, ok=actual is None)
    return find(what, expected=expected, actual=words, ok=actual == expected)


def _evidence(answer: Answer) -> bytes:
    lines = [f"{place(answer)}", f"{answer.status} {answer.reason}"]
    return "\n".join([*lines, *headings(answer)]).encode()
