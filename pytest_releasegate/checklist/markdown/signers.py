"""Lines on which somebody is to sign: whom they name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.markdown import words

if TYPE_CHECKING:
    from pytest_releasegate.checklist.markdown.bullets import Bullet

__all__ = ["role_of_line", "role_to_sign", "signer"]

_ROLE = re.compile(
    r"^(?:[\w&/-]+ ){0,4}?(?:lead|manager|owner|engineer|administrator|admin|officer|director|"
    r"team|dba|cto|ciso|ceo|cio|vp|architect|qa|security|product|engineering|operations|ops|support|legal|"
    r"compliance|stakeholders?|on-?call)(?: (?:sign[- ]?off|approval|approved|signed off|approves|signs off))?\W*$",
    re.IGNORECASE,
)
_TAIL = re.compile(r"[\s:,-]*(?:sign[- ]?off|approval|approved|signed off|approves|signs off)?[\s:_-]*$", re.IGNORECASE)
_TO_FILL = re.compile(r"[_.\u2026]{2,}.*$", re.DOTALL)
_SIGNED = re.compile(
    r"^\W*(?:signed|sign[- ]?off|approved by|approval)\b[^()]*\((?P<role>[^()]{2,60})\)", re.IGNORECASE
)


def role_of_line(text: str) -> str:
    """The role that a line consists of, before what is to be filled in by hand; empty when it is no role."""
    shown = words.plain(_TO_FILL.sub("", text)).rstrip(" :")
    return _TAIL.sub("", shown) if _ROLE.match(shown) else ""


def role_to_sign(text: str) -> str:
    """The role of a paragraph such as `Sign-off: ____ (QA Lead)`; empty when it is none."""
    if "__" not in text and ".." not in text:
        return ""
    found = _SIGNED.match(words.plain(re.sub(r"_{2,}", " ", text)))
    return found["role"].strip() if found else ""


def signer(bullet: Bullet) -> str:
    """Whom a line with a place to sign under it names; empty where there is none."""
    under = [*bullet.details, *(one.text for sub in bullet.subs for one in sub.inside())]
    lead = words.plain(bullet.text).partition(":")[0].strip()
    signed = bool(under) and all(_TO_FILL.search(line) for line in under)
    return lead if signed and len(lead.split()) <= 4 else ""
