"""`indexes`: those that must be there are there, and all of them can be used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, GetCoreSchemaHandler

from pytest_releasegate.check import counted, find
from pytest_releasegate.params import Parameters, text_schema
from pytest_releasegate.sources.pgindexes import duplicates, indexes, repeated, uncovered_keys
from pytest_releasegate.sources.pgkeys import filled
from pytest_releasegate.sources.pgtables import aligned, quoted, selected, user_tables
from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg
    from pydantic_core import core_schema

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.pgindexes import Index, Key
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Indexes", "Wanted"]

_HEAD = re.compile(r"(unique\s+)?(\S[^(]*?)(?:\s+using\s+(\w+))?\s*\(", re.IGNORECASE)
_TAIL = re.compile(r"(?:\s*include\s*\(([^()]*)\))?(?:\s*where\s+(\S.*))?", re.IGNORECASE | re.DOTALL)
_ORDER = re.compile(r"\s+(asc|desc)\b|\s+nulls\s+(first|last)\b", re.IGNORECASE)
_CAST = re.compile(
    r"::\s*[\w.]+(?: varying| precision| with(?:out)? time zone)?(?:\(\d+(?:,\d+)?\))?(?:\[\])?", re.IGNORECASE
)
_ALLOWED = "any, unique, TABLE (COLUMNS) or unique TABLE using METHOD (COLUMNS) include (COLUMNS) where CONDITION"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an index must be: `clients (last_name, first_name desc)`, `unique clients (number)`, `unique` or `any`."""

    text: str
    unique: bool = False
    table: str = ""
    method: str = ""
    keys: tuple[str, ...] = ()
    included: tuple[str, ...] = ()
    predicate: str = ""

    @classmethod
    def parse(cls, value: Any) -> Wanted:
        """Read the text; raises `ValueError` that says what is allowed."""
        if isinstance(value, Wanted):
            return value
        text = " ".join(str(value).split())
        if text in ("any", "unique"):
            return cls(text, unique=text == "unique")
        head = _HEAD.match(text)
        inside = _bracketed(text[head.end() :]) if head else None
        tail = _TAIL.fullmatch(text[head.end() + len(inside) + 1 :]) if head and inside is not None else None
        if head is None or tail is None or not inside:
            raise ValueError(f"expected {_ALLOWED}; got '{text}'")
        included = _split(tail[1]) if tail[1] else ()
        method, table = (head[3] or "").lower(), _bare(head[2])
        return cls(text, bool(head[1]), table, method, _split(inside), included, tail[2] or "")

    def holds(self, index: Index) -> bool:
        """Whether the index is what was asked for."""
        if self.unique and not index.unique:
            return False
        return not self.keys or (len(self.keys) == len(index.keys) and self.leads(index))

    def leads(self, index: Index) -> bool:
        """Whether the index is sorted by these columns first, and holds the same rows."""
        ordered = any(_ORDER.search(key) for key in self.keys)
        return (
            self.table in (index.table.label, index.table.name)
            and self.method in ("", index.method)
            and len(self.keys) <= len(index.keys)
            and all(_is(*pair, ordered=ordered) for pair in zip(self.keys, index.keys, strict=False))
            and set(map(_bare, self.included)) <= set(index.included)
            and _plain(self.predicate) == _plain(index.predicate)
        )

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """How pydantic reads and writes it: as its text."""
        return text_schema(cls, cls.parse)


class Indexes(Parameters):
    """Named indexes, and the state of all; the denominator is the indexes looked at.

    ```yaml
    indexes:
      database: app
      expect:
        clients_number_key: unique clients (number)
        clients_nickname_idx: clients (nickname) where nickname is not null
      least: 10
    ```
    """

    kind: ClassVar[str] = "indexes"
    shorthand: ClassVar[str] = "database"

    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    schemas: list[str] = Field(default_factory=list)
    """The schemas whose tables are looked at; by default all that users made."""
    tables: list[str] = Field(default_factory=list)
    """The tables whose indexes must be in order, such as `notes` or `public.notes`; by default all."""
    exclude: list[str] = Field(default_factory=list)
    """Patterns of tables to leave out, such as `staging.*`."""
    ignore: list[str] = Field(default_factory=list)
    """Patterns of indexes to leave out, such as `*_old`."""
    expect: dict[str, Wanted] = Field(default_factory=dict)
    """By name: `clients (last_name, first_name desc)`, `unique clients (lower(email)) where not gone`, or `any`."""
    columns: list[Wanted] = Field(default_factory=list)
    """Columns that some index must lead with, whatever its name: `notes (client_id)`, `unique clients (number)`."""
    duplicates: bool = Field(default=False, strict=True)
    """Whether several indexes may do the same work."""
    really_unique: bool = Field(default=False, strict=True)
    """Whether the rows are read to see that no key of a unique index occurs twice, which a spoilt index would hide."""
    foreign_keys: bool = Field(default=False, strict=True)
    """Whether every foreign key needs an index that leads with its columns."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many indexes there must be at least."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Read the catalogue, and the rows where that was asked for."""
        with connect(context, self.database) as connection:
            tables = user_tables(connection, self.schemas)
            known = indexes(connection, tables)
            chosen = selected(tables, self.tables, self.exclude)
            inside = self._inside(known, chosen)
            rest = [
                *(self._unique(connection, context, inside) if self.really_unique else ()),
                *(self._covered(connection, chosen, inside) if self.foreign_keys else ()),
            ]
        if known:
            context.attach("indexes.txt", "text/plain", _evidence(known))
        yield from self._named(known)
        yield from (self._some(wanted, known) for wanted in self.columns)
        yield from self._state(inside)
        yield from rest
        yield counted("indexes", len(inside), self.least)

    def _inside(self, known: Sequence[Index], chosen: Sequence[Table]) -> list[Index]:
        roots = {table.oid for table in chosen}
        mine = [index for index in known if index.root in roots]
        return [index for index in mine if not any(_matches(index, pattern) for pattern in self.ignore)]

    def _named(self, known: Sequence[Index]) -> Iterator[Finding]:
        for name, wanted in self.expect.items():
            found = [index for index in known if name in (index.label, index.name)]
            good = next((index for index in found if wanted.holds(index)), None)
            shown = good or (found[0] if found else None)
            actual = _absent(name, wanted, known) if shown is None else shown.faults or str(shown)
            yield find(f"index {name}", expected=wanted, actual=actual, ok=good is not None and not good.faults)

    def _some(self, wanted: Wanted, known: Sequence[Index]) -> Finding:
        fits = wanted.holds if wanted.unique else wanted.leads
        good = [index.label for index in known if fits(index) and not index.faults]
        return find(f"index on {wanted}", expected="there", actual=", ".join(good) or "none", ok=bool(good))

    def _state(self, inside: Sequence[Index]) -> Iterator[Finding]:
        told = {name for name in self.expect for index in inside if index.faults and name in (index.label, index.name)}
        bad = [index for index in inside if index.faults]
        for index in bad:
            if not told & {index.label, index.name}:
                where = f"{index.label} on {index.table.label}"
                yield find(where, expected="valid, ready and live", actual=index.faults, ok=False)
        twice = [] if self.duplicates else duplicates(inside)
        for first, *others in twice:
            actual = f"the same as {', '.join(other.label for other in others)}: {first}"
            yield find(first.label, expected="no index that does its work", actual=actual, ok=False)
        if len(bad) < len(inside):
            wanted = "valid, ready and live" + ("" if self.duplicates else ", none twice")
            good = len(inside) - len(bad) - sum(len(group) for group in twice)
            if good:
                yield find("indexes in order", expected=wanted, actual=f"{good} of {len(inside)}", ok=True)

    def _unique(
        self, connection: psycopg.Connection[Any], context: Context, inside: Sequence[Index]
    ) -> Iterator[Finding]:
        unique = [index for index in inside if index.unique and not index.attached and not index.exclusion]
        numbers = repeated(connection, context, unique)
        held = filled(connection, context, list({index.table.label: index.table for index in unique}.values()))
        for index, number in zip(unique, numbers, strict=True):
            if number:
                keys = f"{number} key{'s' * (number > 1)} in more than one row"
                actual = f"{keys}: the index is spoilt, remove the rows and reindex"
                yield find(f"{index.label}: {index}", expected="no key twice", actual=actual, ok=False)
        if good := numbers.count(0):
            yield find("keys of unique indexes", expected="no key twice", actual=f"{good} of {len(unique)}", ok=True)
        yield counted("tables with rows", held)

    def _covered(
        self, connection: psycopg.Connection[Any], tables: Sequence[Table], inside: Sequence[Index]
    ) -> Iterator[Finding]:
        number, bare = uncovered_keys(connection, tables, inside)
        for name, child, parent, columns in bare:
            mend = f"create index concurrently on {child} ({', '.join(map(quoted, columns))})"
            actual = f"none: a delete in {parent} reads all of {child} ({mend})"
            yield find(f"{name} of {child}", expected=f"an index on {', '.join(columns)}", actual=actual, ok=False)
        if good := number - len(bare):
            yield find("foreign keys with an index", expected="each", actual=f"{good} of {number}", ok=True)
        yield counted("foreign keys", number)


def _absent(name: str, wanted: Wanted, known: Sequence[Index]) -> str:
    same = [index.label for index in known if wanted.keys and wanted.holds(index)]
    if same:
        return f"no such index, but {', '.join(same)} is like that"
    near = get_close_matches(name, [word for index in known for word in (index.name, index.label)], n=1, cutoff=0.7)
    return f"no such index{f'; there is {near[0]}' if near else ''}"


def _is(wanted: str, key: Key, *, ordered: bool) -> bool:
    """Whether a key is the wanted column or expression; the order counts where the gate says any."""
    order = {word.lower() for match in _ORDER.finditer(wanted) for word in match.groups() if word}
    text, _, operators = _ORDER.sub("", wanted).strip().partition(" ") if wanted.endswith("_ops") else (wanted, "", "")
    text = _ORDER.sub("", text).strip()
    if operators and operators.strip() != key.operators:
        return False
    down = "desc" in order
    nulls_first = "first" in order if order & {"first", "last"} else down
    if ordered and (down, nulls_first) != (key.descending, key.nulls_first):
        return False
    return _plain(text) == _plain(key.text) if key.expression else _bare(text) == key.text


def _plain(text: str) -> str:
    """An expression without what the server adds to it: brackets, casts, spaces."""
    return re.sub(r"[\s()\"]", "", _CAST.sub("", text)).lower()


def _bare(name: str) -> str:
    """A name, such as `"the id"` or `other."Odd"`, without its quotes."""
    return re.sub(r'"((?:[^"]|"")*)"', lambda found: str(found[1]).replace('""', '"'), name.strip())


def _bracketed(text: str) -> str | None:
    """The text up to the bracket that closes it; None where none does."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return text[:place].strip() and text[:place]
    return None


def _split(text: str) -> tuple[str, ...]:
    """The parts between commas that stand in no bracket and in no quotes."""
    parts, depth, start = [], 0, 0
    quotes = False
    for place, letter in enumerate(text):
        quotes ^= letter == '"'
        depth += 0 if quotes else (letter == "(") - (letter == ")")
        if letter == "," and not depth and not quotes:
            parts.append(text[start:place].strip())
            start = place + 1
    return (*parts, text[start:].strip())


def _matches(index: Index, pattern: str) -> bool:
    return fnmatchcase(index.label, pattern) or fnmatchcase(index.name, pattern)


def _evidence(known: Sequence[Index]) -> bytes:
    return aligned(("index", "what it is", "state"), ((i.label, i, i.faults or "in order") for i in known))
