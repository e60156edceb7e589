"""What a statement does to tables, as far as its text tells: the actions of DDL, and writes of rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.sources.pgsplit import split

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Action", "actions", "label", "names", "referred"]

_WORD = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_NAME = rf"{_WORD}(?:\s*\.\s*{_WORD}){{0,2}}"
_IF = r"(?:if\s+(?:not\s+)?exists\s+)?"
_PART = re.compile(rf"'(?:[^']|'')*'|{_WORD}|\$(\w*)\$.*?\$\1\$|.", re.DOTALL)

_ALTER_TABLE = re.compile(
    rf"alter\s+(?:foreign\s+)?table\s+(?:all\s+in\s+tablespace\s+)?{_IF}(?:only\s+)?(?P<table>{_NAME})\s*\*?\s*(?P<rest>.*)",
    re.DOTALL,
)
_STATEMENTS: tuple[tuple[str, str], ...] = (
    (
        "create-table",
        rf"create\s+(?:(?:global|local|temp|temporary|unlogged|foreign)\s+)*table\s+{_IF}(?P<table>{_NAME})",
    ),
    (
        "create-view",
        rf"create\s+(?:or\s+replace\s+)?(?:materialized\s+)?(?:recursive\s+)?view\s+{_IF}(?P<table>{_NAME})",
    ),
    (
        "create-index",
        rf"create\s+(?P<unique>unique\s+)?index\s+(?P<concurrently>concurrently\s+)?{_IF}"
        rf"(?P<column>(?!on\b){_NAME}\s+)?on\s+(?:only\s+)?(?P<table>{_NAME})",
    ),
    ("drop-index", rf"drop\s+index\s+(?P<concurrently>concurrently\s+)?{_IF}(?P<column>{_NAME})"),
    ("drop-table", rf"drop\s+(?:foreign\s+)?table\s+{_IF}(?P<tables>{_NAME}(?:\s*,\s*{_NAME})*)"),
    ("drop-view", rf"drop\s+(?:materialized\s+)?view\s+{_IF}(?P<column>{_NAME})"),
    ("drop-schema", rf"drop\s+schema\s+{_IF}(?P<column>{_NAME})"),
    ("drop-database", rf"drop\s+database\s+{_IF}(?P<column>{_NAME})"),
    ("truncate", rf"truncate\s+(?:table\s+)?(?:only\s+)?(?P<tables>{_NAME}(?:\s*,\s*{_NAME})*)"),
    (
        "create-trigger",
        rf"create\s+(?:or\s+replace\s+)?(?:constraint\s+)?trigger\s+{_WORD}.*?\son\s+(?P<table>{_NAME})",
    ),
    ("drop-trigger", rf"drop\s+trigger\s+{_IF}{_WORD}\s+on\s+(?P<table>{_NAME})"),
    ("policy", rf"(?:create|alter|drop)\s+policy\s+{_IF}{_WORD}\s+on\s+(?P<table>{_NAME})"),
    ("rule", rf"create\s+(?:or\s+replace\s+)?rule\s+{_WORD}\s+as\s+on\s+\w+\s+to\s+(?P<table>{_NAME})"),
    (
        "vacuum-full",
        rf"vacuum\s+(?:full\b(?:\s+(?:freeze|verbose|analyze))*|\([^)]*\bfull\b(?!\s+(?:false|off))[^)]*\))\s*(?P<table>{_NAME})?",
    ),
    ("vacuum", r"vacuum\b"),
    ("cluster", rf"cluster\s+(?:verbose\s+)?(?P<table>{_NAME})?"),
    (
        "reindex",
        rf"reindex\s+(?P<options>\([^)]*\)\s*)?(?P<what>\w+)\s+(?P<concurrently>concurrently\s+)?(?P<column>{_NAME})",
    ),
    ("refresh", rf"refresh\s+materialized\s+view\s+(?P<concurrently>concurrently\s+)?(?P<table>{_NAME})"),
    ("lock", rf"lock\s+(?:table\s+)?(?:only\s+)?(?P<table>{_NAME})(?P<rest>.*)"),
    ("enum-value", rf"alter\s+type\s+(?P<column>{_NAME})\s+add\s+value"),
    (
        "rename-object",
        rf"alter\s+(?:type|schema|view|materialized\s+view|domain|function|procedure)\s+{_IF}(?P<column>{_NAME}).*?\srename\s(?!constraint\b)",
    ),
    ("rename-index", rf"alter\s+index\s+{_IF}(?P<column>{_NAME})\s+rename\s"),
    ("domain-constraint", rf"alter\s+domain\s+(?P<column>{_NAME})\s+(?:add\b(?!.*\bnot\s+valid)|set\s+not\s+null)"),
    (
        "update",
        rf"(?P<with>with\b.*?\)\s*)?update\s+(?:only\s+)?(?P<table>{_NAME})\s*\*?(?:\s+(?:as\s+)?(?!set\b){_WORD})?\s+set\s(?P<rest>.*)",
    ),
    ("delete", rf"(?P<with>with\b.*?\)\s*)?delete\s+from\s+(?:only\s+)?(?P<table>{_NAME})(?P<rest>.*)"),
    ("merge", rf"(?P<with>with\b.*?\)\s*)?merge\s+into\s+(?:only\s+)?(?P<table>{_NAME})(?P<rest>.*)"),
    ("insert", rf"(?:with\b.*?\)\s*)?insert\s+into\s+(?P<table>{_NAME})(?P<rest>.*)"),
    ("routine", rf"create\s+(?:or\s+replace\s+)?(?:function|procedure)\s+(?P<column>{_NAME})(?P<rest>.*)"),
    ("do", r"do\b(?P<rest>.*)"),
    (
        "create-table",
        rf"select\b(?:[^'(]|\([^()']*\))*?\sinto\s+(?:(?:temp|temporary|unlogged)\s+)?(?:table\s+)?(?P<table>{_NAME})",
    ),
    ("call", rf"(?:call|(?:select|perform)(?:\s+\*\s+from)?)\s+(?P<column>{_NAME})\s*\("),
    (
        "timeout",
        r"set\s+(?:(?P<what>local|session)\s+)?(?P<column>lock_timeout|statement_timeout)\s*(?:=|\bto\b)\s*(?P<rest>.*)",
    ),
    (
        "timeout",
        r"select\s+(?:pg_catalog\s*\.\s*)?set_config\s*\(\s*'(?P<column>lock_timeout|statement_timeout)'\s*,\s*(?P<rest>'[^']*')",
    ),
    ("reset", r"reset\s+(?P<column>lock_timeout|all)\b"),
    ("begin", r"(?:begin|start\s+transaction)\b"),
    ("commit", r"(?:commit|end)\b(?!\s+prepared)"),
    ("rollback", r"(?:rollback|abort)\b(?!\s+(?:(?:work|transaction)\s+)?to\b)"),
    ("set-local", r"set\s+local\s"),
)
_KNOWN = tuple((verb, re.compile(pattern, re.DOTALL)) for verb, pattern in _STATEMENTS)
_TYPE = r"(?P<rest>.*)"
_PARTS: tuple[tuple[str, str], ...] = (
    ("add-check", rf"add\s+(?:constraint\s+(?P<column>{_WORD})\s+)?check\b{_TYPE}"),
    (
        "add-foreign-key",
        rf"add\s+(?:constraint\s+(?P<column>{_WORD})\s+)?foreign\s+key\b.*?\breferences\s+(?P<other>{_NAME}){_TYPE}",
    ),
    ("add-unique", rf"add\s+(?:constraint\s+(?P<column>{_WORD})\s+)?unique\b{_TYPE}"),
    ("add-primary-key", rf"add\s+(?:constraint\s+(?P<column>{_WORD})\s+)?primary\s+key\b{_TYPE}"),
    ("add-exclude", rf"add\s+(?:constraint\s+(?P<column>{_WORD})\s+)?exclude\b{_TYPE}"),
    ("add-not-null", rf"add\s+(?:constraint\s+{_WORD}\s+)?not\s+null\s+(?P<column>{_WORD}){_TYPE}"),
    ("add-column", rf"add\s+(?:column\s+)?{_IF}(?P<column>{_WORD})\s+{_TYPE}"),
    ("drop-constraint", rf"drop\s+constraint\s+{_IF}(?P<column>{_WORD})"),
    ("drop-column", rf"drop\s+(?:column\s+)?{_IF}(?P<column>{_WORD})"),
    ("alter-type", rf"alter\s+(?:column\s+)?(?P<column>{_WORD})\s+(?:set\s+data\s+)?type\s+{_TYPE}"),
    ("set-not-null", rf"alter\s+(?:column\s+)?(?P<column>{_WORD})\s+set\s+not\s+null"),
    ("drop-not-null", rf"alter\s+(?:column\s+)?(?P<column>{_WORD})\s+drop\s+not\s+null"),
    ("set-statistics", rf"alter\s+(?:column\s+)?(?P<column>{_WORD})\s+(?:set\s+statistics|set\s*\(|reset\s*\()"),
    ("set-expression", rf"alter\s+(?:column\s+)?(?P<column>{_WORD})\s+set\s+expression\b"),
    ("drop-default", rf"alter\s+(?:column\s+)?(?P<column>{_WORD})\s+drop\s+default"),
    ("alter-column", rf"alter\s+(?:column\s+)?(?P<column>{_WORD})\s"),
    ("validate", rf"validate\s+constraint\s+(?P<column>{_WORD})"),
    ("rename-constraint", rf"rename\s+constraint\s+(?P<column>{_WORD})"),
    ("rename-table", rf"rename\s+to\s+(?P<other>{_WORD})"),
    ("rename-column", rf"rename\s+(?:column\s+)?(?P<column>{_WORD})\s+to\s+"),
    ("set-schema", rf"set\s+schema\s+(?P<column>{_WORD})"),
    ("rewrite", r"set\s+(?:logged|unlogged|tablespace|access\s+method|with(?:out)?\s+oids)\b"),
    ("attach", rf"attach\s+partition\s+(?P<other>{_NAME})"),
    ("detach", rf"detach\s+partition\s+(?P<other>{_NAME})(?P<concurrently>\s+concurrently|\s+finalize)?"),
    ("row-security", r"(?:no\s+force|force|enable|disable)\s+row\s+level\s+security"),
    ("trigger-state", r"(?:enable|disable)\s+(?:replica\s+|always\s+)?trigger\b"),
    ("storage", r"(?:set|reset)\s*\(|cluster\s+on\b|set\s+without\s+cluster|replica\s+identity"),
    ("alter-table", r""),
)
_BEGINS = re.compile(
    r"(?:^|\b(?:begin|then|else|loop)\s+)(?=(?:alter|create|drop|truncate|lock|reindex|set)\s)",
)
_NAMES_ONLY = ("drop-column", "rename-column", "rename-table", "set-schema")
_KNOWN_PARTS = tuple((verb, re.compile(pattern, re.DOTALL)) for verb, pattern in _PARTS)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a statement does: what, to which table or object, and the rest of its text."""

    verb: str
    table: str = ""
    """The table's label, such as `public.clients`; empty where the text names none."""
    column: str = ""
    """The column, constraint, index or other object that is named."""
    rest: str = ""
    other: str = ""
    """Another table that it needs, such as the one a foreign key refers to; `local` of a timeout, WITH of a write."""
    concurrently: bool = False


def actions(code: str) -> list[Action]:
    """What a statement does, by its text on one line without comments; empty where that is not known."""
    if altered := _ALTER_TABLE.match(code):
        table = label(altered["table"])
        done = [_part(part, table) for part in _divided(altered["rest"])]
        # a foreign table has no rows here that could be scanned or written anew
        return [each for each in done if each.verb in _NAMES_ONLY] if code.startswith("alter foreign") else done
    for verb, pattern in _KNOWN:
        if match := pattern.match(code):
            done = list(_made(verb, match.groupdict(), code))
            return done + list(_within(code)) if verb == "do" else done
    return []


def _within(code: str) -> Iterator[Action]:
    """What the body of a block does to tables, also by texts that it executes; its writes are read elsewhere."""
    body = re.search(r"\$(\w*)\$(.*)\$\1\$", code, re.DOTALL)
    for piece in split(body[2] if body else ""):
        dynamic = re.search(r"\bexecute\s+(?:format\s*\(\s*)?'((?:[^']|'')*)'", piece.code)
        text = re.sub("%[is]", "dynamic", dynamic[1].lower().replace("''", "'")) if dynamic else piece.code
        start = _BEGINS.search(text if dynamic else re.sub(r"'[^']*'", lambda found: "'" * len(found[0]), text))
        if start:
            yield from actions(text[start.end() :])


def label(name: str) -> str:
    """The name of a table with its schema, by default `public`, and without needless quotes."""
    words = [_plain(word) for word in re.findall(_WORD, name)]
    return ".".join(words[-2:] if len(words) > 1 else ["public", *words])


def names(text: str) -> list[str]:
    """The labels of a list of names."""
    return [label(name) for name in re.findall(_NAME, text)]


def referred(text: str) -> list[str]:
    """The tables that a definition refers to by foreign keys."""
    return [label(name) for name in re.findall(rf"\breferences\s+({_NAME})", _unquoted(text))]


def _made(verb: str, found: dict[str, str | None], code: str) -> Iterator[Action]:
    rest = found.get("rest") or code
    option = re.search(r"\bconcurrently\b(?!\s+(?:false|off|0))", found.get("options") or "")
    concurrently = bool(found.get("concurrently") or option)
    column = _name(found.get("column"))
    table = found["column"] if verb == "reindex" and found["what"] == "table" else found.get("table")
    other = (found.get("what") or "") if verb == "timeout" else found.get("with") or ""
    for name in names(found.get("tables") or table or "") or [""]:
        yield Action(verb, name, column, rest, other, concurrently)


def _part(text: str, table: str) -> Action:
    for verb, pattern in _KNOWN_PARTS:
        if match := pattern.match(text):
            found = match.groupdict()
            refers = referred(found["rest"] or "") if verb == "add-column" else []
            other = refers[0] if refers else label(found["other"] or "") if found.get("other") else ""
            return Action(
                verb,
                table,
                _name(found.get("column")),
                found.get("rest") or text,
                other,
                bool(found.get("concurrently")),
            )
    return Action("alter-table", table, rest=text)


def _divided(text: str) -> Iterator[str]:
    """The parts of a list between commas that stand in no bracket and in no string."""
    part, depth = "", 0
    for match in _PART.finditer(text):
        piece = match[0]
        depth += (piece in "([") - (piece in ")]")
        if piece == "," and not depth:
            yield part.strip()
            part = ""
        else:
            part += piece
    yield part.strip()


def _name(text: str | None) -> str:
    return ".".join(_plain(word) for word in re.findall(_WORD, text or ""))


def _plain(word: str) -> str:
    return word[1:-1].replace('""', '"') if word.startswith('"') else word


def _unquoted(text: str) -> str:
    """The text with the inside of its strings struck out."""
    return re.sub(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", "''", text, flags=re.DOTALL)
