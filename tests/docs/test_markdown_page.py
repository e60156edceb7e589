"""The page on Markdown, done as it says: its document, its commands, their output."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from pytest_releasegate.cli import main
from pytest_releasegate.testing import FakeClock

PAGE = (Path(__file__).parents[2] / "docs" / "markdown.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    """The blocks of that kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def steps() -> list[tuple[list[str], str]]:
    """Each command's words, and the output that the page shows."""
    parts = re.split(r"^\$ ", "".join(blocks("console")), flags=re.MULTILINE)[1:]
    return [(shlex.split(part.partition("\n")[0])[1:], part.partition("\n")[2]) for part in parts]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("RELEASEGATE_RECORD", "RELEASEGATE_RELEASE", "RELEASEGATE_ENV", "PYTEST_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "RELEASE.md").write_text(blocks("markdown")[0], encoding="utf-8")
    return tmp_path


def test_the_commands_say_what_the_page_shows(folder, capsys):
    for words, shown in steps():
        assert main(words, FakeClock(datetime(2026, 3, 1, 2, 0, tzinfo=UTC))) == 0
        out = capsys.readouterr().out
        pattern = re.escape(shown).replace(re.escape("...\n"), "(?s:.*)")
        assert re.fullmatch(pattern, out), (shown, out)
    assert len(steps()) == 4


def test_the_gate_file_is_the_one_that_the_page_shows(folder, capsys):
    main(steps()[0][0])
    shown = blocks("yaml")[0]
    written = (folder / shown.partition("\n")[0].removeprefix("# ")).read_text("utf-8")
    body = shown.partition("\n")[2]
    assert body in written.partition("\n")[2]
    assert yaml.safe_load(written)["items"][0]["gates"][0] == yaml.safe_load(shown)["items"][0]["gates"][0]
