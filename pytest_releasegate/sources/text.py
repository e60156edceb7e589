"""Text that a plan expects of a document or an answer: what the release fills in, where it occurs, how much is kept."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, StringConstraints
from pydantic_core import core_schema

from pytest_releasegate.errors import CannotLook, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

    from pytest_releasegate.model import Release

__all__ = [
    "EVIDENCE_SIZE",
    "Expected",
    "OneOrMore",
    "cut",
    "decoded",
    "fill",
    "known",
    "listed",
    "mentions_release",
    "occurs",
    "shown",
    "visible",
]

EVIDENCE_SIZE = 64 * 1024
"""The most bytes of one answer or document that are kept as evidence."""

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_CHARSET = re.compile(r"charset=[\s\"']*([^\s\"';]+)", re.IGNORECASE)
_CHARSET_WITHIN = re.compile(rb"<meta[^>]+charset=[\s\"']*([A-Za-z0-9_-]+)", re.IGNORECASE)
_NO_CHARSETS = ("idna", "punycode", "unicode-escape", "unicode_escape", "raw-unicode-escape", "raw_unicode_escape")
"""Encodings of Python that no page has: some are slow on purpose, some warn."""
_PLACEHOLDER = re.compile(r"\$\{release\.(?P<field>[^}]*)\}")
_FIELDS = ("version", "git_commit")
_NO_DIGIT_BEFORE = r"(?<![0-9])(?<![0-9]\.)"
_NO_LONGER_VERSION = r"(?![0-9A-Za-z]|[-+][0-9A-Za-z]|\.(?:[0-9]|dev|post|rc))"


def known(text: str) -> str:
    """The text itself; raises `ValueError` when it holds a placeholder that no release can fill."""
    for match in _PLACEHOLDER.finditer(text):
        if match["field"] not in _FIELDS:
            raise ValueError(f"unknown placeholder {match[0]}; {nearest(match['field'], _FIELDS)}")
    return text


def listed(value: Any) -> Any:
    """A tuple, of one where a single value was written; strict validation takes no list after a Python function."""
    if isinstance(value, (str, int)):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Expected = Annotated[str, StringConstraints(min_length=1), AfterValidator(known)]
"""A text that is not empty and may hold `${release.version}` and `${release.git_commit}`."""


class _OneOrMore:
    """Reads a single value as a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(listed, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        whole = handler(schema)
        return {"anyOf": [whole["items"], whole]}


OneOrMore = _OneOrMore()
"""Reads a single value as a list of one."""


def mentions_release(text: str) -> bool:
    """Whether the release fills in a part of this text."""
    return _PLACEHOLDER.search(text) is not None


def decoded(body: bytes, media_type: str) -> str:
    """The text of a body as browsers read it: by its byte order mark, the charset that is named, or as UTF-8."""
    for mark, encoding in _MARKS.items():
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, errors="replace")
    found = _CHARSET.search(media_type)
    within = _CHARSET_WITHIN.search(body[:1024]) if not found and "html" in media_type.lower() else None
    name = found[1] if found else within[1].decode() if within else "utf-8"
    try:
        unusual = codecs.lookup(name).name in _NO_CHARSETS
        return body.decode("utf-8" if unusual else name, errors="replace")
    except (LookupError, ValueError):
        return body.decode(errors="replace")


def fill(text: str, release: Release, put: Callable[[str], str] = str) -> str:
    """The text with the release's values, each passed through `put`; raises `CannotLook` when one is not known."""

    def value(match: re.Match[str]) -> str:
        found = str(getattr(release, match["field"]))
        if not found:
            raise CannotLook(f"{match[0]}: release {release.name} knows no {match['field']}", "open it with its commit")
        return put(found)

    return _PLACEHOLDER.sub(value, text)


def occurs(template: str, text: str, release: Release) -> bool:
    """Whether the template stands in the text, white space aside; `1.4.0` does not stand in `11.4.0` or `1.4.0-rc1`."""
    parts = _PLACEHOLDER.split(" ".join(template.split()))
    pattern = "".join(
        _NO_DIGIT_BEFORE * (not parts[0]) + re.escape(fill(f"${{release.{part}}}", release)) + _NO_LONGER_VERSION
        if index % 2
        else re.escape(part)
        for index, part in enumerate(parts)
    )
    return re.search(pattern, " ".join(text.split())) is not None


def cut(body: bytes, most: int = EVIDENCE_SIZE) -> bytes:
    """At most so many bytes, and a last line that says how many there were when some are missing."""
    if len(body) <= most:
        return body
    return body[:most] + f"\n[cut: the first {most} of {len(body)} bytes]\n".encode()


def shown(values: Sequence[str], most: int = 5) -> str:
    """The first few values in one line, and how many more there are."""
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(values[:most]) + more


def visible(text: str) -> str:
    """The text with what moves a terminal's cursor, or cannot be seen, written as an escape."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
