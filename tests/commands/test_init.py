"""`releasegate init` in a folder that has nothing: what it writes is a checklist that looks at once."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from hatchling.builders.wheel import WheelBuilder

from pytest_releasegate.checklist.reference import FOLDERS, reference
from pytest_releasegate.cli import main
from tests.conftest import Product

ROOT = Path(__file__).parents[2]
DSN = "${env:ACME_DSN}"
CHECKLIST = """# Release

## Before the release

- [ ] **Backups verified**
  - Full backup within 24 hours

## Sign-off

| Role | Name | Signature | Date |
|------|------|-----------|------|
| Release Manager | | | |
"""
PROJECT = '[project]\nversion = "2.1"\n'
FACTS = ("maintenance=true", "payments=false")


class Fresh(Product):
    """A product with nothing in it yet."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def init(self, *words: str, **variables: str):
        return self.releasegate("init", "--yes", "--product", "acme", *words, **variables)

    def text(self, name: str) -> str:
        return (self.root / name).read_text("utf-8")

    def written(self) -> set[str]:
        found = (path for path in self.root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(self.root).as_posix() for path in found}


@pytest.fixture
def fresh(tmp_path):
    return Fresh(tmp_path / "acme")


@pytest.fixture
def staging():
    """An application with a banner, as long as `shown` says so."""

    class Answer(BaseHTTPRequestHandler):
        shown = "Scheduled maintenance"

        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.shown.encode())

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as target:
        Thread(target=target.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{target.server_port}", Answer
        target.shutdown()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """What is in the wheel, unpacked where Python finds it first."""
    folder = tmp_path_factory.mktemp("wheel")
    built = next(iter(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])))
    zipfile.ZipFile(built).extractall(folder / "site")
    return {"PYTHONPATH": str(folder / "site")}


def test_what_the_wheel_writes_is_clean_and_looks_at_once(fresh, staging, wheel):
    url, answer = staging
    done = fresh.init("--base-url", url, "--database", DSN, **wheel)
    assert (done.code, done.has("pytest -m predeploy", "export ACME_DSN=...")) == (0, True), done.out
    checked = fresh.releasegate("check")
    hints = [line for line in checked.out.splitlines() if re.match(r"\S+:\d+", line)]
    assert checked.code == 0
    assert [line for line in hints if not re.search("asks for a word|held by a placeholder", line)] == []
    facts = [word for fact in FACTS for word in ("--fact", fact)]
    assert fresh.releasegate("open", "0.1.0", *facts).code == 0
    ran = fresh.pytest("-m", "predeploy")
    assert (ran.code, ran.has("phase predeploy: HOLD", "variable ACME_DSN is not set")) == (10, True), ran.out
    assert (fresh.statuses()["1.2.3"], fresh.statuses()["3.4.2"]) == ("passed", "error")
    answer.shown = "Welcome"
    assert fresh.pytest("gates/01-communication.yaml", "-m", "predeploy").code == 10
    assert fresh.statuses()["1.2.3"] == "failed"


def test_it_holds_every_file_of_the_reference_and_nothing_of_the_example(fresh):
    assert fresh.init().code == 0
    theirs = {
        f"{folder}/{path.name}"
        for folder in FOLDERS
        for path in (reference() / folder).iterdir()
        if path.suffix in {".py", ".yaml"}
    }
    assert fresh.written() == theirs | {"conftest.py", "pytest.ini", "gates/.schema.json"}
    for name in fresh.written():
        assert not re.search(r"ehr\.example|RELEASEGATE_DEMO|EHR_PROD", fresh.text(name)), name
        assert not re.match(r"gates/\d.*yaml", name) or fresh.text(name).startswith("# yaml-language-server:"), name


def test_it_replaces_nothing_unless_forced(fresh):
    fresh.write("gates/10-verification.yaml", "mine")
    fresh.write("gates/99-own.yaml", "mine too")
    fresh.write("conftest.py", "X = 1\n")
    refused = fresh.init()
    assert (refused.code, refused.has("2 files would be replaced", "99-own.yaml", "--force goes on")) == (4, True)
    assert fresh.written() == {"gates/10-verification.yaml", "gates/99-own.yaml", "conftest.py"}
    assert fresh.text("gates/10-verification.yaml") == "mine"
    (fresh.root / "gates" / "99-own.yaml").unlink()
    forced = fresh.init("--force")
    assert (forced.code, forced.has("kept conftest.py, which was there")) == (0, True), forced.out
    assert fresh.text("gates/10-verification.yaml").count("id: 10.") > 10
    assert fresh.text("conftest.py") == "X = 1\n"
    assert fresh.releasegate("check").code == 0


@pytest.mark.parametrize(
    ("name", "text", "holds", "told"),
    [
        ("", "", {"pytest.ini": "releasegate_release = 0.1.0"}, "wrote pytest.ini"),
        (
            "pyproject.toml",
            PROJECT,
            {"pyproject.toml": f"{PROJECT}\n[tool.pytest.ini_options]"},
            "wrote pyp",
        ),
        ("pytest.ini", "[pytest]\naddopts = -q\n", {"pytest.ini": "[pytest]\naddopts = -q\n"}, "add to your pytest"),
    ],
    ids=["nothing", "project", "configured"],
)
def test_pytest_is_told_what_it_needs_where_nothing_tells_it(fresh, name, text, holds, told):
    if name:
        fresh.write(name, text)
    done = fresh.init()
    assert (done.code, done.has(told)) == (0, True), done.out
    for file, part in holds.items():
        assert part in fresh.text(file)
    assert ("releasegate_release" in fresh.text(next(iter(holds)))) is (
        name in {"", "pyproject.toml"} and "2.1" not in text
    )
    assert name != "pytest.ini" or fresh.text(name) == text


def test_a_document_that_is_not_there_is_a_persons_word(fresh):
    fresh.write("RELEASE_NOTES.md", "# 1\n")
    assert fresh.init().code == 0
    assert "        document: {path: RELEASE_NOTES.md, section: Known issues}" in fresh.text(
        "gates/06-documentation.yaml"
    )
    script = fresh.text("gates/03-database.yaml").partition("id: 3.2.3")[2].splitlines()[2:5]
    assert [line.strip()[:27] for line in script] == [
        "# once migrations/003_care_",
        "# document: {path: migratio",
        "attest: {role: database_adm",
    ]


def test_a_project_file_that_cannot_be_read_is_left_alone(fresh):
    fresh.write("pyproject.toml", "[project\n")
    done = fresh.init()
    assert (done.code, done.has("pyproject.toml: Expected ']'")) == (4, True), done.out
    assert fresh.written() == {"pyproject.toml"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--product", "a b"), "--product: expected a name"),
        (("--base-url", "acme.example"), "--base-url: expected a URL, got 'acme.example'"),
        (("--database", "postgresql://app:s3cret@db/app"), "--database: expected a reference"),
        (("--from", "MISSING.md"), "MISSING.md"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(fresh, words, told):
    done = fresh.init(*words)
    assert (done.code, done.has(told), "s3cret" in done.out, "Traceback" in done.out) == (4, True, False, False), (
        done.out
    )
    assert fresh.written() == set()


def test_it_asks_on_a_terminal_and_takes_the_usual_for_an_empty_answer(fresh, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.chdir(fresh.root)
    monkeypatch.setattr(sys, "stdin", Terminal("\nhttps://staging.acme.example\n\n"))
    assert main(["init"]) == 0
    assert "Name of the product [acme]: " in capsys.readouterr().out
    text = fresh.text("gates/environments.yaml")
    assert "product: acme\n" in text
    assert "base_url: https://staging.acme.example\n" in text
    assert "app: ${env:ACME_STAGING_DSN}\n" in text


def test_a_checklist_of_ones_own_becomes_the_gates(fresh):
    fresh.write("CHECKLIST.md", CHECKLIST)
    done = fresh.init("--from", str(fresh.root / "CHECKLIST.md"))
    assert done.code == 0, done.out
    assert not (fresh.root / "smoke").exists()
    assert fresh.releasegate("check").code == 0
    ran = fresh.pytest("-m", "predeploy")
    assert (ran.code, ran.has("phase predeploy: HOLD", "release_manager must sign")) == (10, True), ran.out
