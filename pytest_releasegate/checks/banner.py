"""`banner`: pages show their readers a text, or do not show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, StrictInt, StringConstraints, model_validator

from pytest_releasegate.check import counted
from pytest_releasegate.params import Duration, Parameters
from pytest_releasegate.sources.banners import banner
from pytest_releasegate.sources.text import Expected, OneOrMore, cut, fill
from pytest_releasegate.sources.visible import visible
from pytest_releasegate.sources.webpages import fetch, not_the_page, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.http import Answer

__all__ = ["Banner"]


class Banner(Parameters):
    """Texts that readers of pages see or must not see, in the HTML as it arrives; the denominator is the pages.

    What scripts draw is for a test in a browser: a page without any text is inconclusive.

    ```yaml
    banner:
      urls: [/auth, /portal/login]
      shown: Release ${release.version} comes on Thursday at 20:00
      hidden: [Lorem ipsum, Traceback]
    ```
    """

    kind: ClassVar[str] = "banner"
    waits: ClassVar[bool] = True

    urls: Annotated[tuple[Annotated[str, StringConstraints(min_length=1)], ...], OneOrMore, Field(min_length=1)]
    """A path under the environment's base URL or an absolute URL, or a list of them."""
    shown: Annotated[tuple[Expected, ...], OneOrMore] = ()
    """A text, or a list of them, that each page must show; may hold `${release.version}`."""
    hidden: Annotated[tuple[Expected, ...], OneOrMore] = ()
    """A text, or a list of them, that none of the pages may show; may hold `${release.version}`."""
    status: Annotated[tuple[StrictInt, ...], OneOrMore, Field(min_length=1)] = (200,)
    """The status, or the list of them, of the pages meant: another page tells nothing."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""
    retry_for: Duration | None = None
    """How long to go on looking until all is as expected."""

    @model_validator(mode="after")
    def _something(self) -> Banner:
        if not (self.shown or self.hidden):
            raise ValueError("expected `shown`, `hidden` or both, got neither")
        if both := set(self.shown) & set(self.hidden):
            raise ValueError(f"'{min(both)}' cannot be both `shown` and `hidden`")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask for each page once, and look for each text."""
        seen = 0
        for url in self.urls:
            answer = fetch(context, url, ca=self.ca)
            if other := not_the_page(answer, self.status):
                yield other
                continue
            seen += 1
            text = visible(answer.text, answer.headers.get("Content-Type", ""))
            context.attach(f"seen-{seen}.txt", "text/plain", cut(text.encode()))
            yield from self._texts(answer, context)
        yield counted("pages", seen, len(self.urls))

    def _texts(self, answer: Answer, context: Context) -> Iterator[Finding]:
        for wanted, templates in ((True, self.shown), (False, self.hidden)):
            for template in templates:
                text = fill(template, context.release)
                yield banner(f"{place(answer)}: '{text}'", text, answer, wanted=wanted)
