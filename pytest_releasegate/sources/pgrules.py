"""Rules that every row of a table must satisfy: as a gate declares them, and as conditions in SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    model_validator,
)

from pytest_releasegate.errors import nearest
from pytest_releasegate.params import Parameters, Span, text_schema
from pytest_releasegate.sources.pgcolumns import NOW, column_of, literal, no_instant
from pytest_releasegate.sources.pgtables import quoted
from pytest_releasegate.sources.postgres import one_predicate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import core_schema

    from pytest_releasegate.sources.pgcolumns import Column
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Range", "Rule", "Share", "TableRules"]

_SHARE = re.compile(r"(\d+)|(\d{1,2}(?:\.\d+)?)\s*%")
Literally = StrictBool | StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)] | date | StrictStr
Names = tuple[Annotated[StrictStr, Field(min_length=1)], ...]


@dataclass(frozen=True, slots=True)
class Share:
    """How many rows may violate a rule: a number, or a percentage of those looked at."""

    text: str
    number: Decimal
    percent: bool

    @classmethod
    def parse(cls, value: Any) -> Share:
        """Read `3` or `0.1%`; raises `ValueError` otherwise."""
        if isinstance(value, Share):
            return value
        match = None if isinstance(value, bool) else _SHARE.fullmatch(str(value).strip())
        if not match:
            raise ValueError(f"expected a number of rows such as 3, or a share below 100% such as 0.1%; got '{value}'")
        number, share = match.groups()
        return cls(f"{share}%" if share else number, Decimal(share or number), bool(share))

    def allows(self, violating: int, rows: int) -> bool:
        """Whether so many of so many rows may violate."""
        return violating <= (self.number * rows / 100 if self.percent else self.number)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """How pydantic reads and writes a share: as its text."""
        return text_schema(cls, cls.parse)


def _sort(value: Any) -> str:
    return "rules" if isinstance(value, dict) else "each"


NONE = Share("0", Decimal(), percent=False)
Allowed = Annotated[
    Annotated[Share, Tag("each")] | Annotated[dict[str, Share], Tag("rules")],
    Discriminator(_sort),
]
"""A share for each rule, or by the rule's name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a table: its name, what is expected, the columns it reads, and what every row must satisfy."""

    name: str
    wanted: str
    columns: tuple[str, ...]
    condition: str
    allowed: Share = NONE
    nullable: tuple[str, ...] = ()
    """Those of its columns whose null satisfies it."""
    blind: str = ""
    """Why it cannot be looked at."""

    @property
    def violated(self) -> str:
        """The condition of rows that violate it: false, or null where no null is allowed."""
        wrong = f"({self.condition}) is not true"
        if not self.nullable:
            return wrong
        filled = [f"{quoted(name)} is not null" for name in self.nullable]
        empty = [f"{quoted(name)} is null" for name in self.columns if name not in self.nullable]
        return " or ".join([f"({' and '.join([wrong, *filled])})", *empty])

    @property
    def unknown(self) -> str:
        """The condition of those of them in which a null is the reason."""
        nulls = [f"{quoted(name)} is null" for name in self.columns if name not in self.nullable]
        return " or ".join(nulls) or ("false" if self.columns else f"({self.condition}) is null")

    @property
    def aggregates(self) -> tuple[str, str]:
        """What counts the rows that violate it, and those of them that do by a null."""
        return f"count(*) filter (where {self.violated})", f"count(*) filter (where {self.unknown})"


class Range(Parameters):
    """The values that are allowed; NaN never is."""

    min: Literally | None = None
    """The least value."""
    max: Literally | None = None
    """The greatest value."""
    above: Literally | None = None
    """A value that all must be greater than."""
    below: Literally | None = None
    """A value that all must be less than."""

    @model_validator(mode="after")
    def _bounded(self) -> Range:
        if not self.bounds:
            raise ValueError("expected a bound: min, max, above or below")
        return self

    @property
    def bounds(self) -> list[tuple[str, Any]]:
        """Operators with their values."""
        pairs = ((">=", self.min), ("<=", self.max), (">", self.above), ("<", self.below))
        return [(sign, value) for sign, value in pairs if value is not None]

    def __str__(self) -> str:
        return " and ".join(f"{sign} {value}" for sign, value in self.bounds)


class TableRules(Parameters):
    """What every row of one table must satisfy; a null satisfies no rule unless `nullable` names its column."""

    where: str = ""
    """A condition that leaves rows out, such as marked test rows: `test_run is null`."""
    not_null: Names = ()
    """Columns that hold no null."""
    not_blank: Names = ()
    """Columns of text that hold more than white space."""
    unique: tuple[StrictStr | Names, ...] = ()
    """Columns, or lists of columns, that no two rows share; rows with a null in one of them are left out."""
    accepted: dict[str, Annotated[tuple[Literally, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """By column, the values that may occur."""
    range: dict[str, Range] = Field(default_factory=dict)
    """By column, `min` and `max`, or `above` and `below`."""
    pattern: dict[str, StrictStr] = Field(default_factory=dict)
    """By column, a regular expression of PostgreSQL's that occurs in each value; anchor it with `^` and `$`."""
    fresh: dict[str, Span] = Field(default_factory=dict)
    """By column of time, how old the newest value that does not lie in the future may be."""
    not_future: Names = ()
    """Columns of time of which no value lies in the future."""
    ordered: tuple[Annotated[Names, Field(min_length=2)], ...] = ()
    """Lists of columns whose values must not fall, such as `[created_at, signed_at]`."""
    holds: dict[str, str] = Field(default_factory=dict)
    """By a name of your own, a predicate that must be true of every row; one that gives null is not true."""
    nullable: Names = ()
    """Columns in which a null satisfies every rule but `not_null`."""
    at_most: Allowed = NONE
    """How many rows may violate a rule, `3` or `0.1%`: of each, or by the rule's name, such as `pattern email`."""
    zone: str = ""
    """The time zone of columns that have none, such as UTC; without it they are no instants."""
    empty: Literal["inconclusive", "allowed"] = "inconclusive"
    """What it means that there are no rows; `allowed` beside other tables that have some."""

    @model_validator(mode="after")
    def _complete(self) -> TableRules:
        for name, text in (("where", self.where), *self.holds.items()):
            if text or name != "where":
                one_predicate(text, f"the predicate of {name}")
        if not self.names:
            raise ValueError("expected a rule, such as not_null: [id]")
        if unknown := [name for name in self._allowances if name not in self.names]:
            raise ValueError(f"`at_most` names no rule '{unknown[0]}'; {nearest(unknown[0], self.names)}")
        return self

    @property
    def names(self) -> list[str]:
        """The names of all rules."""
        single = [(kind, getattr(self, kind)) for kind in ("not_null", "not_blank", "accepted", "range", "pattern")]
        single += [(kind, getattr(self, kind)) for kind in ("fresh", "not_future", "holds")]
        several = [f"unique {', '.join(columns)}" for columns in self.keys]
        several += [f"ordered {', '.join(columns)}" for columns in self.ordered]
        return [f"{kind} {name}" for kind, names in single for name in names] + several

    @property
    def keys(self) -> list[tuple[str, ...]]:
        """What must be unique, each as a list of columns."""
        return [(one,) if isinstance(one, str) else one for one in self.unique]

    def allowed(self, name: str) -> Share:
        """How many rows may violate that rule."""
        return self.at_most if isinstance(self.at_most, Share) else self.at_most.get(name, NONE)

    @property
    def _allowances(self) -> Mapping[str, Share]:
        return {} if isinstance(self.at_most, Share) else self.at_most

    def rules(self, table: Table, columns: Mapping[str, Column]) -> list[Rule]:
        """The rules that are looked at row by row; raises `CannotLook` for a column that is not there."""

        def column(name: str) -> Column:
            return column_of(table, columns, name)

        for name in (name for names in self.keys for name in names):
            column(name)
        found = [
            *(self._rule("not_null", name, "no null", f"{column(name).sql} is not null") for name in self.not_null),
            *(self._rule("not_blank", name, "more than white space", _filled(column(name))) for name in self.not_blank),
            *(self._rule("accepted", n, _listed(v), _accepted(column(n), v)) for n, v in self.accepted.items()),
            *(self._rule("range", name, str(r), _ranged(column(name), r)) for name, r in self.range.items()),
            *(self._rule("pattern", n, t, f"{column(n).sql}::text ~ {literal(t)}") for n, t in self.pattern.items()),
            *(self._timed("not_future", (column(name),)) for name in self.not_future),
            *(self._timed("ordered", tuple(map(column, names))) for names in self.ordered),
            *(self._rule("holds", name, text, f"\n{text}\n") for name, text in self.holds.items()),
        ]
        return list(found)

    def _rule(self, kind: str, names: str | Sequence[str], wanted: str, condition: str, blind: str = "") -> Rule:
        columns = () if kind == "holds" else (names,) if isinstance(names, str) else tuple(names)
        name = f"{kind} {names if isinstance(names, str) else ', '.join(names)}"
        nullable = tuple(one for one in columns if one in self.nullable and kind != "not_null")
        return Rule(name, " ".join(wanted.split()), columns, condition, self.allowed(name), nullable, blind)

    def _timed(self, kind: str, columns: tuple[Column, ...]) -> Rule:
        mixed = len({column.zoneless for column in columns}) > 1
        unclear = [column for column in columns if column.zoneless and not self.zone]
        blind = no_instant(unclear[0]) if unclear and (mixed or kind == "not_future") else ""
        if kind == "not_future":
            wanted, condition = "no instant after now", f"{columns[0].instant(self.zone or 'UTC')} <= {NOW}"
        else:
            terms = [column.instant(self.zone or "UTC") if mixed else column.sql for column in columns]
            pairs = pairwise(terms)
            wanted, condition = "no value before the one to its left", " and ".join(f"{a} <= {b}" for a, b in pairs)
        return self._rule(kind, [column.name for column in columns], wanted, condition, blind)


def _filled(column: Column) -> str:
    return f"{column.sql}::text ~ '[^[:space:]]'"


def _accepted(column: Column, values: Sequence[Any]) -> str:
    # as text, since a word that an enumeration does not know would be an error of the comparison
    text = "::text" if all(isinstance(value, str) for value in values) else ""
    return f"{column.sql}{text} in ({', '.join(map(literal, values))})"


def _ranged(column: Column, bounds: Range) -> str:
    parts = [f"{column.sql} {sign} {literal(value)}" for sign, value in bounds.bounds]
    return " and ".join([*parts, *([f"{column.sql} <> 'NaN'"] if column.has_nan else [])])


def _listed(values: Sequence[Any]) -> str:
    return "one of " + ", ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in values)
