"""One contract for all kinds of checks, and how other distributions add kinds."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checklist.loader import load
from pytest_releasegate.checks import ENTRY_POINTS, kinds, load_kind
from pytest_releasegate.params import Parameters

if TYPE_CHECKING:
    from pytest_releasegate.checklist.loader import Declaration

STATUSES = {"PASSED", "FAILED", "ERROR", "INCONCLUSIVE"}
LOOK_AT_NOTHING = {
    "attest": "a person answers; the verdict's tests show passed, failed, expired and pending words",
    "sign_off": "a person signs; the verdict's tests show signatures that hold, are missing and void",
    "test": "pytest runs the test itself; the hooks' tests show what each outcome becomes",
}
"""Kinds without findings of their own, with the reason why no test file of theirs can show statuses."""


def example(kind: str) -> str:
    """The only YAML block of the class docstring."""
    (found,) = re.findall(r"```yaml\n(.*?)```", dedent(load_kind(kind).__doc__ or ""), re.DOTALL)
    return dedent(str(found))


def declared(kind: str, text: str, folder: Path) -> Declaration:
    """The example as the check of a gate, read by the loader."""
    gates = folder / "gates"
    gates.mkdir()
    (folder / "smoke").mkdir()
    (folder / "smoke" / "test_notes.py").write_text("")
    head = 'phase: predeploy\nitems:\n  - item: "1"\n    title: T\n    gates:\n      - id: "1.1"\n        title: t\n'
    (gates / "stakeholders.yaml").write_text("roles: {release_manager: {people: [ann@ehr.example]}}\n")
    (gates / "a.yaml").write_text(head + indent(text, " " * 8), encoding="utf-8")
    (declaration,) = load(gates, folder).declarations
    assert declaration.gate.kind == kind
    return declaration


def test_kinds_are_the_files_of_the_folder() -> None:
    folder = Path(importlib.import_module("pytest_releasegate.checks").__file__ or "").parent
    assert set(kinds()) == {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert {"http", "sql", "rls", "row_counts", "metrics", "attest", "test"} <= set(kinds())


@pytest.mark.parametrize("kind", kinds())
def test_class(kind: str) -> None:
    model = load_kind(kind)
    assert issubclass(model, Parameters)
    assert model.model_config["frozen"] is True
    assert model.model_config["extra"] == "forbid"
    assert getattr(model, "kind", "") == kind
    assert model.__module__ == f"pytest_releasegate.checks.{kind}"
    shorthand = getattr(model, "shorthand", "")
    assert not shorthand or shorthand in {field.alias or name for name, field in model.model_fields.items()}
    assert callable(getattr(model, "look", None))


@pytest.mark.parametrize("kind", kinds())
def test_every_field_is_documented(kind: str) -> None:
    fields = load_kind(kind).model_fields
    assert [name for name, field in fields.items() if not (field.description or "").strip().endswith(".")] == []
    assert fields


@pytest.mark.parametrize("kind", kinds())
def test_example_loads_as_a_gate(kind: str, tmp_path: Path) -> None:
    declaration = declared(kind, example(kind), tmp_path)
    assert isinstance(declaration.check, load_kind(kind))
    assert declaration.gate.parameters


@pytest.mark.parametrize("kind", kinds())
def test_declared_parameters_are_read_back(kind: str, tmp_path: Path) -> None:
    declaration = declared(kind, example(kind), tmp_path)
    again = load_kind(kind).model_validate(dict(declaration.gate.parameters))
    assert again == declaration.check
    with pytest.raises(Exception, match="frozen"):
        setattr(declaration.check, next(iter(type(declaration.check).model_fields)), None)


@pytest.mark.parametrize("kind", kinds())
def test_schema_describes_every_key(kind: str) -> None:
    schema = load_kind(kind).model_json_schema()
    assert schema["additionalProperties"] is False
    assert all(key.get("description") for key in schema["properties"].values())


def named_statuses(path: Path) -> set[str]:
    """The statuses that a file names as `Status.X`."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Status"
    }


@pytest.mark.parametrize("kind", sorted(set(kinds()) - set(LOOK_AT_NOTHING)))
def test_tests_show_every_status(kind: str) -> None:
    path = Path(__file__).parent / "checks" / f"test_{kind}.py"
    assert path.is_file()
    assert STATUSES - named_statuses(path) == set()


@pytest.mark.parametrize("kind", LOOK_AT_NOTHING)
def test_exempt_kinds_find_nothing(kind: str, tmp_path: Path) -> None:
    check: Any = declared(kind, example(kind), tmp_path).check
    assert list(check.look(None)) == []


def test_unknown_kind() -> None:
    with pytest.raises(LookupError, match="htpp"):
        load_kind("htpp")


PLUGIN = '''
"""A kind of another distribution."""

from typing import ClassVar

from pytest_releasegate.check import find
from pytest_releasegate.params import Parameters


class Tide(Parameters):
    """Whether it is high water."""

    kind: ClassVar[str] = "tide"
    shorthand: ClassVar[str] = "harbour"

    harbour: str
    """Where."""

    def look(self, context):
        """Look at the water."""
        yield find("tide", expected="high", actual=self.harbour, ok=self.harbour == "Brest")
'''
LOADS = """
import sys
from pathlib import Path
from pytest_releasegate.checklist.loader import load
from pytest_releasegate.checks import kinds
from pytest_releasegate.errors import BrokenPlan
from pytest_releasegate.testing import look

root = Path(sys.argv[1])
assert {"tide", "gone", "http"} <= {*kinds()}, kinds()
try:
    checklist = load(root / "gates", root)
except BrokenPlan as broken:
    print(broken)
else:
    declaration = checklist.by_id["1"]
    print(declaration.gate.kind, dict(declaration.gate.parameters), look(declaration.check).status)
"""


@pytest.fixture
def distribution(tmp_path: Path) -> Path:
    """A folder like `site-packages`, with a distribution that declares two kinds, one of which is not there."""
    site = tmp_path / "site"
    info = site / "tides-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tides\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\ntide = tides:Tide\ngone = tides.none:Gone\n")
    (site / "tides.py").write_text(PLUGIN)
    (tmp_path / "gates").mkdir()
    return site


def said(distribution: Path, check: str) -> str:
    """What a process prints that loads one gate with this check, where the distribution is installed."""
    root = distribution.parent
    gate = f'{{id: "1", title: t, {check}}}'
    (root / "gates" / "a.yaml").write_text(f'phase: predeploy\nitems: [{{item: "1", title: T, gates: [{gate}]}}]\n')
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, sys.argv[2])\n{LOADS}", str(root)]
    done = subprocess.run([*command, str(distribution)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_kind_of_another_distribution(distribution: Path) -> None:
    assert said(distribution, "tide: Brest") == "tide {'harbour': 'Brest'} passed"
    told = said(distribution, "tide: {harbor: Brest}")
    assert told.splitlines() == [
        "gates/a.yaml:2:65: missing key 'harbour'",
        "    Where.",
        "gates/a.yaml:2:66: unknown key 'harbor'",
        "    did you mean 'harbour'? known: harbour",
    ]


def test_kind_that_cannot_be_imported_is_a_broken_plan(distribution: Path) -> None:
    assert said(distribution, "gone: {}") == (
        "gates/a.yaml:2:59: check 'gone' cannot be imported: No module named 'tides.none'; 'tides' is not a package"
    )
