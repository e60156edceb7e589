"""A file that an option names must not become the root of the run, in the controller or in its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Product

TEST = 'import pytest\n\n\n@pytest.mark.gate("{gate}")\ndef test_it():\n    assert True\n'


@pytest.fixture
def marked(product: Product) -> Product:
    """A product whose two tests bear one name, which needs the configuration of its root."""
    product.gates("predeploy", *(f'id: "{n}", title: Python, test: {n}/test_it.py' for n in ("a1", "b1")))
    ini = "[pytest]\naddopts = --import-mode=importlib --strict-markers\n"
    product.write("pytest.ini", f"{ini}releasegate_paths = a1 b1\nreleasegate_release = 1.4.0\n")
    for name in ("a1", "b1"):
        product.write(f"{name}/test_it.py", TEST.format(gate=name))
    return product


@pytest.mark.parametrize(("option", "name"), [("--record", "new.db"), ("--record", "pytest"), ("--fact", "pytest")])
def test_an_option_in_two_words_that_leads_pytest_to_another_root_is_refused(
    marked: Product, tmp_path: Path, option: str, name: str
) -> None:
    (tmp_path / "there" / "pytest").mkdir(parents=True)
    value = tmp_path / "there" / name
    ran = marked.pytest("-m", "predeploy", option, str(value))
    told = ran.has("nothing was executed", f"`{option} {value}`: in two words", f"write {option}={value}")
    assert (ran.code, told, ran.has("Traceback")) == (4, True, False), ran.out
    assert not (marked.root / ".releasegate").exists()


def test_a_root_that_was_named_and_runs_that_ask_for_no_gates_are_left_alone(marked: Product, tmp_path: Path) -> None:
    (tmp_path / "record.db").touch()
    record = str(tmp_path / "record.db")
    named = marked.pytest("-m", "predeploy", "--record", record, "--rootdir", ".", "-c", "pytest.ini")
    assert (named.code, named.has("scope ok: 2 of 2 gates")) == (0, True), named.out
    assert marked.pytest("--record", record, "--import-mode=importlib").code == 5


@pytest.mark.parametrize("words", [["--record=../new.db"], ["--record", "sqlite:///../new.db"], ["--record", "new.db"]])
def test_records_that_lead_nowhere_are_taken_also_by_workers_and_again(marked: Product, words: list[str]) -> None:
    for workers in ("1", "0"):
        ran = marked.pytest("-m", "predeploy", "-n", workers, *words)
        assert (ran.code, ran.has("scope ok: 2 of 2 gates")) == (0, True), ran.out
