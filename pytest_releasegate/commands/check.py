"""`releasegate check`: read the gates, and say all that is wrong with them, or not as it should be."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import timedelta
from os import environ
from typing import TYPE_CHECKING

from pytest_releasegate.check import Secrets
from pytest_releasegate.checklist.lint import hints
from pytest_releasegate.commands._place import arguments as place_arguments
from pytest_releasegate.commands._place import place, say
from pytest_releasegate.counting import count
from pytest_releasegate.errors import CannotLook, ExitCode, Problem, RecordError
from pytest_releasegate.lifecycle.standings import claims_of
from pytest_releasegate.report.listing import coverage
from pytest_releasegate.report.text import count as amount

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from datetime import datetime

    from pytest_releasegate.commands._place import Place
    from pytest_releasegate.model import Environment, Gate, Plan

__all__ = ["arguments", "run"]

_SOON = timedelta(days=30)
_VARIABLE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--resolve", action="store_true", help="also try every reference of environment and gates")
    parser.add_argument("--strict", action="store_true", help="a hint is a mistake too")
    place_arguments(parser)


def run(asked: argparse.Namespace) -> ExitCode:
    """Print the problems, or what the plan holds."""
    asked.release = asked.release or "unreleased"  # what is declared is the same for every release
    here = place(asked)
    plan = here.plan()
    kinds = Counter(planned.gate.kind for planned in plan.gates)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    items = {planned.gate.item.id for planned in plan.gates}
    say(f"{amount(len(plan.gates), 'gate')} in {amount(len(items), 'item')}: {listed}")
    say(*([coverage(plan.gates)] if any(planned.gate.kind == "attest" for planned in plan.gates) else []))
    found = [*hints(plan, here.root), *_expiring(here, asked.clock.now())]
    say(*(line for problem in found for line in problem.lines()))
    unset = [*_unset(here.identity.environment), *_unset_in(plan)] if asked.resolve else []
    if asked.resolve:
        say(*(unset or [f"every reference of {here.identity.environment.name} and of the gates resolves"]))
    return ExitCode.USAGE if unset or (found and asked.strict) else ExitCode.GO


def _expiring(here: Place, now: datetime) -> Iterator[Problem]:
    """Waivers of the newest release that end within 30 days; none where there is no record of one."""
    try:
        known = here.store.releases(here.identity.product, here.identity.environment.name)
    except RecordError:
        return
    if not known:
        return
    release = known[-1]
    plan = here.store.plan(release.id)
    for waiver in count(claims_of(here.store, release, plan), plan, release, now).claims.waivers:
        planned = plan.by_id().get(waiver.gate)
        if planned and waiver.expires_at <= now + _SOON:
            verb = "expired" if waiver.expires_at <= now else "expires"
            what = f"{waiver.gate}: the waiver of {waiver.person} {verb} {waiver.expires_at:%Y-%m-%d %H:%M} UTC"
            yield Problem(planned.gate.place, what, "mend the gate, or have the risk accepted anew")


def _unset(environment: Environment) -> Iterator[str]:
    secrets = Secrets()
    texts = {"base_url": environment.base_url, "metrics": environment.metrics}
    texts |= {f"databases.{name}": text for name, text in environment.databases.items()}
    texts |= {f"values.{name}": text for name, text in environment.values.items()}
    for name, text in texts.items():
        try:
            secrets.resolve(text)
        except CannotLook as unset:
            yield f"{environment.name}.{name}: {unset}"


def _unset_in(plan: Plan) -> Iterator[str]:
    """Each variable that gates name and that is not set, once."""
    gates: dict[str, list[Gate]] = {}
    for gate in (planned.gate for planned in plan.gates):
        for name in dict.fromkeys(_VARIABLE.findall(json.dumps(dict(gate.parameters), default=str))):
            gates.setdefault(name, []).append(gate)
    for name, some in gates.items():
        if not environ.get(name):
            more = f" (and {len(some) - 1} more)" if len(some) > 1 else ""
            yield f"{some[0].place}: {some[0].id}{more}: the environment variable {name} is not set"
