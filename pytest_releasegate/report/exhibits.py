"""Evidence made ready for a page: pictures and texts as the record holds them, or why they are not shown."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_releasegate.report.text import human_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_releasegate.model import Evidence

__all__ = ["MOST_TEXT", "Exhibit", "Exhibits"]

MOST_TEXT = 20 * 1024
"""Bytes of one text that are shown."""
_MOST_PICTURE = 4 * 1024 * 1024
_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_TEXTS = frozenset({"application/json", "application/sql", "application/xml", "application/x-yaml", "application/yaml"})


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One piece of evidence on the page: a picture as data URI, or text, or neither; and a note to the reader."""

    evidence: Evidence
    picture: str = ""
    text: str | None = None
    note: str = ""


@dataclass
class Exhibits:
    """Turns evidence into exhibits; bytes that were shown once are named, not repeated."""

    body: Callable[[str], bytes | None]
    _shown: dict[str, str] = field(default_factory=dict)

    def show(self, evidence: Evidence, gate: str) -> Exhibit:
        """The exhibit of a gate's evidence."""
        body = self.body(evidence.sha256)
        if body is None:
            return Exhibit(evidence, note="The bytes were erased from the record; their digest remains.")
        if hashlib.sha256(body).hexdigest() != evidence.sha256:
            return Exhibit(evidence, note="The bytes in the record do not have this digest; they are not shown.")
        if evidence.sha256 in self._shown:
            return Exhibit(evidence, note=f"The same bytes are shown under gate {self._shown[evidence.sha256]}.")
        exhibit = _exhibit(evidence, body)
        if exhibit.picture or exhibit.text is not None:
            self._shown[evidence.sha256] = gate
        return exhibit


def _exhibit(evidence: Evidence, body: bytes) -> Exhibit:
    kind = evidence.media_type.partition(";")[0].strip().lower()
    if kind in _PICTURES:
        return _picture(evidence, kind, body)
    if kind.startswith("text/") or kind in _TEXTS or kind.endswith(("+json", "+xml")):
        return _text(evidence, body)
    return Exhibit(evidence, note="Not a picture or text: the bytes are in the record.")


def _picture(evidence: Evidence, kind: str, body: bytes) -> Exhibit:
    if len(body) > _MOST_PICTURE:
        return Exhibit(evidence, note=f"Larger than {human_size(_MOST_PICTURE)}: the bytes are in the record.")
    return Exhibit(evidence, picture=f"data:{kind};base64,{b64encode(body).decode()}")


def _text(evidence: Evidence, body: bytes) -> Exhibit:
    text = body[:MOST_TEXT].decode(errors="replace")
    cut = len(body) > MOST_TEXT
    note = f"Cut: the first {human_size(MOST_TEXT)} of {human_size(len(body))}; the record has the rest." if cut else ""
    return Exhibit(evidence, text=text, note=note)
