"""The page on sharing, done as it says: its workflow with its artifacts, its commands with their output."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.commands.test_record import cloned, git

if TYPE_CHECKING:
    from tests.conftest import Product, Ran

PAGE = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text("utf-8")
GATES = (
    "id: a, title: A, severity: critical, document: NOTES.md",
    "id: b, title: B, severity: high, document: NOTES.md",
)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def origin(product: Product, tmp_path: Path) -> Path:
    """The product in a bare repository."""
    product.gates("predeploy", *GATES)
    product.write(".gitignore", ".releasegate/\nbundle/\n")
    git(tmp_path, "init", "-q", "--bare", "origin.git")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "all"), ("push", "-q", "../origin.git", "HEAD:main")):
        git(product.root, *words)
    git(tmp_path / "origin.git", "symbolic-ref", "HEAD", "refs/heads/main")
    return tmp_path / "origin.git"


def run(place: Product, line: str) -> Ran:
    program, *words = shlex.split(line)
    return place.pytest(*words) if program == "pytest" else place.releasegate(*words)


class Workflow:
    """Runs the jobs of a workflow, with folders for its artifacts."""

    def __init__(self, origin: Path) -> None:
        self.origin = origin
        self.artifacts = origin.parent / "artifacts"

    def job(self, name: str, steps: list[dict[str, Any]]) -> list[int]:
        """The codes of a job's commands, in a clone of its own."""
        place = cloned(self.origin, name)
        codes = []
        for step in steps:
            if "run" in step and not step["run"].startswith("pip "):
                codes.append(run(place, step["run"]).code)
            elif step.get("uses", "").startswith("actions/upload-artifact@"):
                shutil.copytree(place.root / step["with"]["path"], self.artifacts / step["with"]["name"])
            elif step.get("uses", "").startswith("actions/download-artifact@"):
                assert step["with"]["merge-multiple"]
                for artifact in sorted(self.artifacts.glob(step["with"]["pattern"])):
                    shutil.copytree(artifact, place.root / step["with"]["path"], dirs_exist_ok=True)
        return codes


@pytest.mark.parametrize(("notes", "codes"), [(True, [0, 0]), (False, [0, 1])])
def test_the_workflow_ends_with_one_verdict(product: Product, origin: Path, notes: bool, codes: list[int]) -> None:
    (text,) = blocks("yml")
    jobs = yaml.safe_load(text)["jobs"]
    if not notes:
        product.write("NOTES.md", "")
        for words in (("commit", "-qam", "no notes"), ("push", "-q", "../origin.git", "HEAD:main")):
            git(product.root, *words)
    workflow = Workflow(origin)
    ended = {name: workflow.job(name, job["steps"]) for name, job in jobs.items()}
    assert ended == {"documents": [codes[1], 0], "staging": [codes[1], 0], "verdict": codes}


def test_the_git_ref_does_as_the_page_shows(origin: Path) -> None:
    one, two = cloned(origin, "one"), cloned(origin, "two")
    assert one.pytest("-m", "predeploy and critical").code == 0
    shown = blocks("console")
    assert len(shown) == 2
    for place, text in zip((one, two), shown, strict=True):
        for each in text.split("$ ")[1:]:
            line, _, output = each.partition("\n")
            assert run(place, line).out == output


def test_a_file_goes_into_another_record_as_the_page_shows(origin: Path) -> None:
    place = cloned(origin, "one")
    place.pytest("-m", "predeploy")
    (text,) = blocks("sh")
    other = f"sqlite:///{origin.parent}/other.db"
    for line in text.splitlines():
        line = line.replace("/srv/ehr", str(place.root))
        line = line.replace("postgresql://releasegate@db.example/releasegate", other)
        assert run(place, line).code == 0, line
    assert place.releasegate("status", "--record", other, "--exit-code").code == 0
