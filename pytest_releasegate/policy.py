"""The policy: who may say what, which gates a profile puts off, and when an environment is closed.

Pure and frozen with the plan, so that the record judges a year later by the rules of then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping  # noqa: TC003  pydantic reads the annotations
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from pytest_releasegate.model import Gate

__all__ = [
    "Action",
    "BusinessHours",
    "DerivedFact",
    "Freeze",
    "Grant",
    "Person",
    "Profile",
    "Role",
    "Rules",
    "Selector",
    "closed",
    "deferred",
    "is_placeholder",
    "objection",
    "placeholder",
    "rules_from_document",
    "rules_to_document",
]

Action = Literal["waive", "attest", "sign", "declare"]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_AHEAD = 400
"""How many days ahead the next opening is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Gates by the patterns of their ids (fnmatch), severities, kinds and phases; what is empty selects all."""

    gates: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()

    def matches(self, gate: Gate) -> bool:
        """Whether the gate is one of them."""
        named = not self.gates or any(fnmatchcase(gate.id, pattern) for pattern in self.gates)
        wanted = ((gate.severity, self.severities), (gate.kind, self.kinds), (gate.phase, self.phases))
        return named and all(not allowed or str(value) in allowed for value, allowed in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Selector):
    """Roles that may say something about the gates, or the facts, that it selects."""

    roles: tuple[str, ...]
    facts: tuple[str, ...] = ()
    for_at_most: timedelta | None = None
    """How long what they say may hold."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role and the people who hold it, by their e-mail addresses."""

    name: str
    title: str = ""
    people: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who holds a role; `id` is what git knows them by."""

    id: str
    name: str = ""
    email: str = ""
    phone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A kind of release for which less must hold at once: gates put off until later, and who approves it."""

    name: str
    must_hold: tuple[Selector, ...] = ()
    deferred_until: timedelta = timedelta(hours=72)
    approved_by: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A span in which nothing goes out; its end is not part of it."""

    start: datetime
    end: datetime
    reason: str = ""
    environments: tuple[str, ...] = ()
    except_profiles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessHours:
    """The hours of the week in which something may go out, in a zone, but for holidays."""

    zone: str
    days: tuple[str, ...] = DAYS[:5]
    start: time = time(0)
    end: time = time(0)
    """Midnight is the end of the day."""
    country: str = ""
    subdivision: str = ""
    dates: tuple[date, ...] = ()
    environments: tuple[str, ...] = ()
    except_profiles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedFact:
    """A fact that is true where a path that the release changes matches one of the patterns."""

    name: str
    changed: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All that `policy.yaml`, `stakeholders.yaml` and `allowed_signers` say."""

    waive: tuple[Grant, ...] = ()
    attest: tuple[Grant, ...] = ()
    sign: tuple[Grant, ...] = ()
    declare: tuple[Grant, ...] = ()
    signed: frozenset[str] = frozenset()
    """The kinds of claims that must bear a signature; sign-offs always do."""
    authors_may_sign: bool = True
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    freezes: tuple[Freeze, ...] = ()
    business_hours: tuple[BusinessHours, ...] = ()
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    facts: Mapping[str, DerivedFact] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    people: Mapping[str, Person] = field(default_factory=dict)
    signers: str = ""
    """The text of `allowed_signers`."""

    @property
    def digest(self) -> str:
        """SHA-256 over the RFC 8785 form of all of it, in hexadecimal."""
        import rfc8785

        return hashlib.sha256(rfc8785.dumps(rules_to_document(self))).hexdigest()


def placeholder(role: str) -> str:
    """Who stands for a role's holder until somebody is named: an address that is nobody's (RFC 2606)."""
    return f"{role.replace('_', '-')}@example.com"


def is_placeholder(person: str) -> bool:
    """Whether the address is nobody's."""
    return person.endswith("@example.com")


def objection(
    rules: Rules,
    action: Action,
    person: str,
    role: str,
    gate: Gate | None = None,
    *,
    fact: str = "",
    span: timedelta | None = None,
) -> str:
    """Why the person, in that role, may not do that for so long; empty where they may.

    Nobody waives without a grant. Where roles are declared, a person speaks only in a role that is theirs.
    """
    if rules.roles and (unknown := _no_holder(rules, person, role)):
        return unknown
    if action == "attest" and gate and role == gate.parameters.get("role", role):
        return ""
    grants: tuple[Grant, ...] = getattr(rules, action)
    about = [one for one in grants if gate is None or one.matches(gate)]
    about = [one for one in about if not fact or not one.facts or fact in one.facts]
    if not about and action in {"sign", "declare"}:
        return ""
    mine = [one for one in about if role in one.roles]
    what = f"{gate.id}" if gate else fact or "this"
    if not mine:
        asked = [str(gate.parameters.get("role"))] if action == "attest" and gate else []
        may = ", ".join(dict.fromkeys([*asked, *(name for one in about for name in one.roles)])) or "nobody"
        return f"{role} may not {action} {what}; who may: {may}"
    longest = [one.for_at_most for one in mine if one.for_at_most]
    if span and len(longest) == len(mine) and span > max(longest):
        return f"{role} may {action} {what} for at most {_days(max(longest))}, not for {_days(span)}"
    return ""


def deferred(rules: Rules, profile: str, gate: Gate) -> timedelta | None:
    """How long after the deployment the profile lets the gate wait; None where it must hold as ever."""
    found = rules.profiles.get(profile)
    if found is None or gate.trigger or any(one.matches(gate) for one in found.must_hold):
        return None
    return found.deferred_until


def closed(rules: Rules, environment: str, profile: str, start: datetime, end: datetime) -> list[str]:
    """A sentence for each freeze that overlaps the span, and for each set of business hours that it is not within.

    Touching is not overlapping: a span may begin where a freeze ends, and end where business hours do.
    """
    freezes = [one for one in rules.freezes if _applies(one, environment, profile)]
    said = [
        f"frozen from {one.start:%Y-%m-%d %H:%M} to {one.end:%Y-%m-%d %H:%M} UTC: {one.reason or 'no reason given'}"
        for one in freezes
        if start < one.end and (end > one.start or start >= one.start)
    ]
    every = [_shut(one, start, end) for one in rules.business_hours if _applies(one, environment, profile)]
    return said + [why for why in every if why]


def rules_to_document(rules: Rules) -> dict[str, Any]:
    """The rules as plain values for JSON; `rules_from_document` reads them back, exactly."""
    document: dict[str, Any] = _plain(asdict(rules))
    return document


def rules_from_document(document: Mapping[str, Any]) -> Rules:
    """The rules that `rules_to_document` made plain."""
    read: Rules = _reader().validate_python(dict(document))
    return read


@cache
def _reader() -> TypeAdapter[Rules]:
    from pydantic import TypeAdapter

    return TypeAdapter(Rules)


def _no_holder(rules: Rules, person: str, role: str) -> str:
    found = rules.roles.get(role)
    if found is None:
        return f"no role '{role}' is declared in stakeholders.yaml"
    if person in found.people:
        return ""
    return f"{person} does not hold the role {role}; who does: {', '.join(found.people) or 'nobody'}"


def _days(span: timedelta) -> str:
    whole = f"{span.days}d" if span.days else ""
    return (whole + (f"{span.seconds // 3600}h" if span.seconds else "")) or "0h"


def _applies(one: Freeze | BusinessHours, environment: str, profile: str) -> bool:
    return (not one.environments or environment in one.environments) and profile not in one.except_profiles


def _shut(hours: BusinessHours, start: datetime, end: datetime) -> str:
    """Why the span is not within business hours, and when they begin next; empty where it is."""
    if why := _outside(hours, start):
        return f"{start:%Y-%m-%d %H:%M} UTC is {why}; next opening {_opening(hours, start)}"
    until = _closing(hours, start)
    if end <= until:
        return ""
    told = f"business hours end at {until:%Y-%m-%d %H:%M} UTC, before {end:%Y-%m-%d %H:%M} UTC"
    return f"{told}; next opening {_opening(hours, until)}"


def _outside(hours: BusinessHours, at: datetime) -> str:
    """Why the instant is no business hour there; empty where it is one. The last instant is none."""
    from zoneinfo import ZoneInfo

    local = at.astimezone(ZoneInfo(hours.zone))
    if name := _holiday(hours, local.date()):
        return f"a holiday ({name})"
    if DAYS[local.weekday()] not in hours.days:
        return f"outside business hours ({', '.join(hours.days)})"
    if local.time() < hours.start or (hours.end != time(0) and local.time() >= hours.end):
        end = f"{hours.end:%H:%M}" if hours.end != time(0) else "24:00"
        return f"outside business hours ({hours.start:%H:%M} to {end} {hours.zone})"
    return ""


def _holiday(hours: BusinessHours, day: date) -> str:
    if day in hours.dates:
        return "declared"
    if not hours.country:
        return ""
    import holidays

    # in one language, because the sentence stands in the record and must not depend on who looks
    known = holidays.country_holidays(hours.country, hours.subdivision or None, day.year, language="en_US")
    return str(known.get(day, ""))


def _closing(hours: BusinessHours, at: datetime) -> datetime:
    """When the business hours that hold the instant end; those until midnight may go on the next day."""
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(hours.zone)
    day = at.astimezone(zone).date()
    for number in range(_AHEAD):
        last = day + timedelta(days=number + (hours.end == time(0)))
        end = datetime.combine(last, hours.end, zone).astimezone(UTC)
        if _outside(hours, end):
            break
    return end


def _opening(hours: BusinessHours, at: datetime) -> str:
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(hours.zone)
    today = at.astimezone(zone).date()
    for number in range(_AHEAD):
        start = datetime.combine(today + timedelta(days=number), hours.start, zone)
        if start >= at and not _outside(hours, start):
            return f"{start.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"not within {_AHEAD} days"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    return value.isoformat() if isinstance(value, datetime | date | time) else value
