"""`cors` against a real server on loopback."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.cors import Cors
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look
from tests.checks.website import Answer, Website, said, website

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_releasegate.execution import Look

PORTAL = "https://portal.example.org"
ORIGIN, CREDENTIALS = "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"


@pytest.fixture(scope="module")
def site() -> Iterator[Website]:
    with website() as running:
        yield running


def guarded(trusts: Callable[[str], bool], *more: tuple[str, str], status: int = 200, wild: bool = False) -> Any:
    """A server that names the origins that it trusts, and answers their preflights."""

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Answer:
        origin = headers.get("Origin", "")
        if not trusts(origin):
            return Answer(status=status)
        given = [(ORIGIN, "*" if wild else origin), ("Vary", "Origin"), *more]
        if method == "OPTIONS":
            given += [("Access-Control-Allow-Methods", "GET, PUT"), ("Access-Control-Allow-Headers", "Authorization")]
        return Answer(given, 204 if method == "OPTIONS" else status, b"")

    return answer


def run(site: Website, answer: Any, **fields: Any) -> Look:
    site.answer = answer
    return look(Cors(**{"url": "/api", "allowed": PORTAL, **fields}), site.environment)


def test_allowed_origin_may_and_no_other(site: Website) -> None:
    site.asked.clear()
    answer = guarded(PORTAL.__eq__, (CREDENTIALS, "true"))
    result = run(
        site, answer, methods=["GET", "PUT"], headers="authorization", credentials=True, denied="https://b.org"
    )
    assert (result.status, said(result, site)) == (Status.PASSED, [])
    assert [finding.name.replace(site.url, "") for finding in result.findings] == [
        f"/api from {PORTAL}",
        f"/api from {PORTAL} preflight of GET",
        f"/api from {PORTAL} preflight of PUT",
        "/api from https://b.org",
        "/api from https://releasegate.invalid",
        "/api from null",
        f"/api from {PORTAL}.releasegate.invalid",
        "/api from https://releasegateportal.example.org",
        "/api from https://portalxexample.org",
        "/api from http://portal.example.org",
        "origins looked at",
    ]
    assert {method for method, _, _ in site.asked} == {"GET", "OPTIONS"}


def test_nobody_else_may_where_none_is_allowed(site: Website) -> None:
    good = run(site, guarded(lambda origin: False), allowed=[])
    bad = run(site, guarded(lambda origin: True), allowed=[])
    assert (good.status, bad.status) == (Status.PASSED, Status.FAILED)
    assert str(good.findings[-1]) == "origins looked at: expected >= 1, got 2"


@pytest.mark.parametrize(
    ("trusts", "more", "lines"),
    [
        (
            lambda origin: True,
            [(CREDENTIALS, "true")],
            ["https://releasegate.invalid: expected not allowed, got its origin is sent back with credentials"],
        ),
        (
            lambda origin: origin in (PORTAL, "null"),
            [],
            ["null: expected not allowed, got its origin is sent back"],
        ),
        (
            lambda origin: origin.startswith(PORTAL),
            [],
            [f"{PORTAL}.releasegate.invalid: expected not allowed, got its origin is sent back"],
        ),
        (
            lambda origin: origin.endswith("portal.example.org"),
            [],
            [
                "https://releasegateportal.example.org: expected not allowed, got its origin is sent back",
                "http://portal.example.org: expected not allowed, got its origin is sent back",
            ],
        ),
        (
            lambda origin: re.fullmatch("https://portal.example.org", origin) is not None,
            [],
            ["https://portalxexample.org: expected not allowed, got its origin is sent back"],
        ),
        (
            lambda origin: origin in (PORTAL, "https://blog.example.org"),
            [],
            ["https://blog.example.org: expected not allowed, got allowed by name"],
        ),
    ],
)
def test_careless_comparisons_fail(site: Website, trusts: Any, more: Any, lines: list[str]) -> None:
    result = run(site, guarded(trusts, *more), denied="https://blog.example.org")
    assert result.status is Status.FAILED
    assert set(lines) <= {line.removeprefix("/api from ") for line in said(result, site)}


def test_wildcard_is_for_what_is_public(site: Website) -> None:
    wild = guarded(lambda origin: True, wild=True)
    closed, public = run(site, wild), run(site, wild, public=True)
    site_wide = run(site, guarded(lambda origin: True, (CREDENTIALS, "true"), wild=True), public=True)
    assert (closed.status, public.status, site_wide.status) == (Status.FAILED, Status.PASSED, Status.FAILED)
    assert said(closed, site)[0].endswith("expected not allowed, got allowed as *")
    assert said(site_wide, site)[0].endswith("expected never with credentials, got allowed as * with credentials")
    with_cookies = run(site, wild, credentials=True)
    assert f"{ORIGIN} is *; {CREDENTIALS} is not true" in said(with_cookies, site)[0]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"methods": "DELETE"}, "preflight of DELETE: expected allowed, got Access-Control-Allow-Methods is GET, PUT"),
        (
            {"headers": ["authorization", "x-csrf"]},
            "preflight of GET: expected allowed, got Access-Control-Allow-Headers is without x-csrf",
        ),
    ],
)
def test_what_a_preflight_lacks_is_told(site: Website, fields: dict[str, Any], line: str) -> None:
    result = run(site, guarded(PORTAL.__eq__), **fields)
    assert (result.status, said(result, site)) == (Status.FAILED, [f"/api from {PORTAL} {line}"])


def test_refused_origin_and_preflight_without_support_are_told(site: Website) -> None:
    result = run(site, lambda method, path, headers: Answer(status=501 if method == "OPTIONS" else 200))
    assert result.status is Status.FAILED
    assert said(result, site)[0] == f"/api from {PORTAL}: expected allowed, got {ORIGIN} is absent"


@pytest.mark.parametrize("status", [404, 429, 503])
def test_what_was_not_there_to_ask_cannot_tell(site: Website, status: int) -> None:
    result = run(site, guarded(lambda origin: False, status=status), allowed=[], denied=PORTAL)
    assert result.status is Status.INCONCLUSIVE
    assert said(result, site)[0] == f"/api from {PORTAL}: expected not allowed, got not allowed, by a {status}"


def test_look_alikes_of_each_allowed_origin_are_tried(site: Website) -> None:
    other = "http://localhost:3000"
    result = run(site, guarded(lambda origin: origin == PORTAL or origin.startswith(other)), allowed=[PORTAL, other])
    assert (result.status, said(result, site)) == (Status.PASSED, [])
    loose = guarded(lambda origin: origin == PORTAL or "localhost" in origin)
    result = run(site, loose, allowed=[PORTAL, other, "null"])
    found = [line.partition(":3000")[0] for line in said(result, site) if "sent back" in line]
    assert "/api from http://releasegatelocalhost" in found


@pytest.mark.parametrize("status", [404, 502])
def test_a_gateway_that_allows_whatever_is_behind_it_cannot_tell(site: Website, status: int) -> None:
    trusts = guarded(PORTAL.__eq__, status=status)
    result = run(site, trusts)
    assert result.status is Status.INCONCLUSIVE
    assert said(result, site)[0].startswith(f"/api from {PORTAL}: expected allowed, got allowed, by a {status}")


def test_an_answer_to_one_origin_that_caches_give_to_all_is_observed(site: Website) -> None:
    def answer(method: str, path: str, headers: Mapping[str, str]) -> Answer:
        return Answer([(ORIGIN, PORTAL), ("Vary", "Accept-Encoding")])

    result = run(site, answer)
    assert (result.status, said(result, site)) == (
        Status.PASSED,
        [
            f"/api from {PORTAL} Vary: expected Origin, else a cache hands the answer to other sites' scripts, "
            "got accept-encoding"
        ],
    )


def test_what_starlette_and_supabase_answer_passes(site: Website) -> None:
    def starlette(method: str, path: str, headers: Mapping[str, str]) -> Answer:
        named = [("access-control-allow-origin", PORTAL)] if headers.get("Origin") == PORTAL else []
        given = [*named, ("access-control-allow-credentials", "true"), ("vary", "Origin")]
        if method != "OPTIONS":
            return Answer(given, 401, b'{"detail":"Not authenticated"}')
        given += [("access-control-allow-methods", "GET, PUT"), ("access-control-allow-headers", "authorization")]
        return Answer(given, 200 if named else 400, b"OK" if named else b"Disallowed CORS origin")

    def supabase(method: str, path: str, headers: Mapping[str, str]) -> Answer:
        return Answer([(ORIGIN, "*"), ("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS")])

    fields = {"methods": ["GET", "PUT"], "headers": "authorization", "credentials": True}
    assert said(run(site, starlette, **fields), site) == []
    assert said(run(site, supabase, allowed=[], public=True), site) == []


def test_what_is_public_can_be_read(site: Website) -> None:
    result = run(site, guarded(lambda origin: False), allowed=[], public=True)
    assert result.status is Status.FAILED
    assert said(result, site)[0].endswith(f"releasegate.invalid: expected allowed, got {ORIGIN} is absent")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"public": True, "credentials": True}, "takes no `credentials`"),
        ({"public": True, "denied": "https://b.org"}, "denied to nobody"),
        ({"denied": PORTAL}, "both `allowed` and `denied`"),
        ({"methods": []}, "expected one at least"),
        ({"allowed": "https://Portal.example.org:443"}, "browsers write the origin .* as 'https://portal.example.org'"),
    ],
)
def test_what_contradicts_itself_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Cors.model_validate({"url": "/", "allowed": PORTAL, **fields})


def test_nobody_there_is_an_error() -> None:
    with website() as site:
        away = site.url
    result = look(Cors(url="/"), Environment(name="staging", base_url=away))
    assert (result.status, "cannot connect" in result.message) == (Status.ERROR, True)


@pytest.mark.parametrize("origin", ["portal.example.org", "https://portal.example.org/", "", "*", "https://*.org"])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValidationError, match=r"origin|character"):
        Cors(url="/", allowed=origin)
