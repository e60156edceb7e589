"""`credential`: whether a vendor takes the key that the product has, of the mode that fits the environment."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, format_duration
from pytest_releasegate.sources.answers import Away
from pytest_releasegate.sources.smtp import sign_in
from pytest_releasegate.sources.text import OneOrMore
from pytest_releasegate.sources.vendors import VENDORS, Key, Told, covers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Credential"]

_SECRET = ("key", "user", "token")
_SHORTEST_KEY = 6
_TAKES: dict[str, tuple[str, ...]] = {
    "resend": ("domain",),
    "twilio": ("account", "user", "mode", "reason"),
    "stripe": ("mode", "reason"),
    "supabase_storage": ("bucket",),
    "s3": ("bucket", "user", "region", "token"),
    "smtp": ("user",),
    "github": (),
}
_NEEDS: dict[str, tuple[str, ...]] = {
    "twilio": ("account",),
    "supabase_storage": ("api", "bucket"),
    "s3": ("bucket", "user"),
}


class Credential(Parameters):
    """One key, tried with one read-only call; nothing is sent, charged or written; the denominator is the keys tried.

    ```yaml
    credential: {service: stripe, key: "${env:STRIPE_SECRET_KEY}"}
    ```
    """

    kind: ClassVar[str] = "credential"
    waits: ClassVar[bool] = True

    service: Literal["resend", "twilio", "stripe", "supabase_storage", "s3", "smtp", "github"]
    """Whose key it is."""
    key: str = Field(repr=False)
    """The key, token or password, by reference such as `${env:STRIPE_SECRET_KEY}`; never itself."""
    user: str = ""
    """Who signs in: the SMTP user, the S3 access key's id, or the SID of a Twilio API key where `key` is its secret."""
    account: str = ""
    """The SID of Twilio's account; may hold references."""
    token: str = Field(default="", repr=False)
    """The session token that temporary S3 keys come with, by reference."""
    bucket: str = ""
    """The bucket that S3 and Supabase storage are asked for."""
    domain: str = ""
    """The domain that must be verified with Resend."""
    region: str = ""
    """The region of an S3 bucket."""
    api: str = ""
    """The URL of the Supabase project, another S3 service or the mail server; else only of a stand-in on loopback."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""
    mode: Literal["", "live", "test", "any"] = ""
    """The mode of Stripe's or Twilio's key; by default `live` on a protected environment, and `test` on all others."""
    reason: str = ""
    """Why the mode is another than the environment asks for."""
    scopes: Annotated[tuple[str, ...], OneOrMore] = ()
    """What the key must be allowed, as the vendor says: GitHub's scopes, Supabase's role, Resend's `send` or `full`."""
    expires_in: Duration = timedelta(days=14)
    """The least time until the key expires, where the vendor tells when."""

    @field_validator("key", "token")
    @classmethod
    def _by_reference(cls, text: str) -> str:
        if text and "${" not in text:
            raise ValueError("expected a reference such as ${env:NAME}, got the secret itself")
        return text

    @model_validator(mode="after")
    def _only_its_own(self) -> Credential:
        """What a service does not look at would seem to be looked at."""
        taken = {*_TAKES[self.service], "service", "key", "api", "ca", "scopes", "expires_in"}
        for name in _NEEDS.get(self.service, ()):
            if not getattr(self, name):
                raise ValueError(f"{self.service} needs `{name}`; it takes {', '.join(sorted(taken))}")
        for name in type(self).model_fields:
            if name not in taken and getattr(self, name):
                raise ValueError(f"{self.service} takes no `{name}`; it takes {', '.join(sorted(taken))}")
        return self

    @model_validator(mode="after")
    def _with_a_reason(self) -> Credential:
        if self.mode and not self.reason:
            raise ValueError(f"`mode: {self.mode}` needs a `reason`: the environment says which mode fits")
        if self.service == "smtp" and not (self.api and self.user):
            raise ValueError("smtp needs `api`, such as smtp://mail.example:587, and `user`")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Try the key once, and judge what the vendor tells."""
        ask = sign_in if self.service == "smtp" else VENDORS[self.service]
        try:
            told = ask(self._key(context), context)
        except Away as away:
            yield find(f"{self.service} key", expected="valid", actual=str(away), ok=Ok.CANNOT_TELL)
            return
        context.attach("credential.json", "application/json", self._evidence(told))
        yield find(f"{self.service} key", expected="valid", actual=told.said, ok=told.valid)
        if told.valid is not False:
            yield from self._judged(told, context)
        yield counted("keys", 1)

    def _key(self, context: Context) -> Key:
        names = ("key", "user", "account", "bucket", "domain", "region", "token", "api")
        found = {name: context.resolve(getattr(self, name), secret=name in _SECRET) for name in names}
        if len(found["key"]) < _SHORTEST_KEY or found["key"] != found["key"].strip():
            hint = "it is too short, or has white space around it: look at how it is set"
            raise CannotLook(f"{self.key}: the value is no key", hint)
        if found["key"] in context.secrets.scrub(found["key"]):
            context.secrets.add(found["key"], "key")  # it stands in environments.yaml itself
        for text in (found["key"], f"{found['user'] or found['account']}:{found['key']}"):
            context.secrets.add(base64.b64encode(text.encode()).decode(), "key")  # as it is sent, and may be echoed
        return Key(**found, ca=self.ca)

    def _judged(self, told: Told, context: Context) -> Iterator[Finding]:
        for what, expected, actual, ok in told.more:
            yield find(what, expected=expected, actual=actual, ok=ok)
        if told.mode and self.mode != "any":
            yield self._mode(told.mode, context)
        if told.tells_expiry:
            yield self._expiry(told.expires, context.clock.now())
        for scope in self.scopes:
            yield _scope(scope, told.scopes)

    def _mode(self, mode: str, context: Context) -> Finding:
        fits = "live" if context.environment.protected else "test"
        expected = self.mode or fits
        why = f" ({self.reason})" if self.mode else f" (environment '{context.environment.name}')"
        ok = Ok.CANNOT_TELL if mode == "unknown" else mode == expected
        return find("mode", expected=f"{expected}{why}", actual=mode, ok=ok)

    def _expiry(self, until: datetime | None, now: datetime) -> Finding:
        expected = f"in {format_duration(self.expires_in)} or later"
        if until is None:
            return find("expiry", expected=expected, actual="never", ok=True)
        days = (until - now).days
        actual = f"{until:%Y-%m-%d}, {f'in {days}' if days >= 0 else f'{-days} of them ago'} days"
        if until < now:
            actual = f"{until:%Y-%m-%d}, which is over"
        return find("expiry", expected=expected, actual=actual, ok=until - now >= self.expires_in)

    def _evidence(self, told: Told) -> bytes:
        kept = {
            "service": self.service,
            "valid": told.valid if isinstance(told.valid, bool) else str(told.valid),
            "said": told.said,
            "mode": told.mode,
            "expires": told.expires.isoformat() if told.expires else "",
            "scopes": list(told.scopes or ()),
        }
        return json.dumps(kept, indent=2).encode()


def _scope(scope: str, known: tuple[str, ...] | None) -> Finding:
    if known is None:
        return find(f"scope {scope}", expected="granted", actual="unknown: not told of this key", ok=Ok.CANNOT_TELL)
    ok = any(covers(granted, scope) for granted in known)
    actual = "granted" if ok else f"only {', '.join(known) or 'none'}"
    return find(f"scope {scope}", expected="granted", actual=actual, ok=ok)
