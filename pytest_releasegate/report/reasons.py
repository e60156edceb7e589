"""The reasons of verdicts told shortly: tallies, reasons of one kind in one line, and what to do next."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.model import ASKS_PEOPLE, Decision, Phase, Status
from pytest_releasegate.report.text import instant
from pytest_releasegate.standing import BEFORE_DEPLOYMENT
from pytest_releasegate.verdict import PRECEDENCE, UNDEPLOYED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_releasegate.model import Item, Release
    from pytest_releasegate.report.view import ReleaseView
    from pytest_releasegate.verdict import Reason, Standing, Verdict

__all__ = [
    "TROUBLE",
    "Group",
    "absent",
    "by_item",
    "deployment",
    "facts",
    "grouped",
    "next_steps",
    "tally",
    "untouched",
    "word",
]

TROUBLE = frozenset(
    {Status.FAILED, Status.ERROR, Status.INCONCLUSIVE, Status.MISSING, Status.PENDING, Status.WAIVED},
)
"""Statuses that a reader must see."""

_COMMAND = ": releasegate "


@dataclass(frozen=True, slots=True)
class Group:
    """Reasons of one kind: what they weigh, the gates' status (none for the phase as a whole), why, and which gates."""

    decision: Decision
    status: Status | None
    why: str
    gates: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """What the gates have in common, such as `missing: 37 gates not looked at`."""
        if not self.status:
            return self.why
        count = f"{len(self.gates)} gates" if len(self.gates) > 1 else self.gates[0]
        return f"{self.status}: {count} {self.why}".rstrip()


def word(status: Status) -> str:
    """A status as people write it."""
    return status.value.replace("_", " ")


def deployment(release: Release, *, exact: bool = False) -> str:
    """When it was deployed and by whose word, such as `2026-01-05 09:00 UTC, seen by gate 8.1.4`."""
    return ", ".join(filter(None, (instant(release.deployed_at, exact=exact), release.deployment)))


def facts(release: Release) -> str:
    """The facts of a release, such as `maintenance: false, billing_changes: true (billing/a.py changed)`."""
    told = dict.fromkeys(release.facts, "")
    told |= {
        name: f" ({path} changed)" if path else " (nothing of it changed)"
        for name, path in release.derived.items()
        if name not in release.facts
    }
    return ", ".join(f"{name}: {str(release.known_facts[name]).lower()}{why}" for name, why in sorted(told.items()))


def tally(standings: Iterable[Standing]) -> str:
    """How many gates have which status, worst first, such as `1 failed, 3 passed`."""
    counts = Counter((PRECEDENCE.index(row.status), row.gate.observe and row.status in TROUBLE) for row in standings)
    return ", ".join(
        f"{count} {word(PRECEDENCE[index])}{' (observed)' if observe else ''}"
        for (index, observe), count in sorted(counts.items())
    )


def by_item(standings: Iterable[Standing]) -> list[tuple[Item, list[Standing]]]:
    """The gates under their items, in the order of the plan."""
    found: dict[str, tuple[Item, list[Standing]]] = {}
    for row in standings:
        found.setdefault(row.gate.item.id, (row.gate.item, []))[1].append(row)
    return list(found.values())


def untouched(rows: Iterable[Standing]) -> bool:
    """Whether nobody has looked at any of these gates yet."""
    return all(row.status is Status.MISSING and not row.results and row.reason == "not looked at" for row in rows)


def absent(row: Standing) -> list[str]:
    """The named cases of a gate that was looked at of which the record holds no valid row."""
    seen = {result.case for result in row.results}
    return [case for case in row.planned.cases if case and case not in seen] if seen else []


def grouped(verdict: Verdict) -> list[Group]:
    """The reasons of a verdict, worst first, those of one kind together."""
    rows = {row.gate.id: row for row in verdict.standings}
    found: dict[tuple[Decision, Status | None, str], list[Reason]] = {}
    for reason in verdict.reasons:
        row = rows.get(reason.gate)
        status = row.status if row else None
        found.setdefault((reason.decision, status, _kind(row) if row else reason.text), []).append(reason)
    groups = [_group(*key, reasons, rows) for key, reasons in found.items()]
    return sorted(groups, key=_weight)


def next_steps(view: ReleaseView, verdicts: Mapping[Phase, Verdict]) -> list[tuple[str, str]]:
    """What to do about the reasons: a verb and a command, one for each kind of reason."""
    release = view.release
    steps = (
        ("roll back", _roll_back(view, verdicts)),
        ("repair", _repair(verdicts)),
        ("reopen", _reopen(verdicts)),
        ("look", _look(release, verdicts)),
        ("attest", _say(verdicts, "attest")),
        ("sign", _say(verdicts, "sign")),
        ("declare", _say(verdicts, "fact")),
        ("deployed", _deployed(release, verdicts)),
        ("before", _before(release, verdicts)),
        ("too late", _too_late(release, verdicts)),
    )
    return [(verb, command) for verb, command in steps if command]


def _kind(row: Standing) -> str:
    """What makes reasons alike: their text, without the gate's own command or instants."""
    if row.status is Status.PENDING:
        return row.reason.partition(_COMMAND)[0]
    return "stale" if row.reason.startswith("stale: ") else row.reason


def _group(
    decision: Decision, status: Status | None, why: str, reasons: list[Reason], rows: Mapping[str, Standing]
) -> Group:
    gates = tuple(reason.gate for reason in reasons if reason.gate)
    if why == "stale" and len(gates) == 1:
        why = rows[gates[0]].reason
    return Group(decision, status, why, gates)


def _weight(group: Group) -> tuple[int, int]:
    return -group.decision.rank, PRECEDENCE.index(group.status) if group.status else len(PRECEDENCE)


def _in_the_way(verdicts: Mapping[Phase, Verdict], *statuses: Status) -> list[Standing]:
    named = {(phase, reason.gate) for phase, verdict in verdicts.items() for reason in verdict.reasons}
    return [
        row
        for phase, verdict in verdicts.items()
        for row in verdict.standings
        if row.status in statuses and (phase, row.gate.id) in named
    ]


def _pytest(release: Release, phases: Iterable[Phase]) -> str:
    expression = " or ".join(dict.fromkeys(phase.value for phase in phases))
    return shlex.join(["pytest", "-m", expression, "--release", release.version, "--env", release.environment])


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def _roll_back(view: ReleaseView, verdicts: Mapping[Phase, Verdict]) -> str:
    if all(verdict.decision is not Decision.ROLLBACK for verdict in verdicts.values()):
        return ""
    planned = Phase.ROLLBACK in view.phases
    return _pytest(view.release, [Phase.ROLLBACK]) if planned else "the plan has no rollback gates: by your procedure"


def _repair(verdicts: Mapping[Phase, Verdict]) -> str:
    rows = _in_the_way(verdicts, Status.FAILED, Status.ERROR)
    return f"releasegate show {rows[0].gate.id}{_more(len(rows))}, then look again" if rows else ""


def _reopen(verdicts: Mapping[Phase, Verdict]) -> str:
    """What lets a gate that writes look again: it runs once."""
    rows = _in_the_way(verdicts, Status.FAILED, Status.ERROR, Status.INCONCLUSIVE)
    gates = [row.gate for row in rows if row.gate.writes and row.results]
    if not gates:
        return ""
    step = f"{gates[0].phase}/{gates[0].step}" if gates[0].step else gates[0].phase.value
    return f"releasegate reopen {step} --reason ..., for {gates[0].id}{_more(len(gates))} writes, and runs once"


def _is_late(release: Release, row: Standing) -> bool:
    """Whether a gate had to hold before a deployment that has been; a profile may put it off."""
    early = (row.gate.phase, row.gate.step) in BEFORE_DEPLOYMENT
    return early and release.deployed_at is not None and not release.profile


def _too_late(release: Release, verdicts: Mapping[Phase, Verdict]) -> str:
    rows = _in_the_way(verdicts, Status.FAILED, Status.ERROR, Status.INCONCLUSIVE, Status.MISSING)
    late = [row for row in rows if _is_late(release, row)]
    if not late or release.rolled_back_at:
        return ""
    what = f"{late[0].gate.id}{_more(len(late))} had to hold before the deployment"
    return f"{what}: the next release, or releasegate rollback and another attempt"


def _look(release: Release, verdicts: Mapping[Phase, Verdict]) -> str:
    rows = _in_the_way(verdicts, Status.FAILED, Status.ERROR, Status.INCONCLUSIVE, Status.MISSING)
    phases = [row.gate.phase for row in rows if row.gate.kind not in ASKS_PEOPLE and not _is_late(release, row)]
    return _pytest(release, phases) if phases else ""


def _say(verdicts: Mapping[Phase, Verdict], verb: str) -> str:
    wanted = dict.fromkeys(_command(row) for row in _in_the_way(verdicts, Status.PENDING))
    commands = [command for command in wanted if command.startswith(f"releasegate {verb} ")]
    return commands[0] + _more(len(commands)) if commands else ""


def _command(row: Standing) -> str:
    """What a person is to type: as the reason says, else a new word on the gate."""
    _, found, rest = row.reason.partition(_COMMAND)
    return f"releasegate {rest}" if found else f"releasegate attest {row.gate.id} --status passed"


def _deployed(release: Release, verdicts: Mapping[Phase, Verdict]) -> str:
    told = {reason.text for verdict in verdicts.values() for reason in verdict.reasons}
    if not any(text.endswith(UNDEPLOYED) for text in told):
        return ""
    return shlex.join(["releasegate", "deployed", "--release", release.version, "--env", release.environment])


def _before(release: Release, verdicts: Mapping[Phase, Verdict]) -> str:
    told = [reason.text for verdict in verdicts.values() for reason in verdict.reasons if not reason.gate]
    named = [phase for phase in Phase if any(text.startswith(f"phase {phase} ") for text in told)]
    earlier = [phase for phase in named if phase not in verdicts]
    return _pytest(release, earlier) if earlier else ""
