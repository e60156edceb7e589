"""`banner` against pages that show a text, hide it, or show none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.banner import Banner
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look
from tests.checks.website import Answer, Website, said, website

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.execution import Look

NOTICE = "Closed on Thursday"
PAGES = {
    "/shown": f"<div class=banner><b>{NOTICE.replace(' on', '</b>  on')}</div><p>Sign in</p>",
    "/release": "<p>Release 1.4.0 is here</p>",
    "/without": "<p>Sign in</p>",
    "/hidden": f"<p>Sign in</p><div hidden>{NOTICE}</div>",
    "/script": f"<p>Sign in</p><script>show('{NOTICE}')</script>",
    "/empty": f"<div id=app></div><script>show('{NOTICE}')</script>",
}


@pytest.fixture(scope="module")
def site() -> Iterator[Website]:
    with website() as running:

        def answer(method: str, path: str, headers: Any) -> Answer:
            if path == "/busy":
                return Answer([], 503)
            if path == "/away":
                return Answer([("Location", "/login?next=secret")], 302)
            body = PAGES.get(path)
            kind = [("Content-Type", "text/html; charset=utf-8")]
            return Answer([], 404) if body is None else Answer(kind, 200, body.encode())

        running.answer = answer
        yield running


def run(site: Website, urls: Any, **fields: Any) -> Look:
    return look(Banner(urls=urls, **fields), site.environment)


def test_pages_show_and_do_not_show(site: Website) -> None:
    shown = run(site, "/shown", shown=NOTICE, hidden=["Traceback", "Release ${release.version}"])
    assert (shown.status, said(shown, site)) == (Status.PASSED, [])
    assert str(shown.findings[-1]) == "pages looked at: expected >= 1, got 1"
    assert [body for _, body in shown.attached] == [b"Closed on Thursday Sign in"]
    hidden = run(site, ["/without", "/hidden", "/script"], hidden=NOTICE)
    assert (hidden.status, said(hidden, site)) == (Status.PASSED, [])
    assert run(site, "/release", shown="Release ${release.version}").status is Status.PASSED


@pytest.mark.parametrize(
    ("url", "fields", "line"),
    [
        ("/without", {"shown": NOTICE}, "/without: 'Closed on Thursday': expected visible, got not visible"),
        (
            "/hidden",
            {"shown": NOTICE},
            "/hidden: 'Closed on Thursday': expected visible, got not visible: it stands in the page, hidden or in a "
            "script",
        ),
        ("/shown", {"hidden": NOTICE}, "/shown: 'Closed on Thursday': expected not visible, got visible"),
        ("/release", {"hidden": "${release.version}"}, "/release: '1.4.0': expected not visible, got visible"),
        ("/gone", {"hidden": NOTICE}, "/gone status: expected 200, got 404 Not Found"),
        ("/away", {"hidden": NOTICE}, "/away status: expected 200, got 302 Found to /login"),
    ],
)
def test_the_other_is_found(site: Website, url: str, fields: dict[str, Any], line: str) -> None:
    result = run(site, url, **fields)
    assert (result.status, said(result, site)[:1]) == (Status.FAILED, [line])


@pytest.mark.parametrize("url", ["/empty", "/busy"])
def test_pages_that_cannot_tell(site: Website, url: str) -> None:
    for fields in ({"hidden": NOTICE}, {"shown": NOTICE}):
        assert run(site, url, **fields).status is Status.INCONCLUSIVE


def test_nobody_answers() -> None:
    nobody = Environment(name="staging", base_url="http://127.0.0.1:9")
    assert look(Banner(urls=("/",), shown=("x",)), nobody).status is Status.ERROR


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "expected `shown`, `hidden` or both, got neither"),
        ({"shown": "a", "hidden": ["b", "a"]}, "'a' cannot be both `shown` and `hidden`"),
        ({"shown": ""}, "at least 1 character"),
        ({"shown": "${release.name}"}, "unknown placeholder"),
        ({"shown": "a", "urls": []}, "at least 1 item"),
    ],
)
def test_what_cannot_be_declared(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Banner.model_validate({"urls": "/", **fields})
