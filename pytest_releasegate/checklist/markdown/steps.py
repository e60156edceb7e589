"""Headings that are themselves the steps, such as `### Step 3: Run migrations`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.markdown import words
from pytest_releasegate.checklist.markdown.bullets import varies
from pytest_releasegate.checklist.markdown.entries import Account, Entry, Part
from pytest_releasegate.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.checklist.markdown.outline import Section

_STATUS = re.compile(rf"^status\W*?:\W*?[{words.UNTICKED}{words.TICKED}🟡🔴🟠]", re.IGNORECASE)

__all__ = ["heading_steps", "is_deed"]

_IMPERATIVE = re.compile(
    r"^(?:run|deploy|verify|check|create|update|merge|tag|build|push|pull|publish|notify|"
    r"announce|confirm|ensure|test|review|back ?up|"
    r"enable|disable|monitor|restart|start|stop|switch|open|close|prepare|install|configure|"
    r"set|apply|execute|migrate|validate|"
    r"communicate|freeze|bump|send|schedule|clean|archive|roll|scale|warm|flush|clear|take|"
    r"make|write|generate|sign|upload|"
    r"download|release|cut|draft|post|tell|wait|remove|rotate|restore|drain|promote|smoke|"
    r"turn|add|export|import|connect|log|revert|undo|pin|fill|improve|replace|harden|implement|provision|register|tune|upgrade|document|define|switch|confirm|exercise|request|verify|redeploy|purge|invalidate|seed|smoke)\b",
    re.IGNORECASE,
)


def heading_steps(sections: list[Section], entries: list[Entry], account: Account) -> list[Entry]:
    """Headings that are themselves the steps: what stands under them tells how."""
    found = []
    busy = {id(one) for entry in entries for one in entry.section.line}
    for section in sections:
        if section.first == section.last or id(section) in busy or section.aside or section.examples:
            continue
        ways = _ways(section)
        if ways and not any(id(one) in busy for one in ways):
            busy |= {id(below) for one in ways for below in _under(one)}
        elif not _is_step(section) or any(one.is_step for one in _under(section)):
            continue
        found.append(_made(section, account))
        found[-1].alternatives = words.marker(section.parent.title) if ways and section.parent else ""
    return found


def _ways(section: Section) -> list[Section]:
    """The headings beside it where all with the same parent are ways to the same end, and say how."""
    ways = section.parent.below if section.parent else []
    optional = varies([one.title for one in ways]) and all(_tells(one) for one in ways)
    return ways if optional else []


def _tells(section: Section) -> bool:
    return any(one.blocks for one in (section, *_under(section)))


def _made(section: Section, account: Account) -> Entry:
    box, rest = words.box(section.text)
    made = Entry(Part.GATE, section.first, rest, words.number(words.plain(rest))[1], section, box)
    for block in (block for one in (section, *_under(section)) for block in one.blocks):
        made.details += [line for inner in block.inside() for line in inner.text.strip().split("\n") if line]
        account.turn(block.first, block.last, Part.FIELD)
    account.turn(section.first, section.first + 1, Part.GATE)
    return made


def _is_step(section: Section) -> bool:
    """Whether a heading under which nothing is looked at is a step: it says so, or bears a status, or commands."""
    if section.is_step or _status(section):
        return True
    deed, code = is_deed(section.title), _has_code(section)
    if section.number[:1].isdigit() and ((deed and not section.below) or (code and section.timed)):
        return True
    return section.level < 7 and not section.below and code and (deed or section.phase is Phase.ROLLBACK)


def is_deed(text: str) -> bool:
    """Whether the words tell somebody to do something."""
    return bool(_IMPERATIVE.match(text))


def _status(section: Section) -> re.Match[str] | None:
    """The status line under a heading, such as `**Status**: ❌ Required`."""
    texts = (words.plain(line) for block in section.blocks for line in block.text.split("\n"))
    return next((found for text in texts if (found := _STATUS.match(text))), None)


def _has_code(section: Section) -> bool:
    return any(block.kind == "code" for block in section.blocks)


def _under(section: Section) -> Iterator[Section]:
    for below in section.below:
        yield below
        yield from _under(below)
