"""The settings of a PostgreSQL server: their values with units, and who gets other values than the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

__all__ = ["Override", "Setting", "amount", "settings"]

_BYTES = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_AMOUNT = re.compile(r"(-?\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB|us|ms|s|min|h|d)?")
_TRUE, _FALSE = ("on", "true", "yes", "1"), ("off", "false", "no", "0")
_SETTINGS = """
select w.name, s.vartype, coalesce(s.unit, ''), s.min_val,
       case when s.name is null and strpos(w.name, '.') > 0 then pg_catalog.current_setting(w.name, true)
            else s.reset_val end,
       s.name is not null,
       pg_catalog.pg_has_role('pg_read_all_settings', 'usage')
from unnest(%s::text[]) with ordinality w(name, place)
left join pg_catalog.pg_settings s on lower(s.name) = lower(w.name)
order by w.place
"""
_OVERRIDES = """
select coalesce(r.rolname, ''), coalesce(d.datname, ''), coalesce(r.rolname = session_user, false),
       split_part(o.text, '=', 1), substr(o.text, strpos(o.text, '=') + 1)
from pg_catalog.pg_db_role_setting s
cross join lateral unnest(s.setconfig) o(text)
left join pg_catalog.pg_roles r on r.oid = s.setrole
left join pg_catalog.pg_database d on d.oid = s.setdatabase
where (s.setdatabase = 0 or d.datname = current_database()) and (s.setrole = 0 or r.oid is not null)
order by 1, 2, 4
"""
_WAITING = "select name from pg_catalog.pg_settings where pending_restart order by name"
_ROLE = "select 1 from pg_catalog.pg_roles where rolname = %s"
_NAMES = "select name from pg_catalog.pg_settings"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, and what it is for those who have no value of their own."""

    name: str
    kind: str
    """`bool`, `integer`, `real`, `enum` or `string`; empty where no loaded module knows it."""
    unit: str
    disables: bool
    """-1 means that it is off, or without limit."""
    value: str | None
    """None where nobody set it."""
    known: bool = True
    """False where the role that looks has a value of its own, which hides the server's."""

    @property
    def numeric(self) -> bool:
        """Whether it is a number, with or without a unit."""
        return self.kind in ("integer", "real")

    def number(self, text: str) -> float:
        """A value of it in the unit's own measure (bytes, seconds, or plain); raises `ValueError` when it is none."""
        value, unit = amount(text)
        scale, measures = _scale(self.unit)
        if unit and unit not in measures:
            raise ValueError(f"{text} is no {_kind_of(self.unit)}")
        exact = value * measures[unit] if unit else value * scale
        # the server keeps whole numbers of its unit
        return round(exact / scale) * scale if self.kind == "integer" else exact

    def endless(self, text: str) -> bool:
        """Whether the value turns it off, which no upper bound allows."""
        number = self.number(text)
        return (number < 0 and self.disables) or (number == 0 and self.name.endswith("_timeout"))

    def same(self, value: str, other: str) -> bool:
        """Whether two values of it mean the same."""
        if self.numeric:
            return isclose(self.number(value), self.number(other), rel_tol=1e-9, abs_tol=1e-12)
        if self.kind == "bool":
            return _truth(value) == _truth(other)
        return value.lower() == other.lower() if self.kind == "enum" else value == other

    def shown(self, text: str) -> str:
        """A value as people write it, such as `128MB` or `30s`."""
        try:
            number = self.number(text) if self.numeric and self.unit else None
        except ValueError:
            return text
        if number is None or number <= 0:
            return text + (" (off, or without limit)" if self.numeric and self.endless(text) else "")
        fitting = ((number / size, unit) for unit, size in reversed(_scale(self.unit)[1].items()))
        return next((f"{size:.10g}{unit}" for size, unit in fitting if _whole(size) and size >= 1), text)


@dataclass(frozen=True, slots=True)
class Override:
    """A value that a role, a database, or a role in a database gets instead."""

    role: str
    database: str
    own: bool
    """It is of the role that looks."""
    name: str
    value: str

    def __str__(self) -> str:
        parts = [f"role {self.role}"] * bool(self.role) + [f"database {self.database}"] * bool(self.database)
        return " in ".join(parts) or "all roles"


def settings(
    connection: psycopg.Connection[Any], names: Sequence[str], role: str = ""
) -> tuple[dict[str, Setting], list[Override], list[str]]:
    """The named settings as a role gets them, or all that have no value of their own; the values that roles and
    databases get instead; and what waits for a restart."""
    rows = connection.execute(_SETTINGS, [list(names)]).fetchall()
    overrides = [Override(*row) for row in connection.execute(_OVERRIDES).fetchall()]
    waiting = [str(row[0]) for row in connection.execute(_WAITING).fetchall()]
    if role and not connection.execute(_ROLE, [role]).fetchone():
        raise CannotLook(f"the server has no role '{role}'", "correct `role` of the gate")
    found = {}
    for name, kind, unit, least, value, known, reads_all in rows:
        if not known and "." not in name:
            _refuse(connection, name, reads_all=reads_all)
        mine = [each for each in overrides if each.name.lower() == name.lower()]
        first = _first(mine, role)
        hidden = first is None and any(each.own for each in mine)
        plain = first.value if first else value
        found[name] = Setting(name.lower(), kind or "", unit, least == "-1", plain, known=not hidden)
    return found, [each for each in overrides if each.role and not each.own], waiting


def _first(overrides: Sequence[Override], role: str) -> Override | None:
    """Which of the values a role gets: its own in this database, its own, the database's, everybody's."""
    mine = [each for each in overrides if each.role in ("", role)]
    return min(mine, key=lambda each: (not each.role, not each.database), default=None)


def amount(text: str) -> tuple[float, str]:
    """A number and its unit, as PostgreSQL writes them; raises `ValueError` for anything else."""
    match = _AMOUNT.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text} is no number with a unit such as 64MB or 30s")
    return float(match[1]), match[2] or ""


def _refuse(connection: psycopg.Connection[Any], name: str, *, reads_all: bool) -> None:
    if not reads_all:
        raise CannotLook(
            f"there is no setting '{name}', or the role that looks may not see it",
            "grant pg_read_all_settings to it, or correct `expect` of the gate",
        )
    known = [str(row[0]) for row in connection.execute(_NAMES).fetchall()]
    hint = nearest(name, known).partition("known:")[0].strip()
    raise CannotLook(f"there is no setting '{name}'", hint or "correct `expect` of the gate")


def _scale(unit: str) -> tuple[float, dict[str, float]]:
    """What one of the unit is, such as `8kB` or `ms`, and the units that it can be written in."""
    if not unit:
        return 1.0, {}
    word = unit.lstrip("0123456789")
    measures: dict[str, float] = {**_BYTES} if word in _BYTES else _SECONDS
    return float(unit.removesuffix(word) or 1) * measures[word], measures


def _kind_of(unit: str) -> str:
    return "number without a unit" if not unit else "size" if "B" in unit else "time"


def _truth(text: str) -> bool | None:
    return True if text.lower() in _TRUE else False if text.lower() in _FALSE else None


def _whole(value: float) -> bool:
    return isclose(value, round(value), rel_tol=1e-9)
