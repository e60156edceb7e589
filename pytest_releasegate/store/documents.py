"""What the record holds as documents that mean the same in every record: no row ids, each named by its digest.

A document is the RFC 8785 form of a JSON object with `format`, `kind`, `release` ([product, version, environment,
attempt], or null) and the fields of its kind. Rows that change in the record are told as the events that changed them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pytest_releasegate.claims import claim_from_document
from pytest_releasegate.statuses import Status
from pytest_releasegate.store.nouns import findings_from
from pytest_releasegate.store.values import clean, from_text, sha256, to_text, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["EVENTS", "FORMAT", "About", "Document", "plain", "read"]

FORMAT = "releasegate-record/1"

_LARGEST = 2**31 - 1

About = tuple[str, str, str, int]
"""Product, version, environment and attempt."""

EVENTS = frozenset({"opened", "replanned", "deployed", "facts", "stakeholders", "rolled_back", "changed"})
"""The kinds of documents that say what changed a release."""


@dataclass(frozen=True)
class Document:
    """One document; equal ones have the same digest."""

    kind: str
    about: About | None
    said: Mapping[str, Any]

    @cached_property
    def body(self) -> bytes:
        """Its bytes."""
        whole = {"format": FORMAT, "kind": self.kind, "release": list(self.about) if self.about else None}
        return plain({**whole, **self.said}).encode()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over its bytes, in hexadecimal."""
        return sha256(self.body)

    @property
    def name(self) -> str:
        """Where it lies in a bundle: a relative path that ends with its digest."""
        where = ["releases", *(_segment(str(part)) for part in self.about)] if self.about else []
        return "/".join([*where, self.kind, f"{self.digest}.json"])


def plain(value: Any) -> str:
    """The one spelling of plain JSON values (RFC 8785)."""
    import rfc8785

    text: str = rfc8785.dumps(value).decode()
    return text


def read(body: bytes) -> Document:
    """The document of these bytes; raises `ValueError` with what is wrong about it."""
    try:
        whole = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(whole, dict) or whole.pop("format", None) != FORMAT:
        raise ValueError(f"expected a document of the format {FORMAT}")
    kind, about = whole.pop("kind", None), whole.pop("release", None)
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise ValueError(f"it is of an unknown kind '{kind}'; a newer version may know it")
    _check_fields(kind, whole)
    document = Document(kind, _about(kind, about), whole)
    if not _is_plain(document, body):
        raise ValueError("it is not in its only form (RFC 8785, without NUL and lone surrogates)")
    return document


def _is_plain(document: Document, body: bytes) -> bool:
    try:
        return document.body == body and clean(document.said) == document.said
    except (ValueError, RecursionError):
        return False


def _about(kind: str, value: Any) -> About | None:
    if value is None and kind in {"audit", "push"}:
        return None
    if not isinstance(value, list) or [type(part) for part in value] != [str, str, str, int]:
        raise ValueError("release: expected product, version, environment and attempt")
    product, version, environment, attempt = value
    if not 0 < attempt <= _LARGEST:
        raise ValueError("release: expected an attempt from 1")
    return product, version, environment, attempt


def _check_fields(kind: str, said: Mapping[str, Any]) -> None:
    fields = _FIELDS[kind]
    if odd := sorted(fields.keys() ^ said.keys()):
        what = "unknown" if odd[0] in said else "missing"
        raise ValueError(f"'{odd[0]}' is {what} in a document of kind '{kind}'")
    for name, is_right in fields.items():
        try:
            fits = is_right(said[name])
        except (ValueError, LookupError, TypeError, AttributeError):
            fits = False
        if not fits:
            raise ValueError(f"'{name}' is malformed")


def _segment(text: str) -> str:
    # no folder above, no hidden one (which uploads of artifacts leave out), none without a name
    quoted = quote(text, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted or "%"


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return type(value) is int and abs(value) <= _LARGEST


def _size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _origin(value: Any) -> bool:
    return re.fullmatch("[0-9a-f]{16}", value) is not None


def _instant(value: Any) -> bool:
    return bool(to_text(from_text(value)) == value)


def _digest(value: Any) -> bool:
    return re.fullmatch("[0-9a-f]{64}", value) is not None


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _facts(value: Any) -> bool:
    return isinstance(value, dict) and all(type(each) is bool for each in value.values())


def _text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value.values()))


def _people(value: Any) -> bool:
    return isinstance(value, dict) and all(_texts(each) and len(each) == 2 for each in value.values())


def _changes(value: Any) -> bool:
    return isinstance(value, dict) and all(each is None or type(each) in {str, bool} for each in value.values())


def _findings(value: Any) -> bool:
    findings = findings_from(unpack(value))
    return all(_texts([each.name, each.expected, each.actual]) for each in findings)


def _evidence(value: Any) -> bool:
    return all(_texts([name, media, digest]) and _size(size) and _digest(digest) for name, media, digest, size in value)


def _kept(value: Any) -> bool:
    return isinstance(value, dict) and unpack(list(value.values())) is not None


def _status(value: Any) -> bool:
    return bool(Status(value) == value)


def _seconds(value: Any) -> bool:
    return type(value) in {int, float}


def _claim(value: Any) -> bool:
    return claim_from_document(value) is not None and isinstance(value["release"], dict)


def _step(value: Any) -> bool:
    return value in {"closed", "reopened"}


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


_FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "opened": {
        "opened_at": _instant,
        "git_commit": _text,
        "git_branch": _text,
        "window_start": _or_none(_instant),
        "window_end": _or_none(_instant),
        "facts": _facts,
        "derived": _text_map,
        "profile": _text,
        "authors": _texts,
        "plan_digest": _text,
        "plan": _digest,
    },
    "replanned": {
        "at": _instant,
        "person": _text,
        "reason": _text,
        "replaces": _text,
        "plan_digest": _text,
        "plan": _digest,
        "derived": _or_none(_text_map),
    },
    "deployed": {"deployed_at": _instant, "person": _text},
    "facts": {"at": _instant, "person": _text, "facts": _facts},
    "stakeholders": {"at": _instant, "people": _people},
    "rolled_back": {"at": _instant, "person": _text, "reason": _text},
    "changed": {"at": _instant, "what": _text, "values": _changes},
    "run": {
        "started_at": _instant,
        "expression": _text,
        "scope": _texts,
        "host": _text,
        "pid": _number,
        "tool_version": _text,
    },
    "run_end": {"run": _digest, "ended_at": _instant, "decision": _text, "exit_code": _or_none(_number)},
    "result": {
        "run": _digest,
        "origin": _origin,
        "order": _number,
        "gate": _text,
        "case": _text,
        "target": _text,
        "status": _status,
        "started_at": _instant,
        "seconds": _or_none(_seconds),
        "attempts": _number,
        "message": _text,
        "findings": _findings,
        "gate_digest": _text,
        "code": _text,
        "evidence": _evidence,
        "kept": _kept,
    },
    "claim": {"claim": _claim, "file": _or_none(_digest), "evidence": _or_none(_digest)},
    "step": {
        "run": _or_none(_digest),
        "phase": _text,
        "step": _text,
        "event": _step,
        "at": _instant,
        "reason": _text,
    },
    "start": {"run": _digest, "gate": _text, "case": _text, "at": _instant},
    "audit": {
        "at": _instant,
        "user_id": _text,
        "action_type": _text,
        "resource_type": _text,
        "action_description": _text,
        "severity": _text,
    },
    "push": {"files": _texts},
}
"""The fields of each kind, with what each must be."""
