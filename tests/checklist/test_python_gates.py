"""Python gates are collected in a process of its own, which sees no secrets; and only when a file has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checklist.python_gates import (
    PythonGates,
    _cached,
    _fingerprint,
    _python_files,
    _remember,
    case_of,
    collect,
)
from pytest_releasegate.errors import UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

TESTS = """
import os
import pytest

@pytest.mark.gate("1")
def test_plain(): ...

@pytest.mark.gate("2")
@pytest.mark.parametrize("who", ["nurse", "a b"])
def test_of_each(who): ...

@pytest.mark.gate("3")
class TestAll:
    def test_one(self): ...
    @pytest.mark.gate("4")
    def test_two(self): ...

def test_no_gate(): ...

@pytest.fixture
def explosive():
    raise RuntimeError("fixtures are not set up")

@pytest.mark.gate("5")
def test_with_fixture(explosive): ...

@pytest.mark.gate(f"{len([n for n in os.environ if 'SECRET' in n])}-secrets")
def test_secrets(): ...
"""


def asked(product: Any, *paths: str, config: Path | None = None) -> PythonGates:
    return collect(product.root, paths or ("smoke",), product.root / "cache" / "cases.json", config)


def test_gates_cases_files_and_lines(product: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MY_SECRET", "SECRET_TOKEN", "PYTEST_ADDOPTS_SECRET"):
        monkeypatch.setenv(name, "hunter22")
    product.write("smoke/test_a.py", TESTS)
    product.write("smoke/test_broken.py", "import gate_of_nowhere\n")
    product.write("smoke/test_b.py", 'import pytest\npytestmark = pytest.mark.gate("1")\ndef test_more(): ...\n')
    found = asked(product)
    assert found.cases == {
        "1": ("test_plain", "test_more"),
        "2": ("test_of_each[nurse]", "test_of_each[a b]"),
        "3": ("TestAll.test_one",),
        "4": ("TestAll.test_two",),
        "5": ("test_with_fixture",),
        "0-secrets": ("test_secrets",),
    }
    assert found.files["1"] == ("smoke/test_a.py", "smoke/test_b.py")
    assert found.lines["smoke/test_b.py:1"] == 3
    assert found.broken == {"smoke/test_broken.py": "ModuleNotFoundError: No module named 'gate_of_nowhere'"}


def test_asked_again_only_when_something_changed(product: Any) -> None:
    count = product.root / "count"
    body = f"open({str(count)!r}, 'a').write('x')\nimport pytest\n@pytest.mark.gate('1')\ndef test_a(): ...\n"
    product.write("smoke/test_a.py", body)
    first = asked(product)
    assert first == PythonGates({"1": ("test_a",)}, {"1": ("smoke/test_a.py",)}, {"smoke/test_a.py:1": 3}, {})
    assert asked(product) == first
    assert count.read_text() == "x"
    product.write("smoke/test_a.py", body.replace("test_a()", "test_b()"))
    assert asked(product).cases == {"1": ("test_b",)}
    assert count.read_text() == "xx"


def test_cases_from_a_data_file_follow_it(product: Any) -> None:
    product.write("smoke/routes.txt", "/a /b")
    body = "import pytest, pathlib\nROUTES = pathlib.Path(__file__).with_name('routes.txt').read_text().split()\n"
    test = "@pytest.mark.gate('1')\n@pytest.mark.parametrize('route', ROUTES)\ndef test_a(route): ...\n"
    product.write("smoke/test_a.py", body + test)
    assert asked(product).cases == {"1": ("test_a[/a]", "test_a[/b]")}
    product.write("smoke/routes.txt", "/a /b /c")
    assert asked(product).cases == {"1": ("test_a[/a]", "test_a[/b]", "test_a[/c]")}


def test_whatever_may_change_the_answer_is_in_the_key(product: Any) -> None:
    keys = set()
    config = product.write("pytest.ini", "[pytest]\n")
    for name in ("smoke/test_a.py", "smoke/deep/test_b.py", "smoke/deep/conftest.py", "conftest.py", "pytest.ini"):
        product.write(name, "# new\n")
        files = sorted(_python_files(product.root, ("smoke",)))
        keys.add(_fingerprint(product.root, files, config))
    assert len(keys) == 5


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", '{"key": 1}', '{"key": "k", "found": {}}', '{"key": "k", "found": 5}']
)
def test_broken_cache_is_no_answer(product: Any, broken: str) -> None:
    assert _cached(product.write("cases.json", broken), "k") is None


def test_cache_is_read_back_for_its_key_only(product: Any) -> None:
    found = PythonGates()
    found.add("1", "smoke/test_a.py", "test_a", 3)
    cache = product.root / "new" / "folder" / "cases.json"
    _remember(cache, "k", found)
    assert _cached(cache, "k") == found
    assert _cached(cache, "other") is None


def test_cache_that_cannot_be_written_costs_nothing_else(product: Any) -> None:
    cache = product.write("cache", "a file where the folder should be") / "cases.json"
    _remember(cache, "k", PythonGates())
    assert _cached(cache, "k") is None


@pytest.mark.parametrize("paths", [("smoke",), ("none",), ("none", "smoke")])
def test_nothing_that_speaks_of_gates_is_not_asked(product: Any, paths: tuple[str, ...]) -> None:
    product.write("smoke/test_a.py", "raise SystemExit('never imported')\n")
    assert collect(product.root, paths, product.root / "c.json", None, declared=False) == PythonGates()
    assert not (product.root / "c.json").exists()


def test_folders_that_are_not_there_do_not_widen_the_search(product: Any) -> None:
    product.write("conftest.py", "# about a gate\n")
    product.write("test_elsewhere.py", "import pytest\n@pytest.mark.gate('9')\ndef test_a(): ...\n")
    assert asked(product, "smoke") == PythonGates()


def test_conftest_that_cannot_be_imported_is_told(product: Any) -> None:
    product.write("smoke/test_a.py", "import pytest\n@pytest.mark.gate('1')\ndef test_a(): ...\n")
    product.write("conftest.py", "raise RuntimeError('no such gate here')\n")
    with pytest.raises(UsageProblem, match="no such gate here") as told:
        asked(product)
    assert str(told.value).startswith("the Python gates could not be collected")
    assert not (product.root / "cache").exists()


def test_process_has_the_options_of_the_product_and_little_of_the_environment(
    product: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "hunter22")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--unknown-option")
    config = product.write("pytest.ini", "[pytest]\npython_files = check_*.py\naddopts = -m none -q\n")
    body = "import os, pytest\n@pytest.mark.gate(' '.join(sorted(os.environ)))\ndef test_a(): ...\n"
    product.write("smoke/check_a.py", body)
    product.write("smoke/test_a.py", body)
    found = asked(product, config=config)
    (names,) = found.cases
    assert found.files[names] == ("smoke/check_a.py",)
    seen = {name for name in names.split() if not name.startswith(("PYTEST_", "__"))}
    passed_on = {"HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV", "XDG_CACHE_HOME"}
    assert seen - passed_on <= {"RELEASEGATE_BROWSERS", "RELEASEGATE_CASES_FILE", "LC_CTYPE", "SYSTEMROOT"}
    assert {"PATH", "RELEASEGATE_CASES_FILE"} <= seen
    assert "PYTEST_ADDOPTS" not in names.split()


@pytest.mark.parametrize(
    ("node_id", "case"),
    [
        ("smoke/test_a.py::test_b", "test_b"),
        ("smoke/test_a.py::TestA::test_b[x::y]", "TestA.test_b[x.y]"),
        ("smoke/test_a.py", ""),
    ],
)
def test_case_of(node_id: str, case: str) -> None:
    assert case_of(node_id) == case
