"""Files of other tools that say what people said: SAF attestations and InSpec waivers, read as they are.

Attestations are an array, in YAML or JSON, of `control_id`, `explanation`, `frequency`, `status`, `updated` and
`updated_by` (MITRE SAF, `saf attest`). Waivers are a map from `control_id` to `justification`, `expiration_date` and
`run`, in YAML or JSON, or a CSV file with that header (Chef InSpec, "Waivers"). Both may hold a few keys of ours.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pytest_releasegate.checklist.nodes import Tree, parse
from pytest_releasegate.checklist.validate import known_keys, validate
from pytest_releasegate.errors import BrokenPlan, Problem, UsageProblem, nearest
from pytest_releasegate.lifecycle.facts import SKEW, parse_instant
from pytest_releasegate.lifecycle.frequency import end_of, known_frequency
from pytest_releasegate.model import Place, Status
from pytest_releasegate.params import Parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from pytest_releasegate.checklist.nodes import Route

__all__ = ["ForeignWaiver", "ForeignWord", "named", "read_attestations", "read_waivers"]

_STAMP = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})[Tt ]+(?P<time>\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?) *"
    r"(?P<zone>Z|z|UTC|[-+]\d{2}(?::?\d{2})?)?"
)
"""An instant as YAML, Ruby and JavaScript write it (YAML 1.1, timestamp type)."""
_WRAPPER = ("plugins", "inspec-reporter-json-hdf", "attestations")
"""Where older files of SAF hold the array."""
_YES_NO = {"true": True, "yes": True, "false": False, "no": False}

Text = Annotated[str, Field(min_length=1)]


class _WordKeys(Parameters):
    """One attestation."""

    control_id: Text
    """The gate."""
    explanation: Text
    """How it was found out."""
    frequency: Annotated[str, AfterValidator(known_frequency)]
    """How long it holds, such as 90d or quarterly."""
    status: Literal["passed", "failed", "not_applicable"]
    """What was found; not_applicable is no word of SAF."""
    updated: Text
    """When it was said."""
    updated_by: Text
    """Who said so."""
    evidence: str = ""
    """What shows it: a URL, or a file beside this one; no key of SAF."""
    role: str = ""
    """In which role; no key of SAF."""


class _WaiverKeys(Parameters):
    """One waiver."""

    justification: Text
    """Why it may be so."""
    expiration_date: str | None = None
    """When it ends."""
    run: bool = True
    """Whether the control is still run."""
    approver: str = ""
    """Who accepts the risk; no key of InSpec."""
    role: str = ""
    """In which role; no key of InSpec."""
    risk: str = ""
    """What may happen; no key of InSpec."""
    mitigation: str = ""
    """What is done about it meanwhile; no key of InSpec."""


@dataclass(frozen=True, slots=True)
class ForeignWord:
    """An attestation as its file says it; it ends when its frequency is over."""

    gate: str
    status: Status
    note: str
    at: datetime
    expires_at: datetime
    person: str
    evidence: str
    role: str
    place: Place


@dataclass(frozen=True, slots=True)
class ForeignWaiver:
    """A waiver as its file says it; one without an end is for ever there, and not here."""

    gate: str
    reason: str
    expires_at: datetime | None
    person: str
    role: str
    risk: str
    mitigation: str
    place: Place


def read_attestations(path: str, text: str, zone: str, now: datetime) -> tuple[list[ForeignWord], list[Problem]]:
    """The attestations of a SAF file, and what is odd about it; raises `BrokenPlan` with all that is wrong.

    Instants without offset are those of the zone; without a zone they are wrong, and what lies after `now` is too.
    """
    reader = _Reader(_tree(path, text), zone)
    route, found = _array(reader.tree)
    words = [reader.word(value, (*route, index), now) for index, value in enumerate(found)]
    reader.finish(len(words), "attestations")
    return [word for word in words if word], reader.odd


def read_waivers(path: str, text: str, zone: str) -> tuple[list[ForeignWaiver], list[Problem]]:
    """The waivers of an InSpec file, and what is odd about it; raises `BrokenPlan` with all that is wrong.

    A date without a time is its first instant in the zone; without a zone it is wrong.
    """
    tree = _table(path, text) if path.lower().endswith(".csv") else _tree(path, text)
    reader = _Reader(tree, zone)
    whole = tree.value if isinstance(tree.value, dict) else {}
    if tree.value is not None and not isinstance(tree.value, dict):
        reader.wrong((), "expected a mapping of control ids to waivers", "the shape of InSpec's waiver files")
    waivers = [reader.waiver(name, value) for name, value in whole.items()]
    reader.finish(len(waivers), "waivers")
    return [waiver for waiver in waivers if waiver], reader.odd


def named(known: Iterable[str], wanted: str) -> str:
    """The gate that a file of another tool means, in whatever case it writes its id; empty where none, or several."""
    ids = list(known)
    if wanted in ids:
        return wanted
    alike = [name for name in ids if name.casefold() == wanted.casefold()]
    return alike[0] if len(alike) == 1 else ""


class _Reader:
    """Reads the entries of one file; goes on after a mistake, so that all of them are told."""

    def __init__(self, tree: Tree, zone: str) -> None:
        self.tree = tree
        self.zone = zone
        self.odd: list[Problem] = []

    def word(self, value: Any, route: Route, now: datetime) -> ForeignWord | None:
        keys = validate(_WordKeys, self._known(_WordKeys, value, route), self.tree, route)
        at = self._instant(keys.updated, (*route, "updated")) if keys else None
        if keys is None or at is None:
            return None
        if at > now + SKEW:
            self.wrong(
                (*route, "updated"), f"updated: {keys.updated} is in the future", "a word is given when it is so"
            )
            return None
        try:
            end = end_of(at, keys.frequency)
        except (OverflowError, ValueError):
            self.wrong((*route, "updated"), f"{keys.frequency} after {keys.updated} is beyond the year 9999")
            return None
        return ForeignWord(
            gate=keys.control_id,
            status=Status(keys.status),
            note=keys.explanation,
            at=at,
            expires_at=end,
            person=keys.updated_by,
            evidence=keys.evidence,
            role=keys.role,
            place=self.tree.place(route),
        )

    def waiver(self, name: str, value: Any) -> ForeignWaiver | None:
        known = self._known(_WaiverKeys, value, (name,))
        if isinstance(known, dict) and isinstance(known.get("run"), str):
            known = {**known, "run": _YES_NO.get(known["run"].strip().lower(), known["run"])}
        keys = validate(_WaiverKeys, known, self.tree, (name,))
        if keys is None:
            return None
        end = self._instant(keys.expiration_date, (name, "expiration_date")) if keys.expiration_date else None
        if keys.expiration_date and end is None:
            return None
        if not keys.run:
            what = f"{name}: run: false leaves a control out; a gate is looked at all the same"
            self.odd.append(Problem(self.tree.place((name, "run")), what))
        return ForeignWaiver(
            gate=name,
            reason=keys.justification,
            expires_at=end,
            person=keys.approver,
            role=keys.role,
            risk=keys.risk,
            mitigation=keys.mitigation,
            place=self.tree.place((name,), key=True),
        )

    def finish(self, count: int, what: str) -> None:
        """Raise all that is wrong; a file that says nothing is wrong too."""
        if not count and not self.tree.problems:
            self.wrong((), f"no {what} in it")
        if self.tree.problems:
            raise BrokenPlan(self.tree.problems)

    def wrong(self, route: Route, what: str, hint: str = "") -> None:
        self.tree.problems.append(Problem(self.tree.place(route), what, hint))

    def _known(self, model: type[Parameters], value: Any, route: Route) -> Any:
        """The value without the keys that mean nothing here, each of which is odd."""
        if not isinstance(value, dict):
            return value
        known = known_keys(model)
        for key in (key for key in value if key not in known):
            place = self.tree.place((*route, key), key=True)
            self.odd.append(Problem(place, f"key '{key}' means nothing here", nearest(key, list(known))))
        return {key: part for key, part in value.items() if key in known}

    def _instant(self, text: str, route: Route) -> datetime | None:
        found = _STAMP.fullmatch(text.strip())
        written = f"{found['day']}T{found['time']}{_offset(found['zone'] or '')}" if found else text.strip()
        try:
            return parse_instant(written, self.zone)
        except UsageProblem as told:
            problem = told.problems[0]
            hint = f"{problem.hint}, or set releasegate_zone" if "no offset" in problem.what else problem.hint
            self.wrong(route, f"{route[-1]}: {problem.what}", hint)
            return None


def _offset(zone: str) -> str:
    return "Z" if zone in {"z", "UTC"} else zone


def _array(tree: Tree) -> tuple[Route, Sequence[Any]]:
    """The route to the array of attestations, and what is in it."""
    value: Any = tree.value
    route: Route = ()
    if isinstance(value, dict):
        route = _WRAPPER
        for key in _WRAPPER:
            value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, list):
        return route, value
    if tree.value is not None:
        what = "expected a list of attestations, or one under " + ".".join(_WRAPPER)
        tree.problems.append(Problem(tree.place(()), what, "the shapes of SAF's attestation files"))
    return (), []


def _tree(path: str, text: str) -> Tree:
    """The document with its places; JSON that is no YAML (an escaped surrogate, a tab) has its file as place."""
    tree = parse(text, path)
    if tree.problems and path.lower().endswith(".json"):
        try:
            return Tree(path, json.loads(text, object_pairs_hook=_once))
        except (ValueError, RecursionError):
            return tree
    return tree


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; raises `ValueError` where a key is given twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key is given twice")
    return made


def _table(path: str, text: str) -> Tree:
    """A CSV file as the map that it stands for; each line is the place of its row."""
    tree = Tree(path, {})
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    start = 1
    header: list[str] = []
    try:
        for row in rows:
            place, start = Place(path, start), rows.line_num + 1
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not header:
                header = cells
                tree.problems += _header(header, place)
            elif "control_id" in header:
                _row(tree, header, cells, place)
    except csv.Error as wrong:
        tree.problems.append(Problem(Place(path, rows.line_num), f"not CSV: {wrong}"))
    return tree


def _header(names: list[str], place: Place) -> list[Problem]:
    missing = [name for name in ("control_id", "justification") if name not in names]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    hint = "control_id,justification,run,expiration_date"
    found = [Problem(place, f"the header has no '{name}'", hint) for name in missing]
    return found + [Problem(place, f"the header has '{name}' twice", hint) for name in twice]


def _row(tree: Tree, header: list[str], cells: list[str], place: Place) -> None:
    said = {key: cell for key, cell in zip(header, cells, strict=False) if cell and key}
    name = said.pop("control_id", "")
    if any(cells[len(header) :]):
        tree.problems.append(Problem(place, f"{len(cells)} cells under {len(header)} names", "quote cells with commas"))
    elif not name:
        tree.problems.append(Problem(place, "a row without control_id"))
    elif name in tree.value:
        tree.problems.append(Problem(place, f"'{name}' is given twice", f"first at {tree.place((name,))}"))
    else:
        tree.value[name] = said
        tree.values[name,] = place
