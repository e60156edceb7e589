"""What pg_stat_statements counts: statements by identity and text, as they were at one moment."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgmonitor import SERIES, one, require_monitor, rows
from pytest_releasegate.sources.pgtables import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

__all__ = ["Statement", "Statements", "normalised", "statements"]

_INSTALLED = """
select n.nspname from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
where e.extname = 'pg_stat_statements'
"""
_ALL = """
select coalesce(s.queryid::text, ''), s.query, sum(s.calls)::bigint, sum(s.total_exec_time)::float8
from {schema}.pg_stat_statements s
where s.dbid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
      and s.userid <> (select oid from pg_catalog.pg_roles where rolname = current_user)
group by 1, 2
"""
_INFO = "select dealloc, stats_reset::text, {series} from {schema}.pg_stat_statements_info"
_FIX = (
    "add pg_stat_statements to shared_preload_libraries, restart the server, then: create extension pg_stat_statements"
)
_READS_OR_WRITES = re.compile(r"(?:select|insert|update|delete|merge|with|values|table)\b", re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_LIST = re.compile(r"\$\d+(?:\s*,\s*\$\d+)+|\$\d+ /\*, \.\.\. \*/")
_SHOWN = 90


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: how often it ran, and how many milliseconds in all."""

    query: str
    calls: int
    total: float

    @property
    def mean(self) -> float:
        """Milliseconds of one call."""
        return self.total / self.calls if self.calls else 0.0

    @property
    def shown(self) -> str:
        """The beginning of its text; its constants are placeholders."""
        return self.query if len(self.query) <= _SHOWN else f"{self.query[:_SHOWN]}..."

    def since(self, before: Statement | None) -> Statement:
        """What came after an earlier look."""
        if before is None:
            return self
        return Statement(self.query, self.calls - before.calls, self.total - before.total)


@dataclass(frozen=True, slots=True)
class Statements:
    """All statements of a database by the digest of their text, and what tells whether counters go on."""

    by_text: Mapping[str, Statement]
    dealloc: int
    reset: str
    series: str = ""

    @property
    def epoch(self) -> tuple[str, str]:
        """What is the same as long as counters go on."""
        return self.reset, self.series

    def as_value(self) -> dict[str, Any]:
        """As a JSON value for the record."""
        told = {key: [each.query, each.calls, round(each.total, 3)] for key, each in self.by_text.items()}
        return {"statements": told, "dealloc": self.dealloc, "reset": self.reset, "series": self.series}

    @classmethod
    def of_value(cls, value: Mapping[str, Any]) -> Statements:
        """Out of the record."""
        found = {key: Statement(*each) for key, each in value["statements"].items()}
        return cls(found, value["dealloc"], value["reset"], value.get("series", ""))


def normalised(query: str) -> str:
    """A text without comments, with lists of constants of any length alike, and placeholders without numbers."""
    text = " ".join(_COMMENT.sub(" ", _LIST.sub("$...", query)).split())
    return re.sub(r"\$\d+", "$n", text)


def statements(connection: psycopg.Connection[Any]) -> Statements:
    """The statements of this database but those of the role that looks; `CannotLook` without the extension."""
    require_monitor(connection)
    found = rows(connection, _INSTALLED)
    if not found:
        raise CannotLook("the database has no extension pg_stat_statements", _FIX)
    schema = quoted(found[0][0])
    (loaded,) = one(connection, "select current_setting('shared_preload_libraries') like '%pg_stat_statements%'")
    if not loaded:
        raise CannotLook("the server does not load pg_stat_statements", _FIX)
    dealloc, reset, series = one(connection, _INFO.format(schema=schema, series=SERIES))
    by_text: dict[str, Statement] = {}
    # one text may have several identities: they change with a table's, and with the server's version
    for _, query, calls, total in rows(connection, _ALL.format(schema=schema)):
        text = normalised(query or "")
        if not _READS_OR_WRITES.match(text):
            # other commands are kept with their constants, and those may be passwords
            continue
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        before = by_text.get(key, Statement(text, 0, 0.0))
        by_text[key] = Statement(text, before.calls + calls, before.total + total)
    return Statements(by_text, dealloc, str(reset), str(series))
