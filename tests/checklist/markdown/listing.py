"""What an importer made of a document, in lines that a person can check against it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from pytest_releasegate.checklist.markdown.entries import Part
from pytest_releasegate.checklist.markdown.gatefiles import gate_files
from pytest_releasegate.checklist.markdown.lines import read_source
from pytest_releasegate.checklist.markdown.reading import read_checklist
from pytest_releasegate.checklist.markdown.telling import account_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GATE = re.compile(r"  \S+ \| ")
KEYS = ("severity", "when", "alternatives", "trigger", "attest", "sign_off")


def listing(path: Path) -> str:
    """The account, each gate as the gate files have it, the ticked and the ignored lines."""
    reading = read_checklist(read_source(path, path.name))
    lines = [account_line(reading)]
    for text in gate_files(reading).values():
        lines += _gates(yaml.load(text, yaml.BaseLoader))
    ticked = [entry.id for entry in reading.each() if entry.box]
    lines += [f"ticked: {', '.join(ticked)}"] if ticked else []
    lines += [f"{entry.id} has: {detail}" for entry in reading.each() for detail in entry.details]
    reasons: dict[str, list[int]] = {}
    for number, reason in reading.account.ignored():
        reasons.setdefault(reason, []).append(number)
    lines += [f"ignored, {reason}: {', '.join(map(str, numbers))}" for reason, numbers in reasons.items()]
    assert sum(reading.account.counts.values()) == len(reading.source.lines)
    assert len(reading.of(Part.GATE, Part.TRIGGER, Part.ROLE)) == sum(bool(GATE.match(line)) for line in lines)
    return "\n".join(lines) + "\n"


def _gates(file: dict[str, object]) -> Iterator[str]:
    for item in file["items"]:  # type: ignore[attr-defined]
        place = "/".join(filter(None, [str(file["phase"]), item.get("step", "")]))
        when = f" when {item['when']}" if "when" in item else ""
        yield f"[{place}] {item['item']} {item['title']}{when}"
        for gate in item["gates"]:
            extra = " ".join(f"{key}={_short(gate[key])}" for key in KEYS if key in gate)
            yield f"  {gate['id']} | {gate['title']} | {extra}"


def _short(value: object) -> str:
    return str(value["role"]) if isinstance(value, dict) else str(value)
