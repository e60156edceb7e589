"""What lies under a prefix of a bucket: one signed listing over the S3 API, of any service that speaks it."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import Field

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.http import Answer, Query, ask, public_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context

__all__ = ["Object", "S3Prefix", "bucket_url", "contents", "objects", "signed", "value"]

_EMPTY = hashlib.sha256(b"").hexdigest()
_MOST_PAGES = 50


class S3Prefix(Parameters):
    """A bucket and a prefix in it."""

    bucket: str = Field(min_length=1)
    """The bucket's name; may hold references."""
    prefix: str = ""
    """What the keys of the backups start with, such as `ehr/nightly-`; may hold references."""
    region: str = "us-east-1"
    """The bucket's region."""
    endpoint: str = ""
    """The URL of another service than Amazon's, such as `https://minio.internal:9000`; may hold references."""
    access_key: str = "${env:AWS_ACCESS_KEY_ID}"
    """The id of the key to sign with."""
    secret_key: str = Field(default="${env:AWS_SECRET_ACCESS_KEY}", repr=False)
    """The key to sign with, by reference."""
    session_token: str = Field(default="", repr=False)
    """The token that temporary keys come with, by reference."""


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a bucket."""

    key: str
    modified: datetime
    size: int


@dataclass(frozen=True, slots=True)
class Signer:
    """A key, its region, and the token that temporary keys come with."""

    access: str
    secret: str
    region: str
    token: str = ""


def objects(source: S3Prefix, context: Context) -> list[Object]:
    """All objects under the prefix; raises `CannotLook` where the service refuses or there are too many to list."""
    signer = Signer(
        context.resolve(source.access_key),
        context.resolve(source.secret_key),
        source.region,
        context.resolve(source.session_token),
    )
    texts = (source.bucket, source.endpoint, source.prefix)
    bucket, endpoint, prefix = (context.resolve(text, secret=False) for text in texts)
    url = bucket_url(bucket, source.region, endpoint)
    found: list[Object] = []
    token = ""
    for _ in range(_MOST_PAGES):
        parts = {"list-type": "2", "prefix": prefix, **({"continuation-token": token} if token else {})}
        answer = _asked(url, parts, signer, context)
        found += [_object(text) for text in contents(answer.text)]
        token = value("NextContinuationToken", answer.text)
        if not token:
            return found
    raise CannotLook(f"{bucket}/{prefix} holds more than {len(found)} objects", "name a longer `prefix`")


def bucket_url(bucket: str, region: str, endpoint: str) -> str:
    """Where a bucket is; one with dots in its name is not under the certificate of Amazon's other buckets."""
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}"
    return (
        f"https://s3.{region}.amazonaws.com/{bucket}"
        if "." in bucket
        else f"https://{bucket}.s3.{region}.amazonaws.com/"
    )


def signed(url: str, query: dict[str, str], signer: Signer, now: datetime) -> tuple[str, dict[str, str]]:
    """The URL with its query, and the headers that sign a GET of it (AWS Signature Version 4)."""
    parts = urlsplit(url)
    text = "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))
    stamp, day = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}"
    headers = {"host": _host(parts), "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    headers |= {"x-amz-security-token": signer.token} if signer.token else {}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join(["GET", quote(parts.path or "/"), text, lines, names, _EMPTY])
    scope = f"{day}/{signer.region}/s3/aws4_request"
    whole = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{signer.secret}".encode()
    for part in (day, signer.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, whole.encode(), "sha256").hex()
    credential = f"AWS4-HMAC-SHA256 Credential={signer.access}/{scope}"
    del headers["host"]
    headers["Authorization"] = f"{credential},SignedHeaders={names},Signature={signature}"
    return f"{url}?{text}", headers


def _host(parts: SplitResult) -> str:
    """The Host header as it is sent: in small letters, and without the port that the scheme means."""
    host, usual = parts.netloc.rpartition("@")[2].lower(), {"https": ":443", "http": ":80"}
    return host.removesuffix(usual.get(parts.scheme, ":"))


def _asked(url: str, query: dict[str, str], signer: Signer, context: Context) -> Answer:
    # the signature holds for minutes around the real time, whatever a test's clock says
    whole, headers = signed(url, query, signer, datetime.now(UTC))
    asked = Query(url=whole, headers=headers, max_size=8 * 1024 * 1024)
    answer = ask(asked, clock=context.clock, limit=context.remaining(30))
    if answer.status != 200:
        code = value("Code", answer.text) or answer.reason
        hint = f"it says: {value('Message', answer.text)}" if value("Message", answer.text) else "check its keys"
        raise CannotLook(f"{public_url(url)} answered {answer.status} {code}", hint[:300])
    if "<ListBucketResult" not in answer.text:
        raise CannotLook(f"{public_url(url)} did not answer with a listing", "does the endpoint speak S3?")
    return answer


def _object(text: str) -> Object:
    modified = datetime.fromisoformat(value("LastModified", text))
    return Object(value("Key", text), modified, int(value("Size", text)))


def value(tag: str, text: str) -> str:
    """What stands in the first of these tags; nothing without one."""
    start = text.find(f"<{tag}>")
    end = text.find(f"</{tag}>", start) if start >= 0 else -1
    return unescape(text[start + len(tag) + 2 : end]) if end >= 0 else ""


def contents(text: str) -> Iterator[str]:
    """The objects of a listing, as they are written; searched once from its beginning to its end."""
    start = text.find("<Contents>")
    while start >= 0 and (end := text.find("</Contents>", start)) >= 0:
        yield text[start + len("<Contents>") : end]
        start = text.find("<Contents>", end)
