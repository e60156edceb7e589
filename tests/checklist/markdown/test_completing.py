"""`complete` ticks what the record backs, unticks what it does not, and leaves every other byte alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pytest_releasegate.checklist.markdown.completing import Mark, complete
from pytest_releasegate.checklist.markdown.entries import Part
from pytest_releasegate.checklist.markdown.lines import CLOSE, OPEN, source_of, stripped
from pytest_releasegate.checklist.markdown.reading import read_checklist

AT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
PASSED = Mark("passed", holds=True, at=AT)


def completed(text, marks=None, *, plain=True, holds=True):
    """The text after `complete`, by default with every gate holding."""
    reading = read_checklist(source_of(text, "x.md"))
    if marks is None:
        gates = reading.of(Part.GATE, Part.TRIGGER, Part.ROLE)
        marks = {entry.id: Mark("passed" if holds else "failed", holds=holds) for entry in gates}
    return complete(reading, marks, plain=plain)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("- [ ] a", "- [x] a"),
        ("- [X] a\n", "- [X] a\n"),
        ("\ufeff# A\r\n\r\n1) [ ] a  \r\n", "\ufeff# A\r\n\r\n1) [x] a  \r\n"),
        ("> * [ ] a\n>   + [ ] b\n", "> * [x] a\n>   + [x] b\n"),
        ("\t- [ ] code, no box\n\n- [ ] a\n", "\t- [ ] code, no box\n\n- [x] a\n"),
        ("☐ a\n⬜ b\n", "☑ a\n✅ b\n"),
        ("| Task | Done |\n|-|-|\n| a \\| b | [ ] |\nc | ⬜\n", "| Task | Done |\n|-|-|\n| a \\| b | [x] |\nc | ✅\n"),
        ("<!-- - [ ] a -->\n\n- [ ] a\n", "<!-- - [ ] a -->\n\n- [x] a\n"),
    ],
)
def test_boxes_are_ticked_and_nothing_else(before, after):
    assert completed(before).text == after
    assert completed(after, holds=False).text in (before, before.replace("[X]", "[ ]"))


def test_a_box_over_others_is_ticked_when_all_of_them_hold():
    text = "- [x] all\n  - [ ] one\n  - two\n"
    ids = ["top.one", "top.two"]
    half = completed(text, {ids[0]: PASSED, ids[1]: Mark("pending", holds=False)})
    assert (half.text, half.unticked) == ("- [ ] all\n  - [x] one\n  - two\n", [1])
    assert completed(text, dict.fromkeys(ids, PASSED)).text == "- [x] all\n  - [x] one\n  - two\n"


def test_lines_that_are_in_no_plan_are_named_and_unticked():
    done = completed("- [x] gone\n- [ ] here\n", {"top.here": PASSED})
    assert (done.text, done.unknown, done.unticked) == ("- [ ] gone\n- [x] here\n", [(1, "top.gone")], [1])


def test_notes_say_status_time_person_and_evidence():
    mark = Mark("attested", holds=True, at=AT, who="marta@ehr.example", evidence="https://t.example/1")
    said = "\u2014 **attested** 2026-03-01 02:00 UTC, marta@ehr.example, [evidence](<https://t.example/1>)"
    text = "# T\n\n## Step 1: Deploy ##  \n\n```\nx\n```\n\n- [ ] a (if b)  \n  more\\\n"
    marks = {"1": mark, "1.a-if-b-more": mark, "1.1": mark}
    done = completed("- [ ] a  \n  more words  \r\n", {"top.more-words": mark}, plain=False)
    assert done.text == f"- [x] a  \n  more words {OPEN}{said}{CLOSE}  \r\n"
    done = completed(text.partition("- [ ]")[0], marks, plain=False)
    assert f"## Step 1: Deploy {OPEN}{said}{CLOSE} ##  \n" in done.text
    assert stripped(done.text) == text.partition("- [ ]")[0]


def test_an_earlier_note_is_replaced():
    first = completed("- [ ] a\n", {"top.a": Mark("failed", holds=False)}, plain=False).text
    assert "**failed**" in first
    second = completed(first, {"top.a": PASSED}, plain=False).text
    assert ("**failed**" in second, "**passed**" in second, second.count(OPEN)) == (False, True, 1)


def test_the_table_to_sign_is_filled_where_it_is_empty():
    text = (
        "## Sign-off\n\n| Role | Name | Signature | Date | Time |\n|---|---|---|---|---|\n| QA Lead | | | by hand | |\n"
    )
    text += "\n- [ ] a\n"
    mark = Mark("passed", holds=True, at=AT, who="Ann", signature="SHA256:abc")
    row = completed(text, {"SIGN.1": mark}, plain=False).text.splitlines()[4]
    assert row.replace(OPEN, "").replace(CLOSE, "") == "| QA Lead | Ann | SHA256:abc | by hand | 02:00 UTC |"
    unsigned = completed(text, {"SIGN.1": Mark("pending", holds=False)}, plain=False).text
    assert unsigned.splitlines()[4] == text.splitlines()[4]
