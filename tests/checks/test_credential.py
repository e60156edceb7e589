"""`credential` against stand-ins that answer as each vendor documents; each answer's page is named beside it."""

from __future__ import annotations

import base64
import json
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from pydantic import ValidationError

from pytest_releasegate.checks.credential import Credential
from pytest_releasegate.model import Environment, Ok, Status
from pytest_releasegate.sources import vendors
from pytest_releasegate.sources.s3 import Signer, bucket_url, signed
from pytest_releasegate.testing import FakeClock, look
from tests.checks.mailserver import Mail, mail_server
from tests.standin import Asked, Reply, StandIn, know_no_name, standing_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_releasegate.execution import Look

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
WORD = "correct-horse-battery"
OTHER = "AC0123456789abcdef0123456789abcdef"
ACCOUNT = f"/2010-04-01/Accounts/{OTHER}.json"
USAGE = f"/2010-04-01/Accounts/{OTHER}/Usage/Records/Today.json"
CLAIMS = {"iss": "supabase", "ref": "abcdefghijklmnopqrst", "role": "service_role", "exp": 1769000000}
LEGACY = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, CLAIMS, ""))
LISTING = b'<?xml version="1.0"?><ListBucketResult><Name>notes</Name><KeyCount>0</KeyCount></ListBucketResult>'

# https://resend.com/docs/api-reference/domains/list-domains (all of them where no `limit` is asked for),
# https://resend.com/docs/api-reference/pagination and https://resend.com/docs/api-reference/errors
DOMAINS = {
    "object": "list",
    "has_more": False,
    "data": [
        {
            "id": "domain-91",
            "name": "ehr.example",
            "status": "verified",
            "region": "eu-west-1",
            "created_at": "2023-04-26",
        },
        {
            "id": "domain-92",
            "name": "new.example",
            "status": "not_started",
            "region": "eu-west-1",
            "created_at": "2026-01-04",
        },
    ],
}
SENDING = {"statusCode": 401, "name": "restricted_api_key", "message": "This API key is restricted to only send emails"}
INVALID = {"statusCode": 403, "name": "invalid_api_key", "message": "API key is invalid"}
# https://www.twilio.com/docs/iam/api/account and https://www.twilio.com/docs/api/errors
TWILIO = {
    "sid": OTHER,
    "auth_token": "a-token-that-nobody-asked-for",
    "friendly_name": "Lindgren Clinic",
    "status": "active",
    "type": "Full",
    "owner_account_sid": OTHER,
}
# https://www.twilio.com/docs/api/errors/20403: the account was suspended or closed
SUSPENDED = {"code": 20403, "message": "Forbidden", "more_info": "https://www.twilio.com/docs/errors/20403"}
UNAUTHORISED = {"code": 20003, "message": "Authenticate", "more_info": "https://www.twilio.com/docs/errors/20003"}
TESTING = {"code": 20008, "message": "Resource not accessible with Test Account Credentials", "status": 403}
# https://docs.stripe.com/api/balance/balance_object, https://docs.stripe.com/api/errors and, of restricted keys,
# https://docs.stripe.com/changelog/2016-10-19/insufficient-permissions-throw-403-error
BALANCE = {
    "object": "balance",
    "available": [{"amount": 666670, "currency": "usd", "source_types": {"card": 666670}}],
    "livemode": False,
    "pending": [{"amount": 61414, "currency": "usd"}],
}
EXPIRED = {
    "error": {"code": "api_key_expired", "type": "invalid_request_error", "message": "Expired API Key: sk_test_***p7dc"}
}
NO_RIGHT = {"error": {"type": "invalid_request_error", "message": "The provided key 'rk_live_***x' does not have ..."}}
# https://supabase.com/docs/reference/javascript/storage-getbucket and .../guides/storage/debugging/error-codes
BUCKET = {
    "id": "notes",
    "name": "notes",
    "owner": "",
    "public": False,
    "file_size_limit": None,
    "created_at": "2024-10-01T08:00:00.000Z",
}
BAD_KEY = {"statusCode": "403", "error": "Unauthorized", "message": "signature verification failed"}
# the codes that https://supabase.com/docs/guides/storage/debugging/error-codes is moving to
NEW_BAD_KEY = {"code": "InvalidJWT", "message": "The provided JWT is invalid."}
NEW_NO_BUCKET = {"code": "NoSuchBucket", "message": "The specified bucket does not exist."}
NO_BUCKET = {"statusCode": "404", "error": "Bucket not found", "message": "Bucket not found"}
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html and .../API/ErrorResponses.html
S3_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>m</Message></Error>"
# https://docs.github.com/en/rest/rate-limit/rate-limit and
# https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
LIMITS = {"resources": {"core": {"limit": 5000, "used": 1, "remaining": 4999, "reset": 1691591363}}}
SSO = {"message": "Resource protected by organization SAML enforcement.", "status": "403"}
SSO_LINE = "github key: expected valid, got 403, which says nothing of the key"
BAD = {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401"}

FIELDS: dict[str, dict[str, Any]] = {
    "resend": {"domain": "ehr.example"},
    "twilio": {"account": OTHER},
    "stripe": {},
    "supabase_storage": {"bucket": "notes"},
    "s3": {"bucket": "notes", "user": "AKIAEXAMPLE"},
    "github": {},
}
PATHS = {
    "resend": "/domains",
    "twilio": ACCOUNT,
    "stripe": "/v1/balance",
    "supabase_storage": "/storage/v1/bucket/notes",
    "s3": "/notes",
    "github": "/rate_limit",
}


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with standing_in() as running:
        yield running


@pytest.fixture
def vendor(server: StandIn) -> StandIn:
    server.routes, server.headers = {}, {}
    server.asked.clear()
    return server


def run(vendor: StandIn, service: str, value: str = KEY, environment: Environment | None = None, **fields: Any) -> Look:
    place = {} if environment and environment.protected else {"api": vendor.url}
    check = Credential(**{"service": service, "key": "${env:KEY}", **place, **FIELDS[service], **fields})
    return look(
        check,
        environment or Environment(name="staging", values={"none": ""}),
        clock=FakeClock(NOW),
        variables={"KEY": value},
    )


def said(seen: Look) -> list[str]:
    return [str(finding) for finding in seen.findings if finding.ok is not Ok.YES]


@pytest.mark.parametrize(
    ("service", "reply", "told"),
    [
        ("resend", DOMAINS, ["key: expected valid, got valid, with full access", "domain ehr.example: expected verif"]),
        ("twilio", TWILIO | {"type": "Trial"}, ["key: expected valid", "account: expected active", "mode: exp"]),
        ("stripe", BALANCE, ["key: expected valid, got valid", "mode: expected test (environment 'sta"]),
        ("supabase_storage", BUCKET, ["key: expected valid", "bucket notes: expected there for this key, got there"]),
        ("s3", LISTING, ["key: expected valid, got valid, and may list the bucket"]),
        ("github", LIMITS, ["key: expected valid", "expiry: expected in 2w or later, got never"]),
    ],
)
def test_a_good_key_passes_and_only_what_is_listed_leaves_the_answer(
    vendor: StandIn, service: str, reply: Any, told: list[str]
) -> None:
    vendor.routes[PATHS[service]] = (200, reply)
    seen = run(vendor, service)
    assert (seen.status, said(seen)) == (Status.PASSED, [])
    lines = [str(finding).removeprefix(f"{service} ") for finding in seen.findings]
    assert [line[: len(start)] for line, start in zip(lines, told, strict=False)] == told
    assert lines[-1] == "keys looked at: expected >= 1, got 1"
    (asked,) = vendor.asked
    assert asked.method == "GET"
    everything = repr(seen)
    for secret in (KEY, "nobody-asked", "Lindgren", "666670", "domain-91", "2024-10-01"):
        assert secret not in everything


def test_each_key_is_sent_as_its_vendor_asks(vendor: StandIn) -> None:
    for service, path in PATHS.items():
        vendor.routes[path] = (503, {})
        run(vendor, service, "sb_secret_abcdef")
    sent = {asked.path.partition("?")[0]: asked.headers for asked in vendor.asked}
    basic = base64.b64encode(f"{OTHER}:sb_secret_abcdef".encode()).decode()
    assert sent[PATHS["resend"]]["Authorization"] == "Bearer sb_secret_abcdef"
    assert sent[PATHS["twilio"]]["Authorization"] == f"Basic {basic}"
    assert sent[PATHS["supabase_storage"]]["apikey"] == "sb_secret_abcdef"
    assert "Authorization" not in sent[PATHS["supabase_storage"]]
    assert sent[PATHS["s3"]]["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/")
    assert sent[PATHS["github"]]["X-GitHub-Api-Version"] == "2022-11-28"


@pytest.mark.parametrize("service", PATHS)
@pytest.mark.parametrize("reply", [(429, {}), (503, {"message": "down"})])
def test_a_vendor_that_cannot_answer_now_is_inconclusive(vendor: StandIn, service: str, reply: Reply) -> None:
    vendor.routes[PATHS[service]] = reply
    seen = run(vendor, service)
    assert seen.status is Status.INCONCLUSIVE
    assert said(seen) == [
        f"{service} key: expected valid, got {vendor.url}{PATHS[service]} answered {reply[0]} "
        f"{'Too Many Requests' if reply[0] == 429 else 'Service Unavailable'}"
    ]


def test_a_vendor_that_nobody_reaches_is_inconclusive(vendor: StandIn) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        seen = run(vendor, "stripe", api=f"http://127.0.0.1:{bound.getsockname()[1]}")
    assert seen.status is Status.INCONCLUSIVE
    assert "Connection refused" in said(seen)[0]


@pytest.mark.parametrize(
    ("service", "status", "reply", "line"),
    [
        ("resend", 403, INVALID, "resend key: expected valid, got 403 invalid_api_key"),
        ("resend", 401, {"name": "missing_api_key"}, "resend key: expected valid, got 401 missing_api_key"),
        ("twilio", 401, UNAUTHORISED, "twilio key: expected valid, got 401 20003"),
        ("twilio", 200, TWILIO | {"status": "suspended", "type": "Trial"}, "account: expected active, got suspended"),
        ("twilio", 200, TWILIO, "mode: expected test (environment 'staging'), got live"),
        ("twilio", 403, SUSPENDED, "twilio key: expected valid, got 403 20403"),
        ("stripe", 401, EXPIRED, "stripe key: expected valid, got 401 api_key_expired"),
        ("stripe", 200, BALANCE | {"livemode": True}, "mode: expected test (environment 'staging'), got live"),
        ("supabase_storage", 400, BAD_KEY, "supabase_storage key: expected valid, got 403 Unauthorized"),
        ("supabase_storage", 400, NEW_BAD_KEY, "supabase_storage key: expected valid, got 400 InvalidJWT"),
        ("s3", 403, S3_ERROR.format("InvalidToken").encode(), "s3 key: expected valid, got 403 InvalidToken"),
        ("s3", 400, S3_ERROR.format("ExpiredToken").encode(), "s3 key: expected valid, got 400 ExpiredToken"),
        ("github", 401, BAD, "github key: expected valid, got 401 Unauthorized"),
    ],
)
def test_a_bad_key_fails_and_says_why(vendor: StandIn, service: str, status: int, reply: Any, line: str) -> None:
    vendor.routes[PATHS[service]] = (status, reply)
    seen = run(vendor, service)
    assert (seen.status, said(seen)) == (Status.FAILED, [line])


@pytest.mark.parametrize(
    ("service", "fields", "routes", "status", "lines"),
    [
        ("resend", {"domain": ""}, {"/domains": (401, SENDING)}, Status.PASSED, []),
        (
            "resend",
            {"scopes": ["full"]},
            {"/domains": (401, SENDING)},
            Status.FAILED,
            [
                "domain ehr.example: expected verified, got unknown: a key that may only send cannot read it",
                "scope full: expected granted, got only send",
            ],
        ),
        (
            "resend",
            {"domain": "old.example"},
            {"/domains": (200, DOMAINS)},
            Status.FAILED,
            ["domain old.example: expected verified, got no such domain among 2"],
        ),
        ("resend", {"domain": "EHR.example."}, {"/domains": (200, DOMAINS)}, Status.PASSED, []),
        ("twilio", {}, {ACCOUNT: (403, TESTING)}, Status.PASSED, []),
        (
            "twilio",
            {"user": "SK0123"},
            {ACCOUNT: (401, UNAUTHORISED), USAGE: (200, {"usage_records": []})},
            Status.INCONCLUSIVE,
            ["mode: expected test (environment 'staging'), got unknown"],
        ),
        (
            "twilio",
            {"user": "SK0123"},
            {ACCOUNT: (401, UNAUTHORISED), USAGE: (401, UNAUTHORISED)},
            Status.FAILED,
            ["twilio key: expected valid, got 401 20003"],
        ),
        (
            "supabase_storage",
            {},
            {PATHS["supabase_storage"]: (400, NO_BUCKET)},
            Status.FAILED,
            [
                "supabase_storage key: expected valid, got 404 Bucket not found",
                "bucket notes: expected there for this key, got no such bucket, or not for this key",
            ],
        ),
        (
            "supabase_storage",
            {},
            {PATHS["supabase_storage"]: (404, NEW_NO_BUCKET)},
            Status.FAILED,
            [
                "supabase_storage key: expected valid, got 404 NoSuchBucket",
                "bucket notes: expected there for this key, got no such bucket, or not for this key",
            ],
        ),
        ("github", {}, {"/rate_limit": (403, SSO)}, Status.INCONCLUSIVE, [SSO_LINE]),
        (
            "s3",
            {},
            {"/notes": (403, S3_ERROR.format("AccessDenied").encode())},
            Status.INCONCLUSIVE,
            ["s3 key: expected valid, got 403 AccessDenied: known, and may not list this bucket"],
        ),
        (
            "github",
            {"scopes": "repo"},
            {"/rate_limit": (200, LIMITS)},
            Status.INCONCLUSIVE,
            ["scope repo: expected granted, got unknown: not told of this key"],
        ),
    ],
)
def test_the_traps_of_vendors(
    vendor: StandIn, service: str, fields: dict[str, Any], routes: dict[str, Any], status: Status, lines: list[str]
) -> None:
    vendor.routes.update(routes)
    seen = run(vendor, service, **fields)
    assert (seen.status, said(seen)) == (status, lines)


def test_a_restricted_key_of_stripe_is_valid_though_it_may_not_read_the_balance(vendor: StandIn) -> None:
    vendor.routes["/v1/balance"] = (403, NO_RIGHT)
    seen = run(vendor, "stripe", "rk_test_51H8f7Kabc")
    assert (seen.status, said(seen)) == (Status.PASSED, [])
    assert said(run(vendor, "stripe", "rk_live_51H8f7Kabc")) == [
        "mode: expected test (environment 'staging'), got live"
    ]


@pytest.mark.parametrize(
    ("protected", "live", "fields", "line"),
    [
        (True, True, {}, ""),
        (True, False, {}, "mode: expected live (environment 'prod'), got test"),
        (True, False, {"mode": "test", "reason": "sandbox"}, ""),
        (True, False, {"mode": "any", "reason": "both are used"}, ""),
        (True, True, {"mode": "test", "reason": "sandbox"}, "mode: expected test (sandbox), got live"),
    ],
)
def test_the_mode_fits_the_environment(
    vendor: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    protected: bool,
    live: bool,
    fields: dict[str, str],
    line: str,
) -> None:
    monkeypatch.setitem(vendors.OWN, "stripe", vendor.url)
    vendor.routes["/v1/balance"] = (200, BALANCE | {"livemode": live})
    seen = run(vendor, "stripe", environment=Environment(name="prod", protected=protected), **fields)
    assert (said(seen), seen.status) == ([line], Status.FAILED) if line else ([], Status.PASSED)


@pytest.mark.parametrize(
    ("until", "status", "actual"),
    [
        ("2026-01-10 09:00:00 UTC", Status.FAILED, "2026-01-10, in 5 days"),
        ("2026-01-10 09:00:00 +0000", Status.FAILED, "2026-01-10, in 5 days"),
        ("2026-01-04 09:00:00 UTC", Status.FAILED, "2026-01-04, which is over"),
        ("2026-06-10 09:00:00 -0700", Status.PASSED, "2026-06-10, in 156 days"),
    ],
)
def test_what_expires_soon_fails_where_the_vendor_tells(
    vendor: StandIn, until: str, status: Status, actual: str
) -> None:
    vendor.routes["/rate_limit"] = (200, LIMITS)
    vendor.headers = {"github-authentication-token-expiration": until, "x-oauth-scopes": "repo, read:org"}
    seen = run(vendor, "github", scopes=["repo"])
    assert seen.status is status
    assert f"expiry: expected in 2w or later, got {actual}" in map(str, seen.findings)
    assert said(run(vendor, "github", scopes=["admin:org"], expires_in="1s"))[-1] == (
        "scope admin:org: expected granted, got only repo, read:org"
    )


def test_a_legacy_key_of_supabase_tells_its_role_and_when_it_ends(vendor: StandIn) -> None:
    def answer(asked: Asked) -> Reply:
        return (200, BUCKET) if asked.headers.get("Authorization") == f"Bearer {LEGACY}" else (400, BAD_KEY)

    vendor.routes[PATHS["supabase_storage"]] = answer
    assert run(vendor, "supabase_storage", LEGACY, scopes="service_role").status is Status.PASSED
    seen = run(vendor, "supabase_storage", LEGACY, scopes="anon", expires_in="30d")
    assert said(seen) == [
        "expiry: expected in 30d or later, got 2026-01-21, in 16 days",
        "scope anon: expected granted, got only service_role",
    ]


@pytest.mark.parametrize(
    ("service", "fields", "reply", "message"),
    [
        ("stripe", {"key": "${env:NONE}"}, (200, BALANCE), "the environment variable NONE is not set"),
        (
            "stripe",
            {"api": "https://stripe.example"},
            (200, BALANCE),
            "the key of stripe goes to https://api.stripe.com",
        ),
        ("supabase_storage", {"api": "http://acme.example"}, (200, BUCKET), "the key would be sent in the clear"),
        ("supabase_storage", {"bucket": "${value:none}"}, (200, BUCKET), "`bucket` is empty"),
        ("twilio", {"account": "${value:none}"}, (200, TWILIO), "`account` is empty"),
        ("stripe", {}, (200, {"object": "account"}), "stripe: the answer is no balance with its mode"),
        ("stripe", {}, (200, b"<html>"), "/v1/balance answered 200 without a JSON object"),
        ("resend", {}, (200, {"data": 1}), "answered without a list 'data'"),
        ("twilio", {}, (404, {"code": 20404}), "answered 404 20404"),
        ("s3", {}, (301, S3_ERROR.format("PermanentRedirect").encode()), "its region may be another one; set `region`"),
    ],
)
def test_what_cannot_be_tried_is_an_error(
    vendor: StandIn, service: str, fields: dict[str, Any], reply: Reply, message: str
) -> None:
    vendor.routes[PATHS[service]] = reply
    seen = run(vendor, service, **fields)
    assert seen.status is Status.ERROR
    assert message in seen.message


def test_a_stand_in_is_nothing_for_production(vendor: StandIn) -> None:
    environment = Environment(name="prod", protected=True)
    seen = run(vendor, "stripe", environment=environment, api=vendor.url)
    assert seen.status is Status.ERROR
    assert "and nowhere else on a protected environment" in seen.message
    assert vendor.asked == []


@pytest.mark.parametrize("key", [" sk_test_abc", "sk_test_abc\n", "abc"])
def test_a_key_that_was_set_badly_is_said(vendor: StandIn, key: str) -> None:
    seen = run(vendor, "stripe", key)
    assert seen.status is Status.ERROR
    assert "${env:KEY}: the value is no key" in seen.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"service": "stripe", "key": KEY}, "got the secret itself"),
        ({"service": "stripe", "key": "${env:K}", "mode": "any"}, "`mode: any` needs a `reason`"),
        ({"service": "smtp", "key": "${env:K}"}, "smtp needs `api`"),
        ({"service": "twilio", "key": "${env:K}"}, "twilio needs `account`"),
        ({"service": "s3", "key": "${env:K}", "user": "AK"}, "s3 needs `bucket`"),
        ({"service": "supabase_storage", "key": "${env:K}", "bucket": "b"}, "supabase_storage needs `api`"),
        ({"service": "stripe", "key": "${env:K}", "domain": "a.example"}, "stripe takes no `domain`; it takes"),
        ({"service": "github", "key": "${env:K}", "mode": "any", "reason": "x"}, "github takes no `mode`"),
        ({"service": "paypal", "key": "${env:K}"}, "service"),
    ],
)
def test_wrong_parameters_are_refused_and_never_quoted(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        Credential(**fields)
    assert all(KEY not in error["msg"] for error in refused.value.errors())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def mail(authority: trustme.CA) -> Iterator[Mail]:
    with mail_server(authority) as running:
        yield running


def sign_in(mail: Mail, authority: trustme.CA, folder: Path, word: str = WORD, ca: str = "ca") -> Look:
    authority.cert_pem.write_to_path(str(folder / "ca"))
    check = Credential(service="smtp", key="${env:WORD}", user="mailer", api=f"smtp://localhost:{mail.port}", ca=ca)
    return look(check, Environment(name="staging"), root=folder, variables={"WORD": word})


def test_signing_in_to_a_mail_server_sends_nothing(mail: Mail, authority: trustme.CA, tmp_path: Path) -> None:
    seen = sign_in(mail, authority, tmp_path)
    assert (seen.status, said(seen)) == (Status.PASSED, [])
    words = [line.split()[0].upper() for line in mail.told]
    assert words == ["EHLO", "STARTTLS", "EHLO", "AUTH", "QUIT"]
    assert "correct-horse" not in repr(seen)


def test_signing_in_over_tls_from_the_start(mail: Mail, authority: trustme.CA, tmp_path: Path) -> None:
    mail.implicit, mail.starttls = True, False
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    api = f"smtps://localhost:{mail.port}"
    check = Credential(service="smtp", key="${env:WORD}", user="mailer", api=api, ca="ca")
    assert look(check, Environment(name="staging"), root=tmp_path, variables={"WORD": WORD}).status is Status.PASSED
    assert [line.split()[0] for line in mail.told] == ["ehlo", "AUTH", "QUIT"]


def test_a_mail_server_that_never_ends_its_line_ends_with_the_gates_time(mail: Mail) -> None:
    mail.drip = True
    check = Credential(service="smtp", key="${env:WORD}", user="mailer", api=f"smtp://localhost:{mail.port}")
    seen = look(check, Environment(name="staging"), variables={"WORD": WORD}, timeout=timedelta(seconds=0.3))
    assert seen.status is Status.INCONCLUSIVE
    assert f"smtp://localhost:{mail.port}: no full answer within 0.3 s" in said(seen)[0]


def test_a_wrong_password_fails(mail: Mail, authority: trustme.CA, tmp_path: Path) -> None:
    seen = sign_in(mail, authority, tmp_path, "wrong-horse")
    assert seen.status is Status.FAILED
    assert said(seen) == ["smtp key: expected valid, got 535: the name or the password is refused"]


def test_a_mail_server_without_tls_gets_no_password(mail: Mail, authority: trustme.CA, tmp_path: Path) -> None:
    mail.starttls = False
    seen = sign_in(mail, authority, tmp_path)
    assert seen.status is Status.FAILED
    assert said(seen) == ["smtp key: expected valid, got the server offers no STARTTLS, so the password was not sent"]
    assert not any(line.startswith("AUTH") for line in mail.told)


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"reply": "454 4.7.0 later"}, Status.INCONCLUSIVE, "454: the server cannot say now"),
        ({"greeting": "421 4.3.2 closing"}, Status.INCONCLUSIVE, "answered 421"),
        ({"greeting": "554 5.3.2 no"}, Status.ERROR, "answered 554"),
        ({"auth": ""}, Status.ERROR, "offers no way to sign in"),
        ({"auth": "AUTH GSSAPI"}, Status.ERROR, "cannot sign in"),
    ],
)
def test_a_mail_server_that_cannot_say(
    mail: Mail, authority: trustme.CA, tmp_path: Path, changes: dict[str, str], status: Status, text: str
) -> None:
    for name, value in changes.items():
        setattr(mail, name, value)
    seen = sign_in(mail, authority, tmp_path)
    assert seen.status is status
    assert text in "".join([*said(seen), seen.message])


def test_a_mail_server_with_an_unknown_certificate_gets_no_password(
    mail: Mail, authority: trustme.CA, tmp_path: Path
) -> None:
    seen = sign_in(mail, authority, tmp_path, ca="")
    assert seen.status is Status.ERROR
    assert "TLS failed: " in seen.message
    assert not any(line.startswith("AUTH") for line in mail.told)


@pytest.mark.parametrize("api", ["pop3://localhost:1", "smtp://:25"])
def test_what_is_no_mail_server_is_an_error(api: str) -> None:
    check = Credential(service="smtp", key="${env:WORD}", user="mailer", api=api)
    seen = look(check, Environment(name="staging"), variables={"WORD": "correct-horse"})
    assert seen.status is Status.ERROR
    assert "expected a mail server" in seen.message


HTML = b"<html>Blocked by the proxy of the office</html>"
NOBODY = {"resources": {"core": {"limit": 60, "used": 1, "remaining": 59, "reset": 1691591363}}}
SKEWED = S3_ERROR.format("RequestTimeTooSkewed").encode()
OTHER_BUCKET = LISTING.replace(b">notes<", b">other<")


@pytest.mark.parametrize(
    ("service", "key", "fields", "routes", "line"),
    [
        ("stripe", "rk_test_0123456789", {}, {"/v1/balance": (403, HTML)}, "stripe key: expected valid, got 403, not"),
        ("stripe", KEY, {}, {"/v1/balance": (403, NO_RIGHT)}, "stripe key: expected valid, got 403"),
        ("github", KEY, {}, {"/rate_limit": (200, HTML)}, "answered 200 without a JSON object"),
        ("github", KEY, {}, {"/rate_limit": (200, {})}, "no limits of requests"),
        ("github", KEY, {}, {"/rate_limit": (200, NOBODY)}, "answered as to nobody: 60 requests an hour"),
        ("twilio", KEY, {"user": "SK01"}, {ACCOUNT: (401, UNAUTHORISED), USAGE: (200, HTML)}, "without a JSON object"),
        ("twilio", KEY, {"user": "SK01"}, {ACCOUNT: (401, UNAUTHORISED), USAGE: (200, {})}, "without a list 'usage_re"),
        ("twilio", KEY, {}, {ACCOUNT: (200, TWILIO | {"type": "Trial", "sid": "AC9"})}, "of another account"),
        ("s3", KEY, {}, {"/notes": (403, SKEWED)}, "this machine's clock is wrong"),
        ("s3", KEY, {}, {"/notes": (200, OTHER_BUCKET)}, "bucket notes: expected listed, got another bucket"),
        ("s3", KEY, {}, {"/notes": (400, S3_ERROR.format("InvalidArgument").encode())}, "answered 400 InvalidArgument"),
        ("resend", KEY, {"domain": "late.example"}, {"/domains": (200, DOMAINS | {"has_more": True})}, "more pages"),
        *[
            (service, KEY, {}, {path: (status, HTML)}, f"got {status}, not in the words of {service}")
            for service, path in PATHS.items()
            for status in (401, 403)
        ],
        ("supabase_storage", KEY, {}, {PATHS["supabase_storage"]: (404, HTML)}, "answered 404 without a JSON object"),
        (
            "supabase_storage",
            KEY,
            {},
            {PATHS["supabase_storage"]: (400, {"code": "TenantNotFound", "message": "m"})},
            "answered 400 TenantNotFound",
        ),
    ],
)
def test_an_answer_that_is_not_the_vendors_proves_nothing(
    vendor: StandIn, service: str, key: str, fields: dict[str, str], routes: dict[str, Any], line: str
) -> None:
    vendor.routes.update(routes)
    seen = run(vendor, service, key, **fields)
    assert seen.status in (Status.INCONCLUSIVE, Status.ERROR)
    assert line in "\n".join([*said(seen), seen.message])


def test_a_vendor_that_echoes_the_key_in_any_dress_is_not_quoted(vendor: StandIn) -> None:
    echoes = [base64.b64encode(f"{OTHER}:{KEY}".encode()).decode(), base64.b64encode(KEY.encode()).decode(), KEY]
    for echo in echoes:
        for status, service in ((401, "twilio"), (403, "resend"), (400, "s3"), (404, "stripe")):
            vendor.routes[PATHS[service]] = (
                status,
                {"code": echo[:40], "name": echo[:40], "error": {"code": echo[:40]}},
            )
            vendor.headers = {"x-amz-bucket-region": echo, "x-oauth-scopes": echo}
            seen = run(vendor, service)
            assert seen.status is not Status.PASSED
            assert all(part[:20] not in repr(seen) for part in echoes)
    vendor.routes |= {
        "/rate_limit": (200, LIMITS),
        "/domains": (200, {"data": [{"name": "ehr.example", "status": KEY}]}),
    }
    for seen in (run(vendor, "github", scopes="repo"), run(vendor, "resend")):
        assert all(part[:20] not in repr(seen) for part in echoes)


@pytest.mark.parametrize(
    ("granted", "wanted", "ok"),
    [
        ("repo", "public_repo", True),
        ("admin:org", "read:org", True),
        ("write:packages", "read:packages", True),
        ("user", "user:email", True),
        ("public_repo", "repo", False),
        ("read:org", "write:org", False),
    ],
)
def test_a_scope_of_github_holds_those_under_it(vendor: StandIn, granted: str, wanted: str, ok: bool) -> None:
    vendor.routes["/rate_limit"] = (200, LIMITS)
    vendor.headers = {"x-oauth-scopes": granted}
    assert run(vendor, "github", scopes=wanted).status is (Status.PASSED if ok else Status.FAILED)


def test_a_token_of_a_github_app_is_not_said_to_last_for_ever(vendor: StandIn) -> None:
    vendor.routes["/rate_limit"] = (200, LIMITS)
    seen = run(vendor, "github", "ghs_16C7e42F292c6912E7710c838347Ae178B4a")
    assert "never" not in repr(seen)
    assert seen.status is Status.PASSED


def test_s3_on_the_usual_port_is_signed_as_it_is_asked(vendor: StandIn) -> None:
    signer = Signer("AKIAEXAMPLE", KEY, "us-east-1")
    at = [signed(f"{url}/notes", {}, signer, NOW)[1] for url in ("https://S3.example:443", "https://s3.example")]
    assert at[0]["Authorization"] == at[1]["Authorization"]


@pytest.mark.parametrize("reply", ["503 5.5.1 Error: authentication not enabled", "250 2.0.0 fine", "334 more?"])
def test_a_mail_server_that_takes_no_login_takes_no_password(
    mail: Mail, authority: trustme.CA, tmp_path: Path, reply: str
) -> None:
    mail.reply = reply
    seen = sign_in(mail, authority, tmp_path)
    assert seen.status in (Status.INCONCLUSIVE, Status.ERROR)


def test_a_mail_server_that_answers_without_end_is_cut_off(mail: Mail, authority: trustme.CA, tmp_path: Path) -> None:
    mail.endless = True
    seen = sign_in(mail, authority, tmp_path)
    assert seen.status in (Status.INCONCLUSIVE, Status.ERROR)
    assert "more than 65536 bytes" in "".join([*said(seen), seen.message])


def test_a_mail_server_whose_name_is_not_known_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    know_no_name(monkeypatch)
    check = Credential(service="smtp", key="${env:WORD}", user="mailer", api="smtp://no-such-host.invalid")
    seen = look(check, Environment(name="staging"), variables={"WORD": WORD})
    assert seen.status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("service", "api", "fields"),
    [
        ("stripe", "https://me:s3cr3t-word@stripe.example", {}),
        ("supabase_storage", "http://me:s3cr3t-word@acme.example", {"bucket": "b"}),
        ("smtp", "pop3://me:s3cr3t-word@mail.example", {"user": "u"}),
        ("smtp", "smtp://me:s3cr3t-word@no-such-host.invalid", {"user": "u"}),
    ],
)
def test_a_password_in_an_address_is_not_said(
    monkeypatch: pytest.MonkeyPatch, service: str, api: str, fields: dict[str, str]
) -> None:
    know_no_name(monkeypatch)
    check = Credential.model_validate({"service": service, "key": "${env:KEY}", "api": api, **fields})
    seen = look(check, Environment(name="staging"), variables={"KEY": KEY})
    assert seen.status in (Status.ERROR, Status.INCONCLUSIVE)
    assert "s3cr3t" not in repr(seen)


@pytest.mark.parametrize(
    ("bucket", "url"),
    [
        ("notes", "https://notes.s3.eu-west-1.amazonaws.com/"),
        ("notes.acme.example", "https://s3.eu-west-1.amazonaws.com/notes.acme.example"),
    ],
)
def test_a_bucket_with_dots_is_asked_for_by_path(bucket: str, url: str) -> None:
    """Amazon's certificate is for one name under its own."""
    assert bucket_url(bucket, "eu-west-1", "") == url
    assert bucket_url(bucket, "eu-west-1", "http://127.0.0.1:9000/") == f"http://127.0.0.1:9000/{bucket}"
