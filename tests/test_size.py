"""The code stays small: functions, files, and a docstring for whatever is public."""

from __future__ import annotations

import ast
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
FOLDERS = ("pytest_releasegate", "demo")
LONGEST_FUNCTION, LONGEST_FILE, MEDIAN = 60, 350, 10
Function = ast.FunctionDef | ast.AsyncFunctionDef


def files() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function of a file by its place, with its number of lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield f"{path}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1


def undocumented(path: Path) -> Iterator[str]:
    """What is public in a file and says nothing: the module, its classes and functions, their public methods."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    if module.body and not ast.get_docstring(module):
        yield f"{path}:1"
    stack: list[ast.Module | ast.ClassDef] = [module]
    while stack:
        for node in stack.pop().body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                if not ast.get_docstring(node) and not _is_overload(node):
                    yield f"{path}:{node.lineno} {node.name}"
                stack += [node] if isinstance(node, ast.ClassDef) else []


def _is_overload(node: ast.AST) -> bool:
    return any(ast.unparse(each).endswith("overload") for each in getattr(node, "decorator_list", ()))


def test_files_are_found() -> None:
    assert len(files()) > 80


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_function_is_too_long() -> None:
    assert [(place, lines) for path in files() for place, lines in functions(path) if lines > LONGEST_FUNCTION] == []


def test_half_of_the_functions_are_short() -> None:
    assert median(lines for path in files() for _, lines in functions(path)) < MEDIAN


def test_all_that_is_public_has_a_docstring() -> None:
    assert [place for path in files() for place in undocumented(path)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", 0),
        ("x = 1", 1),
        ('"""M."""\ndef f(): ...', 1),
        ('"""M."""\ndef _f(): ...\nclass _C:\n    def m(self): ...', 0),
        ('"""M."""\nclass C:\n    """C."""\n    def m(self): ...\n    async def n(self): ...', 2),
    ],
)
def test_what_says_nothing_is_found(tmp_path: Path, text: str, found: int) -> None:
    path = tmp_path / "a.py"
    path.write_text(text)
    assert len(list(undocumented(path))) == found


def test_lines_of_a_function_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("def f():\n    a = 1\n\n    return a\n\n\nasync def g(): ...\n")
    assert [lines for _, lines in functions(path)] == [4, 1]
