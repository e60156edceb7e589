"""What `policy.yaml` and `stakeholders.yaml` may hold, declared once."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from pytest_releasegate.checklist.schema import Target, Word
from pytest_releasegate.errors import nearest
from pytest_releasegate.model import Phase, Severity
from pytest_releasegate.params import Duration, Parameters

__all__ = ["GrantKeys", "HoursKeys", "PolicyFile", "ProfileKeys", "SelectorKeys", "StakeholdersFile"]

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")


def _instant(text: str) -> str:
    try:
        said = datetime.fromisoformat(text)
        aware = said.tzinfo is not None and said.astimezone(UTC) is not None
    except (ValueError, OverflowError):
        aware = False
    if not aware:
        raise ValueError(f"expected an instant with its offset, such as 2026-12-20T00:00:00+01:00, got '{text}'")
    return text


def _day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"expected a date such as 2026-12-31, got '{text}'") from None
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"expected a zone such as Europe/Berlin or UTC, got '{text}'") from None
    return text


def _hours(text: str) -> str:
    found = _HOURS.fullmatch(text)
    if not found or text[:5] >= text[6:] or text[6:] > "24:00":
        raise ValueError(f"expected hours such as 09:00-16:00, got '{text}'")
    return text


@cache
def _countries() -> dict[str, list[str]]:
    import holidays

    return dict(holidays.list_supported_countries())


def _country(text: str) -> str:
    if text not in _countries():
        raise ValueError(f"expected a country of ISO 3166-1 whose holidays are known, such as DE, got '{text}'")
    return text


def _part(keys: HolidayKeys) -> HolidayKeys:
    """The same, when its subdivision is one of its country."""
    if keys.subdivision and not keys.country:
        raise ValueError(f"subdivision: expected a country beside it, got '{keys.subdivision}' alone")
    known = _countries().get(keys.country, []) if keys.subdivision else []
    if keys.subdivision and keys.subdivision not in known:
        told = nearest(keys.subdivision, known)
        raise ValueError(f"subdivision: expected a part of {keys.country}, got '{keys.subdivision}' ({told})")
    return keys


Instant = Annotated[str, AfterValidator(_instant)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Day = Annotated[str, AfterValidator(_day)]


class SelectorKeys(Parameters):
    """Which gates are meant; what is left out leaves all."""

    gates: tuple[str, ...] = Field(default=(), min_length=1)
    """Patterns of ids, such as "6.*"."""
    severity: tuple[Severity, ...] = Field(default=(), min_length=1)
    """Their severities."""
    kinds: tuple[str, ...] = Field(default=(), min_length=1)
    """The kinds of their checks."""
    phases: tuple[Phase, ...] = Field(default=(), min_length=1)
    """Their phases."""


class GrantKeys(SelectorKeys):
    """Who may say something about which gates or facts."""

    roles: Annotated[tuple[Word, ...], Field(min_length=1)]
    """The roles that may."""
    facts: tuple[Word, ...] = Field(default=(), min_length=1)
    """With `declare`: which facts; all without it."""
    for_at_most: Duration | None = None
    """With `waive`: how long it may hold, such as `30d`."""


class ProfileKeys(Parameters):
    """A kind of release for which less must hold at once, such as a hotfix."""

    must_hold: SelectorKeys = Field(default_factory=SelectorKeys)
    """The gates that must hold as ever: those of any of these severities, ids, kinds or phases."""
    deferred_until: Duration
    """How long after the deployment all others may wait, such as `72h`."""
    approved_by: Annotated[tuple[Word, ...], Field(min_length=1)]
    """The roles whose sign-offs it needs, in place of all."""
    reason: str = ""
    """What it is for."""


class FreezeKeys(Parameters):
    """A span in which nothing goes out."""

    start: Instant = Field(alias="from")
    """When it begins, with its offset from UTC."""
    end: Instant = Field(alias="until")
    """When it is over; that instant is open again."""
    reason: str
    """Why."""
    environments: tuple[Target, ...] = ()
    """Where; everywhere without it."""
    except_profiles: tuple[Word, ...] = Field(default=(), alias="except")
    """The profiles that it does not stop."""


class HolidayKeys(Parameters):
    """Days on which nothing goes out."""

    country: Annotated[str, AfterValidator(_country)] | Literal[""] = ""
    """The country whose public holidays count, such as DE (ISO 3166-1)."""
    subdivision: str = ""
    """Its part, such as BE (ISO 3166-2)."""
    dates: tuple[Day, ...] = ()
    """Further days."""


class HoursKeys(Parameters):
    """The hours of the week in which something may go out."""

    zone: Annotated[str, AfterValidator(_zone)]
    """The zone of the clock, such as Europe/Berlin."""
    days: tuple[Weekday, ...] = Field(default=("mon", "tue", "wed", "thu", "fri"), min_length=1)
    """The days of the week."""
    hours: Annotated[str, AfterValidator(_hours)] = "00:00-24:00"
    """From when to when."""
    holidays: Annotated[HolidayKeys, AfterValidator(_part)] = Field(default_factory=HolidayKeys)
    """Days that are left out."""
    environments: tuple[Target, ...] = ()
    """Where; everywhere without it."""
    except_profiles: tuple[Word, ...] = Field(default=(), alias="except")
    """The profiles that it does not stop."""


class DerivedKeys(Parameters):
    """A fact that follows from what the release changes."""

    changed: Annotated[tuple[str, ...], Field(min_length=1)]
    """Patterns of paths under the product's folder, such as "migrations/**"."""
    title: str = ""
    """What it means, for people."""


class PolicyFile(Parameters):
    """The file `policy.yaml`: who may say what, and when something may go out."""

    waive: tuple[GrantKeys, ...] = ()
    """Who may accept the risk of a failed gate; nobody without it."""
    attest: tuple[GrantKeys, ...] = ()
    """Who may answer gates besides the role that a gate names."""
    sign: tuple[GrantKeys, ...] = ()
    """Narrows who may sign what, besides that a role is signed for by its holders alone."""
    declare: tuple[GrantKeys, ...] = ()
    """Who may declare which facts; anybody without it."""
    signed: tuple[Literal["attestation", "waiver", "revocation"], ...] = ()
    """The claims that count only with an SSH signature; a sign-off always needs one."""
    authors_may_sign: bool = True
    """Whether somebody who wrote a commit of the release may sign it."""
    after: dict[Target, tuple[Target, ...]] = Field(default_factory=dict)
    """For an environment, those in which the same commit must be GO first."""
    profiles: dict[Word, ProfileKeys] = Field(default_factory=dict)
    """Kinds of release by name: `releasegate open VERSION --profile NAME`."""
    freeze: tuple[FreezeKeys, ...] = ()
    """Spans in which nothing goes out; a rollback always may."""
    business_hours: tuple[HoursKeys, ...] = ()
    """Hours in which something may go out, or a list of such; always without it."""
    facts: dict[Word, DerivedKeys] = Field(default_factory=dict)
    """Facts that are derived from what changed."""


class RoleKeys(Parameters):
    """One role."""

    title: str = ""
    """What it is called, for people."""
    people: tuple[str, ...] = ()
    """Who holds it, by the keys of `people`."""


class PersonKeys(Parameters):
    """One person."""

    name: str = ""
    """Their name."""
    email: str = ""
    """Where mail reaches them, where it is not their key."""
    phone: str = ""
    """Where a call reaches them."""


class StakeholdersFile(Parameters):
    """The file `stakeholders.yaml`: roles, and the people who hold them."""

    roles: dict[Word, RoleKeys]
    """The roles by name."""
    people: dict[str, PersonKeys] = Field(default_factory=dict)
    """The people by the e-mail address that git knows them by."""


def instant(text: str) -> datetime:
    """The UTC instant of a text that was validated."""
    return datetime.fromisoformat(text).astimezone(UTC)


def clock(text: str) -> time:
    """The time of day of a text that was validated; 24:00 is midnight."""
    return time(0) if text.startswith("24") else time.fromisoformat(text)
