"""Text for people: made harmless, measured in columns, cut, wrapped and painted; instants, spans and sizes in words."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

__all__ = ["Paint", "count", "cut", "fill", "human_size", "instant", "one_line", "plain", "span", "width", "wrap"]

_JOINERS = "\u200c\u200d"
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_KIB = 1024
_MINUTE = 60
_STYLES = {
    "good": "32",
    "bad": "1;31",
    "open": "33",
    "waived": "36",
    "dim": "2",
    "strong": "1",
    "alarm": "1;7;31",
}


@dataclass(frozen=True, slots=True)
class Paint:
    """Wraps text in ANSI colours when colour is wanted; styles are good, bad, open, waived, dim, strong, alarm."""

    color: bool

    def __call__(self, text: str, style: str) -> str:
        """The text in that style; an empty style leaves it as it is."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.color and style and text else text


def plain(text: str, keep: str = "\n\t") -> str:
    """The text with control, direction and half characters written out, so that it cannot steer what shows it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if character in keep else _harmless(character) for character in text)


def one_line(text: str) -> str:
    """The text harmless and on one line."""
    return plain(" ".join(text.split()), keep="")


def width(text: str) -> int:
    """Terminal columns of a text: wide characters count two, combining ones none."""
    return len(text) if text.isascii() else sum(_columns(character) for character in text)


def cut(text: str, columns: int) -> str:
    """At most so many columns of the text, ending in an ellipsis when something was left out."""
    if width(text) <= columns:
        return text
    kept = ""
    for character in text:
        if width(kept + character) >= columns:
            break
        kept += character
    return kept.rstrip() + "…" if columns > 0 else ""


def fill(text: str, columns: int) -> str:
    """The text cut or filled with blanks to exactly so many columns."""
    text = cut(text, columns)
    return text + " " * (columns - width(text))


def wrap(text: str, columns: int) -> list[str]:
    """The text in lines of at most so many columns, broken at blanks where there are some."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        for piece in _pieces(word, max(columns, 2)):
            joined = f"{line} {piece}" if line else piece
            if width(joined) > columns and line:
                lines.append(line)
                joined = piece
            line = joined
    return [*lines, line] if line else lines


def instant(at: datetime | None, *, exact: bool = False) -> str:
    """An instant as `2026-01-05 09:00 UTC`, with seconds when exact; `not recorded` for none."""
    if at is None:
        return "not recorded"
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC" if exact else "%Y-%m-%d %H:%M UTC")


def span(seconds: float) -> str:
    """Seconds as `0.04s`, `1.2s`, `75s`, `12m05s`."""
    if seconds < 1:
        return f"{seconds:.2f}s"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    return f"{minutes}m{rest:02d}s"


def count(number: int, noun: str) -> str:
    """A number with its noun, such as `1 gate`, `3 gates`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def human_size(size: int) -> str:
    """Bytes as `812 bytes`, `20.0 KiB`, `1.3 MiB`."""
    if size < _KIB:
        return f"{size} bytes"
    return f"{size / _KIB:.1f} KiB" if size < _KIB * _KIB else f"{size / _KIB / _KIB:.1f} MiB"


def _harmless(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _UNSAFE:
        return character
    return character.encode("unicode_escape").decode()


def _columns(character: str) -> int:
    if character in _JOINERS or unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _pieces(text: str, columns: int) -> Iterator[str]:
    if text.isascii():
        yield from (text[start : start + columns] for start in range(0, len(text), columns))
        return
    piece, used = "", 0
    for character in text:
        need = _columns(character)
        if used + need > columns and piece:
            yield piece
            piece, used = "", 0
        piece, used = piece + character, used + need
    if piece:
        yield piece
