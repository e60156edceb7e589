"""How values are written into the record: canonical bytes, exact JSON, UTC instants, texts any database takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import singledispatch
from math import isfinite
from typing import Any

__all__ = ["canonical", "clean", "clean_text", "from_text", "pack", "sha256", "to_text", "unpack"]

_TAG = "~"
_LARGEST = 2**53 - 1


def sha256(body: bytes) -> str:
    """The SHA-256 digest in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


def to_text(at: datetime) -> str:
    """An instant as UTC ISO 8601 text of fixed width, which sorts by time; raises `ValueError` when it is not aware."""
    if at.tzinfo is None:
        raise ValueError(f"instant {at.isoformat()}: expected an offset from UTC, got none")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def from_text(text: str) -> datetime:
    """The aware UTC instant that `to_text` wrote."""
    return datetime.fromisoformat(text).astimezone(UTC)


def clean_text(text: str) -> str:
    """The text with lone surrogates and NUL replaced by something visible, since PostgreSQL takes neither."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\u2400")


def clean(value: Any) -> Any:
    """The value with every text in it cleaned."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([clean(item) for item in value]) if type(value) in (list, tuple) else value
    return value


def canonical(value: Any) -> bytes:
    """The one spelling of a value in JSON (RFC 8785), of anything that `pack` takes."""
    import rfc8785

    body: bytes = rfc8785.dumps(pack(value))
    return body


def exact(value: Any) -> str:
    """The value as ASCII JSON that `unpack(json.loads(...))` gives back unchanged."""
    return json.dumps(pack(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def _tagged(tag: str, value: Any) -> dict[str, Any]:
    return {_TAG: tag, "v": value}


@singledispatch
def pack(value: Any) -> Any:
    """The value in JSON that every reader reads alike; what JSON has no word for is tagged, an object is shown."""
    return _tagged("repr", clean_text(repr(value)))


@pack.register
def _(value: None) -> Any:
    return value


@pack.register
def _(value: str) -> Any:
    plain = "".join(value)
    try:
        plain.encode()
    except UnicodeEncodeError:
        return _tagged("text", plain.encode("utf-8", "surrogatepass").hex())
    return plain


@pack.register
def _(value: bool) -> Any:
    return value


@pack.register
def _(value: int) -> Any:
    return int(value) if abs(value) <= _LARGEST else _tagged("int", str(int(value)))


@pack.register
def _(value: float) -> Any:
    return float(value) if isfinite(value) else _tagged("float", repr(float(value)))


@pack.register(Mapping)
def _(value: Mapping[Any, Any]) -> Any:
    plain = all(isinstance(pack(key), str) for key in value)
    if plain and _TAG not in value:
        return {"".join(key): pack(item) for key, item in value.items()}
    return _tagged("dict", [[pack(key), pack(item)] for key, item in value.items()])


@pack.register(list)
def _(value: list[Any]) -> Any:
    return [pack(item) for item in value]


@pack.register(tuple)
def _(value: tuple[Any, ...]) -> Any:
    return _tagged("tuple", [pack(item) for item in value])


@pack.register(set)
@pack.register(frozenset)
def _(value: set[Any]) -> Any:
    # sets have no order of their own; the spelling must not depend on the hash seed
    items = sorted((pack(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return _tagged("frozenset" if isinstance(value, frozenset) else "set", items)


@pack.register
def _(value: bytes) -> Any:
    return _tagged("bytes", value.hex())


@pack.register
def _(value: datetime) -> Any:
    return _tagged("datetime", value.isoformat())


@pack.register
def _(value: date) -> Any:
    return _tagged("date", value.isoformat())


@pack.register
def _(value: timedelta) -> Any:
    return _tagged("timedelta", [value.days, value.seconds, value.microseconds])


@pack.register
def _(value: Decimal) -> Any:
    return _tagged("decimal", str(value))


_READ: dict[str, Callable[[Any], Any]] = {
    "repr": str,
    "text": lambda value: bytes.fromhex(value).decode("utf-8", "surrogatepass"),
    "int": int,
    "float": float,
    "dict": lambda value: {unpack(key): unpack(item) for key, item in value},
    "tuple": lambda value: tuple(unpack(item) for item in value),
    "set": lambda value: {unpack(item) for item in value},
    "frozenset": lambda value: frozenset(unpack(item) for item in value),
    "bytes": bytes.fromhex,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "timedelta": lambda value: timedelta(*value),
    "decimal": Decimal,
}


def unpack(value: Any) -> Any:
    """What was given to `pack`; raises `ValueError` or `LookupError` for what it never wrote."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if isinstance(value, dict):
        if _TAG in value:
            return _READ[value[_TAG]](value["v"])
        return {key: unpack(item) for key, item in value.items()}
    return value
