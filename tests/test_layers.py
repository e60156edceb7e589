"""Imports point down only; nothing of pytest's inside is used; and the plugin alone imports nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytest_releasegate

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(pytest_releasegate.__file__).parent
LAYERS = (
    ("plugin", "cli", "hooks", "commands", "hookspecs"),
    ("report",),
    ("lifecycle",),
    ("store",),
    ("verdict", "standing", "approval", "counting"),
    ("execution", "testing"),
    ("checklist",),
    ("checks",),
    ("sources", "statistics"),
    ("check", "params", "spellings", "turns"),
    ("signatures",),
    ("model", "claims", "errors", "phases", "policy", "statuses"),
)
"""From top to bottom; modules of one layer may import each other."""

HEAVY = ("yaml", "pydantic", "sqlalchemy", "psycopg", "requests", "playwright", "locust", "alembic", "jinja2")


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def layer(name: str) -> int:
    """The layer of a part of the package; a part that no layer names is an error of this test's table."""
    (found,) = [number for number, names in enumerate(LAYERS) if name in names]
    return found


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """The modules that a file imports anywhere, within functions and for types too, with the lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            if module == "pytest_releasegate":
                yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield module, node.lineno


def upward(path: Path) -> list[str]:
    """The imports of a file that point up."""
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    found = []
    for module, line in imported(path):
        parts = module.split(".")
        if parts[0] == "pytest_releasegate" and len(parts) > 1 and layer(parts[1]) < layer(own):
            found.append(f"{path.relative_to(PACKAGE.parent)}:{line}: {own} imports {module}")
    return found


def test_imports_point_down_only() -> None:
    assert len(files()) > 50
    assert [
        line for path in files() if path.parent != PACKAGE or path.stem != "__init__" for line in upward(path)
    ] == []


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ("model.py", "import pytest_releasegate.check"),
        ("checks/http.py", "def f():\n    from pytest_releasegate.store import open_store"),
        ("check.py", "from pytest_releasegate import verdict"),
        ("verdict.py", "if TYPE_CHECKING:\n    from pytest_releasegate.report.text import x"),
    ],
)
def test_import_that_points_up_is_found(own: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pytest_releasegate"
    (package / own).parent.mkdir(parents=True)
    (package / own).write_text(text)
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", package)
    assert len(upward(package / own)) == 1


def test_nothing_of_pytests_inside_is_imported() -> None:
    inner = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in files()
        for module, line in imported(path)
        if module.partition(".")[0] == "_pytest"
    ]
    assert inner == []


def test_checks_know_neither_pytest_nor_the_store() -> None:
    for path in (PACKAGE / "checks").glob("*.py"):
        modules = {module for module, _ in imported(path)}
        assert not any(module.split(".")[0] in {"pytest", "_pytest"} for module in modules), path
        assert not any(module.startswith("pytest_releasegate.store") for module in modules), path


def test_nothing_of_the_demo_is_imported_but_by_its_command() -> None:
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in files()
        for module, _ in imported(path)
        if module.partition(".")[0] == "releasegate_demo"
    }
    assert users <= {"commands/demo.py"}


def test_plugin_imports_nothing_heavy() -> None:
    code = f"import sys, pytest_releasegate.plugin; print(sorted({set(HEAVY)!r} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("module", ["verdict", "model", "errors", "check", "execution", "checklist.conditions"])
def test_core_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, pytest_releasegate.{module}; print(sorted({set(HEAVY)!r} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
