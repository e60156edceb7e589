"""`cookies` against a real server on loopback."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.cookies import Cookies
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import FakeClock, look
from tests.checks.website import Answer, Website, said, website

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.execution import Look

SECRET = "eyJzZWNyZXQi.hunter22"
GOOD = f"ehr_session={SECRET}; Secure; HttpOnly; Path=/; SameSite=Lax"
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def site() -> Iterator[Website]:
    with website() as running:
        yield running


def run(site: Website, *cookies: str, status: int = 200, **fields: Any) -> Look:
    site.says(*(("Set-Cookie", cookie) for cookie in cookies), status=status)
    return look(Cookies(**{"urls": "/login", **fields}), site.environment, clock=FakeClock(NOW))


def test_good_cookies_pass_and_show_no_value(site: Website) -> None:
    host = "__Host-id=1; secure; path=/; httponly; samesite=STRICT; Max-Age=3600"
    result = run(site, GOOD, host, longest="1h", host_only=True)
    assert (result.status, said(result, site)) == (Status.PASSED, [])
    assert str(result.findings[-1]) == "cookies looked at: expected >= 1, got 2"
    assert SECRET not in str(result.findings) + str(result.attached)
    assert result.attached[0][1] == b"ehr_session\n__Host-id"


@pytest.mark.parametrize(
    ("cookie", "fields", "line"),
    [
        ("a=1; HttpOnly; SameSite=Lax", {}, "a Secure: expected present, got absent"),
        ("a=1; Secure; SameSite=Lax", {}, "a HttpOnly: expected present, got absent"),
        ("a=1; Secure; HttpOnly", {}, "a SameSite: expected Lax or Strict, got absent"),
        ("a=1; Secure; HttpOnly; SameSite=none", {}, "a SameSite: expected Lax or Strict, got None"),
        (
            "a=1; HttpOnly; SameSite=None",
            {"same_site": "None", "secure": False},
            "a SameSite: expected None or Lax or Strict, got None without Secure, which browsers refuse",
        ),
        (
            "__Host-a=1; Secure; HttpOnly; SameSite=Lax; Path=/app; Domain=example.org",
            {},
            "__Host-a prefix: expected what __Host- promises, got Path is not /, Domain is set",
        ),
        (
            "__secure-a=1; HttpOnly; SameSite=Lax",
            {"secure": False},
            "__secure-a prefix: expected what __Secure- promises, got Secure is absent",
        ),
        (
            "a=1; Secure; HttpOnly; SameSite=Lax; Domain=example.org",
            {"host_only": True},
            "a Domain: expected absent, got example.org",
        ),
        (GOOD + "; Max-Age=86400; Expires=Thu, 01 Jan 1970 00:00:00 GMT", {"longest": "12h"}, "<= 12h, got 1d"),
        (GOOD + "; Expires=Mon, 05-Jan-2026 11:00:00 GMT", {"longest": "1h"}, "<= 1h, got 2h"),
    ],
)
def test_each_rule_fails_alone(site: Website, cookie: str, fields: dict[str, Any], line: str) -> None:
    result = run(site, cookie, **fields)
    assert result.status is Status.FAILED
    (only,) = said(result, site)
    assert only.startswith("/login ")
    assert only.endswith(line)


@pytest.mark.parametrize(
    ("cookie", "fields"),
    [
        ("csrf=1; Secure; SameSite=Lax", {"readable": "csrf"}),
        ("a=1; SameSite=Lax", {"secure": False, "http_only": False}),
        (GOOD, {"longest": "1s"}),
        ("a=1; SameSite=None; Secure; HttpOnly", {"same_site": "None"}),
    ],
)
def test_what_is_allowed_passes(site: Website, cookie: str, fields: dict[str, Any]) -> None:
    result = run(site, cookie, **fields)
    assert (result.status, said(result, site)) == (Status.PASSED, [])


@pytest.mark.parametrize(
    "cookies",
    [
        ("connect.sid=s%3Aabc.def%2B; Path=/; Expires=Mon, 05 Jan 2026 11:00:00 GMT; HttpOnly; Secure; SameSite=Lax",),
        (
            "XSRF-TOKEN=eyJpdiI6; expires=Mon, 05 Jan 2026 11:00:00 GMT; Max-Age=7200; path=/; secure; samesite=lax",
            "app_session=eyJpdiI6; expires=Mon, 05 Jan 2026 11:00:00 GMT; Max-Age=7200; path=/; secure; httponly; "
            "samesite=lax",
        ),
    ],
)
def test_what_express_and_laravel_set_passes(site: Website, cookies: tuple[str, ...]) -> None:
    assert said(run(site, *cookies, readable="XSRF-TOKEN", longest="3h", host_only=True), site) == []


def test_named_cookies_alone_are_looked_at_and_must_be_there(site: Website) -> None:
    good = run(site, GOOD, "theme=dark", names="ehr_session")
    absent = run(site, GOOD, "theme=dark", names=["ehr_session", "__Host-id"])
    assert (good.status, absent.status) == (Status.PASSED, Status.FAILED)
    assert said(absent, site) == ["cookie __Host-id: expected set, got not set; set: ehr_session"]


@pytest.mark.parametrize(
    ("cookies", "fields"),
    [
        ((), {}),
        (("theme=dark",), {"names": "ehr_session"}),
        (("no pair; Secure",), {}),
        (("a=; Max-Age=0",), {}),
        (("a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",), {}),
    ],
)
def test_no_cookie_to_look_at_cannot_tell(site: Website, cookies: tuple[str, ...], fields: dict[str, Any]) -> None:
    result = run(site, *cookies, **fields)
    assert (result.status, said(result, site)) == (Status.INCONCLUSIVE, ["cookies looked at: expected >= 1, got 0"])


def test_a_page_of_several_that_sets_none_cannot_tell(site: Website) -> None:
    cookies = {"/login": [("Set-Cookie", GOOD)]}
    site.answer = lambda method, path, headers: Answer(cookies.get(path, []))
    result = look(Cookies(urls=("/login", "/portal")), site.environment, clock=FakeClock(NOW))
    assert (result.status, said(result, site)) == (
        Status.INCONCLUSIVE,
        ["/portal cookies: expected one at least, got none set"],
    )


@pytest.mark.parametrize(("age", "status"), [("9" * 5000, Status.FAILED), ("-" + "9" * 5000, Status.INCONCLUSIVE)])
def test_an_age_of_thousands_of_digits_is_read(site: Website, age: str, status: Status) -> None:
    assert run(site, f"{GOOD}; Max-Age={age}", longest="12h").status is status


def test_another_page_fails_or_cannot_tell(site: Website) -> None:
    assert run(site, GOOD, status=404).status is Status.FAILED
    assert run(site, GOOD, status=429).status is Status.INCONCLUSIVE


def test_headers_are_sent(site: Website) -> None:
    site.says(("Set-Cookie", GOOD))
    check = Cookies(urls="/api", headers={"Authorization": "Bearer ${env:TOKEN}"})
    result = look(check, site.environment, variables={"TOKEN": "correct-horse"})
    assert result.status is Status.PASSED
    assert site.asked[-1][2]["Authorization"] == "Bearer correct-horse"


def test_nobody_there_is_an_error() -> None:
    with website() as site:
        away = site.url
    result = look(Cookies(urls="/"), Environment(name="staging", base_url=away))
    assert (result.status, "cannot connect" in result.message) == (Status.ERROR, True)


def test_wrong_declarations_are_refused() -> None:
    with pytest.raises(ValidationError, match="Strict"):
        Cookies.model_validate({"urls": "/", "same_site": "strict"})
