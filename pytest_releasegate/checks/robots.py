"""`robots`: what crawlers are told is as declared, by robots.txt and by the pages themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, StrictBool, StringConstraints, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Finding, Ok
from pytest_releasegate.params import Duration, Parameters
from pytest_releasegate.sources.http import Query, ask
from pytest_releasegate.sources.robotstxt import RobotsFile, page_tokens, tag_tokens
from pytest_releasegate.sources.text import OneOrMore, cut, shown
from pytest_releasegate.sources.tls import authority_file
from pytest_releasegate.sources.webpages import fetch, is_later, not_the_page, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.http import Answer

__all__ = ["Robots"]

_LONGEST = 30.0
_BROKEN = 500

Page = Annotated[str, StringConstraints(min_length=1)]
Agent = Annotated[str, StringConstraints(pattern=r"^(\*|[A-Za-z_-]+)$")]


class Robots(Parameters):
    """What crawlers may fetch and index, by RFC 9309 and `noindex`; the denominator is the paths.

    ```yaml
    robots:
      allow: [/, /pricing]
      disallow: [/admin, /search?q=x]
      noindex: /thanks
      sitemaps: /sitemap.xml
    ```
    """

    kind: ClassVar[str] = "robots"
    waits: ClassVar[bool] = True

    allow: Annotated[tuple[Page, ...], OneOrMore] = ()
    """Pages that crawlers must be free to fetch and to index: nothing tells them otherwise."""
    disallow: Annotated[tuple[Page, ...], OneOrMore] = ()
    """Paths that robots.txt must close to every crawler, also to those that it names."""
    noindex: Annotated[tuple[Page, ...], OneOrMore] = ()
    """Pages that must tell crawlers not to index them, where crawlers can read it."""
    closed: StrictBool = False
    """Whether robots.txt must close the whole site to every crawler, as that of a staging environment should."""
    agents: Annotated[tuple[Agent, ...], OneOrMore, Field(min_length=1)] = ("*", "Googlebot", "Bingbot")
    """The crawlers to which pages must be open, by their product tokens; `*` for one that the file does not name."""
    sitemaps: Annotated[tuple[Page, ...], OneOrMore] = ()
    """Sitemaps that robots.txt must name, and that must be there."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""
    retry_for: Duration | None = None
    """How long to go on looking until all is as expected."""

    @model_validator(mode="after")
    def _something(self) -> Robots:
        if not (self.allow or self.disallow or self.noindex or self.closed or self.sitemaps):
            raise ValueError("expected `allow`, `disallow`, `noindex`, `closed` or `sitemaps`, got none")
        if self.closed and (self.allow or self.noindex or self.sitemaps):
            raise ValueError("of a site that is `closed` crawlers see nothing; expected no pages beside it")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Read robots.txt of each site once, and the pages that crawlers may see."""
        looker = _Looker(self, context)
        if self.closed:
            yield looker.closed()
        for page in self.disallow:
            yield looker.disallowed(page)
        for page in self.allow:
            yield from looker.allowed(page)
        for page in self.noindex:
            yield from looker.unindexed(page)
        for page in self.sitemaps:
            yield from looker.sitemap(page)
        wanted = [*self.disallow, *self.allow, *self.noindex, *self.sitemaps, *["/"] * self.closed]
        yield counted("paths", looker.seen, len(wanted))


class _File:
    """robots.txt of one site: what it says, or what crawlers make of it when it is not there."""

    def __init__(self, answer: Answer) -> None:
        self.name = place(answer)
        self.said = f"{answer.status} {answer.reason}".strip()
        self.is_broken = is_later(answer)
        self.is_absent = 400 <= answer.status < _BROKEN and not self.is_broken
        self.robots = RobotsFile.read(answer.body) if 200 <= answer.status < 300 else RobotsFile()
        if not (self.is_broken or self.is_absent or 200 <= answer.status < 300):
            raise CannotLook(f"{self.name} answers {self.said}", "crawlers need a file, or that there is none (404)")
        if self.robots == RobotsFile() and b"<html" in answer.body[:1024].lower():
            raise CannotLook(f"{self.name} is a web page", "the application answers any path; serve a file there")


class _Looker:
    """One look: the files that were read, and how many paths were looked at."""

    def __init__(self, check: Robots, context: Context) -> None:
        self.check = check
        self.context = context
        self.files: dict[str, _File] = {}
        self.seen = 0

    def closed(self) -> Finding:
        """Whether nobody may fetch anything."""
        file = self._file("/")
        self.seen += 1
        name, expected = file.name, "closes the whole site to every crawler"
        if file.is_broken:
            return find(name, expected=expected, actual=f"{file.said}: only as long as that lasts", ok=Ok.CANNOT_TELL)
        open_to = [f"open to {agent}: {why}" for agent in file.robots.agents if (why := file.robots.leaves_open(agent))]
        if file.is_absent:
            open_to = [f"{file.said}: without the file all is open"]
        return find(name, expected=expected, actual=shown(open_to) or expected, ok=not open_to)

    def disallowed(self, page: str) -> Finding:
        """Whether no crawler may fetch a path."""
        file, path = self._file(page), self._path(page)
        self.seen += 1
        name, expected = f"{path} by robots.txt", "closed to every crawler"
        if file.is_broken:
            return find(name, expected=expected, actual=f"{file.said}: only as long as that lasts", ok=Ok.CANNOT_TELL)
        agents = dict.fromkeys([*file.robots.agents, *map(str.lower, self.check.agents)])
        open_to = []
        for agent in agents:
            rule = file.robots.decides(agent, path)
            if rule is None or rule.allows:
                open_to.append(f"{agent} ({rule or 'no rule closes it'})")
        actual = f"{file.said}: without the file all is open" if file.is_absent else f"open to {shown(open_to)}"
        return find(name, expected=expected, actual=actual if open_to else expected, ok=not open_to)

    def _page(self, page: str) -> Answer | Finding:
        """The page, or what came instead of it."""
        answer = fetch(self.context, page, ca=self.check.ca)
        if other := not_the_page(answer, (200,)):
            return other
        self.seen += 1
        self._keep(answer)
        return answer

    def allowed(self, page: str) -> Iterator[Finding]:
        """Whether crawlers may fetch a page and index it."""
        yield self._fetchable(page, "open to crawlers")
        answer = self._page(page)
        if isinstance(answer, Finding):
            yield answer
            return
        _, possible = tag_tokens(answer.headers.get("X-Robots-Tag", ""), self.check.agents)
        told = ["X-Robots-Tag"] * ("noindex" in possible or "none" in possible)
        told += ["<meta>"] * ("noindex" in page_tokens(answer.text, self.check.agents))
        actual = f"noindex in {' and '.join(told)}" if told else "indexable"
        yield find(f"{place(answer)} to crawlers", expected="indexable", actual=actual, ok=not told)

    def unindexed(self, page: str) -> Iterator[Finding]:
        """Whether a page says that it must not be indexed, where crawlers can read that."""
        yield self._fetchable(page, "open to crawlers, which must read its `noindex`")
        answer = self._page(page)
        if isinstance(answer, Finding):
            yield answer
            return
        certain, _ = tag_tokens(answer.headers.get("X-Robots-Tag", ""), self.check.agents if self._is_one else ())
        told = "noindex" in certain | page_tokens(answer.text, self.check.agents if self._is_one else ())
        name = f"{place(answer)} to crawlers"
        yield find(name, expected="noindex", actual="noindex" if told else "nothing against it", ok=told)

    def sitemap(self, page: str) -> Iterator[Finding]:
        """Whether a sitemap is named, and there."""
        file = self._file(page)
        url = self.context.url(page)
        named = url in file.robots.sitemaps
        actual = f"names {shown(file.robots.sitemaps)}" if file.robots.sitemaps else "names none"
        actual = actual if not (file.is_absent or file.is_broken) else file.said
        ok = named or (Ok.CANNOT_TELL if file.is_broken else False)
        yield find(file.name, expected=f"Sitemap: {url}", actual=f"Sitemap: {url}" if named else actual, ok=ok)
        answer = fetch(self.context, page, ca=self.check.ca)
        self.seen += 1
        other = not_the_page(answer, (200,))
        yield other or find(f"{place(answer)} status", expected="200", actual="200", ok=True)

    @property
    def _is_one(self) -> bool:
        """Whether a word to one crawler says all."""
        return len(self.check.agents) == 1

    def _fetchable(self, page: str, expected: str) -> Finding:
        file, path = self._file(page), self._path(page)
        closing = {agent: file.robots.decides(agent, path) for agent in self.check.agents}
        closed = [f"{agent} ({rule})" for agent, rule in closing.items() if rule and not rule.allows]
        actual = f"closed to {shown(closed)}" if closed else expected
        if file.is_broken:
            actual, closed = f"{file.said}: crawlers then fetch nothing", ["all"]
        return find(f"{path} by robots.txt", expected=expected, actual=actual, ok=not closed)

    def _file(self, page: str) -> _File:
        parts = urlsplit(self.context.url(page.partition("?")[0]))
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self.files:
            ca = authority_file(self.context.root, self.context.resolve(self.check.ca, secret=False))
            query = Query(url=f"{origin}/robots.txt", redirects=True, ca=ca)
            answer = ask(query, clock=self.context.clock, limit=self.context.remaining(_LONGEST))
            self.context.attach(f"robots-{len(self.files) + 1}.txt", "text/plain", cut(answer.body))
            self.files[origin] = _File(answer)
        return self.files[origin]

    def _path(self, page: str) -> str:
        path, mark, search = page.partition("?")
        return (urlsplit(self.context.url(path)).path or "/") + mark + search

    def _keep(self, answer: Answer) -> None:
        tag = answer.headers.get("X-Robots-Tag", "absent")
        metas = sorted(page_tokens(answer.text, self.check.agents))
        text = f"{place(answer)}\nX-Robots-Tag: {tag}\n<meta>: {', '.join(metas) or 'nothing'}\n"
        self.context.attach(f"page-{self.seen}.txt", "text/plain", cut(text.encode()))
