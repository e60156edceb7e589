"""Tables: which rows are gates, who must sign, and which tables are about something else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.markdown import words
from pytest_releasegate.checklist.markdown.bullets import severity_of
from pytest_releasegate.checklist.markdown.entries import Entry, Part
from pytest_releasegate.checklist.markdown.phases import phase_of, trigger_prefix

if TYPE_CHECKING:
    from pytest_releasegate.checklist.markdown.blocks import Block
    from pytest_releasegate.checklist.markdown.outline import Section

__all__ = ["rows_of"]

_STATUS_HEAD = re.compile(
    r"^\W*(?:status|state|done|complete[d]?|check(?:ed)?|ok|pass(?:ed)?|result|ready|verified|"
    r"finished|y/n|yes/no|pass/fail|go/no-go|)\W*$",
    re.IGNORECASE,
)
_STATUS_WORD = re.compile(
    r"^\W*(?:done|complete[d]?|yes|y|no|n|pass(?:ed)?|ok|to ?do|pending|open|in progress|wip|"
    r"not started|n/?a|fail(?:ed)?|blocked|ready|verified)\W*$",
    re.IGNORECASE,
)
_DONE_WORD = re.compile(r"^\W*(?:done|complete[d]?|yes|y|pass(?:ed)?|ok|ready|verified)\W*$", re.IGNORECASE)
_TITLE = re.compile(
    r"\b(?:task|item|check|step|action|activity|requirement|gate|verification|criteri(?:on|a)|"
    r"description|test|what|question|control|deliverable|"
    r"trigger|condition|symptom|feature|component|area|name)s?\b",
    re.IGNORECASE,
)
_NO_STATUS_HEAD = re.compile(
    r"^\W*(?:required|mandatory|optional|needed|supported|blocking|automated|default)\b", re.IGNORECASE
)
_LISTS_STEPS = re.compile(r"check-?list|\bsteps?\b|\btasks?\b|\bactions?\b|to-?do\b", re.IGNORECASE)
_STEPS = re.compile(
    r"\b(?:task|check|step|action|activity|requirement|gate|verification|check-?list|to-?do)s?\b", re.IGNORECASE
)
_NUMBER = re.compile(r"^\W*(?:#|no\.?|nr\.?|id|ref|step|s\.?no\.?)?\W*$", re.IGNORECASE)
_OWNER = re.compile(r"\b(?:owner|responsible|assignee|assigned|who|role|team|dri|lead)\b", re.IGNORECASE)
_SEVERITY = re.compile(r"\b(?:priority|severity|risk|criticality)\b", re.IGNORECASE)
_PHASE = re.compile(r"^\W*(?:phase|stage|when|timing|timeline|time)\b", re.IGNORECASE)
_ROLE = re.compile(r"\b(?:role|title|team|function|department|approver|stakeholder|position)s?\b", re.IGNORECASE)
_SIGN = re.compile(r"sign|approv", re.IGNORECASE)
_DATED = re.compile(r"\b(?:date|name)\b", re.IGNORECASE)
_CONTACT = re.compile(r"phone|e-?mail|slack|contact|pager|availab|mobile|channel", re.IGNORECASE)
_CHANGES = re.compile(r"\b(?:version|revision|author|changes?)\b", re.IGNORECASE)
_METRIC = re.compile(r"\b(?:metric|kpi|threshold|baseline|target|indicator|slo|sla)s?\b", re.IGNORECASE)
_OWN_NUMBER = re.compile(r"(?:[A-Za-z]{1,8}[-_.]?)?\d+(?:\.\d+)*")
_TO_SIGN = {
    "name": re.compile(r"\b(?:name|person|signed by)\b", re.IGNORECASE),
    "signature": re.compile(r"sign(?!ed by)|approv", re.IGNORECASE),
    "date": re.compile(r"\bdate\b", re.IGNORECASE),
    "time": re.compile(r"\btime\b", re.IGNORECASE),
}
_LEVELS = {
    "must": "high",
    "should": "medium",
    "could": "low",
    "required": "high",
    "recommended": "medium",
    "optional": "low",
}


@dataclass(frozen=True, slots=True)
class _Table:
    heads: list[str]
    rows: list[tuple[int, list[str]]]

    def column(self, head: re.Pattern[str], *taken: int) -> int:
        """The first column with such a head, -1 without."""
        return next((at for at, text in enumerate(self.heads) if at not in taken and head.search(text)), -1)

    def cells(self, column: int) -> list[str]:
        return [row[column].strip() if column < len(row) else "" for _, row in self.rows]


def rows_of(block: Block, section: Section) -> tuple[list[Entry], str]:
    """The rows of a table as gates, triggers or roles; or none, and why."""
    (_, heads), *rows = block.rows()
    table = _Table([words.plain(head) for head in heads], rows)
    if section.examples:
        return [], f"under '{section.title}'"
    if not rows:
        return [], "a table without rows"
    joined = " | ".join(table.heads)
    signs = _SIGN.search(joined) or (section.sign_off and _DATED.search(joined))
    status = _status(table)
    if signs and (table.column(_ROLE) >= 0 or section.sign_off):
        return _roles(table, section), "a row without a role"
    if section.triggers:
        return _triggers(table, section), "a row without words"
    if _CHANGES.search(joined) and _DATED.search(joined) and re.search(r"\bdate\b", joined, re.IGNORECASE):
        return [], "a table of changes"
    if status < 0:
        reason = _about(section, joined)
        if reason:
            return [], reason
    return _gates(table, section, status), "a row without words"


def _about(section: Section, joined: str) -> str:
    """What a table without a status column is about; empty when it lists steps."""
    if _METRIC.search(joined) or "metric" in section.title.lower():
        return "a table of metrics"
    if _CONTACT.search(joined) or "contact" in section.title.lower():
        return "a table of contacts"
    listed = _LISTS_STEPS.search(section.title) and re.search(r"\bitems?\b", joined, re.IGNORECASE)
    if section.aside or not (_STEPS.search(joined) or listed):
        return "a table without a status column"
    return ""


def _status(table: _Table) -> int:
    """The column of boxes and status signs, -1 without one."""
    named = -1
    for at, head in enumerate(table.heads):
        if _NO_STATUS_HEAD.match(head):
            continue
        filled = [cell for cell in table.cells(at) if cell]
        signs = [cell for cell in filled if words.box(cell)[0] is not None]
        if filled and len(signs) == len(filled):
            return at
        worded = all(words.box(cell)[0] is not None or _STATUS_WORD.match(words.plain(cell)) for cell in filled)
        if named < 0 and worded and (head or filled) and _STATUS_HEAD.match(head):
            named = at
    return named


def _title(table: _Table, *taken: int) -> int:
    named = table.column(_TITLE, *taken)
    if named >= 0 and any(not cell.isdigit() for cell in table.cells(named) if cell):
        return named
    rest = [at for at in range(len(table.heads)) if at not in taken]
    worded = [at for at in rest if any(re.search(r"[^\W\d]{2}", cell) for cell in table.cells(at))]
    return (worded or rest or [0])[0]


def _gates(table: _Table, section: Section, status: int) -> list[Entry]:
    """A gate for each row that has words in its title; in a column of boxes with words the box is the title's."""
    if status >= 0 and any(words.plain(words.box(cell)[1]) for cell in table.cells(status)) and _alone(table, status):
        title = status
    else:
        number = table.column(_NUMBER, status)
        title = _title(table, status, number) if number >= 0 else _title(table, status)
    found = []
    for line, row in table.rows:
        cell = row[title].strip() if title < len(row) else ""
        box, rest = words.box(cell)
        if words.plain(rest):
            made = Entry(Part.GATE, line, rest, words.title(rest), section, box, in_table=True)
            made.column = status if status >= 0 else title if box is not None else -1
            _fill(made, table, row, status, title)
            found.append(made)
    return found


def _alone(table: _Table, status: int) -> bool:
    """Whether no other column could hold the titles."""
    worded = [words.plain(words.box(cell)[1]) for cell in table.cells(status)]
    return not _STATUS_HEAD.match(table.heads[status]) and not all(_STATUS_WORD.match(cell) for cell in worded if cell)


def _fill(made: Entry, table: _Table, row: list[str], status: int, title: int) -> None:
    """What the other columns say of a row."""
    if status >= 0 and status != title:
        cell = row[status].strip() if status < len(row) else ""
        box = words.box(cell)[0]
        made.box = box if box is not None else bool(_DONE_WORD.match(words.plain(cell)))
    for at, head in enumerate(table.heads):
        cell = words.title(row[at]) if at < len(row) else ""
        if at in (status, title) or not cell:
            continue
        if _NUMBER.match(head) and _OWN_NUMBER.fullmatch(cell):
            made.number = cell
        elif _OWNER.search(head) and "@" not in cell:
            made.owner = cell
        elif _SEVERITY.search(head):
            made.severity = severity_of(f"{cell}: x")[0] or _LEVELS.get(cell.lower(), "")
        elif _PHASE.match(head) and (timing := phase_of([cell])):
            made.phase = timing.phase
        else:
            made.details.append(f"{head}: {cell}" if head else cell)


def _triggers(table: _Table, section: Section) -> list[Entry]:
    title = _title(table)
    found = []
    for line, row in table.rows:
        severity, rest = severity_of(row[title].strip() if title < len(row) else "")
        if words.plain(rest):
            made = Entry(Part.TRIGGER, line, rest, words.title(words.box(rest)[1]), section, in_table=True)
            _fill(made, table, row, -1, title)
            made.severity = severity or made.severity
            made.phase = trigger_prefix(section.path)[1]
            found.append(made)
    return found


def _roles(table: _Table, section: Section) -> list[Entry]:
    column = max(table.column(_ROLE), 0)
    columns = {name: at for name, head in _TO_SIGN.items() if (at := table.column(head, column)) >= 0}
    return [
        Entry(Part.ROLE, line, row[column].strip(), words.plain(row[column]), section, columns=columns, in_table=True)
        for line, row in table.rows
        if words.plain(row[column])
    ]
