"""Dumps in plain SQL, packed or not: what is in them, and whether their last line was reached."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Plain", "scan"]

_LONGEST = 1 << 16
_BEGINNING = re.compile(rb"-- PostgreSQL database (?:cluster )?dump\s*$")
_END = re.compile(rb"-- PostgreSQL database (?:cluster )?dump complete\s*$")
_TABLE = re.compile(rb"CREATE (?:UNLOGGED |FOREIGN )?TABLE (\S+)")
_ROWS = re.compile(rb"(?:COPY|INSERT INTO) (\S+)")
_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Plain:
    """The tables that a plain dump makes and fills, and why it is not whole; empty where it is."""

    tables: tuple[str, ...]
    filled: tuple[str, ...]
    broken: str


def scan(stream: IO[bytes]) -> Plain | None:
    """Read a dump to its end; None where it is no plain dump of PostgreSQL."""
    lines = _lines(stream)
    tables, filled = dict[str, None](), dict[str, None]()
    begun = ended = False
    try:
        for number, line in enumerate(lines):
            begun = begun or bool(_BEGINNING.match(line))
            if not begun and number > 10:
                return None
            ended = bool(_END.match(line)) or (ended and not (_TABLE.match(line) or _ROWS.match(line)))
            for pattern, names in ((_TABLE, tables), (_ROWS, filled)):
                if found := pattern.match(line):
                    names[found[1].decode(errors="replace")] = None
    except (EOFError, OSError, zlib.error) as error:
        return Plain(tuple(tables), tuple(filled), f"it breaks off: {error}") if begun else None
    why = "" if ended else "it breaks off: the line 'PostgreSQL database dump complete' is missing"
    return Plain(tuple(tables), tuple(filled), why) if begun else None


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines of text, unpacked where they are packed; of a line that never ends only pieces."""
    buffered = io.BufferedReader(stream) if isinstance(stream, io.RawIOBase) else stream
    packed = buffered.peek(2)[:2] == _MAGIC if isinstance(buffered, io.BufferedReader) else False
    source = gzip.GzipFile(fileobj=buffered) if packed else buffered
    while line := source.readline(_LONGEST):
        yield line
