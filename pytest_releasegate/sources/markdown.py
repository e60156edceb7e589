"""Headings of a Markdown document, and how much of what stands under them was written by somebody."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Section", "sections", "visible", "written"]

# Headings, fences and thematic breaks as CommonMark 0.31 defines them, at most three spaces in.
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})(?P<info>.*)")
_ATX = re.compile(r" {0,3}(?P<level>#{1,6})(?:[ \t]+(?P<title>.*?))?(?:[ \t]+#+)?[ \t]*")
_UNDERLINE = re.compile(r" {0,3}(?P<sign>=+|-+)[ \t]*")
_NO_PARAGRAPH = re.compile(r"\s*$| {4}|\t| {0,3}(?:[-*+>|]|\d+[.)])")
_CODE_OR_COMMENT = re.compile(
    r"^ {0,3}(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^ {0,3}(?P=fence)[`~]*[ \t]*$|\Z)"
    r"|`[^`\n]+`|(?P<comment><!--.*?(?:-->|\Z))",
    re.DOTALL | re.MULTILINE,
)
_MARKER = re.compile(r"^\s*(?:>|[-*+](?=\s|$)|\d+[.)](?=\s|$)|\[[ xX]\](?=\s|$)|#+(?=\s|$))")
_DELIMITER = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-*:?\s*)*")
_PLACEHOLDER = re.compile(
    r"(?:see |still |a )?(?:(?-i:TODO|TBD|TBA|TBC|FIXME|XXX|WIP)\b.*"
    r"|(?:todo|tbd|tba|tbc|fixme|xxx|wip)\b\s*(?:[:(-].*)?"
    r"|n/?a|to be (?:done|defined|determined|written|added)|coming soon|placeholder"
    r"|fill (?:me |this )?in|\[[^\]]*\]|<[^>:/]*>|[\W_]*)[\s.:!]*",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(r"</?[A-Za-z][\w-]*(?:\s[^<>]*)?/?>")
_FILLER = re.compile(r"\blorem\s+ipsum\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with the lines under it, deeper headings and theirs among them; line numbers count from 1."""

    level: int
    title: str
    line: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Heading:
    level: int
    title: str
    first: int
    body: int


def visible(text: str) -> str:
    """The document without front matter and comments, which no reader sees; line numbers stay."""
    lines = text.splitlines()
    end = next((number for number, line in enumerate(lines[1:], 1) if line.strip() in ("---", "...")), 0)
    if lines and lines[0].strip() == "---" and end:
        lines[: end + 1] = [""] * (end + 1)
    return _CODE_OR_COMMENT.sub(_without_comment, "\n".join(lines))


def sections(text: str) -> list[Section]:
    """All sections of a visible document, in the order of their headings."""
    lines = text.splitlines()
    headings = list(_headings(lines))
    return [
        Section(
            heading.level, heading.title, heading.first + 1, tuple(lines[heading.body : _end(headings, index, lines)])
        )
        for index, heading in enumerate(headings)
    ]


def written(lines: Sequence[str]) -> str:
    """What somebody wrote in these lines: no headings, markers, table heads, placeholders or empty bullets."""
    passed_over = _table_heads(lines)
    for heading in _headings(lines):
        passed_over.update(range(heading.first, heading.body))
    text = "\n".join("" if number in passed_over else _real(line) for number, line in enumerate(lines))
    return "\n\n".join(paragraph for paragraph in text.split("\n\n") if not _FILLER.search(paragraph)).strip()


def _without_comment(match: re.Match[str]) -> str:
    return match[0] if match["comment"] is None else "\n" * match[0].count("\n")


def _end(headings: Sequence[_Heading], index: int, lines: Sequence[str]) -> int:
    level = headings[index].level
    return next((later.first for later in headings[index + 1 :] if later.level <= level), len(lines))


def _headings(lines: Sequence[str]) -> Iterator[_Heading]:
    fenced = _fenced(lines)
    for number, line in enumerate(lines):
        if number in fenced:
            continue
        if match := _ATX.fullmatch(line):
            yield _Heading(len(match["level"]), _plain(match["title"] or ""), number, number + 1)
        elif number and number - 1 not in fenced and (match := _UNDERLINE.fullmatch(line)):
            above = lines[number - 1]
            if not _NO_PARAGRAPH.match(above) and not _ATX.fullmatch(above) and not _UNDERLINE.fullmatch(above):
                yield _Heading(1 if match["sign"][0] == "=" else 2, _plain(above), number - 1, number + 1)


def _fenced(lines: Sequence[str]) -> set[int]:
    """The numbers of the lines of fenced code, fences among them."""
    inside: set[int] = set()
    fence = ""
    for number, line in enumerate(lines):
        match = _FENCE.fullmatch(line)
        if fence:
            inside.add(number)
            closes = match and match["fence"].startswith(fence) and not match["info"].strip()
            fence = "" if closes else fence
        elif match and not (match["fence"][0] == "`" and "`" in match["info"]):
            inside.add(number)
            fence = match["fence"]
    return inside


def _table_heads(lines: Sequence[str]) -> set[int]:
    """The numbers of the lines that head a table: a row of names, and a row of dashes under it."""
    delimiters = {number for number, line in enumerate(lines) if "|" in line and _DELIMITER.fullmatch(line)}
    return delimiters | {number - 1 for number in delimiters}


def _real(line: str) -> str:
    if _FENCE.fullmatch(line):
        return ""
    cells = [_unmarked(cell) for cell in line.split("|")]
    return " ".join(cell for cell in cells if not _PLACEHOLDER.fullmatch(cell))


def _unmarked(text: str) -> str:
    while match := _MARKER.match(text):
        text = text[match.end() :]
    return _plain(text)


def _plain(text: str) -> str:
    """The text without emphasis and code marks, links as their words, white space made one space."""
    text = unescape(_TAG.sub(" ", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)))
    return " ".join(re.sub(r"(?<!\w)[*_`]+|[*_`]+(?!\w)", "", text).split())
