"""The pages are fresh, their YAML loads, their commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent

import pytest

from pytest_releasegate.checklist.loader import load
from pytest_releasegate.checks import kinds, load_kind
from pytest_releasegate.cli import build_parser
from pytest_releasegate.lifecycle.foreign import read_attestations, read_waivers

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[tuple[str, str]]:
    """The blocks of that kind in all pages, with the page's name."""
    return [
        (path.name, text) for path in PAGES for found, text in BLOCK.findall(path.read_text("utf-8")) if found == kind
    ]


def test_generated_pages_are_fresh():
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_architecture_page_is_short():
    assert len((ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8").splitlines()) <= 60


UNNAMED = [block for block in blocks("yaml") if block[0] != "checks.md" and not block[1].startswith("# gates/")]


@pytest.mark.parametrize(("page", "text"), UNNAMED)
def test_yaml_blocks_load(product, page, text):
    """A whole file as it is, gates or one check inside of one; environments as themselves."""
    if text.partition(":")[0] in kinds():
        text = "- id: a\n  title: A\n" + indent(text, "  ")
    if text.startswith("- id:"):
        head = 'phase: predeploy\nitems:\n  - item: "1"\n    title: T\n    gates:\n'
        product.write("gates/page.yaml", head + indent(text, " " * 6))
    elif text.startswith(("default:", "environments:")):
        product.write("gates/environments.yaml", text)
        product.gates("predeploy", "id: a, title: A, document: NOTES.md")
    else:
        product.write("gates/page.yaml", text)
    for file in re.findall(r"test: (\S+?\.py)", text):
        product.write(file, "")
    assert load(product.root / "gates", product.root).declarations


def test_the_files_of_the_policy_load_together(product):
    named = [text for page, text in blocks("yaml") if page == "policy.md"]
    for text in named:
        product.write(text.split()[1], text)
    product.write("gates/environments.yaml", "environments: {prod: {}, staging: {}}\n")
    rules = load(product.root / "gates", product.root).rules
    assert rules
    assert (len(named), list(rules.profiles), next(iter(rules.roles)), rules.after) == (
        3,
        ["hotfix"],
        "release_manager",
        {"prod": ("staging",)},
    )


def test_the_files_of_other_tools_are_read():
    now = datetime(2026, 3, 1, tzinfo=UTC)
    ((word,), odd), (waiver,) = (
        read_attestations("a.json", dict(blocks("json"))["claims.md"], "", now),
        read_waivers("w.yaml", dict(blocks("text"))["claims.md"], "Europe/Berlin")[0],
    )
    assert (word.gate, word.person, odd) == ("6.3.4", "cyd@clinic.example", [])
    assert (waiver.gate, waiver.role, waiver.expires_at) == (
        "6.3.1",
        "release_manager",
        datetime(2026, 3, 13, 23, tzinfo=UTC),
    )


@pytest.mark.parametrize(("page", "text"), blocks("sh") + blocks("console"))
def test_commands_exist(page, text):
    """Each command of a page is one that its program takes."""
    lines = [
        line.removeprefix("$ ") for line in text.splitlines() if page and line.strip() and not line.startswith("#")
    ]
    commands = [line for line in lines if re.match(r"(releasegate|pytest|make|pip|nox|git) ", line)]
    assert commands
    for line in commands:
        words = shlex.split(line, comments=True)
        if words[0] == "releasegate":
            assert build_parser().parse_args(words[1:]).command == words[1]
        elif words[0] == "make":
            assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text("utf-8")
        elif words[0] == "pytest":
            options = subprocess.run(
                [sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True
            )
            for word in words[1:]:
                assert not word.startswith("--") or word.split("=")[0] in options.stdout, line


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_blocks_compile(page, text):
    compile(text, page, "exec")


def inline() -> list[tuple[str, str]]:
    """The commands that stand in the sentences of the pages."""
    pages = [(path.name, BLOCK.sub("", path.read_text("utf-8"))) for path in PAGES]
    found = [
        (name, " ".join(text.split())) for name, page in pages for text in re.findall(r"`(releasegate [^`]+)`", page)
    ]
    return [(name, text) for name, text in dict.fromkeys(found) if "..." not in text and " COMMAND" not in text]


def test_commands_in_sentences_exist(capsys):
    """A mention may leave out what a command needs, and names no option that it does not have."""
    wrong = []
    for page, text in inline():
        try:
            build_parser().parse_args(shlex.split(text)[1:])
        except SystemExit:
            told = capsys.readouterr().err
            wrong += [(page, text)] if "unrecognized" in told or "invalid choice" in told else []
    assert (wrong, len(inline()) > 40) == ([], True)


def test_the_kinds_that_look_together_are_named():
    section = (ROOT / "docs" / "gate-files.md").read_text("utf-8").partition("## Gates that look together")[2]
    named = re.findall(r"`(\w+)`", section.partition("These kinds do:")[2].partition("\n\n")[0])
    assert sorted(named) == [name for name in kinds() if hasattr(load_kind(name), "waits")]


def test_fragments_of_the_changelog_are_of_kinds_that_its_tool_knows():
    kinds = {path.suffixes[-2] for path in (ROOT / "changelog.d").glob("*.md")}
    assert kinds <= {".feature", ".bugfix", ".doc", ".removal", ".misc"}
