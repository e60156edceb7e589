"""`document` on real files."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.document import Document
from pytest_releasegate.model import Ok, Release, Status
from pytest_releasegate.sources.markdown import sections, visible
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_releasegate.execution import Look

RELEASE = Release(product="demo", version="1.4.0", environment="prod", opened_at=datetime(2026, 1, 5, tzinfo=UTC))
NOTES = """\
---
title: Notes
---
# Release [1.4.0](https://example.org) - 2026-01-05

## User-facing changes

- Notes can be **pinned**.
- Charts load twice as fast.

Known issues
------------

| Issue | Workaround |
|-------|------------|
| #12   | Reload.    |

## Breaking changes ##

```python
## Not a heading
```

### Upgrade

Nobody has to do anything.

## Migration
"""


def run(root: Path, text: str | None = None, **fields: Any) -> Look:
    if text is not None:
        (root / "notes.md").write_text(text)
    return look(Document(**{"path": "notes.md", **fields}), root=root, release=RELEASE)


def said(result: Look) -> list[str]:
    return [str(finding) for finding in result.findings if finding.ok is not Ok.YES]


def test_written_sections_pass_and_are_counted(tmp_path: Path) -> None:
    headings = ("user-facing changes", "Known issues", "Breaking changes", "${release.version}")
    result = run(tmp_path, NOTES, sections=headings, contains=["Notes can be", "${release.version}"])
    assert (result.status, said(result)) == (Status.PASSED, [])
    lines = [str(finding) for finding in result.findings]
    assert lines[0] == "documents looked at: expected >= 1, got 1"
    assert "notes.md section 'Known issues' headings looked at: expected >= 1, got 1" in lines
    assert "notes.md section 'Known issues': expected something written, got 2 words" in lines
    assert [evidence.name for evidence, _ in result.attached] == ["notes.md", "documents.txt"]


def test_headings_are_those_that_a_reader_sees() -> None:
    text = NOTES + "\n<!--\n## Hidden\n-->\n`<!--`\n~~~\n<!--\n~~~\n## Last\n* * *\nA\n\n---\n"
    found = [(section.level, section.title) for section in sections(visible(text))]
    assert found == [
        (1, "Release 1.4.0 - 2026-01-05"),
        (2, "User-facing changes"),
        (2, "Known issues"),
        (2, "Breaking changes"),
        (3, "Upgrade"),
        (2, "Migration"),
        (2, "Last"),
    ]


def test_absent_and_empty_sections_fail(tmp_path: Path) -> None:
    result = run(tmp_path, NOTES, sections=("Migration", "Not a heading", "Rollback"))
    assert result.status is Status.FAILED
    known = "Release 1.4.0 - 2026-01-05, User-facing changes, Known issues, Breaking changes, Upgrade, Migration"
    assert said(result) == [
        "notes.md section 'Migration': expected something written, got nothing",
        f"notes.md section 'Not a heading': expected present, got absent (headings: {known})",
        f"notes.md section 'Rollback': expected present, got absent (headings: {known})",
    ]


@pytest.mark.parametrize(
    "body",
    [
        "TODO",
        "TODO write this before the release",
        "todo: write this",
        "TBD.",
        "n/a",
        "<br/>",
        "&nbsp;",
        "see TODO",
        "- N/A",
        "...",
        "…",
        "-",
        "- \n- \n* ",
        "- [ ] ",
        "1. TBD",
        "> *tbd*",
        "**TODO**",
        "[Describe the issues]",
        "<describe the issues>",
        "<!-- Describe the issues here. -->",
        "<!-- Describe\n\nthe issues",
        "Lorem ipsum dolor sit amet,\nconsectetur adipiscing elit.",
        "| Issue | Workaround |\n|---|---|\n| TBD | n/a |",
        "```yaml\n```",
        "### Details\n\n### More",
        "Details\n---",
        "To be determined",
        "---",
    ],
)
def test_placeholders_count_as_nothing(tmp_path: Path, body: str) -> None:
    result = run(tmp_path, f"# Notes\n\n## Known issues\n\n{body}\n", section="Known issues")
    assert result.status is Status.FAILED
    assert said(result)[0].startswith("notes.md section 'Known issues': expected something written, got ")


@pytest.mark.parametrize(
    "body",
    [
        "None.",
        "Todo lists lose their order.",
        "- [x] Reload.",
        "```\nmake rollback\n```",
        "[#12](https://example.org/12)",
        "無し",
    ],
)
def test_short_but_real_content_passes(tmp_path: Path, body: str) -> None:
    assert run(tmp_path, f"## Known issues\n{body}\n", section="Known issues").status is Status.PASSED


def test_what_was_found_instead_is_said(tmp_path: Path) -> None:
    text = "# Notes\n\n## Known issues\n\nTODO: ask support\n"
    assert said(run(tmp_path, text, section="Known issues")) == [
        "notes.md section 'Known issues': expected something written, got only 'TODO: ask support'"
    ]
    assert run(tmp_path, text, section="Known issues", not_placeholder=False).status is Status.PASSED


def test_whole_documents_need_something_written_too(tmp_path: Path) -> None:
    assert said(run(tmp_path, "# Title\n\nTBD\n")) == ["notes.md: expected something written, got only '# Title TBD'"]
    assert said(run(tmp_path, "")) == ["notes.md: expected something written, got nothing"]
    assert run(tmp_path, "Plain words, no heading.").status is Status.PASSED


def test_too_few_words_fail(tmp_path: Path) -> None:
    text = "## Rollback plan\n\nRestore the snapshot. TBD\n\n- TODO\n"
    result = run(tmp_path, text, section="Rollback plan", min_words=5)
    assert result.status is Status.FAILED
    assert said(result) == ["notes.md section 'Rollback plan': expected >= 5 words, got 4 words"]
    assert run(tmp_path, text, section="Rollback plan", min_words=4).status is Status.PASSED


def test_two_sections_of_a_name_cannot_tell_when_one_is_empty(tmp_path: Path) -> None:
    result = run(tmp_path, "## Rollback\n\nRestore it.\n\n## Rollback\n\nTBD\n", section="Rollback")
    assert result.status is Status.INCONCLUSIVE
    assert said(result) == [
        "notes.md section 'Rollback': expected something written, got 2 of that name, 1 of them with it"
    ]
    assert run(tmp_path, "## Rollback\nA\n## Rollback\nB\n", section="Rollback").status is Status.PASSED
    assert run(tmp_path, "## Rollback\n## Rollback\n", section="Rollback").status is Status.FAILED


@pytest.mark.parametrize("text", ["11.4.0", "1.4.01", "1.4.0-rc1", "1.4.0.1", "3.1.4.0", "1.4.0b2"])
def test_another_version_is_not_the_releases(tmp_path: Path, text: str) -> None:
    result = run(tmp_path, f"We release {text} today.", contains="${release.version}")
    assert result.status is Status.FAILED
    assert said(result) == ["notes.md text '1.4.0': expected present, got absent"]


@pytest.mark.parametrize("text", ["1.4.0", "v1.4.0.", "(1.4.0)", "demo-1.4.0:", "[1.4.0] - today"])
def test_the_releases_version_is_found_in_running_text(tmp_path: Path, text: str) -> None:
    assert run(tmp_path, f"We release {text} today.", contains="${release.version}").status is Status.PASSED


def test_texts_are_found_across_lines_but_not_in_comments(tmp_path: Path) -> None:
    text = "Restore the\n  snapshot first. <!-- secret words -->"
    assert run(tmp_path, text, contains="the snapshot").status is Status.PASSED
    assert said(run(tmp_path, text, contains="secret words")) == [
        "notes.md text 'secret words': expected present, got absent"
    ]


def test_missing_documents_fail(tmp_path: Path) -> None:
    result = run(tmp_path, path="docs/${release.version}.md")
    assert result.status is Status.FAILED
    assert said(result) == [
        "docs/1.4.0.md: expected a document, got no such file",
        "documents looked at: expected >= 1, got 0",
    ]
    nothing = run(tmp_path, path="docs/*.md")
    assert (nothing.status, said(nothing)[0]) == (Status.FAILED, "docs/*.md: expected a document, got no such file")


def test_patterns_look_at_every_document(tmp_path: Path) -> None:
    (tmp_path / "runbooks" / "folder.md").mkdir(parents=True)
    (tmp_path / "runbooks" / "a.md").write_text("## Rollback\n\nRestore it.\n")
    (tmp_path / "runbooks" / "b.md").write_text("## Rollback\n")
    result = run(tmp_path, path="**/*.md", section="Rollback")
    assert result.status is Status.FAILED
    assert said(result) == ["runbooks/b.md section 'Rollback': expected something written, got nothing"]
    assert str(result.findings[0]) == "documents looked at: expected >= 1, got 2"
    assert run(tmp_path, path="runbooks/a*.md", section="Rollback").status is Status.PASSED


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_bytes(b"# Notes \xff\xfe")
    (tmp_path / "docs").mkdir()
    os.mkfifo(tmp_path / "pipe.md")
    outside = tmp_path.parent / f"{tmp_path.name}-outside.md"
    outside.write_text("elsewhere")
    (tmp_path / "link.md").symlink_to(outside)
    with (tmp_path / "large.md").open("wb") as large:
        large.truncate(6 * 1024 * 1024)
    for path, message in {
        "notes.md": "notes.md is not UTF-8 text: byte 8",
        "docs": "docs is a folder",
        "pipe.md": "pipe.md is not a regular file",
        "link.md": "link.md leads out of the root",
        "large.md": "large.md has 6291456 bytes, more than 5242880",
    }.items():
        result = run(tmp_path, path=path)
        assert (result.status, result.message.startswith(message)) == (Status.ERROR, True), result.message


def test_a_version_that_leaves_the_root_is_an_error(tmp_path: Path) -> None:
    release = replace(RELEASE, version="../../secrets")
    result = look(Document(path="docs/${release.version}.md"), root=tmp_path, release=release)
    assert (result.status, "expected a path inside the root" in result.message) == (Status.ERROR, True)


def test_a_release_without_commit_cannot_be_looked_for(tmp_path: Path) -> None:
    result = run(tmp_path, "Some words.", contains="${release.git_commit}")
    assert (result.status, "release 1.4.0/prod knows no git_commit" in result.message) == (Status.ERROR, True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": ""}, "at least 1 character"),
        ({"path": "../notes.md"}, "expected a path inside the root"),
        ({"path": "/etc/passwd"}, "expected a path inside the root"),
        ({"path": "docs/**.md"}, "as a whole part"),
        ({"path": "a.md", "contains": [""]}, "at least 1 character"),
        ({"path": "a.md", "contains": "${release.name}"}, "unknown placeholder"),
        ({"path": "a.md", "min_words": "5"}, "valid integer"),
        ({"path": "a.md", "min_words": 0}, "greater than or equal to 1"),
        ({"path": "a.md", "not_placeholder": "no"}, "valid boolean"),
    ],
)
def test_wrong_declarations_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Document.model_validate(fields)
