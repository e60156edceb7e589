"""A file of SQL as its statements, each with its place; what only `psql` understands is told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Script", "Statement", "read", "script", "split"]

_PATTERN = r"""(?P<comment>--[^\n]*)
      | (?P<open>/\*)
      | (?P<string>\b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
                 | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
      | (?P<broken>['"] | \$(?:[^\W\d]\w*)?\$)
      | (?P<word>[^\W\d][\w$]*)
      | (?P<space>\s+)
      | (?P<variable>(?<=[\s(,.=]):(?:[^\W\d]\w*|'[^\W\d]\w*'|"[^\W\d]\w*") | \$\{\w[\w.:-]*\})
      | (?P<other>\d[\w.]*|.)"""
_TOKEN = re.compile(_PATTERN, re.VERBOSE | re.DOTALL)
_ESCAPING = re.compile(_PATTERN.replace("'(?:[^']|'')*'", r"'(?:[^'\\]|\\.|'')*'"), re.VERBOSE | re.DOTALL)
"""The same where a backslash in a plain string escapes what follows."""
_ESCAPES = re.compile(r"set\s+(?:(?:session|local)\s+)?standard_conforming_strings\s*(?:=|to)\s*'?(off|false|no|0)?\b")
_COMMENT_END = re.compile(r"/\*|\*/")
_COPY = re.compile(r"copy\b.*\bfrom\s+stdin\b", re.IGNORECASE | re.DOTALL)
_ROUTINE = re.compile(r"create\s+(?:or\s+replace\s+)?(?:function|procedure)\b", re.IGNORECASE)
_DOWN = re.compile(
    r"^[ \t]*--\s*(?:\+(?:goose|migrate)\s+down|migrate:down|//@undo|rollback\b|down\s+migration|=+\s*down\b)",
    re.IGNORECASE | re.MULTILINE,
)
_UP = re.compile(r"^[ \t]*--\s*(?:\+(?:goose|migrate)\s+up|migrate:up|up\s+migration)", re.IGNORECASE | re.MULTILINE)
_ALONE = re.compile(
    r"--\s*(?:\+goose\s+no\s+transaction|\+migrate\s+up\s+notransaction|migrate:up.*\btransaction:\s*false"
    r"|no-transaction|disable_ddl_transaction|squawk-disable-assume-in-transaction|atlas:txmode\s+none|flyway:executeInTransaction=false)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a file."""

    line: int
    column: int
    text: str
    """As it stands in the file, without the semicolon."""
    code: str
    """On one line, without comments; words outside quotes are in lower case."""
    trouble: str = ""
    """Why it is no statement that a server can be given."""
    end: int = 0
    """Its last line."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a migration file holds: the way forward, and whether the file says how transactions are to be made."""

    name: str
    text: str
    statements: tuple[Statement, ...]
    alone: bool = False
    """The file asks its runner for no transaction."""
    back: str = ""
    """The way back, in files that hold both."""


@dataclass(slots=True)
class _Reader:
    """Where reading stands in the text of one file."""

    text: str
    place: int = 0
    begun: int = -1
    code: list[str] = field(default_factory=list)
    depth: int = 0
    """How many brackets, and blocks of a routine's body, are open."""
    blocks: int = 0
    variable: str = ""
    """What psql or the runner fills in."""
    escapes: bool = False
    """Whether a backslash in a plain string escapes what follows."""
    counted: tuple[int, int] = (0, 1)
    """A place, and its line."""

    def statement(self, end: int, trouble: str = "") -> Statement:
        """The statement that ends here; reading begins anew."""
        begun, code = self.begun, "".join(self.code).strip()
        if self.variable and not trouble:
            trouble = f"not tried: psql or the runner fills in {self.variable}"
        self.begun, self.code, self.depth, self.blocks, self.variable = -1, [], 0, 0, ""
        text = self.text[begun:end].rstrip()
        place, line = self.counted
        line += self.text.count("\n", place, begun)
        self.counted = (begun, line)
        if found := _ESCAPES.match(code):
            self.escapes = bool(found[1])
        return Statement(line, begun - self.text.rfind("\n", 0, begun), text, code, trouble, line + text.count("\n"))


def read(path: Path, name: str = "") -> Script:
    """The script of a file; raises `OSError` and `UnicodeDecodeError` as reading does."""
    return script(path.read_text(encoding="utf-8-sig"), name or str(path))


def script(text: str, name: str = "") -> Script:
    """The script of a text; what stands after a marker such as `-- +goose Down` is the way back."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    down = _DOWN.search(text)
    up = _UP.search(text)
    begin, end, back = 0, len(text), ""
    if down and (up or "//@" in down[0] or "===" in down[0]):
        if up and up.start() > down.start():
            begin, back = up.end(), text[down.end() : up.start()]
        else:
            end, back = down.start(), text[down.end() :]
    forward = re.sub(r"[^\n]", " ", text[:begin]) + text[begin:end]
    return Script(name, forward, tuple(split(forward)), bool(_ALONE.search(text)), back)


def split(text: str) -> Iterator[Statement]:
    """The statements of a text, in their order; blank ones are left out."""
    reader = _Reader(text)
    while reader.place < len(text):
        match = (_ESCAPING if reader.escapes else _TOKEN).match(text, reader.place)
        assert match is not None  # noqa: S101  its last alternative takes anything
        if match["comment"] or match["space"]:
            reader.place = match.end()
            reader.code += [" "] if reader.code and reader.code[-1] != " " else []
        elif match["open"]:
            reader.place = _after_comment(text, match.end())
            reader.code += [" "] if reader.code and reader.code[-1] != " " else []
        elif match["broken"]:
            reader.begun = match.start() if reader.begun < 0 else reader.begun
            reader.place = len(text)
            yield reader.statement(len(text), f"the quote {match[0]} never ends")
        else:
            yield from _token(reader, match)
    if reader.begun >= 0:
        yield reader.statement(len(text))


def _token(reader: _Reader, match: re.Match[str]) -> Iterator[Statement]:
    text = match[0]
    reader.place = match.end()
    if text == "\\":
        yield from _meta(reader, match.start())
    elif text == ";" and not reader.depth and not reader.blocks:
        if reader.begun >= 0:
            yield from _ended(reader, match.start())
    else:
        reader.begun = match.start() if reader.begun < 0 else reader.begun
        if match["variable"]:
            reader.variable = reader.variable or text
            # so that what stands around it can be read: the name stands for what it is
            reader.code.append("".join(re.findall(r"\w+", text)).lower())
            return
        reader.code.append(text.lower() if match["word"] else text)
        reader.depth = max(0, reader.depth + (text == "(") - (text == ")"))
        if match["word"]:
            _count_blocks(reader, text.lower())


def _ended(reader: _Reader, end: int) -> Iterator[Statement]:
    statement = reader.statement(end)
    if not _COPY.match(statement.code):
        yield statement
        return
    stop = re.compile(r"^\\\.[ \t]*$", re.MULTILINE).search(reader.text, reader.place)
    reader.place = stop.end() if stop else len(reader.text)
    yield Statement(
        statement.line,
        statement.column,
        statement.text,
        statement.code,
        "COPY FROM STDIN with its rows in the file: only psql reads that",
        statement.line,
    )


def _meta(reader: _Reader, start: int) -> Iterator[Statement]:
    """A command of `psql` goes to the end of its line, and ends a statement such as one before `\\gexec`."""
    end = reader.text.find("\n", start)
    end = len(reader.text) if end < 0 else end
    reader.place = end
    line = reader.text[start:end].strip()
    if re.match(r"\\(?:un)?restrict\b", line):
        return
    reader.begun = start if reader.begun < 0 else reader.begun
    yield reader.statement(end, f"{line.split()[0]} is a command of psql, not SQL")


def _count_blocks(reader: _Reader, word: str) -> None:
    """A body between BEGIN ATOMIC and END holds statements that are not split."""
    if word not in ("atomic", "case", "end"):
        return
    code = "".join(reader.code)
    if not _ROUTINE.match(code):
        return
    if word == "atomic":
        reader.blocks += bool(re.search(r"\bbegin atomic$", code))
    elif reader.blocks:
        reader.blocks += 1 if word == "case" else -1


def _after_comment(text: str, place: int) -> int:
    depth = 1
    while depth:
        match = _COMMENT_END.search(text, place)
        if match is None:
            return len(text)
        depth += 1 if match[0] == "/*" else -1
        place = match.end()
    return place
