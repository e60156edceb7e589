"""`headers` against a real server on loopback, over HTTP and HTTPS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.headers import Headers
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look
from tests.checks.website import Answer, Website, said, website

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_releasegate.execution import Look

GOOD = {
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(self)",
    "Server": "ehr",
}


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    with website(tmp_path_factory.mktemp("ca")) as running:
        yield running


def run(site: Website, *, urls: Any = "/", changed: Mapping[str, str | None] | None = None, **fields: Any) -> Look:
    headers = [(name, value) for name, value in {**GOOD, **(changed or {})}.items() if value is not None]
    site.says(*headers)
    return look(Headers(urls=urls, ca=site.ca, **fields), site.environment)


def test_all_rules_hold_for_several_pages(secure: Website) -> None:
    result = run(secure, urls=["/", "/login?token=abcdef"])
    assert (result.status, said(result, secure)) == (Status.PASSED, [])
    assert str(result.findings[-1]) == "pages looked at: expected >= 2, got 2"
    assert len(result.findings) == 2 * 7 + 1
    names = " ".join(finding.name for finding in result.findings)
    assert "/login X-Content-Type-Options" in names
    assert "token" not in names


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (
            {"Strict-Transport-Security": None},
            "Strict-Transport-Security: expected max-age >= 15552000 (180d), got absent",
        ),
        ({"X-Content-Type-Options": "sniff"}, "X-Content-Type-Options: expected nosniff, got sniff"),
        (
            {"Content-Security-Policy": "default-src 'self'", "X-Frame-Options": "ALLOWALL"},
            "framing: expected limited by frame-ancestors or X-Frame-Options, got X-Frame-Options: ALLOWALL",
        ),
        (
            {"Content-Security-Policy": "default-src 'self'; frame-ancestors *", "X-Frame-Options": "DENY"},
            "framing: expected limited by frame-ancestors or X-Frame-Options, got frame-ancestors *",
        ),
        (
            {"Referrer-Policy": "same-origin, unsafe-url"},
            "Referrer-Policy: expected one that tells other sites no paths, got same-origin, unsafe-url",
        ),
        (
            {"Permissions-Policy": "camera=*, geolocation=()"},
            "Permissions-Policy: expected one that gives no feature to all, got camera given to all",
        ),
        (
            {"Server": "nginx/1.25.3", "X-Powered-By": "Express"},
            "version banner: expected none, got Server: nginx/1.25.3; X-Powered-By: Express",
        ),
    ],
)
def test_each_rule_fails_alone(secure: Website, changed: dict[str, str | None], line: str) -> None:
    result = run(secure, changed=changed)
    assert (result.status, said(result, secure)) == (Status.FAILED, [f"/ {line}"])


@pytest.mark.parametrize(
    ("policy", "allows", "fault"),
    [
        ("default-src 'self' 'unsafe-inline'", (), "default-src 'unsafe-inline'"),
        ("default-src 'self'; script-src 'self' 'unsafe-eval'", (), "script-src 'unsafe-eval'"),
        ("default-src 'self'; script-src https:", (), "script-src https:"),
        ("img-src 'self'", (), "neither script-src nor default-src, neither object-src nor default-src"),
        ("script-src 'self'; object-src 'none'; style-src 'self' 'unsafe-inline'", (), "style-src 'unsafe-inline'"),
        ("default-src 'self'; style-src 'self' 'unsafe-inline'", "style-src 'unsafe-inline'", ""),
        ("default-src 'self'; script-src 'nonce-abc' 'unsafe-inline'", (), ""),
        ("default-src 'self'; script-src 'strict-dynamic' 'nonce-abc' https: 'unsafe-inline'", (), ""),
        ("default-src *, default-src 'self'", (), ""),
        ("default-src 'self'; script-src https://*", (), "script-src https://*"),
        ("default-src 'self'; script-src *:443", (), "script-src *:443"),
        ("default-src 'self'; script-src *.com", (), "script-src *.com"),
        ("default-src 'self'; script-src *.example.org", (), ""),
        ("default-src 'self'; script-src filesystem:", (), "script-src filesystem:"),
        ("default-src 'self'; script-src-elem *", (), "script-src-elem *"),
        ("default-src 'self'; script-src-elem *, default-src 'self'", (), ""),
        ("default-src 'self'; script-src-attr 'unsafe-inline'", (), "script-src-attr 'unsafe-inline'"),
        ("default-src 'self'; script-src-attr 'unsafe-inline'", "script-src-attr 'unsafe-inline'", ""),
        ("default-src 'self'; script-src 'nonce-' 'unsafe-inline'", (), "script-src 'unsafe-inline'"),
        ("script-src 'self'; object-src 'none'", (), ""),
        ("script-src 'self'", (), "neither object-src nor default-src"),
        ("script-src 'self'", "object-src *", ""),
        ("script-src 'self'; script-src *; default-src 'none'", (), ""),
    ],
)
def test_content_policies_are_read_as_browsers_do(secure: Website, policy: str, allows: Any, fault: str) -> None:
    changed = {"Content-Security-Policy": policy, "X-Frame-Options": "DENY"}
    result = run(secure, changed=changed, require=["csp"], csp_allows=allows)
    assert result.status is (Status.FAILED if fault else Status.PASSED)
    found = said(result, secure)
    assert [line.endswith(f", got {fault}") for line in found] == [True] * bool(fault)


@pytest.mark.parametrize(
    ("changed", "rule", "fault"),
    [
        ({"Content-Security-Policy": "frame-ancestors https://*"}, "framing", "frame-ancestors https://*"),
        ({"Content-Security-Policy": "frame-ancestors 'self' https://*.example.org"}, "framing", ""),
        ({"Permissions-Policy": "camera=(self *)"}, "permissions", "camera given to all"),
        ({"Permissions-Policy": 'camera=(self "https://a.example.org")'}, "permissions", ""),
        ({"Strict-Transport-Security": "max-age=31536000, max-age=31536000"}, "hsts", ""),
        ({"Strict-Transport-Security": "max-age=0, max-age=31536000"}, "hsts", "max-age=0, max-age=31536000"),
        ({"Strict-Transport-Security": f"max-age={'9' * 5000}"}, "hsts", ""),
    ],
)
def test_other_headers_are_read_as_browsers_do(
    secure: Website, changed: dict[str, str | None], rule: str, fault: str
) -> None:
    result = run(secure, changed=changed, require=rule)
    assert result.status is (Status.FAILED if fault else Status.PASSED)
    assert [line.endswith(f", got {fault}") for line in said(result, secure)] == [True] * bool(fault)


def test_tokens_of_the_server_are_not_shown(secure: Website) -> None:
    token = "0f8b1c3d5e7a9b2c"
    changed = {"Location": f"https://ehr.example.org/#access_token={token}", "X-Api-Token": token}
    result = run(secure, changed=changed, require=[], expect={"X-Api-Token": "a", "Location": "/"})
    secure.says(("Location", changed["Location"]), status=302)
    moved = look(Headers(urls="/", ca=secure.ca), secure.environment)
    assert (result.status, moved.status) == (Status.FAILED, Status.FAILED)
    assert token not in repr(result) + repr(moved)


CLOUDFLARE = {
    "Server": "cloudflare",
    "CF-RAY": "8d1f2c3b4a5e6f70-AMS",
    "X-Frame-Options": "SAMEORIGIN",
    "Permissions-Policy": 'accelerometer=(),browsing-topics=(),geolocation=(self "https://maps.example.org")',
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'nonce-r4nd0m==' 'strict-dynamic' https: "
    "'unsafe-inline'; object-src 'none'; img-src * data:; connect-src 'self' wss://*.supabase.co",
}
GITHUB = {
    "Server": "github.com",
    "Strict-Transport-Security": "max-age=31536000; includeSubdomains; preload",
    "X-Frame-Options": "deny",
    "Referrer-Policy": "origin-when-cross-origin, strict-origin-when-cross-origin",
    "Content-Security-Policy": "default-src 'none'; base-uri 'self'; child-src github.githubassets.com/assets/worker/; "
    "frame-ancestors 'none'; img-src 'self' data: blob:; script-src github.githubassets.com; "
    "style-src github.githubassets.com; upgrade-insecure-requests",
}


@pytest.mark.parametrize("shape", [CLOUDFLARE, GITHUB])
def test_what_careful_sites_send_passes(secure: Website, shape: dict[str, str | None]) -> None:
    assert said(run(secure, changed=shape), secure) == []


def test_policy_that_only_reports_is_none(secure: Website) -> None:
    changed = {"Content-Security-Policy": None, "Content-Security-Policy-Report-Only": "default-src 'self'"}
    result = run(secure, changed=changed, require="csp")
    assert result.status is Status.FAILED
    assert said(result, secure)[0].endswith("got only one that reports, and stops nothing")


def test_declared_headers(secure: Website) -> None:
    result = run(secure, changed={"X-Debug": "1"}, require=[], expect={"x-debug": None, "Server": "other", "X-A": "b"})
    assert result.status is Status.FAILED
    assert said(result, secure) == [
        "/ x-debug: expected absent, got 1",
        "/ Server: expected other, got ehr",
        "/ X-A: expected b, got absent",
    ]


def test_hsts_over_plain_http_cannot_be_told() -> None:
    with website() as plain:
        result = run(plain)
        without = run(plain, require=["csp", "nosniff"])
    assert (result.status, without.status) == (Status.INCONCLUSIVE, Status.PASSED)
    assert "where browsers ignore it; name an https URL" in said(result, plain)[0]


def test_another_page_than_the_one_meant_tells_nothing(secure: Website) -> None:
    secure.answer = lambda method, path, headers: Answer([*GOOD.items(), ("Location", "/auth?next=%2F")], 302)
    moved = look(Headers(urls="/", ca=secure.ca), secure.environment)
    secure.says(*GOOD.items(), status=503)
    away = look(Headers(urls="/", ca=secure.ca), secure.environment)
    assert (moved.status, away.status) == (Status.FAILED, Status.INCONCLUSIVE)
    assert said(moved, secure)[0] == "/ status: expected 200, got 302 Found to /auth"
    assert said(away, secure)[0] == "/ status: expected 200, got 503 Service Unavailable"


def test_nobody_there_is_an_error() -> None:
    with website() as site:
        away = site.url
    result = look(Headers(urls="/"), Environment(name="staging", base_url=away))
    assert (result.status, "cannot connect" in result.message) == (Status.ERROR, True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"urls": []}, "at least 1 item"),
        ({"urls": "/", "require": ["xss"]}, "no_banner"),
        ({"urls": "/", "csp_allows": "unsafe-inline"}, "a directive and a source"),
        ({"urls": "/", "require": []}, "nothing is looked at"),
        ({"urls": "/", "hsts": "0s"}, "a duration above zero"),
    ],
)
def test_wrong_declarations_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Headers.model_validate(fields)
