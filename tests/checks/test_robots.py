"""`robots` against a site that tells crawlers this and that, and robots.txt as RFC 9309 reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.robots import Robots
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources.robotstxt import RobotsFile, page_tokens, tag_tokens
from pytest_releasegate.testing import look
from tests.checks.website import Answer, Website, said, website

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_releasegate.execution import Look

CLOSED = "User-agent: *\nDisallow: /\n"
GOOD = """\
# for everybody
User-agent: *
Disallow: /admin
Disallow: /search
Allow: /search/help

User-agent: GPTBot
Disallow: /

Sitemap: {url}/sitemap.xml
"""
PAGES: dict[str, tuple[list[tuple[str, str]], str]] = {
    "/": ([], "<title>Home</title>"),
    "/pricing": ([("X-Robots-Tag", "max-snippet: 20, otherbot: noarchive")], '<meta name="robots" content="index">'),
    "/tagged": ([("X-Robots-Tag", "noindex")], ""),
    "/named": ([("X-Robots-Tag", "googlebot: noindex, nofollow")], ""),
    "/other": ([("X-Robots-Tag", "otherbot: noarchive"), ("X-Robots-Tag", "noindex")], ""),
    "/meta": ([], '<!-- <meta name="robots" content="all"> --><META content="NONE" name=Robots>'),
    "/bing": ([], '<meta name="bingbot" content="noindex, nofollow">'),
    "/comment": ([], '<!-- <meta name="robots" content="noindex"> -->'),
    "/admin/thanks": ([("X-Robots-Tag", "none")], ""),
    "/sitemap.xml": ([], "<urlset/>"),
}


@pytest.fixture(scope="module")
def site() -> Iterator[Website]:
    with website() as running:
        yield running


def run(site: Website, robots: Any = GOOD, **fields: Any) -> Look:
    """Look at the site with this robots.txt: a text, a status, or a whole answer."""

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Answer:
        if path == "/robots.txt":
            if isinstance(robots, Answer):
                return robots
            return Answer([], robots) if isinstance(robots, int) else Answer([], 200, robots.encode())
        told, body = PAGES.get(path, ([], None))
        return Answer(told, 404) if body is None else Answer(told, 200, body.encode())

    site.answer = answer
    return look(Robots.model_validate(fields), site.environment)


def test_crawlers_are_told_what_was_declared(site: Website) -> None:
    robots = GOOD.replace("{url}", site.url)
    pages = {"allow": ["/", "/pricing", "/comment"], "disallow": ["/admin", "/admin/users?x=1", "/search?q=x"]}
    result = run(site, robots, **pages, noindex=["/tagged", "/meta"], sitemaps="/sitemap.xml")
    assert (result.status, said(result, site)) == (Status.PASSED, [])
    assert str(result.findings[-1]) == "paths looked at: expected >= 9, got 9"
    assert {evidence.name for evidence, _ in result.attached} >= {"robots-1.txt", "page-7.txt"}


@pytest.mark.parametrize(
    "robots", [CLOSED, "user-agent: a\nuser-agent:*\r\nDisallow:/*", CLOSED + "Allow: /robots.txt"]
)
def test_a_site_is_closed_as_a_whole(site: Website, robots: str) -> None:
    result = run(site, robots, closed=True)
    assert (result.status, said(result, site)) == (Status.PASSED, [])


@pytest.mark.parametrize(
    ("robots", "fields", "line"),
    [
        (
            CLOSED,
            {"allow": "/", "agents": "*"},
            "/ by robots.txt: expected open to crawlers, got closed to * (line 2, Disallow: /)",
        ),
        (
            "User-agent: Googlebot/2.1\nDisallow: /pr*ing$\n",
            {"allow": "/pricing"},
            "/pricing by robots.txt: expected open to crawlers, got closed to Googlebot (line 2, Disallow: /pr*ing$)",
        ),
        (
            503,
            {"allow": "/"},
            "/ by robots.txt: expected open to crawlers, got 503 Service Unavailable: crawlers then fetch nothing",
        ),
        ("", {"allow": "/tagged"}, "/tagged to crawlers: expected indexable, got noindex in X-Robots-Tag"),
        ("", {"allow": "/named"}, "/named to crawlers: expected indexable, got noindex in X-Robots-Tag"),
        ("", {"allow": "/other"}, "/other to crawlers: expected indexable, got noindex in X-Robots-Tag"),
        ("", {"allow": "/meta"}, "/meta to crawlers: expected indexable, got noindex in <meta>"),
        ("", {"allow": "/bing"}, "/bing to crawlers: expected indexable, got noindex in <meta>"),
        ("", {"allow": "/gone"}, "/gone status: expected 200, got 404 Not Found"),
        (
            GOOD,
            {"disallow": "/search/help"},
            "/search/help by robots.txt: expected closed to every crawler, got open to * (line 5, Allow: /search/help),"
            " googlebot (line 5, Allow: /search/help), bingbot (line 5, Allow: /search/help)",
        ),
        (
            CLOSED + "User-agent: nicebot\nDisallow:\n",
            {"disallow": "/admin"},
            "/admin by robots.txt: expected closed to every crawler, got open to nicebot (no rule closes it)",
        ),
        (
            404,
            {"disallow": "/admin"},
            "/admin by robots.txt: expected closed to every crawler, got 404 Not Found: without the file all is open",
        ),
        (
            404,
            {"closed": True},
            "/robots.txt: expected closes the whole site to every crawler, got 404 Not Found: without the file all is "
            "open",
        ),
        (
            CLOSED + "Allow: /public\n",
            {"closed": True},
            "/robots.txt: expected closes the whole site to every crawler, got open to *: line 3, Allow: /public",
        ),
        (
            CLOSED + "User-agent: nicebot\nDisallow: /admin\n",
            {"closed": True},
            "/robots.txt: expected closes the whole site to every crawler, got open to nicebot: no rule closes /",
        ),
        ("", {"noindex": "/"}, "/ to crawlers: expected noindex, got nothing against it"),
        ("", {"noindex": "/named"}, "/named to crawlers: expected noindex, got nothing against it"),
        (
            GOOD,
            {"noindex": "/admin/thanks", "agents": "Googlebot"},
            "/admin/thanks by robots.txt: expected open to crawlers, which must read its `noindex`, "
            "got closed to Googlebot (line 3, Disallow: /admin)",
        ),
        ("", {"sitemaps": "/sitemap.xml"}, "/robots.txt: expected Sitemap: /sitemap.xml, got names none"),
        (404, {"sitemaps": "/sitemap.xml"}, "/robots.txt: expected Sitemap: /sitemap.xml, got 404 Not Found"),
    ],
)
def test_what_was_not_declared_is_found(site: Website, robots: Any, fields: dict[str, Any], line: str) -> None:
    result = run(site, robots, **fields)
    assert (result.status, said(result, site)[:1]) == (Status.FAILED, [line])


def test_a_sitemap_that_is_named_must_be_there(site: Website) -> None:
    result = run(site, f"Sitemap: {site.url}/map.xml\nsitemap: x", sitemaps="/map.xml")
    assert (result.status, said(result, site)) == (Status.FAILED, ["/map.xml status: expected 200, got 404 Not Found"])


@pytest.mark.parametrize(
    ("robots", "fields", "line"),
    [
        (429, {"closed": True}, "/robots.txt: expected closes the whole site to every crawler, got 429 Too"),
        (500, {"disallow": "/a"}, "/a by robots.txt: expected closed to every crawler, got 500 Internal Server Error"),
        (502, {"sitemaps": "/sitemap.xml"}, "/robots.txt: expected Sitemap: /sitemap.xml, got 502 Bad Gateway"),
    ],
)  # fmt: skip
def test_a_server_in_trouble_closes_nothing_for_good(
    site: Website, robots: int, fields: dict[str, Any], line: str
) -> None:
    result = run(site, robots, **fields)
    assert result.status is Status.INCONCLUSIVE
    assert said(result, site)[0].startswith(line)


def test_what_cannot_be_read_is_an_error(site: Website) -> None:
    page = run(site, "<!doctype html><HTML><title>App</title>", allow="/")
    assert (page.status, "robots.txt is a web page" in page.message) == (Status.ERROR, True)
    loop = run(site, Answer([("Location", "/robots.txt")], 302), allow="/")
    assert (loop.status, "more than 10 redirects" in loop.message) == (Status.ERROR, True)
    nobody = look(Robots(closed=True), Environment(name="staging", base_url="http://127.0.0.1:9"))
    assert nobody.status is Status.ERROR


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "expected `allow`, `disallow`, `noindex`, `closed` or `sitemaps`"),
        ({"closed": True, "allow": "/"}, "of a site that is `closed` crawlers see nothing"),
        ({"allow": "/", "agents": "Google bot"}, "String should match pattern"),
        ({"allow": "/", "agents": []}, "at least 1 item"),
    ],
)
def test_what_cannot_be_declared(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Robots.model_validate(fields)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/fish", "/fish.html", True),
        ("/fish", "/Fish", False),
        ("/fish*", "/fish", True),
        ("/fish/", "/fish", False),
        ("/*.php", "/folder/a.php?x", True),
        ("/*.php$", "/a.php5", False),
        ("/*.php$", "/a.php.php", True),
        ("/a$", "/a", True),
        ("/a$", "/ab", False),
        ("/a*b$", "/ab", True),
        ("/ab*b$", "/ab", False),
        ("/a*c*e", "/abcd", False),
        ("fish", "/fish", False),
        ("*fish", "/a/fish", True),
        ("/caf%C3%A9", "/café", True),
        ("/café", "/caf%c3%a9", True),
        ("/%7Ejoe", "/~joe", True),
        ("/a%2Fb", "/a/b", False),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    robots = RobotsFile.read(f"user-agent: *\ndisallow: {pattern}".encode())
    assert (robots.decides("any", path) is not None) == matches


@pytest.mark.parametrize(
    ("lines", "agent", "path", "open_"),
    [
        ("user-agent: *|disallow: /p|allow: /p/q", "x", "/p/q/r", True),
        ("user-agent: *|allow: /p|disallow: /p", "x", "/p", True),
        ("user-agent: *|disallow: /|allow: /$", "x", "/", True),
        ("user-agent: *|disallow: /robots", "x", "/robots.txt", True),
        ("user-agent: *|disallow:", "x", "/", True),
        ("disallow: /|user-agent: *", "x", "/", True),
        ("user-agent: a|disallow: /|user-agent: *|allow: /", "A", "/", False),
        ("user-agent: a|disallow: /x|user-agent: b|disallow: /y|user-agent: a|disallow: /z", "a", "/z", False),
        ("user-agent: a|disallow: /x|user-agent: *|disallow: /", "a", "/z", True),
        ("user-agent: a|crawl-delay: 3|user-agent: b|disallow: /", "a", "/", False),
        ("user-agent: a|sitemap: s|user-agent: b|disallow: /", "a", "/", False),
        ("\ufeffUser-Agent : * # all|Disallow : / # all", "x", "/", False),
        ("user-agent *|disallow /", "x", "/", True),
        ("user-agent: *|disallow: /" + "x" * 600_000 + "|disallow: /a", "x", "/a", True),
    ],
)
def test_groups_and_rules(lines: str, agent: str, path: str, open_: bool) -> None:
    rule = RobotsFile.read(lines.replace("|", "\n").encode()).decides(agent, path)
    assert (rule is None or rule.allows) == open_


def test_many_stars_take_no_time_to_speak_of() -> None:
    robots = RobotsFile.read(f"user-agent: *\ndisallow: /{'*a' * 2000}b".encode())
    assert robots.decides("x", "/" + "a" * 4000) is None


@pytest.mark.parametrize(
    ("header", "certain", "possible"),
    [
        ("noindex, nofollow", {"noindex", "nofollow"}, {"noindex", "nofollow"}),
        ("googlebot: noindex", {"noindex"}, {"noindex"}),
        ("otherbot: noindex", set(), set()),
        ("otherbot: x, noindex", set(), {"noindex"}),
        ("None", {"noindex", "nofollow"}, {"noindex", "nofollow"}),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST", {"unavailable_after: 25 jun 2010 15:00:00 pst"}, ...),
        ("", set(), set()),
    ],
)
def test_tags(header: str, certain: set[str], possible: Any) -> None:
    found = tag_tokens(header, ["Googlebot"])
    assert found == (certain, certain if possible is ... else possible)


def test_metas_of_pages() -> None:
    assert page_tokens('<meta name=ROBOTS content="NoIndex,nofollow"><meta name=x content=y>', ["*"]) == {
        "noindex",
        "nofollow",
    }
    assert page_tokens("<meta name=robots>", []) == set()
    assert (
        page_tokens("<script>'<meta name=robots content=noindex>'</script><!-- <meta name=robots content=x>", [])
        == set()
    )
    assert page_tokens("<![if <meta name=robots content=x>", []) == {"x"}
    assert page_tokens("<meta <!-- " * 200_000 + "<a " * 200_000, []) == set()
