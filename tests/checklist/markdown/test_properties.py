"""Whatever a Markdown file holds: it is refused in our words, or its account adds up and its gates load."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_releasegate.checklist.loader import read_gates
from pytest_releasegate.checklist.markdown.completing import Mark, complete
from pytest_releasegate.checklist.markdown.entries import Part
from pytest_releasegate.checklist.markdown.gatefiles import SIGN_OFF, gate_files
from pytest_releasegate.checklist.markdown.lines import source_of, stripped
from pytest_releasegate.checklist.markdown.reading import Reading, read_checklist
from pytest_releasegate.checklist.nodes import read
from pytest_releasegate.errors import UsageProblem

MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PIECES = [
    *("- [ ] ", "- [x] ", "* ", "1. ", "2) ", "# ", "### Step 3: ", "  ", "\t", "> ", "| ", "|---|---|\n", "```\n"),
    *("\n", "\r\n", "\r", "\n\n", "<!--", "-->", "**", "☐ ", "✅ ", "⚠️", "Run it", "(if required)", "choose one"),
    *("T-24h", "Rollback criteria", "Sign-off", "Role", "Signature", "Status", "===\n", "---\n", "[x](y)", "\x00"),
    *("\ufeff", "é", "\u2028", "\x85", "`code`", "Command: x", "**High**: y", "1.2.3 ", " | ", "|\n", "null", "{", '"'),
    *("__", "~~a~~", "\\", "<details>", "Day 1", "::", "1e5", "$", "#", "%", "@", "yes", "-->\n", "'"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=60)


def told(text: str) -> Reading | None:
    """What was read, None where it was refused as a user's mistake."""
    try:
        reading = read_checklist(source_of(text, "x.md"))
        reading.refuse_nothing()
    except UsageProblem:
        return None
    return reading


@MANY
@given(TEXTS)
def test_the_account_adds_up_and_no_id_is_given_twice(text):
    try:
        reading = read_checklist(source_of(text, "x.md"))
    except UsageProblem:
        return
    assert sum(reading.account.counts.values()) == len(reading.source.lines)
    assert all(reason for _, reason in reading.account.ignored())
    names = [entry.id for entry in reading.of(Part.GATE, Part.TRIGGER, Part.ROLE)]
    assert len(names) == len(set(names))


@MANY
@given(TEXTS)
def test_what_is_written_loads_with_the_same_words(text):
    reading = told(text)
    if reading is None:
        return
    ids, titles = {}, {}
    with TemporaryDirectory() as folder:
        for name, content in gate_files(reading).items():
            path = Path(folder) / name
            path.write_text(content, encoding="utf-8", newline="\n")
            tree = read(path, name)
            found = read_gates(tree, ids)
            if name != SIGN_OFF:
                assert tree.problems == []
                titles |= {declared.gate.id: declared.gate.title for declared in found}
    assert titles == {entry.id: entry.title for entry in reading.of(Part.GATE, Part.TRIGGER)}


@MANY
@given(TEXTS, st.integers(0, 3))
def test_completing_adds_nothing_that_cannot_be_taken_away(text, salt):
    reading = told(text)
    if reading is None:
        return
    gates = reading.of(Part.GATE, Part.TRIGGER, Part.ROLE)
    marks = {entry.id: Mark("passed", holds=(entry.line + salt) % 3 > 0, who="a|b -->") for entry in gates}
    done = complete(reading, marks)
    assert stripped(done.text) == complete(reading, marks, plain=True).text
    assert complete(read_checklist(source_of(done.text, "x.md")), marks).text == done.text
    if not any(entry.box for entry in reading.each()):
        assert complete(reading, {}, plain=True).text == stripped(text)


@pytest.mark.parametrize("text", ["- [ ] a\n" * 9_999, "> " * 9 + "- [ ] a\n" + "x\n" * 5_000, "| a | ☐ |\n" * 9_000])
def test_long_documents_are_read(text):
    reading = read_checklist(source_of(text, "x.md"))
    assert sum(reading.account.counts.values()) == len(reading.source.lines) >= 5_000
