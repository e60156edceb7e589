"""What may become of a table's rows, as gates write it: `unchanged`, `identical`, `+120`, `>= 5` and so on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_releasegate.params import Threshold, text_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import core_schema

__all__ = ["Change"]

_RANGE = re.compile(r"([+-]\d+)(?:\s*\.\.\s*([+-]\d+))?")
_ABOUT = re.compile(r"~\s*(\d+(?:\.\d+)?)\s*%")
_ALLOWED = (
    "unchanged, +120, -5, -0 (none lost), +0..+50, ~10%, '>= 5', '== 120', new, dropped, any, identical or appended"
)


@dataclass(frozen=True, slots=True)
class Change:
    """What may become of a table's rows: a word, a difference, a range of differences, or a bound on the new number."""

    text: str
    word: str = ""
    least: int | None = None
    most: int | None = None
    total: Threshold | None = None
    about: float | None = None
    """By how many percent the number may differ."""
    content: Literal["", "all", "old"] = ""
    """Whose content must be the same: that of all rows, or of those that were there."""

    @classmethod
    def parse(cls, value: Any) -> Change:
        """Read the text of a change; raises `ValueError` that says what is allowed."""
        if isinstance(value, Change):
            return value
        if hint := _unquoted(value):
            raise ValueError(f"expected {_ALLOWED}; got the number {value}: YAML drops the sign, so {hint}")
        text = " ".join(str(value).split())
        words = {
            **{word: cls(word, word=word) for word in ("new", "dropped", "any")},
            "unchanged": cls(text, least=0, most=0),
            "identical": cls(text, least=0, most=0, content="all"),
            "appended": cls(text, least=0, content="old"),
            "-0": cls(text, least=0),
        }
        return words.get(text) or cls._parse_range(text) or cls._parse_total(text)

    @classmethod
    def _parse_range(cls, text: str) -> Change | None:
        if about := _ABOUT.fullmatch(text):
            return cls(text, about=float(about[1]))
        match = _RANGE.fullmatch(text)
        if not match:
            return None
        least, most = int(match[1]), int(match[2] or match[1])
        if least > most:
            raise ValueError(f"expected a range from less to more, such as +0..+50; got '{text}'")
        return cls(text, least=least, most=most)

    @classmethod
    def _parse_total(cls, text: str) -> Change:
        try:
            return cls(text, total=Threshold.parse(text))
        except ValueError:
            raise ValueError(f"expected {_ALLOWED}; got '{text}'") from None

    @property
    def bears_estimates(self) -> bool:
        """Whether estimated numbers can answer it: it asks for a table, or for about so many rows."""
        return bool(self.word) or self.about is not None

    def holds(self, before: int | None, after: int | None) -> bool:
        """Whether it allows the change from one number of rows to the other; None is a table that is not there."""
        if self.word == "dropped":
            return before is not None and after is None
        if after is None:
            return False
        if self.word == "new":
            return before is None
        if self.total is not None:
            return self.total.holds(after)
        return self.word == "any" or (before is not None and self._allows(before, after - before))

    def explain(self, before: int | None) -> str:
        """What is expected, in numbers where the number before is known."""
        if before is None or (self.least is None and self.about is None):
            return self.text
        if self.about is not None:
            return f"about {before} ({self.text})"
        least = before + (self.least or 0)
        if self.most is None:
            return f">= {least} ({self.text})"
        if self.least == self.most:
            return f"{least} ({self.text})"
        return f"{least}..{before + self.most} ({self.text})"

    def _allows(self, before: int, delta: int) -> bool:
        if self.about is not None:
            return abs(delta) * 100 <= before * self.about
        return (self.least is None or delta >= self.least) and (self.most is None or delta <= self.most)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """How pydantic reads and writes a change: as its text."""
        return text_schema(cls, cls.parse)


def _unquoted(value: Any) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        return ""
    return f"write '+{value}' in quotes, or '== {value}'" if value > 0 else f"write '{value or '-0'}' in quotes"
