"""What the words and signs of a line say: its plain title, a box before it, a short name made from it."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

__all__ = ["SHORT", "TICKED", "UNTICKED", "box", "fact", "marker", "number", "plain", "slug", "title"]

UNTICKED = "☐⬜🔲◻◽▢□🗆❌✗✘⏳🚧⚪"
TICKED = "✅☑✔✓🗹☒🟢🟩"

_SIGN = re.compile(rf"(?P<sign>[{UNTICKED}{TICKED}])\ufe0f?(?:\s+|$)")
_BOX = re.compile(r"\[(?P<mark>[ xX~/-]?)\](?:\s+|$)")
_CODE = re.compile(r"(`+[^`]*`+)")
_COMMENT = re.compile(r"<!--.*?(?:-->|$)", re.DOTALL)
_LINK = re.compile(r"!?\[([^\]\[]*)\]\([^()]*\)|!?\[([^\]\[]+)\]\[[^\]\[]*\]")
_TAG = re.compile(r"</?[A-Za-z][\w-]{0,30}(?:\s[^<>]*)?/?>")
_STRONG = re.compile(r"\*{2,3}(?=\S)(.+?)(?<=\S)\*{2,3}|(?<!\w)_{2,3}(?=\S)(.+?)(?<=\S)_{2,3}(?!\w)")
_WEAK = re.compile(r"(?<![\w*])\*(?=\S)([^*]+?)(?<=\S)\*(?![\w*])|(?<!\w)_(?=\S)([^_]+?)(?<=\S)_(?!\w)")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]+")
_ORNAMENT = re.compile(r"^(?:[^\w\s`(\[<>'\"$#@&+~/.%=*-]\ufe0f?[\u200d\ufe0f]*\s*)+")
_NUMBER = re.compile(
    r"^(?:(?:step|section|part|phase|stage|task|item|gate|check)\s+)?"
    r"(?P<number>\d{1,3}(?:\.\d{1,3})*|[A-Z](?=[.):]))(?P<end>[.):]+|\s+[-\u2013\u2014:]|(?=\s))[\s:\u2013\u2014-]*(?=\S)",
    re.IGNORECASE,
)
_LABELLED = re.compile(r"^(?:step|section|part|phase|stage|task)\s+\d", re.IGNORECASE)
SHORT = 16
"""How long a name made from words is."""
_LONGEST_TITLE = 300
_LONGEST_LINE = 2000


def box(text: str) -> tuple[bool | None, str]:
    """Whether a line begins with a box or a status sign and is ticked (None: neither), and the rest of the line."""
    found = _BOX.match(text)
    if found:
        return found["mark"] in ("x", "X"), text[found.end() :]
    found = _SIGN.match(text)
    return (found["sign"] in TICKED, text[found.end() :]) if found else (None, text)


@lru_cache(4096)
def title(text: str) -> str:
    """A line as a reader sees it, in one line: without emphasis, links and comments; code keeps its marks."""
    parts = _CODE.split(_COMMENT.sub(" ", text[:_LONGEST_LINE]))
    shown = "".join(part if index % 2 else _unmarked(part) for index, part in enumerate(parts))
    shown = " ".join(_STRONG.sub(_inner, _UNSEEN.sub(" ", shown)).split())
    return shown if len(shown) <= _LONGEST_TITLE else shown[: _LONGEST_TITLE - 1].rstrip() + "…"


def plain(text: str) -> str:
    """The title without code marks and without signs before it, for looking at its words."""
    return _ORNAMENT.sub("", title(text).replace("`", "")).strip()


def number(text: str) -> tuple[str, str]:
    """The number that a line gives itself (`3.`, `1.2`, `Step 4:`, `B.`), and the rest; empty where there is none."""
    found = _NUMBER.match(text)
    if not found:
        return "", text
    bare = not found["end"] and not _LABELLED.match(text) and "." not in found["number"]
    return ("", text) if bare else (found["number"].upper(), text[found.end() :])


def slug(text: str, longest: int = SHORT) -> str:
    """A short name of letters, digits and dashes, without small words; a digest where there are no such letters."""
    words = re.findall(r"(?:(?:option|alternative|variant|plan) a\b|[a-z0-9]+)", _folded(text).replace("'", ""))
    words = [word.replace(" ", "-") for word in words]
    telling = [word for word in words if word not in _SMALL]
    words = telling or words
    name = ""
    for word in words:
        if name and len(name) + 1 + len(word) > longest:
            break
        name = f"{name}-{word[:longest]}" if name else word[:longest]
    return name or "x" + hashlib.sha256(text.encode()).hexdigest()[:8]


_SMALL_WORDS = "a an the of to for and or in on at by with is are was were be been it its this that all"
_SMALL = frozenset(_SMALL_WORDS.split())
_ENDINGS = r"complete|valid|ready|sent|done|rolled back|working|taken|run|\w+ed"
_LEADING = (
    "the|this|a|an|we|you|are|is|was|were|there|has|have|contains?|includes?|using|used|release|any|it|requires?|"
    "needs?|involves?|affects?|only|for"
)


def fact(text: str) -> str:
    """A fact's name made from words, such as `billing_changes`."""
    words = re.sub(r"[^a-z0-9]+", " ", _folded(text)).strip()
    while (less := re.sub(rf"^(?:{_LEADING})\s+(?=\S)|(?<=\S)\s+(?:{_ENDINGS})$", "", words)) != words:
        words = less
    name = _short(words, 40)
    if not name or name in ("and", "or", "not"):
        return "f_" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return name if name[0].isalpha() else f"is_{name}"[:40]


def marker(text: str) -> str:
    """A name of lower-case letters, digits and underscores made from words."""
    name = _short(slug(text).replace("-", " "), 34)
    return name if name[0].isalpha() else f"one_{name}"


def _short(words: str, longest: int) -> str:
    """As many of the words as fit, joined by underscores."""
    name = ""
    for word in words.split():
        if name and len(name) + 1 + len(word) > longest - 3:
            break
        name = f"{name}_{word}" if name else word[: longest - 3]
    return name


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKD", plain(text)).encode("ascii", "ignore").decode().lower()


def _unmarked(text: str) -> str:
    text = _TAG.sub(" ", _LINK.sub(lambda match: match[1] or match[2] or "", text))
    return _WEAK.sub(_inner, _STRONG.sub(_inner, text)).replace("~~", "")


def _inner(match: re.Match[str]) -> str:
    return match[1] or match[2] or ""
