"""`releasegate import` and `releasegate complete`: from a team's Markdown to gates, and back."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pytest_releasegate.cli import main
from pytest_releasegate.policy import placeholder
from pytest_releasegate.testing import FakeClock

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "PRODUCTION_RELEASE_CHECKLIST.md"
TEXT = """\
# Release

## Before the release

- [x] Changelog is written
- [ ] Backups
  - full backup of last night
  - restored on a spare server (if migration)

## Monitoring

- [ ] Error rate below 1 %
"""


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Call a command in an empty folder; gives exit code and output."""
    monkeypatch.chdir(tmp_path)
    for name in ("RELEASEGATE_RECORD", "RELEASEGATE_RELEASE", "RELEASEGATE_ENV", "PYTEST_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str, at: datetime = NOW) -> tuple[int, str]:
        code = main(list(words), FakeClock(at))
        seen = capsys.readouterr()
        return code, seen.out + seen.err

    return run


def write(text: str | bytes, name: str = "CHECKLIST.md") -> Path:
    path = Path(name)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_import_writes_gates_that_load_and_says_what_it_guessed(call):
    write(TEXT)
    code, out = call("import", "CHECKLIST.md")
    assert (code, out.splitlines()) == (
        0,
        [
            "CHECKLIST.md: 12 lines: 1 items, 4 gates, 0 fields (details of an item), 0 triggers, 0 roles, "
            "3 headings, 0 prose, 4 blank, 0 ignored",
            "gates: 4 gates in 2 files: 4 predeploy; 2 with a suggested check",
            "1 were ticked: a tick is a claim; imported as pending",
            "CHECKLIST.md:10: a guess: no heading says the phase of 1 gates under 'Monitoring': predeploy",
            "facts that conditions ask for, pending until declared: migration",
            "gates/environments.yaml: an environment without address, to be filled in",
        ],
    )
    code, out = call("check", "--strict")
    assert (code, out.splitlines()[0]) == (0, "4 gates in 3 items: 4 attest")


def test_suggestions_stand_above_their_gates_as_comments(call):
    write(TEXT)
    call("import", "CHECKLIST.md")
    lines = Path("gates/02-monitoring.yaml").read_text("utf-8").splitlines()
    at = lines.index("      - id: monitoring.error-rate-below")
    assert lines[at - 1] == '      # suggestion: metrics: {watch: 15m, error_rate: "<= 1%"}  ("Error rate")'
    assert lines[1].startswith("# guess: ")


def test_nothing_is_written_over_without_force(call):
    write(TEXT)
    call("import", "CHECKLIST.md")
    path = Path("gates/02-monitoring.yaml")
    path.write_text("# mine\n", encoding="utf-8")
    code, out = call("import", "CHECKLIST.md")
    assert (code, "gates/02-monitoring.yaml:1:1: is there already" in out, "--force" in out) == (4, True, True)
    assert path.read_text("utf-8") == "# mine\n"
    assert call("import", "CHECKLIST.md", "--force")[0] == 0
    assert "attest" in path.read_text("utf-8")


def test_ids_that_other_files_have_are_told_before_anything_is_written(call):
    write(TEXT)
    call("import", "CHECKLIST.md")
    Path("gates/02-monitoring.yaml").rename("gates/mine.yaml")
    code, out = call("import", "CHECKLIST.md", "--force")
    assert (code, "'monitoring.error-rate-below' is given twice" in out) == (4, True)
    assert not Path("gates/02-monitoring.yaml").exists()


def test_each_ignored_line_is_told_with_its_reason(call):
    write("# A\n\n---\n\n- [ ] a\n\n<!-- - [ ] b -->\n\n```\nc\n```\n\n## Links\n\n- d\n")
    out = call("import", "CHECKLIST.md", "--account")[1]
    assert [line for line in out.splitlines() if "ignored, " in line] == [
        "CHECKLIST.md:3: ignored, a rule: ---",
        "CHECKLIST.md:7: ignored, a comment: <!-- - [ ] b -->",
        "CHECKLIST.md:15: ignored, a plain list under 'Links', which names no steps: - d",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "CHECKLIST.md: cannot be read: No such file or directory"),
        (b"", "CHECKLIST.md:1:1: the file is empty"),
        (b" \n\t\n", "CHECKLIST.md:1:1: the file is empty"),
        (b"# A\n\ncaf\xe9\n", "CHECKLIST.md:3:1: not UTF-8 text: byte 8 is 0xe9"),
        (b"\n# Only words\n\nHere.\n", "CHECKLIST.md:2:1: nothing to check in 4 lines"),
        (b"- [ ] a\n" * 1_300_000, "CHECKLIST.md:1:1: 10,400,000 bytes; a checklist has at most 2,000,000"),
        (b"- [ ] a\n" * 10_001, "CHECKLIST.md:10001:1: 10,001 lines; a checklist has at most 10,000"),
        (b"".join(b"  " * depth + b"- [ ] a\n" for depth in range(90)), "CHECKLIST.md:39:1: more than 38 levels"),
    ],
    ids=["missing", "empty", "blank", "latin-1", "prose", "10 MB", "long", "deep"],
)
def test_what_is_no_checklist_is_refused(call, content, said):
    if content is not None:
        write(content)
    for words in (["import"], ["complete"]):
        code, out = call(*words, "CHECKLIST.md")
        assert (code, said in out) == (4, True), out
    assert not Path("gates").exists()


def test_a_folder_is_no_checklist_and_a_file_no_folder(call):
    Path("CHECKLIST.md").mkdir()
    assert call("import", "CHECKLIST.md")[1].endswith("Is a directory\n    a Markdown file is expected\n")
    write(TEXT, "a.md")
    code, out = call("import", "a.md", "--into", "a.md")
    assert (code, out.endswith("releasegate import: --into: a.md is no folder\n")) == (4, True)


def test_reference_goes_in_and_comes_back(call):
    shutil.copy(REFERENCE, "CHECKLIST.md")
    out = call("import", "CHECKLIST.md")[1]
    assert "611 lines: 66 items, 245 gates, 2 fields (details of an item), 11 triggers, 5 roles" in out
    assert f"[{placeholder('product_owner')}]" in Path("gates/stakeholders.yaml").read_text("utf-8")
    code, out = call("check")
    assert (code, out.splitlines()[0]) == (0, "261 gates in 69 items: 256 attest, 5 sign_off")
    assert call("open", "1.4.0", "--commit", "c0ffee" * 6 + "abcd")[0] == 0
    out = call("complete", "CHECKLIST.md", "--plain", "--release", "1.4.0")[1]
    assert Path(".releasegate/CHECKLIST.md").read_bytes() == REFERENCE.read_bytes()
    assert "0 boxes ticked" in out


def test_complete_ticks_what_people_have_said(call):
    write(TEXT)
    call("import", "CHECKLIST.md")
    call("open", "1.4.0", "--commit", "c0ffee" * 6 + "abcd", "--fact", "migration=false")
    gates = ["before-release.full-backup-last", "monitoring.error-rate-below"]
    for gate, status in zip(gates, ["passed", "failed"], strict=True):
        words = ["--status", status, "--person", "marta@ehr.example", "--evidence", "https://t.example/1"]
        assert call("attest", gate, *words, "--release", "1.4.0", at=NOW + timedelta(minutes=5))[0] == 0
    code, out = call("complete", "CHECKLIST.md", "--output", "-", "--plain", "--release", "1.4.0", at=NOW)
    assert (code, out) == (0, TEXT.replace("[x] Change", "[ ] Change").replace("[ ] Backups", "[x] Backups"))
    said = call("complete", "CHECKLIST.md", "--output", "out.md", "--release", "1.4.0", at=NOW)[1]
    assert "1 ticked in CHECKLIST.md that the record does not back: line 5" in said
    lines = Path("out.md").read_text("utf-8").splitlines()
    word = "2026-03-01 02:05 UTC, marta@ehr.example, [evidence](<https://t.example/1>)"
    assert f"\u2014 **attested** {word}" in lines[6]
    assert "\u2014 **not applicable**" in lines[7]
    assert f"\u2014 **failed** {word}" in lines[11]
    assert lines[11].startswith("- [ ] Error rate")


def test_complete_names_lines_that_the_plan_has_no_gate_for(call):
    write(TEXT)
    call("import", "CHECKLIST.md")
    call("open", "1.4.0", "--commit", "c0ffee" * 6 + "abcd")
    write(TEXT.replace("full backup of last night", "another backup") + "- [x] Something new\n")
    out = call("complete", "CHECKLIST.md", "--verbose", "--release", "1.4.0")[1]
    assert "2 lines name no gate of the plan" in out
    assert "CHECKLIST.md:7: no gate before-release.another-backup" in out
    assert "CHECKLIST.md:13: no gate monitoring.something-new" in out
    assert "- [ ] Something new" in Path(".releasegate/CHECKLIST.md").read_text("utf-8")


def test_stakeholders_who_are_there_stay_and_missing_roles_are_told(call):
    write("# A\n\n- [ ] a\n\n## Sign-off\n\n| Role | Signature |\n|---|---|\n| QA Lead | |\n| DBA | |\n")
    people = write("roles: {dba: {people: [ann@ehr.example]}}\n", "stakeholders.yaml")
    Path("gates").mkdir()
    people = people.rename("gates/stakeholders.yaml")
    out = call("import", "CHECKLIST.md")[1]
    assert "gates/stakeholders.yaml has no role qa_lead, release_manager, and gates ask for it" in out
    assert placeholder("qa_lead") not in people.read_text("utf-8")


def test_a_line_that_moved_does_not_get_the_status_of_another(call):
    write("## 1. Pre-release\n\n- [ ] a\n- [ ] b\n")
    call("import", "CHECKLIST.md")
    call("open", "1.4.0", "--commit", "c0ffee" * 6 + "abcd")
    call("attest", "1.1", "--status", "passed", "--person", "marta@ehr.example", "--release", "1.4.0")
    words = ["complete", "CHECKLIST.md", "--output", "-", "--plain", "--release", "1.4.0"]
    assert call(*words)[1].splitlines()[2:] == ["- [x] a", "- [ ] b"]
    write("## 1. Pre-release\n\n- [ ] new\n- [ ] a\n- [ ] b\n")
    assert call(*words)[1].splitlines()[2:] == ["- [ ] new", "- [ ] a", "- [ ] b"]
