"""Types for check parameters: declared once, from which parser, schema, docs and errors are derived."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from datetime import timedelta
from math import isnan
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic_core import core_schema

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Duration",
    "Parameters",
    "Pattern",
    "Span",
    "Threshold",
    "format_duration",
    "format_seconds",
    "parse_duration",
    "text_schema",
]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LONGEST = timedelta(days=36525)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_THRESHOLD = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*(-?\d+(?:\.\d+)?)\s*(%|ms|s|m|h|d|x|)\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class Parameters(BaseModel):
    """The base of every check's parameters: frozen, closed, and documented by the text under each field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, str_strip_whitespace=True)


def parse_duration(value: Any) -> timedelta:
    """Read `500ms`, `30s`, `15m`, `24h`, `90d`, `1h30m`; raises `ValueError` otherwise."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"expected a duration such as 500ms, 30s, 15m, 24h or 90d, got '{text}'")
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if total > _LONGEST.total_seconds():
        raise ValueError(f"expected at most {_LONGEST.days}d, got '{text}'")
    return timedelta(seconds=total)


def format_duration(span: timedelta) -> str:
    """Write a duration in the largest unit that divides it, such as `90s`, `24h`, `500ms`."""
    total = span.total_seconds()
    for unit in ("w", "d", "h", "m", "s"):
        if total >= _UNITS[unit] and total % _UNITS[unit] == 0:
            return f"{int(total / _UNITS[unit])}{unit}"
    if total < 1:
        return f"{total * 1000:g}ms"
    return f"{span // timedelta(seconds=1)}.{span.microseconds:06d}".rstrip("0") + "s"


def format_seconds(seconds: float) -> str:
    """Write how long something was waited for, as people say it: `0.2 s`, `30 s`."""
    return f"{round(seconds, 1) or round(seconds, 3):g} s"


def _positive(span: timedelta) -> timedelta:
    if span <= timedelta(0):
        raise ValueError("expected a duration above zero")
    return span


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d|w))+$"}),
]
"""A span of time such as `500ms`, `30s`, `15m`, `24h`, `90d`."""


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as wrong:
        raise ValueError(f"expected a regular expression, got '{text}': {wrong}") from None
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression of Python's."""

Span = Annotated[Duration, AfterValidator(_positive)]
"""A duration above zero."""


def text_schema(kind: type, parse: Callable[[Any], Any], pattern: str | None = None) -> core_schema.CoreSchema:
    """How pydantic reads and writes a type that stands as its text in YAML."""
    return core_schema.no_info_before_validator_function(
        parse,
        core_schema.is_instance_schema(kind),
        serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        json_schema_input_schema=core_schema.str_schema(pattern=pattern),
    )


@dataclass(frozen=True, slots=True)
class Threshold:
    """A comparison with a number, such as `< 5%`, `<= 500ms`, `>= 3`; time is kept in seconds, percent as a share."""

    sign: str
    limit: float
    text: str

    @classmethod
    def parse(cls, value: Any) -> Threshold:
        """Read the text of a threshold; raises `ValueError` otherwise."""
        if isinstance(value, Threshold):
            return value
        match = _THRESHOLD.fullmatch(str(value))
        if not match:
            raise ValueError(f"expected a threshold such as '< 5%', '<= 500ms' or '>= 3', got '{value}'")
        sign, number, unit = match.groups()
        share = {"%": 100.0, "ms": 1000.0}.get(unit)
        limit = float(number) / share if share else float(number) * _UNITS.get(unit, 1.0)
        return cls(sign, limit, " ".join(str(value).split()))

    @classmethod
    def read(cls, value: Any) -> Threshold | None:
        """The threshold that a text is; None for any other value."""
        try:
            return cls.parse(value) if isinstance(value, str) else None
        except ValueError:
            return None

    def holds(self, value: float) -> bool:
        """Whether the value satisfies the comparison; a value that is not a number never does."""
        return not isnan(value) and _COMPARE[self.sign](value, self.limit)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """How pydantic reads and writes a threshold: as its text."""
        return text_schema(cls, cls.parse, _THRESHOLD.pattern)
