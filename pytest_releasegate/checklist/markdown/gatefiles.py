"""Writes what was read as gate files: one for each section, all gates `attest`, with suggestions beside them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.markdown import words
from pytest_releasegate.checklist.markdown.conditions import condition, heading_condition
from pytest_releasegate.checklist.markdown.entries import Entry, Part
from pytest_releasegate.checklist.markdown.phases import step_of
from pytest_releasegate.checklist.markdown.suggest import role_name, role_of, suggestion
from pytest_releasegate.policy import placeholder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.checklist.markdown.outline import Section
    from pytest_releasegate.checklist.markdown.reading import Reading
    from pytest_releasegate.phases import Phase

__all__ = ["ENVIRONMENT", "SIGN_OFF", "STAKEHOLDERS", "gate_files", "roles_asked", "stakeholders"]

SIGN_OFF = "50-sign-off.yaml"
STAKEHOLDERS = "stakeholders.yaml"
_TO_NAME = "# Who signs in which role: put real addresses in place of those that can belong to nobody."
ENVIRONMENT = """\
# What the gates look at; add base_url, databases and so on once gates ask for them.
default: prod
environments:
  prod: {protected: true}
"""
"""The environments of a folder that had none."""
_NO_TEXT = re.compile(r"(?:true|false|null|yes|no|on|off|y|n|~)$", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z](?:[\w ./()%+<>=@'-]|:(?=\S)|,)*(?<! )")
_DOTTED = re.compile(r"\d+(?:\.\d+){2,}")
_LONGEST_NOTE = 200


@dataclass(slots=True)
class _Item:
    """An item as a gate file has it: the box or the section that its gates hang on."""

    id: str
    title: str
    step: str
    when: str
    gates: list[Entry] = field(default_factory=list)


def gate_files(reading: Reading) -> dict[str, str]:
    """The files by their names, in the order of the document, sign-offs apart; `releasegate check` reads them."""
    groups: dict[tuple[int, Phase], list[_Item]] = {}
    sections = {id(entry.section): entry.section for entry in reading.entries}
    for entry in reading.entries:
        for item in _items(entry, ""):
            phase = item.gates[0].phase or entry.section.phase
            _add(groups.setdefault((id(entry.section), phase), []), item)
    width = max(2, len(str(len(groups) + 1)))
    numbers = iter(number for number in range(1, len(groups) + 3) if number != 50)
    files = {}
    for (section, phase), items in groups.items():
        title = sections[section].title or reading.source.name
        name = f"{next(numbers):0{width}d}-{words.slug(title, 40)}.yaml"
        files[name] = "\n".join(_file(reading, sections[section], phase, items)) + "\n"
    roles = reading.of(Part.ROLE)
    if roles:
        files[SIGN_OFF] = _sign_off(reading, roles)
    return files


def roles_asked(reading: Reading) -> dict[str, str]:
    """The roles that sign and those whose word gates ask for, by their names in gate files, with their titles."""
    signing = {_role(entry): entry.title for entry in reading.of(Part.ROLE)}
    asked = {_role(entry): entry.owner for entry in reading.of(Part.GATE, Part.TRIGGER)}
    return signing | {role: title or role.replace("_", " ") for role, title in asked.items() if role not in signing}


def stakeholders(reading: Reading) -> str:
    """All roles as `stakeholders.yaml` holds them, held by placeholders; empty for a document that nobody signs."""
    roles = roles_asked(reading).items() if reading.of(Part.ROLE) else ()
    lines = [f"  {_text(role)}: {{title: {_quoted(title)}, people: [{placeholder(role)}]}}" for role, title in roles]
    return "\n".join([_TO_NAME, "roles:", *lines]) + "\n" if lines else ""


def _items(entry: Entry, when: str) -> Iterator[_Item]:
    """The items that an entry makes: itself and those under it, each with the gates that hang on it alone."""
    section = entry.section
    own = condition(entry.title)
    if entry.part in (Part.GATE, Part.TRIGGER):
        step = step_of(entry.phase or section.phase, section.path, entry.title)
        alone = entry.line == section.first and section.last > section.first
        title = section.title or entry.title
        yield (
            _Item(section.key, title, step, heading_condition(section), [entry])
            if not alone
            else _Item(section.key, entry.title, step, "", [entry])
        )
    elif entry.part is Part.ITEM:
        when = _both(when or heading_condition(section), own)
        step = step_of(entry.phase or section.phase, section.path, entry.title)
        gates = [inner for inner in entry.entries if inner.part is Part.GATE]
        for gate in gates:
            gate.phase = gate.phase or entry.phase
        for phase in dict.fromkeys(gate.phase for gate in gates):
            some = [gate for gate in gates if gate.phase is phase]
            yield _Item(entry.id, entry.title, step, when, some)
        for inner in entry.entries:
            if inner.part is Part.ITEM:
                yield from _items(inner, when)


def _both(first: str, second: str) -> str:
    return f"{first} and {second}" if first and second and first != second else first or second


def _add(items: list[_Item], item: _Item) -> None:
    """Gates of one section that stand for themselves share an item."""
    if items and (items[-1].id, items[-1].step, items[-1].when) == (item.id, item.step, item.when):
        items[-1].gates += item.gates
    else:
        items.append(item)


def _file(reading: Reading, section: Section, phase: Phase, items: list[_Item]) -> Iterator[str]:
    owners = [_role(gate) for item in items for gate in item.gates]
    yield f"# Imported from {reading.source.name}: every gate asks for a person's word until you give it a check."
    if section.guessed and all(gate.phase is None for item in items for gate in item.gates):
        yield "# guess: no heading says the phase; predeploy was assumed."
    yield f"phase: {phase}"
    yield f"title: {_text(section.title or reading.source.name)}"
    yield f"owner: {_text(max(owners, key=owners.count))}"
    yield "items:"
    for item in items:
        yield f"  - item: {_text(item.id)}"
        yield f"    title: {_text(item.title)}"
        if item.step:
            yield f"    step: {item.step}"
        if item.when:
            yield f"    when: {_text(item.when)}"
        yield "    gates:"
        for gate in item.gates:
            yield from _gate(gate)


def _gate(gate: Entry) -> Iterator[str]:
    check, because = suggestion(" ".join([gate.title, *gate.details]))
    if check:
        yield f'      # suggestion: {check}  ("{_comment(because)}")'
    yield from (f"      # note: {_comment(words.title(line))}" for line in gate.details if words.title(line))
    yield f"      - id: {_text(gate.id)}"
    yield f"        title: {_text(gate.title)}"
    when = condition(gate.title)
    severity = gate.severity or ("low" if re.search(r"\(optional\)|^optional\b", gate.title, re.IGNORECASE) else "")
    pairs = (
        ("severity", severity),
        ("when", _text(when) if when else ""),
        ("alternatives", _text(gate.alternatives) if gate.alternatives else ""),
        ("trigger", "true" if gate.part is Part.TRIGGER else ""),
    )
    yield from (f"        {key}: {value}" for key, value in pairs if value)
    yield f"        attest: {{role: {_text(_role(gate))}}}"


def _role(entry: Entry) -> str:
    if entry.part is Part.ROLE:
        return role_name(entry.title) or role_of("")
    return role_name(entry.owner) or role_of(entry.title)


def _sign_off(reading: Reading, roles: list[Entry]) -> str:
    lines = [
        f"# Imported from {reading.source.name}.",
        "phase: predeploy",
        f"title: {_text(roles[0].section.title or 'Sign-off')}",
        "owner: release_manager",
        "items:",
        "  - item: SIGN",
        f"    title: {_text(roles[0].section.title or 'Sign-off')}",
        "    gates:",
    ]
    for entry in roles:
        lines += [f"      - id: {_text(entry.id)}", f"        title: {_text(entry.title)}"]
        lines += [f"        sign_off: {{role: {_text(_role(entry))}}}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _text(text: str) -> str:
    """A YAML scalar that is read back as this text."""
    plain = _PLAIN.fullmatch(text) and not _NO_TEXT.match(text)
    return text if plain or _DOTTED.fullmatch(text) else _quoted(text)


def _comment(text: str) -> str:
    return text if len(text) <= _LONGEST_NOTE else text[: _LONGEST_NOTE - 1] + "…"
