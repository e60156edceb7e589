"""What a request carries beside its URL: who asks, by reference, and a body."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from pydantic import AfterValidator, Field, JsonValue, StrictStr, model_validator

from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.text import fill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_releasegate.check import Context

__all__ = ["Auth", "Headers", "authorization", "form_body", "json_body", "raw_body"]


def _by_reference(text: str) -> str:
    if "${env:" not in text and "${value:" not in text:
        raise ValueError("a secret stands in no gate file: name it by reference, such as ${env:TOKEN}")
    return text


def _no_secrets(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if _SECRET_HEADER.search(name) and "${" not in value:
            raise ValueError(
                f"header '{name}': a secret stands in no gate file; name it by reference, as ${{env:NAME}}"
            )
    return headers


Headers = Annotated[dict[str, str], AfterValidator(_no_secrets)]
"""Headers to send; those that say who asks hold references."""
_SECRET_HEADER = re.compile(r"^(proxy-)?authorization$|api[-_]?key$|token$|secret", re.IGNORECASE)

Secret = Annotated[StrictStr, AfterValidator(_by_reference)]


class Basic(Parameters):
    """A user name and a password."""

    user: Annotated[StrictStr, Field(min_length=1, pattern=r"^(\$\{[^}]*\}|[^:$])+$")]
    """The user name, or a reference to it."""
    password: Secret
    """The password's reference, such as `${env:OPS_PASSWORD}`."""


class Auth(Parameters):
    """Who asks."""

    basic: Basic | None = None
    """A user name and a password, as `{user: ops, password: '${env:OPS_PASSWORD}'}`."""
    bearer: Secret | None = None
    """The token's reference, such as `${env:TOKEN}`."""

    @model_validator(mode="after")
    def _one(self) -> Auth:
        if (self.basic is None) == (self.bearer is None):
            raise ValueError("expected either `basic` or `bearer`")
        return self


def authorization(auth: Auth | None, context: Context) -> dict[str, str]:
    """The header that says who asks; its value is struck out of whatever leaves the process."""
    if auth is None:
        return {}
    if auth.bearer is not None:
        return {"Authorization": f"Bearer {context.resolve(auth.bearer)}"}
    assert auth.basic is not None  # noqa: S101  the model has seen it
    pair = f"{context.resolve(auth.basic.user, secret=False)}:{context.resolve(auth.basic.password)}"
    packed = base64.b64encode(pair.encode()).decode()
    context.secrets.add(packed, "auth.basic")
    return {"Authorization": f"Basic {packed}"}


def json_body(value: JsonValue, context: Context) -> tuple[str, bytes]:
    """The media type and the bytes of a JSON body, with references and the release put in."""
    return "application/json", json.dumps(_filled(value, context)).encode()


def form_body(fields: Mapping[str, str], context: Context) -> tuple[str, bytes]:
    """The media type and the bytes of a form, with references and the release put in."""
    filled = {name: _filled(value, context) for name, value in fields.items()}
    return "application/x-www-form-urlencoded", urlencode(filled).encode()


def raw_body(text: str, context: Context) -> bytes:
    """The text as UTF-8, with references and the release put in."""
    return str(_filled(text, context)).encode()


def _filled(value: Any, context: Context) -> Any:
    if isinstance(value, str):
        return fill(context.resolve(value), context.release)
    if isinstance(value, dict):
        return {key: _filled(part, context) for key, part in value.items()}
    return [_filled(part, context) for part in value] if isinstance(value, list) else value
