"""The plan as a list: how each gate is verified; and what people still have to say, with the exact command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pytest_releasegate.model import Status
from pytest_releasegate.report.reasons import word
from pytest_releasegate.report.text import Paint, count, fill, one_line, width, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_releasegate.model import Gate, PlannedGate, Release
    from pytest_releasegate.report.view import ReleaseView
    from pytest_releasegate.verdict import Standing

__all__ = ["coverage", "plan_lines", "sign_off_lines", "todo_lines"]

_BESIDE = 18
"""Columns of a row beside its id, its title and what looks at it."""
_TITLE = 60
"""The most columns of a title before it goes on in the next line."""


def plan_lines(gates: Iterable[PlannedGate], *, columns: int, color: bool) -> Iterator[str]:
    """Phases, items and gates in the order of the plan; for each gate its severity and what looks at it."""
    paint, rows = Paint(color), list(gates)
    ids = max((width(one_line(row.gate.id)) for row in rows), default=0)
    titles = min(max((width(_title(row)) for row in rows), default=0), _TITLE)
    hows = max((width(one_line(how(row))) for row in rows), default=0)
    # a table where titles and what looks at them fit side by side, else one after the other
    titles = titles if ids + titles + hows + _BESIDE <= columns else 0
    part, item = "", ""
    for row in rows:
        here = f"{row.gate.phase} {row.gate.step}".rstrip()
        if here != part:
            yield from ([""] if part else [])
            yield paint(here, "strong")
            part, item = here, ""
        if row.gate.item.id != item:
            item = row.gate.item.id
            yield from (f"  {line}" for line in wrap(one_line(f"{item}  {row.gate.item.title}"), columns - 2))
        yield from _gate(row, ids, titles, columns, paint)


def how(row: PlannedGate) -> str:
    """What looks at the gate, such as `http`, `test smoke/test_login.py, 2 cases` or `attest security_lead`."""
    gate, cases = row.gate, len(row.cases)
    if gate.kind == "test":
        return f"test {gate.parameters['file']}" + (f", {cases} cases" if cases > 1 else "")
    if gate.kind == "sign_off":
        return f"signed by {gate.parameters.get('role', '')}"
    if gate.kind == "attest":
        until = f" until {gate.parameters['instead_of']}" if gate.parameters.get("instead_of") else ""
        return f"attest {gate.parameters.get('role', '')}{until}"
    return gate.kind


def coverage(gates: Iterable[PlannedGate]) -> str:
    """How many gates are looked at, how many a person answers, and how many only until a check can look."""
    rows = list(gates)
    asked = [row.gate for row in rows if row.gate.kind == "attest"]
    planned = sum(bool(gate.parameters.get("instead_of")) for gate in asked)
    signed = sum(row.gate.kind == "sign_off" for row in rows)
    told = [f"{len(rows) - len(asked) - signed} looked at", f"{len(asked) - planned} attested"]
    told += [f"{planned} attested until a check looks"] if planned else []
    told += [f"{signed} signed"] if signed else []
    return f"{count(len(rows), 'gate')}: {', '.join(told)}"


def todo_lines(view: ReleaseView, role: str, *, columns: int, color: bool) -> list[str]:
    """What people must say now, by role, each with the command that says it; facts come first.

    Of a rollback only once it has begun.
    """
    paint = Paint(color)
    pending = [row for row in view.standings.values() if row.status is Status.PENDING and not row.gate.observe]
    pending = [row for row in pending if row.gate.phase in view.ahead]
    facts = [row for row in pending if row.reason.startswith("fact ")]
    lines = _section("facts that nobody declared", _facts(facts, view.release), columns, paint) if not role else []
    rows = [row for row in pending if row not in facts]
    for name in dict.fromkeys(_role(row.gate) for row in rows):
        if role in {"", name}:
            told = [(f"{row.gate.id} {row.gate.title}", _command(row, view.release)) for row in rows]
            mine = [one for one, row in zip(told, rows, strict=True) if _role(row.gate) == name]
            lines += _section(name, mine, columns, paint)
    return lines or [f"nobody has to say anything{f' as {role}' if role else ''} now"]


def sign_off_lines(view: ReleaseView, *, columns: int, color: bool) -> list[str]:
    """Each role that must sign, by phase: who has signed, with which key, or why nobody has yet."""
    paint, lines = Paint(color), []
    rows = [row for row in view.standings.values() if row.gate.kind == "sign_off"]
    for phase in dict.fromkeys(row.gate.phase for row in rows):
        lines.append(paint(f"{phase}: {view.phases[phase].label}", "strong"))
        mine = [row for row in rows if row.gate.phase is phase]
        names = max(width(row.gate.title) for row in mine)
        for row in mine:
            state = word(row.status) if row.status is not Status.ATTESTED else "signed"
            first, *rest = wrap(f"{state}: {row.reason}", max(20, columns - names - 4))
            lines += [f"  {fill(row.gate.title, names)}  {first}", *(" " * (names + 4) + line for line in rest)]
            lines += [f"{' ' * (names + 4)}may sign: {who}" for who in _holders(view, row)]
    return lines or ["no gate of the plan asks for a signature: kind sign_off"]


def _holders(view: ReleaseView, row: Standing) -> list[str]:
    rules = view.plan.rules
    role = rules.roles.get(_role(row.gate)) if rules and row.status is Status.PENDING else None
    return [", ".join(role.people)] if role and role.people else []


def _gate(row: PlannedGate, ids: int, titles: int, columns: int, paint: Paint) -> Iterator[str]:
    start = f"    {fill(one_line(row.gate.id), ids)}  {row.gate.severity:<8}  "
    title, look = _title(row), one_line(how(row))
    room = max(20, columns - width(start))
    first, *rest = wrap(title, titles or room) or [""]
    if titles:
        first = fill(first, titles) + f"  {look}"
    else:
        rest += [f"  {line}" for line in wrap(look, room - 2)]
    yield start + paint(first, "dim" if row.gate.observe else "")
    yield from (" " * width(start) + line for line in rest)


def _title(row: PlannedGate) -> str:
    marks = [name for name in ("trigger", "observe", "writes") if getattr(row.gate, name)]
    return one_line(row.gate.title) + (f" ({', '.join(marks)})" if marks else "")


def _section(title: str, rows: list[tuple[str, str]], columns: int, paint: Paint) -> list[str]:
    lines = [paint(title, "strong")] if rows else []
    for what, command in rows:
        lines += [f"  {line}" for line in wrap(one_line(what), columns - 2)]
        lines += [f"    {line}" for line in wrap(command, columns - 4)]
    return lines


def _facts(rows: Iterable[Standing], release: Release) -> list[tuple[str, str]]:
    said: dict[str, list[str]] = {}
    for row in rows:
        _, _, rest = row.reason.partition("releasegate fact ")
        said.setdefault(rest, []).append(row.gate.id)
    where = f" {_which(release)}"
    return [(f"for {', '.join(gates)}", f"releasegate fact {rest}{where}") for rest, gates in said.items()]


def _role(gate: Gate) -> str:
    return str(gate.parameters.get("role", "a person"))


def _command(row: Standing, release: Release) -> str:
    if row.gate.kind == "sign_off":
        return f"releasegate sign {shlex.quote(_role(row.gate))} {_which(release)}"
    evidence = " --evidence FILE" if row.gate.parameters.get("evidence") == "required" else ""
    return f"releasegate attest {shlex.quote(row.gate.id)} --status passed{evidence} {_which(release)}"


def _which(release: Release) -> str:
    return shlex.join(["--release", release.version, "--env", release.environment])
