"""Whether a vendor takes a key: one read-only call each, of whose answer only what is named here is ever used."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.sources.answers import allowed, answered, instant, is_here, private_url
from pytest_releasegate.sources.httpfaults import bare_url
from pytest_releasegate.sources.s3 import Signer, bucket_url, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.http import Answer

__all__ = ["OWN", "VENDORS", "Key", "Told", "covers"]

_REFUSED = (401, 403)
_WORD = re.compile(r"[A-Za-z]{1,30}([_. -][A-Za-z]{1,30}){0,5}|[0-9]{1,6}")
"""What a vendor may call something: no shape in which a key could come back."""
_SCOPE = re.compile(r"[a-z]{1,20}([_:-][a-z]{1,20}){0,3}")
_NOBODYS_LIMIT = 60
"""How many requests an hour GitHub grants to who has no token."""
_UNDER_REPO = ("public_repo", "repo:status", "repo_deployment", "repo:invite", "security_events")
_ELSEWHERE = ("PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed")
_NO_KEY = ("InvalidJWT", "InvalidSignature", "SignatureDoesNotMatch", "AccessDenied", "ExpiredToken", "Invalid JWT")
OWN = {
    "resend": "https://api.resend.com",
    "twilio": "https://api.twilio.com",
    "stripe": "https://api.stripe.com",
    "github": "https://api.github.com",
}
"""Where the APIs of vendors are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What to try: the key, and what the vendor wants beside it; all references put in."""

    key: str = field(repr=False)
    user: str = field(default="", repr=False)
    account: str = ""
    bucket: str = ""
    domain: str = ""
    region: str = ""
    token: str = field(default="", repr=False)
    api: str = ""
    ca: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the vendor told: whether the key is valid, and only as much else as the gate judges."""

    valid: bool | Ok
    said: str
    mode: str = ""
    """`live` or `test` where the vendor has such modes."""
    expires: datetime | None = None
    tells_expiry: bool = False
    scopes: tuple[str, ...] | None = None
    more: tuple[tuple[str, str, str, bool | Ok], ...] = ()
    """Further findings: what, expected, got, and whether it is so."""


def base(name: str, key: Key, context: Context) -> str:
    """Where the vendor's API is; another address than its own must be this machine's, and never for production."""
    if not key.api:
        return OWN[name]
    if context.environment.protected or not is_here(key.api):
        where = "nowhere else on a protected environment" if is_here(key.api) else "else only to this machine"
        raise CannotLook(
            f"api {bare_url(key.api)}: the key of {name} goes to {OWN[name]}, and {where}", "leave `api` out"
        )
    return key.api.rstrip("/")


def resend(key: Key, context: Context) -> Told:
    """List the domains; a key that may only send is refused with 401, and yet valid."""
    answer = answered(context, f"{base('resend', key, context)}/domains", _bearer(key), key.ca)
    code = _code(answer, "name")
    if (answer.status, code) == (401, "restricted_api_key"):
        asked = (f"domain {key.domain}", "verified", "unknown: a key that may only send cannot read it", Ok.CANNOT_TELL)
        return Told(valid=True, said="valid, and may only send", scopes=("send",), more=(asked,) if key.domain else ())
    if answer.status != 200:
        return _not_valid(answer, code, "resend")
    found = _objects(answer, "data")
    known = {_domain(one.get("name")): _word(one.get("status")) for one in found}
    wanted = _domain(key.domain)
    status = known.get(wanted) or f"no such domain among {len(known)}"
    if wanted not in known and _object(answer).get("has_more"):
        status, ok = f"{status}, and more pages are there", Ok.CANNOT_TELL
    else:
        ok = Ok.YES if status == "verified" else Ok.NO
    more = ((f"domain {key.domain}", "verified", status, ok),) if key.domain else ()
    return Told(valid=True, said="valid, with full access", scopes=("send", "full"), more=more)


def twilio(key: Key, context: Context) -> Told:
    """Read the account; an API key that may not read it is tried on today's usage."""
    account = _needed("account", key.account, "the account's SID, AC...")
    signs = key.user or account
    url = f"{base('twilio', key, context)}/2010-04-01/Accounts/{quote(account, safe='')}"
    headers = {"Authorization": _basic(signs, key.key)}
    answer = answered(context, f"{url}.json", headers, key.ca)
    code = _code(answer, "code")
    if (answer.status, code) == (403, "20008"):
        return Told(valid=True, said="valid, of test credentials", mode="test")
    if answer.status in _REFUSED and signs != account:
        usage = answered(context, f"{url}/Usage/Records/Today.json?PageSize=1", headers, key.ca)
        if usage.status == 200 and _objects(usage, "usage_records") is not None:
            return Told(valid=True, said="valid, and may not read the account", mode="unknown")
        return _not_valid(usage, _code(usage, "code"), "twilio")
    if answer.status != 200:
        return _not_valid(answer, code, "twilio")
    # the answer also holds the account's own token
    about = allowed(_object(answer), ("sid", "status", "type"))
    if about.get("sid") != account:
        raise CannotLook("twilio: the answer is of another account, or of none", "is `account` right?")
    mode = {"Full": "live", "Trial": "test"}.get(str(about.get("type")), "unknown")
    status = _word(about.get("status"))
    more = (("account", "active", status, status == "active"),)
    return Told(valid=True, said="valid", mode=mode, more=more)


def stripe(key: Key, context: Context) -> Told:
    """Read the balance's mode; a restricted key that may not is refused with 403, and yet valid."""
    answer = answered(context, f"{base('stripe', key, context)}/v1/balance", _bearer(key), key.ca)
    code = _code(answer, "error", "code") or _code(answer, "error", "type")
    restricted = re.match(r"rk_(live|test)_", key.key)
    if answer.status == 403 and restricted and code:
        return Told(valid=True, said="valid, and may not read the balance", mode=restricted[1])
    if answer.status != 200:
        return _not_valid(answer, code, "stripe", refused=(401,))
    about = allowed(_object(answer), ("object", "livemode"))
    if about.get("object") != "balance" or not isinstance(about.get("livemode"), bool):
        raise CannotLook("stripe: the answer is no balance with its mode", "is `api` right?")
    return Told(valid=True, said="valid", mode="live" if about["livemode"] else "test")


def supabase_storage(key: Key, context: Context) -> Told:
    """Read one bucket by its name: a list of buckets is empty, and 200, for a key that may see none."""
    url = private_url(_needed("api", key.api, "the project's URL").rstrip("/"))
    bucket = _needed("bucket", key.bucket, "a bucket's id")
    legacy = _claims(key.key)
    headers = {"apikey": key.key} | (_bearer(key) if legacy else {})
    answer = answered(context, f"{url}/storage/v1/bucket/{quote(bucket, safe='')}", headers, key.ca)
    code = _code(answer, "error") or _code(answer, "code")
    status = "404" if code == "NoSuchBucket" else _code(answer, "statusCode") or str(answer.status)
    expires = datetime.fromtimestamp(float(legacy["exp"]), UTC) if isinstance(legacy.get("exp"), int | float) else None
    role = str(legacy.get("role") or "")
    told = Told(valid=True, said="valid", expires=expires, tells_expiry=bool(legacy), scopes=(role,) if role else None)
    if status == "404" and _object(answer):
        seen = (f"bucket {bucket}", "there for this key", "no such bucket, or not for this key", False)
        return replace(told, valid=Ok.CANNOT_TELL, said=f"{status} {code}", more=(seen,))
    if answer.status == 400 and (status in map(str, _REFUSED) or code in _NO_KEY):
        return replace(told, valid=False, said=f"{status} {code}")  # the refusal's status stands within
    if answer.status != 200:
        return _not_valid(answer, code, "supabase_storage")
    there = allowed(_object(answer), ("id",)).get("id") == bucket
    return replace(
        told, more=((f"bucket {bucket}", "there for this key", "there" if there else "another bucket", there),)
    )


def s3(key: Key, context: Context) -> Told:
    """List at most one object of the bucket, with a signed request."""
    bucket = _needed("bucket", key.bucket, "the bucket's name")
    region = key.region or "us-east-1"
    url = bucket_url(bucket, region, private_url(key.api) if key.api else "")
    signer = Signer(_needed("user", key.user, "the access key's id"), key.key, region, key.token)
    # the signature holds for minutes around the real time
    whole, headers = signed(url, {"list-type": "2", "max-keys": "1"}, signer, datetime.now(UTC))
    answer = answered(context, whole, headers, key.ca)
    found = re.search(r"<Code>([A-Za-z]{1,60})</Code>", answer.text)
    code = found[1] if found else ""
    if answer.status == 200 and "<ListBucketResult" in answer.text:
        other = f"<Name>{bucket}</Name>" not in answer.text
        more = ((f"bucket {bucket}", "listed", "another bucket", Ok.CANNOT_TELL),) if other else ()
        return Told(valid=True, said="valid, and may list the bucket", scopes=("list",), more=more)
    if code == "AccessDenied":
        return Told(valid=Ok.CANNOT_TELL, said="403 AccessDenied: known, and may not list this bucket", scopes=())
    if answer.status in (301, 307) or code in _ELSEWHERE:
        named = re.fullmatch(r"[a-z]{2}(-[a-z]{1,10}){1,3}-[0-9]{1,2}", answer.headers.get("x-amz-bucket-region", ""))
        place = named[0] if named else "another one"
        raise CannotLook(f"s3: {answer.status} {code} for {bucket}", f"its region may be {place}; set `region`")
    if code == "RequestTimeTooSkewed":
        raise CannotLook(f"s3: {answer.status} {code}: this machine's clock is wrong", "let it follow a time server")
    refused = (400, *_REFUSED) if code in ("ExpiredToken", "InvalidToken") else _REFUSED
    return _not_valid(answer, code, "s3", refused=refused)


def github(key: Key, context: Context) -> Told:
    """Read the limits of the token, which every token may; its headers tell expiry and, of classic ones, scopes."""
    headers = {**_bearer(key), "Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    answer = answered(context, f"{base('github', key, context)}/rate_limit", headers, key.ca)
    if answer.status == 403 and answer.headers.get("x-ratelimit-remaining") == "0":
        return Told(valid=Ok.CANNOT_TELL, said="403: the limit of requests is used up")
    if answer.status != 200:
        return _not_valid(answer, "", "github", refused=(401,))
    limit = _at(_object(answer), "resources", "core", "limit")
    if not isinstance(limit, int):
        raise CannotLook("github: the answer holds no limits of requests", "is `api` right?")
    if limit <= _NOBODYS_LIMIT:
        return Told(valid=Ok.CANNOT_TELL, said=f"answered as to nobody: {limit} requests an hour")
    until = answer.headers.get("github-authentication-token-expiration", "")
    listed = answer.headers.get("x-oauth-scopes")
    scopes = (
        None if listed is None else tuple(part for part in map(str.strip, listed.split(",")) if _SCOPE.fullmatch(part))
    )
    # of an app's tokens, which end within hours, it does not tell
    told = bool(until) or not key.key.startswith(("ghs_", "ghu_"))
    return Told(valid=True, said="valid", expires=_expiry(until), tells_expiry=told, scopes=scopes)


def covers(granted: str, scope: str) -> bool:
    """Whether a scope of GitHub is, or holds, another."""
    does, _, what = granted.partition(":")
    wanted, _, of = scope.partition(":")
    if granted == scope or (granted == "repo" and scope in _UNDER_REPO):
        return True
    if what:
        return bool(of) and what == of and (does, wanted) in {("admin", "write"), ("admin", "read"), ("write", "read")}
    return bool(of) and granted in ("user", "project") and granted in (wanted, of)


def _expiry(text: str) -> datetime | None:
    found = instant(re.sub(r" ([+-]\d{4})$", r"\1", text.replace(" UTC", " +0000")))
    if text and found is None:
        raise CannotLook("github: its header with the token's expiry holds no instant")
    return found


def _bearer(key: Key) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.key}"}


def _basic(user: str, word: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{word}'.encode()).decode()}"


def _needed(name: str, value: str, what: str) -> str:
    if value:
        return value
    raise CannotLook(f"`{name}` is empty", f"name {what}")


def _not_valid(answer: Answer, code: str, service: str, refused: tuple[int, ...] = _REFUSED) -> Told:
    """What an answer that is no 200 means: refused, refused by something else, or of a kind that nobody expects."""
    known = {status.value: status.phrase for status in HTTPStatus}
    said = f"{answer.status} {code or known.get(answer.status, '')}".strip()
    own = bool(code) or _document(answer) is not None
    if answer.status in refused and own:
        return Told(valid=False, said=said)
    if answer.status in _REFUSED:
        why = "which says nothing of the key" if own else f"not in the words of {service}: something else may refuse it"
        return Told(valid=Ok.CANNOT_TELL, said=f"{answer.status}, {why}")
    raise CannotLook(f"{bare_url(answer.url)} answered {said}", "is the account right, or `api`?")


def _document(answer: Answer) -> dict[str, Any] | None:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _object(answer: Answer) -> dict[str, Any]:
    found = _document(answer)
    if found is not None:
        return found
    what = f"{bare_url(answer.url)} answered {answer.status} without a JSON object"
    raise CannotLook(what, "is `api` right?")


def _objects(answer: Answer, name: str) -> list[dict[str, Any]]:
    found = _object(answer).get(name)
    if isinstance(found, list):
        return [one for one in found if isinstance(one, dict)]
    raise CannotLook(f"{answer.url} answered without a list '{name}'", "is `api` right?")


def _code(answer: Answer, *path: str) -> str:
    """The error's code, where one stands there that is a word or a number: never a sentence."""
    place = _at(_document(answer), *path)
    text = str(place if isinstance(place, str | int) else "")
    return text if _WORD.fullmatch(text) else ""


def _at(place: Any, *path: str) -> Any:
    for name in path:
        place = place.get(name) if isinstance(place, dict) else None
    return place


def _domain(name: Any) -> str:
    return str(name).lower().rstrip(".")


def _word(value: Any) -> str:
    """A vendor's word for a state; what is none is not repeated."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "no state that is known"


def _claims(key: str) -> Mapping[str, Any]:
    """What a key says of itself that is a JSON Web Token; nothing for others."""
    parts = key.split(".")
    if len(parts) != 3:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


VENDORS: dict[str, Callable[[Key, Context], Told]] = {
    "resend": resend,
    "twilio": twilio,
    "stripe": stripe,
    "supabase_storage": supabase_storage,
    "s3": s3,
    "github": github,
}
"""Who is asked how, by name; `smtp` speaks another protocol."""
