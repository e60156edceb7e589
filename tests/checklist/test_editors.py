"""What editors are told of gate files agrees with what the loader takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pytest_releasegate.checklist.editors import environments_schema, gates_schema
from pytest_releasegate.checks import kinds

GATES = Path(__file__).parents[2] / "gates"
GATE = {"id": "1.1.1", "title": "T", "http": "/healthz"}


def whole(**gate: Any) -> dict[str, Any]:
    """A file with one gate, changed; a key that is None is left out."""
    made = {key: value for key, value in (GATE | gate).items() if value is not None}
    return {"phase": "predeploy", "items": [{"item": "1.1", "title": "I", "gates": [made]}]}


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(gates_schema())
    return Draft202012Validator(gates_schema())


@pytest.mark.parametrize("path", sorted(GATES.glob("[0-9]*.yaml")), ids=lambda path: path.name)
def test_our_own_gates_are_as_the_schema_says(validator: Draft202012Validator, path: Path) -> None:
    document = yaml.safe_load(path.read_text("utf-8"))
    assert [error.message for error in validator.iter_errors(document)] == []


def test_our_own_environments_are_as_the_schema_says() -> None:
    Draft202012Validator.check_schema(environments_schema())
    document = yaml.safe_load((GATES / "environments.yaml").read_text("utf-8"))
    Draft202012Validator(environments_schema()).validate(document)


@pytest.mark.parametrize(
    "gate",
    [
        {"sverity": "high"},
        {"severity": "urgent"},
        {"title": None},
        {"id": "a::b"},
        {"http": None},
        {"sql": "select 1"},
        {"http": {"url": "/", "stauts": 200}},
        {"http": {"url": "/", "within": "2 parsecs"}},
        {"http": {"status": 200}},
        {"valid_for": 24},
    ],
    ids=str,
)
def test_what_the_loader_refuses_is_marked_in_the_editor(validator: Draft202012Validator, gate: dict[str, Any]) -> None:
    assert validator.is_valid(whole())
    assert not validator.is_valid(whole(**gate))


def test_every_kind_is_there_with_its_words() -> None:
    gate = gates_schema()["$defs"]["GateKeys"]
    assert gate["oneOf"] == [{"required": [kind]} for kind in kinds()]
    assert all(gate["properties"][kind]["description"] for kind in kinds())
    assert all(key.get("description") for key in gate["properties"].values())
