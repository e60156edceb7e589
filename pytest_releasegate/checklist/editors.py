"""The JSON Schemas (draft 2020-12) of all files of a gates folder, by which editors complete and check them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from pytest_releasegate.checklist.rules_schema import PolicyFile, StakeholdersFile
from pytest_releasegate.checklist.schema import EnvironmentsFile, FileKeys, GateKeys, ItemKeys
from pytest_releasegate.checks import kinds, load_kind

if TYPE_CHECKING:
    from pytest_releasegate.params import Parameters

__all__ = ["SCHEMA", "environments_schema", "gates_schema", "policy_schema", "stakeholders_schema", "with_modeline"]

SCHEMA = ".schema.json"
"""The file beside the gate files that holds their schema."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/$defs/{model}"
_MODELINE = f"# yaml-language-server: $schema={SCHEMA}\n"


def with_modeline(text: str) -> str:
    """A gate file whose first line tells the YAML language server where its schema is."""
    return text if text.startswith("# yaml-language-server:") else _MODELINE + text


def gates_schema() -> dict[str, Any]:
    """The schema of one gate file: every key of file, item and gate, and every kind of check that is installed."""
    models = {kind: load_kind(kind) for kind in kinds()}
    wanted: list[type[Parameters]] = [FileKeys, ItemKeys, GateKeys, *models.values()]
    refs, whole = models_json_schema([(model, "validation") for model in wanted], ref_template=_REF)
    name = {model: refs[model, "validation"]["$ref"].rpartition("/")[2] for model in wanted}
    defs = whole["$defs"]
    file, item, gate = (defs[name[model]] for model in (FileKeys, ItemKeys, GateKeys))
    file["properties"]["items"] |= {"items": {"$ref": _REF.format(model=name[ItemKeys])}}
    item["properties"]["gates"] |= {"items": {"$ref": _REF.format(model=name[GateKeys])}}
    for kind, model in models.items():
        gate["properties"][kind] = _either(defs[name[model]], name[model], str(getattr(model, "shorthand", "")))
    gate["oneOf"] = [{"required": [kind]} for kind in models]
    del defs[name[FileKeys]]
    return {"$schema": _DIALECT, "title": "Gate file of pytest-releasegate", **file, "$defs": defs}


def environments_schema() -> dict[str, Any]:
    """The schema of environments.yaml."""
    return {"$schema": _DIALECT, **EnvironmentsFile.model_json_schema(ref_template=_REF)}


def policy_schema() -> dict[str, Any]:
    """The schema of policy.yaml."""
    schema = PolicyFile.model_json_schema(ref_template=_REF)
    hours = schema["properties"]["business_hours"]
    several = {key: hours.pop(key) for key in ("items", "type")}
    hours["anyOf"] = [several["items"], several]
    return {"$schema": _DIALECT, **schema}


def stakeholders_schema() -> dict[str, Any]:
    """The schema of stakeholders.yaml."""
    return {"$schema": _DIALECT, **StakeholdersFile.model_json_schema(ref_template=_REF)}


def _either(schema: dict[str, Any], name: str, shorthand: str) -> dict[str, Any]:
    """A check as its mapping, or as the one value that stands for it."""
    whole = {"$ref": _REF.format(model=name)}
    short = schema["properties"].get(shorthand) if shorthand else None
    text = (schema.get("description") or "").split("\n\n")[0]
    return {"description": text, **({"anyOf": [short, whole]} if short else whole)}
