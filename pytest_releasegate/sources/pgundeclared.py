"""Keys between tables that the schema does not declare: those that a gate names, and those that names suggest."""

# ruff: noqa: S608  the statements are put together from constants
from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgkeys import ForeignKey
from pytest_releasegate.sources.pgtables import named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psycopg

    from pytest_releasegate.sources.pgtables import Table

__all__ = ["Pair", "Reference", "candidates", "resolved"]

_WORD = r'(?:"(?:[^"]|"")+"|[^\s.,()"]+)'
_REFERENCE = re.compile(rf"({_WORD}(?:\.{_WORD}){{0,2}})\s*(?:\(([^()]*)\))?")
_INTEGERS = frozenset({"int2", "int4", "int8"})
_BARE = ("id", "uuid", "uid", "guid")
# a domain compares as the type below it, varchar as text, an enum or array by the operator of all of them
_BASE = """(
    with recursive base(oid, kind, below) as (
        select y.oid, y.typtype, y.typbasetype from pg_catalog.pg_type y where y.oid = {column}.atttypid
        union all
        select y.oid, y.typtype, y.typbasetype from base join pg_catalog.pg_type y on y.oid = base.below
        where base.kind = 'd'
    )
    select case when oid = 'pg_catalog.varchar'::regtype then 'pg_catalog.text'::regtype::oid else oid end
    from base where kind <> 'd'
)"""
_COMPARED = f"""
select k.number, k.place, a.attname is not null, b.attname is not null,
       pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.format_type(b.atttypid, b.atttypmod),
       'c.' || quote_ident(a.attname),
       format('p.%%s operator(%%s.=) c.%%s%%s', quote_ident(b.attname), quote_ident(o.nspname), quote_ident(a.attname),
              case when b.attcollation not in (0, a.attcollation)
                   then (select format(' collate %%I.%%I', ln.nspname, l.collname) from pg_catalog.pg_collation l
                         join pg_catalog.pg_namespace ln on ln.oid = l.collnamespace where l.oid = b.attcollation)
                   else '' end) as condition,
       o.nspname is not null
from unnest(%(numbers)s::int[], %(places)s::int[], %(children)s::oid[], %(columns)s::text[],
            %(parents)s::oid[], %(keys)s::text[]) k(number, place, child, column_name, parent, key_name)
left join pg_catalog.pg_attribute a
    on a.attrelid = k.child and a.attname = k.column_name and a.attnum > 0 and not a.attisdropped
left join pg_catalog.pg_attribute b
    on b.attrelid = k.parent and b.attname = k.key_name and b.attnum > 0 and not b.attisdropped
left join lateral (select {_BASE.format(column="a")} as child, {_BASE.format(column="b")} as parent) t on true
left join lateral (
    select n.nspname from pg_catalog.pg_operator q join pg_catalog.pg_namespace n on n.oid = q.oprnamespace
    where q.oprname = '=' and (q.oprcanmerge or q.oprcanhash)
      and ((q.oprleft, q.oprright) = (t.parent, t.child)
           or t.child = t.parent and q.oprleft = q.oprright and q.oprleft = (
               select case when y.typtype = 'e' then 'pg_catalog.anyenum'::regtype
                           when y.typcategory = 'A' then 'pg_catalog.anyarray'::regtype end
               from pg_catalog.pg_type y where y.oid = t.child))
    order by n.nspname <> 'pg_catalog', n.nspname limit 1
) o on true
order by k.number, k.place
"""
_COLUMNS = f"""
select a.attrelid::bigint, a.attname,
       (select y.typname from pg_catalog.pg_type y where y.oid = {_BASE.format(column="a")}),
       exists (select from pg_catalog.pg_index i where i.indrelid = a.attrelid and i.indisunique and i.indisvalid
               and i.indnkeyatts = 1 and i.indkey[0] = a.attnum and i.indpred is null and i.indisprimary),
       f.conname is not null, f.parent::bigint, f.key_name
from pg_catalog.pg_attribute a
left join lateral (
    select k.conname, k.confrelid as parent, b.attname as key_name
    from pg_catalog.pg_constraint k
    left join pg_catalog.pg_attribute b on b.attrelid = k.confrelid and array[b.attnum] = k.confkey
    where k.contype = 'f' and k.conrelid = a.attrelid and a.attnum = any(k.conkey) and k.conparentid = 0
    order by b.attname is null, k.oid limit 1
) f on true
where a.attrelid = any(%s) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum
"""


@dataclass(frozen=True, slots=True)
class Reference:
    """Columns of a table, as a gate writes them: `notes.client_id`, or `public.notes(client_id, region)`."""

    table: str
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read it; raises `ValueError` that says what is expected."""
        match = _REFERENCE.fullmatch(text.strip())
        words = _words(match[1]) if match else []
        columns = _words(match[2]) if match and match[2] else []
        if match and match[2] is None and len(words) > 1:
            columns = [words.pop()]
        if not columns or len(words) > 2:
            raise ValueError(f"expected TABLE.COLUMN or TABLE(COLUMN, COLUMN), got '{text}'")
        return cls(".".join(words), tuple(columns))


@dataclass(frozen=True, slots=True)
class Pair:
    """Columns of one table that hold the values of columns of another."""

    child: Table
    columns: tuple[str, ...]
    parent: Table
    keys: tuple[str, ...]
    why: str = ""

    def __str__(self) -> str:
        return f"{self.child.label}({', '.join(self.columns)}) -> {self.parent.label}({', '.join(self.keys)})"


def pairs(keys: Mapping[str, str], tables: Sequence[Table]) -> list[Pair]:
    """The keys that a gate declares, with the tables that it means."""
    read = [(Reference.parse(child), Reference.parse(parent)) for child, parent in keys.items()]
    return [Pair(named(c.table, tables), c.columns, named(p.table, tables), p.columns) for c, p in read]


def resolved(connection: psycopg.Connection[Any], wanted: Sequence[Pair]) -> list[ForeignKey]:
    """The pairs as keys whose orphans can be counted; raises `CannotLook` where columns are missing or not alike."""
    if not wanted:
        return []
    flat = [
        (number, place, pair.child.oid, column, pair.parent.oid, key)
        for number, pair in enumerate(wanted)
        for place, (column, key) in enumerate(zip(pair.columns, pair.keys, strict=True))
    ]
    names = ("numbers", "places", "children", "columns", "parents", "keys")
    values = dict(zip(names, (list(part) for part in zip(*flat, strict=True)), strict=True))
    parts: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for row in connection.execute(_COMPARED, values).fetchall():
        parts[row[0]].append(_comparison(wanted[row[0]], row))
    return [_key(pair, parts[number]) for number, pair in enumerate(wanted)]


def candidates(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> list[Pair]:
    """Pairs that the schema does not declare and that names suggest; only the data can confirm them."""
    known = {table.oid: table for table in tables}
    columns = [_Column(known[row[0]], *row[1:]) for row in connection.execute(_COLUMNS, [list(known)]).fetchall()]
    primary = [column for column in columns if column.primary]
    elsewhere: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for column in columns:
        if column.parent and column.key:
            elsewhere[column.name].add((column.parent, column.key))
    found = [
        pair
        for column in columns
        if not column.declared and not (column.primary and column.name in _BARE)
        for pair in (*_by_name(column, primary), *_by_others(column, columns, elsewhere[column.name]))
    ]
    return list({(pair.child, pair.columns, pair.parent): pair for pair in reversed(found)}.values())[::-1]


@dataclass(frozen=True, slots=True)
class _Column:
    table: Table
    name: str
    type: str
    primary: bool
    declared: bool
    parent: int | None
    key: str | None

    def fits(self, other: _Column) -> bool:
        """Whether its values can be those of the other column."""
        same = self.type == other.type or {self.type, other.type} <= _INTEGERS
        return same and self.table != other.table

    def towards(self, other: _Column, why: str) -> Pair:
        """The pair of both."""
        return Pair(self.table, (self.name,), other.table, (other.name,), why)


def _by_name(column: _Column, primary: Sequence[_Column]) -> Iterator[Pair]:
    """`client_id` of any table belongs to `clients.id`, `patient_id` to `patients.patient_id`."""
    fitting = [key for key in primary if column.fits(key) and _suggests(column.name, key)]
    near = [key for key in fitting if key.table.schema == column.table.schema]
    # tables of the same name in several other schemas tell nothing
    chosen = near or (fitting if len(fitting) == 1 else [])
    yield from (column.towards(key, "by its name") for key in chosen)


def _by_others(column: _Column, columns: Sequence[_Column], targets: set[tuple[int, str]]) -> Iterator[Pair]:
    """A column of the same name elsewhere has a foreign key, and all such keys agree."""
    if len(targets) != 1 or column.name in _BARE:
        return
    ((parent, name),) = targets
    for key in columns:
        if key.table.oid == parent and key.name == name and column.fits(key):
            yield column.towards(key, "as columns of that name elsewhere")


def _suggests(name: str, key: _Column) -> bool:
    plain, own = name.lower().replace("_", ""), key.name.lower().replace("_", "")
    forms = _forms(key.table.name.lower().replace("_", ""))
    if own in _BARE:
        return any(plain == form + own for form in forms)
    if not own.endswith(("id", "code", "key")) or not any(own.startswith(form) for form in forms):
        return False
    return plain == own or (own.endswith("id") and name.lower().endswith("_" + key.name.lower()))


def _forms(table: str) -> set[str]:
    """The name of a table and what may be its singular."""
    forms = {table}
    for end, instead in (("s", ""), ("es", ""), ("ies", "y")):
        if table.endswith(end) and len(table) > len(end) + 1:
            forms.add(table.removesuffix(end) + instead)
    return forms


def _comparison(pair: Pair, row: tuple[Any, ...]) -> tuple[str, str]:
    """The child's column in SQL, and the comparison of both."""
    _, place, has_column, has_key, column_type, key_type, column, condition, comparable = row
    for there, table, name in ((has_column, pair.child, pair.columns[place]), (has_key, pair.parent, pair.keys[place])):
        if not there:
            raise CannotLook(f"table '{table.label}' has no column '{name}'", "correct `keys` of the gate")
    if not comparable:
        raise CannotLook(
            f"{pair}: {pair.columns[place]} ({column_type}) and {pair.keys[place]} ({key_type}) cannot be compared",
            "name columns of the same type",
        )
    return column, condition


def _key(pair: Pair, parts: Sequence[tuple[str, str]]) -> ForeignKey:
    return ForeignKey(
        name=f"undeclared key ({', '.join(pair.columns)})",
        child=pair.child,
        parent=pair.parent,
        validated=True,
        enforced=True,
        sleeping=(),
        full=False,
        temporal=False,
        columns=tuple(column for column, _ in parts),
        condition=" and ".join(condition for _, condition in parts),
    )


def _words(text: str) -> list[str]:
    return [word[1:-1].replace('""', '"') if word[0] == '"' else word for word in re.findall(_WORD, text)]
