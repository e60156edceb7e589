"""What the people of the demo say: a sentence for each gate that only a person answers, as MITRE SAF attestations."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from pytest_releasegate.checklist.reference import reference
from pytest_releasegate.params import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from pytest_releasegate.model import Gate

__all__ = ["holders", "sentences", "words"]

FREQUENCY = "30d"
"""How long a word holds where the gate does not say."""


def words(gates: Iterable[Gate], at: datetime) -> list[dict[str, str]]:
    """The attestations, said at that instant, for those of the gates that ask for one.

    Raises `KeyError` where no sentence is written. The format is that of `saf attest`: https://saf-cli.mitre.org/#attest.
    """
    said, people = sentences(), holders()
    return [
        {
            "control_id": gate.id,
            "explanation": said[gate.id],
            "frequency": _frequency(gate),
            "status": "passed",
            "updated": at.isoformat(timespec="microseconds"),
            "updated_by": people[str(gate.parameters["role"])],
        }
        for gate in gates
        if gate.kind == "attest"
    ]


def sentences() -> dict[str, str]:
    """What is said, by gate."""
    return {str(gate): str(text) for gate, text in _read(files("releasegate_demo") / "words.yaml").items()}


def holders() -> dict[str, str]:
    """Who speaks for a role: the first of its people."""
    roles = _read(reference() / "gates" / "stakeholders.yaml")["roles"]
    return {role: keys["people"][0] for role, keys in roles.items()}


def _frequency(gate: Gate) -> str:
    """Whole days, as SAF knows no hours."""
    text = gate.parameters.get("valid_for")
    return f"{max(parse_duration(str(text)).days, 1)}d" if text else FREQUENCY


def _read(path: Any) -> dict[str, Any]:
    # ids such as 10.1 would be numbers to YAML's usual loader
    found = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506  it makes nothing but texts
    return dict(found)
