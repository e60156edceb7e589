"""Several products in one repository, with one record or several, and several environments in one."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.lifecycle.products import below
from pytest_releasegate.store import open_store
from tests.conftest import ENVIRONMENTS, Product

if TYPE_CHECKING:
    from pathlib import Path

TEST = 'import pytest\n\n\n@pytest.mark.gate("2.1")\ndef test_it():\n    assert True\n'
MARKED = "import pytest\n\n\n@pytest.mark.predeploy\ndef test_it():\n    assert True\n"
NOTES = 'id: "1.1", title: Notes, document: NOTES.md'


class Repository(Product):
    """A git repository with the products services/a and services/b; commands run at its top."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.write(".gitignore", ".releasegate/\n__pycache__/\n*.db*\n")
        self.a, self.b = (Product(root / "services" / name) for name in ("a", "b"))
        for name, product in (("a", self.a), ("b", self.b)):
            product.write("gates/environments.yaml", ENVIRONMENTS.replace("product: ehr", f"product: shop-{name}"))
            product.gates("predeploy", NOTES, 'id: "2.1", title: Python, test: smoke/test_it.py')
            product.write("smoke/test_it.py", TEST)
        self.git("init", "-q", "-b", "main")
        self.commit()

    def git(self, *words: str) -> str:
        person = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
        quiet = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        command = ["git", *person, *words]
        return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True, env=quiet).stdout

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "a change")
        return self.git("rev-parse", "HEAD").strip()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with two products."""
    return Repository(tmp_path / "shop")


def test_commands_find_the_product_by_folder_or_root(repository: Repository) -> None:
    assert repository.releasegate("--root", "services/a", "open").has("shop-a 1.4.0/demo", "opened now")
    assert repository.releasegate("status", "--root", "services/a").has("shop-a 1.4.0/demo")
    assert repository.releasegate("--root", "services/b", "status", "--root", "services/a").has("shop-a 1.4.0/demo")
    inside = Product.__new__(Product)
    inside.root = repository.a.root / "smoke"
    assert inside.releasegate("status").has("shop-a 1.4.0/demo")
    assert not (repository.b.root / ".releasegate").exists()


def test_at_the_top_the_products_are_named(repository: Repository) -> None:
    (repository.root.parent / "gates").mkdir()
    said = repository.releasegate("status")
    told = said.has("no gates/ folder in", "services/a, services/b: go there, or --root FOLDER")
    assert (said.code, told) == (4, True)
    said = repository.releasegate("status", "--root", "services")
    assert (said.code, said.has("a, b: go there")) == (4, True)
    said = repository.releasegate("status", "--root", "services/a/smoke")
    assert (said.code, said.has("go to the product's folder, or --root")) == (4, True)


def test_pytest_at_the_top_looks_at_nothing_and_says_where_gates_are(repository: Repository) -> None:
    repository.a.write("smoke/test_marked.py", MARKED)
    for words in (("-m", "predeploy"), ("-m", "not review"), ()):
        ran = repository.pytest("--import-mode=importlib", *words)
        assert (ran.code, ran.has("deselected"), ran.has("passed")) == (5, True, False), ran.out
        told = ran.has("no gates/ folder in", "services/a, services/b: go there, or name one as --rootdir")
        assert told is ("predeploy" in words)


@pytest.mark.parametrize("words", [["services/a"], ["--rootdir", "services/a", "-c", "services/a/pytest.ini"]])
def test_pytest_of_one_product_leaves_the_other_alone(repository: Repository, words: list[str]) -> None:
    repository.b.write("smoke/test_broken.py", "raise RuntimeError\n")
    ran = repository.pytest("-m", "predeploy", *words)
    told = ran.has("shop-a 1.4.0/demo", "scope ok: 2 of 2 gates", "phase predeploy: GO")
    assert (ran.code, told) == (0, True), ran.out
    assert set(repository.a.statuses()) == {"1.1", "2.1 test_it"}
    assert not (repository.b.root / ".releasegate").exists()


def test_pytest_is_about_one_product(repository: Repository) -> None:
    ran = repository.pytest("-m", "predeploy", "services/a", "services/b", "--import-mode=importlib")
    assert (ran.code, ran.has("services/b is of the product in", "one product a run")) == (4, True)


def test_a_product_at_the_top_leaves_those_below_alone(repository: Repository) -> None:
    top = Product(repository.root)
    top.gates("predeploy", NOTES)
    repository.a.write("smoke/test_marked.py", MARKED)
    repository.write("services/test_own.py", MARKED.replace("predeploy", "smoke"))
    ran = repository.pytest("-m", "predeploy or smoke", "--import-mode=importlib")
    assert (ran.code, ran.has("ehr 1.4.0/demo", "scope ok: 1 of 1 gate", "2 passed")) == (0, True), ran.out


def test_two_products_in_one_record_do_not_mix(repository: Repository) -> None:
    record = f"--record={repository.root / 'one.db'}"
    repository.b.write("NOTES.md", "TODO\n")
    repository.git("commit", "-q", "-am", "todo")
    good, bad = (product.pytest("-m", "predeploy", record) for product in (repository.a, repository.b))
    assert (good.code, bad.code) == (0, 1), good.out + bad.out
    assert bad.has("gates/predeploy.yaml:6:9")
    assert repository.a.releasegate("deployed", record).code == 0
    assert repository.a.releasegate("rollback", "--reason", "errors", record).code == 0
    assert repository.a.releasegate("status", record).has("shop-a", "rolled back", "phase predeploy: GO")
    other = repository.b.releasegate("status", record)
    assert other.has("shop-b 1.4.0/demo", "phase predeploy: NO-GO", "deployed not recorded")
    assert not other.has("rolled back")
    assert repository.a.releasegate("open", record).has("shop-a 1.4.0/demo attempt 2")
    assert repository.b.releasegate("open", record).has("knew it already")
    unknown = repository.b.releasegate("status", record, "--release", "9.9")
    assert unknown.has("it knows: 1.4.0/demo")
    with open_store(f"sqlite:///{repository.root / 'one.db'}") as store:
        assert [each.name for each in store.releases("shop-a")] == ["1.4.0/demo", "1.4.0/demo attempt 2"]
        assert [each.name for each in store.releases("shop-b")] == ["1.4.0/demo"]
        assert store.verify() == []


def test_two_environments_of_a_release_in_one_record_do_not_mix(repository: Repository) -> None:
    product = repository.a
    assert product.pytest("-m", "predeploy").code == 0
    assert product.releasegate("deployed").code == 0
    assert product.releasegate("status", "--env", "prod").has("does not know 1.4.0/prod", "it knows: 1.4.0/demo")
    assert product.releasegate("open", "--env", "prod").has("1.4.0/prod", "opened now")
    status = product.releasegate("status", "--env", "prod")
    assert status.has("shop-a 1.4.0/prod", "deployed not recorded", "phase predeploy: HOLD", "2 missing")
    assert product.releasegate("status").has("shop-a 1.4.0/demo", "phase predeploy: GO")


def test_git_of_a_product_below_the_top(repository: Repository) -> None:
    product = repository.a
    (product.root / "smoke" / "test_it.py").unlink()
    product.gates("predeploy", "id: 8.1.1, title: Tagged and clean, git: {tag: v1.4.0, branch: main, clean: true}")
    commit = repository.commit()
    repository.git("tag", "-a", "v1.4.0", "-m", "v1.4.0")
    assert product.pytest("-m", "predeploy").code == 0
    assert (product.release().git_commit, product.release().authors) == (commit, ("ann@example.com",))
    repository.write("services/b/NOTES.md", "changed\n")
    dirty = product.pytest("-m", "predeploy")
    told = dirty.has("changes in the work tree: expected none, got 1:", "services/b/NOTES.md")
    assert (dirty.code, told) == (1, True), dirty.out
    repository.git("update-index", "--assume-unchanged", "services/b/NOTES.md")
    hidden = product.pytest("-m", "predeploy")
    assert (hidden.code, hidden.has("git was told not to look at", "services/b/NOTES.md")) == (10, True), hidden.out


def test_folders_that_no_product_lies_in_are_passed_over(tmp_path: Path) -> None:
    for name in ("x", "a/b/c/d", "a/b/c/d/e", ".hidden", "node_modules/m", "x/inner", "_build"):
        (tmp_path / name / "gates").mkdir(parents=True)
        (tmp_path / name / "gates" / "environments.yaml").touch()
    (tmp_path / "lib" / "gates").mkdir(parents=True)
    assert below(tmp_path) == ["a/b/c/d", "x"]
    assert below(tmp_path / "nowhere") == []
